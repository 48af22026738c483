//! Events: what happened in the surrounding platform fires every automation that is bound to it, one run each.
//!
//! ```text
//! FireEvent     what happened, where, and the source; authorised and bounded by the API
//!   → seen        has this workspace seen the event's id? Then what came of it is the answer
//!   → bindings    the automations that are bound to it
//!   → record      which automations are fired, with the ids of their runs, before the first call
//!   → fire_event  a few calls at a time, each as if its automation was fired alone; or accepted as durable runs
//!   → record      what came of them, for repeats; open as long as something only failed for now
//! ```

use std::sync::Arc;

use portcullis_core::fault::Code;
use portcullis_core::id::{AutomationId, OrgId, RunId, WorkspaceId};
use portcullis_core::violation::Violation;
use portcullis_store::{
    EventOrder, EventRecord, FiredAutomation, FiringProblem, StoreError, WorkspaceRecord,
};
use serde_json::{Map, Value};

use crate::automations::{Compiled, EventOptype, EventStage};
use crate::call::done::{Replay, replayed};
use crate::call::run::Called;
use crate::call::{CallRequest, Commitment};
use crate::caller::{Caller, RUN};
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;
use crate::invalidation::follow;
use crate::jobs::{Asynchronously, RunView, WaitingRun};
use crate::resources::Resources;
use crate::runs::{Firing, Run, StoredRun};
use crate::tenants::Tenant;

mod bindings;
mod document;
mod later;
mod now;
mod repeat;
mod seen;

pub use document::EventDocument;

use bindings::{Bindings, Occasion};
use repeat::{granted, is_passing, kept, taken_up};
use seen::{Claim, Known, Seen};

/// Longest id of an event, bytes.
pub(crate) const EVENT_ID_BYTES_MAX: usize = 255;
/// Bytes of a problem's message that are kept for repeats.
const MESSAGE_BYTES_MAX: usize = 200;
/// Workspaces read at a time.
const READ_AT_ONCE: usize = 100;

/// What the process knows of events.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) bindings: Bindings,
    seen: Seen,
}

