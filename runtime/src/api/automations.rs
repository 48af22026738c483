//! `/org/{org}/automation`: event bindings with their field mapping.

use axum::body::Body;
use http::Response;
use portcullis_action::mapping;
use portcullis_action::predicate::Predicate;
use portcullis_core::fault::Code;
use portcullis_core::id::{AutomationId, OrgId};
use portcullis_core::violation::{Violation, nearest, step};
use portcullis_store::{AutomationRecord, OrgRecord, Writes};
use serde_json::{Map, Value, json};

use super::context::{Ctx, created, list, no_content, ok, tagged};
use crate::clock;
use crate::problem::Problem;

const FIELDS: &[&str] = &[
    "entity_name",
    "event_name",
    "event_type",
    "event_stage",
    "event_optype",
    "enabled",
    "entry_conditions",
    "destination_config",
];
const DESTINATION: &[&str] = &["connector_id", "action_id", "field_mapping"];
/// Longest entity or event name, characters.
const NAME_CHARS_MAX: usize = 120;

fn document(record: &AutomationRecord) -> Value {
    let mut value = record.definition.clone();
    if let Some(map) = value.as_object_mut() {
        map.insert("automation_id".into(), json!(record.automation_id));
        map.insert("revision".into(), json!(record.revision));
        map.insert("created_at".into(), json!(record.created_at));
        map.insert("updated_at".into(), json!(record.updated_at));
    }
    value
}

async fn find(ctx: &Ctx, org: &OrgId) -> Result<(AutomationRecord, u64), Problem> {
    let missing = || Problem::plain(Code::AutomationNotFound);
    let id = AutomationId::parse(ctx.param("id")).map_err(|_| missing())?;
    ctx.app.records.get::<AutomationRecord>(&[org.as_str(), id.as_str()]).await?.ok_or_else(missing)
}

/// Checks a whole automation; every breach at once.
async fn checked(ctx: &Ctx) -> Result<Value, Problem> {
    let mut body = ctx.object(FIELDS)?;
    let mut breaches = Vec::new();
    for name in ["entity_name", "event_name"] {
        match body.get(name).map(Value::as_str) {
            Some(Some(text)) if !text.is_empty() && text.chars().count() <= NAME_CHARS_MAX => {}
            None => breaches.push(Violation::new(
                format!("/{name}"),
                "missing_field",
                format!("{name} is required"),
            )),
            Some(_) => {
                let message = format!("{name} must be a text of 1 to {NAME_CHARS_MAX} characters");
                breaches.push(Violation::new(format!("/{name}"), "wrong_type", message));
            }
        }
    }
    for (name, accepted) in [
        ("event_type", &["external.connector"][..]),
        ("event_stage", &["after"][..]),
        ("event_optype", &["create", "update", "delete"][..]),
    ] {
        let value = body.entry(name).or_insert_with(|| json!(accepted.first()));
        if !value.as_str().is_some_and(|v| accepted.contains(&v)) {
            let message = format!("{name} must be {}", accepted.join(" or "));
            breaches.push(Violation::new(format!("/{name}"), "not_in_list", message));
        }
    }
    if !body.entry("enabled").or_insert(Value::Bool(true)).is_boolean() {
        breaches.push(Violation::new("/enabled", "wrong_type", "enabled must be true or false"));
    }
    if let Some(conditions) = body.get("entry_conditions").filter(|c| !c.is_null())
        && let Err(why) = Predicate::parse(conditions)
    {
        breaches.push(Violation::new(
            format!("/entry_conditions{}", why.pointer),
            "condition_invalid",
            why.message,
        ));
    }
    check_destination(ctx, &body, &mut breaches).await?;
    if breaches.is_empty() {
        Ok(Value::Object(body))
    } else {
        Err(Problem::breaches(Code::ValidationFailed, breaches))
    }
}

