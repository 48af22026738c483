//! The log of runs: lists over a workspace, an org or the platform, by what their records have in common.

use portcullis_action::plan::ErrorClass;
use portcullis_core::fault::Code;
use portcullis_core::id::{ActionId, AutomationId, ConnectionName, ConnectorId, OrgId, WorkspaceId};
use portcullis_core::offload;
use portcullis_core::violation::nearest;
use portcullis_store::{JobState, RunCursor, RunFilter, RunOrder, RunQuery, RunRecord, RunScope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::call::run::RunStatus;
use crate::caller::{Caller, ORG, RUN_READERS};
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;
use crate::events::EVENT_ID_BYTES_MAX;
use crate::jobs::RunView;
use crate::runs::stored;
use crate::tenants::{self, Tenant};

mod waiting;

/// Selects runs.
#[derive(Debug, Clone, Default)]
pub struct RunsWanted {
    pub status: Option<ListedStatus>,
    /// Class of the upstream's error.
    pub class: Option<String>,
    pub code: Option<String>,
    pub connector_id: Option<ConnectorId>,
    /// A named connection.
    pub connection: Option<ConnectionName>,
    pub action_id: Option<ActionId>,
    pub automation_id: Option<AutomationId>,
    pub event_id: Option<String>,
    /// Ended at this time or later, RFC 3339; of runs that have not ended: accepted then.
    pub since: Option<String>,
    /// Ended before this time, RFC 3339; of runs that have not ended: accepted then.
    pub until: Option<String>,
    pub oldest_first: bool,
    /// Maximum entries of the page, 1 to 100.
    pub limit: usize,
    /// `next` of the page before; in a workspace also the id of a run.
    pub starting_after: Option<String>,
}

/// How runs that are listed ended, or that they have not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListedStatus {
    /// Accepted, not begun.
    Queued,
    /// A worker executes it.
    Running,
    /// It is tried again.
    Waiting,
    /// The upstream answered as the action defines success.
    Succeeded,
    /// Nothing was called, and there was no error.
    Skipped,
    /// A check refused the request.
    Refused,
    /// The call failed.
    Failed,
    /// It was tried until its deadline, or cannot be tried again; it can be taken up again.
    Dead,
    /// A person ended it.
    Cancelled,
}

impl ListedStatus {
    /// The word in documents and filters.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => RunStatus::Succeeded.as_str(),
            Self::Skipped => RunStatus::Skipped.as_str(),
            Self::Refused => RunStatus::Refused.as_str(),
            Self::Failed => RunStatus::Failed.as_str(),
            Self::Dead => RunStatus::Dead.as_str(),
            Self::Cancelled => RunStatus::Cancelled.as_str(),
        }
    }
}

/// A run with its tenant.
#[derive(Debug, Clone)]
pub struct ListedRun {
    pub org: OrgId,
    pub workspace: WorkspaceId,
    pub run: RunView,
}

/// A page of runs. It may be short, or empty, and go on: a look for what is rare ends after a bounded time.
#[derive(Debug, Clone)]
pub struct RunsPage {
    pub entries: Vec<ListedRun>,
    /// Where the next page begins; `None` at the end of the list.
    pub next: Option<String>,
}

/// Lists the runs of a workspace, in the order in which they ended.
///
/// # Errors
/// Those of [`Caller::authorise`], `bad_request` for an unknown cursor or value, `store_unavailable`.
pub async fn list(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    wanted: &RunsWanted,
) -> Result<RunsPage, Error> {
    caller.authorise(RUN_READERS, Some(tenant.org.as_str()), Some(tenant.workspace.as_str()))?;
    let scope = RunScope::Workspace(tenant.org.clone(), tenant.workspace.clone());
    let mut page = page(engine, scope, wanted).await?;
    // Why after the page was read: it may come back short, and goes on.
    page.entries.retain(|listed| listed.run.is_covered_by(caller));
    Ok(page)
}

/// Lists the runs of an org, by the time of their end, or those of one of its workspaces.
///
/// # Errors
/// Those of [`list`], `workspace_not_found`.
pub async fn list_of_org(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    workspace: Option<&WorkspaceId>,
    wanted: &RunsWanted,
) -> Result<RunsPage, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    let scope = match workspace {
        None => RunScope::Org(org.clone()),
        Some(workspace) => {
            let tenant = tenants::find_workspace(engine, org.as_str(), workspace.as_str()).await?;
            RunScope::Workspace(tenant.org, tenant.workspace)
        }
    };
    page(engine, scope, wanted).await
}

/// Lists the runs of all orgs, by the time of their end, or those of one org.
///
/// # Errors
/// Those of [`list`], `org_not_found`.
pub async fn list_of_platform(
    engine: &Engine,
    caller: &Caller,
    org: Option<&OrgId>,
    wanted: &RunsWanted,
) -> Result<RunsPage, Error> {
    caller.platform()?;
    let scope = match org {
        None => RunScope::All,
        Some(org) => RunScope::Org(tenants::find_org(engine, org.as_str()).await?),
    };
    page(engine, scope, wanted).await
}

async fn page(engine: &Engine, scope: RunScope, wanted: &RunsWanted) -> Result<RunsPage, Error> {
    match wanted.status {
        Some(ListedStatus::Queued) => waiting::open(engine, &scope, wanted, JobState::Queued).await,
        Some(ListedStatus::Running) => waiting::open(engine, &scope, wanted, JobState::Running).await,
        Some(ListedStatus::Waiting) => waiting::open(engine, &scope, wanted, JobState::Waiting).await,
        Some(ListedStatus::Dead) => waiting::given_up(engine, scope, wanted, JobState::Dead).await,
        Some(ListedStatus::Skipped) => waiting::given_up(engine, scope, wanted, JobState::Skipped).await,
        _ => kept(engine, scope, wanted, wanted.starting_after.as_deref()).await,
    }
}

