//! The canonical line of a call: one at the end of each, with all that an operator asks for, and the counters that belong
//! to it. It holds ids and words, never what was sent or answered.

use std::sync::Arc;

use portcullis_core::fault::{Code, Fault};
use portcullis_core::id::{AutomationId, ConnectionName, ConnectorId, OrgId, RunId, WorkspaceId};
use portcullis_core::verdict::CheckVerdict;

use super::request::CallRequest;
use super::run::{EndReason, Progress, Run, RunEnd, RunStatus, Timing};
use crate::engine::Engine;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::request_mark::RequestMark;
use crate::tenants::Tenant;

/// The target of the lines, for the log's filter.
const TARGET: &str = "call";

/// Members of the line besides `timestamp`, `level`, `target` and `message` (`call_done`), each with its meaning. The
/// documentation's table is made from it.
pub const FIELDS: &[(&str, &str)] = &[
    ("run_id", "the run; absent where there is none"),
    ("org", "the org"),
    ("workspace", "the workspace"),
    ("connector", "the connector, as its caller named it"),
    ("connection", "the named connection; absent for the default one"),
    ("action", "the action, as its caller named it"),
    ("automation_id", "the automation that fired"),
    ("event_id", "the event that fired it"),
    (
        "outcome",
        "the run's status; `waiting` after a try of an accepted run that is tried again; `dry_run` where the request was only shown; `rejected` where nothing ran and there is no run; `replayed` for a repeat that was given the recorded answer",
    ),
    ("code", "the code of the error; of a run that is tried again, of this try's"),
    ("check", "the check that refused it"),
    ("reason", "why it was skipped, given up or cancelled"),
    ("class", "class of the vendor's error"),
    ("attempts", "attempts of this call or try, discovery and tokens not counted"),
    ("requests", "requests of it that were answered"),
    ("status", "HTTP status of the last answer"),
    ("queue_us", "time until its turn, and until a worker had it, microseconds"),
    ("guest_us", "time that guests computed"),
    ("dns_us", "name lookups; this and the next two are absent where kept connections served"),
    ("connect_us", "TCP connects"),
    ("tls_us", "TLS handshakes"),
    ("upstream_us", "the rest of its requests: sent, waited for, read"),
    ("total_us", "the call from its turn to its end"),
    ("request_id", "the request; of an accepted run the one that it was accepted with"),
    ("trace_id", "the caller's trace, from `traceparent`"),
    ("durable", "whether it is an accepted run"),
    ("tries", "tries of an accepted run that were begun"),
    ("dry_run", "whether it only showed its request"),
];

/// What a line says.
pub(crate) struct CallDone {
    pub(crate) run_id: Option<RunId>,
    pub(crate) org: OrgId,
    pub(crate) workspace: WorkspaceId,
    pub(crate) connector: String,
    /// The name of the connection; none for the default one.
    pub(crate) connection: Option<ConnectionName>,
    pub(crate) action: String,
    pub(crate) automation_id: Option<AutomationId>,
    pub(crate) event_id: Option<String>,
    pub(crate) outcome: &'static str,
    pub(crate) code: Option<Code>,
    pub(crate) check: Option<&'static str>,
    pub(crate) reason: Option<EndReason>,
    pub(crate) class: Option<String>,
    pub(crate) spent: Spent,
    pub(crate) request_id: Option<String>,
    pub(crate) trace_id: Option<String>,
    /// Of an accepted run: tries that were begun.
    pub(crate) tries: Option<u32>,
    pub(crate) dry_run: bool,
}

/// What a call took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    attempts: u64,
    requests: u64,
    status: Option<u16>,
    /// Absent if nothing ran.
    timing: Option<Timing>,
}

impl Spent {
    fn of(progress: &Progress) -> Self {
        let timeline = &progress.timeline;
        Self {
            attempts: timeline.attempts().len() as u64 + timeline.omitted(),
            requests: progress.usage.requests,
            status: timeline.last_status(),
            timing: (progress.usage.total_us > 0).then(|| progress.timing()),
        }
    }
}

impl CallDone {
    /// The line of a call that was asked for, without its end.
    fn of(call: &CallRequest) -> Self {
        let mark = RequestMark::current();
        let mark = mark.as_deref();
        let text = |text: Option<&Arc<str>>| text.map(|text| text.as_ref().to_owned());
        Self {
            run_id: call.run_id.clone(),
            org: call.org.clone(),
            workspace: call.workspace.clone(),
            connector: call.connector_id.clone(),
            connection: call.connection.clone(),
            action: call.action_id.clone(),
            automation_id: call.automation_id.clone(),
            event_id: call.event_id.clone(),
            outcome: "rejected",
            code: None,
            check: None,
            reason: None,
            class: None,
            spent: Spent::default(),
            request_id: text(mark.and_then(RequestMark::request_id)),
            trace_id: text(mark.and_then(RequestMark::trace_id)),
            tries: None,
            dry_run: call.dry_run,
        }
    }

