//! The life of a call, on one page.
//!
//! ```text
//! Call      who, where, what; authorised and bounded by the API
//!   → name       connector and action exist
//!   → resolve    enabled, credential state, input, grant — or a silent skip
//!   → guard      the capability of this one call: grant + sealed credential + ledger
//!   → sandbox    a fresh instance of the handler; its only import is the guard
//!       → guard.send  lists → action → headers → ledger begin → resolve → connect → TLS →
//!                     open credential → inject → send → cap → scrub → ledger complete
//!   → end        output, or the refusal that the guard recorded, or the guest's failure
//!   → keep       the run's record
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::connector::Action;
use portcullis_core::fault::Code;
use portcullis_core::id::RunId;
use portcullis_core::outbound::Outbound;
use portcullis_egress::{Guard, GuardReport, GuardSpec};
use portcullis_sandbox::{CallEnd, GuestFailure, Invocation};
use serde_json::Value;

use crate::app::App;
use crate::clock;
use crate::ledger::{Asker, CallLedger};
use crate::problem::Problem;
use crate::resolve::{Named, Ready, Resolved, name, resolve};
use crate::run::{Call, Run, RunEnd, RunUsage};
use crate::running::{RunningCall, Ticket};

/// Runs one call to its end and keeps its record.
///
/// # Errors
/// A [`Problem`] when the request itself was wrong and nothing ran. A refused or failed run is not
/// an error here: it is a [`Run`] with that end.
pub async fn invoke(app: &App, call: Call) -> Result<Run, Problem> {
    let started = Instant::now();
    // Why before anything is read: whatever is switched off from here on ends this call too.
    let ticket = app.running.register(RunningCall {
        org: call.org.as_str().to_owned(),
        workspace: call.workspace.as_str().to_owned(),
        connector: call.connector_id.clone(),
        host: None,
    });
    let named = name(app, &call).await?;
    let mut run = Run {
        id: clock::fresh("run", RunId::parse)?,
        connector_id: named.loaded.connector.id.clone(),
        action_id: named.action()?.id.clone(),
        revision: named.loaded.revision,
        automation_id: call.automation_id.clone(),
        end: RunEnd::Skipped(crate::run::SkipReason::Unconfigured),
        decisions: Vec::new(),
        usage: RunUsage::default(),
    };
    if let Some(reason) = call.skip {
        run.end = RunEnd::Skipped(reason);
        run.keep(app, &call.org, &call.workspace).await?;
        return Ok(run);
    }
    match resolve(app, &call, &named).await? {
        Resolved::Skip(reason) => run.end = RunEnd::Skipped(reason),
        Resolved::Ready(ready) => {
            ticket.set_host(ready.host.clone());
            perform(app, &call, &named, *ready, &ticket, &mut run).await?;
        }
    }
    run.usage.total_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    if let Err(problem) = run.keep(app, &call.org, &call.workspace).await {
        // Why the answer stands: what was sent was sent, and an error would invite a second time.
        tracing::error!(run_id = %run.id, code = %problem.code, "the run's record could not be kept");
    }
    Ok(run)
}

async fn perform(
    app: &App,
    call: &Call,
    named: &Named,
    ready: Ready,
    ticket: &Ticket,
    run: &mut Run,
) -> Result<(), Problem> {
    let action = named.action()?;
    let invocation = invocation(action, &ready, &run.id)?;
    let guard = Arc::new(guard(app, call, named, ready, run));
    let outbound: Arc<dyn Outbound> = Arc::clone(&guard) as _;
    let deadline = Duration::from_millis(app.limits.call_ms);
    let mut called = Box::pin(app.sandbox.call(&app.http_handler, invocation, outbound));
    let end = tokio::select! {
        end = &mut called => Ok(end),
        code = ticket.ended() => Err(code),
        () = tokio::time::sleep(deadline) => Err(Code::UpstreamTimeout),
    };
    if let Err(code) = &end {
        // Why before the drop: the ledger's open bracket is closed with this reason.
        guard.end(*code);
    }
    drop(called);
    let report = guard.report();
    run.usage = RunUsage {
        requests: report.requests,
        guest: end.as_ref().map(|e| e.usage).unwrap_or_default(),
        upstream_us: report.upstream_us,
        total_us: 0,
    };
    run.decisions.clone_from(&report.decisions);
    run.end = finish(end, &report);
    Ok(())
}

fn guard(app: &App, call: &Call, named: &Named, ready: Ready, run: &Run) -> Guard {
    let asker = Asker {
        org: call.org.clone(),
        workspace: call.workspace.clone(),
        connector_id: run.connector_id.clone(),
        revision: run.revision,
        action_id: run.action_id.clone(),
        run_id: run.id.clone(),
        automation_id: call.automation_id.clone(),
    };
    app.gate.guard(GuardSpec {
        grant: ready.grant,
        credential: ready.credential,
        injection: named.loaded.connector.injection.clone(),
        config: ready.config,
        log: CallLedger::new(Arc::clone(&app.ledger), asker),
        // Why one: the generic handler makes one request; pages and custom guests will name theirs.
        requests_max: 1,
        redirects: named.loaded.connector.redirects,
        scope: ready.scope,
    })
}

fn invocation(action: &Action, ready: &Ready, run_id: &RunId) -> Result<Invocation, Problem> {
    let text = |value: &serde_json::Map<String, Value>| {
        serde_json::to_string(value).map_err(|_| Problem::plain(Code::Internal))
    };
    Ok(Invocation {
        operation: action.id.as_str().to_owned(),
        plan: action.plan_json.clone(),
        input: text(&ready.input)?,
        config: text(&ready.config)?,
        run_id: run_id.as_str().to_owned(),
        idempotency_key: None,
    })
}

/// The run's end. What the guard recorded outranks what the guest says.
fn finish(end: Result<CallEnd, Code>, report: &GuardReport) -> RunEnd {
    let failed = |code: Code, message: String| RunEnd::Failed {
        code,
        message,
        class: None,
        upstream: None,
        retryable: matches!(code, Code::Overloaded | Code::ConnectFailed | Code::DnsFailed),
    };
    let end = match end {
        Ok(end) => end,
        Err(code) => return failed(code, code.title().to_owned()),
    };
    match (end.result, report.failure) {
        (Ok(Ok(output)), _) => succeeded(&output)
            .unwrap_or_else(|| failed(Code::GuestOutputInvalid, Code::GuestOutputInvalid.title().to_owned())),
        (Ok(Err(_)), Some(code)) => failed(code, code.title().to_owned()),
        (Ok(Err(failure)), None) => guest_failure(failure),
        (Err(fault), _) => {
            tracing::warn!(%fault, "a guest was ended");
            failed(fault.code(), fault.code().title().to_owned())
        }
    }
}

fn succeeded(output: &str) -> Option<RunEnd> {
    let mut document: Value = serde_json::from_str(output).ok()?;
    let map = document.as_object_mut()?;
    let output = map.shift_remove("output")?;
    let upstream = map.shift_remove("upstream").unwrap_or(Value::Null);
    Some(RunEnd::Succeeded { output, upstream })
}

fn guest_failure(failure: GuestFailure) -> RunEnd {
    let code = match failure.code.as_str() {
        "upstream_status" => Code::UpstreamStatus,
        "input_invalid" => Code::InputInvalid,
        _ => Code::GuestFailed,
    };
    RunEnd::Failed {
        code,
        message: failure.message,
        class: failure.class,
        upstream: failure.response.and_then(|text| serde_json::from_str(&text).ok()),
        retryable: failure.retryable,
    }
}
