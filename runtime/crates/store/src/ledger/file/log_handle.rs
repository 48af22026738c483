//! The handle of one org's log: closed, open, or failed permanently, behind one lock.
//!
//! Appends share a handle, so that an org never has two logs open at once.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use portcullis_core::id::OrgId;
use tokio::sync::watch;

use super::org_log::{AppendError, OrgLog};
use crate::disk_sync::ToSync;
use crate::ledger::error::LedgerError;
use crate::ledger::line::Written;
use crate::ledger::report::PruneReport;

/// One org's handle.
pub(super) struct LogHandle {
    org: OrgId,
    dir: PathBuf,
    segment_bytes_max: u64,
    state: Mutex<State>,
    /// How far the log is on disk; `None` after a failed sync.
    on_disk: watch::Sender<Option<u64>>,
    /// When it was last requested, for choosing which to close.
    pub(super) asked: AtomicU64,
}

enum State {
    Closed,
    Open(OrgLog),
    /// A sync failed: what the disk contains after that is unknown until the process restarts.
    Failed,
}

/// A record that was written.
pub(super) struct Appended {
    pub(super) seq: u64,
    /// Whether the sync thread must be notified.
    pub(super) first_unsynced: bool,
}

impl LogHandle {
    pub(super) fn new(org: OrgId, dir: PathBuf, segment_bytes_max: u64) -> Self {
        Self {
            org,
            dir,
            segment_bytes_max,
            state: Mutex::new(State::Closed),
            on_disk: watch::Sender::new(Some(0)),
            asked: AtomicU64::new(0),
        }
    }

    pub(super) fn touch(&self, tick: u64) {
        self.asked.store(tick, Ordering::Relaxed);
    }

    pub(super) fn is_open(&self) -> bool {
        !matches!(*self.state(), State::Closed)
    }

    /// Opens the log if it is closed; reads up to two segments.
    pub(super) fn open(&self) -> Result<(), LedgerError> {
        let mut state = self.state();
        match &*state {
            State::Open(_) => Ok(()),
            State::Failed => Err(failed()),
            State::Closed => {
                let log = OrgLog::open(&self.org, &self.dir, self.segment_bytes_max)?;
                self.on_disk.send_replace(Some(log.link().seq));
                *state = State::Open(log);
                Ok(())
            }
        }
    }

    pub(super) fn append(
        &self,
        event: &str,
        written: impl FnOnce(&Written<'_>),
    ) -> Result<Appended, LedgerError> {
        let mut state = self.state();
        let log = match &mut *state {
            State::Open(log) => log,
            State::Failed => return Err(failed()),
            // Another append found the file in an unknown state; the next one reads it again.
            State::Closed => {
                return Err(LedgerError::Unavailable("the log was just closed".to_owned()));
            }
        };
        match log.append(event, written) {
            Ok(seq) => Ok(Appended { seq, first_unsynced: !std::mem::replace(&mut log.unsynced, true) }),
            Err(AppendError::Refused(error)) => Err(error),
            Err(AppendError::Unknown(error)) => {
                *state = State::Closed;
                Err(error)
            }
        }
    }

    pub(super) fn prune(&self, keep_segments: usize) -> Result<PruneReport, LedgerError> {
        match &mut *self.state() {
            State::Open(log) => log.prune(keep_segments),
            State::Failed => Err(failed()),
            State::Closed => Err(LedgerError::Unavailable("the log was just closed".to_owned())),
        }
    }

    /// A failed write closed the log before its earlier records were synced. Opening it syncs them.
    fn sync_closed(&self) {
        if let Err(error) = self.open() {
            tracing::error!(org = %self.org, %error, "the ledger could not be opened again");
            self.on_disk.send_replace(None);
        }
    }

    /// Waits until a record is on disk.
    pub(super) async fn synced(&self, seq: u64) -> Result<(), LedgerError> {
        let mut on_disk = self.on_disk.subscribe();
        let reached = on_disk
            .wait_for(|reached| reached.is_none_or(|reached| reached >= seq))
            .await
            .map_err(|_| failed())?;
        if reached.is_some() { Ok(()) } else { Err(failed()) }
    }

    /// Simulates a write that fails half-way.
    #[cfg(test)]
    pub(super) fn close(&self) {
        *self.state() = State::Closed;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Why: a panic while appending leaves at worst a line that the next opening checks.
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = PoisonError::into_inner(poisoned);
            if matches!(*state, State::Open(_)) {
                *state = State::Closed;
            }
            self.state.clear_poison();
            state
        })
    }
}

impl ToSync for LogHandle {
    /// Puts everything appended so far on disk. Called by the sync thread; appends continue meanwhile.
    fn sync(&self) {
        let asked = match &mut *self.state() {
            State::Open(log) => {
                log.unsynced = false;
                Some(log.to_sync())
            }
            State::Closed => None,
            State::Failed => return,
        };
        // After the lock is released, because opening takes it again.
        let Some((file, head, link)) = asked else {
            return self.sync_closed();
        };
        let mut done = file.sync_data();
        if done.is_ok() {
            // A strict append waits for the record, not for the head.
            self.on_disk.send_replace(Some(link.seq));
            done = head.advance(link);
        }
        if let Err(error) = done {
            tracing::error!(org = %self.org, %error, "the ledger could not be synced");
            *self.state() = State::Failed;
            self.on_disk.send_replace(None);
        }
    }
}

fn failed() -> LedgerError {
    LedgerError::Unavailable(
        "an earlier record did not reach the disk; restart after looking at the disk".to_owned(),
    )
}
