//! Requests at once of a budget that several nodes share: each has a slot in one record while it is under way.
//!
//! Within a process, calls wait for a place among as many as the budget has, and one of them at a time looks for a slot. A
//! slot whose node is gone is free when its time is over, which is longer than any call takes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_core::sync::lock;
use portcullis_store::{Records, SlotsRecord, StoreError, Writes};
use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::NoTurn;
use crate::clock::{fresh_text, jitter, now_ms};
use crate::nodes::CLOCK_SKEW_MAX;

/// How often it is looked for a slot that another node has given back.
const LOOK: Duration = Duration::from_millis(100);
/// How often a slot is given back while other nodes write the same record; then its time ends it.
const RELEASES_MAX: usize = 50;
/// Longest pause before the next try.
const BEATEN: Duration = Duration::from_millis(15);

/// The slots that nodes share.
pub(super) struct SharedSlots {
    records: Records,
    /// How long a request is under way at most, milliseconds.
    request_ms: u64,
    /// Who looks for a slot of a budget.
    looking: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
}

/// A slot; given back when dropped.
pub(super) struct SharedSlot {
    records: Records,
    budget: String,
    name: String,
    /// The place in this process, free once the slot is.
    place: Option<OwnedSemaphorePermit>,
}

impl SharedSlots {
    /// Slots of requests that take at most `request_ms`.
    pub(super) fn new(records: Records, request_ms: u64) -> Self {
        Self { records, request_ms, looking: Mutex::default() }
    }

    /// A slot among `most`, for whoever has a place in this process.
    ///
    /// # Errors
    /// [`NoTurn`].
    pub(super) async fn take(
        &self,
        budget: String,
        most: u32,
        place: OwnedSemaphorePermit,
        until: Instant,
    ) -> Result<SharedSlot, NoTurn> {
        let turnstile = self.turnstile(&budget);
        let used_up = |patience: Duration| NoTurn::UsedUp { wait: patience };
        let patience = until.saturating_duration_since(Instant::now());
        let turn = timeout_at(until, turnstile.lock_owned()).await.map_err(|_| used_up(patience))?;
        let gone = CancellationToken::new();
        let _here = gone.clone().drop_guard();
        let slot = SharedSlot {
            records: self.records.clone(),
            budget,
            name: fresh_text("slot"),
            place: Some(place),
        };
        // Why a task: what is written for a call that is dropped meanwhile is given back.
        let lasts_ms = lasts_ms(self.request_ms);
        let looking = tokio::spawn(async move {
            let _turn = turn;
            slot.look(most, lasts_ms, until, &gone).await
        });
        match looking.await {
            Ok(Ok(Some(slot))) => Ok(slot),
            Ok(Ok(None)) => Err(used_up(patience)),
            Ok(Err(error)) => Err(NoTurn::Store(error.into())),
            Err(_) => {
                Err(NoTurn::Store(StoreError::Unavailable("a budget cannot be written".to_owned()).into()))
            }
        }
    }

    fn turnstile(&self, budget: &str) -> Arc<AsyncMutex<()>> {
        let mut looking = lock(&self.looking);
        // Why here: nobody holds or waits for one that only the map references.
        looking.retain(|_, one| Arc::strong_count(one) > 1);
        Arc::clone(looking.entry(budget.to_owned()).or_default())
    }
}

impl SharedSlot {
    /// Looks for a slot until there is one; `None` if that takes too long.
    async fn look(
        mut self,
        most: u32,
        lasts_ms: u64,
        until: Instant,
        gone: &CancellationToken,
    ) -> Result<Option<Self>, StoreError> {
        loop {
            let found = self.records.get::<SlotsRecord>(&[&self.budget]).await;
            let (mut record, commit) = found
                .inspect_err(|_| self.has_none())?
                .map_or_else(Default::default, |(record, commit)| (record, Some(commit)));
            let now = now_ms();
            record.held.retain(|(_, until_ms)| *until_ms > now);
            let mut pause = LOOK;
            if record.held.len() < usize::try_from(most).unwrap_or(usize::MAX) {
                let ends = now.saturating_add(lasts_ms);
                record.held.push((self.name.clone(), ends));
                record.over_ms = record.over_ms.max(ends);
                match self.records.commit(writes(&self.budget, &record, commit)).await {
                    Ok(_) => return Ok(Some(self)),
                    // Another node was faster.
                    Err(StoreError::Conflict { .. }) => pause = BEATEN.mul_f64(jitter()),
                    // Why as if it were there: it may have been written.
                    Err(error) => return Err(error),
                }
            }
            if Instant::now() + pause >= until || gone.is_cancelled() {
                self.has_none();
                return Ok(None);
            }
            sleep(pause).await;
        }
    }

    /// There is nothing to give back but the place.
    fn has_none(&mut self) {
        self.name.clear();
    }
}

impl Drop for SharedSlot {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (budget, name) = (std::mem::take(&mut self.budget), std::mem::take(&mut self.name));
        if name.is_empty() {
            return;
        }
        let (records, place) = (self.records.clone(), self.place.take());
        runtime.spawn(async move {
            if let Err(error) = release(&records, &budget, &name).await {
                tracing::warn!(%error, "a slot of a budget is free only when its time is over");
            }
            // Why only now: whoever takes the place looks for a slot.
            drop(place);
        });
    }
}

/// How long a slot is held at most: as long as a request takes, by the clock of any node.
fn lasts_ms(request_ms: u64) -> u64 {
    let skew = u64::try_from(CLOCK_SKEW_MAX.as_millis()).unwrap_or(u64::MAX);
    request_ms.saturating_add(skew.saturating_mul(2))
}

async fn release(records: &Records, budget: &str, name: &str) -> Result<(), StoreError> {
    for _ in 0..RELEASES_MAX {
        let found = records.get::<SlotsRecord>(&[budget]).await?;
        let Some((mut record, commit)) = found else { return Ok(()) };
        let before = record.held.len();
        record.held.retain(|(held, _)| held != name);
        if record.held.len() == before {
            return Ok(());
        }
        match records.commit(writes(budget, &record, Some(commit))).await {
            Ok(_) => return Ok(()),
            // Another node was faster.
            Err(StoreError::Conflict { .. }) => sleep(BEATEN.mul_f64(jitter())).await,
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Unavailable("a budget is written to by too many nodes at once".to_owned()))
}

fn writes(budget: &str, record: &SlotsRecord, commit: Option<u64>) -> Writes {
    match commit {
        Some(commit) => Writes::new().replace(&[budget], record, commit),
        None => Writes::new().create(&[budget], record),
    }
}
