//! A mapping and a source, as JSON texts: what is resolved stays within its budget, and its names are the mapping's.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_action::budget::Budget;
use portcullis_action::mapping::Mapping;
use serde_json::Value;

/// Bytes of all texts in a value.
fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(members) => members.values().map(text_bytes).sum(),
        _ => 0,
    }
}

fuzz_target!(|input: (&str, &str)| {
    let (Ok(Value::Object(written)), Ok(source)) = (serde_json::from_str(input.0), serde_json::from_str(input.1))
    else {
        return;
    };
    let Ok(mapping) = Mapping::parse(&written) else { return };
    for bytes in [64, 1 << 20] {
        let Ok(resolved) = mapping.resolve(&source, &Budget::rendering(bytes)) else { continue };
        assert!(resolved.keys().all(|name| written.contains_key(name)));
        let made: usize = resolved.values().map(text_bytes).sum();
        let own: usize = written.values().map(text_bytes).sum();
        assert!(made as u64 <= bytes + own as u64, "{made} bytes of {bytes}");
    }
});
