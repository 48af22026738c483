//! `/org/{org}/connection`, `/admin/connection`: the saved connections of many workspaces, and which need attention.

use portcullis_core::id::{ConnectionName, ConnectorId, OrgId, WorkspaceId};
use portcullis_engine::Error;
use portcullis_engine::connection::listing::{self, ConnectionsPage, ConnectionsWanted, ListedConnection};
use portcullis_engine::connection::{Attention, ConnectionState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::{Json, LongList};
use crate::request::{Context, Parameters};

// Why a macro: the members of a parameter's type are the parameters, and these two types differ in one.
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
            /// `next` of the previous page.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "String", length(min = 1, max = 256))]
            starting_after: Option<String>,
            /// Only connections in this state.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "ConnectionState")]
            state: Option<ConnectionState>,
            /// Only connections to this connector.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "ConnectorId")]
            connector_id: Option<ConnectorId>,
            /// Only connections of this name; `default` for those without one.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "ConnectionName")]
            connection: Option<String>,
            /// Only connections of workspaces with this id.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "WorkspaceId")]
            workspace: Option<WorkspaceId>,
            $($(#[$own_doc])*
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = $text)]
            $own: Option<$type>,)?
        }

        impl Parameters for $name {}

        impl $name {
            fn wanted(self) -> ConnectionsWanted {
                ConnectionsWanted {
                    state: self.state,
                    connector_id: self.connector_id.map(|id| id.as_str().to_owned()),
                    connection: self.connection,
                    workspace: self.workspace.map(|id| id.as_str().to_owned()),
                    limit: usize::try_from(self.limit).unwrap_or(50),
                    after: self.starting_after,
                }
            }
        }
    )*};
}

selections! {
    /// Selects connections of an org.
    ConnectionParameters {}
    /// Selects connections of all orgs.
    AllConnectionParameters {
        /// Only connections of this org.
        org OrgId "OrgId"
    }
}

/// A saved connection of a workspace.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WorkspaceConnection")]
pub(crate) struct ConnectionEntry {
    org: OrgId,
    workspace: WorkspaceId,
    connector_id: ConnectorId,
    /// Its name; absent for a default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<ConnectionName>,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    state: ConnectionState,
    /// Why it needs attention.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The same as data.
    #[serde(skip_serializing_if = "Option::is_none")]
    attention: Option<Attention>,
    /// When a call last succeeded, RFC 3339, to the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success_at: Option<String>,
}

impl From<ListedConnection> for ConnectionEntry {
    fn from(connection: ListedConnection) -> Self {
        let ListedConnection {
            org,
            workspace,
            connector_id,
            name,
            label,
            state,
            reason,
            attention,
            last_success_at,
        } = connection;
        let connection = name;
        Self { org, workspace, connector_id, connection, label, state, reason, attention, last_success_at }
    }
}

fn answer(page: ConnectionsPage) -> Json<LongList<ConnectionEntry>> {
    let data = page.entries.into_iter().map(ConnectionEntry::from).collect();
    Json(LongList::new(data, page.next))
}

pub(crate) async fn of_org(
    context: Context,
    wish: ConnectionParameters,
    (): (),
) -> Result<Json<LongList<ConnectionEntry>>, Error> {
    let org = context.org().await?;
    listing::of_org(context.engine(), context.caller()?, &org, &wish.wanted()).await.map(answer)
}

pub(crate) async fn of_platform(
    context: Context,
    wish: AllConnectionParameters,
    (): (),
) -> Result<Json<LongList<ConnectionEntry>>, Error> {
    let org = wish.org.clone();
    let org = org.as_ref().map(OrgId::as_str);
    listing::of_platform(context.engine(), context.caller()?, org, &wish.wanted()).await.map(answer)
}