impl Events {
    pub(crate) fn new(holder: String) -> Self {
        Self { bindings: Bindings::default(), seen: Seen::new(holder) }
    }
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
    /// That the calls are made later.
    pub later: Option<Asynchronously>,
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
    /// The same, without the output, for which the answer has no room.
    Short(Box<Run>),
    /// It was accepted, and is executed later.
    Queued(Box<WaitingRun>),
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
    /// That its calls are made later.
    pub(crate) later: Option<&'a Asynchronously>,
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
    if let Some(how) = &wish.later {
        how.check(&engine.resources.limits)?;
    }
    // Why no look-up for an id that is made here: nobody can have sent it before.
    let (event_id, is_given) = match wish.event_id {
        Some(id) => (checked(id)?, true),
        None => (clock::fresh_text("evt"), false),
    };
    let claim = match seen::open(&engine.resources, tenant, &event_id).await? {
        Known::Done(record) => {
            replayed(tenant, &Replay { event_id: Some(&event_id), ..Replay::default() });
            let entries = kept(engine, tenant, &record.fired).await?;
            let mut shown = Vec::with_capacity(entries.len());
            for entry in entries {
                shown.push(granted(&engine.resources, caller, tenant, entry).await?);
            }
            let entries = shown;
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
    let event = Event { event_id: &event_id, later: wish.later.as_ref(), firing };
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
    follow::catch_up_bindings(resources, org).await?;
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
        Ok(FiredAutomation { automation_id, run_id, status: None, interrupted: false, problem: None })
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

/// Fires what an event was found to fire, between the two records of it. Of an event that was cut off before, or of which
/// something could not be fired then, only what has no end yet is fired.
async fn claimed(
    engine: &Engine,
    event: &Event<'_>,
    mut claim: Claim,
    mut planned: Vec<FiredAutomation>,
    is_given: bool,
) -> Result<Vec<EventEntry>, Error> {
    let resources = &engine.resources;
    let before = match claim.resumed() {
        Some(_) => {
            let known = taken_up(engine, event.firing.tenant, &planned, claim.came_at()).await?;
            let mut shown = Vec::with_capacity(known.len());
            for entry in known {
                shown.push(match entry {
                    Some(entry) => {
                        let Firing { caller, tenant, .. } = event.firing;
                        Some(granted(resources, caller, tenant, entry).await?)
                    }
                    None => None,
                });
            }
            shown
        }
        None => planned.iter().map(|_| None).collect(),
    };
    let open = planned.iter().zip(&before).filter(|(_, known)| known.is_none());
    let open: Vec<FiredAutomation> = open.map(|(fired, _)| fired.clone()).collect();
    if event.later.is_some() {
        later::check_source(event.firing.source, open.len(), &resources.limits)?;
    }
    // Why not for an id that was made here: nobody can repeat it before it was told.
    let is_kept_before = is_given && !planned.is_empty();
    if is_kept_before {
        claim.begin(resources, planned.clone()).await?;
    }
    let firing = async {
        match event.later {
            Some(how) => later::accept_event(engine, event, how, &open).await,
            None => now::fire_event(engine, event, &open).await,
        }
    };
    let fired =
        if is_kept_before { claim.while_held(resources, &planned, firing).await } else { firing.await };
    let mut fired = fired.into_iter();
    let entries: Vec<EventEntry> =
        before.into_iter().filter_map(|known| known.or_else(|| fired.next())).collect();
    for (fired, entry) in planned.iter_mut().zip(&entries) {
        entry.note(fired);
    }
    // Why not where nobody named it and nothing was fired: most events of a platform are such, and cost no write.
    if is_given || !planned.is_empty() {
        let is_over = !entries.iter().any(EventEntry::is_open);
        claim.end(resources, planned, is_over).await;
    }
    Ok(entries)
}

impl Event<'_> {
    /// The call of one automation, with a key that is the same for every delivery of the event.
    async fn call_of(
        &self,
        engine: &Engine,
        automation: &FiredAutomation,
    ) -> Result<(CallRequest, Arc<Compiled>), Error> {
        let (mut call, compiled) = self.firing.call_of(engine, &automation.automation_id).await?;
        call.run_id = Some(automation.run_id.clone());
        call.event_id = Some(self.event_id.to_owned());
        // Why with its kind: an id of an event is no key of a single call with the same text.
        call.key = Some(format!("event:{}", self.event_id));
        Ok((call, compiled))
    }
}

impl EventEntry {
    /// A run that was there before.
    fn of(run: RunView) -> Self {
        match run {
            RunView::Waiting(run) => Self::Queued(run),
            RunView::Ended(run) => Self::Kept(run),
        }
    }

    /// The automation.
    fn automation_id(&self) -> Option<&AutomationId> {
        match self {
            Self::Run(run) | Self::Short(run) => run.automation_id.as_ref(),
            Self::Queued(run) => run.automation_id.as_ref(),
            Self::Kept(run) => run.automation_id(),
            Self::Gone(fired) => Some(&fired.automation_id),
            Self::Problem(problem) => Some(&problem.automation_id),
        }
    }

    /// What its run calls, if that is known.
    fn called(&self) -> Option<Called<'_>> {
        match self {
            Self::Run(run) | Self::Short(run) => Some(run.called()),
            Self::Queued(run) => Some(run.called()),
            Self::Kept(run) => Some(run.called()),
            Self::Gone(_) | Self::Problem(_) => None,
        }
    }

    /// Whether a repeat of the event fires it again: it was prevented by what passes.
    fn is_open(&self) -> bool {
        matches!(self, Self::Problem(problem) if is_passing(problem.code))
    }

    /// Notes what came of an automation, for repeats.
    fn note(&self, fired: &mut FiredAutomation) {
        let word = |status| serde_json::to_value(status).ok()?.as_str().map(str::to_owned);
        match self {
            Self::Run(run) | Self::Short(run) => fired.status = word(run.status()),
            // Why at all: once its record is gone, nothing else says that it was accepted.
            Self::Queued(_) => fired.status = Some(FiredAutomation::ACCEPTED.to_owned()),
            Self::Kept(run) => fired.status = word(run.status()),
            Self::Gone(gone) => fired.clone_from(gone),
            // Why nothing: the next delivery takes it up.
            Self::Problem(problem) if is_passing(problem.code) => {}
            Self::Problem(problem) => {
                let mut message = problem.message.clone();
                message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
                fired.problem = Some(FiringProblem { code: problem.code.as_str().to_owned(), message });
            }
        }
    }
}

impl FiredEvent {
    /// Whether a repeat of it fires something again.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.entries.iter().any(EventEntry::is_open)
    }

    /// Whether a call of it was accepted, and is not made yet.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, EventEntry::Queued(_)))
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
