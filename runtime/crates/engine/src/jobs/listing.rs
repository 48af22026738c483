//! Runs that have not ended for good, listed in the order in which they were accepted.

use portcullis_core::id::{OrgId, RunId, WorkspaceId};
use portcullis_store::{JobName, JobOrder, JobState, RunFilter};

use super::detail::Detail;
use super::document::RunView;
use super::reading::{readable, view_of};
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;

/// Jobs that one page looks at: each is read by itself.
const LOOKED_AT: usize = 500;
/// Names read at a time.
const PAGE: usize = 100;
/// What a cursor of these lists begins with; no other one does.
const KIND: &str = "q";

/// Which runs are listed.
pub(crate) struct Wanted<'a> {
    pub(crate) org: &'a OrgId,
    pub(crate) workspace: Option<&'a WorkspaceId>,
    pub(crate) state: JobState,
    pub(crate) filter: &'a RunFilter,
    pub(crate) order: JobOrder,
    pub(crate) limit: usize,
}

/// A run before or after which a page ended: when it was stored, its workspace and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place(u64, WorkspaceId, RunId);

impl Place {
    /// A place from its text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut next = || parts.next();
        if next()? != KIND {
            return None;
        }
        let place =
            Self(next()?.parse().ok()?, WorkspaceId::parse(next()?).ok()?, RunId::parse(next()?).ok()?);
        next().is_none().then_some(place)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(stored_ms, workspace, run) = self;
        write!(f, "{KIND}.{stored_ms}.{workspace}.{run}")
    }
}

/// A run with its workspace.
pub(crate) type Found = (WorkspaceId, RunView);

/// One page, and where the next one begins. It may be short, or empty, and go on.
///
/// # Errors
/// Those of the store.
pub(crate) async fn page(
    engine: &Engine,
    wanted: &Wanted<'_>,
    after: Option<Place>,
) -> Result<(Vec<Found>, Option<Place>), Error> {
    let of_org = |Place(stored_ms, workspace, run_id)| {
        (stored_ms, JobName { org: wanted.org.clone(), workspace, run_id })
    };
    let mut after = after.map(of_org);
    let (mut entries, mut looked_at) = (Vec::new(), 0);
    loop {
        let names = engine.jobs.store.listed(wanted.org, wanted.order, after.as_ref(), PAGE).await?;
        let is_full = names.len() == PAGE;
        for (stored_ms, name) in names {
            entries.extend(find(engine, wanted, &name).await?);
            looked_at += 1;
            if entries.len() >= wanted.limit || looked_at >= LOOKED_AT {
                return Ok((entries, Some(Place(stored_ms, name.workspace, name.run_id))));
            }
            after = Some((stored_ms, name));
        }
        if !is_full {
            return Ok((entries, None));
        }
    }
}

async fn find(engine: &Engine, wanted: &Wanted<'_>, name: &JobName) -> Result<Option<Found>, Error> {
    if wanted.workspace.is_some_and(|workspace| *workspace != name.workspace) {
        return Ok(None);
    }
    let Some((job, detail)) = readable(engine, name).await? else { return Ok(None) };
    if job.state != wanted.state || !matches(wanted.filter, &detail) {
        return Ok(None);
    }
    Ok(Some((name.workspace.clone(), view_of(engine, name, &job).await?)))
}

fn matches(filter: &RunFilter, detail: &Detail) -> bool {
    // Destructured, so that a member which is not looked at does not compile.
    let RunFilter {
        status: _,
        class,
        code,
        connector_id,
        action_id,
        automation_id,
        event_id,
        since_us,
        until_us,
    } = filter;
    let is = |wanted: &Option<String>, found: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
    };
    let failure = detail.failure.as_ref();
    let ended_us = detail.ended_at.as_deref().and_then(clock::micros);
    is(class, failure.and_then(|failure| failure.class.as_deref()))
        && is(code, failure.map(|failure| failure.code.as_str()))
        && is(connector_id, Some(detail.connector_id.as_str()))
        && is(action_id, Some(detail.action_id.as_str()))
        && is(automation_id, detail.automation_id.as_ref().map(|id| id.as_str()))
        && is(event_id, detail.event_id.as_deref())
        && since_us.is_none_or(|since| ended_us.is_some_and(|at| at >= since))
        && until_us.is_none_or(|until| ended_us.is_some_and(|at| at < until))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written_and_nothing_else_is_one() {
        let place = Place::parse("q.1800000000000.main.run_1").unwrap();
        assert_eq!(place.to_string(), "q.1800000000000.main.run_1");
        for text in ["", "run_1", "q", "q.1.main", "q.x.main.run_1", "q.1.main.run_1.2", "w.1.main.run_1"] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }
}
