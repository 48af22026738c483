//! What came of an event, as JSON: for the caller who sent it first, and for one who repeats it.

use portcullis_core::fault::{Code, Fault};
use portcullis_core::id::{AutomationId, RunId};
use portcullis_core::violation::Violation;
use portcullis_store::FiredAutomation;
use schemars::JsonSchema;
use serde::Serialize;

use super::{EventEntry, EventProblem, FiredEvent};
use crate::call::run::{EndReason, RunDocument, RunStatus, StoredRun};
use crate::jobs::WaitingRun;

/// An event and what came of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Event")]
pub struct EventDocument<'a> {
    /// The caller's id of the event, or one that was made.
    event_id: &'a str,
    /// One entry for each automation that is bound to the event, in the order in which they were made.
    data: Vec<EntryDocument<'a>>,
}

/// What came of one automation.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "EventEntry")]
enum EntryDocument<'a> {
    Run(Box<RunDocument<'a>>),
    Queued(&'a WaitingRun),
    Kept(KeptRun<'a>),
    Gone(GoneRun<'a>),
    Problem(ProblemDocument<'a>),
}

/// The record of a run that was made when the event came first.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EventRun")]
struct KeptRun<'a> {
    #[serde(flatten)]
    run: &'a StoredRun,
    /// Always false: records of runs have no output.
    #[schemars(extend("const" = false))]
    output_kept: bool,
}

/// A run that was made when the event came first, and has no record any more.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EventGoneRun")]
struct GoneRun<'a> {
    automation_id: &'a AutomationId,
    run_id: &'a RunId,
    /// How it ended; absent if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    /// `interrupted`: the process ended while it ran, and whether it was carried out is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<EndReason>,
    /// Always false: nothing of the run is kept.
    #[schemars(extend("const" = false))]
    output_kept: bool,
}

/// An automation that was fired without a run: nothing was called.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EventProblem")]
struct ProblemDocument<'a> {
    automation_id: &'a AutomationId,
    /// `failed`, or `refused` by a check.
    status: RunStatus,
    code: Code,
    /// The reason as a sentence for people.
    message: &'a str,
    /// Every violation, the first time.
    #[serde(skip_serializing_if = "<[Violation]>::is_empty")]
    errors: &'a [Violation],
}

impl FiredEvent {
    /// The event as its caller sees it.
    #[must_use]
    pub fn document(&self) -> EventDocument<'_> {
        EventDocument { event_id: &self.event_id, data: self.entries.iter().map(EntryDocument::of).collect() }
    }

    /// The same without the outputs of its runs, for which there is no room.
    #[must_use]
    pub fn document_without_outputs(&self) -> EventDocument<'_> {
        EventDocument {
            event_id: &self.event_id,
            data: self.entries.iter().map(EntryDocument::without_output).collect(),
        }
    }
}

impl<'a> EntryDocument<'a> {
    fn without_output(entry: &'a EventEntry) -> Self {
        match entry {
            EventEntry::Run(run) => Self::Run(Box::new(run.document_without_output())),
            other => Self::of(other),
        }
    }

    fn of(entry: &'a EventEntry) -> Self {
        match entry {
            EventEntry::Run(run) => Self::Run(Box::new(run.document())),
            EventEntry::Short(run) => Self::Run(Box::new(run.document_without_output())),
            EventEntry::Queued(run) => Self::Queued(run),
            EventEntry::Kept(run) => Self::Kept(KeptRun { run, output_kept: false }),
            EventEntry::Gone(fired) => Self::Gone(GoneRun::of(fired)),
            EventEntry::Problem(problem) => Self::Problem(ProblemDocument::of(problem)),
        }
    }
}

impl<'a> GoneRun<'a> {
    fn of(fired: &'a FiredAutomation) -> Self {
        Self {
            automation_id: &fired.automation_id,
            run_id: &fired.run_id,
            status: fired.status.as_deref().filter(|status| *status != FiredAutomation::ACCEPTED),
            reason: fired.interrupted.then_some(EndReason::Interrupted),
            output_kept: false,
        }
    }
}

impl<'a> ProblemDocument<'a> {
    fn of(problem: &'a EventProblem) -> Self {
        let status = match problem.code.fault() {
            Fault::Policy => RunStatus::Refused,
            _ => RunStatus::Failed,
        };
        Self {
            automation_id: &problem.automation_id,
            status,
            code: problem.code,
            message: &problem.message,
            errors: &problem.violations,
        }
    }
}
