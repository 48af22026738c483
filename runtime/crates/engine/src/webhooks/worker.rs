//! The worker: takes the turns of endpoints, and delivers what is due, some endpoints at once and each in order.
//!
//! | state of a delivery | step |
//! |---|---|
//! | due | leased: due again when the lease ends, with the process's name; then sent |
//! | taken by the receiver | kept as delivered |
//! | not taken | due again after a wait, four times as long each time, with a random part; or dead after days |
//! | lease over | due: the process that had it is gone, and it is sent again under the same id |
//!
//! Each step replaces the record that it was decided by. An endpoint that fails is left alone for a while, so its
//! deliveries cost one try at a time.

use std::sync::{Arc, Weak};
use std::time::Duration;

use portcullis_core::fault::Code;
use portcullis_store::{
    DeliveryOutcome, KeptDelivery, PendingDelivery, StoreError, WebhookDue, WebhookEndpoint, WebhookTurn,
    Webhooks, Writes, ms_of_part, ms_part,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::desk::Busy;
use super::send::{Message, Sent, send};
use super::{WebhookScope, fan_out, refusals, sweep, turn};
use crate::clock::{self, HOUR_MS, jitter, now_ms};
use crate::engine::Engine;
use crate::error::Error;
use crate::nodes::{Duty, is_on_duty};
use crate::resources::Resources;

/// How long the worker sleeps at most.
const SLEEP_MAX: Duration = Duration::from_secs(10);
/// The same where other processes share the store, or counts wait to be told.
const SLEEP_SHARED: Duration = Duration::from_secs(1);
/// The wait after a failure of the store.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How often all orgs and what is old are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Turns read at a time, and pages of them: those of busy endpoints stand in front.
const TURNS_AT_ONCE: usize = 200;
const TURN_PAGES: usize = 10;
/// Deliveries of an endpoint in one turn.
const OF_ONE_TURN: usize = 50;
/// What a lease has beside the time of a delivery: for its records.
const LEASE_SPARE_MS: u64 = 10_000;

impl Engine {
    /// Begins to deliver to webhooks, until [`Self::stop_jobs`] or the engine's end. Once is enough for a process.
    pub fn start_webhooks(self: &Arc<Self>) {
        let ended = self.jobs.ends();
        tokio::spawn(rounds(Arc::downgrade(self), self.jobs.stopped(), ended));
    }
}

async fn rounds(
    engine: Weak<Engine>,
    stop: CancellationToken,
    mut ended: broadcast::Receiver<portcullis_store::JobName>,
) {
    let Some(first) = engine.upgrade() else { return };
    let workers = usize::try_from(first.limits().webhook_workers).unwrap_or(1).min(Semaphore::MAX_PERMITS);
    if !first.resources.records.store().is_shared()
        && let Err(error) = take_over(&first).await
    {
        tracing::error!(%error, "deliveries to webhooks that were begun cannot be read");
    }
    drop(first);
    let slots = Arc::new(Semaphore::new(workers));
    let mut swept: Option<Instant> = None;
    let mut told_all = true;
    loop {
        let Some(own) = engine.upgrade() else { return };
        let freshness = Arc::clone(&own.resources.freshness);
        if freshness.is_lost() {
            drop(own);
            // Why: what this node cannot judge is left to the others.
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = freshness.regained() => continue,
                () = sleep(SLEEP_MAX) => continue,
            }
        }
        if swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY) || told_all {
            note_all(&own).await;
            told_all = false;
        }
        if swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY) {
            swept = Some(Instant::now());
            if is_on_duty(&own, Duty::Webhooks, SWEEP_EVERY).await
                && let Err(error) = sweep::sweep(&own).await
            {
                tracing::error!(%error, "old deliveries to webhooks cannot be dropped");
            }
        }
        let pause = round(&own, &slots).await.unwrap_or_else(|error| {
            tracing::error!(%error, "what webhooks are to be told cannot be read");
            AFTER_FAILURE
        });
        let resources = Arc::clone(&own.resources);
        drop(own);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            end = ended.recv() => match end {
                Ok(job) => resources.webhooks.note_run(&job.org),
                Err(broadcast::error::RecvError::Lagged(_)) => told_all = true,
                Err(broadcast::error::RecvError::Closed) => return,
            },
            () = resources.webhooks.wake.notified(), if !pause.is_zero() => {}
            () = sleep(pause) => {}
        }
    }
}

/// Notes every org with ends of runs: some may have ended in a process that is gone.
async fn note_all(engine: &Engine) {
    match fan_out::all_orgs(engine).await {
        Ok(orgs) => orgs.iter().for_each(|org| engine.resources.webhooks.note_run(org)),
        Err(error) => tracing::error!(%error, "ends of runs cannot be read"),
    }
}

