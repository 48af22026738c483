//! The handle of one org's log: closed, open, or damaged, behind one lock.
//!
//! Appends share a handle, so that an org never has two logs open at once. What the disk refused is tried again by
//! the sync thread until it succeeds; what is damaged is looked at again now and then, in case it was repaired.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portcullis_core::id::OrgId;
use portcullis_core::sync::lock;
use tokio::sync::watch;

use super::org_log::{AppendError, Known, OrgLog, Unsynced};
use super::recovery::Checked;
use crate::disk_sync::ToSync;
use crate::ledger::error::{BadRecord, LedgerError};
use crate::ledger::line::{Link, Written};

/// How long a damaged log is left alone before it is looked at again: that reads all of it.
const DAMAGED_WAIT: Duration = Duration::from_secs(2);

/// One org's handle.
pub(super) struct LogHandle {
    org: OrgId,
    dir: PathBuf,
    segment_bytes_max: u64,
    state: Mutex<State>,
    /// Held while old segments are dropped: a log that is opened meanwhile would miss them.
    cutting: Mutex<()>,
    /// Whether the log is open, without the lock: it is held while a chain is read.
    open: AtomicBool,
    /// One caller at a time waits for the opening on a thread of its own.
    pub(super) opening: tokio::sync::Mutex<()>,
    /// How far the log is on disk; `None` while a failed sync is not made good.
    on_disk: watch::Sender<Option<u64>>,
    /// When it was last requested, for choosing which to close.
    pub(super) asked: AtomicU64,
}

