//! Two workers of a process: one says that it is there, the other wraps anew what is left of a rotation, whoever began it.
//!
//! They are two because a service that has the keys may be slow: a process that waits for it is there all the same, and
//! one that others count as ended could lack the next key without being asked.
//!
//! One process works on a rotation at a time, by a lease in its record. That is for the service's sake which has the keys:
//! two would do the same work twice, and no harm. After a kill whoever comes next begins at the front and passes over what
//! is done.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use portcullis_store::{KeyRotation, Records, RewrapPlace, RewrapStep, StoreError, VaultError, Writes};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::nodes;
use crate::clock;
use crate::engine::Engine;

/// Records looked at in one step.
const STEP_RECORDS: usize = 50;
/// How long nobody else takes up a rotation, milliseconds. Why not longer: after a kill that is how long it stands still,
/// and two that work on it do the same twice and no harm.
const LEASE_MS: u64 = 15_000;
/// How often it is renewed meanwhile: one that is late once, or whose clock differs, still has it.
const LEASE_RENEWED: Duration = Duration::from_secs(5);
/// How long one round wraps before it is looked whether the engine is still used.
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
        let every = Duration::from_millis(nodes::EVERY_MS);
        tokio::spawn(beats(Arc::downgrade(self), self.jobs.stopped(), every));
        tokio::spawn(rounds(Arc::downgrade(self), self.jobs.stopped()));
    }
}

/// Says again and again that the process is there.
async fn beats(engine: Weak<Engine>, stop: CancellationToken, every: Duration) {
    loop {
        let Some(own) = engine.upgrade() else { return };
        let pause = match beat(&own).await {
            Ok(()) => every,
            Err(error) => {
                tracing::error!(%error, "the master keys of this node cannot be noted");
                AFTER_FAILURE.min(every)
            }
        };
        drop(own);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep(pause) => {}
        }
    }
}

async fn beat(engine: &Engine) -> Result<(), VaultError> {
    nodes::note(engine).await?;
    nodes::look(engine).await
}

