//! From a call to everything it needs, in an order that keeps errors stable: connector exists → action exists →
//! connector enabled → credential state → the org's rules → input valid → grant.
//!
//! Nothing is opened and nothing leaves here.

use std::sync::Arc;

use portcullis_action::budget::Budget;
use portcullis_core::connector::{Action, Connector, Runtime};
use portcullis_core::definition::RedirectFollow;
use portcullis_core::fault::Code;
use portcullis_core::input::{self, check_input};
use portcullis_core::offload;
use portcullis_core::violation::nearest;
use serde_json::{Map, Value};

use super::active_calls::{CancelHandle, Granted};
use super::org_rules::Refused;
use super::request::CallRequest;
use super::run::SkipReason;
use crate::cache::{LoadedConnector, unknown};
use crate::connection::state::{ConnectionState, StoredConnection};
use crate::connection::{ConnectionKey, LoadedConnection};
use crate::error::Error;
use crate::invalidation;
use crate::resources::Resources;

/// Which of a connector's requests is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    /// An action, by its index.
    Action(usize),
    /// The credential check.
    Test,
    /// A request that fills automated config fields, by its index.
    Discover(usize),
}

impl Pick {
    /// The request in a connector.
    pub(crate) fn of(self, connector: &Connector) -> Option<&Action> {
        match self {
            Self::Action(index) => connector.actions.get(index),
            Self::Test => connector.test.as_ref().map(|test| &test.action),
            Self::Discover(index) => connector.discover.get(index).map(|discovery| &discovery.action),
        }
    }
}

/// A call whose connector and request exist.
pub(crate) struct Named {
    pub(crate) loaded: Arc<LoadedConnector>,
    pub(crate) pick: Pick,
}

impl Named {
    /// The connector's credential check; `None` if it has none.
    pub(crate) fn test(loaded: Arc<LoadedConnector>) -> Option<Self> {
        loaded.connector.test.is_some().then_some(Self { loaded, pick: Pick::Test })
    }

    /// One of the connector's discoveries, by its index.
    pub(crate) fn discovery(&self, index: usize) -> Self {
        Self { loaded: Arc::clone(&self.loaded), pick: Pick::Discover(index) }
    }

    /// The request under the connector's default authentication method.
    ///
    /// # Errors
    /// Never for a value made by [`name`].
    pub(crate) fn action(&self) -> Result<&Action, Error> {
        self.action_of(&self.loaded.connector)
    }

    /// The request under another authentication method.
    ///
    /// # Errors
    /// Never for a value made by [`name`].
    pub(crate) fn action_of<'c>(&self, connector: &'c Connector) -> Result<&'c Action, Error> {
        self.pick.of(connector).ok_or_else(|| Error::plain(Code::ActionNotFound))
    }

    /// Whether it is a request that fills config fields.
    pub(crate) const fn is_discovery(&self) -> bool {
        matches!(self.pick, Pick::Discover(_))
    }
}

/// Everything a call needs.
pub(crate) struct Ready {
    pub(crate) connection: LoadedConnection,
    /// Checked input with defaults.
    pub(crate) input: Map<String, Value>,
}

/// Ready, or skipped.
pub(crate) enum Prepared {
    /// It can run.
    Ready(Box<Ready>),
    /// It is silently skipped.
    Skip(SkipReason),
    /// The org's rules refuse it.
    Refused(Box<Refused>),
}

/// Finds connector and action.
///
/// # Errors
/// `connector_not_found`, `action_not_found`.
pub(crate) async fn name(resources: &Resources, call: &CallRequest) -> Result<Named, Error> {
    let loaded = resources.cache.visible_connector(&call.connector_id).await?;
    let index = loaded.connector.actions.iter().position(|action| action.id.as_str() == call.action_id);
    let index = index.ok_or_else(|| no_action(&loaded.connector, &call.action_id))?;
    Ok(Named { loaded, pick: Pick::Action(index) })
}

/// That a connector has no action of this id, with the one that was probably meant.
pub(crate) fn no_action(connector: &Connector, id: &str) -> Error {
    let near = nearest(id, connector.actions.iter().map(|action| action.id.as_str()));
    Error::new(Code::ActionNotFound, unknown("the connector has no action", id, near))
}

