//! JSON text that is passed on without being parsed into a tree.
//!
//! Most of a call's input and answer is only passed on and need not become a tree: one pass over the text
//! validates it and brings it into the form that `serde_json` would write. Where the text has something that this pass
//! does not handle (a `\u` escape, a float that may be written in another way, a duplicate member, deep nesting), the
//! result is `None`, and the caller goes through [`serde_json::Value`]. So this module affects the speed
//! and never the result; unit tests and the fuzz target `guest_json` compare it with `serde_json`. Called by
//! rendering and judging, in the guest and in the host.

mod object;
mod reader;

use std::borrow::Cow;

pub(crate) use object::read;
pub use object::{Members, Object};
pub(crate) use reader::Reader;

/// The text as `serde_json` would write what it reads from it, without white space; `None` if this module does not
/// handle it, or the text is not JSON.
#[must_use]
pub fn compact(body: &[u8]) -> Option<Cow<'_, str>> {
    let mut reader = Reader::new(std::str::from_utf8(body).ok()?);
    let text = reader.value()?;
    reader.end()?;
    Some(text)
}

/// Appends a text as a JSON string.
pub fn push_string(text: &str, out: &mut String) {
    if reader::is_plain(text) {
        out.push('"');
        out.push_str(text);
        out.push('"');
        return;
    }
    // Why no error: every text can be written as JSON, and writing to memory does not fail.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

#[cfg(test)]
mod tests;
