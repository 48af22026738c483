//! How many calls each org made within the last minute: two counts an org, of the current minute and of the one before.
//! Of the one before, the part counts that is within the last minute if its calls were spread evenly.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use portcullis_core::sync::lock;

const MINUTE: Duration = Duration::from_secs(60);
/// Orgs above which those that made no call lately are forgotten.
const ORGS_KEPT: usize = 1024;

/// The counts of one org.
#[derive(Debug, Clone, Copy)]
struct Counts {
    /// When the current minute began.
    since: Instant,
    current: u64,
    before: u64,
}

impl Counts {
    const fn new(now: Instant) -> Self {
        Self { since: now, current: 0, before: 0 }
    }

    /// Begins the minute of now.
    fn roll(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        if passed < MINUTE {
            return;
        }
        let was_last = passed < MINUTE * 2;
        *self = Self {
            since: if was_last { self.since + MINUTE } else { now },
            current: 0,
            before: if was_last { self.current } else { 0 },
        };
    }

    /// Milliseconds of the current minute that have passed.
    fn passed_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX).min(60_000)
    }

    /// Calls within the last minute.
    fn used(&self, now: Instant) -> u64 {
        let left_ms = 60_000 - self.passed_ms(now);
        let before = u128::from(self.before) * u128::from(left_ms) / 60_000;
        self.current.saturating_add(u64::try_from(before).unwrap_or(u64::MAX))
    }

    fn take(&mut self, most: u64, now: Instant) -> Result<(), Duration> {
        self.roll(now);
        if self.used(now) < most {
            self.current = self.current.saturating_add(1);
            return Ok(());
        }
        Err(self.wait(most, now))
    }

    /// How long it takes until there is room for one more.
    fn wait(&self, most: u64, now: Instant) -> Duration {
        let passed_ms = self.passed_ms(now);
        // When the part of `count` calls that still counts is below `room`, milliseconds from the minute's beginning.
        let below = |count: u64, room: u64| {
            let kept = u128::from(room).saturating_mul(60_000) / u128::from(count.max(1));
            60_000_u64.saturating_sub(u64::try_from(kept).unwrap_or(60_000).min(60_000)).saturating_add(1)
        };
        let ms = if self.current < most {
            below(self.before, most - self.current).saturating_sub(passed_ms)
        } else {
            (60_000 - passed_ms).saturating_add(below(self.current, most))
        };
        Duration::from_millis(ms.max(1))
    }
}

/// The counts of all orgs.
#[derive(Default)]
pub(super) struct Minutes(Mutex<HashMap<Box<str>, Counts>>);

impl Minutes {
    /// Counts a call.
    ///
    /// # Errors
    /// The wait until there is room for one, if the org made `most` within the last minute.
    pub(super) fn take(&self, org: &str, most: u64, now: Instant) -> Result<(), Duration> {
        let mut orgs = lock(&self.0);
        if let Some(counts) = orgs.get_mut(org) {
            return counts.take(most, now);
        }
        if orgs.len() >= ORGS_KEPT {
            orgs.retain(|_, counts| now.saturating_duration_since(counts.since) < MINUTE * 2);
        }
        orgs.entry(org.into()).or_insert_with(|| Counts::new(now)).take(most, now)
    }

    /// Calls of an org within the last minute.
    pub(super) fn used(&self, org: &str, now: Instant) -> u64 {
        lock(&self.0).get_mut(org).map_or(0, |counts| {
            counts.roll(now);
            counts.used(now)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(minutes: &Minutes, most: u64, now: Instant) -> usize {
        (0..1000).take_while(|_| minutes.take("acme", most, now).is_ok()).count()
    }

    #[test]
    fn no_minute_has_more_calls_than_the_limit() {
        let (minutes, start) = (Minutes::default(), Instant::now());
        let at = |s: u64| start + Duration::from_secs(s);
        assert_eq!(taken(&minutes, 10, start), 10);
        assert_eq!(minutes.used("acme", start), 10);
        assert_eq!(taken(&minutes, 10, at(59)), 0);
        assert_eq!(taken(&minutes, 10, at(60)), 0, "they were all made within the last minute");
        assert_eq!(taken(&minutes, 10, at(90)), 5, "half of it is over");
        assert_eq!(minutes.take("globex", 1, at(90)), Ok(()), "another org has its own");
        assert_eq!(taken(&minutes, 10, at(400)), 10, "nothing counts any more");
    }

    #[test]
    fn after_the_wait_that_is_told_there_is_room() {
        for (most, first_at) in [(1, 0), (10, 0), (10, 45), (600, 13)] {
            let (minutes, start) = (Minutes::default(), Instant::now());
            minutes.take("acme", u64::MAX, start).unwrap();
            let mut now = start + Duration::from_secs(first_at);
            taken(&minutes, most, now);
            for _ in 0..20 {
                let wait = minutes.take("acme", most, now).unwrap_err();
                let early = now + wait.saturating_sub(Duration::from_millis(500));
                assert!(wait <= Duration::from_millis(500) || minutes.take("acme", most, early).is_err());
                now += wait;
                assert_eq!(minutes.take("acme", most, now), Ok(()), "{most}: after {wait:?}");
                taken(&minutes, most, now);
            }
        }
    }

    #[test]
    fn a_raised_limit_counts_at_once() {
        let (minutes, now) = (Minutes::default(), Instant::now());
        assert_eq!(taken(&minutes, 2, now), 2);
        assert_eq!(taken(&minutes, 5, now), 3);
        assert!(minutes.take("acme", 1, now).is_err());
    }
}
