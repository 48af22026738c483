//! Budgets that several nodes share: the requests of a budget are granted in one record, by compare-and-set.
//!
//! A node asks for all its calls that wait at a moment together, so a busy budget costs it a write each [`GAP`] and not one
//! for each call. Nothing is taken in advance: nodes together are granted no more than the budget, and what one does not
//! use is not lost to the others. A call whose turn cannot be written is not made.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_core::sync::lock;
use portcullis_store::{RateRecord, Records, StoreError, Writes};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::NoTurn;
use super::turns::{Granted, Rate};
use crate::clock::{jitter, now_ms};
use crate::error::Error;

/// Longest wait for the write itself, however short the call's own patience is: what the store may take.
const WRITE_MAX: Duration = Duration::from_secs(2);
/// Pause between two writes of one budget by one node: the calls that come meanwhile are written together.
const GAP: Duration = Duration::from_millis(10);
/// How often a write is tried while other nodes write the same record.
const ATTEMPTS_MAX: usize = 50;
/// Longest pause before the next try.
const BEATEN: Duration = Duration::from_millis(15);

/// The turns that nodes share. Cheap to clone.
#[derive(Clone)]
pub(super) struct SharedTurns {
    records: Records,
    /// What waits to be written, by the budget's hash. A budget is in it while a task writes for it.
    asked: Arc<Mutex<HashMap<String, Vec<Ask>>>>,
    /// By how much the fastest clock of a node is ahead of this one's, milliseconds.
    ahead_ms: Arc<AtomicU64>,
}

/// What is asked of a budget.
enum Ask {
    Turn {
        until: Instant,
        reply: oneshot::Sender<Result<SharedTurn, NoTurn>>,
    },
    /// A turn that was left before its time.
    Back {
        at: u64,
    },
}

/// A turn that was granted; given back if it is dropped before its time.
pub(super) struct SharedTurn {
    turns: SharedTurns,
    budget: String,
    rate: Rate,
    at: u64,
    comes: Instant,
    came: bool,
}

impl SharedTurn {
    /// When it comes.
    #[cfg(test)]
    pub(super) const fn comes(&self) -> Instant {
        self.comes
    }

    /// Waits for its time.
    pub(super) async fn come(mut self) {
        sleep_until(self.comes).await;
        self.came = true;
    }
}

impl Drop for SharedTurn {
    fn drop(&mut self) {
        // Why not one that is now: it counts in any case.
        if !self.came && self.comes > Instant::now() {
            let turns = self.turns.clone();
            turns.ask(std::mem::take(&mut self.budget), self.rate, Ask::Back { at: self.at });
        }
    }
}

impl SharedTurns {
    pub(super) fn new(records: Records) -> Self {
        Self { records, asked: Arc::default(), ahead_ms: Arc::default() }
    }

    /// The next turn of a budget, which comes before `until`.
    ///
    /// # Errors
    /// [`NoTurn`].
    pub(super) async fn take(
        &self,
        budget: String,
        rate: Rate,
        until: Instant,
    ) -> Result<SharedTurn, NoTurn> {
        let (reply, granted) = oneshot::channel();
        self.ask(budget, rate, Ask::Turn { until, reply });
        match timeout_at(until.max(Instant::now() + WRITE_MAX), granted).await {
            Ok(Ok(granted)) => granted,
            // Why: the task that writes has ended with the process, or the store does not answer.
            Ok(Err(_)) | Err(_) => {
                Err(NoTurn::Store(StoreError::Unavailable("a budget cannot be written".to_owned()).into()))
            }
        }
    }

