//! The guard of one call: every request of a guest passes through [`Guard::send`], from the top.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use portcullis_core::connector::{RedirectPolicy, RequestLimits};
use portcullis_core::definition::RedirectFollow;
use portcullis_core::fault::Code;
use portcullis_core::grant::{EgressGrant, PermittedTarget};
use portcullis_core::injection::Injection;
use portcullis_core::outbound::{
    BoxFuture, Outbound, OutboundError, OutboundOptions, OutboundRequest, OutboundResponse, TimeoutPhase,
};
use portcullis_core::verdict::Decision;
use serde_json::{Map, Value};

use crate::attempt::{Bracket, OutboundAttempt, OutboundLog};
use crate::credential::BoundCredential;
use crate::dry_run::DryRun;
use crate::error::SendError;
use crate::gate::{Gate, micros};
use crate::lock::lock;
use crate::pool::PoolScope;
use crate::redirect::{self, Hop};

mod check;
mod send;

/// What one call may do and with what.
pub struct GuardSpec {
    /// Where it may go.
    pub grant: EgressGrant,
    /// The credential, still sealed.
    pub credential: Option<BoundCredential>,
    /// Where the credential goes.
    pub injection: Arc<Injection>,
    /// Non-secret values of the connection.
    pub config: Arc<Map<String, Value>>,
    /// Where attempts are recorded.
    pub log: Arc<dyn OutboundLog>,
    /// Most requests of this call.
    pub requests_max: u64,
    /// Which redirects are followed.
    pub redirects: RedirectPolicy,
    /// Lower limits than the gate's.
    pub limits: RequestLimits,
    /// Who reads the answers.
    pub answers: Answers,
    /// Stop before anything leaves, and show the request.
    pub dry_run: bool,
    /// Texts of the request that differ from run to run, for its hash.
    pub varying: Vec<String>,
    /// What keeps its connections apart.
    pub scope: Arc<PoolScope>,
}

/// Who reads the answers of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// A guest: every form of the credential is removed from them.
    Guest,
    /// The host's token keeper, whose answers are secrets themselves and go no further.
    TokenKeeper,
}

/// What happened in a call, for its run record.
#[derive(Debug, Clone, Default)]
pub struct GuardReport {
    /// Checks of the last request, in order.
    pub decisions: Vec<Decision>,
    /// Why the last request had no answer.
    pub failure: Option<Code>,
    /// Requests that were answered.
    pub requests: u64,
    /// Time spent waiting for upstreams, microseconds.
    pub upstream_us: u64,
    /// Status of the last answer.
    pub last_status: Option<u16>,
    /// Whether an echoed credential was removed.
    pub redacted: bool,
    /// Whether something of the last request may have reached the upstream.
    pub sent: bool,
    /// Hash of the first request, before its credential; see [`DryRun`].
    pub request_hash: Option<String>,
    /// The request that would have been sent, of a dry run.
    pub dry_run: Option<DryRun>,
}

#[derive(Default)]
struct State {
    asked: u64,
    bytes_out: u64,
    report: GuardReport,
}

/// The only way out that a guest is given.
pub struct Guard {
    gate: Arc<Gate>,
    spec: GuardSpec,
    state: Mutex<State>,
    ended: Arc<OnceLock<Code>>,
}

impl Gate {
    /// The capability of one call. Dropped with it.
    #[must_use]
    pub fn guard(self: &Arc<Self>, spec: GuardSpec) -> Guard {
        let state = Mutex::new(State::default());
        Guard { gate: Arc::clone(self), spec, state, ended: Arc::default() }
    }
}

impl Outbound for Guard {
    fn send(&self, request: OutboundRequest) -> BoxFuture<'_, Result<OutboundResponse, OutboundError>> {
        Box::pin(async move {
            match self.follow(request).await {
                Ok(response) => Ok(response),
                Err(error) => {
                    self.with_state(|s| s.report.failure = Some(error.code));
                    Err(error.guest)
                }
            }
        })
    }
}