async fn rounds(engine: Weak<Engine>, stop: CancellationToken) {
    let mut walk: Option<Walk> = None;
    loop {
        let Some(own) = engine.upgrade() else { return };
        let pause = round(&own, &mut walk, &stop).await.unwrap_or_else(|error| {
            tracing::error!(%error, "keys cannot be wrapped anew");
            AFTER_FAILURE
        });
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
    let records = &engine.resources.records;
    let mut held = Held { rotation, commit, every: LEASE_RENEWED };
    let rate = engine.limits().key_rewraps_per_second.max(1);
    let until = Instant::now() + ROUND;
    let walk = walk.get_or_insert_with(|| Walk::new(held.rotation.key_id.clone()));
    if walk.key_id != held.rotation.key_id {
        *walk = Walk::new(held.rotation.key_id.clone());
    }
    while Instant::now() < until && !stop.is_cancelled() {
        let step = engine.resources.vault.rewrap(walk.place.clone(), STEP_RECORDS);
        let Some(step) = held.during(records, stop, step).await? else { return Ok(Duration::ZERO) };
        let RewrapStep { rewrapped, changed, failed, next } = step?;
        walk.again |= changed > 0;
        if let Some((key, error)) = failed {
            walk.problem.get_or_insert(format!("{key}: {error}"));
        }
        if rewrapped > 0 {
            held.rotation.rewrapped = held.rotation.rewrapped.saturating_add(rewrapped);
            if !held.keep(records).await? {
                return Ok(Duration::ZERO);
            }
            // Why: callers need the store, and the service that has the keys, too.
            let pause = sleep(Duration::from_millis(rewrapped.saturating_mul(1000) / rate));
            if held.during(records, stop, pause).await?.is_none() {
                return Ok(Duration::ZERO);
            }
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
        held.keep(&engine.resources.records).await?;
        return Ok(Duration::from_millis(nodes::EVERY_MS));
    }
    if done.again {
        held.keep(&engine.resources.records).await?;
        return Ok(Duration::ZERO);
    }
    let wrapped = engine.resources.vault.wrapped_by().await?;
    if wrapped.keys().any(|id| *id != done.key_id) {
        return Ok(AFTER_FAILURE);
    }
    held.rotation.finished_ms = Some(clock::now_ms());
    if held.keep(&engine.resources.records).await? {
        let (key_id, rewrapped) = (done.key_id, held.rotation.rewrapped);
        tracing::info!(key_id, rewrapped, "all keys are wrapped with the promoted master key");
    }
    Ok(Duration::ZERO)
}

/// A rotation that is this process's for now.
struct Held {
    rotation: KeyRotation,
    commit: u64,
    /// How often the lease is renewed while something takes long.
    every: Duration,
}

impl Held {
    /// Stores how far it is, and goes on having it; false if another has it by now, or a key was promoted.
    async fn keep(&mut self, records: &Records) -> Result<bool, StoreError> {
        self.rotation.lease_ms = clock::now_ms().saturating_add(LEASE_MS);
        let writes = Writes::new().replace(&KeyRotation::PARTS, &self.rotation, self.commit);
        match records.commit(writes).await {
            Ok(commit) => {
                self.commit = commit;
                Ok(true)
            }
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits for something that may take longer than the lease, and goes on having it. `None`, with the work given up
    /// where it is, if another has it by now or the process stops: what was wrapped anew until then stays so.
    async fn during<T>(
        &mut self,
        records: &Records,
        stop: &CancellationToken,
        work: impl Future<Output = T>,
    ) -> Result<Option<T>, StoreError> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(None),
                done = timeout(self.every, &mut work) => if let Ok(done) = done {
                    return Ok(Some(done));
                },
            }
            if !self.keep(records).await? {
                return Ok(None);
            }
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
    let mut held = Held { rotation, commit, every: LEASE_RENEWED };
    Ok(held.keep(records).await?.then_some((held.rotation, held.commit)))
}

#[cfg(test)]
mod tests {
    use portcullis_store::MemoryStore;

    use super::*;

    async fn held(records: &Records) -> Held {
        let rotation = KeyRotation::begun("0123456789abcdef", 1);
        let commit = records.commit(Writes::new().create(&KeyRotation::PARTS, &rotation)).await.unwrap();
        Held { rotation, commit, every: Duration::from_millis(1) }
    }

    async fn stored(records: &Records) -> (KeyRotation, u64) {
        records.get::<KeyRotation>(&KeyRotation::PARTS).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_lease_is_renewed_while_one_step_takes_longer() {
        let records = Records::new(Arc::new(MemoryStore::new()));
        let mut held = held(&records).await;
        let first = held.commit;
        // A step that ends after the lease was renewed twice.
        let step = async {
            while stored(&records).await.1 < first + 2 {
                sleep(Duration::from_millis(1)).await;
            }
            "done"
        };
        let stop = CancellationToken::new();
        assert_eq!(held.during(&records, &stop, step).await.unwrap(), Some("done"));
        let (rotation, commit) = stored(&records).await;
        assert!(rotation.lease_ms > clock::now_ms(), "{rotation:?}");
        assert_eq!(commit, held.commit);
        assert!(held.keep(&records).await.unwrap(), "it is this process's still");
    }

    #[tokio::test]
    async fn a_step_is_given_up_once_another_process_has_the_rotation_or_this_one_stops() {
        let records = Records::new(Arc::new(MemoryStore::new()));
        let mut held = held(&records).await;
        let other = KeyRotation { node: Some("other".to_owned()), ..held.rotation.clone() };
        records.commit(Writes::new().put(&KeyRotation::PARTS, &other)).await.unwrap();
        let stop = CancellationToken::new();
        assert_eq!(held.during(&records, &stop, std::future::pending::<()>()).await.unwrap(), None);
        assert_eq!(stored(&records).await.0.node.as_deref(), Some("other"), "it is left alone");
        stop.cancel();
        held.every = Duration::from_secs(3600);
        assert_eq!(held.during(&records, &stop, std::future::pending::<()>()).await.unwrap(), None);
    }
}
