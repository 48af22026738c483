//! How far long work has come, on standard error: a line now and then, and none for what is short.

use std::time::{Duration, Instant};

use crate::output;

/// Between two lines, and before the first.
const EVERY: Duration = Duration::from_secs(5);

/// See the module's documentation.
pub(super) struct Progress {
    every: Duration,
    told: Instant,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self::each(EVERY)
    }

    /// With so much time between two lines.
    pub(super) fn each(every: Duration) -> Self {
        Self { every, told: Instant::now() }
    }

    /// Tells how far it is, if it is time for that.
    pub(super) fn tell(&mut self, text: impl FnOnce() -> String) {
        if self.told.elapsed() >= self.every {
            self.told = Instant::now();
            output::note(&text());
        }
    }

    /// The same for the parts of what is checked.
    pub(super) fn of_check() -> impl FnMut(&'static str, u64) + Send {
        let mut progress = Self::new();
        move |part, read| progress.tell(|| format!("checking: {part}, {read} records"))
    }

    /// The same for bytes of something.
    pub(super) fn of_bytes(what: &'static str) -> Box<dyn FnMut(u64) + Send> {
        let mut progress = Self::new();
        Box::new(move |bytes| progress.tell(|| format!("{what}: {} MiB", mib(bytes))))
    }
}

/// Whole MiB.
pub(super) const fn mib(bytes: u64) -> u64 {
    bytes / (1024 * 1024)
}
