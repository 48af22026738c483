//! `POST …/test`: the definition's own read, made with the saved credential through the same gate.

use axum::body::Body;
use http::Response;
use portcullis_action::template::scalar_text;
use portcullis_core::fault::Code;
use portcullis_core::id::RunId;
use serde_json::{Map, Value, json};

use super::Target;
use crate::api::context::{Ctx, ok};
use crate::attempts::Attempts;
use crate::clock;
use crate::connected::Connected;
use crate::credential::ConnectionState;
use crate::problem::Problem;
use crate::resolve::{Named, Ready};
use crate::run::{Call, Run, RunEnd};
use crate::running::RunningCall;
use crate::tokens::{Need, TokenKeeper};

/// Longest account name that is shown, characters.
const LABEL_CHARS_MAX: usize = 200;

/// Tries the saved credential. The answer says whether it works and as whom; never what was sent, and
/// nothing of the upstream's answer but the label.
pub(in crate::api) async fn trial(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let target = Target::find(&ctx).await?;
    let none = || Problem::new(Code::NotFound, "this connector's definition has no test");
    let named = Named::test(std::sync::Arc::clone(&target.loaded)).ok_or_else(none)?;
    if !target.loaded.connector.enabled {
        return Err(Problem::plain(Code::ConnectorDisabled));
    }
    let mut connected =
        Connected::load(&ctx.app, target.place.clone(), std::sync::Arc::clone(&target.loaded)).await?;
    match connected.connection.state(&target.loaded.connector) {
        ConnectionState::OptedOut | ConnectionState::Unconfigured => {
            let detail = "there is no saved credential to try";
            return Err(Problem::new(Code::CredentialNeedsAttention, detail));
        }
        ConnectionState::Connected | ConnectionState::NeedsAttention => {}
    }
    let action = named.action()?;
    let mut run = Run::new(
        clock::fresh("run", RunId::parse)?,
        target.place.connector.clone(),
        action.id.clone(),
        target.loaded.revision,
        None,
    );
    let call = Call {
        org: target.place.org.clone(),
        workspace: target.place.workspace.clone(),
        connector_id: target.place.connector.as_str().to_owned(),
        action_id: action.id.as_str().to_owned(),
        input: Map::new(),
        automation_id: None,
        skip: None,
        rehearse: false,
        key: None,
    };
    let ticket = ctx.app.running.register(RunningCall {
        org: call.org.as_str().to_owned(),
        workspace: call.workspace.as_str().to_owned(),
        connector: call.connector_id.clone(),
        host: None,
    });
    // Why now: a person who asks does not wait for the next attempt's time.
    if let Err(problem) = TokenKeeper::fresh(&ctx.app, &mut connected, &run.id, Need::Now).await {
        return Ok(ok(&json!({ "ok": false, "code": problem.code, "message": problem.detail })));
    }
    let input = defaults(action);
    let ready = Ready { connected, input, host: None };
    let tried = Attempts::new(&ctx.app, &call, &named, &ticket).run(ready, &mut run).await;
    let label = target.loaded.connector.test.as_ref().and_then(|test| test.label.clone());
    Ok(ok(&answer(&run, tried, label.as_deref())))
}

fn defaults(action: &portcullis_core::connector::Action) -> Map<String, Value> {
    let given = action.inputs.iter().filter_map(|i| i.default.clone().map(|value| (i.name.clone(), value)));
    given.collect()
}

fn answer(run: &Run, tried: Result<(), Problem>, label: Option<&str>) -> Value {
    if let Err(problem) = tried {
        return json!({ "ok": false, "code": problem.code, "message": problem.detail });
    }
    match &run.end {
        RunEnd::Succeeded(success) => {
            let output = success.output();
            let label = label.and_then(|pointer| output.pointer(pointer)).and_then(scalar_text);
            let label: Option<String> = label.map(|text| text.chars().take(LABEL_CHARS_MAX).collect());
            json!({ "ok": true, "label": label, "run_id": run.id })
        }
        RunEnd::Skipped(reason) => json!({ "ok": false, "code": reason.as_str() }),
        RunEnd::Failed { code, class, upstream, .. } => {
            let status = upstream.as_ref().and_then(|answer| answer.get("status"));
            json!({
                "ok": false, "code": code, "message": code.title(), "class": class, "status": status,
                "run_id": run.id,
            })
        }
    }
}
