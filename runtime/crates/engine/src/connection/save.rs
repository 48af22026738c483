//! Saves a connection: checks the form, tries the credential on a request that is not sent, seals it; or opts out.

use std::collections::BTreeMap;

use portcullis_core::connector::Connector;
use portcullis_core::fault::Code;
use portcullis_core::form::{FormValues, check_form};
use portcullis_core::id::CredentialId;
use portcullis_core::injection::InjectionError;
use portcullis_core::secret::SecretFields;
use portcullis_core::violation::Violation;
use portcullis_egress::try_injection;
use portcullis_store::{
    ConnectorRecord, ConnectorSetting, CredentialFieldState, CredentialState, DiscoveredConfig,
    SecretPayload, StoreError, WorkspaceRecord, Writes,
};
use serde_json::{Map, Value};
use zeroize::Zeroize as _;

use super::health::{self, Saving};
use super::state::StoredConnection;
use super::{Connection, Subject};
use crate::caller::Caller;
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;
use crate::tenants::Tenant;

/// Attempts of a save beside others of the same connection.
const ATTEMPTS_MAX: u32 = 20;

/// What is saved.
#[derive(Clone)]
pub struct SaveConnection {
    /// False opts out.
    pub enabled: bool,
    /// Values of the form's fields, including secrets. If absent, the values saved before stay.
    pub config: Option<Map<String, Value>>,
    /// The authentication method; the connector's default if absent.
    pub auth_method: Option<String>,
}

