//! `/admin/breaker`: which third parties this process does not ask for a while.

use portcullis_core::id::{ConnectionName, ConnectorId, OrgId, WorkspaceId};
use portcullis_engine::Error;
use portcullis_engine::breaker::{self, Affected, BreakerKind, BreakerState, BreakerView};
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::{Json, List};
use crate::request::{Context, PageParameters};

/// A circuit breaker that is not closed.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Breaker {
    /// Names it in this list.
    breaker_id: String,
    /// What it is for.
    kind: BreakerKind,
    connector_id: ConnectorId,
    /// `https://host[:port]`, for one of a host.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    /// The connection's org, for one of a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<OrgId>,
    /// The connection's workspace, for one of a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace: Option<WorkspaceId>,
    /// The connection's name, for one of a named connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<ConnectionName>,
    /// Whether all requests are refused, or one may go that decides.
    state: BreakerState,
    /// When it opened, RFC 3339.
    since: String,
    /// When a request may go that shows whether the third party works again, RFC 3339; it is past once one may.
    next_probe_at: String,
    /// Orgs whose failures opened it.
    failing_orgs: u64,
    /// Whom it refuses.
    affects: Affected,
}

impl From<BreakerView> for Breaker {
    fn from(view: BreakerView) -> Self {
        Self {
            breaker_id: view.id,
            kind: view.kind,
            connector_id: view.connector_id,
            origin: view.origin,
            org: view.org,
            workspace: view.workspace,
            connection: view.connection,
            state: view.state,
            since: view.since,
            next_probe_at: view.next_probe_at,
            failing_orgs: view.failing_orgs,
            affects: view.affects,
        }
    }
}

pub(crate) async fn list(
    context: Context,
    page: PageParameters,
    (): (),
) -> Result<Json<List<Breaker>>, Error> {
    let found = breaker::list(context.engine(), context.caller()?, &page.wanted())?;
    Ok(List::of(found, Breaker::from))
}
