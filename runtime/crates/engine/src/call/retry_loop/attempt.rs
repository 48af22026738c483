//! One attempt of a call: a new guard, a new instance of the handler, and its end.

use std::sync::Arc;

use jiff::Timestamp;
use portcullis_action::template::scalar_text;
use portcullis_core::connector::Action;
use portcullis_core::fault::Code;
use portcullis_core::grant::ActionScope;
use portcullis_core::id::RunId;
use portcullis_core::offload;
use portcullis_core::outbound::Outbound;
use portcullis_egress::{Answers, Guard, GuardReport};
use portcullis_sandbox::{CallEnd, GuestFailure, Invocation};
use serde_json::{Map, Value};

use super::{Attempt, Cause, RetryLoop};
use crate::call::prepare::Ready;
use crate::call::run::{Progress, RunEnd};
use crate::connection::{Errand, LoadedConnection, Purpose};
use crate::error::Error;
use crate::invalidation;

impl RetryLoop<'_> {
    /// Makes one attempt.
    pub(super) async fn once(
        &self,
        action: &Action,
        ready: &Ready,
        progress: &mut Progress,
    ) -> Result<Attempt, Error> {
        let key = action.plan.idempotency.as_ref().map(|_| {
            let chars_max = action.key.as_ref().map_or(u16::MAX, |rules| rules.chars_max);
            self.call.idempotency_key(self.run, chars_max)
        });
        let invocation = invocation(action, ready, self.run, key.clone())?;
        let guard = Arc::new(self.guard(action, ready, key)?);
        let outbound: Arc<dyn Outbound> = Arc::clone(&guard) as _;
        let engine = self.engine;
        let mut called = Box::pin(engine.sandbox.call(&engine.http_handler, invocation, outbound));
        let end = self.unless_ended(&mut called).await;
        if let Err(code) = &end {
            // Why before the drop: the ledger's open bracket is closed with this reason.
            guard.end(*code);
        }
        drop(called);
        if let Ok(end) = &end {
            // Why: its output is read.
            offload::over(end.bytes()).await;
        }
        let report = guard.report();
        progress.usage.requests += report.requests;
        progress.usage.upstream_us += report.upstream_us;
        if let Ok(end) = &end {
            progress.usage.guest = end.usage;
        }
        let tried = self.unless_forbidden(finish(end, &report)).await;
        progress.decisions = report.decisions;
        progress.request_hash = report.request_hash;
        progress.dry_run = report.dry_run;
        for input in action.inputs.iter().filter(|input| input.sensitive) {
            let value = ready.input.get(&input.name).and_then(scalar_text);
            if let (Some(dry_run), Some(value)) = (&mut progress.dry_run, value) {
                dry_run.hide(&input.name, &value);
            }
        }
        Ok(tried)
    }

    /// An attempt that failed because of what ended the call has the reason of that. A credential that cannot be opened
    /// may be one of a workspace that another process deleted a moment ago.
    async fn unless_forbidden(&self, tried: Attempt) -> Attempt {
        let RunEnd::Failed { code, .. } = tried.end else { return tried };
        if code == Code::Internal {
            invalidation::judge_one(&self.engine.resources, self.handle).await;
        }
        match self.handle.end_reason() {
            Some(code) => Attempt { end: RunEnd::plain(code), failure: None },
            None => tried,
        }
    }

    fn guard(&self, action: &Action, ready: &Ready, key: Option<String>) -> Result<Guard, Error> {
        let resources = &self.engine.resources;
        let connection = &ready.connection;
        let connector = connection.connector();
        let credential = connection.stored.bind(&resources.vault, &connection.key, connector);
        let purpose = Purpose {
            action: action.id.clone(),
            run: self.run.clone(),
            automation: self.call.automation_id.clone(),
            handle: Some(Arc::clone(self.handle)),
        };
        let errand = Errand {
            scopes: scopes(action, connection)?,
            credential,
            injection: Arc::clone(&connector.auth.injection),
            requests_max: action.plan.pagination.as_ref().map_or(1, |plan| u64::from(plan.max_pages)),
            answers: Answers::Guest,
            limits: action.limits,
            dry_run: self.call.dry_run,
            varying: key.into_iter().chain([self.run.as_str().to_owned()]).collect(),
        };
        Ok(connection.guard(resources, purpose, errand))
    }
}

