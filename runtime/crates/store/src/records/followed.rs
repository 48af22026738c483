//! Which documents that were read are still the newest, in a store that other processes write to, too: as far as the feed
//! of changes says.
//!
//! While somebody follows the feed, a document is read once until the feed, or a commit of this process, names it. So what
//! another process commits is seen once the feed was read, and not at once; how long that takes is up to whoever follows.
//! A document that is missing is read each time: what one process makes can be used through another one at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::backend::versions::{Versions, Writing};
use crate::backend::{Batch, Change};
use crate::host_clock::HostInstant;

/// What is known from the feed.
#[derive(Debug)]
pub(super) struct Followed {
    versions: Versions,
    start: HostInstant,
    /// Until when what was read may be used: microseconds after `start`; 0 if nobody follows.
    until_us: AtomicU64,
    /// The last commit whose changes are known.
    position: AtomicU64,
}

impl Default for Followed {
    fn default() -> Self {
        let (until_us, position) = (AtomicU64::default(), AtomicU64::default());
        Self { versions: Versions::default(), start: HostInstant::now(), until_us, position }
    }
}

impl Followed {
    /// As [`crate::Store::version`]; `None` if nobody follows, or the feed was not read for too long.
    pub(super) fn version(&self, key: &str) -> Option<u64> {
        let until = Duration::from_micros(self.until_us.load(Ordering::Acquire));
        if until.is_zero() || self.start.elapsed() >= until { None } else { self.versions.of(key) }
    }

    /// The last commit whose changes are known; `None` if nobody ever followed.
    pub(super) fn position(&self) -> Option<u64> {
        let is_followed = self.until_us.load(Ordering::Acquire) > 0;
        is_followed.then(|| self.position.load(Ordering::SeqCst))
    }

    /// These were changed.
    pub(super) fn changed(&self, changes: &[Change]) {
        drop(self.versions.writing(changes.iter().map(|change| change.key.as_str())));
        if let Some(last) = changes.last() {
            // Why last: a reader that sees the position reads what was changed until then.
            self.position.fetch_max(last.seq, Ordering::SeqCst);
        }
    }

    /// Anything may have been changed until this commit.
    pub(super) fn changed_all(&self, position: u64) {
        self.versions.advance_all();
        self.position.fetch_max(position, Ordering::SeqCst);
    }

    pub(super) fn use_until(&self, at: HostInstant) {
        let us = at.since(self.start).as_micros();
        self.until_us.fetch_max(u64::try_from(us).unwrap_or(u64::MAX), Ordering::AcqRel);
    }

    /// Call this before a batch is committed, and drop the result after it. Conditions, too: who is told that one does not
    /// hold reads again.
    pub(super) fn committing(&self, batch: &Batch) -> Writing<'_> {
        let written = batch.writes.iter().map(|(key, _)| key.as_str());
        self.versions.writing(written.chain(batch.preconditions.iter().map(|(key, _)| key.as_str())))
    }
}
