//! `/run/{org}/{ws}`: actions are called, automations fired, runs read.

use axum::body::Body;
use http::{Response, StatusCode};
use portcullis_action::mapping;
use portcullis_core::fault::Code;
use portcullis_core::id::{AutomationId, RunId};
use portcullis_core::violation::Violation;
use portcullis_store::{AutomationRecord, RunRecord};
use serde_json::{Map, Value, json};

use super::context::{Ctx, list, ok, reply_text};
use crate::automation::{Destination, conditions_hold, is_enabled};
use crate::invoke::invoke;
use crate::problem::Problem;
use crate::run::{Call, Run, SkipReason};

fn member(body: &mut Map<String, Value>, name: &str) -> Result<Map<String, Value>, Problem> {
    match body.shift_remove(name) {
        None => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => {
            let breach =
                Violation::new(format!("/{name}"), "wrong_type", format!("{name} must be an object"));
            Err(Problem::breaches(Code::InputInvalid, vec![breach]))
        }
    }
}

fn answer(run: &Run) -> Result<Response<Body>, Problem> {
    match (&run.rehearsal, run.problem()) {
        (Some(rehearsal), _) => Ok(ok(&run.rehearsal_document(rehearsal))),
        (None, Some(problem)) => Err(problem),
        (None, None) => Ok(reply_text(StatusCode::OK, run.text()?)),
    }
}

/// How a run was asked for.
struct Wish {
    rehearse: bool,
    key: Option<String>,
}

impl Wish {
    /// Reads `dry_run`, `Idempotency-Key` and `Prefer`. What would change whether something is sent must not
    /// be ignored.
    fn of(ctx: &Ctx) -> Result<Self, Problem> {
        let rehearse = match ctx.query("dry_run") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(Problem::new(Code::BadRequest, "dry_run must be true or false")),
        };
        if ctx.header("prefer").is_some_and(|p| p.contains("respond-async")) {
            let detail = "Prefer: respond-async is not implemented in this version";
            return Err(Problem::new(Code::BadRequest, detail));
        }
        if ctx.header("idempotency-key").is_some() {
            let detail = "Idempotency-Key is not implemented on runs in this version";
            return Err(Problem::new(Code::BadRequest, detail));
        }
        Ok(Self { rehearse, key: None })
    }
}

/// Calls an action.
pub(super) async fn call(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let wish = Wish::of(&ctx)?;
    let (org, workspace) = ctx.tenant().await?;
    let input = member(&mut ctx.object(&["input"])?, "input")?;
    let call = Call {
        org,
        workspace,
        connector_id: ctx.param("id").to_owned(),
        action_id: ctx.param("action").to_owned(),
        input,
        automation_id: None,
        skip: None,
        rehearse: wish.rehearse,
        key: wish.key,
    };
    answer(&invoke(&ctx.app, call).await?)
}

/// Fires an automation: its mapping is resolved to concrete values before the handler sees it.
pub(super) async fn automation(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let wish = Wish::of(&ctx)?;
    let (org, workspace) = ctx.tenant().await?;
    let source = Value::Object(member(&mut ctx.object(&["source"])?, "source")?);
    let missing = || Problem::plain(Code::AutomationNotFound);
    let id = AutomationId::parse(ctx.param("id")).map_err(|_| missing())?;
    let (record, _) = ctx
        .app
        .records
        .get_shared::<AutomationRecord>(&[org.as_str(), id.as_str()])
        .await?
        .ok_or_else(missing)?;
    let holds = is_enabled(&record.definition) && conditions_hold(&record.definition, &source);
    let skip = (!holds).then_some(SkipReason::ConditionFalse);
    let destination = Destination::of(&record.definition);
    let empty = Map::new();
    let input = match skip {
        Some(_) => Map::new(),
        None => mapping::resolve(destination.field_mapping.unwrap_or(&empty), &source).map_err(|e| {
            let pointer = format!("/{}", e.variable.replace('.', "/"));
            Problem::breaches(
                Code::InputInvalid,
                vec![Violation::new(pointer, "missing_source", e.to_string())],
            )
        })?,
    };
    let call = Call {
        org,
        workspace,
        connector_id: destination.connector_id.to_owned(),
        action_id: destination.action_id.to_owned(),
        input,
        automation_id: Some(id),
        skip,
        rehearse: wish.rehearse,
        key: wish.key,
    };
    answer(&invoke(&ctx.app, call).await?)
}

fn document(record: &RunRecord) -> Value {
    let mut value: Value = serde_json::from_str(record.body.get()).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.insert("created_at".into(), json!(record.created_at));
    }
    value
}

/// Lists runs in the order of their ends, oldest first.
pub(super) async fn index(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let (org, workspace) = ctx.tenant().await?;
    let (limit, after) = ctx.page()?;
    let unknown = || Problem::new(Code::BadRequest, "starting_after names no run of this workspace");
    let after = after.map(RunId::parse).transpose().map_err(|_| unknown())?;
    let found = ctx.app.runs.list(&org, &workspace, after.as_ref(), limit + 1).await?;
    Ok(list(found.ok_or_else(unknown)?.iter().map(document).collect(), limit))
}

/// Reads a run.
pub(super) async fn show(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let (org, workspace) = ctx.tenant().await?;
    let missing = || Problem::new(Code::NotFound, "there is no such run in this workspace");
    let id = RunId::parse(ctx.param("run_id")).map_err(|_| missing())?;
    let record = ctx.app.runs.get(&org, &workspace, &id).await?.ok_or_else(missing)?;
    Ok(ok(&document(&record)))
}
