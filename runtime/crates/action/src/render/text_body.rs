//! Bodies that are one text or one file: XML and text from a template, raw bytes of a file input.

use std::borrow::Cow;

use super::file::File;
use super::{Body, RenderError, parse_text};
use crate::escape;
use crate::values::Values;

/// XML: the template's literals are the markup, values are character data.
pub(super) fn xml(template: &str, values: &Values<'_>) -> Result<Body, RenderError> {
    let mut out = String::with_capacity(template.len());
    values.join(&parse_text(template)?, &mut out, escape::xml_text)?;
    Ok(Body { bytes: out.into_bytes(), content_type: Cow::Borrowed("application/xml") })
}

/// Text.
pub(super) fn text(template: &str, values: &Values<'_>) -> Result<Body, RenderError> {
    let mut out = String::with_capacity(template.len());
    values.join(&parse_text(template)?, &mut out, escape::as_is)?;
    Ok(Body { bytes: out.into_bytes(), content_type: Cow::Borrowed("text/plain; charset=utf-8") })
}

/// The bytes of one file input. Its own type takes precedence over the plan's, which is for files without one.
pub(super) fn raw(root: &str, values: &Values<'_>, planned: Option<&str>) -> Result<Body, RenderError> {
    let value = values.input.get(root).filter(|value| !value.is_null());
    let value = value.ok_or_else(|| RenderError::input(root, "has no value"))?;
    let file = File::of(root, &value)?;
    let content_type = file.content_type.or(planned).unwrap_or("application/octet-stream").to_owned();
    Ok(Body { bytes: file.data.into_owned(), content_type: Cow::Owned(content_type) })
}
