//! Events: what happened in the surrounding platform fires every automation that is bound to it, one run each.
//!
//! ```text
//! FireEvent     what happened, where, and the source; authorised and bounded by the API
//!   → seen        has this workspace seen the event's id? Then what came of it is the answer
//!   → bindings    the automations that are bound to it
//!   → record      which automations are fired, with the ids of their runs, before the first call
//!   → fire_event  a few calls at a time, each as if its automation was fired alone
//!   → record      what came of them, for repeats
//! ```

use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use portcullis_core::fault::Code;
use portcullis_core::id::{AutomationId, OrgId, RunId, WorkspaceId};
use portcullis_core::sync::lock;
use portcullis_core::violation::Violation;
use portcullis_store::{
    EventOrder, EventRecord, FiredAutomation, FiringProblem, StoreError, WorkspaceRecord,
};
use serde_json::{Map, Value};

use crate::automations::{EventOptype, EventStage};
use crate::call::Commitment;
use crate::call::pipeline::invoke;
use crate::caller::{Caller, RUN};
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;
use crate::resources::Resources;
use crate::runs::{self, Firing, Run, StoredRun};
use crate::tenants::Tenant;

mod bindings;
mod document;
mod seen;

pub use document::EventDocument;

use bindings::{Bindings, Occasion};
use seen::{Claim, Known, Seen};

/// Longest id of an event, bytes.
const EVENT_ID_BYTES_MAX: usize = 255;
/// Bytes of a problem's message that are kept for repeats.
const MESSAGE_BYTES_MAX: usize = 200;
/// Workspaces read at a time.
const READ_AT_ONCE: usize = 100;

/// What the process knows of events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pub(crate) bindings: Bindings,
    seen: Seen,
}

/// An event that is to fire what is bound to it.
pub struct FireEvent {
    /// The caller's id of it, or none.
    pub event_id: Option<String>,
    pub entity_name: String,
    pub event_name: String,
    pub event_optype: EventOptype,
    pub event_stage: EventStage,
    /// The document that conditions and mappings read.
    pub source: Map<String, Value>,
    /// Shared with the connection that waits for the calls.
    pub commitment: Commitment,
}

/// What came of an event.
pub struct FiredEvent {
    pub event_id: String,
    /// One for each automation, in the order in which they were made.
    pub entries: Vec<EventEntry>,
}

/// What came of one automation.
pub enum EventEntry {
    /// The call was made, or skipped.
    Run(Box<Run>),
    /// It was made when the event came first.
    Kept(Box<StoredRun>),
    /// It was made when the event came first, and its record is gone.
    Gone(FiredAutomation),
    /// There was no call.
    Problem(EventProblem),
}

/// Why an automation was fired without a run.
pub struct EventProblem {
    pub automation_id: AutomationId,
    pub code: Code,
    /// Shown to people.
    pub message: String,
    /// Every violation; not kept for repeats.
    pub violations: Vec<Violation>,
}

/// An event on its way to the calls.
pub(crate) struct Event<'a> {
    pub(crate) event_id: &'a str,
    pub(crate) firing: Firing<'a>,
}

/// Fires every automation of the org that is bound to an event, and waits for all of them.
///
/// # Errors
/// Those of [`Caller::authorise`], `validation_failed` for an id that is none and for too many automations,
/// `idempotency_in_flight`, `store_unavailable`. What is wrong with one automation is an entry.
pub async fn fire(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    wish: FireEvent,
) -> Result<FiredEvent, Error> {
    caller.authorise(RUN, Some(tenant.org.as_str()), Some(tenant.workspace.as_str()))?;
    // Why no look-up for an id that is made here: nobody can have sent it before.
    let (event_id, is_given) = match wish.event_id {
        Some(id) => (checked(id)?, true),
        None => (clock::fresh_text("evt"), false),
    };
    let claim = match seen::open(&engine.resources, tenant, &event_id).await? {
        Known::Done(record) => {
            let entries = kept(engine, tenant, &record.fired).await?;
            return Ok(FiredEvent { event_id, entries });
        }
        Known::Open(claim) => claim,
    };
    let occasion = Occasion {
        entity_name: wish.entity_name,
        event_name: wish.event_name,
        stage: wish.event_stage,
        optype: wish.event_optype,
    };
    let planned = match claim.resumed() {
        Some(fired) => fired.to_vec(),
        None => plan(&engine.resources, &tenant.org, &occasion).await?,
    };
    let source = Value::Object(wish.source);
    let firing = Firing { caller, tenant, source: &source, commitment: &wish.commitment };
    let event = Event { event_id: &event_id, firing };
    let entries = claimed(engine, &event, claim, planned, is_given).await?;
    Ok(FiredEvent { event_id, entries })
}

