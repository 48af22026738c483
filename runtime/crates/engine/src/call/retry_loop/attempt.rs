//! One attempt of a call: a new guard, a new instance of the handler, and its end.

use std::sync::Arc;

use portcullis_action::Method;
use portcullis_action::plan::Asked;
use portcullis_action::template::scalar_text;
use portcullis_core::connector::{Action, Connector};
use portcullis_core::fault::Code;
use portcullis_core::grant::ActionScope;
use portcullis_core::id::RunId;
use portcullis_core::limits::Limits;
use portcullis_core::offload;
use portcullis_core::outbound::Outbound;
use portcullis_egress::{Answers, Guard, GuardReport};
use portcullis_sandbox::{
    CallEnd, GuestFailure, GuestLog, Invocation, LogLevel, Module, OwnLimits, SandboxFault,
};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::OwnedSemaphorePermit;

use super::{Attempt, Cause, RetryLoop};
use crate::breaker::{self, Permit};
use crate::call::prepare::Ready;
use crate::call::run::{Begun, Outgoing, Progress, RunEnd};
use crate::clock;
use crate::connection::visible::HiddenValues;
use crate::connection::{Errand, LoadedConnection, Purpose};
use crate::error::Error;
use crate::invalidation;
use crate::modules::own_limits;

/// A module that is about to be called.
struct Served {
    module: Module,
    own: OwnLimits,
    _place: OwnedSemaphorePermit,
}