/// Where an action may go: its own URL, and those that the definition lists for the pages that the upstream names.
fn scopes(action: &Action, connection: &LoadedConnection) -> Result<Vec<ActionScope>, Error> {
    std::iter::once(&action.url)
        .chain(&action.page_urls)
        .map(|url| connection.scope(action.method, url))
        .collect()
}

fn invocation(
    action: &Action,
    ready: &Ready,
    run: &RunId,
    idempotency_key: Option<String>,
) -> Result<Invocation, Error> {
    let text =
        |value: &Map<String, Value>| serde_json::to_string(value).map_err(|_| Error::plain(Code::Internal));
    Ok(Invocation {
        operation: action.id.as_str().to_owned(),
        plan: action.plan_json.clone(),
        input: text(&ready.input)?,
        config: text(&ready.connection.config)?,
        run_id: run.as_str().to_owned(),
        now_ms: u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default(),
        idempotency_key,
    })
}

/// The end of an attempt. What the guard recorded takes precedence over what the guest reports.
fn finish(end: Result<CallEnd, Code>, report: &GuardReport) -> Attempt {
    let ended = |end| Attempt { end, failure: None };
    let end = match end {
        Ok(end) => end,
        Err(code) => return ended(RunEnd::plain(code)),
    };
    match (end.result, report.failure) {
        (Ok(Ok(output)), _) => {
            let success = serde_json::from_str(&output).map(RunEnd::Succeeded);
            ended(success.unwrap_or_else(|_| RunEnd::plain(Code::GuestOutputInvalid)))
        }
        (Ok(Err(_)), Some(code)) => {
            // Why not TLS: an invalid certificate is still invalid a second later.
            let network = matches!(
                code,
                Code::DnsFailed
                    | Code::ConnectFailed
                    | Code::UpstreamTimeout
                    | Code::UpstreamProtocol
                    | Code::ResponseTruncated
            );
            let failure = network.then_some(Cause::Network { sent: report.sent });
            Attempt { end: RunEnd::plain(code).explained(report.failure_detail.as_deref()), failure }
        }
        (Ok(Err(failure)), None) => guest_failure(failure),
        (Err(fault), _) => {
            tracing::warn!(%fault, "a guest was ended");
            ended(RunEnd::plain(fault.code()).explained(fault.detail().as_deref()))
        }
    }
}

fn guest_failure(failure: GuestFailure) -> Attempt {
    let code = match failure.code.as_str() {
        "upstream_status" => Code::UpstreamStatus,
        "response_unreadable" => Code::ResponseUnreadable,
        "pagination_loop" | "pagination_url_refused" | "pagination_invalid" | "pagination_no_items" => {
            Code::PaginationFailed
        }
        "input_invalid" => Code::InputInvalid,
        _ => Code::GuestFailed,
    };
    let mut upstream: Option<Value> = failure.response.and_then(|text| serde_json::from_str(&text).ok());
    let error = upstream.as_mut().and_then(Value::as_object_mut).and_then(|map| map.shift_remove("error"));
    let cause = upstream.as_ref().zip(error.as_ref()).and_then(|(answer, error)| cause(answer, error));
    let end = RunEnd::Failed {
        code,
        message: failure.message,
        class: failure.class,
        upstream,
        retryable: failure.retryable,
        error,
        retry_at: None,
    };
    Attempt { end, failure: cause }
}

fn cause(answer: &Value, error: &Value) -> Option<Cause> {
    Some(Cause::Upstream {
        status: answer.get("status").and_then(Value::as_u64).and_then(|s| u16::try_from(s).ok())?,
        action: serde_json::from_value(error.get("action")?.clone()).ok()?,
        ruled: error.get("ruled").and_then(Value::as_bool).unwrap_or_default(),
        headers: answer.get("headers").and_then(Value::as_object).cloned().unwrap_or_default(),
        body: answer.get("body").cloned().unwrap_or_default(),
    })
}
