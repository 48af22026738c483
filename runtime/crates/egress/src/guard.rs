//! The guard of one call: what the call may do, and what it did. Each request, and each redirect, passes
//! all checks (`guard/check.rs`) and is then sent (`guard/send.rs`). Made by the gate, dropped with the
//! call.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use http::HeaderValue;
use portcullis_core::connector::{RedirectPolicy, RequestLimits};
use portcullis_core::definition::RedirectFollow;
use portcullis_core::fault::Code;
use portcullis_core::grant::{EgressGrant, PermittedTarget};
use portcullis_core::injection::Injection;
use portcullis_core::ledger::PhaseDurations;
use portcullis_core::offload;
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
use crate::known_secrets::KnownSecrets;
use crate::pool::PoolScope;
use crate::redirect::{self, Hop};
use portcullis_core::sync::lock;

mod check;
mod send;

/// What one call may do, and its credential.
pub struct GuardSpec {
    /// Hosts, methods and paths that it may call.
    pub grant: EgressGrant,
    /// Still sealed.
    pub credential: Option<BoundCredential>,
    /// Where in a request the credential goes.
    pub injection: Arc<Injection>,
    /// Non-secret values of the connection.
    pub config: Arc<Map<String, Value>>,
    pub log: Arc<dyn OutboundLog>,
    /// The most requests of this call.
    pub requests_max: u64,
    pub redirects: RedirectPolicy,
    /// Limits of the definition; they only lower the gate's.
    pub limits: RequestLimits,
    pub answers: Answers,
    /// Whether an answer without a length may end without `close_notify`.
    pub unclean_close: bool,
    /// What follows the product's own name in `User-Agent`.
    pub user_agent_suffix: Option<HeaderValue>,
    /// Stop before anything is sent, and report the request.
    pub dry_run: bool,
    /// Texts of the request that differ from run to run; left out of its hash.
    pub varying: Vec<String>,
    pub scope: Arc<PoolScope>,
}

/// Who reads the responses of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// A guest: every form of every secret of the connection is removed.
    Guest,
    /// The host, in a token request: the response is a secret itself and stays in the host.
    TokenKeeper,
}

/// What happened in a call, for its run record.
#[derive(Debug, Clone, Default)]
pub struct GuardReport {
    /// The checks of the last request, in order.
    pub decisions: Vec<Decision>,
    /// Why the last request got no response.
    pub failure: Option<Code>,
    /// What that code alone does not say, for people.
    pub failure_detail: Option<String>,
    /// Requests that got a response.
    pub requests: u64,
    /// Microseconds spent waiting for upstreams.
    pub upstream_us: u64,
    /// Time of all requests by phase, without a total.
    pub phases: PhaseDurations,
    /// Status of the last response.
    pub last_status: Option<u16>,
    /// Where the last request went or was to go, `https://host[:port]`; empty if its URL has none that can be read.
    pub last_origin: String,
    /// Its entry in the ledger, if anything of it was about to be sent.
    pub last_entry: Option<String>,
    /// Whether the credential was removed from a response.
    pub redacted: bool,
    /// Whether any byte of the last request may have reached the upstream.
    pub sent: bool,
    /// Whether any request but a read may have reached an upstream.
    pub changed: bool,
    /// Hash of the first request, before its credential; see [`DryRun`].
    pub request_hash: Option<String>,
    /// In a dry run: the request that would have been sent.
    pub dry_run: Option<DryRun>,
}

#[derive(Default)]
struct State {
    asked: u64,
    bytes_out: u64,
    report: GuardReport,
    /// What was opened in this attempt.
    known: KnownSecrets,
    /// Whether the credential was opened to be sent.
    opened: bool,
    /// Whether the connection's other secrets were opened, too.
    others_opened: bool,
}

/// The only way for a guest to reach the network.
pub struct Guard {
    gate: Arc<Gate>,
    spec: GuardSpec,
    state: Mutex<State>,
    ended: Arc<OnceLock<Code>>,
}

impl Gate {
    /// The guard of one call; dropped with it.
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
                    self.with_state(|s| {
                        s.report.failure = Some(error.code);
                        s.report.failure_detail = error.words_about(&s.report.last_origin);
                    });
                    Err(error.guest)
                }
            }
        })
    }
}

/// A request that passed every check of `guard/check.rs`.
struct Checked {
    target: PermittedTarget,
    hop: Hop,
    options: OutboundOptions,
}

impl Guard {
    /// The report so far.
    #[must_use]
    pub fn report(&self) -> GuardReport {
        self.with_state(|s| s.report.clone())
    }

    /// Removes the secrets that were opened from a text of the guest.
    pub fn scrub(&self, text: &mut String) {
        self.with_state(|s| s.known.scrub(text));
    }

    /// Sets why the call is about to be dropped, for the ledger.
    pub fn end(&self, code: Code) {
        // Why ignored: the first reason counts.
        let _ = self.ended.set(code);
    }

    fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut lock(&self.state))
    }

    /// A request and the redirects that follow it, where the definition allows them.
    async fn follow(&self, request: OutboundRequest) -> Result<OutboundResponse, SendError> {
        // Why: a credential may be placed in the body, and a signature reads all of it.
        offload::over(request.body.as_ref().map_or(0, Vec::len)).await;
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

    /// One outbound request between its `begin` and `complete` records; a refusal has one separate record.
    async fn bracketed(
        &self,
        checked: Result<Checked, SendError>,
        mut attempt: OutboundAttempt,
    ) -> Result<(Checked, OutboundResponse), SendError> {
        let started = Instant::now();
        let unavailable = |_| SendError::from(Code::LedgerUnavailable);
        self.with_state(|s| {
            s.report.sent = false;
            s.report.last_origin.clone_from(&attempt.origin);
            s.report.last_entry = None;
        });
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
        self.with_state(|s| s.report.last_entry = bracket.entry());
        // Why again: the lists may have been replaced after the check, and before the call was known to send this.
        if let Some(code) = self.spec.grant.refused_since(&checked.target) {
            let error = SendError::from(code);
            (bracket.attempt.verdict, bracket.attempt.code) = (error.verdict(), Some(code));
            bracket.close().await;
            return Err(error);
        }
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
        let phases = bracket.attempt.durations.clone();
        bracket.close().await;
        self.with_state(|s| {
            s.report.upstream_us += micros(started);
            s.report.phases.add(&phases);
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

/// A timeout that the guest asked for, which can only lower the host's.
fn cap(wish: Option<Duration>, limit_ms: u64) -> Duration {
    let limit = Duration::from_millis(limit_ms);
    wish.map_or(limit, |w| w.min(limit))
}

fn header(response: &OutboundResponse, name: &str) -> Option<Vec<u8>> {
    response.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone())
}
