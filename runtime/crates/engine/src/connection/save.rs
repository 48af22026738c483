//! Saves a connection: checks the form, tries the credential on a request that is not sent, seals it; or opts out.

use portcullis_core::connector::{Connector, DEFAULT_METHOD};
use portcullis_core::fault::Code;
use portcullis_core::form::{self, Field, check_form};
use portcullis_core::injection::InjectionError;
use portcullis_core::offload;
use portcullis_core::secret::SecretFields;
use portcullis_core::violation::Violation;
use portcullis_egress::try_injection;
use portcullis_store::{ConnectorRecord, ConnectorSetting, StoreError, WorkspaceRecord, Writes};
use serde_json::{Map, Value};
use zeroize::Zeroize as _;

use super::health::{self, Saving};
use super::left_out::checked_left_out;
use super::sealing::Sealing;
use super::state::StoredConnection;
use super::{AskedConnection, Connection, Subject, asked_fields, checked_names, named};
use crate::caller::Caller;
use crate::engine::Engine;
use crate::error::Error;
use crate::tenants::Tenant;

/// Attempts of a save beside others of the same connection.
const ATTEMPTS_MAX: u32 = 20;

/// What is saved.
#[derive(Default)]
pub struct SaveConnection {
    /// False opts out.
    pub enabled: bool,
    /// Values of the form's fields, including secrets. If absent, the values saved before stay.
    pub config: Option<Map<String, Value>>,
    /// The authentication method; the connector's default if absent.
    pub auth_method: Option<String>,
    /// What people call a named connection. If absent, it stays as it is; not for the default one.
    pub label: Option<String>,
    /// The revision that is replaced; any if absent.
    pub expected: Option<u64>,
}

/// Saves a credential, or opts out or in again. A named connection exists from then on.
///
/// # Errors
/// Those of [`Caller::authorise`], `connector_not_found`, `revision_mismatch`, `validation_failed` with every violation
/// of the form, for a text that is no name, and for one named connection too many.
pub async fn save<'a>(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    asked: impl Into<AskedConnection<'a>>,
    wish: SaveConnection,
) -> Result<Connection, Error> {
    let SaveConnection { enabled, config, auth_method, label, expected } = wish;
    let (asked, label) = (asked.into(), label.as_deref());
    let config = config.map(GivenConfig);
    let method = auth_method.clone().filter(|id| id != DEFAULT_METHOD);
    let mut attempts = Attempts::default();
    loop {
        let found = Subject::find(engine, caller, tenant, asked).await;
        let subject = found.map_err(|error| unnamed(asked, error))?;
        let before = subject.stored(engine).await?;
        before.require_revision(expected)?;
        check_method(&subject.loaded.connector, auth_method.as_deref(), config.is_some())?;
        if subject.key.name.is_some() && before.setting.is_none() {
            named::has_room(engine, &subject.key).await?;
        }
        let writes = match &config {
            None => toggled(engine, &subject, &before, enabled, label).await?,
            Some(config) => {
                let fresh = Sealing::fresh(&subject, &before, enabled);
                sealed_anew(engine, Sealing { label, auth_method: method.clone(), ..fresh }, config.copy())
                    .await?
            }
        };
        if attempts.commit(engine, asked.connector, writes).await? {
            return subject.view(engine).await;
        }
    }
}

/// Says what a name must be, where the caller makes one.
fn unnamed(asked: AskedConnection<'_>, error: Error) -> Error {
    checked_names(asked.name, "/connection").err().filter(|_| error.code == Code::NotFound).unwrap_or(error)
}

/// The attempts of a save beside others of the same connection.
#[derive(Default)]
pub(super) struct Attempts(u32);

