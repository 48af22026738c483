//! `/workspace/{org}/{ws}/settings/connector`: credentials go in, and never come out.

use axum::body::Body;
use http::Response;
use portcullis_core::connector::Connector;
use portcullis_core::fault::Code;
use portcullis_core::form::Field;
use portcullis_core::id::ConnectorId;
use portcullis_core::violation::Violation;
use portcullis_store::{
    ConnectorRecord, ConnectorSetting, CredentialState, DiscoveredConfig, TokenState, Writes,
};
use serde_json::{Map, Value, json};

use super::context::{Ctx, list, no_content, ok};
use crate::connected::Connected;
use crate::credential::{Connection, ConnectionState, Place};
use crate::directory::LoadedConnector;
use crate::problem::Problem;
use crate::tokens;

mod save;
mod trial;

pub(super) use trial::trial;

/// A connector that exists, and the workspace whose setting of it is meant.
pub(super) struct Target {
    pub(super) place: Place,
    pub(super) loaded: std::sync::Arc<LoadedConnector>,
}

impl Target {
    pub(super) async fn find(ctx: &Ctx) -> Result<Self, Problem> {
        let (org, workspace) = ctx.tenant().await?;
        let missing = || Problem::plain(Code::ConnectorNotFound);
        let connector = ConnectorId::parse(ctx.param("id")).map_err(|_| missing())?;
        let loaded = ctx.app.directory.connector(connector.as_str()).await?;
        let loaded = loaded.filter(|loaded| loaded.is_visible()).ok_or_else(missing)?;
        Ok(Self { place: Place { org, workspace, connector }, loaded })
    }

    async fn connection(&self, ctx: &Ctx) -> Result<Connection, Problem> {
        Connection::load(&ctx.app.records, &self.place, &self.loaded.connector).await
    }

    fn parts(&self) -> [&str; 3] {
        self.place.parts()
    }
}

/// The settings record without its ciphertext, which fields are set, and what is wrong.
pub(super) fn document(connector: &Connector, connection: &Connection) -> Value {
    let chosen = connection.chosen(connector);
    let saved = connection.credential.as_ref();
    let fields: Map<String, Value> = chosen
        .fields
        .iter()
        .map(|field| {
            let set = saved.and_then(|c| c.fields.get(&field.name));
            let discovered = connection.discovered.config.contains_key(&field.name);
            let state = match set {
                Some(at) => json!({ "set": true, "updated_at": at.updated_at }),
                None => json!({ "set": discovered }),
            };
            (field.name.clone(), state)
        })
        .collect();
    let value = connection.setting.as_ref().map(|s| &s.value);
    let state = connection.state(connector);
    let mut document = Map::new();
    document.insert("group".into(), json!("connector"));
    document.insert("name".into(), json!(connector.id));
    document.insert("value".into(), json!({ "enabled": value.is_none_or(|v| v.enabled) }));
    document.insert("state".into(), json!(state.as_str()));
    document.insert("fields".into(), json!(fields));
    if let Some(method) = value.and_then(|v| v.auth_method.as_ref()) {
        document.insert("auth_method".into(), json!(method));
    }
    if state == ConnectionState::NeedsAttention {
        let reason = connection.attention(chosen);
        let outgrown = || "a host was allowed after it was saved; save it again".to_owned();
        document.insert("reason".into(), json!(reason.unwrap_or_else(outgrown)));
    }
    if let Some(token) = connection.current_token() {
        let token = json!({
            "obtained_at": token.obtained_at, "expires_at": token.expires_at, "failure": token.failure,
        });
        document.insert("token".into(), token);
    }
    Value::Object(document)
}

