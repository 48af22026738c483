//! JSON text that is passed on without being taken apart.
//!
//! What only travels through a call, most of its input and most of its answer, need not become a tree: one
//! pass over the text checks it and brings it into the form that `serde_json` would write. Where a text has
//! something that this pass does not decide (an escaped character outside the plain ones, a float that may
//! be written in another way, a member that is there twice, deep nesting), it says `None`, and the caller
//! takes the way through [`serde_json::Value`]. So this module decides how fast something is, never what
//! comes out.

mod object;
mod reader;

use std::borrow::Cow;

pub(crate) use object::read;
pub use object::{Members, Object};
pub(crate) use reader::Reader;

/// The text as `serde_json` writes what it reads there, without white space; `None` when that cannot be
/// told here, or the text is not JSON.
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
    // Why no error: a text has a form in JSON, and memory does not fail to be written to.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

#[cfg(test)]
mod tests;
