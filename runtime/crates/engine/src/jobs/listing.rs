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
/// How much later than its acceptance a job may be stored, milliseconds: its input is sealed in between.
const STORED_LATE_MS: u64 = 60_000;
/// Names read at a time.
const PAGE: usize = 100;
/// What a cursor of these lists begins with; no other one does.
const KIND: &str = "q";

/// Which runs are listed.
pub(crate) struct Wanted<'a> {
    /// All orgs if there is none.
    pub(crate) org: Option<&'a OrgId>,
    pub(crate) workspace: Option<&'a WorkspaceId>,
    pub(crate) state: JobState,
    pub(crate) filter: &'a RunFilter,
    pub(crate) order: JobOrder,
    pub(crate) limit: usize,
}

/// A run before or after which a page ended: when it was stored, its org in a list of all, its workspace and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place(u64, Option<OrgId>, WorkspaceId, RunId);

impl Place {
    /// A place from its text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.splitn(6, '.').collect();
        let (stored_ms, org, workspace, run) = match parts.as_slice() {
            [KIND, stored_ms, workspace, run] => (stored_ms, None, workspace, run),
            [KIND, stored_ms, org, workspace, run] => {
                (stored_ms, Some(OrgId::parse(org).ok()?), workspace, run)
            }
            _ => return None,
        };
        let (workspace, run) = (WorkspaceId::parse(workspace).ok()?, RunId::parse(run).ok()?);
        Some(Self(stored_ms.parse().ok()?, org, workspace, run))
    }

    /// Whether it is one of a list of all orgs.
    pub(crate) const fn is_of_all(&self) -> bool {
        self.1.is_some()
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(stored_ms, org, workspace, run) = self;
        write!(f, "{KIND}.{stored_ms}")?;
        if let Some(org) = org {
            write!(f, ".{org}")?;
        }
        write!(f, ".{workspace}.{run}")
    }
}

/// A run with its tenant.
pub(crate) type Found = (OrgId, WorkspaceId, RunView);

/// One page, and where the next one begins. It may be short, or empty, and go on.
///
/// # Errors
/// Those of the store.
pub(crate) async fn page(
    engine: &Engine,
    wanted: &Wanted<'_>,
    after: Option<Place>,
) -> Result<(Vec<Found>, Option<Place>), Error> {
    let of_org = |Place(stored_ms, org, workspace, run_id)| {
        let org = org.or_else(|| wanted.org.cloned())?;
        Some((stored_ms, JobName { org, workspace, run_id }))
    };
    let mut after = after.and_then(of_org);
    let (mut entries, mut looked_at) = (Vec::new(), 0);
    loop {
        let names = engine.jobs.store.listed(wanted.org, wanted.order, after.as_ref(), PAGE).await?;
        let is_full = names.len() == PAGE;
        for (stored_ms, name) in names {
            if wanted.is_past(stored_ms) {
                return Ok((entries, None));
            }
            entries.extend(find(engine, wanted, &name).await?);
            looked_at += 1;
            if entries.len() >= wanted.limit || looked_at >= LOOKED_AT {
                let org = wanted.org.is_none().then_some(name.org);
                return Ok((entries, Some(Place(stored_ms, org, name.workspace, name.run_id))));
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
    if job.state != wanted.state || !matches(wanted.filter, &detail, job.state) {
        return Ok(None);
    }
    Ok(Some((name.org.clone(), name.workspace.clone(), view_of(engine, name, &job).await?)))
}

impl Wanted<'_> {
    /// Whether no job that is stored at this time, or comes after one in the list, can be wanted.
    fn is_past(&self, stored_ms: u64) -> bool {
        // Why not in a list of all: it begins anew with each org. Nor of ended ones: their times are those of the end.
        if self.org.is_none() || !self.state.is_open() {
            return false;
        }
        match self.order {
            JobOrder::NewestFirst => {
                let last_us = stored_ms.saturating_add(1).saturating_mul(1000);
                self.filter.since_us.is_some_and(|since| last_us <= since)
            }
            JobOrder::OldestFirst => {
                let first_us = stored_ms.saturating_sub(STORED_LATE_MS).saturating_mul(1000);
                self.filter.until_us.is_some_and(|until| first_us >= until)
            }
        }
    }
}

/// Whether a run in this state is wanted. Of one that has not ended, the time is that of its acceptance.
fn matches(filter: &RunFilter, detail: &Detail, state: JobState) -> bool {
    // Destructured, so that a member which is not looked at does not compile.
    let RunFilter {
        status: _,
        class,
        code,
        connector_id,
        connection,
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
    let at = if state.is_open() { Some(detail.accepted_at.as_str()) } else { detail.ended_at.as_deref() };
    let at_us = at.and_then(clock::micros);
    is(class, failure.and_then(|failure| failure.class.as_deref()))
        && is(code, failure.map(|failure| failure.code.as_str()))
        && is(connector_id, Some(detail.connector_id.as_str()))
        && is(connection, detail.connection.as_ref().map(|name| name.as_str()))
        && is(action_id, Some(detail.action_id.as_str()))
        && is(automation_id, detail.automation_id.as_ref().map(|id| id.as_str()))
        && is(event_id, detail.event_id.as_deref())
        && since_us.is_none_or(|since| at_us.is_some_and(|at| at >= since))
        && until_us.is_none_or(|until| at_us.is_some_and(|at| at < until))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written_and_nothing_else_is_one() {
        for (text, is_of_all) in [("q.1800000000000.main.run_1", false), ("q.18.acme.main.run_1", true)] {
            let place = Place::parse(text).unwrap();
            assert_eq!((place.to_string().as_str(), place.is_of_all()), (text, is_of_all));
        }
        for text in
            ["", "run_1", "q", "q.1.main", "q.x.main.run_1", "q.1.a.b.run_1.2", "w.1.main.run_1", "q.1.A.b.c"]
        {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }
}
