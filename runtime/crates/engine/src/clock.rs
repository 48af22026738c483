//! Time, chance and new identifiers: the inputs that pure code gets from outside.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use portcullis_core::id::InvalidId;
use uuid::{Builder, Uuid};

/// Now, RFC 3339 in UTC with microseconds.
#[must_use]
pub fn now() -> String {
    format!("{:.6}", Timestamp::now())
}

pub(crate) const HOUR_MS: u64 = 3_600_000;
pub(crate) const DAY_MS: u64 = 24 * HOUR_MS;

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default()
}

/// The clock by which schedules fire: the system's, or one that a test moves.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl WallClock {
    /// A clock that shows what this function returns, milliseconds since 1970.
    pub fn new(now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_ms))
    }

    pub(crate) fn now_ms(&self) -> u64 {
        (self.0)()
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new(now_ms)
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WallClock").field(&self.now_ms()).finish()
    }
}

/// A time in milliseconds since 1970; the latest that can be represented for a later one.
pub(crate) fn timestamp(ms: u64) -> Timestamp {
    i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}

/// The same, backwards; a time before 1970 counts as 1970.
pub(crate) fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or_default()
}

/// A number from 0 to 1, so that what failed together is not tried again together.
pub(crate) fn jitter() -> f64 {
    let mut bytes = [0_u8; 4];
    // Why ignored: without randomness there is no jitter, and no harm.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX)
}

/// Whether an RFC 3339 time has passed. An unreadable time counts as passed: fail closed.
#[must_use]
pub fn has_passed(time: &str) -> bool {
    time.parse::<Timestamp>().map_or(true, |t| t <= Timestamp::now())
}

/// A time in the form of [`now`]; `None` for a text that is none.
pub(crate) fn normal(text: &str) -> Option<String> {
    text.parse::<Timestamp>().ok().map(|at| format!("{at:.6}"))
}

/// A time in milliseconds since 1970, RFC 3339 in UTC; the latest that can be represented for a later one.
#[must_use]
pub fn of_ms(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", at.unwrap_or(Timestamp::MAX))
}

/// Microseconds since 1970 of an RFC 3339 time; a time before then counts as 1970. `None` for a text that is none.
pub(crate) fn micros(text: &str) -> Option<u64> {
    let at = text.parse::<Timestamp>().ok()?;
    Some(u64::try_from(at.as_microsecond()).unwrap_or_default())
}

/// The time after this wait, RFC 3339 in UTC with milliseconds; at most the latest time that can be represented.
#[must_use]
pub fn after(wait: impl TryInto<SignedDuration>) -> String {
    let wait = wait.try_into().unwrap_or(SignedDuration::MAX);
    let at = Timestamp::now().saturating_add(wait).unwrap_or(Timestamp::MAX);
    format!("{at:.3}")
}

/// The time that was this long ago, RFC 3339 in UTC with milliseconds; at least the earliest that can be represented.
#[must_use]
pub(crate) fn before(ago: impl TryInto<SignedDuration>) -> String {
    let ago = ago.try_into().unwrap_or(SignedDuration::MAX);
    let at = Timestamp::now().saturating_sub(ago).unwrap_or(Timestamp::MIN);
    format!("{at:.3}")
}

/// The current time in HTTP's form (RFC 9110 section 5.6.7).
#[must_use]
pub fn http_date() -> String {
    Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Whole seconds until an RFC 3339 time, at least one; `None` for a text that is not a time.
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

/// A new id: a prefix and a UUIDv7 (RFC 9562), so that ids sort by time.
///
/// # Errors
/// [`InvalidId`] if the prefix does not fit the id's pattern; prefixes are constants.
pub fn fresh<T>(prefix: &str, parse: impl FnOnce(&str) -> Result<T, InvalidId>) -> Result<T, InvalidId> {
    parse(&fresh_text(prefix))
}

/// The text of a new id.
#[must_use]
pub fn fresh_text(prefix: &str) -> String {
    format!("{prefix}_{}", uuid().simple())
}

/// An id that is always the same for this time and these ten bytes, in the form of one of [`fresh`].
pub(crate) fn text_of(prefix: &str, ms: u64, bytes: &[u8; RANDOM_BYTES]) -> String {
    format!("{prefix}_{}", Builder::from_unix_timestamp_millis(ms, bytes).into_uuid().simple())
}

/// Ids for which random bytes are drawn together, to make fewer system calls.
const DRAWN: usize = 32;
/// Random bytes of a UUIDv7.
pub(crate) const RANDOM_BYTES: usize = 10;

thread_local! {
    /// Random bytes that no id has used. Ids are names and not secret, so it does not matter where they are kept.
    static UNUSED: RefCell<Vec<[u8; RANDOM_BYTES]>> = const { RefCell::new(Vec::new()) };
}

fn uuid() -> Uuid {
    let random = UNUSED.with_borrow_mut(|unused| {
        if unused.is_empty() {
            let mut drawn = [0; DRAWN * RANDOM_BYTES];
            getrandom::fill(&mut drawn).ok()?;
            unused.extend(drawn.as_chunks().0);
        }
        unused.pop()
    });
    match random {
        Some(random) => Builder::from_unix_timestamp_millis(now_ms(), &random).into_uuid(),
        // Without randomness there are no ids; the library then panics.
        None => Uuid::now_v7(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_date_is_written_as_http_wants_it() {
        let date = http_date();
        let read = jiff::fmt::rfc2822::parse(&date).unwrap().timestamp();
        assert!(Timestamp::now().duration_since(read) < SignedDuration::from_secs(60), "{date}");
        assert_eq!((date.len(), date.ends_with(" GMT")), ("Sun, 06 Nov 1994 08:49:37 GMT".len(), true));
    }

    #[test]
    fn ids_are_version_7_of_now_and_never_the_same() {
        let before = u64::try_from(Timestamp::now().as_millisecond()).unwrap();
        let threads = (0..4).map(|_| std::thread::spawn(|| (0..1000).map(|_| uuid()).collect::<Vec<_>>()));
        let threads: Vec<_> = threads.collect();
        let ids: HashSet<Uuid> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids.len(), 4000);
        for id in ids {
            assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
            let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
            let ms = seconds * 1000 + u64::from(nanos) / 1_000_000;
            assert!((before..before + 60_000).contains(&ms), "{ms}");
        }
    }
}
