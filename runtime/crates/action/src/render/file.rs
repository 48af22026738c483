//! File inputs: `{"filename", "content_type"?, "data": <base64>}`, or plain text.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::RenderError;
use crate::escape;

/// Base64 with or without padding: both occur in practice and mean the same bytes.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A file as it was given.
#[derive(Debug)]
pub(super) struct File<'a> {
    /// Its name, if given.
    pub(super) filename: Option<&'a str>,
    /// Its type, if given; valid in a header.
    pub(super) content_type: Option<&'a str>,
    pub(super) data: Cow<'a, [u8]>,
}

impl<'a> File<'a> {
    /// Reads the value of a file input.
    pub(super) fn of(input: &str, value: &'a Value) -> Result<Self, RenderError> {
        let wrong = || {
            RenderError::input(
                input,
                "must be text or a file: {\"filename\", \"content_type\"?, \"data\": base64}",
            )
        };
        let map = match value {
            Value::String(text) => {
                let data = Cow::Borrowed(text.as_bytes());
                return Ok(Self { filename: None, content_type: None, data });
            }
            Value::Object(map) => map,
            _ => return Err(wrong()),
        };
        let data = map.get("data").and_then(Value::as_str).ok_or_else(wrong)?;
        let data =
            BASE64.decode(data).map_err(|_| RenderError::input(input, "has data that is not base64"))?;
        let content_type = text_member(map, "content_type").map_err(|()| wrong())?;
        if let Some(given) = content_type {
            escape::header_value(given, &mut String::new())
                .map_err(|_| RenderError::input(input, "has a content_type that cannot stand in a header"))?;
        }
        let filename = text_member(map, "filename").map_err(|()| wrong())?;
        Ok(Self { filename, content_type, data: Cow::Owned(data) })
    }
}

/// An optional text that is not empty.
fn text_member<'a>(map: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, ()> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|t| !t.is_empty())),
        Some(_) => Err(()),
    }
}
