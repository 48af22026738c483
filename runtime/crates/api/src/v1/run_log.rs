//! Lists of runs: of a workspace, of an org, of the platform.

use portcullis_core::id::{ActionId, AutomationId, ConnectionName, ConnectorId, OrgId, WorkspaceId};
use portcullis_engine::Error;
use portcullis_engine::jobs::{RunView, WaitingRun};
use portcullis_engine::run_log::{self, ListedRun, ListedStatus, RunsPage, RunsWanted};
use portcullis_engine::runs::StoredRun;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::{Json, LongList};
use crate::request::{Context, Parameters};

/// The order of a list of runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RunOrder")]
pub(crate) enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    #[default]
    Desc,
}

// Why a macro: the members of a parameter's type are the parameters, and these three types differ in one.
macro_rules! selections {
    ($($(#[$doc:meta])* $name:ident { $($(#[$own_doc:meta])* $own:ident $type:ident $text:tt)? })*) => {$(
        $(#[$doc])*
        #[derive(Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            /// Maximum entries of the page.
            #[serde(default = "crate::request::default_limit")]
            #[schemars(range(min = 1, max = 100))]
            limit: u32,
            /// `next` of the previous page; in the list of a workspace also the id of its last run.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "String", regex(pattern = "^[a-z0-9][a-z0-9._-]{0,255}$"))]
            starting_after: Option<String>,
            /// `desc` for newest first, `asc` for oldest first.
            #[serde(default)]
            order: Order,
            /// Only with this status.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "ListedStatus")]
            status: Option<ListedStatus>,
            /// Only with this class of the upstream's error, such as `auth`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "String")]
            class: Option<String>,
            /// Only with this code.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "String")]
            code: Option<String>,
            /// Only through this connector.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "ConnectorId")]
            connector_id: Option<ConnectorId>,
            /// Only through the connections of this name.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "ConnectionName")]
            connection: Option<ConnectionName>,
            /// Only of this action.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "ActionId")]
            action_id: Option<ActionId>,
            /// Only of this automation.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "AutomationId")]
            automation_id: Option<AutomationId>,
            /// Only of this event.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "String", length(min = 1, max = 255))]
            event_id: Option<String>,
            /// Ended at this time or later, RFC 3339; of runs that have not ended, accepted then.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "String")]
            since: Option<String>,
            /// Ended before this time, RFC 3339; of runs that have not ended, accepted then.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "String")]
            until: Option<String>,
            $($(#[$own_doc])*
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = $text)]
            $own: Option<$type>,)?
        }

        impl Parameters for $name {}

        impl $name {
            fn wanted(self) -> RunsWanted {
                RunsWanted {
                    status: self.status,
                    class: self.class,
                    code: self.code,
                    connector_id: self.connector_id,
                    connection: self.connection,
                    action_id: self.action_id,
                    automation_id: self.automation_id,
                    event_id: self.event_id,
                    since: self.since,
                    until: self.until,
                    oldest_first: self.order == Order::Asc,
                    limit: usize::try_from(self.limit).unwrap_or(50),
                    starting_after: self.starting_after,
                }
            }
        }
    )*};
}

selections! {
    /// Selects runs of a workspace.
    RunsParameters {}
    /// Selects runs of an org.
    OrgRunsParameters {
        /// Only of this workspace.
        workspace WorkspaceId "WorkspaceId"
    }
    /// Selects runs of the platform.
    PlatformRunsParameters {
        /// Only of this org.
        org OrgId "OrgId"
    }
}

fn listed<T>(page: RunsPage, show: impl FnMut(ListedRun) -> T) -> Json<LongList<T>> {
    Json(LongList::new(page.entries.into_iter().map(show).collect(), page.next))
}

/// A run of an org. Why two shapes written out: an open schema inside a closed one cannot be described.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum OrgRun {
    Waiting(OrgWaitingRun),
    Ended(OrgRunRecord),
}

/// A run of an org that has not ended.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OrgWaitingRun {
    workspace: WorkspaceId,
    #[serde(flatten)]
    run: Box<WaitingRun>,
}

/// A run of an org that has ended.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OrgRunRecord {
    workspace: WorkspaceId,
    #[serde(flatten)]
    run: Box<StoredRun>,
}

impl OrgRun {
    fn of(ListedRun { workspace, run, .. }: ListedRun) -> Self {
        match run {
            RunView::Waiting(run) => Self::Waiting(OrgWaitingRun { workspace, run }),
            RunView::Ended(run) => Self::Ended(OrgRunRecord { workspace, run }),
        }
    }
}

/// A run of the platform.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum PlatformRun {
    Waiting(PlatformWaitingRun),
    Ended(PlatformRunRecord),
}

/// A run of the platform that has not ended.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PlatformWaitingRun {
    org: OrgId,
    workspace: WorkspaceId,
    #[serde(flatten)]
    run: Box<WaitingRun>,
}

/// A run of the platform that has ended.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PlatformRunRecord {
    org: OrgId,
    workspace: WorkspaceId,
    #[serde(flatten)]
    run: Box<StoredRun>,
}

impl PlatformRun {
    fn of(ListedRun { org, workspace, run }: ListedRun) -> Self {
        match run {
            RunView::Waiting(run) => Self::Waiting(PlatformWaitingRun { org, workspace, run }),
            RunView::Ended(run) => Self::Ended(PlatformRunRecord { org, workspace, run }),
        }
    }
}

pub(crate) async fn list(
    context: Context,
    wanted: RunsParameters,
    (): (),
) -> Result<Json<LongList<RunView>>, Error> {
    let tenant = context.tenant().await?;
    let page = run_log::list(context.engine(), context.caller()?, &tenant, &wanted.wanted()).await?;
    Ok(listed(page, |listed| listed.run))
}

pub(crate) async fn list_of_org(
    context: Context,
    mut wanted: OrgRunsParameters,
    (): (),
) -> Result<Json<LongList<OrgRun>>, Error> {
    let org = context.org().await?;
    let workspace = wanted.workspace.take();
    let (caller, wanted) = (context.caller()?, wanted.wanted());
    let page = run_log::list_of_org(context.engine(), caller, &org, workspace.as_ref(), &wanted).await?;
    Ok(listed(page, OrgRun::of))
}

pub(crate) async fn list_of_platform(
    context: Context,
    mut wanted: PlatformRunsParameters,
    (): (),
) -> Result<Json<LongList<PlatformRun>>, Error> {
    let org = wanted.org.take();
    let (caller, wanted) = (context.caller()?, wanted.wanted());
    let page = run_log::list_of_platform(context.engine(), caller, org.as_ref(), &wanted).await?;
    Ok(listed(page, PlatformRun::of))
}
