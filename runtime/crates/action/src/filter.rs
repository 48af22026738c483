//! Filters of the template language: pure functions on one value, from a closed list.
//!
//! The same list is used by `{{input.x | lower}}`, an input's `transform` and a computed field. A filter
//! passes an absent value on as absent; a value that it does not apply to stays as it is, so that the
//! position where it is used can refuse it by name.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use md5::Md5;
use serde_json::{Number, Value};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::escape;
use crate::scalar::scalar_text;

/// A pure function on a value, from the closed list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// `lower`: text in lower case.
    Lower,
    /// `upper`: text in upper case.
    Upper,
    /// `trim`: text without white space at both ends.
    Trim,
    /// `default:'text'`: replaces an absent or null value.
    Default(String),
    /// `json`: the value as JSON text.
    Json,
    /// `string`: the value as text.
    String,
    /// `number`: numeric text as a JSON number; absent when it is not one.
    Number,
    /// `base64`: RFC 4648 section 4, padded, of the UTF-8 text.
    Base64,
    /// `base64url`: RFC 4648 section 5, without padding, of the UTF-8 text.
    Base64Url,
    /// `hex`: lower-case hex of the UTF-8 text.
    Hex,
    /// `urlencode`: every byte outside RFC 3986 `unreserved` percent-encoded.
    UrlEncode,
    /// `md5`: lower-case hex.
    Md5,
    /// `sha1`: lower-case hex.
    Sha1,
    /// `sha256`: lower-case hex.
    Sha256,
    /// `after_last:'x'`: what follows the last `x`; absent when there is none.
    AfterLast(String),
    /// `before_first:'x'`: what precedes the first `x`; the whole text when there is none.
    BeforeFirst(String),
    /// `replace:'a','b'`: every `a` becomes `b`.
    Replace(String, String),
    /// `join:'x'`: the scalars of an array with `x` between them.
    Join(String),
    /// `date:'%Y-%m-%d'`: a time in UTC, formatted as by strftime.
    Date(String),
    /// `iso8601`: a time as RFC 3339 in UTC.
    Iso8601,
    /// `epoch`: a time as whole seconds since 1970.
    Epoch,
}

/// Every filter as it is written, for messages.
pub(crate) const FILTER_LIST: &str = "lower, upper, trim, default:'…', json, string, number, base64, \
     base64url, hex, urlencode, md5, sha1, sha256, after_last:'…', before_first:'…', \
     replace:'…','…', join:'…', date:'…', iso8601, epoch";

/// Longest chain of filters, bytes; a template cannot hold more.
const FILTERS_BYTES_MAX: usize = 8192;

/// Why a text is not a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The chain is too long.
    #[error("filters are {0} bytes, the limit is {FILTERS_BYTES_MAX}")]
    TooLong(usize),
    /// A filter outside the closed list.
    #[error("unknown filter {0:?}; the list is {FILTER_LIST}")]
    Unknown(String),
    /// A date format that strftime does not know.
    #[error("{0:?} is not a date format; write it as for strftime, such as '%Y-%m-%d'")]
    DateFormat(String),
}

/// Parses a chain such as `lower | md5`: an input's `transform`, a computed field's `filter`.
///
/// # Errors
/// [`FilterError`] naming the filter that is not in the list or whose arguments are wrong.
pub fn parse_filters(text: &str) -> Result<Vec<Filter>, FilterError> {
    if text.len() > FILTERS_BYTES_MAX {
        return Err(FilterError::TooLong(text.len()));
    }
    split_outside_quotes(text, '|').into_iter().map(parse_filter).collect()
}

/// Parses one filter.
pub(crate) fn parse_filter(text: &str) -> Result<Filter, FilterError> {
    let text = text.trim();
    let unknown = || FilterError::Unknown(text.chars().take(80).collect());
    let (name, arguments) = match text.split_once(':') {
        Some((name, arguments)) => (name.trim(), parse_arguments(arguments).ok_or_else(unknown)?),
        None => (text, Vec::new()),
    };
    let mut arguments = arguments.into_iter();
    let filter = match (name, arguments.next(), arguments.next(), arguments.next()) {
        ("lower", None, ..) => Filter::Lower,
        ("upper", None, ..) => Filter::Upper,
        ("trim", None, ..) => Filter::Trim,
        ("json", None, ..) => Filter::Json,
        ("string", None, ..) => Filter::String,
        ("number", None, ..) => Filter::Number,
        ("base64", None, ..) => Filter::Base64,
        ("base64url", None, ..) => Filter::Base64Url,
        ("hex", None, ..) => Filter::Hex,
        ("urlencode", None, ..) => Filter::UrlEncode,
        ("md5", None, ..) => Filter::Md5,
        ("sha1", None, ..) => Filter::Sha1,
        ("sha256", None, ..) => Filter::Sha256,
        ("iso8601", None, ..) => Filter::Iso8601,
        ("epoch", None, ..) => Filter::Epoch,
        ("default", Some(text), None, _) => Filter::Default(text),
        ("join", Some(text), None, _) => Filter::Join(text),
        // Why: an empty separator is found everywhere and separates nothing.
        ("after_last", Some(text), None, _) if !text.is_empty() => Filter::AfterLast(text),
        ("before_first", Some(text), None, _) if !text.is_empty() => Filter::BeforeFirst(text),
        ("replace", Some(from), Some(to), None) if !from.is_empty() => Filter::Replace(from, to),
        ("date", Some(format), None, _) => checked_date(format)?,
        _ => return Err(unknown()),
    };
    Ok(filter)
}

/// Splits at a separator outside quotes.
pub(crate) fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let mut quoted = false;
    text.split(|ch| {
        if ch == '\'' {
            quoted = !quoted;
        }
        ch == separator && !quoted
    })
    .collect()
}