/// Whether a connection that needs attention prevents this action. A token that could not be obtained does not
/// yet: it may be time to try again.
fn check_attention(
    connection: &StoredConnection,
    connector: &Connector,
    action: &Action,
) -> Result<(), Error> {
    let failed = connection.token_failure().is_some();
    let detail = if let Some(detail) = connection.attention(connector).filter(|_| !failed) {
        detail
    } else if !connection.covers(connector, action) {
        format!("the credential was saved before {} was allowed; save it again", action.url.host_text())
    } else {
        return Ok(());
    };
    Err(Error::new(Code::CredentialNeedsAttention, detail))
}

/// Finds credential state, input and grant, and notes the grant with the running call. `version` is the cache's before
/// the call was named.
///
/// # Errors
/// `credential_needs_attention` or `input_invalid`.
pub(crate) async fn prepare(
    resources: &Resources,
    call: &CallRequest,
    named: &Named,
    handle: &CancelHandle,
    version: u64,
) -> Result<Prepared, Error> {
    if !named.loaded.connector.enabled {
        return Ok(Prepared::Skip(SkipReason::ConnectorDisabled));
    }
    let key = ConnectionKey {
        org: call.org.clone(),
        workspace: call.workspace.clone(),
        connector: named.loaded.connector.id.clone(),
        name: call.connection.clone(),
    };
    let mut connection = LoadedConnection::load(resources, key, Arc::clone(&named.loaded)).await?;
    match connection.stored.unwanted(&named.loaded.connector) {
        Some(ConnectionState::OptedOut) => return Ok(Prepared::Skip(SkipReason::OptedOut)),
        Some(_) => return Ok(Prepared::Skip(SkipReason::Unconfigured)),
        None => {}
    }
    connection.judge_for(named)?;
    // Why before anything that may lead to a request: of what is refused, nobody is asked for anything.
    if connection.refusal().is_some() {
        return Ok(Prepared::Refused(Box::new(Refused::of(&connection, named)?)));
    }
    let connector = connection.connector();
    let action = named.action_of(connector)?;
    // Why per action: an action for which the saved credential is enough continues to work.
    if connection.stored.setting.is_some() {
        check_attention(&connection.stored, connector, action)?;
    }
    offload::over(input::effort(&action.inputs, &call.input)).await;
    let input = check_input(&action.inputs, &call.input, &Budget::matching(resources.limits.matching_steps))
        .map_err(|violations| Error::violations(Code::InputInvalid, violations))?;
    let granted = granted(&connection, named, action)?;
    handle.set_granted(granted);
    // Why: a change that was applied while this was read did not know what is granted here.
    if resources.cache.version() != version {
        invalidation::judge_one(resources, handle).await;
    }
    Ok(Prepared::Ready(Box::new(Ready { connection, input })))
}

/// What the call is granted; a later change is compared with it.
pub(crate) fn granted(
    connection: &LoadedConnection,
    named: &Named,
    action: &Action,
) -> Result<Granted, Error> {
    let connector = connection.connector();
    let scope = match connection.scope(action.method, &action.url) {
        Ok(scope) => Some(scope),
        // Its host may be known after a token was obtained or a value discovered.
        Err(_) if connection.may_learn() => None,
        Err(error) => return Err(error),
    };
    let redirects = connector.redirects.follow;
    // Why unknown with redirects to other hosts: the call may be elsewhere when a change is judged.
    let host = scope
        .as_ref()
        .and_then(portcullis_core::grant::ActionScope::fixed_host)
        .filter(|_| redirects != RedirectFollow::AllowedHosts && !action.is_module);
    Ok(Granted {
        pick: named.pick,
        action: action.id.clone(),
        method: action.method,
        url: action.url.clone(),
        module: connector.module_of(action).map(Runtime::capabilities),
        credential: connection.stored.credential.as_ref().map(|c| c.credential_id.as_str().to_owned()),
        rules: connection.rules.clone(),
        scope,
        config: Arc::clone(&connection.config),
        host,
        goes_on: action.plan.pagination.is_some() || redirects != RedirectFollow::None || action.is_module,
    })
}
