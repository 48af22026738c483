//! `/workspace/{org}/{ws}/settings/connector`: credentials go in, and never come out.

use std::collections::BTreeMap;

use axum::body::Body;
use http::Response;
use portcullis_core::connector::Connector;
use portcullis_core::definition::FieldType;
use portcullis_core::fault::Code;
use portcullis_core::id::{ConnectorId, CredentialId, OrgId, WorkspaceId};
use portcullis_core::input::{Field, FormValues, check_form};
use portcullis_core::problem::Problem as Breach;
use portcullis_core::secret::SecretFields;
use portcullis_store::{
    Binding, ConnectorRecord, ConnectorSetting, CredentialFieldState, CredentialState, SecretPayload,
    WorkspaceRecord, Writes,
};
use serde_json::{Map, Value, json};

use super::context::{Ctx, list, no_content, ok};
use crate::clock;
use crate::credential::{Connection, ConnectionState};
use crate::directory::LoadedConnector;
use crate::problem::Problem;

struct Place {
    org: OrgId,
    workspace: WorkspaceId,
    loaded: std::sync::Arc<LoadedConnector>,
}

impl Place {
    async fn find(ctx: &Ctx) -> Result<Self, Problem> {
        let (org, workspace) = ctx.tenant().await?;
        let missing = || Problem::plain(Code::ConnectorNotFound);
        let id = ConnectorId::parse(ctx.param("id")).map_err(|_| missing())?;
        let loaded = ctx.app.directory.connector(id.as_str()).await?.ok_or_else(missing)?;
        Ok(Self { org, workspace, loaded })
    }

    fn parts(&self) -> [&str; 3] {
        [self.org.as_str(), self.workspace.as_str(), self.loaded.connector.id.as_str()]
    }

    async fn connection(&self, ctx: &Ctx) -> Result<Connection, Problem> {
        Connection::load(&ctx.app.records, &self.org, &self.workspace, &self.loaded.connector.id).await
    }
}

/// The settings record without its ciphertext, and which fields are set.
fn document(connector: &Connector, connection: &Connection) -> Value {
    let saved = connection.credential.as_ref();
    let fields: Map<String, Value> = connector
        .fields
        .iter()
        .map(|field| {
            let set = saved.and_then(|c| c.fields.get(&field.name));
            let state = match set {
                Some(at) => json!({ "set": true, "updated_at": at.updated_at }),
                None => json!({ "set": false }),
            };
            (field.name.clone(), state)
        })
        .collect();
    let enabled = connection.setting.as_ref().is_none_or(|s| s.value.enabled);
    json!({
        "group": "connector", "name": connector.id, "value": { "enabled": enabled },
        "state": connection.state(connector).as_str(), "fields": fields,
    })
}

fn form(fields: &[Field]) -> Vec<Value> {
    fields
        .iter()
        .map(|field| {
            let kind = match field.kind {
                FieldType::Text => "text",
                FieldType::Password => "password",
                FieldType::Textarea => "textarea",
                FieldType::Number => "number",
                FieldType::Boolean => "boolean",
                FieldType::Select => "select",
                FieldType::Url => "url",
                FieldType::Email => "email",
            };
            let options: Option<Vec<Value>> = field
                .accepted
                .as_ref()
                .map(|all| all.iter().map(|o| json!({ "value": o.value, "label": o.label })).collect());
            json!({
                "name": field.name, "label": field.label, "type": kind, "required": field.required,
                "secret": field.secret, "default": field.default, "enum": options,
                "placeholder": field.placeholder, "help": field.help,
            })
        })
        .collect()
}

/// Every connector, with the workspace's state and the form.
pub(super) async fn index(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let (org, workspace) = ctx.tenant().await?;
    let (limit, after) = ctx.page()?;
    let page = ctx.app.records.list::<ConnectorRecord>(&[], after, limit + 1).await?;
    let mut entries = Vec::new();
    for (id, _, _) in &page {
        let Some(loaded) = ctx.app.directory.connector(id).await? else {
            continue;
        };
        let connector = &loaded.connector;
        let connection = Connection::load(&ctx.app.records, &org, &workspace, &connector.id).await?;
        entries.push(json!({
            "connector_id": connector.id, "display_name": connector.display_name,
            "enabled": connector.enabled, "state": connection.state(connector).as_str(),
            "form": form(&connector.fields),
        }));
    }
    Ok(list(entries, limit))
}

/// Which fields are set and when.
pub(super) async fn show(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let place = Place::find(&ctx).await?;
    let connection = place.connection(&ctx).await?;
    Ok(ok(&document(&place.loaded.connector, &connection)))
}