/// One round; returns how long there is nothing to do.
async fn round(engine: &Arc<Engine>, slots: &Arc<Semaphore>) -> Result<Duration, StoreError> {
    let resources = &engine.resources;
    let dirty = resources.webhooks.take_dirty();
    let mut has_more = match fan_out::runs(engine, &dirty).await {
        Ok(has_more) => has_more,
        Err(error) => {
            dirty.iter().for_each(|org| resources.webhooks.note_run(org));
            return Err(error);
        }
    };
    has_more |= fan_out::broadcasts(resources).await?;
    refusals::flush(engine).await?;
    let next_ms = turns(engine, slots).await?;
    if has_more {
        return Ok(Duration::ZERO);
    }
    let waits = resources.records.store().is_shared() || !resources.webhooks.refusals.is_empty();
    let most = if waits { SLEEP_SHARED } else { SLEEP_MAX };
    let until = next_ms.map(|at_ms| Duration::from_millis(at_ms.saturating_sub(now_ms()).max(1)));
    Ok(until.map_or(most, |until| until.min(most)))
}

/// Begins the turns that are due, as many as there is room for; returns when the next one is, as far as it was read.
async fn turns(engine: &Arc<Engine>, slots: &Arc<Semaphore>) -> Result<Option<u64>, StoreError> {
    let mut after: Option<String> = None;
    for _ in 0..TURN_PAGES {
        let records = &engine.resources.records;
        let page = records.list::<WebhookTurn>(&[], after.as_deref(), TURNS_AT_ONCE).await?;
        for (key, _, commit) in &page {
            let Some(own) = Turn::of(key, *commit) else { continue };
            if own.at_ms > now_ms() {
                return Ok(Some(own.at_ms));
            }
            // Why the end: one that is given back wakes the worker.
            let Ok(slot) = Arc::clone(slots).try_acquire_owned() else { return Ok(None) };
            let Some(busy) = engine.resources.webhooks.take(&own.scope, &own.instance) else { continue };
            begin(engine, own, busy, slot);
        }
        let Some((last, ..)) = page.last().filter(|_| page.len() == TURNS_AT_ONCE) else { return Ok(None) };
        after = Some(last.clone());
    }
    Ok(None)
}

/// The turn of an endpoint.
struct Turn {
    at_ms: u64,
    scope: String,
    instance: String,
    commit: u64,
}

impl Turn {
    fn of(key: &str, commit: u64) -> Option<Self> {
        let mut parts = key.split('/');
        let at_ms = ms_of_part(parts.next()?)?;
        let (scope, instance) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        Some(Self { at_ms, scope, instance, commit })
    }

    fn parts(&self) -> [&str; 2] {
        [&self.scope, &self.instance]
    }
}

fn begin(engine: &Arc<Engine>, own: Turn, busy: Busy, slot: OwnedSemaphorePermit) {
    let engine_of_task = Arc::clone(engine);
    let task = async move {
        if let Err(error) = serve(&engine_of_task, &own).await {
            tracing::error!(code = %error.code, detail = error.detail, "a webhook cannot be served");
            // Why a wait: the turn stays, and would be taken again at once.
            sleep(AFTER_FAILURE).await;
        }
        // Why in this order: whoever is woken finds a place.
        drop(slot);
        drop(busy);
    };
    // Why ignored: nobody waits for this one but a stop.
    drop(engine.spawn_call(task));
}

