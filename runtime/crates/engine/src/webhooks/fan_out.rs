//! From what happened to deliveries, where that is not done by the commit itself: ends of accepted runs, which stand in
//! the outboxes of their orgs, and events that all scopes are told of.
//!
//! Each step writes deliveries together with the place up to which was looked, in one batch that replaces the place. So
//! none is lost or made twice, whoever takes the step.

use portcullis_core::id::OrgId;
use portcullis_store::{
    EventBroadcast, OrgRecord, OutboxRecord, PLATFORM_SCOPE, RunsTold, StoreError, Webhooks, Writes,
};

use super::events::{self, Event, EventData, EventType, is_wanted, told, type_of};
use crate::engine::Engine;
use crate::resources::Resources;

/// Ends of runs read at a time.
const READ_AT_ONCE: usize = 50;
/// Pages of one org in one round: then others have their turn.
const PAGES_MAX: usize = 20;
/// Writes after which a batch is committed. Why so few: an event has at most three for each webhook of two scopes, and
/// the store's limit is 256.
const WRITES_MAX: usize = 120;
/// Broadcasts handed out in one round, and scopes read at a time.
const BROADCASTS: usize = 10;
const SCOPES_AT_ONCE: usize = 50;
/// Steps of one broadcast in one round.
const STEPS_MAX: usize = 100;

const OF_RUNS: [EventType; 3] = [EventType::RunDead, EventType::RunSucceeded, EventType::RunFailed];

/// Orgs whose runs have ended, as far as somebody wants to be told of it: all, or those that are named.
pub(super) async fn runs(engine: &Engine, orgs: &[OrgId]) -> Result<bool, StoreError> {
    let mut has_more = false;
    for org in orgs {
        let mut wanted = false;
        for kind in OF_RUNS {
            wanted |= events::wants(&engine.resources, org, kind).await?;
        }
        if wanted && runs_of(engine, org).await? {
            // Why again: the rest has its turn after the others.
            engine.resources.webhooks.note_run(org);
            has_more = true;
        }
    }
    Ok(has_more)
}

/// Tells of the ends of an org's runs; returns whether there are more.
async fn runs_of(engine: &Engine, org: &OrgId) -> Result<bool, StoreError> {
    let resources = &engine.resources;
    for _ in 0..PAGES_MAX {
        let found = resources.records.get::<RunsTold>(&[org.as_str()]).await?;
        let (through, mut commit) = found.map_or((0, None), |(place, commit)| (place.through, Some(commit)));
        let page = engine.jobs.outbox.read(org, through, READ_AT_ONCE).await?;
        let Some(last) = page.entries.last().map(|entry| entry.seq) else { return Ok(false) };
        let mut writes = Writes::new();
        let mut count = 0;
        for entry in &page.entries {
            if let Some(event) = event_of(&entry.record) {
                let (with, deliveries) = told(resources, writes, &event).await?;
                writes = with;
                count += deliveries * 3;
            }
            if count < WRITES_MAX && entry.seq != last {
                continue;
            }
            count = 0;
            let ready = std::mem::take(&mut writes);
            match place(resources, ready, org, entry.seq, commit).await? {
                Some(next) => commit = Some(next),
                // Another process took the step; it is looked at again from where that ended.
                None => return Ok(resources.records.get::<OrgRecord>(&[org.as_str()]).await?.is_some()),
            }
        }
        if !page.has_more {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Commits deliveries with the place up to which was looked; `None` if somebody else did.
async fn place(
    resources: &Resources,
    writes: Writes,
    org: &OrgId,
    through: u64,
    commit: Option<u64>,
) -> Result<Option<u64>, StoreError> {
    let place = RunsTold { org: org.clone(), through };
    let writes = writes.require_present::<OrgRecord>(&[org.as_str()]);
    let writes = match commit {
        Some(commit) => writes.replace(&[org.as_str()], &place, commit),
        None => writes.create(&[org.as_str()], &place),
    };
    match resources.commit(writes).await {
        Ok(commit) => Ok(Some(commit)),
        // Why the end where the org is gone: its outbox goes, too.
        Err(StoreError::Conflict { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is told of the end of a run.
fn event_of(record: &OutboxRecord) -> Option<Event> {
    let kind = match record.status.as_str() {
        "dead" => EventType::RunDead,
        "succeeded" => EventType::RunSucceeded,
        "failed" | "refused" => EventType::RunFailed,
        _ => return None,
    };
    let data = EventData {
        org: Some(record.org.clone()),
        workspace: Some(record.workspace.clone()),
        connector_id: Some(record.connector_id.as_str().to_owned()),
        connection: record.connection.clone(),
        action_id: Some(record.action_id.clone()),
        automation_id: record.automation_id.clone(),
        run_id: Some(record.run_id.clone()),
        event_id: record.event_id.clone(),
        status: Some(record.status.clone()),
        code: record.code.clone(),
        reason: record.reason.clone(),
        ..EventData::default()
    };
    Some(Event::new(kind, Some(record.org.clone()), data).at(record.at_ms))
}

/// Every org with ends of runs.
pub(super) async fn all_orgs(engine: &Engine) -> Result<Vec<OrgId>, StoreError> {
    engine.jobs.outbox.orgs().await
}

/// Hands out events that all scopes are told of; returns whether there are more.
pub(super) async fn broadcasts(resources: &Resources) -> Result<bool, StoreError> {
    let found = resources.records.list::<EventBroadcast>(&[], None, BROADCASTS).await?;
    let mut has_more = found.len() == BROADCASTS;
    for (id, broadcast, commit) in found {
        has_more |= hand_out(resources, &id, broadcast, commit).await?;
    }
    Ok(has_more)
}

/// Hands one out, some scopes at a time; returns whether it is not done.
async fn hand_out(
    resources: &Resources,
    id: &str,
    mut broadcast: EventBroadcast,
    mut commit: u64,
) -> Result<bool, StoreError> {
    let Some(kind) = type_of(&broadcast.r#type) else {
        return resources.commit(Writes::new().delete::<EventBroadcast>(&[id])).await.map(|_| false);
    };
    for _ in 0..STEPS_MAX {
        let after = broadcast.after.as_deref();
        let page = resources.records.list::<Webhooks>(&[], after, SCOPES_AT_ONCE).await?;
        let (mut writes, mut count, mut done) = (Writes::new(), 0, page.len() < SCOPES_AT_ONCE);
        let scopes = page.len();
        for (place, (scope, hooks, _)) in page.into_iter().enumerate() {
            let is_told = scope == PLATFORM_SCOPE || !broadcast.platform_only;
            for endpoint in hooks.endpoints.iter().filter(|one| is_told && is_wanted(one, kind)) {
                writes = events::add(writes, &scope, endpoint, id, kind.as_str(), &broadcast.body);
                count += 3;
            }
            broadcast.after = Some(scope);
            if count >= WRITES_MAX {
                done &= place + 1 == scopes;
                break;
            }
        }
        writes = match done {
            true => writes.require_revision::<EventBroadcast>(&[id], commit).delete::<EventBroadcast>(&[id]),
            false => writes.replace(&[id], &broadcast, commit),
        };
        match resources.commit(writes).await {
            Ok(_) if done => return Ok(false),
            Ok(next) => commit = next,
            // Another process hands it out.
            Err(StoreError::Conflict { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
