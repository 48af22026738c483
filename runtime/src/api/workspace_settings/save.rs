//! Saving a credential: checked against its form, tried on a request that goes nowhere, sealed whole.

use std::collections::BTreeMap;

use portcullis_core::connector::Connector;
use portcullis_core::fault::Code;
use portcullis_core::form::{FormValues, check_form};
use portcullis_core::id::CredentialId;
use portcullis_core::secret::SecretFields;
use portcullis_core::violation::Violation;
use portcullis_egress::try_injection;
use portcullis_store::{
    ConnectorSetting, CredentialFieldState, CredentialState, DiscoveredConfig, SecretPayload,
    WorkspaceRecord, Writes,
};
use serde_json::{Map, Value};

use super::Target;
use crate::api::context::Ctx;
use crate::clock;
use crate::problem::Problem;

/// Opting out keeps what was saved; opting in again needs something saved, or nothing to save.
pub(super) async fn toggle(ctx: &Ctx, target: &Target, enabled: bool) -> Result<(), Problem> {
    let before = target.connection(ctx).await?;
    let connector = &target.loaded.connector;
    let kept = before.setting.map(|s| s.value.clone());
    let sealed = kept.as_ref().and_then(|v| v.encrypted_config.clone());
    if enabled && sealed.is_none() && connector.needs_configuration() {
        let breaches = connector
            .fields
            .iter()
            .filter(|f| f.required)
            .map(|f| {
                Violation::new(
                    format!("/config/{}", f.name),
                    "missing_field",
                    format!("{} is required", f.name),
                )
            })
            .collect();
        return Err(Problem::breaches(Code::ValidationFailed, breaches));
    }
    let auth_method = kept.and_then(|v| v.auth_method);
    let setting = ConnectorSetting::new(connector.id.clone(), enabled, sealed).under(auth_method);
    let tenant = [target.place.org.as_str(), target.place.workspace.as_str()];
    let writes = Writes::new().require_present::<WorkspaceRecord>(&tenant).put(&target.parts(), &setting);
    ctx.app.records.commit(writes).await?;
    Ok(())
}

/// Seals a whole new set of values under a fresh data key. A token that was got with the values before
/// is worth nothing any more, and what was discovered is discovered anew.
pub(super) async fn save(
    ctx: &Ctx,
    target: &Target,
    enabled: bool,
    auth_method: Option<String>,
    config: Map<String, Value>,
) -> Result<(), Problem> {
    let connector = target.loaded.connector.under(auth_method.as_deref());
    let values = check_form(&connector.fields, config, ctx.app.limits.secret_field_bytes)
        .map_err(|breaches| Problem::breaches(Code::ValidationFailed, breaches))?;
    let FormValues { secrets, config } = values;
    let before = target.connection(ctx).await?;
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
    let binding = target.place.binding(&credential_id, revision);
    let sealed = ctx.app.vault.seal(&binding, &payload).await?;
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
    let tenant = [target.place.org.as_str(), target.place.workspace.as_str()];
    let parts = target.parts();
    let writes = Writes::new()
        .require_present::<WorkspaceRecord>(&tenant)
        .put(&parts, &setting)
        .put(&parts, &state)
        .delete::<DiscoveredConfig>(&parts);
    ctx.app.records.commit(writes).await?;
    Ok(())
}

/// A key that can never be sent should be said to the person who pastes it.
fn try_out(connector: &Connector, fields: &SecretFields, config: &Map<String, Value>) -> Result<(), Problem> {
    let mut injections = vec![];
    match &connector.auth.token {
        // Why not the placement: what it places is a token, which is not here yet.
        Some(plan) => injections.extend(plan.obtain.first().map(|step| &step.injection)),
        None => injections.push(connector.auth.injection.as_ref()),
    }
    for injection in injections {
        try_injection(injection, fields, config).map_err(|e| {
            let breach = Violation::new("/config", "not_injectable", e.to_string());
            Problem::breaches(Code::ValidationFailed, vec![breach])
        })?;
    }
    Ok(())
}
