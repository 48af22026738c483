//! Changes parts of a saved connection: what is not named stays as it was saved. The form is checked as a whole.
//!
//! | what changes | what ends with it |
//! |---|---|
//! | a secret, or the authentication method | the token, and values that were discovered |
//! | another value, which a token request or a discovery reads | the same: they would be of another account |
//! | another value | nothing: the sealed credential stays as it is |
//!
//! Secrets that stay are opened to check the form and the request that they make, and are sealed again where others
//! changed: for the hosts that they were sealed for, so that a change of the connector's list is never accepted for them
//! by somebody who does not give them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_core::connector::{Connector, DEFAULT_METHOD};
use portcullis_core::fault::Code;
use portcullis_core::form::{self, Field, FormValues, check_form_with};
use portcullis_core::offload;
use portcullis_core::secret::SecretFields;
use portcullis_core::token_plan::{StepBody, TokenPlan, TokenStep};
use portcullis_store::{ConnectorSetting, CredentialFieldState, CredentialState, Writes};
use serde_json::{Map, Value};

use super::health::{self, Saving};
use super::left_out::{asked_fields, checked_left_out};
use super::save::{Attempts, GivenConfig, check_method, toggled, try_out, writes};
use super::sealing::Sealing;
use super::state::StoredConnection;
use super::{AskedConnection, Connection, Subject};
use crate::caller::Caller;
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;
use crate::tenants::Tenant;

/// What is changed of a connection.
pub struct PatchConnection {
    /// False opts out; as it is if absent.
    pub enabled: Option<bool>,
    /// Fields that get another value; null removes one.
    pub config: Option<Map<String, Value>>,
    /// Another authentication method, for which nothing that is saved stays; as it is if absent.
    pub auth_method: Option<String>,
    /// What people call a named connection; as it is if absent.
    pub label: Option<String>,
    /// The revision that is changed; any if absent.
    pub expected: Option<u64>,
}

/// Changes a connection.
///
/// # Errors
/// Those of [`Caller::authorise`], `connector_not_found`, `not_found` for a named one that was not saved,
/// `revision_mismatch`, `validation_failed` with every violation
/// of the form.
pub async fn patch<'a>(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    asked: impl Into<AskedConnection<'a>>,
    wish: PatchConnection,
) -> Result<Connection, Error> {
    let PatchConnection { enabled, config, auth_method, label, expected } = wish;
    let wish = Wish { enabled, config: config.map(GivenConfig), auth_method, label };
    let asked = asked.into();
    let mut attempts = Attempts::default();
    loop {
        let subject = Subject::existing(engine, caller, tenant, asked).await?;
        let before = subject.stored(engine).await?;
        before.require_revision(expected)?;
        let Some(writes) = wish.writes(engine, &subject, &before).await? else {
            return subject.view(engine).await;
        };
        if attempts.commit(engine, asked.connector, writes).await? {
            return subject.view(engine).await;
        }
    }
}

/// What is wanted, until that is done.
struct Wish {
    enabled: Option<bool>,
    config: Option<GivenConfig>,
    auth_method: Option<String>,
    label: Option<String>,
}

impl Wish {
    /// What is to be written; `None` if nothing changes.
    async fn writes(
        &self,
        engine: &Engine,
        subject: &Subject,
        before: &StoredConnection,
    ) -> Result<Option<Writes>, Error> {
        let saved = before.setting.as_ref().map(|setting| &setting.value);
        let was_enabled = saved.is_none_or(|saved| saved.enabled);
        let enabled = self.enabled.unwrap_or(was_enabled);
        let chosen_before = saved.and_then(|saved| saved.auth_method.clone());
        let method = match self.auth_method.as_deref() {
            None => chosen_before.clone(),
            Some(DEFAULT_METHOD) => None,
            Some(id) => Some(id.to_owned()),
        };
        let stays = method == chosen_before;
        let label_before = before.setting.as_ref().and_then(|setting| setting.label.as_deref());
        let label = self.label.as_deref().filter(|label| Some(*label) != label_before);
        let Some(config) = &self.config else {
            if !stays {
                check_method(&subject.loaded.connector, self.auth_method.as_deref(), false)?;
            }
            let is_saved = saved.is_some();
            return match self.enabled {
                Some(enabled) if !is_saved || enabled != was_enabled => {
                    toggled(engine, subject, before, enabled, label).await.map(Some)
                }
                _ if label.is_some() => toggled(engine, subject, before, was_enabled, label).await.map(Some),
                _ => Ok(None),
            };
        };
        check_method(&subject.loaded.connector, method.as_deref(), true)?;
        let left_out = subject.left_out_under(engine, method.as_deref()).await?;
        let saved = if stays { Saved::open(engine, subject, before).await? } else { Saved::default() };
        let merge = Merge { subject, before, enabled, was_enabled, label, method, saved, left_out };
        merge.writes(engine, config.copy()).await
    }
}

