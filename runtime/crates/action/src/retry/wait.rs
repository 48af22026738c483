//! The wait that an answer asks for: from headers of several kinds, or from the body.
//!
//! Vendors differ in everything here, so several headers may apply and several values may be in
//! one header: the longest wait wins, because after too short a wait the upstream refuses again. What
//! cannot be parsed is ignored.

use std::time::Duration;

use jiff::fmt::{rfc2822, strtime};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Map, Value};

use crate::path::Path;
use crate::retry::{RetryPlan, WaitBody, WaitHeader, WaitKind};

/// Values of one header that are looked at. Each is read in several forms, and a header may be all commas.
const PARTS_MAX: usize = 64;
/// Longest text that is read as a wait, bytes.
const TEXT_BYTES_MAX: usize = 256;

/// The wait that an answer asks for, if it does. A point in time in the past is no wait.
#[must_use]
pub fn wait_of(
    plan: &RetryPlan,
    headers: &Map<String, Value>,
    body: &Value,
    now_ms: i64,
) -> Option<Duration> {
    let from_headers = plan.headers.iter().filter_map(|header| header_wait(header, headers, now_ms));
    let from_body = plan.body.as_ref().and_then(|place| body_wait(place, body, now_ms));
    from_headers.chain(from_body).max()
}

fn header_wait(header: &WaitHeader, headers: &Map<String, Value>, now_ms: i64) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(Value::as_str);
    if let Some(other) = &header.when_remaining_zero {
        let zero = text(other)?.split(',').any(|part| number(part.trim()) == Some(0.0));
        if !zero {
            return None;
        }
    }
    let parts: Vec<&str> = text(&header.name)?.split(',').take(PARTS_MAX).collect();
    // Why pairs: an HTTP date contains a comma.
    let pairs = parts.windows(2).map(|pair| pair.join(","));
    let single = parts.iter().map(|part| (*part).to_owned());
    single.chain(pairs).filter_map(|part| read(&part, header.kind, now_ms)).max()
}

fn body_wait(place: &WaitBody, body: &Value, now_ms: i64) -> Option<Duration> {
    let found = Path::parse(&place.path)?;
    let found = found.first(body)?;
    let text = match found {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    match &place.pattern {
        Some(pattern) => read(pattern.capture(&text)?, place.kind, now_ms),
        None => read(&text, place.kind, now_ms),
    }
}

/// The wait that a text gives.
fn read(text: &str, kind: WaitKind, now_ms: i64) -> Option<Duration> {
    let text = text.trim();
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    match kind {
        WaitKind::Auto => match number(text) {
            Some(value) if value > 1e12 => Some(until(value, now_ms)),
            Some(value) if value > 1e9 => Some(until(value * 1000.0, now_ms)),
            Some(value) => seconds(value),
            None => [WaitKind::HttpDate, WaitKind::Iso8601, WaitKind::Duration]
                .into_iter()
                .find_map(|kind| read(text, kind, now_ms)),
        },
        WaitKind::Seconds => seconds(number(text)?),
        WaitKind::EpochS => Some(until(number(text)? * 1000.0, now_ms)),
        WaitKind::EpochMs => Some(until(number(text)?, now_ms)),
        WaitKind::HttpDate => Some(until_instant(http_date(text)?, now_ms)),
        WaitKind::Iso8601 => Some(until_instant(text.parse().ok()?, now_ms)),
        WaitKind::Duration => duration(text),
    }
}

/// Digits with at most one point: no sign, no exponent, no `inf`.
fn number(text: &str) -> Option<f64> {
    let plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let value: f64 = if plain { text.parse().ok()? } else { return None };
    value.is_finite().then_some(value)
}

fn seconds(value: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(value).ok()
}

fn until(at_ms: f64, now_ms: i64) -> Duration {
    // The cast of a float saturates.
    let wait = (at_ms as i64).saturating_sub(now_ms);
    Duration::from_millis(u64::try_from(wait).unwrap_or(0))
}

fn until_instant(at: Timestamp, now_ms: i64) -> Duration {
    let wait = at.as_millisecond().saturating_sub(now_ms);
    Duration::from_millis(u64::try_from(wait).unwrap_or(0))
}

/// The three forms of RFC 9110 section 5.6.7; the two obsolete ones must still be read.
fn http_date(text: &str) -> Option<Timestamp> {
    // Why relaxed: a wrong name of the day does not change the time.
    let parser = rfc2822::DateTimeParser::new().relaxed_weekday(true);
    if let Ok(at) = parser.parse_timestamp(text) {
        return Some(at);
    }
    ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"].into_iter().find_map(|format| {
        let civil = strtime::parse(format, text).ok()?.to_datetime().ok()?;
        Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })
}

/// `1h2m`, `6m0s`, `1.5s`, `200ms`: numbers with units, largest first or not.
fn duration(text: &str) -> Option<Duration> {
    let mut total = None;
    let mut rest = text;
    while !rest.is_empty() {
        let (count, tail) = rest.split_at_checked(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?)?;
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(end)?;
        let unit_seconds = match unit.trim() {
            "d" => 86_400.0,
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let part = seconds(number(count)? * unit_seconds)?;
        total = Some(total.unwrap_or(Duration::ZERO).checked_add(part)?);
        rest = tail;
    }
    total
}

#[cfg(test)]
mod tests;
