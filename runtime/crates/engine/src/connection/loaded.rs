//! A workspace's connection to a connector with everything that requests need, those of guests and of the host.

use std::sync::Arc;

use portcullis_core::connector::{Connector, RedirectPolicy, RequestLimits};
use portcullis_core::fault::Code;
use portcullis_core::grant::{ActionScope, EgressGrant};
use portcullis_core::id::{ActionId, AutomationId, RunId};
use portcullis_core::injection::Injection;
use portcullis_core::org_rules::Asked;
use portcullis_core::verdict::{HostRules, LiveRules};
use portcullis_core::violation::Violations;
use portcullis_egress::{Answers, BoundCredential, Guard, GuardSpec, PoolScope};
use portcullis_store::{CredentialState, DiscoveredConfig, Writes};
use serde_json::{Map, Value};

use super::key::ConnectionKey;
use super::sealed::OpenedWhileFresh;
use super::state::StoredConnection;
use super::visible::HiddenValues;
use crate::cache::{LoadedConnector, LoadedPolicy};
use crate::call::active_calls::CancelHandle;
use crate::call::ledger_bracket::{CallLedger, Origin};
use crate::call::org_rules::asked_of;
use crate::call::prepare::Named;
use crate::error::Error;
use crate::resources::Resources;

/// A loaded connection.
#[derive(Clone)]
pub(crate) struct LoadedConnection {
    pub(crate) key: ConnectionKey,
    /// The connector under its default authentication method, with its revision.
    pub(crate) loaded: Arc<LoadedConnector>,
    pub(crate) stored: StoredConnection,
    /// Non-secret values.
    pub(crate) config: Arc<Map<String, Value>>,
    pub(crate) policy: Arc<LoadedPolicy>,
    /// The lists that its requests are checked against, those of the time of each request.
    pub(crate) rules: LiveRules,
    /// Stands for the credential of a connection that nobody made: in a preview, which opens none.
    stand_in: Option<BoundCredential>,
}

/// What the requests of a guard are made for.
pub(crate) struct Purpose {
    /// The action's name in the ledger.
    pub(crate) action: ActionId,
    pub(crate) run: RunId,
    /// The automation that fired, if any.
    pub(crate) automation: Option<AutomationId>,
    /// The running call that the requests belong to.
    pub(crate) handle: Option<Arc<CancelHandle>>,
}

/// What one guard may do.
pub(crate) struct Errand {
    /// Where it may go.
    pub(crate) scopes: Vec<ActionScope>,
    /// The credential, still sealed.
    pub(crate) credential: Option<BoundCredential>,
    /// Where the credential goes.
    pub(crate) injection: Arc<Injection>,
    /// Maximum number of requests.
    pub(crate) requests_max: u64,
    /// Who reads the answers.
    pub(crate) answers: Answers,
    /// Limits below the platform's.
    pub(crate) limits: RequestLimits,
    /// Whether to stop before anything leaves.
    pub(crate) dry_run: bool,
    /// Texts of the request that differ from run to run.
    pub(crate) varying: Vec<String>,
}