impl RetryLoop<'_> {
    /// Makes one attempt.
    pub(super) async fn once(
        &self,
        action: &Action,
        ready: &Ready,
        asked: Option<&Asked>,
        permit: Option<Permit>,
        progress: &mut Progress,
    ) -> Result<Attempt, Error> {
        let key = action.plan.idempotency.as_ref().map(|_| {
            let chars_max = action.key.as_ref().map_or(u16::MAX, |rules| rules.chars_max);
            self.call.idempotency_key(self.run, chars_max)
        });
        let invocation = invocation(action, ready, asked, self.run, key.clone())?;
        let guard = Arc::new(self.guard(action, ready, asked, key)?);
        let outbound: Arc<dyn Outbound> = Arc::clone(&guard) as _;
        let engine = self.engine;
        let (begun, had_time) = (Begun::now(), self.has_time());
        let served = self.module(action, ready).await?;
        progress.is_module = served.is_some();
        let mut called = Box::pin(async {
            match &served {
                None => engine.sandbox.call(&engine.http_handler, invocation, outbound).await,
                Some(served) => {
                    let sandbox = &engine.modules.sandbox;
                    sandbox.call_within(&served.module, served.own, invocation, outbound).await
                }
            }
        });
        let end = self.unless_ended(&mut called).await;
        if let Err(code) = &end {
            // Why before the drop: the ledger's open bracket is closed with this reason.
            guard.end(*code);
        }
        drop(called);
        let was_cut = end.is_err();
        if let Ok(end) = &end {
            // Why: its output is read.
            offload::over(end.bytes()).await;
        }
        let report = guard.report();
        progress.usage.requests += report.requests;
        progress.usage.upstream_us += report.upstream_us;
        progress.phases.add(&report.phases);
        if let Ok(end) = &end {
            progress.usage.guest = end.usage;
            progress.guest_us = progress.guest_us.saturating_add(end.usage.guest_us);
        }
        let mut end = end;
        if let Ok(end) = &mut end {
            self.scrub_log(&mut end.log, &guard, ready).await;
            progress.log.extend(&end.log);
            progress.usage.guest.log_bytes = progress.log.bytes;
        }
        let finished = match &served {
            None => finish(end, &report),
            Some(_) => finish_module(end, &report),
        };
        if let Some(permit) = permit {
            let own_time_up = was_cut.then_some(had_time);
            permit.settle(breaker::of_attempt(&finished.end, &report, own_time_up), &report.last_origin);
        }
        let tried = self.unless_forbidden(finished).await;
        let outgoing = Outgoing {
            requests: report.requests,
            origin: report.last_origin,
            status: report.last_status,
            ledger_id: report.last_entry,
        };
        progress.timeline.note(begun, outgoing, &tried.end);
        progress.decisions = report.decisions;
        progress.request_hash = report.request_hash;
        progress.dry_run = report.dry_run;
        self.note_in_dry_run(action, ready, progress);
        for input in action.inputs.iter().filter(|input| input.sensitive) {
            let value = ready.input.get(&input.name).and_then(scalar_text);
            if let (Some(dry_run), Some(value)) = (&mut progress.dry_run, value) {
                dry_run.hide(&input.name, &value);
            }
        }
        Ok(tried)
    }

    /// Removes what is secret from a module's lines, which are kept and shown. Why all that the connection has: a caller
    /// or an upstream may have told the module one that this attempt never opened.
    async fn scrub_log(&self, log: &mut GuestLog, guard: &Guard, ready: &Ready) {
        if log.lines.is_empty() {
            return;
        }
        match HiddenValues::stored(&ready.connection, &self.engine.resources).await {
            Ok(hidden) => log.lines.iter_mut().for_each(|line| {
                guard.scrub(&mut line.message);
                hidden.scrub(&mut line.message);
            }),
            // Why: what cannot be compared is not shown.
            Err(_) => log.lines.clear(),
        }
    }

    /// The module that serves an action, and a place for its call.
    async fn module(&self, action: &Action, ready: &Ready) -> Result<Option<Served>, Error> {
        let Some(runtime) = ready.connection.connector().module_of(action) else { return Ok(None) };
        let modules = &self.engine.modules;
        let place = modules.place()?;
        let module = modules.load(runtime).await?;
        Ok(Some(Served { module, own: own_limits(runtime), _place: place }))
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

    fn guard(
        &self,
        action: &Action,
        ready: &Ready,
        asked: Option<&Asked>,
        key: Option<String>,
    ) -> Result<Guard, Error> {
        let resources = &self.engine.resources;
        let connection = &ready.connection;
        let connector = connection.connector();
        let credential = connection.bind(resources);
        let purpose = Purpose {
            action: action.id.clone(),
            run: self.run.clone(),
            automation: self.call.automation_id.clone(),
            handle: Some(Arc::clone(self.handle)),
        };
        let errand = Errand {
            scopes: scopes(action, asked, connection)?,
            credential,
            injection: Arc::clone(&connector.auth.injection),
            requests_max: requests_max(action, connector, &resources.limits),
            answers: Answers::Guest,
            limits: action.limits,
            dry_run: self.call.dry_run,
            varying: key.into_iter().chain([self.run.as_str().to_owned()]).collect(),
        };
        Ok(connection.guard(resources, purpose, errand))
    }
}

/// How many requests one attempt may make.
fn requests_max(action: &Action, connector: &Connector, limits: &Limits) -> u64 {
    match connector.module_of(action) {
        Some(runtime) => runtime.requests_max.unwrap_or(u64::MAX).min(limits.requests_per_call),
        None => action.plan.pagination.as_ref().map_or(1, |plan| u64::from(plan.max_pages)),
    }
}

/// Where an action may go: its own URL, and those that the definition lists for the pages that the upstream names.
pub(super) fn scopes(
    action: &Action,
    asked: Option<&Asked>,
    connection: &LoadedConnection,
) -> Result<Vec<ActionScope>, Error> {
    if let Some(runtime) = connection.connector().module_of(action) {
        return runtime.requests.iter().map(|(method, url, _)| connection.scope(*method, url)).collect();
    }
    if let (Some(_), Some(rules)) = (asked, &action.poll) {
        let scope = |url| connection.scope(Method::Get, url);
        return match rules.urls.as_slice() {
            [] => Ok(vec![scope(&action.url)?.with_any_path()]),
            urls => urls.iter().map(scope).collect(),
        };
    }
    std::iter::once(&action.url)
        .chain(&action.page_urls)
        .map(|url| connection.scope(action.method, url))
        .collect()
}

