//! The tries of one call: token, budget, guard, sandbox, and the decision whether there is another.
//!
//! All waiting happens here, with no guest alive, and inside the one deadline of the call.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use portcullis_action::Values;
use portcullis_action::plan::{ErrorAction, PaginationKind};
use portcullis_action::retry::{Decision, Tried, decide};
use portcullis_action::template::scalar_text;
use portcullis_core::connector::{Action, Connector};
use portcullis_core::fault::Code;
use portcullis_core::grant::ActionScope;
use portcullis_core::outbound::Outbound;
use portcullis_egress::{Answers, Guard, GuardReport};
use portcullis_sandbox::{CallEnd, GuestFailure, Invocation};
use portcullis_store::StoreError;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::app::App;
use crate::budget::Slots;
use crate::clock;
use crate::connected::{Connected, Errand, Purpose};
use crate::problem::Problem;
use crate::resolve::{Named, Ready};
use crate::run::{Call, Run, RunEnd};
use crate::running::Ticket;
use crate::tokens::{Need, TokenKeeper};

mod stale;

/// What every try of a call shares.
#[derive(Clone, Copy)]
pub struct Attempts<'a> {
    app: &'a Arc<App>,
    call: &'a Call,
    named: &'a Named,
    ticket: &'a Ticket,
    started: Instant,
    deadline: Instant,
}

/// One try: how it ended, and what is known of why.
struct Try {
    end: RunEnd,
    failure: Option<Cause>,
}

/// Why a try failed, as the retry rules read it.
enum Cause {
    Network { sent: bool },
    Upstream { status: u16, action: ErrorAction, ruled: bool, headers: Map<String, Value>, body: Value },
}

/// What comes after a failed try.
enum Next {
    End,
    Again,
    Renew,
}

impl<'a> Attempts<'a> {
    /// Tries of one call, which may take `limits.call_ms` together.
    #[must_use]
    pub fn new(app: &'a Arc<App>, call: &'a Call, named: &'a Named, ticket: &'a Ticket) -> Self {
        let started = Instant::now();
        let deadline = started + Duration::from_millis(app.limits.call_ms);
        Self { app, call, named, ticket, started, deadline }
    }

    /// Tries until there is an end.
    ///
    /// # Errors
    /// A [`Problem`] when nothing could be tried at all.
    pub async fn run(&self, mut ready: Ready, run: &mut Run) -> Result<(), Problem> {
        let mut need = Need::Usable;
        let mut attempt: u8 = 1;
        loop {
            let renewed = need != Need::Usable;
            if !self.call.rehearse {
                let fresh = TokenKeeper::fresh(self.app, &mut ready.connected, &run.id, need);
                match self.unless_ended(fresh).await {
                    Ok(Ok(())) => {}
                    Ok(Err(problem)) if !renewed => return Err(problem),
                    // Why the earlier end stands: the upstream's no is what the caller asked about.
                    Ok(Err(_)) => return Ok(()),
                    Err(code) => {
                        run.end = plain(code);
                        return Ok(());
                    }
                }
            }
            if !self.call.rehearse && !self.named.is_discovery() {
                self.discover(&mut ready.connected, run).await?;
            }
            let connector = ready.connected.connector();
            let action = self.named.action_of(connector)?;
            let Some(slots) = self.budget(action, &ready, run).await else { return Ok(()) };
            let tried = self.once(action, &ready, run).await?.unless_stale(connector);
            drop(slots);
            run.end = tried.end;
            let Some(cause) = tried.failure else { return Ok(()) };
            match self.next(action, connector, &cause, attempt, renewed, run).await {
                Next::End => return Ok(()),
                Next::Again => attempt += 1,
                Next::Renew => {
                    let revision = ready.connected.connection.current_token().map_or(0, |t| t.revision);
                    need = Need::NewerThan(revision);
                }
            }
            run.usage.retries += 1;
        }
    }