impl Attempts {
    /// Commits a save. False if somebody saved the same connection, or the connector was replaced or deleted: all is to
    /// be read again.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn commit(
        &mut self,
        engine: &Engine,
        connector: &str,
        writes: Writes,
    ) -> Result<bool, Error> {
        self.0 += 1;
        match engine.resources.commit(writes).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict { .. }) if self.0 < ATTEMPTS_MAX => {
                // Why here: of another process's change this one may not have been told yet.
                engine.resources.cache.forget_connector(connector);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What a form was filled in with, until it is saved: its texts are secrets, and each attempt has its own copy.
pub(super) struct GivenConfig(pub(super) Map<String, Value>);

impl GivenConfig {
    /// A copy for one attempt; reading it as a form wipes its texts.
    pub(super) fn copy(&self) -> Map<String, Value> {
        self.0.clone()
    }
}

impl Drop for GivenConfig {
    fn drop(&mut self) {
        for value in self.0.values_mut() {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
    }
}

/// Checks that there is this authentication method, and that its form is there too.
pub(super) fn check_method(
    connector: &Connector,
    method: Option<&str>,
    has_config: bool,
) -> Result<(), Error> {
    let Some(id) = method else { return Ok(()) };
    if id != DEFAULT_METHOD && !connector.has_method(id) {
        let known: Vec<&str> = connector.methods.iter().map(|method| method.id.as_str()).collect();
        let message = format!("auth_method must be left out or one of [{}]", known.join(", "));
        return Err(Error::violation("/auth_method", "not_in_list", message));
    }
    if !has_config {
        let message = "another auth_method needs its own config";
        return Err(Error::violation("/config", "missing_field", message));
    }
    Ok(())
}

/// The setting, under the conditions that its workspace exists and that neither it nor its connector changed since
/// they were read: a save beside another one never mixes the two, and nothing is saved for a connector that is gone.
/// A named connection gets its name, and this label or the one that it has.
pub(super) fn writes(
    subject: &Subject,
    before: &StoredConnection,
    setting: ConnectorSetting,
    label: Option<&str>,
) -> Writes {
    let kept = || before.setting.as_ref().and_then(|setting| setting.label.clone());
    let label = label.map(str::to_owned).or_else(kept).filter(|_| subject.key.name.is_some());
    let setting = setting.named(subject.key.name.clone(), label);
    let tenant = [subject.key.org.as_str(), subject.key.workspace.as_str()];
    let writes = Writes::new()
        .require_present::<WorkspaceRecord>(&tenant)
        .require_revision::<ConnectorRecord>(&[subject.key.connector.as_str()], subject.loaded.commit);
    match before.setting_commit {
        0 => writes.create(&subject.key.parts(), &setting),
        commit => writes.replace(&subject.key.parts(), &setting, commit),
    }
}

/// Opting out keeps what was saved; opting in again requires saved values, or a connector that needs none.
pub(super) async fn toggled(
    engine: &Engine,
    subject: &Subject,
    before: &StoredConnection,
    enabled: bool,
    label: Option<&str>,
) -> Result<Writes, Error> {
    let connector = &subject.loaded.connector;
    let kept = before.setting.as_ref().map(|setting| setting.value.clone());
    let sealed = kept.as_ref().and_then(|value| value.encrypted_config.clone());
    if enabled && sealed.is_none() && connector.needs_configuration() {
        let left_out = subject.left_out_under(engine, None).await?;
        let required = asked_fields(connector, &left_out);
        let required: Vec<&Field> = required.iter().filter(|field| field.required).collect();
        // Why: a shared client has all that the form would ask for, so there is nothing to fill in.
        if !left_out.is_empty() && required.is_empty() {
            let sealing = Sealing { label, ..Sealing::fresh(subject, before, enabled) };
            return sealed_anew(engine, sealing, Map::new()).await;
        }
        let violations = required.iter().map(|field| {
            let pointer = format!("/config/{}", field.name);
            Violation::new(pointer, "missing_field", format!("{} is required", field.name))
        });
        return Err(Error::violations(Code::ValidationFailed, violations.collect()));
    }
    let auth_method = kept.and_then(|value| value.auth_method);
    let was_enabled = before.setting.as_ref().is_none_or(|setting| setting.value.enabled);
    let is_new = before.setting.is_none();
    let setting = ConnectorSetting::new(connector.id.clone(), enabled, sealed).under(auth_method);
    let writes = writes(subject, before, setting, label);
    // Why not of a new one: nothing was there that could be told of.
    if was_enabled == enabled || is_new {
        return Ok(writes);
    }
    let saving = if enabled { Saving::OptedIn } else { Saving::OptedOut };
    Ok(health::saved(&engine.resources, writes, &subject.key, None, saving).await?)
}

/// Seals a complete new set of values.
async fn sealed_anew(
    engine: &Engine,
    mut sealing: Sealing<'_>,
    config: Map<String, Value>,
) -> Result<Writes, Error> {
    let method = sealing.auth_method.as_deref();
    let connector = sealing.subject.loaded.connector.under(method);
    let left_out = sealing.subject.left_out_under(engine, method).await?;
    let config = checked_left_out(&left_out, GivenConfig(config))?;
    let fields = asked_fields(connector, &left_out);
    offload::over(form::effort(&fields, form::lengths(&config))).await;
    let values = check_form(&fields, config, engine.resources.limits.secret_field_bytes)
        .map_err(|violations| Error::violations(Code::ValidationFailed, violations))?;
    sealing.is_part = !left_out.is_empty();
    sealing.writes(engine, values).await
}

/// A key that can never be sent should be reported to the person who pastes it. `is_part` says that other values come
/// from a shared OAuth client.
pub(super) fn try_out(
    connector: &Connector,
    fields: &SecretFields,
    config: &Map<String, Value>,
    is_part: bool,
) -> Result<(), Error> {
    let mut injections = vec![];
    match &connector.auth.token {
        // Why not the placement: it places a token, which does not exist yet.
        Some(plan) => injections.extend(plan.obtain.first().map(|step| &step.injection)),
        None => injections.push(connector.auth.injection.as_ref()),
    }
    let refused = |error: InjectionError| Error::violation("/config", "not_injectable", error.to_string());
    for injection in injections {
        match is_part {
            true => injection.check_known(fields, config).map_err(refused)?,
            false => try_injection(injection, fields, config).map_err(refused)?,
        }
    }
    // Beside a token there may be values that the form has.
    connector.auth.injection.check_known(fields, config).map_err(refused)
}
