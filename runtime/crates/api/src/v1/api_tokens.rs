//! `/admin/token`: API tokens are created, listed and revoked. Only one answer contains the secret.

use portcullis_core::id::{AutomationId, ConnectorId, OrgId, TokenId, WorkspaceId};
use portcullis_engine::Error;
use portcullis_engine::api_token::{self, NewToken, Role, TokenGrants, TokenRecord};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::{Created, Json, List, NoContent};
use crate::request::{Context, NoParameters, PageParameters, Typed};

/// A token to create.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateToken {
    /// What it may access.
    role: Role,
    /// The org, for every role except `platform`.
    #[serde(default)]
    org: Option<OrgId>,
    /// The workspace, for `workspace`, and optionally for `run`.
    #[serde(default)]
    workspace: Option<WorkspaceId>,
    /// A note for people.
    #[serde(default)]
    #[schemars(length(max = 120))]
    label: Option<String>,
    /// When it expires, RFC 3339; never if left out.
    #[serde(default)]
    #[schemars(length(max = 40))]
    expires_at: Option<String>,
    /// For the role `run`: the connectors that it may call; all if left out. Several lists intersect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<ConnectorId>")]
    connectors: Option<Vec<ConnectorId>>,
    /// For the role `run`: the actions that it may call, `connector/action`; `*` stands for any characters of an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    actions: Option<Vec<String>>,
    /// For the role `run`: the automations that it may fire. With it, the token calls no action by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<AutomationId>")]
    automations: Option<Vec<AutomationId>>,
}

/// A token without its secret.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Token")]
pub(crate) struct TokenDocument {
    token_id: TokenId,
    /// What it may access.
    role: Role,
    /// The org it is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<OrgId>,
    /// The workspace it is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace: Option<WorkspaceId>,
    /// A note for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// When it was created, RFC 3339.
    created_at: String,
    /// When it expires, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// When it was last used, RFC 3339, to the minute; absent if it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
    /// The connectors that it may call; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    connectors: Option<Vec<ConnectorId>>,
    /// The actions that it may call; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<Vec<String>>,
    /// The automations that it may fire, and nothing else; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    automations: Option<Vec<AutomationId>>,
}

/// A token with its secret, which is shown once.
#[derive(Serialize, JsonSchema)]
pub(crate) struct CreatedToken {
    #[serde(flatten)]
    document: TokenDocument,
    /// The secret, shown once.
    token: String,
}

impl TokenDocument {
    fn of(record: TokenRecord, last_used_at: Option<String>) -> Self {
        let TokenRecord { token_id, role, org, workspace, label, created_at, expires_at, grants, hash: _ } =
            record;
        let TokenGrants { connectors, actions, automations } = grants;
        Self {
            token_id,
            role,
            org,
            workspace,
            label,
            created_at,
            expires_at,
            last_used_at,
            connectors,
            actions,
            automations,
        }
    }
}

pub(crate) async fn create(
    context: Context,
    _: NoParameters,
    Typed(wish): Typed<CreateToken>,
) -> Result<Created<CreatedToken>, Error> {
    let CreateToken { role, org, workspace, label, expires_at, connectors, actions, automations } = wish;
    let grants = TokenGrants { connectors, actions, automations };
    let wanted = NewToken { role, org, workspace, label, expires_at, grants };
    let (record, token) = api_token::create(context.engine(), context.caller()?, wanted).await?;
    let location = format!("/admin/token/{}", record.token_id);
    let body = CreatedToken { document: TokenDocument::of(record, None), token };
    Ok(Created { location, body })
}

pub(crate) async fn list(
    context: Context,
    page: PageParameters,
    (): (),
) -> Result<Json<List<TokenDocument>>, Error> {
    let found = api_token::list(context.engine(), context.caller()?, &page.wanted()).await?;
    Ok(List::of(found, |token| TokenDocument::of(token.record, token.last_used_at)))
}

pub(crate) async fn revoke(context: Context, _: NoParameters, (): ()) -> Result<NoContent, Error> {
    api_token::revoke(context.engine(), context.caller()?, context.path("id")).await?;
    Ok(NoContent)
}
