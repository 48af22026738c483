//! A workspace's connection to a connector with everything that its requests need: what every request
//! of the host or of a guest is made from.

use std::sync::Arc;

use portcullis_core::connector::{Connector, RedirectPolicy, RequestLimits};
use portcullis_core::fault::Code;
use portcullis_core::grant::{ActionScope, EgressGrant};
use portcullis_core::id::{ActionId, AutomationId, RunId};
use portcullis_core::injection::Injection;
use portcullis_core::verdict::HostRules;
use portcullis_egress::{Answers, BoundCredential, Guard, GuardSpec, PoolScope};
use portcullis_store::{CredentialState, DiscoveredConfig, Writes};
use serde_json::{Map, Value};

use crate::app::App;
use crate::credential::{Connection, Place};
use crate::directory::{LoadedConnector, LoadedPolicy};
use crate::ledger::{Asker, CallLedger};
use crate::problem::Problem;

/// A loaded connection.
#[derive(Clone)]
pub struct Connected {
    /// Whose.
    pub place: Place,
    /// The connector in its default way, with its revision.
    pub loaded: Arc<LoadedConnector>,
    /// What is stored.
    pub connection: Connection,
    /// Non-secret values.
    pub config: Arc<Map<String, Value>>,
    /// The org's policy.
    pub policy: Arc<LoadedPolicy>,
}

/// What a guard is for.
pub struct Purpose {
    /// The ledger's word for it.
    pub action: ActionId,
    /// The run.
    pub run: RunId,
    /// The automation that fired.
    pub automation: Option<AutomationId>,
}

/// What one guard may do.
pub struct Errand {
    /// Where it may go.
    pub scopes: Vec<ActionScope>,
    /// The credential, still sealed.
    pub credential: Option<BoundCredential>,
    /// Where the credential goes.
    pub injection: Arc<Injection>,
    /// Most requests.
    pub requests_max: u64,
    /// Who reads the answers.
    pub answers: Answers,
    /// Lower limits.
    pub limits: RequestLimits,
    /// Stop before anything leaves.
    pub rehearse: bool,
    /// Texts that differ from run to run.
    pub varying: Vec<String>,
}

