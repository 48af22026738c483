//! How far a long command is, on standard error.

use std::time::Duration;

use crate::cli::progress;
use crate::output;

/// Often enough to see that it goes on, seldom enough for a log.
const EVERY: Duration = Duration::from_secs(2);

/// Tells how far something is, now and then.
pub(super) struct Progress {
    what: String,
    done: u64,
    pace: progress::Progress,
}

impl Progress {
    pub(super) fn of(what: impl Into<String>) -> Self {
        Self { what: what.into(), done: 0, pace: progress::Progress::each(EVERY) }
    }

    pub(super) fn add(&mut self, more: u64) {
        self.done = self.done.saturating_add(more);
        self.pace.tell(|| format!("{}: {}", self.what, self.done));
    }

    /// Tells the last number; returns it.
    pub(super) fn end(self) -> u64 {
        output::note(&format!("{}: {}, done", self.what, self.done));
        self.done
    }
}
