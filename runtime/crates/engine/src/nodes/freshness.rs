//! How old is what this node knows of the others' changes, and what it may still do.
//!
//! A node that cannot read the feed of changes cannot know what was forbidden meanwhile: a connector that was switched
//! off, a host that was taken from a list, a token that was revoked. After `limits.changes_unread_ms` it makes no calls: what
//! runs is ended, nothing begins, and no credential is opened, until the feed was read to its end again. It is judged by
//! the time of the last complete read and not by what failed, so a read that hangs counts like one that is refused.
//!
//! The time for which the host was suspended counts.
//!
//! Of a store that one process has alone, nothing can be missed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portcullis_core::fault::Code;
use portcullis_store::HostInstant;
use tokio::time::sleep;

use crate::error::Error;

/// How often it is looked whether the feed can be read again.
const LOOK: Duration = Duration::from_millis(100);

/// How often it is looked whether it is too old: so late are running calls ended after the host was suspended.
const LOST_LOOK: Duration = Duration::from_millis(500);

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Freshness(Option<Followed>);

#[derive(Debug)]
struct Followed {
    /// How old it may be.
    most: Duration,
    start: HostInstant,
    /// All that was committed before this is known here: microseconds after `start`.
    known_us: AtomicU64,
}

impl Followed {
    fn age(&self) -> Duration {
        let known = Duration::from_micros(self.known_us.load(Ordering::Acquire));
        self.start.elapsed().saturating_sub(known)
    }
}

impl Freshness {
    /// Of a store that no other process has open.
    pub(crate) const fn alone() -> Self {
        Self(None)
    }

    /// Of a store whose changes are known as of now, and may be unknown for `most`.
    pub(crate) fn followed(most: Duration) -> Self {
        Self(Some(Followed { most, start: HostInstant::now(), known_us: AtomicU64::new(0) }))
    }

    /// All that was committed before `at` has its effect here.
    pub(crate) fn known_until(&self, at: HostInstant) {
        if let Some(followed) = &self.0 {
            let us = at.since(followed.start).as_micros();
            followed.known_us.fetch_max(u64::try_from(us).unwrap_or(u64::MAX), Ordering::AcqRel);
        }
    }

    /// How long ago that was which is known; zero where nothing can be missed.
    pub(crate) fn age(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, Followed::age)
    }

    /// Whether it is too old for a call.
    pub(crate) fn is_lost(&self) -> bool {
        self.0.as_ref().is_some_and(|followed| followed.age() >= followed.most)
    }

    /// Refuses what leaves this node while it is too old.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Some(followed) = self.0.as_ref().filter(|_| self.is_lost()) else { return Ok(()) };
        let detail = format!(
            "this node could not read the changes of the other nodes for {} ms (limits.changes_unread_ms), and makes no \
             calls until it can",
            followed.most.as_millis()
        );
        Err(Error { retry_after_s: Some(1), ..Error::new(Code::StoreUnavailable, detail) })
    }

    /// Resolves once it is too old; never where nothing can be missed.
    pub(crate) async fn lost(&self) {
        let Some(followed) = &self.0 else { return std::future::pending().await };
        loop {
            let left = followed.most.saturating_sub(followed.age());
            if left.is_zero() {
                return;
            }
            // Why not to the end: a sleep does not count the time for which the host is suspended.
            sleep(left.min(LOST_LOOK)).await;
        }
    }

    /// Resolves once it is not too old; at once where nothing can be missed.
    pub(crate) async fn regained(&self) {
        while self.is_lost() {
            sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(600);

    /// What was known this long ago is what is known.
    fn known_ago(age: Duration) -> Freshness {
        let start = HostInstant::now().minus(age);
        Freshness(Some(Followed { most: MOST, start, known_us: AtomicU64::new(0) }))
    }

    #[tokio::test]
    async fn what_is_too_old_is_refused_until_the_feed_was_read() {
        assert!(known_ago(MOST / 2).check().is_ok());
        let freshness = known_ago(MOST);
        assert_eq!(freshness.check().unwrap_err().code, Code::StoreUnavailable);
        let now = HostInstant::now();
        // Why in the past: a read knows what was there when it began.
        freshness.known_until(now.minus(MOST / 3));
        assert!(freshness.check().is_ok());
        assert!(freshness.age() >= MOST / 3);
        freshness.known_until(now.minus(MOST / 2));
        assert!(freshness.age() < MOST / 2, "an older read changes nothing");
    }

    #[tokio::test]
    async fn who_waits_is_told_when_it_is_lost_and_when_it_is_regained() {
        let left = Duration::from_millis(30);
        let freshness = known_ago(MOST - left);
        let start = HostInstant::now();
        freshness.regained().await;
        freshness.lost().await;
        assert!(start.elapsed() >= left / 2 && freshness.is_lost());
        let reading = async {
            tokio::task::yield_now().await;
            assert!(freshness.is_lost());
            freshness.known_until(HostInstant::now());
        };
        tokio::join!(freshness.regained(), reading);
        assert!(freshness.check().is_ok());
    }

    #[tokio::test]
    async fn nothing_is_missed_of_a_store_that_is_not_shared() {
        let freshness = Freshness::alone();
        let waited = tokio::time::timeout(Duration::from_millis(30), freshness.lost()).await;
        assert!(waited.is_err());
        assert!(freshness.check().is_ok());
        assert_eq!(freshness.age(), Duration::ZERO);
    }
}