impl LoadedConnection {
    /// Loads a connection.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub(crate) async fn load(
        resources: &Resources,
        key: ConnectionKey,
        loaded: Arc<LoadedConnector>,
    ) -> Result<Self, Error> {
        let stored = StoredConnection::load(&resources.records, &key, &loaded.connector).await?;
        let config = Arc::new(stored.config(stored.chosen(&loaded.connector)));
        let policy = resources.cache.policy(key.org.as_str()).await?;
        let rules = rules(stored.chosen(&loaded.connector), &policy, Asked::Connection).into();
        Ok(Self { key, loaded, stored, config, policy, rules, stand_in: None })
    }

    /// A connection that nobody made, under the default authentication method, for a request that is shown and not
    /// sent.
    pub(crate) fn stood_in(
        key: ConnectionKey,
        loaded: Arc<LoadedConnector>,
        policy: Arc<LoadedPolicy>,
        config: Map<String, Value>,
        credential: BoundCredential,
    ) -> Self {
        let rules = rules(&loaded.connector, &policy, Asked::Connection).into();
        let (stored, config) = (StoredConnection::default(), Arc::new(config));
        Self { key, loaded, stored, config, policy, rules, stand_in: Some(credential) }
    }

    /// Has the org's rules judged for one action, whose requests it is loaded for. Before anything shares its lists.
    ///
    /// # Errors
    /// Never for a value made by [`name`](crate::call::prepare::name).
    pub(crate) fn judge_for(&mut self, named: &Named) -> Result<(), Error> {
        let action = named.action_of(self.connector())?;
        let asked = asked_of(action);
        self.rules = rules(self.connector(), &self.policy, asked).into();
        Ok(())
    }

    /// Why the org's rules forbid every request that this connection is loaded for.
    #[must_use]
    pub(crate) fn refusal(&self) -> Option<Code> {
        self.rules.current().org_rules.refusal()
    }

    /// Checks that the org's rules leave the connection something to do.
    ///
    /// # Errors
    /// `connector_not_allowed`, `action_not_allowed`.
    pub(crate) fn require_allowed(&self) -> Result<(), Error> {
        match self.refusal() {
            None => Ok(()),
            Some(Code::ActionNotAllowed) => {
                let detail = "the org's rules block every action of this connector";
                Err(Error::new(Code::ActionNotAllowed, detail))
            }
            Some(code) => Err(Error::plain(code)),
        }
    }

    /// The handle that the gate opens for a call.
    pub(crate) fn bind(&self, resources: &Resources) -> Option<BoundCredential> {
        let saved = || self.stored.bind(&resources.vault, &self.key, self.connector());
        self.stand_in.clone().or_else(saved)
    }

    /// Reloads what may have changed meanwhile: credential, token, discovered values.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub(crate) async fn reload(&mut self, resources: &Resources) -> Result<(), Error> {
        self.stored = StoredConnection::load(&resources.records, &self.key, &self.loaded.connector).await?;
        self.config = Arc::new(self.stored.config(self.connector()));
        Ok(())
    }

    /// The same for a consent that begins now, which is asked with the client that the org or the platform shares.
    #[must_use]
    pub(crate) fn with_new_client(mut self) -> Self {
        self.stored = self.stored.with_new_client();
        self.config = Arc::new(self.stored.config(self.connector()));
        self
    }

    /// The connector under the authentication method that the workspace chose.
    #[must_use]
    pub(crate) fn connector(&self) -> &Connector {
        self.stored.chosen(&self.loaded.connector)
    }

    /// An automated value as the form would keep it; `None` for one that it would not accept.
    #[must_use]
    pub(crate) fn accepted<'t>(&self, name: &str, value: &'t str) -> Option<&'t str> {
        let field = self.connector().fields.iter().find(|field| field.name == name && field.automated)?;
        let mut problems = Violations::default();
        field.check(value, "", &mut problems);
        problems.is_empty().then(|| field.tidy(value))
    }

    /// Indices of the discoveries for which a value is missing.
    pub(crate) fn undiscovered(&self) -> impl Iterator<Item = usize> {
        let connector = self.connector();
        // Why only values in use: under another authentication method no action may need it, and its request
        // would send the credential to a host that the actions never use.
        let is_named = |name: &str| {
            let variable = format!("config.{name}");
            connector.actions.iter().any(|action| action.plan_json.contains(&variable))
        };
        connector.discover.iter().enumerate().filter_map(move |(index, discovery)| {
            let missing = |name: &str| !self.config.contains_key(name) && is_named(name);
            discovery.capture.iter().any(|(name, _)| missing(name)).then_some(index)
        })
    }

    /// Whether a request of the host may still bring config values: a discovery, or a token request.
    #[must_use]
    pub(crate) fn may_learn(&self) -> bool {
        let plan = self.connector().auth.token.as_ref();
        let mut steps = plan.iter().flat_map(|plan| plan.obtain.iter().chain(&plan.renew));
        let by_token = steps.any(|step| step.config.iter().any(|(name, _)| !self.config.contains_key(name)));
        by_token || self.undiscovered().next().is_some()
    }

    /// The writes that store config values from a request of the host. `None` if the credential that was
    /// used is no longer the saved one: the values then belong to another account.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub(crate) async fn learned(
        &self,
        resources: &Resources,
        values: impl IntoIterator<Item = (String, Value)>,
    ) -> Result<Option<Writes>, Error> {
        let parts = self.key.parts();
        let identity = |c: &CredentialState| (c.credential_id.clone(), c.revision);
        let saved = resources.records.get::<CredentialState>(&parts).await?;
        if saved.as_ref().map(|(c, _)| identity(c)) != self.stored.credential.as_deref().map(identity) {
            return Ok(None);
        }
        let writes = match saved {
            Some((_, commit)) => Writes::new().require_revision::<CredentialState>(&parts, commit),
            None => Writes::new().require_absent::<CredentialState>(&parts),
        };
        let mut values: Vec<(String, Value)> = values.into_iter().collect();
        if !values.is_empty() {
            let hidden = HiddenValues::stored(self, resources).await?;
            values.retain(|(_, value)| !value.as_str().is_some_and(|text| hidden.are_in(text)));
        }
        let known = resources.records.get::<DiscoveredConfig>(&parts).await?;
        let mut known = known.map(|(known, _)| known).unwrap_or_default();
        let sound = values.into_iter().filter_map(|(name, value)| {
            let kept = self.accepted(&name, value.as_str()?)?.to_owned();
            Some((name, Value::String(kept)))
        });
        known.config.extend(sound);
        Ok(Some(writes.put(&parts, &known)))
    }

    /// The scope of a request whose URL uses config values.
    ///
    /// # Errors
    /// `credential_needs_attention` if one of them has no usable value.
    pub(crate) fn scope(
        &self,
        method: portcullis_action::Method,
        url: &portcullis_action::UrlTemplate,
    ) -> Result<ActionScope, Error> {
        ActionScope::new(method, url, &self.config)
            .map_err(|e| Error::new(Code::CredentialNeedsAttention, format!("the connection's {e}")))
    }

    /// The capability of one call.
    #[must_use]
    pub(crate) fn guard(&self, resources: &Resources, purpose: Purpose, errand: Errand) -> Guard {
        let connector = self.connector();
        let pool = PoolScope {
            workspace: format!("{}/{}", self.key.org, self.key.workspace),
            connector: connector.id.as_str().to_owned(),
            connection: self.key.name.clone(),
            credential_version: errand.credential.as_ref().map_or(0, |c| c.version),
            // Why the larger commit: after a change of either it is a number that was never used before.
            policy_generation: self.loaded.commit.max(self.policy.commit),
            http2: connector.http2,
        };
        let origin = Origin {
            org: self.key.org.clone(),
            workspace: self.key.workspace.clone(),
            connector_id: connector.id.clone(),
            connection: self.key.name.clone(),
            revision: self.loaded.revision,
            action_id: purpose.action,
            run_id: purpose.run,
            automation_id: purpose.automation,
        };
        resources.gate.guard(GuardSpec {
            grant: EgressGrant::new(self.rules.clone(), errand.scopes, resources.limits.url_bytes),
            credential: errand.credential.map(|credential| while_fresh(resources, credential)),
            injection: errand.injection,
            config: Arc::clone(&self.config),
            log: CallLedger::new(resources, origin, purpose.handle),
            requests_max: errand.requests_max,
            redirects: match errand.answers {
                Answers::Guest => connector.redirects,
                // Why none: an answer with a token must come from the URL that was requested.
                Answers::TokenKeeper => RedirectPolicy::NONE,
            },
            limits: errand.limits,
            answers: errand.answers,
            unclean_close: connector.unclean_close,
            user_agent_suffix: connector.user_agent_suffix.clone(),
            dry_run: errand.dry_run,
            varying: errand.varying,
            scope: Arc::new(pool),
        })
    }
}

/// The credential as it may be used: not while it is unknown what other nodes forbid.
fn while_fresh(resources: &Resources, credential: BoundCredential) -> BoundCredential {
    let freshness = Arc::clone(&resources.freshness);
    let source = Arc::new(OpenedWhileFresh { source: credential.source, freshness });
    BoundCredential { source, ..credential }
}

/// The lists and rules that requests of a connector are checked against, which are made for what is asked.
pub(crate) fn rules(connector: &Connector, policy: &LoadedPolicy, asked: Asked<'_>) -> HostRules {
    HostRules {
        connector: connector.allowed_domains.clone(),
        ports: connector.ports.clone(),
        org: policy.policy.clone(),
        org_rules: policy.rules.judge(connector.id.as_str(), asked),
    }
}