/// A request that passed every check before the first packet.
struct Checked {
    target: PermittedTarget,
    hop: Hop,
    options: OutboundOptions,
}

impl Guard {
    /// What happened so far.
    #[must_use]
    pub fn report(&self) -> GuardReport {
        self.with_state(|s| s.report.clone())
    }

    /// Notes why the call is about to be dropped, for the ledger.
    pub fn end(&self, code: Code) {
        // Why ignored: the first reason stands.
        let _ = self.ended.set(code);
    }

    fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut lock(&self.state))
    }

    /// A request and the redirects it leads to, where they are followed.
    async fn follow(&self, request: OutboundRequest) -> Result<OutboundResponse, SendError> {
        let mut attempt = OutboundAttempt::new(request.method.as_str());
        let checked = self.check(request, &mut attempt);
        let (mut checked, mut response) = self.bracketed(checked, attempt).await?;
        let policy = self.spec.redirects;
        let mut hops = 0;
        while policy.follow != RedirectFollow::None && redirect::is_redirect(response.status) {
            let Some(location) = header(&response, "location") else { break };
            hops += 1;
            let mut attempt = OutboundAttempt::new(checked.hop.method.as_str());
            let next = if hops > policy.hops_max {
                attempt.origin = checked.target.target().origin().to_owned();
                Err(SendError::from(Code::RedirectForbidden))
            } else {
                self.check_redirect(response.status, &location, checked, &mut attempt)
            };
            (checked, response) = Box::pin(self.bracketed(next, attempt)).await?;
        }
        Ok(response)
    }

    /// One attempt inside its ledger bracket; a refusal has a record of its own.
    async fn bracketed(
        &self,
        checked: Result<Checked, SendError>,
        mut attempt: OutboundAttempt,
    ) -> Result<(Checked, OutboundResponse), SendError> {
        let started = Instant::now();
        let unavailable = |_| SendError::from(Code::LedgerUnavailable);
        self.with_state(|s| s.report.sent = false);
        if self.spec.dry_run {
            return Err(self.dry_run(&checked?));
        }
        let checked = match checked {
            Ok(checked) => checked,
            Err(error) => {
                attempt.verdict = error.verdict();
                attempt.code = Some(error.code);
                self.spec.log.refused(attempt).await.map_err(unavailable)?;
                return Err(error);
            }
        };
        attempt.bytes_out = checked.hop.body.len() as u64;
        let mut bracket = Bracket::begin(&self.spec.log, &self.ended, attempt).await.map_err(unavailable)?;
        let own_limit = self.spec.limits.timeout_ms.map(|ms| Duration::from_millis(u64::from(ms)));
        let total = cap(checked.options.total_timeout.or(own_limit), self.gate.limits.total_ms);
        let total = own_limit.map_or(total, |own| total.min(own));
        let outcome =
            match tokio::time::timeout(total, self.send_checked(&checked, &mut bracket.attempt)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(SendError::timeout(TimeoutPhase::Total)),
            };
        bracket.attempt.durations.total_us = Some(micros(started));
        if let Err(error) = &outcome {
            bracket.attempt.verdict = error.verdict();
            bracket.attempt.code = Some(error.code);
        }
        let (status, redacted) = (bracket.attempt.status, bracket.attempt.redacted);
        bracket.close().await;
        self.with_state(|s| {
            s.report.upstream_us += micros(started);
            s.report.last_status = status.or(s.report.last_status);
            s.report.redacted |= redacted;
            if outcome.is_ok() {
                s.report.requests += 1;
                s.report.failure = None;
            }
        });
        outcome.map(|response| (checked, response))
    }
}

/// A guest's wish for a timeout, which can only lower the host's.
fn cap(wish: Option<Duration>, limit_ms: u64) -> Duration {
    let limit = Duration::from_millis(limit_ms);
    wish.map_or(limit, |w| w.min(limit))
}

/// The first header of that name.
fn header(response: &OutboundResponse, name: &str) -> Option<Vec<u8>> {
    response.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone())
}
