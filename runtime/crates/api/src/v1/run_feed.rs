//! `/org/{org}/run/feed`: the ends of accepted runs of an org, in the order in which they were stored.

use portcullis_core::id::{ActionId, AutomationId, ConnectionName, ConnectorId, RunId, WorkspaceId};
use portcullis_engine::jobs::{self, FeedWish, OutboxEntry, OutboxKind, RunFeed};
use portcullis_engine::{Error, clock};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::Json;
use crate::request::{Context, Parameters};

/// Where a feed is read, and how long it is waited for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeedParameters {
    /// Maximum entries of the page.
    #[serde(default = "crate::request::default_limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
    /// `next` of the previous page; from the oldest entry on without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", regex(pattern = "^(0|[1-9][0-9]{0,19})$"))]
    starting_after: Option<String>,
    /// If there is no entry, answer when there is one, at most after this many seconds.
    #[serde(default)]
    #[schemars(range(max = 60))]
    wait: u64,
}

impl Parameters for FeedParameters {}

/// What an entry of a feed tells.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FeedKind")]
pub(crate) enum Kind {
    /// An accepted run has ended, or was given up.
    #[serde(rename = "run.ended")]
    RunEnded,
}

/// The end of an accepted run.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FeedEntry")]
pub(crate) struct Entry {
    /// Its place in the feed: later ones are greater.
    seq: u64,
    kind: Kind,
    /// When it ended, RFC 3339.
    at: String,
    workspace: WorkspaceId,
    run_id: RunId,
    /// How it ended: `succeeded`, `skipped`, `refused`, `failed`, `dead` or `cancelled`.
    status: String,
    /// Why it was refused or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// Why it was skipped, given up or cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    connector_id: ConnectorId,
    /// Which of the workspace's connections it was made through; absent for the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<ConnectionName>,
    action_id: ActionId,
    /// The automation that fired.
    #[serde(skip_serializing_if = "Option::is_none")]
    automation_id: Option<AutomationId>,
    /// The event that fired it.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
}

/// A page of a feed, oldest first.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RunFeed")]
pub(crate) struct Feed {
    data: Vec<Entry>,
    /// Whether there are more now.
    has_more: bool,
    /// Where the next page begins, also of a page without entries: `starting_after` of the next request.
    next: String,
    /// Whether entries after `starting_after` were dropped before they could be read, because they were too old or too
    /// many.
    gap: bool,
    /// Entries of the org that were ever dropped.
    dropped: u64,
}

impl Entry {
    fn of(entry: OutboxEntry) -> Self {
        let OutboxEntry { seq, record } = entry;
        let OutboxKind::RunEnded = record.kind;
        Self {
            seq,
            kind: Kind::RunEnded,
            at: clock::of_ms(record.at_ms),
            workspace: record.workspace,
            run_id: record.run_id,
            status: record.status,
            code: record.code,
            reason: record.reason,
            connector_id: record.connector_id,
            connection: record.connection,
            action_id: record.action_id,
            automation_id: record.automation_id,
            event_id: record.event_id,
        }
    }
}

pub(crate) async fn read(context: Context, wish: FeedParameters, (): ()) -> Result<Json<Feed>, Error> {
    let org = context.org().await?;
    let FeedParameters { limit, starting_after, wait } = wish;
    let limit = usize::try_from(limit).unwrap_or(50);
    let wish = FeedWish { after: starting_after, limit, wait_s: wait };
    let RunFeed { entries, has_more, next, has_gap, dropped } =
        jobs::feed(context.engine(), context.caller()?, &org, &wish).await?;
    let data = entries.into_iter().map(Entry::of).collect();
    Ok(Json(Feed { data, has_more, next, gap: has_gap, dropped }))
}