impl Connected {
    /// Loads a connection.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub async fn load(app: &App, place: Place, loaded: Arc<LoadedConnector>) -> Result<Self, Problem> {
        let connection = Connection::load(&app.records, &place, &loaded.connector).await?;
        let config = Arc::new(connection.config(connection.chosen(&loaded.connector)));
        let policy = app.directory.policy(place.org.as_str()).await?;
        Ok(Self { place, loaded, connection, config, policy })
    }

    /// Reads again what may have changed since: credential, token, discovered values.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub async fn reload(&mut self, app: &App) -> Result<(), Problem> {
        self.connection = Connection::load(&app.records, &self.place, &self.loaded.connector).await?;
        self.config = Arc::new(self.connection.config(self.connector()));
        Ok(())
    }

    /// The connector under the way to authenticate that the workspace chose.
    #[must_use]
    pub fn connector(&self) -> &Connector {
        self.connection.chosen(&self.loaded.connector)
    }

    /// Whether a value that nobody typed in is one that the form would take.
    #[must_use]
    pub fn accepts(&self, name: &str, value: &str) -> bool {
        let field = self.connector().fields.iter().find(|field| field.name == name && field.automated);
        let mut problems = Vec::new();
        field.is_some_and(|field| {
            field.check(value, "", &mut problems);
            problems.is_empty()
        })
    }

    /// Places of the discoveries of which something is not known yet.
    pub fn undiscovered(&self) -> impl Iterator<Item = usize> {
        let connector = self.connector();
        // Why only what is named: under another way to authenticate nobody may need it, and its request
        // would carry the credential to a host that the actions never go to.
        let is_named = |name: &str| {
            let variable = format!("config.{name}");
            connector.actions.iter().any(|action| action.plan_json.contains(&variable))
        };
        connector.discover.iter().enumerate().filter_map(move |(index, discovery)| {
            let missing = |name: &str| !self.config.contains_key(name) && is_named(name);
            discovery.capture.iter().any(|(name, _)| missing(name)).then_some(index)
        })
    }

    /// Whether a request of our own may still bring config values: a discovery, or the token's answer.
    #[must_use]
    pub fn may_learn(&self) -> bool {
        let plan = self.connector().auth.token.as_ref();
        let mut steps = plan.iter().flat_map(|plan| plan.obtain.iter().chain(&plan.renew));
        let by_token = steps.any(|step| step.config.iter().any(|(name, _)| !self.config.contains_key(name)));
        by_token || self.undiscovered().next().is_some()
    }

    /// The writes that keep config values which a request of our own brought. `None` when the credential
    /// that it was made with is not the saved one any more: they are another account's.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub async fn learned(
        &self,
        app: &App,
        values: impl IntoIterator<Item = (String, Value)>,
    ) -> Result<Option<Writes>, Problem> {
        let parts = self.place.parts();
        let identity = |c: &CredentialState| (c.credential_id.clone(), c.revision);
        let saved = app.records.get::<CredentialState>(&parts).await?;
        if saved.as_ref().map(|(c, _)| identity(c)) != self.connection.credential.as_deref().map(identity) {
            return Ok(None);
        }
        let writes = match saved {
            Some((_, commit)) => Writes::new().require_revision::<CredentialState>(&parts, commit),
            None => Writes::new().require_absent::<CredentialState>(&parts),
        };
        let known = app.records.get::<DiscoveredConfig>(&parts).await?;
        let mut known = known.map(|(known, _)| known).unwrap_or_default();
        let sound = values
            .into_iter()
            .filter(|(name, value)| value.as_str().is_some_and(|text| self.accepts(name, text)));
        known.config.extend(sound);
        Ok(Some(writes.put(&parts, &known)))
    }

    /// The scope of a request whose URL names config values.
    ///
    /// # Errors
    /// `credential_needs_attention` when one of them has no usable value.
    pub fn scope(
        &self,
        method: portcullis_action::Method,
        url: &portcullis_action::UrlTemplate,
    ) -> Result<ActionScope, Problem> {
        ActionScope::new(method, url, &self.config)
            .map_err(|e| Problem::new(Code::CredentialNeedsAttention, format!("the connection's {e}")))
    }

    /// The capability of one call.
    #[must_use]
    pub fn guard(&self, app: &App, purpose: Purpose, errand: Errand) -> Guard {
        let connector = self.connector();
        let rules = HostRules {
            connector: connector.allowed_domains.clone(),
            ports: connector.ports.clone(),
            org: self.policy.policy.clone(),
        };
        let pool = PoolScope {
            workspace: format!("{}/{}", self.place.org, self.place.workspace),
            connector: connector.id.as_str().to_owned(),
            credential_version: errand.credential.as_ref().map_or(0, |c| c.version),
            // Why the larger commit: either change makes it a number that was never used before.
            policy_generation: self.loaded.commit.max(self.policy.commit),
            http2: connector.http2,
        };
        let asker = Asker {
            org: self.place.org.clone(),
            workspace: self.place.workspace.clone(),
            connector_id: connector.id.clone(),
            revision: self.loaded.revision,
            action_id: purpose.action,
            run_id: purpose.run,
            automation_id: purpose.automation,
        };
        app.gate.guard(GuardSpec {
            grant: EgressGrant::new(rules, errand.scopes, app.limits.url_bytes),
            credential: errand.credential,
            injection: errand.injection,
            config: Arc::clone(&self.config),
            log: CallLedger::new(Arc::clone(&app.ledger), asker),
            requests_max: errand.requests_max,
            redirects: match errand.answers {
                Answers::Guest => connector.redirects,
                // Why none: an answer with a token comes from where it was asked, or not at all.
                Answers::TokenKeeper => RedirectPolicy::NONE,
            },
            limits: errand.limits,
            answers: errand.answers,
            rehearse: errand.rehearse,
            varying: errand.varying,
            scope: Arc::new(pool),
        })
    }
}
