//! Lists of runs that have not ended for good. They are read from their jobs, in the order in which they were accepted.

use portcullis_core::fault::Code;
use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_store::{JobOrder, JobState, RunScope};

use super::{ListedRun, RunsPage, RunsWanted, filter, kept};
use crate::engine::Engine;
use crate::error::Error;
use crate::jobs::listing::{self, Place, Wanted};

/// Where the jobs begin in a list that has them and records.
const JOBS: &str = "q.jobs";
/// Where the records begin in it.
const RECORDS: &str = "q.records";

const UNKNOWN: &str = "starting_after must be next of a page of this list";

/// The org, and the workspace if it is one's; `None` for the platform.
const fn place(scope: &RunScope) -> Option<(&OrgId, Option<&WorkspaceId>)> {
    match scope {
        RunScope::Workspace(org, workspace) => Some((org, Some(workspace))),
        RunScope::Org(org) => Some((org, None)),
        RunScope::All => None,
    }
}

/// A page of open runs in one state.
///
/// # Errors
/// `bad_request` for a list of all orgs, for times of an end and for an unknown cursor or value; `store_unavailable`.
pub(super) async fn open(
    engine: &Engine,
    scope: &RunScope,
    wanted: &RunsWanted,
    state: JobState,
) -> Result<RunsPage, Error> {
    let refused = |detail: &str| Error::new(Code::BadRequest, detail);
    let (org, workspace) =
        place(scope).ok_or_else(|| refused("runs with this status are listed for one org: give org"))?;
    if wanted.since.is_some() || wanted.until.is_some() {
        return Err(refused("since and until are times of an end, and runs with this status have none"));
    }
    let after = wanted.starting_after.as_deref();
    let after = after.map(|text| Place::parse(text).ok_or_else(|| refused(UNKNOWN))).transpose()?;
    let (entries, next) = jobs(engine, org, workspace, wanted, state, after).await?;
    Ok(RunsPage { entries, next: next.map(|next| next.to_string()) })
}

/// A page of runs that were given up: those that can be taken up again are jobs, and the older ones records.
///
/// # Errors
/// Those of [`open`] without the first two.
pub(super) async fn dead(engine: &Engine, scope: RunScope, wanted: &RunsWanted) -> Result<RunsPage, Error> {
    let after = wanted.starting_after.as_deref();
    let Some((org, workspace)) = place(&scope) else { return kept(engine, scope, wanted, after).await };
    let place = after.and_then(Place::parse);
    let in_jobs = match after {
        None => !wanted.oldest_first,
        Some(text) => text == JOBS || place.is_some(),
    };
    if in_jobs {
        let (entries, next) = jobs(engine, org, workspace, wanted, JobState::Dead, place).await?;
        let then = (!wanted.oldest_first).then(|| RECORDS.to_owned());
        return Ok(RunsPage { entries, next: next.map(|next| next.to_string()).or(then) });
    }
    let page = kept(engine, scope, wanted, after.filter(|text| *text != RECORDS)).await?;
    let then = wanted.oldest_first.then(|| JOBS.to_owned());
    Ok(RunsPage { next: page.next.or(then), ..page })
}

async fn jobs(
    engine: &Engine,
    org: &OrgId,
    workspace: Option<&WorkspaceId>,
    wanted: &RunsWanted,
    state: JobState,
    after: Option<Place>,
) -> Result<(Vec<ListedRun>, Option<Place>), Error> {
    let filter = &filter(wanted)?;
    let order = if wanted.oldest_first { JobOrder::OldestFirst } else { JobOrder::NewestFirst };
    let of = Wanted { org, workspace, state, filter, order, limit: wanted.limit };
    let (found, next) = listing::page(engine, &of, after).await?;
    let listed = |(workspace, run)| ListedRun { org: org.clone(), workspace, run };
    Ok((found.into_iter().map(listed).collect(), next))
}
