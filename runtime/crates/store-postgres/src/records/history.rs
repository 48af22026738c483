//! What this process saw of the order of commits, so that it notices when that order was replaced by another one: by
//! somebody who put an older state back, or by a server that took over without the last commits.
//!
//! Numbers alone do not show it once others have written as many commits as there were before. So what is read at a number
//! is remembered, and must be the same each time. What was found stays found until the process ends: all that it knows,
//! and may have answered with, is of an order that is no more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use portcullis_core::sync::lock;
use portcullis_store::StoreError;

use crate::error::damaged;
use crate::seal::Seal;

use super::feed::Mark;

/// Commits whose marks are remembered, 40 bytes each: as many as the log keeps in any case
/// ([`portcullis_store::CHANGES_RETAINED_COMMITS`]), so a reader that goes on after an older one is rare.
const MARKS_MAX: usize = 4096;

#[derive(Default)]
pub(crate) struct History {
    /// The last sequence that this process saw.
    seen: AtomicU64,
    /// What the newest commits that were read are, by their sequences.
    marks: Mutex<BTreeMap<u64, Seal>>,
    server: Mutex<Server>,
    /// Why nothing is read or written any more.
    replaced: OnceLock<String>,
}

/// The server that was last read from.
#[derive(Default)]
struct Server {
    /// Another one after each promotion; empty before the first look.
    timeline: String,
    /// The last commit when this timeline was first read.
    began_after: u64,
}

impl History {
    /// Refuses everything once commits were replaced.
    pub(crate) fn intact(&self) -> Result<(), StoreError> {
        self.replaced.get().map_or(Ok(()), |what| Err(damaged(what.clone())))
    }

    fn replaced(&self, what: String) -> StoreError {
        let what = self.replaced.get_or_init(|| {
            tracing::error!(%what, "nothing is read or written any more until this process is started again");
            what
        });
        damaged(what.clone())
    }

    /// The last sequence that this process saw, for [`Self::see`].
    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Acquire)
    }

    /// Refuses a sequence before one that was seen before it was read: the store went back in time.
    pub(crate) fn see(&self, seq: u64, seen: u64) -> Result<(), StoreError> {
        self.intact()?;
        if seq < seen {
            return Err(self.replaced(format!(
                "the records end at commit {seq}, and commit {seen} was there before: an older state was put back, or \
                 a server took over that did not have it; start this node again once it is known why"
            )));
        }
        Ok(())
    }

    /// Notes a sequence that is committed.
    pub(crate) fn note_seen(&self, seq: u64) {
        self.seen.fetch_max(seq, Ordering::AcqRel);
    }

    /// Notes commits of this process's own, made in one transaction. Why no error: they were made; what shows in them is
    /// refused from the next request on.
    pub(super) fn note_made(&self, first: Mark, last: u64) {
        self.note_seen(last);
        let _ = self.note_read(first);
    }

    /// Notes a commit that was read, and refuses one that is not what was read under its sequence before.
    pub(super) fn note_read(&self, commit: Mark) -> Result<(), StoreError> {
        let mut marks = lock(&self.marks);
        if *marks.entry(commit.seq).or_insert(commit.seal) != commit.seal {
            return Err(self.replaced(format!(
                "commit {} is not the one that was there before: an older state was put back, or a server took over \
                 that did not have it, and others have written since; start this node again once it is known why",
                commit.seq
            )));
        }
        while marks.len() > MARKS_MAX {
            marks.pop_first();
        }
        Ok(())
    }

    /// The commit until which everything has to be read again; `seq` is the last one on this timeline. Why also where
    /// nothing was replaced: a record may have been read whose commit the feed had not told yet, and of which the server
    /// that took over knows nothing. While the feed has told as much as that server had, `seen` shows it.
    pub(super) fn read_again_until(&self, timeline: &str, seq: u64) -> u64 {
        let mut server = lock(&self.server);
        if server.timeline != timeline {
            if !server.timeline.is_empty() {
                tracing::warn!(timeline, seq, "another server of the database has taken over");
                server.began_after = seq;
            }
            timeline.clone_into(&mut server.timeline);
        }
        server.began_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_damaged<T>(result: Result<T, StoreError>) -> bool {
        matches!(result, Err(StoreError::Damaged { .. }))
    }

    #[test]
    fn what_was_read_stays_what_it_is_or_nothing_is_read_any_more() {
        let history = History::default();
        let mark = |seq, byte| Mark { seq, seal: [byte; 32] };
        for seq in 0..5000 {
            history.note_read(mark(seq, 1)).unwrap();
        }
        history.note_read(mark(4999, 1)).unwrap();
        history.note_read(mark(5000, 2)).unwrap();
        assert_eq!(lock(&history.marks).len(), MARKS_MAX);
        history.intact().unwrap();
        assert!(is_damaged(history.note_read(mark(4999, 2))));
        assert!(is_damaged(history.intact()) && is_damaged(history.see(9999, 0)));
    }

    #[test]
    fn a_store_that_went_back_stays_refused_when_it_has_caught_up() {
        let history = History::default();
        history.note_seen(10);
        history.see(10, history.seen()).unwrap();
        // What was seen after the read was sent says nothing of it.
        history.see(9, 8).unwrap();
        assert!(is_damaged(history.see(9, history.seen())));
        assert!(is_damaged(history.see(11, history.seen())));
    }

    #[test]
    fn who_has_not_read_until_another_server_took_over_reads_everything_again() {
        let history = History::default();
        assert_eq!(history.read_again_until("00000001", 5), 0, "the first look is no change");
        assert_eq!(history.read_again_until("00000001", 9), 0);
        assert_eq!(history.read_again_until("00000002", 12), 12);
        assert_eq!(history.read_again_until("00000002", 20), 12);
        assert_eq!(history.read_again_until("00000003", 21), 21);
    }
}