    /// The same with what became of it.
    pub(crate) fn with(mut self, run: &Run, outcome: &'static str, reason: Option<EndReason>) -> Self {
        self.run_id = Some(run.id.clone());
        self.outcome = outcome;
        self.reason = reason;
        self.spent = Spent::of(&run.progress);
        match &run.end {
            RunEnd::Failed { code, class, .. } => (self.code, self.class) = (Some(*code), class.clone()),
            RunEnd::Skipped(skipped) => self.reason = reason.or(Some((*skipped).into())),
            RunEnd::Succeeded(_) => {}
        }
        if self.code.is_some_and(|code| code.fault() == Fault::Policy) {
            let mut decisions = run.progress.decisions.iter().rev();
            let refusing = decisions.find(|decision| decision.verdict == CheckVerdict::Refuse);
            self.check = Some(refusing.map_or("call", |decision| decision.check));
        }
        self
    }

    /// Counts and writes the line. `end` is that of a run that has ended, and its connector.
    pub(crate) fn tell(&self, metrics: &Metrics, end: Option<(&ConnectorId, RunStatus)>) {
        if !self.dry_run {
            if let Some(timing) = &self.spent.timing {
                metrics.took(timing);
            }
            if let Some((check, code)) = self.check.zip(self.code) {
                metrics.refused(check, code);
            }
            if let Some((connector, status)) = end {
                let word = self.code.map(Code::as_str).or_else(|| self.reason.map(EndReason::as_str));
                metrics.run_ended(connector, status, word.unwrap_or_default());
            }
        }
        self.log();
    }

    /// Tells webhooks of it if a check refused it.
    pub(crate) fn tell_webhooks(&self, engine: &Engine) {
        let code = self.code.filter(|code| !self.dry_run && code.fault() == Fault::Policy);
        if let Some(code) = code {
            engine.resources.webhooks.note_refusal(&self.org, &self.connector, code);
        }
    }

    fn log(&self) {
        let timing = self.spent.timing.as_ref();
        tracing::info!(
            target: TARGET,
            run_id = self.run_id.as_ref().map(RunId::as_str),
            org = self.org.as_str(),
            workspace = self.workspace.as_str(),
            connector = self.connector,
            connection = self.connection.as_ref().map(ConnectionName::as_str),
            action = self.action,
            automation_id = self.automation_id.as_ref().map(AutomationId::as_str),
            event_id = self.event_id,
            outcome = self.outcome,
            code = self.code.map(Code::as_str),
            check = self.check,
            reason = self.reason.map(EndReason::as_str),
            class = self.class,
            attempts = self.spent.attempts,
            requests = self.spent.requests,
            status = self.spent.status,
            queue_us = timing.and_then(|timing| timing.queue_us),
            guest_us = timing.and_then(|timing| timing.guest_us),
            dns_us = timing.and_then(|timing| timing.dns_us),
            connect_us = timing.and_then(|timing| timing.connect_us),
            tls_us = timing.and_then(|timing| timing.tls_us),
            upstream_us = timing.and_then(|timing| timing.upstream_us),
            total_us = timing.map(|timing| timing.total_us),
            request_id = self.request_id,
            trace_id = self.trace_id,
            durable = self.tries.is_some(),
            tries = self.tries,
            dry_run = self.dry_run,
            "call_done"
        );
    }
}

/// The end of a call that a caller waited for.
pub(crate) fn ended(engine: &Engine, call: &CallRequest, ended: &Result<Run, Error>) {
    let metrics = &engine.resources.metrics;
    let done = CallDone::of(call);
    match ended {
        // Why no end of its own: it stopped where its request was to be sent, and its run is shown and not kept.
        Ok(run) if run.progress.dry_run.is_some() => {
            CallDone { outcome: "dry_run", spent: Spent::of(&run.progress), ..done }.tell(metrics, None);
        }
        Ok(run) => {
            let done = done.with(run, run.status().as_str(), None);
            done.tell(metrics, Some((&run.connector_id, run.status())));
            done.tell_webhooks(engine);
        }
        Err(error) => {
            // Why only these: of the others the request was wrong, and no door was closed.
            let check = matches!(error.code, Code::CredentialNeedsAttention).then_some("connection");
            CallDone { code: Some(error.code), check, ..done }.tell(metrics, None);
        }
    }
}

/// A repeat of a request that was given the answer of the first.
pub fn replayed(tenant: &Tenant, what: &Replay<'_>) {
    let mark = RequestMark::current();
    let mark = mark.as_deref();
    tracing::info!(
        target: TARGET,
        run_id = what.run_id,
        org = tenant.org.as_str(),
        workspace = tenant.workspace.as_str(),
        connector = what.connector,
        action = what.action,
        automation_id = what.automation_id,
        event_id = what.event_id,
        outcome = "replayed",
        request_id = mark.and_then(RequestMark::request_id).map(AsRef::as_ref),
        trace_id = mark.and_then(RequestMark::trace_id).map(AsRef::as_ref),
        "call_done"
    );
}

/// What a repeated request asked for, as far as its caller named it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Replay<'a> {
    pub run_id: Option<&'a str>,
    pub connector: Option<&'a str>,
    pub action: Option<&'a str>,
    pub automation_id: Option<&'a str>,
    pub event_id: Option<&'a str>,
}
