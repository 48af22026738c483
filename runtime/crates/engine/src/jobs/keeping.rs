//! How long ended jobs are kept: as the org's terms say, also where they were set after the end.

use portcullis_core::id::OrgId;
use portcullis_store::{Job, JobState, RetentionTerms};

use super::detail::Detail;
use super::settle::name_of;
use crate::clock::DAY_MS;
use crate::engine::Engine;
use crate::error::Error;
use crate::retention;

/// Jobs read at a time.
const PAGE: usize = 100;

/// Until when a job is kept that ends in this state at this time, milliseconds since 1970.
pub(super) async fn keep_until_ms(engine: &Engine, org: &OrgId, state: JobState, ended_ms: u64) -> u64 {
    let terms = retention::in_force(engine, org).await.unwrap_or_else(|error| {
        // Why no failure: the end of a run must not be lost for it. A sweep shortens what is kept too long.
        tracing::error!(%org, detail = error.detail, "terms of retention could not be read");
        RetentionTerms::default()
    });
    until_ms(engine, &terms, state, ended_ms)
}

fn until_ms(engine: &Engine, terms: &RetentionTerms, state: JobState, ended_ms: u64) -> u64 {
    let input_days = terms.input_days.map_or(engine.limits().input_days, u64::from);
    // Why not of those that were given up: they are no records of runs yet.
    let runs_days = terms.runs_days.filter(|_| state.is_final()).map_or(u64::MAX, u64::from);
    ended_ms.saturating_add(input_days.min(runs_days).saturating_mul(DAY_MS))
}

/// Whether the record of a run that ended at this time is not kept any more.
pub(super) fn is_past(terms: &RetentionTerms, ended_ms: u64, now_ms: u64) -> bool {
    let until_ms = |days: u32| ended_ms.saturating_add(u64::from(days).saturating_mul(DAY_MS));
    terms.runs_days.is_some_and(|days| until_ms(days) <= now_ms)
}

/// Ends the time of an org's jobs earlier where a shorter term came into force after their end.
///
/// # Errors
/// Those of the store; some may be done then.
pub(crate) async fn shorten(engine: &Engine, org: &OrgId, terms: &RetentionTerms) -> Result<(), Error> {
    let limit = engine.limits().input_days;
    let is_shorter = |days: Option<u32>| days.is_some_and(|days| u64::from(days) < limit);
    if !is_shorter(terms.input_days) && !is_shorter(terms.runs_days) {
        return Ok(());
    }
    let mut after = None;
    loop {
        let page = engine.jobs.store.list(org, None, after.as_ref(), PAGE).await?;
        for job in page.iter().filter(|job| !job.state.is_open()) {
            let Some(ended_ms) = ended_ms(job) else { continue };
            let until_ms = until_ms(engine, terms, job.state, ended_ms);
            if until_ms < job.at_ms {
                engine.jobs.store.keep_until(&name_of(job), until_ms).await?;
            }
        }
        let Some(last) = page.last().filter(|_| page.len() == PAGE) else { return Ok(()) };
        after = Some((last.workspace.clone(), last.run_id.clone()));
    }
}

fn ended_ms(job: &Job) -> Option<u64> {
    Detail::of(job).ok()?.ended_ms()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_past_when_the_days_that_runs_are_kept_are_over() {
        let terms = |runs_days| RetentionTerms { runs_days, ..RetentionTerms::default() };
        assert!(!is_past(&terms(None), 0, u64::MAX), "kept without end");
        assert!(!is_past(&terms(Some(7)), 1, 7 * DAY_MS));
        assert!(is_past(&terms(Some(7)), 1, 7 * DAY_MS + 1));
    }
}