/// An id as a caller gave it.
fn checked(id: String) -> Result<String, Error> {
    let (rule, why) = match id.len() {
        0 => ("too_short", "must not be empty; leave it out to have one made".to_owned()),
        bytes if bytes > EVENT_ID_BYTES_MAX => {
            ("too_long", format!("is {bytes} bytes, the limit is {EVENT_ID_BYTES_MAX}"))
        }
        _ if id.chars().any(char::is_control) => {
            ("wrong_form", "must not have control characters".to_owned())
        }
        _ => return Ok(id),
    };
    Err(Error::violation("/event_id", rule, why))
}

/// The automations that are bound to an event, each with the id of its run.
async fn plan(
    resources: &Resources,
    org: &OrgId,
    occasion: &Occasion,
) -> Result<Vec<FiredAutomation>, Error> {
    let limit = usize::try_from(resources.limits.automations_per_event).unwrap_or(usize::MAX);
    let bound = resources.events.bindings.bound(&resources.records, org, occasion, limit).await?;
    if bound.len() > limit {
        let message = format!(
            "more than {limit} automations are bound to this event, which is the limit \
             (limits.automations_per_event); none of them was fired"
        );
        return Err(Error::violation("/event_name", "too_many_automations", message));
    }
    let planned = bound.into_iter().map(|automation_id| {
        let run_id = clock::fresh("run", RunId::parse)?;
        Ok(FiredAutomation { automation_id, run_id, status: None, problem: None })
    });
    planned.collect()
}

/// The warning of an automation that was saved and whose event is bound to too many by now: nothing would fire.
pub(crate) async fn crowded(resources: &Resources, org: &OrgId, document: &Value) -> Option<Violation> {
    let occasion = Occasion::of(document)?;
    let limit = usize::try_from(resources.limits.automations_per_event).unwrap_or(usize::MAX);
    // Why no error: the automation is saved, whatever cannot be read now.
    let bound = resources.events.bindings.bound(&resources.records, org, &occasion, limit).await.ok()?;
    (bound.len() > limit).then(|| {
        let message = format!(
            "more than {limit} automations are bound to this event (limits.automations_per_event): it is refused, and \
             fires none of them, until there are fewer"
        );
        Violation::new("/event_name", "too_many_automations", message)
    })
}

/// Fires what an event was found to fire, between the two records of it. Of an event that was cut off before, only
/// what has no run yet is fired.
async fn claimed(
    engine: &Engine,
    event: &Event<'_>,
    mut claim: Claim,
    mut planned: Vec<FiredAutomation>,
    is_given: bool,
) -> Result<Vec<EventEntry>, Error> {
    let resources = &engine.resources;
    let before = match claim.resumed() {
        Some(_) => runs_of(engine, event.firing.tenant, &planned).await?,
        None => planned.iter().map(|_| None).collect(),
    };
    // Why not for an id that was made here: nobody can repeat it before it was told.
    if is_given && !planned.is_empty() {
        claim.begin(resources, planned.clone()).await?;
    }
    let open = planned.iter().zip(&before).filter(|(_, run)| run.is_none());
    let open: Vec<FiredAutomation> = open.map(|(fired, _)| fired.clone()).collect();
    let mut fired = fire_event(engine, event, &open).await.into_iter();
    let known = before.into_iter().map(|run| run.map(|run| EventEntry::Kept(Box::new(run))));
    let entries: Vec<EventEntry> = known.filter_map(|run| run.or_else(|| fired.next())).collect();
    for (fired, entry) in planned.iter_mut().zip(&entries) {
        entry.note(fired);
    }
    // Why not where nobody named it and nothing was fired: most events of a platform are such, and cost no write.
    if is_given || !planned.is_empty() {
        claim.end(resources, planned).await;
    }
    Ok(entries)
}

/// Fires these automations, a few at a time, and returns what came of each, in their order. Every call keeps a place
/// of its own among the workspace's calls: the event's own place is the first, and without another one the calls
/// follow each other.
///
/// What is durable begins here instead: a stored job for each of these automations, with the sealed source.
pub(crate) async fn fire_event(
    engine: &Engine,
    event: &Event<'_>,
    automations: &[FiredAutomation],
) -> Vec<EventEntry> {
    let most = usize::try_from(engine.limits().event_calls).unwrap_or(usize::MAX).min(automations.len());
    let workspace = format!("{}/{}", event.firing.tenant.org, event.firing.tenant.workspace);
    // Kept until all have ended.
    let places: Vec<_> = (1..most).map_while(|_| engine.scheduler().admit(&workspace).ok()).collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(automations.len())));
    let mut lanes: Vec<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = Vec::new();
    for _ in 0..=places.len() {
        lanes.push(Box::pin(lane(engine, event, automations, &next, &done)));
    }
    std::future::poll_fn(|context| {
        lanes.retain_mut(|lane| lane.as_mut().poll(context).is_pending());
        if lanes.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    drop(lanes);
    drop(places);
    let mut done = std::mem::take(&mut *lock(&done));
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, entry)| entry).collect()
}

