//! Time and fresh identifiers: the two things that pure code is handed from outside.

use jiff::{SignedDuration, Timestamp};
use portcullis_core::id::InvalidId;
use uuid::Uuid;

/// Now, RFC 3339 in UTC with microseconds.
#[must_use]
pub fn now() -> String {
    format!("{:.6}", Timestamp::now())
}

/// Whether an RFC 3339 time has passed. An unreadable time has: fail closed.
#[must_use]
pub fn has_passed(time: &str) -> bool {
    time.parse::<Timestamp>().map_or(true, |t| t <= Timestamp::now())
}

/// The time that is so far from now, RFC 3339 in UTC with milliseconds; the end of time when it is farther.
#[must_use]
pub fn after(wait: impl TryInto<SignedDuration>) -> String {
    let wait = wait.try_into().unwrap_or(SignedDuration::MAX);
    let at = Timestamp::now().saturating_add(wait).unwrap_or(Timestamp::MAX);
    format!("{at:.3}")
}

/// Whole seconds until an RFC 3339 time, at least one; `None` for a text that is no time.
#[must_use]
pub fn seconds_until(time: &str) -> Option<u64> {
    let left = time.parse::<Timestamp>().ok()?.duration_since(Timestamp::now());
    let whole = left.as_secs().saturating_add(i64::from(left.subsec_nanos() > 0));
    Some(u64::try_from(whole).unwrap_or(0).max(1))
}

/// Whether a text is an RFC 3339 time.
#[must_use]
pub fn is_time(text: &str) -> bool {
    text.parse::<Timestamp>().is_ok()
}

/// A fresh id: a prefix and a UUIDv7 (RFC 9562), so that ids sort by time.
///
/// # Errors
/// [`InvalidId`] when the prefix does not fit the id's pattern; prefixes are constants.
pub fn fresh<T>(prefix: &str, parse: impl FnOnce(&str) -> Result<T, InvalidId>) -> Result<T, InvalidId> {
    parse(&format!("{prefix}_{}", Uuid::now_v7().simple()))
}
