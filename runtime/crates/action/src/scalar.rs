//! The text of a single value, as used in a template, a pair or a form.

use std::borrow::Cow;

use serde_json::Value;

/// The text of a scalar: strings unchanged, numbers and booleans as JSON.
/// `None` for null, arrays and objects.
#[must_use]
pub fn scalar_text(value: &Value) -> Option<String> {
    scalar_cow(value).map(Cow::into_owned)
}

/// [`scalar_text`] without a copy if the value is text already.
pub(crate) fn scalar_cow(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
