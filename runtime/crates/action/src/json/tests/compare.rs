//! Compares what [`compact`], [`Members`] and [`push_string`] write with `serde_json`.
//!
//! It generates no input: the unit tests and the fuzz target `guest_json` do, and both include this file. So it uses
//! nothing of the crate except what `super` imports.

use serde_json::{Map, Value};

use super::{Members, Object, compact, push_string};

/// Whether the text was read at all.
///
/// # Panics
/// If `serde_json` reads or writes it differently.
pub(super) fn agree(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let mut string = String::new();
    push_string(text, &mut string);
    assert_eq!(serde_json::to_string(text).ok(), Some(string), "as a string");
    let members = Members::read(text);
    if let Some(members) = &members {
        let map: Map<String, Value> = serde_json::from_str(text).expect("an object");
        let by_text = Object::from(members);
        for (name, value) in &map {
            assert_eq!(members.get(name), Some(value.to_string().as_str()), "{name}");
            assert_eq!(by_text.get(name).as_deref(), Some(value), "{name}");
        }
        // Why: names come from the text, so an absent one is a part of some name.
        let absent = text.split(['"', '\\']).filter(|name| !map.contains_key(*name));
        absent.for_each(|name| assert_eq!(members.get(name), None, "{name}"));
    }
    let compact = compact(bytes);
    if let Some(compact) = &compact {
        let value: Value = serde_json::from_slice(bytes).expect("JSON");
        assert_eq!(compact.as_ref(), value.to_string());
    }
    compact.is_some() || members.is_some()
}
