//! From a call to everything it needs, in the order that keeps errors stable: connector exists →
//! action exists → connector enabled → credential state → input valid → grant.
//!
//! Nothing is opened and nothing leaves here.

use std::sync::Arc;

use portcullis_core::connector::{Action, Connector};
use portcullis_core::definition::RedirectFollow;
use portcullis_core::fault::Code;
use portcullis_core::input::check_input;
use serde_json::{Map, Value};

use crate::app::App;
use crate::connected::Connected;
use crate::credential::{Connection, ConnectionState, Place};
use crate::directory::LoadedConnector;
use crate::problem::Problem;
use crate::run::{Call, SkipReason};

/// Which of a connector's requests is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pick {
    /// An action, by its place.
    Action(usize),
    /// The credential check.
    Test,
    /// What fills automated config fields, by its place.
    Discover(usize),
}

/// A call that names an existing connector and one of its requests.
pub struct Named {
    /// The connector.
    pub loaded: Arc<LoadedConnector>,
    pick: Pick,
}

impl Named {
    /// The connector's credential check; `None` when it has none.
    #[must_use]
    pub fn test(loaded: Arc<LoadedConnector>) -> Option<Self> {
        loaded.connector.test.is_some().then_some(Self { loaded, pick: Pick::Test })
    }

    /// One of the connector's discoveries, by its place.
    #[must_use]
    pub fn discovery(&self, index: usize) -> Self {
        Self { loaded: Arc::clone(&self.loaded), pick: Pick::Discover(index) }
    }

    /// The request in the connector's default way to authenticate.
    ///
    /// # Errors
    /// Never for a value made by [`name`].
    pub fn action(&self) -> Result<&Action, Problem> {
        self.action_of(&self.loaded.connector)
    }

    /// The request under another way to authenticate.
    ///
    /// # Errors
    /// Never for a value made by [`name`].
    pub fn action_of<'c>(&self, connector: &'c Connector) -> Result<&'c Action, Problem> {
        let found = match self.pick {
            Pick::Action(index) => connector.actions.get(index),
            Pick::Test => connector.test.as_ref().map(|test| &test.action),
            Pick::Discover(index) => connector.discover.get(index).map(|discovery| &discovery.action),
        };
        found.ok_or_else(|| Problem::plain(Code::ActionNotFound))
    }

    /// Whether it is one of the connector's own requests for its config.
    #[must_use]
    pub const fn is_discovery(&self) -> bool {
        matches!(self.pick, Pick::Discover(_))
    }
}

/// Everything a call needs.
pub struct Ready {
    /// The connection.
    pub connected: Connected,
    /// Checked input with defaults.
    pub input: Map<String, Value>,
    /// The host it goes to, when no input chooses it.
    pub host: Option<String>,
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
        .filter(|loaded| loaded.is_visible())
        .ok_or_else(|| Problem::plain(Code::ConnectorNotFound))?;
    let index = loaded
        .connector
        .actions
        .iter()
        .position(|a| a.id.as_str() == call.action_id)
        .ok_or_else(|| Problem::plain(Code::ActionNotFound))?;
    Ok(Named { loaded, pick: Pick::Action(index) })
}

/// Whether what needs attention stands in this action's way. A token that could not be got does not yet:
/// it may be time to try again.
fn check_attention(connection: &Connection, connector: &Connector, action: &Action) -> Result<(), Problem> {
    let failed = connection.current_token().is_some_and(|token| token.failure.is_some());
    let detail = if let Some(detail) = connection.attention(connector).filter(|_| !failed) {
        detail
    } else if !connection.covers(connector, action) {
        format!("the credential was saved before {} was allowed; save it again", action.url.host_text())
    } else {
        return Ok(());
    };
    Err(Problem::new(Code::CredentialNeedsAttention, detail))
}

/// Resolves credential state, input and scope.
///
/// # Errors
/// `credential_needs_attention` or `input_invalid`.
pub async fn resolve(app: &App, call: &Call, named: &Named) -> Result<Resolved, Problem> {
    if !named.loaded.connector.enabled {
        return Ok(Resolved::Skip(SkipReason::ConnectorDisabled));
    }
    let place = Place {
        org: call.org.clone(),
        workspace: call.workspace.clone(),
        connector: named.loaded.connector.id.clone(),
    };
    let connected = Connected::load(app, place, Arc::clone(&named.loaded)).await?;
    let connector = connected.connector();
    let action = named.action_of(connector)?;
    match connected.connection.unwanted(&named.loaded.connector) {
        Some(ConnectionState::OptedOut) => return Ok(Resolved::Skip(SkipReason::OptedOut)),
        Some(_) => return Ok(Resolved::Skip(SkipReason::Unconfigured)),
        None => {}
    }
    // Why per action: one that the saved credential satisfies goes on working.
    if connected.connection.setting.is_some() {
        check_attention(&connected.connection, connector, action)?;
    }
    let input = check_input(&action.inputs, &call.input)
        .map_err(|errors| Problem::breaches(Code::InputInvalid, errors))?;
    let host = match connected.scope(action.method, &action.url) {
        // Why unknown with wide redirects: the call may be elsewhere by the time somebody asks.
        Ok(scope) => {
            scope.fixed_host().filter(|_| connector.redirects.follow != RedirectFollow::AllowedHosts)
        }
        // Its host may be known once a token was got or something was discovered.
        Err(_) if connected.may_learn() => None,
        Err(problem) => return Err(problem),
    };
    Ok(Resolved::Ready(Box::new(Ready { connected, input, host })))
}