/// Takes one automation after the other.
async fn lane(
    engine: &Engine,
    event: &Event<'_>,
    automations: &[FiredAutomation],
    next: &AtomicUsize,
    done: &Mutex<Vec<(usize, EventEntry)>>,
) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(automation) = automations.get(number) else { return };
        let entry = match call(engine, event, automation).await {
            Ok(run) => EventEntry::Run(Box::new(run)),
            Err(error) => EventEntry::Problem(EventProblem::of(automation.automation_id.clone(), error)),
        };
        lock(done).push((number, entry));
    }
}

/// Fires one automation, with a key that is the same for every delivery of the event.
async fn call(engine: &Engine, event: &Event<'_>, automation: &FiredAutomation) -> Result<Run, Error> {
    let (mut call, compiled) = event.firing.call_of(engine, &automation.automation_id).await?;
    call.run_id = Some(automation.run_id.clone());
    call.event_id = Some(event.event_id.to_owned());
    // Why with its kind: an id of an event is no key of a single call with the same text.
    call.key = Some(format!("event:{}", event.event_id));
    invoke(engine, call).await.map_err(|error| compiled.explained(error))
}

/// What is told of an event that came before: the records of its runs.
async fn kept(engine: &Engine, tenant: &Tenant, fired: &[FiredAutomation]) -> Result<Vec<EventEntry>, Error> {
    let runs = runs_of(engine, tenant, fired).await?;
    let entries = fired.iter().zip(runs).map(|(fired, run)| match (run, &fired.problem) {
        (Some(run), _) => EventEntry::Kept(Box::new(run)),
        (None, Some(problem)) => EventEntry::Problem(EventProblem {
            automation_id: fired.automation_id.clone(),
            code: Code::parse(&problem.code).unwrap_or(Code::Internal),
            message: problem.message.clone(),
            violations: Vec::new(),
        }),
        (None, None) => EventEntry::Gone(fired.clone()),
    });
    Ok(entries.collect())
}

/// The records of runs, as far as there are any.
async fn runs_of(
    engine: &Engine,
    tenant: &Tenant,
    fired: &[FiredAutomation],
) -> Result<Vec<Option<StoredRun>>, Error> {
    let mut found = Vec::with_capacity(fired.len());
    for automation in fired {
        let record = match automation.problem {
            Some(_) => None,
            None => engine.runs.get(&tenant.org, &tenant.workspace, &automation.run_id).await?,
        };
        found.push(record.as_ref().map(runs::stored).transpose()?);
    }
    Ok(found)
}

impl EventEntry {
    /// Notes what came of an automation, for repeats.
    fn note(&self, fired: &mut FiredAutomation) {
        let word = |status| serde_json::to_value(status).ok()?.as_str().map(str::to_owned);
        match self {
            Self::Run(run) => fired.status = word(run.status()),
            Self::Kept(run) => fired.status = word(run.status()),
            // Only a repeat is told so, and a repeat is not recorded.
            Self::Gone(_) => {}
            Self::Problem(problem) => {
                let mut message = problem.message.clone();
                message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
                fired.problem = Some(FiringProblem { code: problem.code.as_str().to_owned(), message });
            }
        }
    }
}

impl EventProblem {
    fn of(automation_id: AutomationId, error: Error) -> Self {
        if error.is_ours() {
            tracing::error!(%automation_id, code = %error.code, "an automation could not be fired");
        }
        Self { automation_id, code: error.code, message: error.detail, violations: error.violations }
    }
}

/// Forgets the events of workspaces that are too old to be remembered. Called from time to time.
///
/// # Errors
/// Those of the store; what is left is forgotten the next time.
pub async fn sweep(engine: &Engine) -> Result<(), StoreError> {
    let resources = &engine.resources;
    let mut after: Option<String> = None;
    loop {
        let page = resources.records.list::<WorkspaceRecord>(&[], after.as_deref(), READ_AT_ONCE).await?;
        let Some((last, _, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (_, record, _) in &page {
            while seen::prune(resources, &record.org, &record.workspace).await? {}
        }
    }
}

/// Forgets all events of a workspace, which is deleted.
pub(crate) async fn forget_workspace(
    resources: &Resources,
    org: &OrgId,
    workspace: &WorkspaceId,
) -> Result<(), StoreError> {
    let parts = [org.as_str(), workspace.as_str()];
    resources.delete_below::<EventRecord>(&parts).await?;
    resources.delete_below::<EventOrder>(&parts).await?;
    resources.events.seen.forget(org, workspace);
    Ok(())
}

#[cfg(test)]
mod tests;
