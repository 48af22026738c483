//! The worker of rotations: says that the process is there, and wraps anew what is left of a rotation, whoever began it.
//!
//! One process works on a rotation at a time, by a lease in its record. That is for the service's sake which has the keys:
//! two would do the same work twice, and no harm. After a kill whoever comes next begins at the front and passes over what
//! is done.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use portcullis_store::{KeyRotation, RewrapPlace, RewrapStep, StoreError, VaultError, Writes};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::nodes;
use crate::clock;
use crate::engine::Engine;

/// Records looked at in one step.
const STEP_RECORDS: usize = 50;
/// How long nobody else takes up a rotation, milliseconds. Why not longer: after a kill that is how long it stands still,
/// and two that work on it do the same twice and no harm.
const LEASE_MS: u64 = 15_000;
/// How long one round wraps before the process says again that it is there.
const ROUND: Duration = Duration::from_secs(5);
/// The wait after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Where the walk of this process is.
struct Walk {
    key_id: String,
    place: RewrapPlace,
    /// Whether another walk is needed: something changed meanwhile, or could not be wrapped anew.
    again: bool,
    problem: Option<String>,
}

impl Walk {
    const fn new(key_id: String) -> Self {
        Self { key_id, place: RewrapPlace::start(), again: false, problem: None }
    }
}

impl Engine {
    /// Begins to say that this process is there, and to wrap anew what a rotation leaves, until [`Self::stop_jobs`] or
    /// the engine's end. Once is enough for a process.
    pub fn start_keys(self: &Arc<Self>) {
        tokio::spawn(rounds(Arc::downgrade(self), self.jobs.stopped()));
    }
}

async fn rounds(engine: Weak<Engine>, stop: CancellationToken) {
    let mut walk: Option<Walk> = None;
    let mut noted: Option<Instant> = None;
    let every = Duration::from_millis(nodes::EVERY_MS);
    loop {
        let Some(own) = engine.upgrade() else { return };
        if noted.is_none_or(|at| at.elapsed() >= every) {
            match beat(&own).await {
                Ok(()) => noted = Some(Instant::now()),
                Err(error) => tracing::error!(%error, "the master keys of this node cannot be noted"),
            }
        }
        let pause = match round(&own, &mut walk, &stop).await {
            Ok(pause) => pause.min(every),
            Err(error) => {
                tracing::error!(%error, "keys cannot be wrapped anew");
                AFTER_FAILURE
            }
        };
        if stop.is_cancelled() {
            return;
        }
        let desk = Arc::clone(&own.keys);
        drop(own);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = desk.woken(), if !pause.is_zero() => {}
            () = sleep(pause) => {}
        }
    }
}

async fn beat(engine: &Engine) -> Result<(), VaultError> {
    nodes::note(engine).await?;
    nodes::look(engine).await
}

/// Works on the rotation for a while; returns how long there is nothing to do.
async fn round(
    engine: &Engine,
    walk: &mut Option<Walk>,
    stop: &CancellationToken,
) -> Result<Duration, VaultError> {
    let idle = Duration::from_millis(nodes::EVERY_MS);
    let Some((rotation, commit)) = take(engine).await? else {
        *walk = None;
        return Ok(idle);
    };
    let mut held = Held { rotation, commit };
    let rate = engine.limits().key_rewraps_per_second.max(1);
    let until = Instant::now() + ROUND;
    let walk = walk.get_or_insert_with(|| Walk::new(held.rotation.key_id.clone()));
    if walk.key_id != held.rotation.key_id {
        *walk = Walk::new(held.rotation.key_id.clone());
    }
    while Instant::now() < until && !stop.is_cancelled() {
        let step = engine.resources.vault.rewrap(walk.place.clone(), STEP_RECORDS).await?;
        let RewrapStep { rewrapped, changed, failed, next } = step;
        walk.again |= changed > 0;
        if let Some((key, error)) = failed {
            walk.problem.get_or_insert(format!("{key}: {error}"));
        }
        if rewrapped > 0 {
            held.rotation.rewrapped = held.rotation.rewrapped.saturating_add(rewrapped);
            if !held.keep(engine).await? {
                return Ok(Duration::ZERO);
            }
            // Why: callers need the store, and the service that has the keys, too.
            sleep(Duration::from_millis(rewrapped.saturating_mul(1000) / rate)).await;
        }
        match next {
            Some(place) => walk.place = place,
            None => return end(engine, walk, held).await,
        }
    }
    Ok(Duration::ZERO)
}

/// What follows a whole walk.
async fn end(engine: &Engine, walk: &mut Walk, mut held: Held) -> Result<Duration, VaultError> {
    let done = std::mem::replace(walk, Walk::new(walk.key_id.clone()));
    held.rotation.problem.clone_from(&done.problem);
    if let Some(problem) = done.problem {
        tracing::error!(problem, "a key cannot be wrapped anew; the key that wraps it stays in use");
        held.keep(engine).await?;
        return Ok(Duration::from_millis(nodes::EVERY_MS));
    }
    if done.again {
        held.keep(engine).await?;
        return Ok(Duration::ZERO);
    }
    let wrapped = engine.resources.vault.wrapped_by().await?;
    if wrapped.keys().any(|id| *id != done.key_id) {
        return Ok(AFTER_FAILURE);
    }
    held.rotation.finished_ms = Some(clock::now_ms());
    if held.keep(engine).await? {
        let (key_id, rewrapped) = (done.key_id, held.rotation.rewrapped);
        tracing::info!(key_id, rewrapped, "all keys are wrapped with the promoted master key");
    }
    Ok(Duration::ZERO)
}

/// A rotation that is this process's for now.
struct Held {
    rotation: KeyRotation,
    commit: u64,
}

impl Held {
    /// Stores how far it is, and goes on having it; false if another has it by now, or a key was promoted.
    async fn keep(&mut self, engine: &Engine) -> Result<bool, StoreError> {
        self.rotation.lease_ms = clock::now_ms().saturating_add(LEASE_MS);
        let writes = Writes::new().replace(&KeyRotation::PARTS, &self.rotation, self.commit);
        match engine.resources.records.commit(writes).await {
            Ok(commit) => {
                self.commit = commit;
                Ok(true)
            }
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Takes a rotation that is not at its end and that nobody else works on.
async fn take(engine: &Engine) -> Result<Option<(KeyRotation, u64)>, StoreError> {
    let records = &engine.resources.records;
    let Some((mut rotation, commit)) = records.get::<KeyRotation>(&KeyRotation::PARTS).await? else {
        return Ok(None);
    };
    let node = engine.keys.node();
    let is_others = rotation.node.as_deref().is_some_and(|other| other != node)
        && records.store().is_shared()
        && rotation.lease_ms > clock::now_ms();
    // Why not by a node that lacks the key: it would fail with every record.
    let is_held = engine.resources.vault.key_ids().iter().any(|id| id.as_str() == rotation.key_id);
    if rotation.finished_ms.is_some() || is_others || !is_held {
        return Ok(None);
    }
    rotation.node = Some(node.to_owned());
    let mut held = Held { rotation, commit };
    Ok(held.keep(engine).await?.then_some((held.rotation, held.commit)))
}
