//! Lists of runs that have not ended for good. They are read from their jobs, in the order in which they were accepted.

use portcullis_core::fault::Code;
use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_store::{JobName, JobOrder, JobState, RunScope};

use super::{ListedRun, RunsPage, RunsWanted, filter, kept};
use crate::engine::Engine;
use crate::error::Error;
use crate::jobs::RunView;
use crate::jobs::listing::{self, Place, Wanted};

/// Where the jobs begin in a list that has them and records.
const JOBS: &str = "q.jobs";
/// Where the records begin in it.
const RECORDS: &str = "q.records";

fn unknown() -> Error {
    Error::new(Code::BadRequest, "starting_after must be next of a page of this list")
}

/// The org and the workspace; none for the platform.
const fn tenant(scope: &RunScope) -> (Option<&OrgId>, Option<&WorkspaceId>) {
    match scope {
        RunScope::Workspace(org, workspace) => (Some(org), Some(workspace)),
        RunScope::Org(org) => (Some(org), None),
        RunScope::All => (None, None),
    }
}

/// A place that belongs to a list of this scope.
fn place(scope: &RunScope, text: &str) -> Option<Place> {
    Place::parse(text).filter(|place| place.is_of_all() == matches!(scope, RunScope::All))
}

/// A page of open runs in one state.
///
/// # Errors
/// `bad_request` for an unknown cursor or value; `store_unavailable`.
pub(super) async fn open(
    engine: &Engine,
    scope: &RunScope,
    wanted: &RunsWanted,
    state: JobState,
) -> Result<RunsPage, Error> {
    let after = wanted.starting_after.as_deref();
    let after = after.map(|text| place(scope, text).ok_or_else(unknown)).transpose()?;
    let (entries, next) = jobs(engine, scope, wanted, state, after).await?;
    Ok(RunsPage { entries, next: next.map(|next| next.to_string()) })
}

/// A page of runs that were given up or skipped: those that can be taken up again are jobs, and the others records.
///
/// # Errors
/// Those of [`open`].
pub(super) async fn given_up(
    engine: &Engine,
    scope: RunScope,
    wanted: &RunsWanted,
    state: JobState,
) -> Result<RunsPage, Error> {
    let after = wanted.starting_after.as_deref();
    let at = after.and_then(|text| place(&scope, text));
    let in_jobs = match after {
        None => !wanted.oldest_first,
        Some(text) => text == JOBS || at.is_some(),
    };
    let of_jobs = async {
        let (entries, next) = jobs(engine, &scope, wanted, state, at).await?;
        Ok::<_, Error>(RunsPage { entries, next: next.map(|next| next.to_string()) })
    };
    let after_jobs = after.filter(|text| !in_jobs && *text != RECORDS);
    let of_records = async {
        let mut page = kept(engine, scope.clone(), wanted, after_jobs).await?;
        page.entries = without_jobs(engine, page.entries, state).await?;
        Ok(page)
    };
    match (in_jobs, wanted.oldest_first) {
        (true, true) => of_jobs.await,
        (false, false) => of_records.await,
        (true, false) => followed(of_jobs, of_records, RECORDS).await,
        (false, true) => followed(of_records, of_jobs, JOBS).await,
    }
}

/// A page of the first part of a list, or of the second one where the first has no more.
async fn followed(
    first: impl Future<Output = Result<RunsPage, Error>>,
    second: impl Future<Output = Result<RunsPage, Error>>,
    second_begins: &str,
) -> Result<RunsPage, Error> {
    let page = first.await?;
    match page.next {
        None if page.entries.is_empty() => second.await,
        None => Ok(RunsPage { next: Some(second_begins.to_owned()), ..page }),
        Some(_) => Ok(page),
    }
}

/// Of these records those whose runs are not listed as jobs: a record is stored before its job is erased.
async fn without_jobs(
    engine: &Engine,
    records: Vec<ListedRun>,
    state: JobState,
) -> Result<Vec<ListedRun>, Error> {
    let mut left = Vec::with_capacity(records.len());
    for listed in records {
        let RunView::Ended(run) = &listed.run else { continue };
        let (org, workspace, run_id) = (listed.org.clone(), listed.workspace.clone(), run.run_id().clone());
        let job = engine.jobs.store.get(&JobName { org, workspace, run_id }).await?;
        if job.is_none_or(|job| job.state != state) {
            left.push(listed);
        }
    }
    Ok(left)
}

async fn jobs(
    engine: &Engine,
    scope: &RunScope,
    wanted: &RunsWanted,
    state: JobState,
    after: Option<Place>,
) -> Result<(Vec<ListedRun>, Option<Place>), Error> {
    let filter = &filter(wanted)?;
    let order = if wanted.oldest_first { JobOrder::OldestFirst } else { JobOrder::NewestFirst };
    let (org, workspace) = tenant(scope);
    let of = Wanted { org, workspace, state, filter, order, limit: wanted.limit };
    let (found, next) = listing::page(engine, &of, after).await?;
    let listed = |(org, workspace, run)| ListedRun { org, workspace, run };
    Ok((found.into_iter().map(listed).collect(), next))
}