/// Saves a credential, or opts out or in again.
///
/// # Errors
/// Those of [`Caller::authorise`], `connector_not_found`, `validation_failed` with every violation of the form.
pub async fn save(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    connector: &str,
    wish: SaveConnection,
) -> Result<Connection, Error> {
    let wish = Wish(wish);
    let SaveConnection { enabled, config, auth_method } = &wish.0;
    let mut attempts = 0;
    loop {
        let subject = Subject::find(engine, caller, tenant, connector).await?;
        check_method(&subject.loaded.connector, &wish.0)?;
        let writes = match config {
            None => toggled(engine, &subject, *enabled).await?,
            Some(config) => sealed(engine, &subject, *enabled, auth_method.clone(), config.clone()).await?,
        };
        attempts += 1;
        match engine.resources.commit(writes).await {
            Ok(_) => return subject.view(engine).await,
            // Somebody saved the same connection, or the connector was replaced or deleted: all is read again.
            Err(StoreError::Conflict { .. }) if attempts < ATTEMPTS_MAX => {
                // Why here: of another process's change this one may not have been told yet.
                engine.resources.cache.forget_connector(connector);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What is saved, until that is done: its texts are secrets, and each attempt has its own copy.
struct Wish(SaveConnection);

impl Drop for Wish {
    fn drop(&mut self) {
        for value in self.0.config.iter_mut().flat_map(Map::values_mut) {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
    }
}

fn check_method(connector: &Connector, wish: &SaveConnection) -> Result<(), Error> {
    let Some(id) = &wish.auth_method else { return Ok(()) };
    let methods = &connector.methods;
    if !methods.iter().any(|method| method.id == *id) {
        let known: Vec<&str> = methods.iter().map(|method| method.id.as_str()).collect();
        let message = format!("auth_method must be left out or one of [{}]", known.join(", "));
        return Err(Error::violation("/auth_method", "not_in_list", message));
    }
    if wish.config.is_none() {
        let message = "another auth_method needs its own config";
        return Err(Error::violation("/config", "missing_field", message));
    }
    Ok(())
}

/// The setting, under the conditions that its workspace exists and that neither it nor its connector changed since
/// they were read: a save beside another one never mixes the two, and nothing is saved for a connector that is gone.
fn writes(subject: &Subject, before: &StoredConnection, setting: &ConnectorSetting) -> Writes {
    let tenant = [subject.key.org.as_str(), subject.key.workspace.as_str()];
    let writes = Writes::new()
        .require_present::<WorkspaceRecord>(&tenant)
        .require_revision::<ConnectorRecord>(&[subject.key.connector.as_str()], subject.loaded.commit);
    match before.setting_commit {
        0 => writes.create(&subject.key.parts(), setting),
        commit => writes.replace(&subject.key.parts(), setting, commit),
    }
}

/// Opting out keeps what was saved; opting in again requires saved values, or a connector that needs none.
async fn toggled(engine: &Engine, subject: &Subject, enabled: bool) -> Result<Writes, Error> {
    let before = subject.stored(engine).await?;
    let connector = &subject.loaded.connector;
    let kept = before.setting.as_ref().map(|setting| setting.value.clone());
    let sealed = kept.as_ref().and_then(|value| value.encrypted_config.clone());
    if enabled && sealed.is_none() && connector.needs_configuration() {
        let required = connector.fields.iter().filter(|field| field.required);
        let violations = required.map(|field| {
            let pointer = format!("/config/{}", field.name);
            Violation::new(pointer, "missing_field", format!("{} is required", field.name))
        });
        return Err(Error::violations(Code::ValidationFailed, violations.collect()));
    }
    let auth_method = kept.and_then(|value| value.auth_method);
    let was_enabled = before.setting.as_ref().is_none_or(|setting| setting.value.enabled);
    let is_new = before.setting.is_none();
    let setting = ConnectorSetting::new(connector.id.clone(), enabled, sealed).under(auth_method);
    let writes = writes(subject, &before, &setting);
    // Why not of a new one: nothing was there that could be told of.
    if was_enabled == enabled || is_new {
        return Ok(writes);
    }
    let saving = if enabled { Saving::OptedIn } else { Saving::OptedOut };
    Ok(health::saved(&engine.resources, writes, &subject.key, None, saving).await?)
}

/// Seals a complete new set of values under a new data key. A token that was obtained with the earlier values
/// is no longer valid, and discovered values are discovered again.
async fn sealed(
    engine: &Engine,
    subject: &Subject,
    enabled: bool,
    auth_method: Option<String>,
    config: Map<String, Value>,
) -> Result<Writes, Error> {
    let resources = &engine.resources;
    let connector = subject.loaded.connector.under(auth_method.as_deref());
    let values = check_form(&connector.fields, config, resources.limits.secret_field_bytes)
        .map_err(|violations| Error::violations(Code::ValidationFailed, violations))?;
    let FormValues { secrets, config } = values;
    let before = subject.stored(engine).await?;
    let revision = before.credential.as_ref().map_or(1, |c| c.revision + 1);
    let credential_id = match &before.credential {
        Some(state) => state.credential_id.clone(),
        None => clock::fresh("cred", CredentialId::parse)?,
    };
    let now = clock::now();
    let fields: BTreeMap<String, CredentialFieldState> = secrets
        .iter()
        .map(|(name, _)| name)
        .chain(config.keys())
        .map(|name| (name.clone(), CredentialFieldState { updated_at: now.clone() }))
        .collect();
    let allowed_hosts: Vec<String> = connector.allowed_domains.iter().map(ToString::to_string).collect();
    let payload = SecretPayload { fields: SecretFields::new(secrets), allowed_hosts: allowed_hosts.clone() };
    try_out(connector, &payload.fields, &config)?;
    let binding = subject.key.binding(&credential_id, revision);
    let sealed = resources.vault.seal(&binding, &payload).await?;
    let setting = ConnectorSetting::new(connector.id.clone(), enabled, Some(sealed.text)).under(auth_method);
    let state = CredentialState {
        credential_id,
        revision,
        key_id: sealed.key_id,
        fields,
        config: config.into_iter().collect(),
        allowed_hosts,
        updated_at: now,
    };
    let parts = subject.key.parts();
    let writes = writes(subject, &before, &setting).put(&parts, &state).delete::<DiscoveredConfig>(&parts);
    let waits = connector.auth.token.as_ref().is_some_and(|plan| plan.obtain.is_empty());
    let saving = if enabled { Saving::Credential { waits } } else { Saving::OptedOut };
    let credential = Some((state.credential_id.clone(), revision));
    Ok(health::saved(resources, writes, &subject.key, credential, saving).await?)
}

/// A key that can never be sent should be reported to the person who pastes it.
fn try_out(connector: &Connector, fields: &SecretFields, config: &Map<String, Value>) -> Result<(), Error> {
    let mut injections = vec![];
    match &connector.auth.token {
        // Why not the placement: it places a token, which does not exist yet.
        Some(plan) => injections.extend(plan.obtain.first().map(|step| &step.injection)),
        None => injections.push(connector.auth.injection.as_ref()),
    }
    let refused = |error: InjectionError| Error::violation("/config", "not_injectable", error.to_string());
    for injection in injections {
        try_injection(injection, fields, config).map_err(refused)?;
    }
    // Beside a token there may be values that the form has.
    connector.auth.injection.check_known(fields, config).map_err(refused)
}