    /// Notes what is asked, and has it written.
    fn ask(&self, budget: String, rate: Rate, ask: Ask) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut asked = lock(&self.asked);
        if let Some(waiting) = asked.get_mut(&budget) {
            return waiting.push(ask);
        }
        asked.insert(budget.clone(), vec![ask]);
        drop(asked);
        // Why a task: a call that is dropped must not take those with it that wait for the same write.
        runtime.spawn(self.clone().write_all(budget, rate));
    }

    /// Writes what is asked of a budget, until nothing is.
    async fn write_all(self, budget: String, rate: Rate) {
        loop {
            let asks = {
                let mut asked = lock(&self.asked);
                match asked.get_mut(&budget).map(std::mem::take) {
                    Some(asks) if !asks.is_empty() => asks,
                    _ => {
                        asked.remove(&budget);
                        return;
                    }
                }
            };
            self.write(&budget, rate, asks).await;
            sleep(GAP).await;
        }
    }

    /// Writes some asks, and answers them.
    async fn write(&self, budget: &str, rate: Rate, asks: Vec<Ask>) {
        let answers = match self.granted(budget, rate, &asks).await {
            Ok(answers) => answers,
            Err(error) => {
                let error = Error::from(error);
                asks.into_iter().for_each(|ask| ask.answer(Err(NoTurn::Store(error.clone()))));
                return;
            }
        };
        for (ask, answer) in asks.into_iter().zip(answers) {
            ask.answer(match answer {
                Ok((Granted { at, .. }, comes)) => {
                    let (turns, budget) = (self.clone(), budget.to_owned());
                    Ok(SharedTurn { turns, budget, rate, at, comes, came: false })
                }
                Err(wait_ms) => Err(NoTurn::UsedUp { wait: Duration::from_millis(wait_ms) }),
            });
        }
    }

    /// Grants what is asked, in one write: for each ask its turn and when that comes, or the wait that would be needed.
    async fn granted(
        &self,
        budget: &str,
        rate: Rate,
        asks: &[Ask],
    ) -> Result<Vec<Result<(Granted, Instant), u64>>, StoreError> {
        for _ in 0..ATTEMPTS_MAX {
            let found = self.records.get::<RateRecord>(&[budget]).await?;
            let (mut record, commit) =
                found.map_or_else(Default::default, |(record, commit)| (record, Some(commit)));
            let time = self.time(record.at_ms);
            rate.begin(&mut record, time);
            // Why after that: a turn may come late, and not early.
            let now = Instant::now();
            let answers: Vec<_> = asks.iter().map(|ask| ask.grant(rate, &mut record, now)).collect();
            if asks.iter().all(Ask::is_turn) && answers.iter().all(Result::is_err) {
                // Why nothing is written: nothing was granted.
                return Ok(answers);
            }
            let writes = match commit {
                Some(commit) => Writes::new().replace(&[budget], &record, commit),
                None => Writes::new().create(&[budget], &record),
            };
            match self.records.commit(writes).await {
                Ok(_) => return Ok(answers),
                // Another node was faster.
                Err(StoreError::Conflict { .. }) => sleep(BEATEN.mul_f64(jitter())).await,
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Unavailable("a budget is written to by too many nodes at once".to_owned()))
    }

    /// The time that nodes agree on, milliseconds since 1970: that of the fastest clock, which is as fast as this one's.
    fn time(&self, seen_ms: u64) -> u64 {
        let own = now_ms();
        let ahead = seen_ms.saturating_sub(own);
        own.saturating_add(self.ahead_ms.fetch_max(ahead, Ordering::AcqRel).max(ahead))
    }
}

impl Ask {
    const fn is_turn(&self) -> bool {
        matches!(self, Self::Turn { .. })
    }

    fn grant(&self, rate: Rate, record: &mut RateRecord, now: Instant) -> Result<(Granted, Instant), u64> {
        match self {
            // Why nothing for one who is gone: its turn would be lost.
            Self::Turn { reply, .. } if reply.is_closed() => Err(0),
            Self::Turn { until, .. } => {
                let patience = until.saturating_duration_since(now).as_millis();
                let granted = rate.grant(record, u64::try_from(patience).unwrap_or(u64::MAX))?;
                Ok((granted, now + Duration::from_millis(granted.wait)))
            }
            Self::Back { at } => {
                rate.give_back(record, *at);
                Err(0)
            }
        }
    }

    fn answer(self, answer: Result<SharedTurn, NoTurn>) {
        if let Self::Turn { reply, .. } = self {
            // Why ignored: a turn that nobody takes is dropped, which gives it back.
            drop(reply.send(answer));
        }
    }
}
