//! The worker: finds due jobs, workspaces in rotation, and executes a bounded number of them at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_core::sync::lock;
use portcullis_store::{Leased, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::JobDesk;
use super::sweep::sweeps;
use super::work::work;
use crate::clock::now_ms;
use crate::engine::Engine;
use crate::error::Error;

/// Workspaces looked at for a due job at a time.
const LOOKED_AT: usize = 16;
/// How long the worker sleeps at most: others may have accepted a job, or a clock was moved.
const SLEEP_MAX: Duration = Duration::from_secs(10);
/// The same where other processes share the store.
const SLEEP_SHARED: Duration = Duration::from_secs(1);
/// The wait after a failure of the store.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

type Place = (OrgId, WorkspaceId);

/// Runs of each workspace that are executed now.
#[derive(Default)]
struct Busy(Mutex<HashMap<Place, u64>>);

/// A run's place among those of its workspace; released when dropped.
struct Taken(Arc<Busy>, Place);

impl Busy {
    fn take(self: &Arc<Self>, place: &Place, most: u64) -> Option<Taken> {
        let mut busy = lock(&self.0);
        let own = busy.entry(place.clone()).or_default();
        if *own >= most {
            return None;
        }
        *own += 1;
        Some(Taken(Arc::clone(self), place.clone()))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut busy = lock(&self.0.0);
        if let Some(own) = busy.get_mut(&self.1) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                busy.remove(&self.1);
            }
        }
    }
}

impl Engine {
    /// Begins to execute accepted runs, until [`Self::stop_jobs`] or the engine's end. Once is enough for a process.
    pub fn start_jobs(self: &Arc<Self>) {
        let (engine, desk) = (Arc::downgrade(self), Arc::clone(&self.jobs));
        tokio::spawn(sweeps(Weak::clone(&engine), Arc::clone(&desk)));
        tokio::spawn(rounds(engine, desk));
    }

    /// Takes up no further run, fires no further schedule, and waits no longer for the ends of runs. Those that are executed go on.
    pub fn stop_jobs(&self) {
        self.jobs.stop();
    }
}

/// Where the rotation is.
struct Rounds {
    slots: Arc<Semaphore>,
    busy: Arc<Busy>,
    /// The workspace whose turn was last.
    last: Option<Place>,
}

async fn rounds(engine: Weak<Engine>, desk: Arc<JobDesk>) {
    let Some(first) = engine.upgrade() else { return };
    let slots = usize::try_from(first.limits().job_workers).unwrap_or(1);
    let freshness = Arc::clone(&first.resources.freshness);
    drop(first);
    let slots = Arc::new(Semaphore::new(slots.min(Semaphore::MAX_PERMITS)));
    let mut rounds = Rounds { slots, busy: Arc::default(), last: None };
    loop {
        // Why: what this node cannot judge is left to the others.
        tokio::select! {
            biased;
            () = desk.stop.cancelled() => return,
            () = freshness.regained() => {}
        }
        let slot = tokio::select! {
            biased;
            () = desk.stop.cancelled() => return,
            slot = Arc::clone(&rounds.slots).acquire_owned() => slot,
        };
        let (Ok(slot), Some(engine)) = (slot, engine.upgrade()) else { return };
        let pause = match rounds.next(&engine).await {
            Ok(Some((leased, taken))) => {
                execute(&engine, leased, slot, taken);
                continue;
            }
            Ok(None) => until_due(&engine).await,
            Err(error) => {
                tracing::error!(%error, "due runs cannot be read");
                AFTER_FAILURE
            }
        };
        drop((slot, engine));
        tokio::select! {
            () = desk.stop.cancelled() => return,
            () = desk.wake.notified() => {}
            () = sleep(pause) => {}
        }
    }
}

/// How long nothing becomes due.
async fn until_due(engine: &Engine) -> Duration {
    let shared = engine.resources.records.store().is_shared();
    let most = if shared { SLEEP_SHARED } else { SLEEP_MAX };
    match engine.jobs.store.next_due().await {
        Ok(Some(at_ms)) => Duration::from_millis(at_ms.saturating_sub(now_ms()).max(1)).min(most),
        Ok(None) => most,
        Err(_) => AFTER_FAILURE,
    }
}

impl Rounds {
    /// The next job: of the first workspace after the last one that has a due job and a free place.
    async fn next(&mut self, engine: &Engine) -> Result<Option<(Leased, Taken)>, StoreError> {
        let (jobs, limits) = (&engine.jobs.store, engine.limits());
        let mut after = self.last.clone();
        // Why twice: the workspaces after the last one, then all from the beginning.
        let mut wrapped = after.is_none();
        loop {
            let due = jobs.due_workspaces(now_ms(), after.as_ref(), LOOKED_AT).await?;
            for place in &due {
                let Some(taken) = self.busy.take(place, limits.workspace_jobs) else { continue };
                let until_ms = now_ms().saturating_add(limits.job_lease_ms);
                if let Some(leased) = jobs.lease(&place.0, &place.1, until_ms).await? {
                    self.last = Some(place.clone());
                    return Ok(Some((leased, taken)));
                }
            }
            match due.last() {
                Some(last) if due.len() == LOOKED_AT => after = Some(last.clone()),
                _ if wrapped => return Ok(None),
                _ => (after, wrapped) = (None, true),
            }
        }
    }
}

/// Executes a job in a separate task, which a stop waits for.
fn execute(engine: &Arc<Engine>, leased: Leased, slot: OwnedSemaphorePermit, taken: Taken) {
    let own = Arc::clone(engine);
    let task = async move {
        let result = work(&own, &leased).await;
        if let Err(error) = result {
            failed(&leased, &error);
        }
        drop((slot, taken));
        // Why: the workspace may have another due job, for which there was no place.
        own.jobs.wake.notify_one();
    };
    // Why ignored: nobody waits for this one.
    drop(engine.spawn_call(task));
}

fn failed(leased: &Leased, error: &Error) {
    let (run, code, detail) = (&leased.lease.job.run_id, error.code, error.detail.as_str());
    tracing::error!(run_id = %run, %code, detail, "a run could not be settled; it is taken up when its lease ends");
}
