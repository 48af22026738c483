//! Filters of the template language: pure functions on one value, from a closed list.
//!
//! The same list is used by `{{input.x | lower}}`, an input's `transform` and a computed field. A filter
//! passes an absent value on as absent and a null as null. One that changes a text leaves any other value as it is, so that the position
//! where it is used can refuse it by name; one that reads its value, such as a time, refuses what it cannot read. A
//! later `default` stands in for that.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use md5::Md5;
use serde_json::{Number, Value};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::budget::{Budget, Exceeded};
use crate::escape;
use crate::scalar::{kind_of, scalar_cow, truth};

mod table;
mod time;

use table::lookup;
pub use table::{Tables, tables_of};
pub(crate) use time::rfc3339_of_ms;

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
    /// `number`: numeric text as a JSON number, digit for digit.
    Number,
    /// `boolean`: true and false from the words and numbers for them.
    Boolean,
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
    /// `unix_seconds`: seconds since 1970 as RFC 3339 in UTC.
    UnixSeconds,
    /// `unix_ms`: milliseconds since 1970 as RFC 3339 in UTC.
    UnixMs,
    /// `datetime:'Europe/Berlin'`: a local time of that zone as RFC 3339 in UTC.
    Datetime(String),
    /// `lookup:'statuses'`: what that table has for the value; one that it does not have cannot be read.
    Lookup(String),
}

/// Every filter as it is written, for messages.
pub(crate) const FILTER_LIST: &str = "lower, upper, trim, default:'…', json, string, number, base64, \
     base64url, hex, urlencode, md5, sha1, sha256, after_last:'…', before_first:'…', \
     replace:'…','…', join:'…', date:'…', iso8601, epoch, unix_seconds, unix_ms, datetime:'…', boolean, lookup:'…'";

/// Longest chain of filters, bytes; a template cannot hold more.
const FILTERS_BYTES_MAX: usize = 8192;
/// Longest formatted time, bytes: a width such as `%255d` makes many out of few. Names of months and days vary by
/// less than the rest.
const DATE_BYTES_MAX: usize = 1024;
/// Longest number as text, digits: longer ones are no number of any vendor, and reading one takes a step a digit.
const NUMBER_BYTES_MAX: usize = 1024;
/// Steps of a byte whose letter has to be found in a table.
const CASE_STEPS: u64 = 8;
/// Steps of a byte in which something is looked for.
const SEARCH_STEPS: u64 = 4;
/// Steps of one place where it is found and replaced.
const MATCH_STEPS: u64 = 32;

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
    /// A date format that makes a text too long.
    #[error("{0:?} makes more than {DATE_BYTES_MAX} bytes; a width such as %255d fills up to it")]
    DateLength(String),
    /// A zone that the time zone database does not have.
    #[error("{0:?} is not a time zone; write its IANA name, such as 'Europe/Berlin' or 'UTC'")]
    Zone(String),
}

/// Why filters have no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfiltered {
    /// The chain would cost more than is left.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    /// A filter cannot read its value.
    #[error("cannot be read by the filter {filter}: it is {found}")]
    Unfit {
        /// Name of the filter.
        filter: &'static str,
        /// What the value is: its type, never itself.
        found: String,
    },
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
        ("unix_seconds", None, ..) => Filter::UnixSeconds,
        ("unix_ms", None, ..) => Filter::UnixMs,
        ("boolean", None, ..) => Filter::Boolean,
        ("default", Some(text), None, _) => Filter::Default(text),
        ("join", Some(text), None, _) => Filter::Join(text),
        // Why: an empty separator is found everywhere and separates nothing.
        ("after_last", Some(text), None, _) if !text.is_empty() => Filter::AfterLast(text),
        ("before_first", Some(text), None, _) if !text.is_empty() => Filter::BeforeFirst(text),
        ("replace", Some(from), Some(to), None) if !from.is_empty() => Filter::Replace(from, to),
        ("date", Some(format), None, _) => time::checked_date(format)?,
        ("datetime", Some(zone), None, _) => time::checked_zone(zone)?,
        ("lookup", Some(table), None, _) if !table.is_empty() => Filter::Lookup(table),
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