/// Delivers what is due to the endpoint of a turn.
async fn serve(engine: &Engine, own: &Turn) -> Result<(), Error> {
    let resources = &engine.resources;
    let Some(scope) = WebhookScope::of_part(&own.scope) else { return end_turn(resources, own, None).await };
    let mut rest = Duration::ZERO;
    for _ in 0..OF_ONE_TURN {
        if resources.freshness.is_lost() {
            // Why the turn stays: it is this node that may not send.
            return Ok(());
        }
        // Why each time: it may have been changed, switched off or deleted.
        let hooks = resources.records.get_shared::<Webhooks>(&[&own.scope]).await?;
        let endpoint = hooks
            .as_ref()
            .and_then(|(hooks, _)| hooks.endpoints.iter().find(|endpoint| endpoint.instance == own.instance));
        let Some(endpoint) = endpoint else {
            sweep::erase(resources, &own.parts()).await?;
            return end_turn(resources, own, None).await;
        };
        if !endpoint.enabled {
            return end_turn(resources, own, None).await;
        }
        let Some((due_ms, id)) = next_due(resources, own).await? else {
            return end_turn(resources, own, None).await;
        };
        if due_ms > now_ms() {
            return end_turn(resources, own, Some(due_ms)).await;
        }
        let leased = lease(resources, own, due_ms, &id).await?;
        let Some((pending, commit)) = leased else { continue };
        let message = Message { id: &id, kind: &pending.delivery.r#type, body: &pending.delivery.body };
        let sent = send(resources, &scope, endpoint, &message).await?;
        settle(resources, own, &id, pending, commit, sent).await?;
        rest = resources.webhooks.rest_after(&own.instance, sent.is_taken(), &resources.limits);
        if !rest.is_zero() {
            note_failure(own, endpoint, sent);
            break;
        }
    }
    if rest.is_zero() {
        return Ok(());
    }
    let next = next_due(resources, own).await?.map(|(due_ms, _)| due_ms);
    let earliest = now_ms().saturating_add(u64::try_from(rest.as_millis()).unwrap_or(u64::MAX));
    end_turn(resources, own, next.map(|due_ms| due_ms.max(earliest))).await
}

fn note_failure(own: &Turn, endpoint: &WebhookEndpoint, sent: Sent) {
    let (scope, webhook, status) = (&own.scope, &endpoint.id, sent.status);
    tracing::info!(scope, %webhook, status, code = sent.code.map(Code::as_str), "a webhook did not take a delivery");
}

/// The first delivery of an endpoint in the order of time.
async fn next_due(resources: &Resources, own: &Turn) -> Result<Option<(u64, String)>, StoreError> {
    let first = resources.records.keys::<WebhookDue>(&own.parts(), None, 1).await?;
    let first = first.into_iter().next();
    Ok(first.and_then(|parts| Some((ms_of_part(parts.first()?)?, parts.get(1)?.clone()))))
}

/// Ends a turn, unless another one was put in its place, and puts the next one. Why a condition: what became due while
/// this one was served has put its turn under the same key.
async fn end_turn(resources: &Resources, own: &Turn, next_ms: Option<u64>) -> Result<(), Error> {
    let at = ms_part(own.at_ms);
    let parts = [at.as_str(), own.scope.as_str(), own.instance.as_str()];
    let mut writes =
        Writes::new().require_revision::<WebhookTurn>(&parts, own.commit).delete::<WebhookTurn>(&parts);
    if let Some(next_ms) = next_ms {
        writes = turn(writes, next_ms, &own.scope, &own.instance);
    }
    match resources.commit(writes).await {
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Leases a delivery that is due; `None` if it is not there any more, was taken by another process, or is given up.
async fn lease(
    resources: &Resources,
    own: &Turn,
    due_ms: u64,
    id: &str,
) -> Result<Option<(PendingDelivery, u64)>, Error> {
    let (at, parts) = (ms_part(due_ms), [own.scope.as_str(), own.instance.as_str(), id]);
    let due = [own.scope.as_str(), own.instance.as_str(), at.as_str(), id];
    let found = resources.records.get::<PendingDelivery>(&parts).await?;
    let Some((mut pending, commit)) = found.filter(|(pending, _)| pending.due_ms == due_ms) else {
        // Only one who wrote past the engine left it behind.
        resources.commit(Writes::new().delete::<WebhookDue>(&due)).await?;
        return Ok(None);
    };
    let now = now_ms();
    if is_too_old(resources, &pending, now) {
        give_up(resources, &parts, pending, commit, "expired").await?;
        return Ok(None);
    }
    let lease_ms = resources.limits.webhook_timeout_ms.saturating_add(LEASE_SPARE_MS);
    pending.due_ms = now.saturating_add(lease_ms);
    pending.holder = Some(resources.webhooks.holder.clone());
    pending.delivery.tries = pending.delivery.tries.saturating_add(1);
    pending.delivery.tried_ms = Some(now);
    let until = ms_part(pending.due_ms);
    let next = [own.scope.as_str(), own.instance.as_str(), until.as_str(), id];
    let writes =
        Writes::new().replace(&parts, &pending, commit).delete::<WebhookDue>(&due).put(&next, &WebhookDue {});
    match resources.commit(turn(writes, pending.due_ms, &own.scope, &own.instance)).await {
        Ok(commit) => Ok(Some((pending, commit))),
        Err(StoreError::Conflict { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether a delivery was tried for as long as it is.
pub(super) fn is_too_old(resources: &Resources, pending: &PendingDelivery, now_ms: u64) -> bool {
    let most_ms = resources.limits.webhook_retry_hours.saturating_mul(HOUR_MS);
    now_ms.saturating_sub(pending.since_ms) >= most_ms
}

/// Gives up a delivery.
pub(super) async fn give_up(
    resources: &Resources,
    parts: &[&str; 3],
    mut pending: PendingDelivery,
    commit: u64,
    why: &str,
) -> Result<(), StoreError> {
    // Why not in the place of what the last try said: that says more.
    pending.delivery.code.get_or_insert_with(|| why.to_owned());
    end(resources, parts, pending, commit, DeliveryOutcome::Dead).await
}

async fn end(
    resources: &Resources,
    parts: &[&str; 3],
    pending: PendingDelivery,
    commit: u64,
    outcome: DeliveryOutcome,
) -> Result<(), StoreError> {
    let [scope, instance, id] = *parts;
    let due = ms_part(pending.due_ms);
    let kept = KeptDelivery { delivery: pending.delivery, outcome, ended_ms: now_ms() };
    let writes = Writes::new()
        .require_revision::<PendingDelivery>(parts, commit)
        .delete::<PendingDelivery>(parts)
        .delete::<WebhookDue>(&[scope, instance, &due, id])
        .put(parts, &kept);
    match resources.commit(writes).await {
        // Why fine: who took it over after the lease settles it.
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Stores what came of a try.
async fn settle(
    resources: &Resources,
    own: &Turn,
    id: &str,
    mut pending: PendingDelivery,
    commit: u64,
    sent: Sent,
) -> Result<(), Error> {
    let parts = [own.scope.as_str(), own.instance.as_str(), id];
    pending.delivery.status = sent.status;
    pending.delivery.code = None;
    if sent.is_taken() {
        return Ok(end(resources, &parts, pending, commit, DeliveryOutcome::Delivered).await?);
    }
    let code = sent.code.unwrap_or(Code::UpstreamStatus);
    pending.delivery.code = Some(code.as_str().to_owned());
    let next_ms = now_ms().saturating_add(wait_ms(resources, pending.delivery.tries));
    if is_too_old(resources, &pending, next_ms) {
        return Ok(end(resources, &parts, pending, commit, DeliveryOutcome::Dead).await?);
    }
    let (leased, next) = (ms_part(pending.due_ms), ms_part(next_ms));
    (pending.due_ms, pending.holder) = (next_ms, None);
    let due = |at| [own.scope.as_str(), own.instance.as_str(), at, id];
    let writes = Writes::new()
        .replace(&parts, &pending, commit)
        .delete::<WebhookDue>(&due(leased.as_str()))
        .put(&due(next.as_str()), &WebhookDue {});
    match resources.commit(turn(writes, next_ms, &own.scope, &own.instance)).await {
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The wait after this many tries: four times as long each time, of which a half is random.
fn wait_ms(resources: &Resources, tries: u32) -> u64 {
    let limits = &resources.limits;
    let factor = 4_u64.saturating_pow(tries.saturating_sub(1).min(16));
    let whole = limits.webhook_retry_base_ms.saturating_mul(factor).min(limits.webhook_retry_max_ms);
    let random = Duration::from_millis(whole / 2).mul_f64(jitter());
    (whole / 2).saturating_add(u64::try_from(random.as_millis()).unwrap_or_default()).max(1)
}

/// Makes due what a process that is gone had leased. Only where no other process can have the store open.
async fn take_over(engine: &Engine) -> Result<(), StoreError> {
    let resources = &engine.resources;
    let mut after: Option<String> = None;
    loop {
        let page = resources.records.list::<WebhookTurn>(&[], after.as_deref(), TURNS_AT_ONCE).await?;
        for (key, _, commit) in &page {
            let Some(own) = Turn::of(key, *commit).filter(|own| own.at_ms > now_ms()) else { continue };
            let Some((due_ms, id)) = next_due(resources, &own).await? else { continue };
            let parts = [own.scope.as_str(), own.instance.as_str(), id.as_str()];
            let found = resources.records.get::<PendingDelivery>(&parts).await?;
            let held = found.filter(|(pending, _)| pending.holder.is_some() && pending.due_ms == due_ms);
            let Some((mut pending, commit)) = held else { continue };
            let (at, now) = (ms_part(due_ms), clock::now_ms());
            (pending.due_ms, pending.holder) = (now, None);
            let due = |at| [own.scope.as_str(), own.instance.as_str(), at, id.as_str()];
            let writes = Writes::new()
                .replace(&parts, &pending, commit)
                .delete::<WebhookDue>(&due(at.as_str()))
                .put(&due(ms_part(now).as_str()), &WebhookDue {});
            match resources.commit(turn(writes, now, &own.scope, &own.instance)).await {
                Ok(_) | Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let Some((last, ..)) = page.last().filter(|_| page.len() == TURNS_AT_ONCE) else { return Ok(()) };
        after = Some(last.clone());
    }
}
