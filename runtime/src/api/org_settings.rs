//! `/org/{org}/…`: what an org admin may pick, and where the org's calls may go.

use axum::body::Body;
use http::Response;
use portcullis_core::connector::{Action, Connector};
use portcullis_core::fault::Code;
use portcullis_core::host_pattern;
use portcullis_core::input::type_name;
use portcullis_core::verdict::{AllowlistMode as Mode, OrgPolicy};
use portcullis_core::violation::Violation;
use portcullis_store::{AllowlistMode, ConnectorRecord, IntegrationSettings, Writes};
use serde_json::{Value, json};

use super::context::{Ctx, list, ok, with};
use crate::clock;
use crate::directory::policy;
use crate::problem::Problem;

/// Enabled connectors with their actions and inputs; nothing about authentication.
pub(super) async fn pickable(ctx: Ctx) -> Result<Response<Body>, Problem> {
    ctx.org().await?;
    let (limit, after) = ctx.page()?;
    let mut entries = Vec::new();
    let mut after = after.map(str::to_owned);
    while entries.len() <= limit {
        let page = ctx.app.records.list::<ConnectorRecord>(&[], after.as_deref(), 100).await?;
        let Some((last, _, _)) = page.last() else {
            break;
        };
        after = Some(last.clone());
        for (id, record, _) in page.iter().filter(|(_, record, _)| record.enabled) {
            let loaded = ctx.app.directory.connector(id).await?;
            if let Some(loaded) = loaded.filter(|loaded| loaded.is_visible()) {
                entries.push(picked(&loaded.connector, record.revision));
            }
        }
    }
    Ok(list(entries, limit))
}

fn picked(connector: &Connector, revision: u64) -> Value {
    let offered = connector.actions.iter().filter(|action| !action.hidden);
    let actions: Vec<Value> = offered.map(action).collect();
    json!({
        "connector_id": connector.id, "display_name": connector.display_name,
        "description": connector.description, "docs_url": connector.docs_url,
        "deprecated": connector.deprecated, "version": connector.version,
        "revision": revision, "actions": actions,
    })
}

fn action(action: &Action) -> Value {
    let inputs: Vec<Value> = action
        .inputs
        .iter()
        .map(|input| {
            json!({
                "name": input.name, "label": input.label, "type": type_name(input.kind),
                "required": input.required, "default": input.default, "enum": input.accepted, "help": input.help,
                "min": input.min, "max": input.max, "min_length": input.min_length,
                "max_length": input.max_length, "pattern": input.pattern.as_ref().map(|p| p.as_str()),
                "example": input.example,
            })
        })
        .collect();
    let outputs: Vec<Value> = action
        .outputs
        .iter()
        .map(|output| {
            json!({
                "name": output.name, "label": output.label, "type": type_name(output.r#type), "path": output.path,
            })
        })
        .collect();
    json!({
        "action_id": action.id, "name": action.name, "description": action.description,
        "docs_url": action.docs_url, "deprecated": action.deprecated, "effect": action.effect.as_str(),
        "http_method": action.method, "inputs": inputs, "outputs": outputs,
        "requires_scopes": action.requires_scopes,
    })
}

fn document(settings: Option<&IntegrationSettings>) -> Value {
    match settings {
        None => json!({ "domain_allowlist": null, "mode": "enforce" }),
        Some(s) => {
            json!({ "domain_allowlist": s.domain_allowlist, "mode": s.mode, "updated_at": s.updated_at })
        }
    }
}

/// Reads the org's allowlist.
pub(super) async fn show(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let org = ctx.org().await?;
    let found = ctx.app.records.get::<IntegrationSettings>(&[org.as_str()]).await?;
    Ok(ok(&document(found.as_ref().map(|(s, _)| s))))
}

/// Sets the org's allowlist: `null` for no restriction, `[]` for nothing at all.
pub(super) async fn replace(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let org = ctx.org().await?;
    let body = ctx.object(&["domain_allowlist", "mode"])?;
    let mut breaches = Vec::new();
    let domain_allowlist =
        allowlist(body.get("domain_allowlist"), ctx.app.limits.org_allowlist, &mut breaches);
    let mode = match body.get("mode").map(|m| m.as_str()) {
        None | Some(Some("enforce")) => AllowlistMode::Enforce,
        Some(Some("report")) => AllowlistMode::Report,
        Some(_) => {
            breaches.push(Violation::new("/mode", "not_in_list", "mode must be report or enforce"));
            AllowlistMode::Enforce
        }
    };
    if !breaches.is_empty() {
        return Err(Problem::breaches(Code::ValidationFailed, breaches));
    }
    let settings = IntegrationSettings { domain_allowlist, mode, updated_at: clock::now() };
    ctx.app.records.commit(Writes::new().put(&[org.as_str()], &settings)).await?;
    ctx.app.directory.forget();
    end_calls(&ctx, org.as_str(), &settings);
    let prefix = format!("{org}/");
    ctx.app.gate.drop_connections(|scope| scope.workspace.starts_with(&prefix));
    let warnings = host_pattern::shared_hosting_warnings(
        "/domain_allowlist",
        settings.domain_allowlist.iter().flatten(),
    );
    Ok(ok(&with(document(Some(&settings)), "warnings", json!(warnings))))
}

/// Ends running calls to hosts that the new list does not allow. A call whose host is not known is
/// ended as well: fail closed.
fn end_calls(ctx: &Ctx, org: &str, settings: &IntegrationSettings) {
    let OrgPolicy::List { patterns, mode: Mode::Enforce } = policy(settings) else { return };
    ctx.app.running.end_where(|call| {
        let allowed = call.host.as_ref().is_some_and(|host| patterns.iter().any(|p| p.matches(host)));
        (call.org == org && !allowed).then_some(Code::HostNotInOrg)
    });
}

fn allowlist(value: Option<&Value>, limit: u64, breaches: &mut Vec<Violation>) -> Option<Vec<String>> {
    const AT: &str = "/domain_allowlist";
    let items = match value {
        None => {
            let message =
                "domain_allowlist is required: null for no restriction, [] for nothing, or a list of hosts";
            breaches.push(Violation::new(AT, "missing_field", message));
            return None;
        }
        Some(Value::Null) => return None,
        Some(Value::Array(items)) => items,
        Some(_) => {
            breaches.push(Violation::new(
                AT,
                "wrong_type",
                "domain_allowlist must be null or a list of hosts",
            ));
            return None;
        }
    };
    if items.len() as u64 > limit {
        breaches.push(Violation::new(
            AT,
            "too_many",
            format!("has {} entries, the limit is {limit}", items.len()),
        ));
    }
    for (index, item) in items.iter().enumerate().filter(|(_, item)| !item.is_string()) {
        let message = format!("an entry must be a string, is {item}");
        breaches.push(Violation::new(format!("{AT}/{index}"), "wrong_type", message));
    }
    let texts: Vec<&str> =
        items.iter().map(|item| item.as_str().unwrap_or("placeholder.example.com")).collect();
    // Why ignored: the texts are kept as written; parsing only finds the breaches.
    let _ = host_pattern::parse_list(AT, texts.iter().copied(), breaches);
    Some(texts.into_iter().map(str::to_owned).collect())
}