/// Saves credentials, or opts out.
pub(super) async fn replace(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let place = Place::find(&ctx).await?;
    let mut body = ctx.object(&["enabled", "config"])?;
    let Some(enabled) = body.get("enabled").map_or(Some(true), Value::as_bool) else {
        let breach = Breach::new("/enabled", "wrong_type", "enabled must be true or false");
        return Err(Problem::breaches(Code::ValidationFailed, vec![breach]));
    };
    let config = match body.shift_remove("config") {
        None => None,
        Some(Value::Object(config)) => Some(config),
        Some(_) => {
            let breach =
                Breach::new("/config", "wrong_type", "config must be an object of the form's fields");
            return Err(Problem::breaches(Code::ValidationFailed, vec![breach]));
        }
    };
    match config {
        Some(config) => save(&ctx, &place, enabled, config).await?,
        None => toggle(&ctx, &place, enabled).await?,
    }
    changed(&ctx, &place, !enabled);
    let connection = place.connection(&ctx).await?;
    Ok(ok(&document(&place.loaded.connector, &connection)))
}

/// Closes idle connections of the old credential; opting out ends running calls too.
fn changed(ctx: &Ctx, place: &Place, ends_calls: bool) {
    let (org, workspace, connector) =
        (place.org.as_str(), place.workspace.as_str(), place.loaded.connector.id.as_str());
    let scope = format!("{org}/{workspace}");
    ctx.app.gate.drop_connections(|s| s.workspace == scope && s.connector == connector);
    if ends_calls {
        ctx.app.running.end_where(|call| {
            let same = call.org == org && call.workspace == workspace && call.connector == connector;
            same.then_some(Code::CallEnded)
        });
    }
}

/// Opting out keeps what was saved; opting in again needs something saved, or nothing to save.
async fn toggle(ctx: &Ctx, place: &Place, enabled: bool) -> Result<(), Problem> {
    let before = place.connection(ctx).await?;
    let sealed = before.setting.as_ref().and_then(|s| s.value.encrypted_config.clone());
    let connector = &place.loaded.connector;
    if enabled && sealed.is_none() && connector.needs_configuration() {
        let breaches = connector
            .fields
            .iter()
            .filter(|f| f.required)
            .map(|f| {
                Breach::new(format!("/config/{}", f.name), "missing_field", format!("{} is required", f.name))
            })
            .collect();
        return Err(Problem::breaches(Code::ValidationFailed, breaches));
    }
    let setting = ConnectorSetting::new(connector.id.clone(), enabled, sealed);
    let parts = [place.org.as_str(), place.workspace.as_str()];
    let writes = Writes::new().require_present::<WorkspaceRecord>(&parts).put(&place.parts(), &setting);
    ctx.app.records.commit(writes).await?;
    Ok(())
}

/// Seals a whole new set of values under a fresh data key.
async fn save(ctx: &Ctx, place: &Place, enabled: bool, config: Map<String, Value>) -> Result<(), Problem> {
    let connector = &place.loaded.connector;
    let values = check_form(&connector.fields, config, ctx.app.limits.secret_field_bytes)
        .map_err(|breaches| Problem::breaches(Code::ValidationFailed, breaches))?;
    let FormValues { secrets, config } = values;
    let before = place.connection(ctx).await?;
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
    let binding = Binding {
        org: place.org.clone(),
        workspace: place.workspace.clone(),
        connector: connector.id.clone(),
        credential: credential_id.clone(),
        revision,
    };
    let allowed_hosts: Vec<String> = connector.allowed_domains.iter().map(ToString::to_string).collect();
    let payload = SecretPayload { fields: SecretFields::new(secrets), allowed_hosts: allowed_hosts.clone() };
    // Why now: a key that can never be sent should be said to the person who pastes it.
    connector.injection.apply(&payload.fields, &config).map_err(|e| {
        Problem::breaches(
            Code::ValidationFailed,
            vec![Breach::new("/config", "not_injectable", e.to_string())],
        )
    })?;
    let sealed = ctx.app.vault.seal(&binding, &payload).await?;
    let setting = ConnectorSetting::new(connector.id.clone(), enabled, Some(sealed.text));
    let state = CredentialState {
        credential_id,
        revision,
        key_id: sealed.key_id,
        fields,
        config: config.into_iter().collect(),
        allowed_hosts,
        updated_at: now,
    };
    let tenant = [place.org.as_str(), place.workspace.as_str()];
    let writes = Writes::new()
        .require_present::<WorkspaceRecord>(&tenant)
        .put(&place.parts(), &setting)
        .put(&place.parts(), &state);
    ctx.app.records.commit(writes).await?;
    Ok(())
}

/// Forgets the connection.
pub(super) async fn remove(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let place = Place::find(&ctx).await?;
    let connection = place.connection(&ctx).await?;
    if connection.state(&place.loaded.connector) == ConnectionState::Unconfigured
        && connection.setting.is_none()
    {
        return Ok(no_content());
    }
    let writes =
        Writes::new().delete::<ConnectorSetting>(&place.parts()).delete::<CredentialState>(&place.parts());
    ctx.app.records.commit(writes).await?;
    changed(&ctx, &place, true);
    Ok(no_content())
}