/// A form as a person's browser draws it.
fn form(fields: &[Field]) -> Vec<Value> {
    let mut ordered: Vec<&Field> = fields.iter().collect();
    // Why stable: fields without an order keep theirs.
    ordered.sort_by_key(|field| field.order.unwrap_or_default());
    ordered
        .into_iter()
        .map(|field| {
            let options: Option<Vec<Value>> = field
                .accepted
                .as_ref()
                .map(|all| all.iter().map(|o| json!({ "value": o.value, "label": o.label })).collect());
            let visible =
                field.visible_when.as_ref().map(|when| json!({ "field": when.field, "in": when.accepted }));
            json!({
                "name": field.name, "label": field.label, "type": field.kind.as_str(),
                "required": field.required, "secret": field.secret, "default": field.default,
                "enum": options, "placeholder": field.placeholder, "help": field.help,
                "help_url": field.help_url, "group": field.group, "prefix": field.prefix,
                "suffix": field.suffix, "pattern": field.pattern.as_ref().map(|p| p.as_str()),
                "min_length": field.min_length, "max_length": field.max_length,
                "visible_when": visible,
                "automated": field.automated || field.computed.is_some(),
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
        let Some(loaded) = ctx.app.directory.connector(id).await?.filter(|l| l.is_visible()) else {
            continue;
        };
        let connector = &loaded.connector;
        let place = Place { org: org.clone(), workspace: workspace.clone(), connector: connector.id.clone() };
        let connection = Connection::load(&ctx.app.records, &place, connector).await?;
        let methods: Vec<Value> = connector
            .methods
            .iter()
            .map(|m| {
                let form = form(&m.connector.fields);
                json!({ "id": m.id, "label": m.label, "recommended": m.recommended, "form": form })
            })
            .collect();
        entries.push(json!({
            "connector_id": connector.id, "display_name": connector.display_name,
            "enabled": connector.enabled, "deprecated": connector.deprecated,
            "state": connection.state(connector).as_str(),
            "form": form(&connector.fields), "auth_methods": methods,
        }));
    }
    Ok(list(entries, limit))
}

/// Which fields are set and when.
pub(super) async fn show(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let target = Target::find(&ctx).await?;
    let connection = target.connection(&ctx).await?;
    Ok(ok(&document(&target.loaded.connector, &connection)))
}

/// Saves credentials, or opts out.
pub(super) async fn replace(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let target = Target::find(&ctx).await?;
    let mut body = ctx.object(&["enabled", "config", "auth_method"])?;
    let refuse = |pointer: &str, code, message: &str| {
        Problem::breaches(Code::ValidationFailed, vec![Violation::new(pointer, code, message)])
    };
    let Some(enabled) = body.get("enabled").map_or(Some(true), Value::as_bool) else {
        return Err(refuse("/enabled", "wrong_type", "enabled must be true or false"));
    };
    let method = match body.shift_remove("auth_method") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) if target.loaded.connector.methods.iter().any(|m| m.id == id) => Some(id),
        Some(_) => {
            let known: Vec<&str> = target.loaded.connector.methods.iter().map(|m| m.id.as_str()).collect();
            let message = format!("auth_method must be left out or one of [{}]", known.join(", "));
            return Err(refuse("/auth_method", "not_in_list", &message));
        }
    };
    match body.shift_remove("config") {
        None if method.is_some() => {
            return Err(refuse("/config", "missing_field", "another auth_method needs its own config"));
        }
        None => save::toggle(&ctx, &target, enabled).await?,
        Some(Value::Object(config)) => save::save(&ctx, &target, enabled, method, config).await?,
        Some(_) => {
            return Err(refuse("/config", "wrong_type", "config must be an object of the form's fields"));
        }
    }
    changed(&ctx, &target.place, !enabled);
    let connection = target.connection(&ctx).await?;
    Ok(ok(&document(&target.loaded.connector, &connection)))
}

/// Closes idle connections of the old credential; opting out ends running calls too.
fn changed(ctx: &Ctx, place: &Place, ends_calls: bool) {
    let [org, workspace, connector] = place.parts();
    let scope = format!("{org}/{workspace}");
    ctx.app.gate.drop_connections(|s| s.workspace == scope && s.connector == connector);
    if ends_calls {
        ctx.app.running.end_where(|call| {
            let same = call.org == org && call.workspace == workspace && call.connector == connector;
            same.then_some(Code::CallEnded)
        });
    }
}

/// Forgets the connection.
pub(super) async fn remove(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let target = Target::find(&ctx).await?;
    let connected =
        Connected::load(&ctx.app, target.place.clone(), std::sync::Arc::clone(&target.loaded)).await?;
    if connected.connection.setting.is_none() {
        return Ok(no_content());
    }
    tokens::revoke(&ctx.app, &connected).await;
    let parts = target.parts();
    let writes = Writes::new()
        .delete::<ConnectorSetting>(&parts)
        .delete::<CredentialState>(&parts)
        .delete::<TokenState>(&parts)
        .delete::<DiscoveredConfig>(&parts);
    ctx.app.records.commit(writes).await?;
    changed(&ctx, &target.place, true);
    Ok(no_content())
}