async fn check_destination(
    ctx: &Ctx,
    body: &Map<String, Value>,
    breaches: &mut Vec<Violation>,
) -> Result<(), Problem> {
    const AT: &str = "/destination_config";
    let Some(Value::Object(config)) = body.get("destination_config") else {
        breaches.push(Violation::new(AT, "missing_field", "destination_config must be an object"));
        return Ok(());
    };
    for name in config.keys().filter(|n| !DESTINATION.contains(&n.as_str())) {
        breaches.push(Violation::new(
            format!("{AT}/{}", step(name)),
            "unknown_field",
            format!("unknown field {name:?}"),
        ));
    }
    let text = |name: &str| config.get(name).and_then(Value::as_str);
    let (Some(connector_id), Some(action_id)) = (text("connector_id"), text("action_id")) else {
        for name in ["connector_id", "action_id"].into_iter().filter(|n| text(n).is_none()) {
            breaches.push(Violation::new(
                format!("{AT}/{name}"),
                "missing_field",
                format!("{name} is required"),
            ));
        }
        return Ok(());
    };
    let empty = Map::new();
    let mapping = match config.get("field_mapping") {
        Some(Value::Object(mapping)) => mapping,
        _ => {
            breaches.push(Violation::new(
                format!("{AT}/field_mapping"),
                "wrong_type",
                "field_mapping must be an object",
            ));
            &empty
        }
    };
    for (name, why) in mapping::check(mapping) {
        breaches.push(Violation::new(format!("{AT}/field_mapping/{}", step(&name)), "template_invalid", why));
    }
    let loaded = ctx.app.directory.connector(connector_id).await?;
    let Some(loaded) = loaded.filter(|loaded| loaded.is_visible()) else {
        breaches.push(Violation::new(
            format!("{AT}/connector_id"),
            "connector_not_found",
            Code::ConnectorNotFound.title(),
        ));
        return Ok(());
    };
    let Some(action) = loaded.connector.action(action_id) else {
        breaches.push(Violation::new(
            format!("{AT}/action_id"),
            "action_not_found",
            Code::ActionNotFound.title(),
        ));
        return Ok(());
    };
    for name in mapping.keys().filter(|n| !action.inputs.iter().any(|i| i.name == **n)) {
        let near = nearest(name, action.inputs.iter().map(|i| i.name.as_str()));
        let hint = near.map_or_else(String::new, |n| format!("; did you mean {n:?}?"));
        let message = format!("the action has no input {name:?}{hint}");
        breaches.push(Violation::new(format!("{AT}/field_mapping/{}", step(name)), "unknown_input", message));
    }
    for input in
        action.inputs.iter().filter(|i| i.required && i.default.is_none() && !mapping.contains_key(&i.name))
    {
        let message = format!("the action requires {:?}", input.name);
        breaches.push(Violation::new(
            format!("{AT}/field_mapping/{}", step(&input.name)),
            "missing_input",
            message,
        ));
    }
    Ok(())
}

/// Creates an automation.
pub(super) async fn create(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let org = ctx.org().await?;
    let definition = checked(&ctx).await?;
    let now = clock::now();
    let record = AutomationRecord {
        automation_id: clock::fresh("auto", AutomationId::parse)?,
        org: org.clone(),
        definition,
        revision: 1,
        created_at: now.clone(),
        updated_at: now,
    };
    let parts = [org.as_str(), record.automation_id.as_str()];
    let writes = Writes::new().require_present::<OrgRecord>(&[org.as_str()]).create(&parts, &record);
    ctx.app.records.commit(writes).await?;
    let location = format!("/org/{org}/automation/{}", record.automation_id);
    Ok(tagged(created(&location, &document(&record)), 1))
}

/// Lists automations.
pub(super) async fn index(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let org = ctx.org().await?;
    let (limit, after) = ctx.page()?;
    let found = ctx.app.records.list::<AutomationRecord>(&[org.as_str()], after, limit + 1).await?;
    Ok(list(found.iter().map(|(_, r, _)| document(r)).collect(), limit))
}

/// Reads an automation.
pub(super) async fn show(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let org = ctx.org().await?;
    let (record, _) = find(&ctx, &org).await?;
    Ok(tagged(ok(&document(&record)), record.revision))
}

/// Replaces an automation.
pub(super) async fn replace(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let org = ctx.org().await?;
    let (before, commit) = find(&ctx, &org).await?;
    ctx.if_match(before.revision)?;
    let definition = checked(&ctx).await?;
    let record =
        AutomationRecord { definition, revision: before.revision + 1, updated_at: clock::now(), ..before };
    let parts = [org.as_str(), record.automation_id.as_str()];
    ctx.app.records.commit(Writes::new().replace(&parts, &record, commit)).await?;
    Ok(tagged(ok(&document(&record)), record.revision))
}

/// Deletes an automation.
pub(super) async fn remove(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let org = ctx.org().await?;
    let (record, _) = find(&ctx, &org).await?;
    ctx.if_match(record.revision)?;
    let parts = [org.as_str(), record.automation_id.as_str()];
    ctx.app.records.commit(Writes::new().delete::<AutomationRecord>(&parts)).await?;
    Ok(no_content())
}
