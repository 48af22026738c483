//! From a call to everything it needs, in the order that keeps errors stable: connector exists →
//! action exists → connector enabled → credential state → input valid → grant.
//!
//! Nothing is opened and nothing leaves here.

use std::sync::Arc;

use portcullis_core::connector::{Action, Connector};
use portcullis_core::definition::RedirectFollow;
use portcullis_core::fault::Code;
use portcullis_core::grant::{ActionScope, EgressGrant};
use portcullis_core::input::check_input;
use portcullis_core::verdict::HostRules;
use portcullis_egress::{BoundCredential, PoolScope};
use serde_json::{Map, Value};

use crate::app::App;
use crate::credential::{Connection, ConnectionState};
use crate::directory::LoadedConnector;
use crate::problem::Problem;
use crate::run::{Call, SkipReason};

/// A call that names an existing connector and action.
pub struct Named {
    /// The connector.
    pub loaded: Arc<LoadedConnector>,
    index: usize,
}

impl Named {
    /// The action.
    ///
    /// # Errors
    /// Never for a value made by [`name`].
    pub fn action(&self) -> Result<&Action, Problem> {
        self.loaded.connector.actions.get(self.index).ok_or_else(|| Problem::plain(Code::ActionNotFound))
    }
}

/// Everything a call needs.
pub struct Ready {
    /// Where it may go.
    pub grant: EgressGrant,
    /// The credential, sealed.
    pub credential: Option<BoundCredential>,
    /// Non-secret values.
    pub config: Arc<Map<String, Value>>,
    /// Checked input with defaults.
    pub input: Map<String, Value>,
    /// The host it goes to, when no input chooses it.
    pub host: Option<String>,
    /// What keeps its connections apart.
    pub scope: PoolScope,
}

/// Either ready, or skipped.
pub enum Resolved {
    /// It can run.
    Ready(Box<Ready>),
    /// It is silently skipped.
    Skip(SkipReason),
}

/// Finds connector and action.
///
/// # Errors
/// `connector_not_found`, `action_not_found`.
pub async fn name(app: &App, call: &Call) -> Result<Named, Problem> {
    let loaded = app
        .directory
        .connector(&call.connector_id)
        .await?
        .ok_or_else(|| Problem::plain(Code::ConnectorNotFound))?;
    let index = loaded
        .connector
        .actions
        .iter()
        .position(|a| a.id.as_str() == call.action_id)
        .ok_or_else(|| Problem::plain(Code::ActionNotFound))?;
    Ok(Named { loaded, index })
}

/// Whether what needs attention stands in this action's way.
fn check_attention(connection: &Connection, connector: &Connector, action: &Action) -> Result<(), Problem> {
    let missing: Vec<&str> = connection.missing_fields(connector).collect();
    let detail = if !missing.is_empty() {
        format!("the saved credential has no value for {}; save it again", missing.join(", "))
    } else if !connection.covers(connector, action) {
        format!("the credential was saved before {} was allowed; save it again", action.url.host_text())
    } else {
        return Ok(());
    };
    Err(Problem::new(Code::CredentialNeedsAttention, detail))
}

/// Resolves credential state, input and grant.
///
/// # Errors
/// `credential_needs_attention` or `input_invalid`.
pub async fn resolve(app: &App, call: &Call, named: &Named) -> Result<Resolved, Problem> {
    let connector = &named.loaded.connector;
    let action = named.action()?;
    if !connector.enabled {
        return Ok(Resolved::Skip(SkipReason::ConnectorDisabled));
    }
    let connection = Connection::load(&app.records, &call.org, &call.workspace, &connector.id).await?;
    match connection.state(connector) {
        ConnectionState::OptedOut => return Ok(Resolved::Skip(SkipReason::OptedOut)),
        ConnectionState::Unconfigured => return Ok(Resolved::Skip(SkipReason::Unconfigured)),
        // Why per action: one that the saved credential satisfies goes on working.
        ConnectionState::NeedsAttention => check_attention(&connection, connector, action)?,
        ConnectionState::Connected => {}
    }
    let input = check_input(&action.inputs, &call.input)
        .map_err(|errors| Problem::breaches(Code::InputInvalid, errors))?;
    let config = connection.config(connector);
    let policy = app.directory.policy(call.org.as_str()).await?;
    let scope = ActionScope::new(action.method, &action.url, &config)
        .map_err(|e| Problem::new(Code::CredentialNeedsAttention, format!("the connection's {e}")))?;
    let rules = HostRules {
        connector: connector.allowed_domains.clone(),
        ports: connector.ports.clone(),
        org: policy.policy.clone(),
    };
    let credential = connection.bind(&app.vault, &call.org, &call.workspace, &connector.id);
    let pool_scope = PoolScope {
        workspace: format!("{}/{}", call.org, call.workspace),
        connector: connector.id.as_str().to_owned(),
        credential_version: credential.as_ref().map_or(0, |c| c.version),
        // Why the larger commit: either change makes it a number that was never used before.
        policy_generation: named.loaded.commit.max(policy.commit),
        http2: connector.http2,
    };
    Ok(Resolved::Ready(Box::new(Ready {
        // Why unknown with wide redirects: the call may be elsewhere by the time somebody asks.
        host: scope.fixed_host().filter(|_| connector.redirects.follow != RedirectFollow::AllowedHosts),
        grant: EgressGrant::new(rules, vec![scope], app.limits.url_bytes),
        credential,
        config: Arc::new(config),
        input,
        scope: pool_scope,
    })))
}
