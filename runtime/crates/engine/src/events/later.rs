//! Events whose runs are executed later: each run is accepted by itself.

use portcullis_core::json;
use portcullis_core::limits::Limits;
use portcullis_store::FiredAutomation;
use serde_json::Value;

use super::{Event, EventEntry, EventProblem};
use crate::engine::Engine;
use crate::error::Error;
use crate::jobs::{Acceptance, Accepted, Asynchronously, accept};

/// Whether there is room for a copy of the source with each run.
///
/// # Errors
/// `validation_failed`.
pub(super) fn check_source(source: &Value, runs: usize, limits: &Limits) -> Result<(), Error> {
    let most = limits.event_source_bytes;
    let each = most.checked_div(runs as u64).unwrap_or(most);
    let enough = usize::try_from(each).unwrap_or(usize::MAX).saturating_add(1);
    let bytes = json::size(source, enough) as u64;
    if bytes <= each {
        return Ok(());
    }
    let message = format!(
        "{runs} runs would each keep the source, which may be {each} bytes then, {most} in all \
         (limits.event_source_bytes); none of them was accepted"
    );
    Err(Error::violation("/source", "too_large", message))
}

/// Accepts the calls of these automations, one after the other: each is on disk, with its sealed input and the source,
/// before the answer, and is executed by a worker.
pub(super) async fn accept_event(
    engine: &Engine,
    event: &Event<'_>,
    how: &Asynchronously,
    automations: &[FiredAutomation],
) -> Vec<EventEntry> {
    let mut entries = Vec::with_capacity(automations.len());
    for automation in automations {
        entries.push(match accepted(engine, event, how, automation).await {
            Ok(Accepted::Queued(run)) => EventEntry::Queued(run),
            Ok(Accepted::Ended(run)) => EventEntry::Run(run),
            Err(error) => EventEntry::Problem(EventProblem::of(automation.automation_id.clone(), error)),
        });
    }
    entries
}

async fn accepted(
    engine: &Engine,
    event: &Event<'_>,
    how: &Asynchronously,
    automation: &FiredAutomation,
) -> Result<Accepted, Error> {
    let (call, compiled) = event.call_of(engine, automation).await?;
    let source = event.firing.source.as_object().cloned().unwrap_or_default();
    let of_source = Acceptance::of_source(&compiled, &call, source, engine.limits())?;
    let with = Acceptance { not_before: how.not_before.clone(), ..of_source };
    accept(engine, call, with).await.map_err(|error| compiled.explained(error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_source_may_be_kept_by_few_runs_and_not_by_too_many() {
        let limits = Limits { event_source_bytes: 1000, ..Limits::default() };
        let source = json!({ "text": "x".repeat(200) });
        for runs in [0, 1, 4] {
            assert!(check_source(&source, runs, &limits).is_ok(), "{runs}");
        }
        let error = check_source(&source, 5, &limits).unwrap_err();
        let violation = &error.violations[0];
        assert_eq!((violation.pointer.as_str(), violation.code), ("/source", "too_large"));
        assert!(violation.message.contains("limits.event_source_bytes"), "{}", violation.message);
    }
}