/// What is saved of a form, opened.
#[derive(Default)]
struct Saved {
    state: Option<Arc<CredentialState>>,
    secrets: SecretFields,
    /// The hosts for which the secrets are sealed.
    allowed_hosts: Vec<String>,
}

impl Saved {
    async fn open(engine: &Engine, subject: &Subject, before: &StoredConnection) -> Result<Self, Error> {
        let vault = &engine.resources.vault;
        let state = before.credential.clone();
        let Some(record) = before.sealed(vault, &subject.key) else {
            return Ok(Self { state, ..Self::default() });
        };
        let payload = record.open_to_keep().await?;
        Ok(Self { state, secrets: payload.fields, allowed_hosts: payload.allowed_hosts })
    }
}

/// A form of which parts are given and parts stay.
struct Merge<'m> {
    subject: &'m Subject,
    before: &'m StoredConnection,
    enabled: bool,
    was_enabled: bool,
    /// Another text that people call it.
    label: Option<&'m str>,
    method: Option<String>,
    saved: Saved,
    /// Names of fields that a shared OAuth client has.
    left_out: Vec<String>,
}

impl Merge<'_> {
    async fn writes(mut self, engine: &Engine, given: Map<String, Value>) -> Result<Option<Writes>, Error> {
        let connector = self.subject.loaded.connector.under(self.method.as_deref());
        let named: BTreeSet<String> = given.keys().cloned().collect();
        let given = checked_left_out(&self.left_out, GivenConfig(given))?;
        let field = |name: &str| connector.fields.iter().find(|field| field.name == name);
        let stays = |name: &str, secret: bool| {
            let same = |field: &Field| field.secret == secret && !field.is_filled_by_itself();
            !named.contains(name) && field(name).is_some_and(same)
        };
        let sealed = self.saved.secrets.len();
        let opened = std::mem::take(&mut self.saved.secrets).into_fields();
        let secrets: Vec<_> = opened.filter(|(name, _)| stays(name, true)).collect();
        let config: Map<String, Value> = match &self.saved.state {
            Some(state) => state.config.clone().into_iter().filter(|(name, _)| stays(name, false)).collect(),
            None => Map::new(),
        };
        let kept: BTreeSet<String> =
            secrets.iter().map(|(name, _)| name).chain(config.keys()).cloned().collect();
        let kept_secrets = secrets.len();
        let limit = engine.resources.limits.secret_field_bytes;
        // Why those that stay are checked too: a workspace's own client, saved before the shared one, is still in use.
        let absent: Vec<String> =
            self.left_out.iter().filter(|name| !kept.contains(*name)).cloned().collect();
        let form = asked_fields(connector, &absent);
        let secret_lengths = secrets.iter().map(|(name, secret)| (name.as_str(), secret.len()));
        let texts = form::lengths(&given).chain(form::lengths(&config)).chain(secret_lengths);
        offload::over(form::effort(&form, texts)).await;
        let values = check_form_with(&form, given, FormValues { secrets, config }, limit)
            .map_err(|violations| Error::violations(Code::ValidationFailed, violations))?;
        let same_secrets = kept_secrets == sealed && values.secrets.len() == sealed;
        if let Some(state) = self.saved.state.clone().filter(|_| same_secrets) {
            let changed = changed(&state.config, &values.config);
            if changed.is_empty() && self.enabled == self.was_enabled && self.label.is_none() {
                return Ok(None);
            }
            if !changed.iter().any(|name| is_read_before_calls(connector, name)) {
                return self.visible_only(engine, connector, &state, values, &changed).await.map(Some);
            }
        }
        self.sealed_anew(engine, values, &kept, kept_secrets > 0).await.map(Some)
    }

    /// Values that are not secret change, and nothing that was made with the credential depends on them.
    async fn visible_only(
        &self,
        engine: &Engine,
        connector: &Connector,
        state: &CredentialState,
        values: FormValues,
        changed: &BTreeSet<String>,
    ) -> Result<Writes, Error> {
        let FormValues { secrets, config } = values;
        try_out(connector, &SecretFields::new(secrets), &config, !self.left_out.is_empty())?;
        let now = clock::now();
        let mut state = state.clone();
        state.fields.retain(|name, _| config.contains_key(name) || !changed.contains(name));
        for name in changed.iter().filter(|name| config.contains_key(*name)) {
            state.fields.insert(name.clone(), CredentialFieldState { updated_at: now.clone() });
        }
        state.config = config.into_iter().collect();
        state.updated_at = now;
        let sealed = self.before.setting.as_ref().and_then(|setting| setting.value.encrypted_config.clone());
        let setting =
            ConnectorSetting::new(connector.id.clone(), self.enabled, sealed).under(self.method.clone());
        let writes =
            writes(self.subject, self.before, setting, self.label).put(&self.subject.key.parts(), &state);
        let saving = match (self.was_enabled, self.enabled) {
            (false, true) => Saving::OptedIn,
            (true, false) => Saving::OptedOut,
            _ => Saving::Values,
        };
        Ok(health::saved(&engine.resources, writes, &self.subject.key, None, saving).await?)
    }

    async fn sealed_anew(
        self,
        engine: &Engine,
        values: FormValues,
        kept: &BTreeSet<String>,
        with_kept_secrets: bool,
    ) -> Result<Writes, Error> {
        let since = self.saved.state.as_ref().map(|state| state.fields.clone()).unwrap_or_default();
        let kept: BTreeMap<String, CredentialFieldState> =
            since.into_iter().filter(|(name, _)| kept.contains(name)).collect();
        let sealing = Sealing {
            subject: self.subject,
            before: self.before,
            enabled: self.enabled,
            label: self.label,
            auth_method: self.method,
            kept,
            allowed_hosts: with_kept_secrets.then_some(self.saved.allowed_hosts),
            is_part: !self.left_out.is_empty(),
        };
        sealing.writes(engine, values).await
    }
}