fn invocation(
    action: &Action,
    ready: &Ready,
    asked: Option<&Asked>,
    run: &RunId,
    idempotency_key: Option<String>,
) -> Result<Invocation, Error> {
    let text =
        |value: &Map<String, Value>| serde_json::to_string(value).map_err(|_| Error::plain(Code::Internal));
    Ok(Invocation {
        operation: action.id.as_str().to_owned(),
        plan: asked.map_or_else(|| Ok(action.plan_json.clone()), |asked| asking_plan(action, asked))?,
        input: text(&ready.input)?,
        config: text(&ready.connection.config)?,
        run_id: run.as_str().to_owned(),
        now_ms: clock::now_ms(),
        idempotency_key,
    })
}

/// The plan of an attempt that asks again.
fn asking_plan(action: &Action, asked: &Asked) -> Result<String, Error> {
    let mut plan = action.plan.clone();
    if let Some(poll) = &mut plan.poll {
        poll.asked = Some(asked.clone());
    }
    serde_json::to_string(&plan).map_err(|_| Error::plain(Code::Internal))
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

/// As [`finish`], for a module: what it did not handle itself ends the call with the gate's own code, and a trap with
/// the last words that it gave.
fn finish_module(end: Result<CallEnd, Code>, report: &GuardReport) -> Attempt {
    let trapped = |end: &CallEnd| matches!(end.result, Err(SandboxFault::Trapped(_)));
    match end {
        Ok(end) if trapped(&end) && report.failure.is_some() => {
            let result = Ok(Err(GuestFailure::unsaid()));
            finish_module(Ok(CallEnd { result, ..end }), report)
        }
        Ok(end) if trapped(&end) => {
            let last = end.log.lines.iter().rev().find(|line| line.level == LogLevel::Error);
            let words =
                last.map(|line| format!("the module ended in a trap; its last words: {}", line.message));
            let attempt = finish(Ok(end), report);
            Attempt { end: attempt.end.explained(words.as_deref()), failure: None }
        }
        Ok(CallEnd { result: Ok(Err(failure)), .. }) if report.failure.is_none() => {
            let retry = failure.retryable.then_some(Cause::Network { sent: report.changed });
            Attempt { failure: retry, ..module_failure(failure) }
        }
        other => {
            let attempt = finish(other, report);
            // Why: its earlier requests may have changed something, whatever the last one did.
            let failure = match attempt.failure {
                Some(Cause::Network { sent }) => Some(Cause::Network { sent: sent || report.changed }),
                other => other,
            };
            Attempt { failure, ..attempt }
        }
    }
}

/// What a module says of its own failure.
#[derive(Serialize)]
struct ModuleError<'f> {
    class: Option<&'f str>,
    code: &'f str,
    message: &'f str,
}

/// A failure that a module returned of its own accord, with its code and message.
fn module_failure(failure: GuestFailure) -> Attempt {
    let told =
        ModuleError { class: failure.class.as_deref(), code: &failure.code, message: &failure.message };
    let error = serde_json::to_value(told).ok();
    let end = RunEnd::Failed {
        code: Code::GuestFailed,
        message: format!("{}: {}", failure.code, failure.message),
        class: failure.class,
        upstream: failure.response.and_then(|text| serde_json::from_str(&text).ok()),
        retryable: failure.retryable,
        error,
        retry_at: None,
    };
    Attempt { end, failure: None }
}

fn guest_failure(failure: GuestFailure) -> Attempt {
    let code = match failure.code.as_str() {
        "upstream_status" => Code::UpstreamStatus,
        "response_unreadable" => Code::ResponseUnreadable,
        "pagination_loop" | "pagination_url_refused" | "pagination_invalid" | "pagination_no_items" => {
            Code::PaginationFailed
        }
        "poll_failed" | "poll_no_place" | "poll_url_refused" | "poll_answer_too_large" => Code::PollFailed,
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
