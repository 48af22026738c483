//! Failed logins are slowed, each source by itself: only the answer that refuses waits, never a request with a valid token.
//!
//! A source has a number of failures at once for nothing, then they are answered at a steady pace. What is kept of a
//! source is one instant; where there are more sources than have room, the new ones share one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use portcullis_core::limits::Limits;
use portcullis_core::sync::lock;

/// Time between two refusals of a source that has no failures left: ten a second are more than a person makes, and
/// a client with an old token notices nothing.
const PACE: Duration = Duration::from_millis(100);

/// The failures of each source.
pub(crate) struct LoginDelay {
    sources_max: usize,
    /// Time that is used up before an answer waits.
    free: Duration,
    delay_max: Duration,
    waiting_max: usize,
    waiting: AtomicUsize,
    sources: Mutex<Sources>,
}

#[derive(Default)]
struct Sources {
    /// When the failures of each would have come if they had kept to the pace.
    paced: HashMap<IpAddr, Instant>,
    /// The same for all that have no room.
    others: Option<Instant>,
}

impl LoginDelay {
    pub(crate) fn new(limits: &Limits) -> Self {
        let number = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            sources_max: number(limits.login_sources),
            free: PACE.saturating_mul(u32::try_from(limits.login_failures).unwrap_or(u32::MAX)),
            delay_max: Duration::from_millis(limits.login_delay_ms),
            waiting_max: number(limits.login_waiters),
            waiting: AtomicUsize::new(0),
            sources: Mutex::default(),
        }
    }

    /// Waits before the answer to a failed login of this source.
    pub(crate) async fn slow(&self, source: IpAddr) {
        let wait = self.take(source, Instant::now());
        if wait.is_zero() {
            return;
        }
        let Some(_place) = self.place() else { return };
        tokio::time::sleep(wait).await;
    }

    fn place(&self) -> Option<Place<'_>> {
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= self.waiting_max {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Place(&self.waiting))
    }

    /// Notes a failure; returns how long its answer waits.
    fn take(&self, source: IpAddr, now: Instant) -> Duration {
        let mut sources = lock(&self.sources);
        let source = network(source);
        if sources.paced.len() >= self.sources_max && !sources.paced.contains_key(&source) {
            sources.paced.retain(|_, paced| *paced > now);
        }
        let has_room = sources.paced.len() < self.sources_max || sources.paced.contains_key(&source);
        let paced = match has_room {
            true => sources.paced.entry(source).or_insert(now),
            false => sources.others.get_or_insert(now),
        };
        // Why bounded: however many there were, the source is as before a little later.
        let latest = now + self.free + self.delay_max;
        *paced = ((*paced).max(now) + PACE).min(latest);
        paced.saturating_duration_since(now).saturating_sub(self.free).min(self.delay_max)
    }
}

/// One of the answers that wait.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What counts as one source: an IPv4 address, or the /64 that a host of IPv6 has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delay(sources: u64) -> LoginDelay {
        let limits = Limits {
            login_sources: sources,
            login_failures: 3,
            login_delay_ms: 250,
            login_waiters: 2,
            ..Limits::default()
        };
        LoginDelay::new(&limits)
    }

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn waits(delay: &LoginDelay, source: &str, times: usize, now: Instant) -> Vec<u128> {
        (0..times).map(|_| delay.take(at(source), now).as_millis()).collect()
    }

    #[test]
    fn a_source_has_some_failures_for_nothing_and_then_waits_up_to_a_limit() {
        let (delay, now) = (delay(10), Instant::now());
        assert_eq!(waits(&delay, "192.0.2.1", 7, now), [0, 0, 0, 100, 200, 250, 250]);
        assert_eq!(waits(&delay, "192.0.2.2", 3, now), [0, 0, 0], "another source is not slowed");
        let later = now + Duration::from_secs(1);
        assert_eq!(waits(&delay, "192.0.2.1", 4, later), [0, 0, 0, 100], "it is forgotten in time");
    }

    #[test]
    fn a_host_of_ipv6_is_one_source_whatever_address_it_takes() {
        let (delay, now) = (delay(10), Instant::now());
        waits(&delay, "2001:db8::1", 3, now);
        assert_eq!(waits(&delay, "2001:db8::ffff:1", 1, now), [100]);
        assert_eq!(waits(&delay, "2001:db8:0:1::1", 1, now), [0]);
        assert_eq!(waits(&delay, "::ffff:192.0.2.1", 3, now), [0, 0, 0]);
        assert_eq!(waits(&delay, "192.0.2.1", 1, now), [100]);
    }

    #[test]
    fn sources_beyond_the_limit_share_one_and_take_no_memory() {
        let (delay, now) = (delay(2), Instant::now());
        waits(&delay, "192.0.2.1", 1, now);
        waits(&delay, "192.0.2.2", 1, now);
        let others: Vec<u128> =
            (3..8).map(|n| delay.take(at(&format!("192.0.2.{n}")), now).as_millis()).collect();
        assert_eq!(others, [0, 0, 0, 100, 200]);
        assert_eq!(lock(&delay.sources).paced.len(), 2);
        let later = now + Duration::from_secs(1);
        assert_eq!(waits(&delay, "192.0.2.9", 1, later), [0]);
        assert_eq!(lock(&delay.sources).paced.len(), 1);
    }

    #[test]
    fn no_more_answers_wait_than_may() {
        let delay = delay(2);
        let (first, second) = (delay.place(), delay.place());
        assert!(first.is_some() && second.is_some() && delay.place().is_none());
        drop(first);
        assert!(delay.place().is_some());
    }
}