/// A page of the records of runs.
async fn kept(
    engine: &Engine,
    scope: RunScope,
    wanted: &RunsWanted,
    starting_after: Option<&str>,
) -> Result<RunsPage, Error> {
    let is_workspace = matches!(scope, RunScope::Workspace(..));
    let unknown = || {
        let detail = if is_workspace {
            "starting_after must be next of a page of this list, or a run of this workspace"
        } else {
            "starting_after must be next of a page of this list"
        };
        Error::new(Code::BadRequest, detail)
    };
    let after = starting_after.map(|text| RunCursor::parse(text).ok_or_else(unknown));
    let query = RunQuery {
        scope,
        filter: filter(wanted)?,
        order: if wanted.oldest_first { RunOrder::OldestFirst } else { RunOrder::NewestFirst },
        after: after.transpose()?,
        limit: wanted.limit,
    };
    let found = engine.runs.query(&query).await?.ok_or_else(unknown)?;
    offload::over(found.records.iter().map(|record| record.body.get().len()).sum()).await;
    let listed = |record: &RunRecord| {
        let run = RunView::Ended(Box::new(stored(record)?));
        Ok(ListedRun { org: record.org.clone(), workspace: record.workspace.clone(), run })
    };
    let entries = found.records.iter().map(listed).collect::<Result<_, Error>>()?;
    Ok(RunsPage { entries, next: found.next.map(|next| next.to_string()) })
}

/// The store's filter.
///
/// # Errors
/// `bad_request` for a value that no run can have: it would match nothing, which looks like an empty log.
fn filter(wanted: &RunsWanted) -> Result<RunFilter, Error> {
    // Destructured, so that a member which is not passed on does not compile.
    let RunsWanted {
        status,
        class,
        code,
        connector_id,
        connection,
        action_id,
        automation_id,
        event_id,
        since,
        until,
        oldest_first: _,
        limit: _,
        starting_after: _,
    } = wanted;
    known("class", class.as_deref(), ErrorClass::ALL.iter().map(|class| class.as_str()))?;
    known("code", code.as_deref(), Code::ALL.iter().map(|code| code.as_str()))?;
    if let Some(id) = event_id
        && (id.is_empty() || id.len() > EVENT_ID_BYTES_MAX)
    {
        let detail = format!("event_id has {} bytes; it must have 1 to {EVENT_ID_BYTES_MAX}", id.len());
        return Err(Error::new(Code::BadRequest, detail));
    }
    Ok(RunFilter {
        status: status.map(ListedStatus::as_str).map(str::to_owned),
        class: class.clone(),
        code: code.clone(),
        connector_id: connector_id.as_ref().map(|id| id.as_str().to_owned()),
        connection: connection.as_ref().map(|name| name.as_str().to_owned()),
        action_id: action_id.as_ref().map(|id| id.as_str().to_owned()),
        automation_id: automation_id.as_ref().map(|id| id.as_str().to_owned()),
        event_id: event_id.clone(),
        since_us: time("since", since.as_deref())?,
        until_us: time("until", until.as_deref())?,
    })
}

fn known<'k>(
    name: &str,
    value: Option<&str>,
    all: impl Iterator<Item = &'k str> + Clone,
) -> Result<(), Error> {
    let Some(value) = value.filter(|value| !all.clone().any(|known| known == *value)) else { return Ok(()) };
    let near = nearest(value, all.clone());
    let hint = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
    let all: Vec<&str> = all.collect();
    Err(Error::new(Code::BadRequest, format!("{name} must be one of {}{hint}", all.join(", "))))
}

fn time(name: &str, text: Option<&str>) -> Result<Option<u64>, Error> {
    match text.map(clock::micros) {
        None => Ok(None),
        Some(Some(at)) => Ok(Some(at)),
        Some(None) => {
            let detail = format!("{name} must be an RFC 3339 time with a zone, such as 2026-01-31T09:00:00Z");
            Err(Error::new(Code::BadRequest, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_no_run_can_have_is_refused_with_those_that_are_known() {
        let refused = |wanted: RunsWanted| filter(&wanted).unwrap_err();
        let some = |text: &str| Some(text.to_owned());
        let error = refused(RunsWanted { class: some("rate_limits"), ..RunsWanted::default() });
        assert_eq!(error.code, Code::BadRequest);
        assert!(
            error.detail.contains("auth, permission") && error.detail.contains("did you mean \"rate_limit\"")
        );
        let error = refused(RunsWanted { code: some("no_such_code"), ..RunsWanted::default() });
        assert!(error.detail.contains("code must be one of bad_json"), "{}", error.detail);
        for (since, until, named) in [(some("yesterday"), None, "since"), (None, some("2026-01-31"), "until")]
        {
            let error = refused(RunsWanted { since, until, ..RunsWanted::default() });
            assert!(error.detail.starts_with(named), "{}", error.detail);
        }
        for id in [String::new(), "e".repeat(256)] {
            let error = refused(RunsWanted { event_id: Some(id), ..RunsWanted::default() });
            assert!(error.detail.contains("1 to 255"), "{}", error.detail);
        }
        let sound = RunsWanted {
            status: Some(ListedStatus::Failed),
            class: some("rate_limit"),
            code: some("upstream_status"),
            event_id: Some("e".repeat(255)),
            since: some("2026-01-31T09:00:00+01:00"),
            ..RunsWanted::default()
        };
        let found = filter(&sound).unwrap();
        assert_eq!((found.status.as_deref(), found.since_us), (Some("failed"), Some(1_769_846_400_000_000)));
    }
}