#[derive(Default)]
struct State {
    log: Option<OrgLog>,
    known: Known,
    /// The last write, sync or opening failed.
    failing: bool,
    /// What is wrong with what is stored, and since when that is known.
    damage: Option<(BadRecord, Instant)>,
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
            state: Mutex::default(),
            cutting: Mutex::default(),
            open: AtomicBool::new(false),
            opening: tokio::sync::Mutex::default(),
            on_disk: watch::Sender::new(Some(0)),
            asked: AtomicU64::new(0),
        }
    }

    pub(super) fn touch(&self, tick: u64) {
        self.asked.store(tick, Ordering::Relaxed);
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// What this process has walked of the chain.
    pub(super) fn checked(&self) -> Option<Checked> {
        let state = self.state();
        state.log.as_ref().map(|log| log.checked).or(state.known.checked)
    }

    /// Tells an unopened handle what was walked of the chain before.
    pub(super) fn was_checked(&self, checked: Checked) {
        self.state().known.checked.get_or_insert(checked);
    }

    /// What is wrong with what is stored, as far as this process has seen.
    pub(super) fn damage(&self) -> Option<BadRecord> {
        self.state().damage.as_ref().map(|(bad, _)| bad.clone())
    }

    /// Notes what a look at the whole chain has found. Nothing is appended to a chain that is damaged.
    pub(super) fn looked(&self, bad: Option<&BadRecord>) {
        let mut state = self.state();
        match bad {
            Some(bad) => self.is_damaged(&mut state, bad.clone()),
            None => state.damage = None,
        }
    }

    fn is_damaged(&self, state: &mut State, bad: BadRecord) {
        if state.damage.as_ref().is_none_or(|(known, _)| *known != bad) {
            tracing::error!(
                org = %self.org,
                segment = bad.segment,
                line = bad.line,
                reason = bad.reason,
                "the org's ledger is damaged: its calls are refused"
            );
        }
        self.open.store(false, Ordering::Release);
        if let Some(log) = state.log.take() {
            state.known.written = Some(log.link());
        }
        state.known.checked = None;
        state.damage = Some((bad, Instant::now()));
    }

    /// Opens the log if it is closed; the first time it reads all of it.
    pub(super) fn open(&self) -> Result<(), LedgerError> {
        let _cutting = self.cutting();
        let mut state = self.state();
        if let Some((bad, since)) = &state.damage
            && since.elapsed() < DAMAGED_WAIT
        {
            return Err(LedgerError::Damaged { org: self.org.clone(), bad: bad.clone() });
        }
        if state.log.is_some() {
            return Ok(());
        }
        match OrgLog::open(&self.org, &self.dir, self.segment_bytes_max, state.known) {
            Ok(log) => {
                if state.failing || state.damage.is_some() {
                    tracing::warn!(org = %self.org, "the org's ledger is written again");
                }
                self.on_disk.send_replace(Some(log.link().seq));
                *state = State { log: Some(log), ..State::default() };
                self.open.store(true, Ordering::Release);
                Ok(())
            }
            Err(LedgerError::Damaged { org, bad }) => {
                state.failing = false;
                self.is_damaged(&mut state, bad.clone());
                Err(LedgerError::Damaged { org, bad })
            }
            Err(error) => {
                state.failing = true;
                Err(error)
            }
        }
    }

    pub(super) fn append(
        &self,
        event: &str,
        written: impl FnOnce(&Written<'_>),
    ) -> Result<Appended, LedgerError> {
        let mut state = self.state();
        // Another append found the file in an unknown state; the next one reads it again.
        let closed = || LedgerError::Unavailable("the log was just closed".to_owned());
        let log = state.log.as_mut().ok_or_else(closed)?;
        match log.append(event, written) {
            Ok(seq) => Ok(Appended { seq, first_unsynced: !std::mem::replace(&mut log.unsynced, true) }),
            Err(AppendError::Refused(error)) => {
                state.failing = true;
                Err(error)
            }
            Err(AppendError::Unknown(error)) => {
                self.close_in(&mut state, false);
                Err(error)
            }
        }
    }

    /// The last record of an open log.
    pub(super) fn link(&self) -> Result<Link, LedgerError> {
        let closed = || LedgerError::Unavailable("the log was just closed".to_owned());
        self.state().log.as_ref().map(OrgLog::link).ok_or_else(closed)
    }

    /// Keeps the log from being opened while old segments are dropped; appends go on.
    pub(super) fn cutting(&self) -> MutexGuard<'_, ()> {
        lock(&self.cutting)
    }

    /// The log as it is now, for what is done to its old segments without its lock.
    pub(super) fn to_sync(&self) -> Result<Unsynced, LedgerError> {
        let state = self.state();
        let closed = || LedgerError::Unavailable("the log was just closed".to_owned());
        state.log.as_ref().map(OrgLog::to_sync).ok_or_else(closed)
    }

    /// Begins a next segment, unless the current one has no record.
    pub(super) fn close_segment(&self) -> Result<(), LedgerError> {
        let mut state = self.state();
        let closed = || LedgerError::Unavailable("the log was just closed".to_owned());
        if let Err(error) = state.log.as_mut().ok_or_else(closed)?.close_segment() {
            self.close_in(&mut state, false);
            return Err(LedgerError::io("beginning a ledger segment", &error));
        }
        Ok(())
    }

    /// Waits until a record is on disk.
    pub(super) async fn synced(&self, seq: u64) -> Result<(), LedgerError> {
        let mut on_disk = self.on_disk.subscribe();
        let reached = on_disk
            .wait_for(|reached| reached.is_none_or(|reached| reached >= seq))
            .await
            .map_err(|_| not_on_disk())?;
        if reached.is_some() { Ok(()) } else { Err(not_on_disk()) }
    }

    /// Simulates a write that fails half-way.
    #[cfg(test)]
    pub(super) fn close(&self) {
        self.close_in(&mut self.state(), false);
    }

    /// Closes a log whose file is in an unknown state. What was written and checked stays known.
    fn close_in(&self, state: &mut State, unsure: bool) {
        self.open.store(false, Ordering::Release);
        if let Some(log) = state.log.take() {
            state.known.written = Some(log.link());
            state.known.checked = Some(log.checked);
        }
        state.known.unsure |= unsure;
        state.failing = true;
    }

    /// After a write that failed and left the file as it was: whether it takes records again.
    fn takes_records(&self) -> bool {
        let mut state = self.state();
        if state.failing && state.log.as_ref().is_some_and(OrgLog::takes_records) {
            state.failing = false;
            tracing::warn!(org = %self.org, "the org's ledger is written again");
        }
        !state.failing
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Why: a panic while appending leaves at worst a line that the next opening checks.
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = PoisonError::into_inner(poisoned);
            if state.log.is_some() {
                self.close_in(&mut state, false);
            }
            self.state.clear_poison();
            state
        })
    }
}

impl ToSync for LogHandle {
    /// Puts everything appended so far on disk. Called by the sync thread; appends continue meanwhile.
    fn sync(&self) -> bool {
        let unsynced = {
            let mut state = self.state();
            let failing = state.failing;
            match &mut state.log {
                Some(log) => {
                    log.unsynced = false;
                    log.to_sync()
                }
                None if !failing => return true,
                None => {
                    drop(state);
                    // A failed write closed the log, maybe before its records were synced. Opening syncs them.
                    let opened = self.open();
                    if opened.is_err() {
                        self.on_disk.send_replace(None);
                    }
                    return matches!(opened, Ok(()) | Err(LedgerError::Damaged { .. }));
                }
            }
        };
        let mut done = unsynced.sync();
        if done.is_ok() {
            // A strict append waits for the record, not for the head.
            self.on_disk.send_replace(Some(unsynced.link.seq));
            done = unsynced.advance_head();
        }
        let Err(error) = done else { return self.takes_records() };
        tracing::error!(org = %self.org, %error, "the ledger could not be synced");
        self.close_in(&mut self.state(), true);
        self.on_disk.send_replace(None);
        false
    }
}

fn not_on_disk() -> LedgerError {
    LedgerError::Unavailable("the record did not reach the disk; it is tried again".to_owned())
}