/// Names of the values that differ.
fn changed(before: &BTreeMap<String, Value>, now: &Map<String, Value>) -> BTreeSet<String> {
    let names = before.keys().chain(now.keys());
    names.filter(|name| before.get(*name) != now.get(name.as_str())).cloned().collect()
}

/// Whether a token request, a consent or a discovery reads a value, so that what it gave belongs to the value before.
fn is_read_before_calls(connector: &Connector, name: &str) -> bool {
    let by_token = connector.auth.token.as_ref().is_some_and(|plan| plan_reads(plan, name));
    // Why by the text: a name that stands there for another reason only makes a discovery be done again.
    let by_discovery = |plan: &str| plan.contains(name);
    let discovers = !connector.discover.is_empty();
    let with_credential = || connector.auth.injection.templates().flat_map(|template| template.variables());
    by_token
        || connector.discover.iter().any(|discovery| by_discovery(&discovery.action.plan_json))
        || (discovers && with_credential().any(|variable| variable.name == name))
}

fn plan_reads(plan: &TokenPlan, name: &str) -> bool {
    let consent = plan.consent.as_ref();
    let steps = plan.obtain.iter().chain(&plan.renew).chain(consent.map(|consent| &consent.exchange));
    let mut templates = consent.into_iter().flat_map(|consent| {
        let params = consent.params.iter().map(|(_, template)| template);
        params.chain([&consent.client_id]).chain(&consent.issuer)
    });
    let in_url = consent.is_some_and(|consent| consent.authorize_url.variables().any(|v| v.name == name));
    in_url
        || templates.any(|template| template.variables().any(|variable| variable.name == name))
        || steps.into_iter().any(|step| step_reads(step, name))
}

fn step_reads(step: &TokenStep, name: &str) -> bool {
    let in_pairs = |pairs: &[(String, String)]| pairs.iter().any(|(_, text)| text.contains(name));
    let in_body = match &step.body {
        StepBody::None => false,
        StepBody::Form(pairs) => in_pairs(pairs),
        StepBody::Json(value) => value.to_string().contains(name),
    };
    in_body
        || in_pairs(&step.headers)
        || step.url.variables().any(|variable| variable.name == name)
        || step.injection.templates().any(|template| template.variables().any(|v| v.name == name))
}