/// Applies filters from left to right; `None` means absent. What every filter makes and reads is asked of the budget
/// before it is made or read.
///
/// # Errors
/// [`Unfiltered`] if the chain would cost more than is left, or if a filter cannot read its value and no `default`
/// follows it.
pub fn apply_filters<'v>(
    value: Option<Cow<'v, Value>>,
    filters: &[Filter],
    tables: &Tables,
    budget: &Budget,
) -> Result<Option<Cow<'v, Value>>, Unfiltered> {
    let mut value = value;
    let mut rest = filters.iter();
    while let Some(filter) = rest.next() {
        budget.step(1)?;
        let null = value.as_deref().is_some_and(Value::is_null);
        value = match (value.filter(|found| !found.is_null()), filter) {
            (Some(found), Filter::Default(_)) => Some(found),
            (Some(found), _) => match apply(filter, found, tables, budget) {
                Err(Unfiltered::Unfit { .. })
                    if rest.clone().any(|later| matches!(later, Filter::Default(_))) =>
                {
                    None
                }
                applied => applied?,
            },
            (None, Filter::Default(text)) => {
                budget.make(text.len())?;
                Some(Cow::Owned(Value::String(text.clone())))
            }
            // Why kept: a null that somebody said is no absence, and a filter must not make it one.
            (None, _) => null.then_some(Cow::Owned(Value::Null)),
        };
    }
    Ok(value)
}

/// The outcome of one filter.
type Filtered<'v> = Result<Option<Cow<'v, Value>>, Unfiltered>;

fn apply<'v>(filter: &Filter, value: Cow<'v, Value>, tables: &Tables, budget: &Budget) -> Filtered<'v> {
    match filter {
        Filter::Default(_) => Ok(Some(value)),
        Filter::Lookup(table) => lookup(table, &value, tables, budget),
        Filter::Lower | Filter::Upper | Filter::Trim | Filter::Replace(..) => {
            change_text(filter, value, budget)
        }
        Filter::BeforeFirst(_) | Filter::AfterLast(_) => part_of_text(filter, value, budget),
        Filter::Join(separator) => join(value, separator, budget),
        Filter::Number => to_number(value, budget),
        Filter::Boolean => to_boolean(value, budget),
        Filter::String if value.is_string() => Ok(Some(value)),
        Filter::String => text(whole_text(&value, budget)?.into_owned()),
        Filter::Json => text(budget.json(&value)?),
        Filter::Base64 | Filter::Base64Url | Filter::Hex | Filter::UrlEncode => {
            encode(filter, &value, budget)
        }
        Filter::Md5 => digest::<Md5>(&value, budget),
        Filter::Sha1 => digest::<Sha1>(&value, budget),
        Filter::Sha256 => digest::<Sha256>(&value, budget),
        Filter::Date(_)
        | Filter::Iso8601
        | Filter::Epoch
        | Filter::UnixSeconds
        | Filter::UnixMs
        | Filter::Datetime(_) => time::apply(filter, &value, budget),
    }
}

/// The error of a filter that cannot read this value; `but` says more about a text or a number.
fn unfit(filter: &'static str, value: &Value, but: &str) -> Unfiltered {
    let but = if value.is_number() || value.is_string() { but } else { "" };
    Unfiltered::Unfit { filter, found: format!("{}{but}", kind_of(value)) }
}

/// A text that was made and paid for.
fn text<'v>(text: String) -> Filtered<'v> {
    Ok(Some(Cow::Owned(Value::String(text))))
}

/// Any value as text. Why not leave a list unchanged: a value that was to be hashed must never
/// be sent in the clear because it was a list.
fn whole_text<'a>(value: &'a Value, budget: &Budget) -> Result<Cow<'a, str>, Exceeded> {
    match scalar_cow(value) {
        Some(text) => {
            budget.step(text.len() as u64)?;
            Ok(text)
        }
        None => budget.json(value).map(Cow::Owned),
    }
}

fn encode<'v>(filter: &Filter, value: &Value, budget: &Budget) -> Filtered<'v> {
    let given = whole_text(value, budget)?;
    let length = match filter {
        Filter::Hex => given.len().saturating_mul(2),
        Filter::UrlEncode => escape::percent_length(&given),
        _ => given.len().div_ceil(3).saturating_mul(4),
    };
    budget.make(length)?;
    text(match filter {
        Filter::Base64 => STANDARD.encode(&*given),
        Filter::Base64Url => URL_SAFE_NO_PAD.encode(&*given),
        Filter::Hex => hex::encode(&*given),
        _ => {
            let mut out = String::with_capacity(length);
            escape::percent_encode(&given, &mut out);
            out
        }
    })
}

fn digest<'v, D: Digest>(value: &Value, budget: &Budget) -> Filtered<'v> {
    let given = whole_text(value, budget)?;
    budget.make(<D as Digest>::output_size().saturating_mul(2))?;
    text(hex::encode(D::digest(given.as_bytes())))
}