/// `'a','b'`.
fn parse_arguments(text: &str) -> Option<Vec<String>> {
    split_outside_quotes(text, ',').into_iter().map(|argument| unquote(argument.trim())).collect()
}

/// `'it''s'`: a quote inside is written twice.
fn unquote(argument: &str) -> Option<String> {
    let inner = argument.strip_prefix('\'')?.strip_suffix('\'')?;
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(ch) = chars.next() {
        if ch == '\'' && chars.next() != Some('\'') {
            return None;
        }
        out.push(ch);
    }
    Some(out)
}

/// A format is tested on a fixed time, so that an invalid one is found when the definition is read.
fn checked_date(format: String) -> Result<Filter, FilterError> {
    match format_moment(&format, Timestamp::UNIX_EPOCH) {
        Some(_) => Ok(Filter::Date(format)),
        None => Err(FilterError::DateFormat(format.chars().take(80).collect())),
    }
}

/// Applies filters from left to right; `None` means absent.
#[must_use]
pub fn apply_filters(value: Option<Value>, filters: &[Filter]) -> Option<Value> {
    filters.iter().fold(value, |value, filter| {
        let present = value.filter(|v| !v.is_null());
        match filter {
            Filter::Default(text) => present.or_else(|| Some(Value::String(text.clone()))),
            _ => apply(filter, present?),
        }
    })
}

fn apply(filter: &Filter, value: Value) -> Option<Value> {
    match filter {
        Filter::Default(_) => Some(value),
        Filter::Json => Some(Value::String(value.to_string())),
        Filter::String => Some(Value::String(whole_text(value))),
        Filter::Number => to_number(value).map(Value::Number),
        Filter::Lower => Some(map_text(value, |t| t.to_lowercase())),
        Filter::Upper => Some(map_text(value, |t| t.to_uppercase())),
        Filter::Trim => Some(map_text(value, |t| t.trim().to_owned())),
        Filter::Replace(from, to) => Some(map_text(value, |t| t.replace(from, to))),
        Filter::BeforeFirst(stop) => {
            Some(map_text(value, |t| t.split_once(stop).map_or(t, |(before, _)| before).to_owned()))
        }
        // Why absent and not the whole text: `{{cred.key|after_last:'-'}}` makes a host label, and a
        // key without a hyphen must not be sent to a resolver.
        Filter::AfterLast(stop) => match value {
            Value::String(text) => text.rsplit_once(stop).map(|(_, after)| Value::String(after.to_owned())),
            other => Some(other),
        },
        Filter::Join(separator) => Some(join(value, separator)),
        Filter::Base64 => Some(Value::String(STANDARD.encode(whole_text(value)))),
        Filter::Base64Url => Some(Value::String(URL_SAFE_NO_PAD.encode(whole_text(value)))),
        Filter::Hex => Some(Value::String(hex::encode(whole_text(value)))),
        Filter::UrlEncode => {
            let mut out = String::new();
            escape::percent_encode(&whole_text(value), &mut out);
            Some(Value::String(out))
        }
        Filter::Md5 => Some(digest::<Md5>(value)),
        Filter::Sha1 => Some(digest::<Sha1>(value)),
        Filter::Sha256 => Some(digest::<Sha256>(value)),
        Filter::Date(format) => format_moment(format, moment(&value)?).map(Value::String),
        Filter::Iso8601 => Some(Value::String(moment(&value)?.to_string())),
        Filter::Epoch => Some(Value::Number(moment(&value)?.as_second().into())),
    }
}

/// Any value as text. Why not leave a list unchanged: a value that was to be hashed must never
/// be sent in the clear because it was a list.
fn whole_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => scalar_text(&other).unwrap_or_else(|| other.to_string()),
    }
}

fn digest<D: Digest>(value: Value) -> Value {
    Value::String(hex::encode(D::digest(whole_text(value).as_bytes())))
}

fn map_text(value: Value, change: impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(&text)),
        other => other,
    }
}

/// Text of JSON's number grammar. An integer that does not fit 64 bits is absent rather than rounded:
/// a wrong id is worse than none.
fn to_number(value: Value) -> Option<Number> {
    match value {
        Value::Number(number) => Some(number),
        Value::String(text) => {
            let text = text.trim();
            let number: Number = serde_json::from_str(text).ok()?;
            let is_integer = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
            (!is_integer || number.is_i64() || number.is_u64()).then_some(number)
        }
        _ => None,
    }
}

fn join(value: Value, separator: &str) -> Value {
    let Value::Array(items) = &value else { return value };
    match items.iter().map(scalar_text).collect::<Option<Vec<String>>>() {
        Some(texts) => Value::String(texts.join(separator)),
        None => value,
    }
}

/// A time: milliseconds since 1970, RFC 3339 text, or a full date (its midnight in UTC).
fn moment(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(number) => Timestamp::from_millisecond(number.as_i64()?).ok(),
        Value::String(text) => {
            let text = text.trim();
            if text.len() == "2026-11-22".len() {
                let date: Date = text.parse().ok()?;
                return Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp());
            }
            text.parse().ok()
        }
        _ => None,
    }
}

fn format_moment(format: &str, moment: Timestamp) -> Option<String> {
    strtime::format(format, &moment.to_zoned(TimeZone::UTC)).ok()
}

/// RFC 3339 in UTC of milliseconds since 1970; absent outside the calendar's range.
pub(crate) fn rfc3339_of_ms(ms: i64) -> Option<String> {
    Timestamp::from_millisecond(ms).ok().map(|moment| moment.to_string())
}

#[cfg(test)]
mod tests;
