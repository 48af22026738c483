//! `multipart/form-data` bodies (RFC 7578), names written as browsers write them (WHATWG HTML,
//! "multipart/form-data encoding algorithm").
//!
//! The boundary is derived from the parts: the same call makes the same bytes, and a boundary
//! that occurs in a part is derived again with a counter.

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::file::File;
use super::{Body, RenderError, inputs_at};
use crate::plan::{ActionPlan, ArrayFormat, InputPlace, InputPlan, KeyPlace};
use crate::scalar::scalar_cow;
use crate::values::Values;

/// Characters of a boundary: half a SHA-256 in hex, within the 70 of RFC 2046 section 5.1.1.
const BOUNDARY_LENGTH: usize = 32;

/// What a part has besides its name and content: about the boundary and the head's fixed words.
const PART_BYTES: usize = 128;

struct Part<'a> {
    /// Header lines, each with its line end.
    head: String,
    content: Cow<'a, [u8]>,
}

/// The body of all body inputs; `None` if there are none and the method needs no body.
pub(super) fn render(plan: &ActionPlan, values: &Values<'_>) -> Result<Option<Body>, RenderError> {
    let given: Vec<_> = inputs_at(plan, values, InputPlace::Body).collect();
    let mut parts = Vec::new();
    for (field, value) in &given {
        push_parts(field, value, values, &mut parts)?;
    }
    if let (Some(KeyPlace::Body(steps)), Some(key)) = (&plan.idempotency, values.idempotency_key) {
        parts.push(Part {
            head: head(&bracketed(steps), None, None),
            content: Cow::Owned(key.as_bytes().to_vec()),
        });
    }
    if parts.is_empty() && !plan.method.has_body() {
        return Ok(None);
    }
    let boundary = boundary_of(&parts);
    let mut bytes = Vec::with_capacity(parts.iter().map(|p| p.head.len() + p.content.len() + 48).sum());
    for part in &parts {
        for piece in [b"--", boundary.as_bytes(), b"\r\n", part.head.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(piece);
        }
        bytes.extend_from_slice(&part.content);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let content_type = Cow::Owned(format!("multipart/form-data; boundary={boundary}"));
    Ok(Some(Body { bytes, content_type }))
}

fn push_parts<'a>(
    field: &InputPlan,
    value: &'a Value,
    values: &Values<'_>,
    parts: &mut Vec<Part<'a>>,
) -> Result<(), RenderError> {
    let name = match field.path.as_slice() {
        [] => field.wire_name().to_owned(),
        steps => bracketed(steps),
    };
    match (value, field.array_format) {
        (Value::Array(items), None | Some(ArrayFormat::Repeat)) => {
            items.iter().try_for_each(|item| push_part(&name, field, item, values, parts))
        }
        (Value::Array(items), Some(ArrayFormat::Brackets)) => {
            let name = format!("{name}[]");
            items.iter().try_for_each(|item| push_part(&name, field, item, values, parts))
        }
        (Value::Array(items), Some(ArrayFormat::Indices)) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| push_part(&format!("{name}[{index}]"), field, item, values, parts)),
        (Value::Array(items), Some(format @ (ArrayFormat::Comma | ArrayFormat::Pipe))) => {
            let texts: Option<Vec<_>> = items.iter().map(scalar_cow).collect();
            let texts = texts.ok_or_else(|| {
                RenderError::input(&field.name, "must be an array of text, numbers or booleans here")
            })?;
            let joined = texts.join(if format == ArrayFormat::Comma { "," } else { "|" });
            parts.push(Part { head: head(&name, None, None), content: Cow::Owned(joined.into_bytes()) });
            Ok(())
        }
        (value, _) => push_part(&name, field, value, values, parts),
    }
}