/// Filters that turn a text into another of about its length, and leave any other value as it is.
fn change_text<'v>(filter: &Filter, value: Cow<'v, Value>, budget: &Budget) -> Filtered<'v> {
    let Value::String(given) = &*value else { return Ok(Some(value)) };
    let steps = match filter {
        Filter::Lower | Filter::Upper if !given.is_ascii() => CASE_STEPS,
        Filter::Replace(..) => SEARCH_STEPS,
        _ => 1,
    };
    budget.step(steps.saturating_mul(given.len() as u64))?;
    let bytes = |chars: &mut dyn Iterator<Item = char>| chars.map(char::len_utf8).sum::<usize>();
    // Why counted and not estimated: a few letters have a longer twin, and one letter may become thousands.
    let length = match filter {
        Filter::Lower | Filter::Upper if given.is_ascii() => given.len(),
        Filter::Lower => bytes(&mut given.chars().flat_map(char::to_lowercase)),
        Filter::Upper => bytes(&mut given.chars().flat_map(char::to_uppercase)),
        Filter::Replace(from, to) => {
            let count = given.matches(from.as_str()).count();
            budget.step(MATCH_STEPS.saturating_mul(count as u64))?;
            let kept = given.len().saturating_sub(count.saturating_mul(from.len()));
            kept.saturating_add(count.saturating_mul(to.len()))
        }
        _ => given.trim().len(),
    };
    budget.make(length)?;
    text(match filter {
        Filter::Lower => given.to_lowercase(),
        Filter::Upper => given.to_uppercase(),
        Filter::Replace(from, to) => given.replace(from.as_str(), to),
        _ => given.trim().to_owned(),
    })
}

/// Filters that take a part of a text.
fn part_of_text<'v>(filter: &Filter, value: Cow<'v, Value>, budget: &Budget) -> Filtered<'v> {
    let Value::String(given) = &*value else { return Ok(Some(value)) };
    budget.step(given.len() as u64)?;
    let part = match filter {
        Filter::BeforeFirst(stop) => {
            given.split_once(stop.as_str()).map_or(given.as_str(), |(before, _)| before)
        }
        // Why absent and not the whole text: `{{cred.key|after_last:'-'}}` makes a host label, and a
        // key without a hyphen must not be sent to a resolver.
        Filter::AfterLast(stop) => match given.rsplit_once(stop.as_str()) {
            Some((_, after)) => after,
            None => return Ok(None),
        },
        _ => given,
    };
    budget.make(part.len())?;
    text(part.to_owned())
}

/// Text of JSON's number grammar, its digits kept: an id is no quantity that may be rounded.
fn to_number<'v>(value: Cow<'v, Value>, budget: &Budget) -> Filtered<'v> {
    let given = match &*value {
        Value::Number(_) => return Ok(Some(value)),
        Value::String(text) => text.trim(),
        other => return Err(unfit("number", other, "")),
    };
    let unread = || unfit("number", &value, " that is no number as JSON writes it, such as -1234.5");
    if given.len() > NUMBER_BYTES_MAX {
        return Err(unread());
    }
    budget.step(given.len() as u64)?;
    let number: Number = given.parse().map_err(|_| unread())?;
    Ok(Some(Cow::Owned(Value::Number(number))))
}

fn to_boolean<'v>(value: Cow<'v, Value>, budget: &Budget) -> Filtered<'v> {
    let read = match &*value {
        Value::Bool(_) => return Ok(Some(value)),
        Value::Number(number) => match number.as_f64() {
            Some(0.0) => Some(false),
            Some(1.0) => Some(true),
            _ => None,
        },
        Value::String(text) => {
            budget.step(text.len() as u64)?;
            truth(text)
        }
        _ => None,
    };
    let unread = || unfit("boolean", &value, " other than true, false, yes, no, y, n, on, off, 1 and 0");
    read.map(|flag| Some(Cow::Owned(Value::Bool(flag)))).ok_or_else(unread)
}

fn join<'v>(value: Cow<'v, Value>, separator: &str, budget: &Budget) -> Filtered<'v> {
    let Value::Array(items) = &*value else { return Ok(Some(value)) };
    let mut out = String::new();
    for (index, item) in items.iter().filter(|item| !item.is_null()).enumerate() {
        let Some(item) = scalar_cow(item) else {
            return Err(Unfiltered::Unfit {
                filter: "join",
                found: "an array with arrays or objects in it".to_owned(),
            });
        };
        let separator = if index == 0 { "" } else { separator };
        budget.make(separator.len().saturating_add(item.len()))?;
        out.push_str(separator);
        out.push_str(&item);
    }
    text(out)
}

#[cfg(test)]
mod tests;