    /// Fills automated config fields that are not known yet. One that cannot be found is left: the request
    /// that needs it says so.
    async fn discover(&self, connected: &mut Connected, run: &Run) -> Result<(), Problem> {
        let missing: Vec<usize> = connected.undiscovered().collect();
        for index in missing {
            let named = self.named.discovery(index);
            let inner = Attempts { named: &named, ..*self };
            let mut own = Run { rehearsal: None, ..run.clone() };
            let ready = Ready { connected: connected.clone(), input: Map::new(), host: None };
            Box::pin(inner.run(ready, &mut own)).await?;
            let RunEnd::Succeeded(success) = &own.end else { continue };
            let output = success.output();
            let capture = connected.connector().discover.get(index).into_iter().flat_map(|d| &d.capture);
            let found: Vec<(String, Value)> = capture
                .filter_map(|(name, pointer)| {
                    let text = output.pointer(pointer).and_then(scalar_text)?;
                    Some((name.clone(), Value::String(text)))
                })
                .collect();
            if let Some(writes) = connected.learned(self.app, found).await? {
                match self.app.records.commit(writes).await {
                    // The credential changed meanwhile: what was found is another account's.
                    Ok(_) | Err(StoreError::Conflict { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            connected.reload(self.app).await?;
        }
        Ok(())
    }

    /// Waits for something unless the call is ended from outside or its time is up.
    async fn unless_ended<T>(&self, wait: impl Future<Output = T>) -> Result<T, Code> {
        tokio::select! {
            done = wait => Ok(done),
            code = self.ticket.ended() => Err(code),
            () = tokio::time::sleep_until(self.deadline) => Err(Code::UpstreamTimeout),
        }
    }

    /// The connection's own rate limits; `None` after the run has ended because of them.
    async fn budget(&self, action: &Action, ready: &Ready, run: &mut Run) -> Option<Slots> {
        if self.call.rehearse || action.budgets.is_empty() {
            return Some(Slots::default());
        }
        let patience = Duration::from_millis(u64::from(action.retry.max_wait_ms));
        let patience = patience.min(self.deadline.saturating_duration_since(Instant::now()));
        let values = Values { input: (&ready.input).into(), ..Values::config_only(&ready.connected.config) };
        let taking = self.app.budgets.take(action, &ready.connected.place, &values, patience);
        run.end = match self.unless_ended(taking).await {
            Ok(Ok(slots)) => return Some(slots),
            Ok(Err(used_up)) => RunEnd::Failed {
                code: Code::RateLimited,
                message: Code::RateLimited.title().to_owned(),
                class: Some("rate_limit".to_owned()),
                upstream: None,
                retryable: true,
                error: None,
                retry_at: Some(clock::after(used_up.wait)),
            },
            Err(code) => plain(code),
        };
        None
    }

    async fn once(&self, action: &Action, ready: &Ready, run: &mut Run) -> Result<Try, Problem> {
        let key = action.plan.idempotency.as_ref().map(|_| {
            let chars_max = action.key.as_ref().map_or(u16::MAX, |rules| rules.chars_max);
            self.call.idempotency_key(&run.id, chars_max)
        });
        let invocation = invocation(action, ready, run, key.clone())?;
        let guard = Arc::new(self.guard(action, ready, run, key)?);
        let outbound: Arc<dyn Outbound> = Arc::clone(&guard) as _;
        let mut called = Box::pin(self.app.sandbox.call(&self.app.http_handler, invocation, outbound));
        let end = self.unless_ended(&mut called).await;
        if let Err(code) = &end {
            // Why before the drop: the ledger's open bracket is closed with this reason.
            guard.end(*code);
        }
        drop(called);
        let report = guard.report();
        run.usage.requests += report.requests;
        run.usage.upstream_us += report.upstream_us;
        if let Ok(end) = &end {
            run.usage.guest = end.usage;
        }
        let tried = finish(end, &report);
        run.decisions = report.decisions;
        run.request_hash = report.request_hash;
        run.rehearsal = report.rehearsal;
        for input in action.inputs.iter().filter(|input| input.sensitive) {
            let value = ready.input.get(&input.name).and_then(scalar_text);
            if let (Some(rehearsal), Some(value)) = (&mut run.rehearsal, value) {
                rehearsal.hide(&input.name, &value);
            }
        }
        Ok(tried)
    }

    fn guard(
        &self,
        action: &Action,
        ready: &Ready,
        run: &Run,
        key: Option<String>,
    ) -> Result<Guard, Problem> {
        let connected = &ready.connected;
        let connector = connected.connector();
        let credential = connected.connection.bind(&self.app.vault, &connected.place, connector);
        let purpose = Purpose {
            action: action.id.clone(),
            run: run.id.clone(),
            automation: self.call.automation_id.clone(),
        };
        let errand = Errand {
            scopes: scopes(action, connected)?,
            credential,
            injection: Arc::clone(&connector.auth.injection),
            requests_max: action.plan.pagination.as_ref().map_or(1, |plan| u64::from(plan.max_pages)),
            answers: Answers::Guest,
            limits: action.limits,
            rehearse: self.call.rehearse,
            varying: key.into_iter().chain([run.id.as_str().to_owned()]).collect(),
        };
        Ok(connected.guard(self.app, purpose, errand))
    }

    /// Decides, and waits if there is another try.
    async fn next(
        &self,
        action: &Action,
        connector: &Connector,
        cause: &Cause,
        attempt: u8,
        refreshed: bool,
        run: &mut Run,
    ) -> Next {
        let now_ms = Timestamp::now().as_millisecond();
        let tried = Tried {
            attempt,
            failure: cause.as_failure(connector),
            idempotent: action.idempotent,
            // Why for a while only: a key that the vendor forgot protects nothing.
            keyed: action.key.as_ref().is_some_and(|rules| {
                rules.ttl_s.is_none_or(|s| self.started.elapsed() < Duration::from_secs(u64::from(s)))
            }),
            refreshed: refreshed || connector.auth.token.is_none(),
            jitter: jitter(),
            now_ms,
        };
        let wait = match decide(&action.retry, &tried) {
            Decision::Stop => return Next::End,
            Decision::RefreshThenAgain => return Next::Renew,
            Decision::TooLong { wait } => {
                note_retry_at(run, wait);
                return Next::End;
            }
            Decision::Again { after } => after,
        };
        if Instant::now() + wait >= self.deadline {
            note_retry_at(run, wait);
            return Next::End;
        }
        match self.unless_ended(tokio::time::sleep(wait)).await {
            Ok(()) => Next::Again,
            Err(code) => {
                run.end = plain(code);
                Next::End
            }
        }
    }
}

/// Where an action may go: its own URL, and where the upstream names the URLs of further pages, those.
fn scopes(action: &Action, connected: &Connected) -> Result<Vec<ActionScope>, Problem> {
    let first = connected.scope(action.method, &action.url)?;
    let named_by_upstream =
        action.plan.pagination.as_ref().is_some_and(|plan| {
            matches!(plan.kind, PaginationKind::LinkHeader | PaginationKind::NextUrl { .. })
        });
    let pages = named_by_upstream.then(|| first.pages());
    Ok(std::iter::once(first).chain(pages).collect())
}

/// A number from 0 to 1, so that many who failed together do not come back together.
fn jitter() -> f64 {
    let mut bytes = [0_u8; 4];
    // Why ignored: without randomness there is no jitter, and no harm.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX)
}

fn note_retry_at(run: &mut Run, wait: Duration) {
    if let RunEnd::Failed { retry_at, .. } = &mut run.end {
        *retry_at = Some(clock::after(wait));
    }
}

fn invocation(
    action: &Action,
    ready: &Ready,
    run: &Run,
    idempotency_key: Option<String>,
) -> Result<Invocation, Problem> {
    let text =
        |value: &Map<String, Value>| serde_json::to_string(value).map_err(|_| Problem::plain(Code::Internal));
    Ok(Invocation {
        operation: action.id.as_str().to_owned(),
        plan: action.plan_json.clone(),
        input: text(&ready.input)?,
        config: text(&ready.connected.config)?,
        run_id: run.id.as_str().to_owned(),
        now_ms: u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default(),
        idempotency_key,
    })
}

/// An end that the guest has no part in.
fn plain(code: Code) -> RunEnd {
    RunEnd::Failed {
        code,
        message: code.title().to_owned(),
        class: None,
        upstream: None,
        retryable: matches!(code, Code::Overloaded | Code::ConnectFailed | Code::DnsFailed),
        error: None,
        retry_at: None,
    }
}

/// The end of a try. What the guard recorded outranks what the guest says.
fn finish(end: Result<CallEnd, Code>, report: &GuardReport) -> Try {
    let ended = |end| Try { end, failure: None };
    let end = match end {
        Ok(end) => end,
        Err(code) => return ended(plain(code)),
    };
    match (end.result, report.failure) {
        (Ok(Ok(output)), _) => {
            let success = serde_json::from_str(&output).map(RunEnd::Succeeded);
            ended(success.unwrap_or_else(|_| plain(Code::GuestOutputInvalid)))
        }
        (Ok(Err(_)), Some(code)) => {
            // Why not TLS: a certificate that is wrong now is wrong in a second, too.
            let network = matches!(
                code,
                Code::DnsFailed | Code::ConnectFailed | Code::UpstreamTimeout | Code::UpstreamProtocol
            );
            Try { end: plain(code), failure: network.then_some(Cause::Network { sent: report.sent }) }
        }
        (Ok(Err(failure)), None) => guest_failure(failure),
        (Err(fault), _) => {
            tracing::warn!(%fault, "a guest was ended");
            ended(plain(fault.code()))
        }
    }
}

fn guest_failure(failure: GuestFailure) -> Try {
    let code = match failure.code.as_str() {
        "upstream_status" => Code::UpstreamStatus,
        "response_not_json" => Code::ResponseUnreadable,
        "pagination_loop" | "pagination_url_refused" | "pagination_invalid" => Code::PaginationFailed,
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
    Try { end, failure: cause }
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