fn push_part<'a>(
    name: &str,
    field: &InputPlan,
    value: &'a Value,
    values: &Values<'_>,
    parts: &mut Vec<Part<'a>>,
) -> Result<(), RenderError> {
    // Why: a part's head is written for every element, however short the element is.
    values.pay(|budget| budget.make(name.len().saturating_add(PART_BYTES)))?;
    if field.file {
        let file = File::of(&field.name, value)?;
        // Why a fallback name: a part without a filename is a field to the receiver, not a file.
        let (fallback, usual) = match value {
            Value::String(_) => (format!("{}.txt", field.wire_name()), "text/plain; charset=utf-8"),
            _ => (field.wire_name().to_owned(), "application/octet-stream"),
        };
        let filename = file.filename.unwrap_or(&fallback);
        let head = head(name, Some(filename), Some(file.content_type.unwrap_or(usual)));
        parts.push(Part { head, content: file.data });
        return Ok(());
    }
    parts.push(match value {
        Value::Array(_) | Value::Object(_) => Part {
            head: head(name, None, Some("application/json")),
            content: Cow::Owned(value.to_string().into_bytes()),
        },
        Value::String(text) => Part { head: head(name, None, None), content: Cow::Borrowed(text.as_bytes()) },
        scalar => {
            let text = scalar_cow(scalar).unwrap_or_default().into_owned();
            Part { head: head(name, None, None), content: Cow::Owned(text.into_bytes()) }
        }
    });
    Ok(())
}

fn head(name: &str, filename: Option<&str>, content_type: Option<&str>) -> String {
    let mut head = format!("Content-Disposition: form-data; name=\"{}\"", quoted(name));
    if let Some(filename) = filename {
        // Writing to a `String` cannot fail.
        let _ = write!(head, "; filename=\"{}\"", quoted(filename));
    }
    head.push_str("\r\n");
    if let Some(content_type) = content_type {
        let _ = write!(head, "Content-Type: {content_type}\r\n");
    }
    head
}

/// What would end the quotes or the line is percent-encoded; everything else stays UTF-8.
fn quoted(text: &str) -> String {
    text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

fn bracketed(steps: &[String]) -> String {
    let mut steps = steps.iter();
    let mut name = steps.next().cloned().unwrap_or_default();
    for step in steps {
        let _ = write!(name, "[{step}]");
    }
    name
}

fn boundary_of(parts: &[Part<'_>]) -> String {
    let mut all = Sha256::new();
    for part in parts {
        for piece in [part.head.as_bytes(), part.content.as_ref()] {
            // Why the length: two different divisions of the same bytes are different bodies.
            all.update((piece.len() as u64).to_be_bytes());
            all.update(piece);
        }
    }
    first_free(&all, |boundary| parts.iter().any(|part| contains(&part.content, boundary.as_bytes())))
}

/// The first boundary, derived from this hash and a counter, that does not occur.
fn first_free(all: &Sha256, is_taken: impl Fn(&str) -> bool) -> String {
    let mut counter = 0_u64;
    loop {
        let mut hash = all.clone();
        if counter > 0 {
            hash.update(counter.to_be_bytes());
        }
        let mut boundary = hex::encode(hash.finalize());
        boundary.truncate(BOUNDARY_LENGTH);
        if !is_taken(&boundary) {
            return boundary;
        }
        counter += 1;
    }
}

fn contains(content: &[u8], boundary: &[u8]) -> bool {
    content.windows(boundary.len()).any(|window| window == boundary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_that_occurs_in_a_part_is_made_again() {
        let hash = Sha256::new_with_prefix(b"parts");
        let first = first_free(&hash, |_| false);
        let second = first_free(&hash, |boundary| {
            contains(format!("\r\n--{first}--").as_bytes(), boundary.as_bytes())
        });
        assert_eq!((first.len(), second.len()), (BOUNDARY_LENGTH, BOUNDARY_LENGTH));
        assert_ne!(first, second);
        let third = first_free(&hash, |boundary| boundary == first || boundary == second);
        assert!(third != first && third != second);
    }
}
