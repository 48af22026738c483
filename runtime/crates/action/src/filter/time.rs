//! The filters that read a time. A time has a zone, or the filter says which: a local time read as UTC would be off by
//! hours, and seconds read as milliseconds by decades.

use std::borrow::Cow;

use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Number, Value};

use super::{DATE_BYTES_MAX, Filter, FilterError, Filtered, Unfiltered, unfit};
use crate::budget::Budget;

/// Longest text that is read as a time, bytes.
const TIME_BYTES_MAX: usize = 256;
/// Numbers that are more likely seconds than milliseconds: 1973 to 5138 as one, the first three years of the count as
/// the other.
const LIKELY_SECONDS: std::ops::Range<u64> = 100_000_000..100_000_000_000;

/// A format is tested on a fixed time, so that an invalid one is found when the definition is read.
pub(super) fn checked_date(format: String) -> Result<Filter, FilterError> {
    let shown = || format.chars().take(80).collect();
    match format_moment(&format, Timestamp::UNIX_EPOCH) {
        Some(text) if text.len() <= DATE_BYTES_MAX => Ok(Filter::Date(format)),
        Some(_) => Err(FilterError::DateLength(shown())),
        None => Err(FilterError::DateFormat(shown())),
    }
}

/// A zone is looked up when the definition is read.
pub(super) fn checked_zone(name: String) -> Result<Filter, FilterError> {
    match TimeZone::get(&name) {
        Ok(_) => Ok(Filter::Datetime(name)),
        Err(_) => Err(FilterError::Zone(name.chars().take(80).collect())),
    }
}

/// Applies one of the filters that read a time.
pub(super) fn apply<'v>(filter: &Filter, value: &Value, budget: &Budget) -> Filtered<'v> {
    // Why by the format too: it was measured at one time, and a directive may make more digits at another.
    let format = if let Filter::Date(format) = filter { format.len() } else { 0 };
    budget.make(DATE_BYTES_MAX.saturating_add(format.saturating_mul(8)))?;
    let (name, moment) = match filter {
        Filter::UnixSeconds => ("unix_seconds", counted(value, "unix_seconds", false)?),
        Filter::UnixMs => ("unix_ms", counted(value, "unix_ms", true)?),
        Filter::Datetime(zone) => ("datetime", in_zone(value, zone)?),
        Filter::Date(_) => ("date", moment(value, "date")?),
        Filter::Epoch => ("epoch", moment(value, "epoch")?),
        _ => ("iso8601", moment(value, "iso8601")?),
    };
    let made = match filter {
        Filter::Date(format) => format_moment(format, moment).map(Value::String),
        Filter::Epoch => Some(Value::Number(moment.as_second().into())),
        _ => Some(Value::String(moment.to_string())),
    };
    made.map(|made| Some(Cow::Owned(made))).ok_or_else(|| unfit(name, value, ""))
}

/// A time: milliseconds since 1970, RFC 3339 text, or a full date (its midnight in UTC).
fn moment(value: &Value, filter: &'static str) -> Result<Timestamp, Unfiltered> {
    match value {
        Value::Number(number) => {
            let seconds = " of seconds, it seems; unix_seconds reads those, unix_ms milliseconds";
            let ms = number.as_i64().ok_or_else(|| unfit(filter, value, " that counts no milliseconds"))?;
            if LIKELY_SECONDS.contains(&ms.unsigned_abs()) {
                return Err(unfit(filter, value, seconds));
            }
            Timestamp::from_millisecond(ms).map_err(|_| unfit(filter, value, " outside the calendar"))
        }
        Value::String(text) => {
            let text = text.trim();
            if let Some(day) = day(text) {
                return day
                    .to_zoned(TimeZone::UTC)
                    .map(|day| day.timestamp())
                    .map_err(|_| unread(filter, value));
            }
            // Why: no time is longer, and a text may be as long as a body.
            let moment = if text.len() > TIME_BYTES_MAX { None } else { text.parse().ok() };
            moment.ok_or_else(|| match local(text) {
                Some(_) => {
                    unfit(filter, value, " with a time that has no zone; datetime:'<zone>' reads those")
                }
                None => unread(filter, value),
            })
        }
        other => Err(unfit(filter, other, "")),
    }
}

fn unread(filter: &'static str, value: &Value) -> Unfiltered {
    unfit(filter, value, " that is no time as RFC 3339 writes it, such as 2026-11-22T13:54:00Z")
}

/// A full date.
fn day(text: &str) -> Option<Date> {
    if text.len() == "2026-11-22".len() { text.parse().ok() } else { None }
}

/// A date and time without a zone.
fn local(text: &str) -> Option<DateTime> {
    if text.len() > TIME_BYTES_MAX { None } else { text.parse().ok() }
}

/// A local time of a zone. One that says its own offset is taken at its word. In the hour that a clock skips or has
/// twice it is the one of RFC 5545: the offset before the change.
fn in_zone(value: &Value, zone: &str) -> Result<Timestamp, Unfiltered> {
    let unread = || unfit("datetime", value, " that is no date and time, such as 2026-11-22T13:54:00");
    let Value::String(text) = value else {
        return Err(unfit("datetime", value, "; unix_seconds and unix_ms read those"));
    };
    let text = text.trim();
    if text.len() <= TIME_BYTES_MAX
        && let Ok(moment) = text.parse()
    {
        return Ok(moment);
    }
    let zone = TimeZone::get(zone).map_err(|_| unread())?;
    let local = local(text).ok_or_else(unread)?;
    local.to_zoned(zone).map(|local| local.timestamp()).map_err(|_| unread())
}

/// A count since 1970, as a number or as text.
fn counted(value: &Value, filter: &'static str, is_ms: bool) -> Result<Timestamp, Unfiltered> {
    let unread = || unfit(filter, value, " that counts nothing since 1970");
    let number: Number = match value {
        Value::Number(number) => number.clone(),
        Value::String(text) if text.len() <= TIME_BYTES_MAX => text.trim().parse().map_err(|_| unread())?,
        _ => return Err(unread()),
    };
    let moment = match (number.as_i64(), is_ms) {
        (Some(count), true) => Timestamp::from_millisecond(count).ok(),
        (Some(count), false) => Timestamp::from_second(count).ok(),
        // A fraction: of a second, or of a millisecond.
        (None, _) => {
            let seconds = number.as_f64().map(|count| if is_ms { count / 1000.0 } else { count });
            let duration = seconds.and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok());
            duration.and_then(|duration| Timestamp::from_duration(duration).ok())
        }
    };
    moment.ok_or_else(unread)
}

fn format_moment(format: &str, moment: Timestamp) -> Option<String> {
    strtime::format(format, &moment.to_zoned(TimeZone::UTC)).ok()
}

/// RFC 3339 in UTC of milliseconds since 1970; absent outside the calendar's range.
pub(crate) fn rfc3339_of_ms(ms: i64) -> Option<String> {
    Timestamp::from_millisecond(ms).ok().map(|moment| moment.to_string())
}
