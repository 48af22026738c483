//! Deliveries of an event that come again: what is told of the first one, and what of it is still to be fired.
//!
//! Of an event that was cut off it is not known how far each of its calls got. The ledger knows what was sent, because it
//! is written before every request; what may have been carried out is not called again unless that does no harm.

use jiff::{SignedDuration, Timestamp};
use portcullis_core::fault::Code;
use portcullis_core::ledger::LedgerPhase;
use portcullis_store::{AutomationRecord, FiredAutomation, LedgerQuery};

use super::{EventEntry, EventProblem};
use crate::automations::Destination;
use crate::caller::Caller;
use crate::engine::Engine;
use crate::error::Error;
use crate::jobs;
use crate::resources::Resources;
use crate::runs::covers_automation;
use crate::tenants::Tenant;

/// How much earlier than an event's first delivery its requests may seem to be: the clock may have been set back.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_mins(10);
/// Ledger entries of one run that are looked at; a run with more has sent something.
const ENTRIES_MAX: usize = 100;

/// Whether what prevented a call passes by itself, so that a repeat of the event is to make the call.
pub(super) const fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::WorkspaceBusy
            | Code::OrgBusy
            | Code::OrgRateLimited
            | Code::OrgStorageFull
            | Code::Overloaded
            | Code::StoreUnavailable
            | Code::LedgerUnavailable
            | Code::Internal
            // Why: another token may fire it.
            | Code::NotGranted
    )
}

/// The same for a caller whose token may not fire everything: what it does not cover is named, and nothing of it told.
pub(super) async fn granted(
    resources: &Resources,
    caller: &Caller,
    tenant: &Tenant,
    entry: EventEntry,
) -> Result<EventEntry, Error> {
    let Some(automation_id) = entry.automation_id().filter(|_| !caller.is_unlimited()) else {
        return Ok(entry);
    };
    let is_covered = match entry.called() {
        Some((connector, action, automation)) => caller.covers(connector, action, automation),
        None => covers_automation(resources, caller, tenant, automation_id.as_str()).await?,
    };
    if is_covered {
        return Ok(entry);
    }
    let automation_id = automation_id.clone();
    Ok(EventEntry::Problem(EventProblem::of(automation_id, Error::plain(Code::NotGranted))))
}

/// What is told of an event that came before: the records of its runs.
pub(super) async fn kept(
    engine: &Engine,
    tenant: &Tenant,
    fired: &[FiredAutomation],
) -> Result<Vec<EventEntry>, Error> {
    let mut entries = Vec::with_capacity(fired.len());
    for automation in fired {
        let known = known(engine, tenant, automation).await?;
        entries.push(known.unwrap_or_else(|| EventEntry::Gone(automation.clone())));
    }
    Ok(entries)
}

/// What came of the automations of an event that was not fired to its end, each; `None` for those that are to be fired.
/// It came first at `came_at`, RFC 3339.
pub(super) async fn taken_up(
    engine: &Engine,
    tenant: &Tenant,
    fired: &[FiredAutomation],
    came_at: &str,
) -> Result<Vec<Option<EventEntry>>, Error> {
    let mut entries = Vec::with_capacity(fired.len());
    for automation in fired {
        entries.push(match known(engine, tenant, automation).await? {
            Some(entry) => Some(entry),
            // It ended, and its record could not be kept, or is gone.
            None if automation.status.is_some() => Some(EventEntry::Gone(automation.clone())),
            None if is_to_be_left(engine, tenant, automation, came_at).await? => {
                Some(EventEntry::Gone(FiredAutomation {
                    status: Some("failed".to_owned()),
                    interrupted: true,
                    ..automation.clone()
                }))
            }
            None => None,
        });
    }
    Ok(entries)
}

/// What came of one automation, as far as there is a record of it: of a run that was accepted, or ended, or of why there
/// is none.
async fn known(
    engine: &Engine,
    tenant: &Tenant,
    fired: &FiredAutomation,
) -> Result<Option<EventEntry>, Error> {
    if let Some(problem) = &fired.problem {
        return Ok(Some(EventEntry::Problem(EventProblem {
            automation_id: fired.automation_id.clone(),
            code: Code::parse(&problem.code).unwrap_or(Code::Internal),
            message: problem.message.clone(),
            violations: Vec::new(),
        })));
    }
    match jobs::known(engine, tenant, &fired.run_id).await {
        Ok(run) => Ok(Some(EventEntry::of(run))),
        Err(Error { code: Code::NotFound, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a call without a record may have been carried out, and must not be made again.
async fn is_to_be_left(
    engine: &Engine,
    tenant: &Tenant,
    fired: &FiredAutomation,
    came_at: &str,
) -> Result<bool, Error> {
    if !was_sent(engine, tenant, fired, came_at).await? {
        return Ok(false);
    }
    Ok(!is_harmless(engine, tenant, fired, came_at).await?)
}

/// Whether a request of a run has begun. It has its ledger entry before it leaves.
async fn was_sent(
    engine: &Engine,
    tenant: &Tenant,
    fired: &FiredAutomation,
    came_at: &str,
) -> Result<bool, Error> {
    // Why none for a time that cannot be read: then all of the ledger is looked through.
    let came_at = came_at.parse::<Timestamp>().ok();
    let back_to = came_at.map(|at| format!("{:.6}", at.saturating_sub(CLOCK_SLACK).unwrap_or(at)));
    let mut query = LedgerQuery {
        workspace: Some(tenant.workspace.clone()),
        run_id: Some(fired.run_id.clone()),
        back_to,
        limit: ENTRIES_MAX,
        ..LedgerQuery::default()
    };
    loop {
        let page = engine.resources.ledger.read(&tenant.org, &query).await?;
        // Why not the entries without an automation: those are requests for a token.
        let was_sent = page
            .entries
            .iter()
            .map(|line| &line.event)
            .any(|event| event.phase != LedgerPhase::Refused && event.automation_id.is_some());
        let is_more = page.next.is_some() && page.entries.len() >= ENTRIES_MAX;
        // Why more entries than a page has count as sent: nobody looked at them.
        if was_sent || is_more {
            return Ok(true);
        }
        let Some(next) = page.next else { return Ok(false) };
        // A look that took too long: it goes on there.
        query.starting_after = Some(next);
    }
}

/// Whether a call does no harm a second time, by the definition of now: its action says so, or the vendor gets the same
/// key and still remembers it.
async fn is_harmless(
    engine: &Engine,
    tenant: &Tenant,
    fired: &FiredAutomation,
    came_at: &str,
) -> Result<bool, Error> {
    let resources = &engine.resources;
    let parts = [tenant.org.as_str(), fired.automation_id.as_str()];
    let Some((record, _)) = resources.records.get_shared::<AutomationRecord>(&parts).await? else {
        return Ok(false);
    };
    let to = Destination::of(&record.definition);
    let Some(loaded) = resources.cache.connector(to.connector_id).await? else { return Ok(false) };
    let Some(action) = loaded.connector.action(to.action_id) else { return Ok(false) };
    if action.idempotent || action.retry.allow_non_idempotent {
        return Ok(true);
    }
    let Some(rules) = &action.key else { return Ok(false) };
    let age = came_at.parse::<Timestamp>().ok().map(|at| Timestamp::now().duration_since(at));
    Ok(rules.ttl_s.is_none_or(|s| age.is_some_and(|age| age < SignedDuration::from_secs(i64::from(s)))))
}
