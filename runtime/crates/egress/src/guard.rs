//! The guard of one call: every request of a guest passes through [`Guard::send`], from the top.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use portcullis_core::connector::{RedirectPolicy, RequestLimits};
use portcullis_core::definition::RedirectFollow;
use portcullis_core::fault::Code;
use portcullis_core::grant::{EgressGrant, PermittedTarget};
use portcullis_core::injection::Injection;
use portcullis_core::outbound::{
    BoxFuture, LimitKind, Outbound, OutboundError, OutboundOptions, OutboundRequest, OutboundResponse,
    TimeoutPhase,
};
use portcullis_core::target::Target;
use portcullis_core::verdict::{CheckVerdict, Decision, Verdict};
use serde_json::{Map, Value};

use crate::attempt::{Attempt, AttemptLog, Bracket};
use crate::credential::{BoundCredential, CredentialError, sealed_for};
use crate::error::SendError;
use crate::gate::{Gate, micros};
use crate::inject::{self, Message};
use crate::pool::{Connection, PoolKey};
use crate::redirect::{self, Hop};
use crate::rehearsal::{self, Rehearsal};
use crate::sender::SendFailure;
use crate::{request, response};

/// What keeps pooled connections and TLS sessions apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolScope {
    /// `org/workspace`.
    pub workspace: String,
    /// Connector id.
    pub connector: String,
    /// Version of the credential.
    pub credential_version: u64,
    /// Counts up with every change of connector, credential or org policy.
    pub policy_generation: u64,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
}

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
    pub log: Arc<dyn AttemptLog>,
    /// Most requests of this call.
    pub requests_max: u64,
    /// Which redirects are followed.
    pub redirects: RedirectPolicy,
    /// Lower limits than the gate's.
    pub limits: RequestLimits,
    /// Who reads the answers.
    pub answers: Answers,
    /// Stop before anything leaves, and show the request.
    pub rehearse: bool,
    /// Texts of the request that differ from run to run, for its hash.
    pub varying: Vec<String>,
    /// What keeps its connections apart.
    pub scope: PoolScope,
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
    /// Hash of the first request, before its credential; see [`Rehearsal`].
    pub request_hash: Option<String>,
    /// The request that would have been sent, of a call that is a rehearsal.
    pub rehearsal: Option<Rehearsal>,
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
struct Cleared {
    target: PermittedTarget,
    hop: Hop,
    options: OutboundOptions,
}

impl Guard {
    pub(crate) fn new(gate: Arc<Gate>, spec: GuardSpec) -> Self {
        Self { gate, spec, state: Mutex::new(State::default()), ended: Arc::default() }
    }

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
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A request and the redirects it leads to, where they are followed.
    async fn follow(&self, request: OutboundRequest) -> Result<OutboundResponse, SendError> {
        let mut attempt = Attempt::new(request.method.as_str());
        let cleared = self.clear(request, &mut attempt);
        let (mut cleared, mut response) = self.bracketed(cleared, attempt).await?;
        let policy = self.spec.redirects;
        let mut hops = 0;
        while policy.follow != RedirectFollow::None && redirect::is_redirect(response.status) {
            let Some(location) = header(&response, "location") else { break };
            hops += 1;
            let mut attempt = Attempt::new(cleared.hop.method.as_str());
            let next = if hops > policy.hops_max {
                attempt.origin = cleared.target.target().origin();
                Err(SendError::from(Code::RedirectForbidden))
            } else {
                self.clear_redirect(response.status, &location, cleared, &mut attempt)
            };
            (cleared, response) = self.bracketed(next, attempt).await?;
        }
        Ok(response)
    }

    /// One attempt inside its ledger bracket; a refusal has a record of its own.
    async fn bracketed(
        &self,
        cleared: Result<Cleared, SendError>,
        mut attempt: Attempt,
    ) -> Result<(Cleared, OutboundResponse), SendError> {
        let started = Instant::now();
        let unavailable = |_| SendError::from(Code::LedgerUnavailable);
        self.with_state(|s| s.report.sent = false);
        if self.spec.rehearse {
            return Err(self.rehearse(&cleared?));
        }
        let cleared = match cleared {
            Ok(cleared) => cleared,
            Err(error) => {
                attempt.verdict = error.verdict();
                attempt.code = Some(error.code);
                self.spec.log.refused(attempt).await.map_err(unavailable)?;
                return Err(error);
            }
        };
        attempt.bytes_out = cleared.hop.body.len() as u64;
        let mut bracket = Bracket::begin(&self.spec.log, &self.ended, attempt).await.map_err(unavailable)?;
        let own_limit = self.spec.limits.timeout_ms.map(|ms| Duration::from_millis(u64::from(ms)));
        let total = cap(cleared.options.total_timeout.or(own_limit), self.gate.limits.total_ms);
        let total = own_limit.map_or(total, |own| total.min(own));
        let outcome = match tokio::time::timeout(total, self.perform(&cleared, &mut bracket.attempt)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(SendError::timeout(TimeoutPhase::Total)),
        };
        bracket.attempt.durations.total_us = Some(micros(started));
        if let Err(error) = &outcome {
            bracket.attempt.verdict = error.verdict();
            bracket.attempt.code = Some(error.code);
        }
        let done = bracket.close().await;
        self.with_state(|s| {
            s.report.upstream_us += micros(started);
            s.report.last_status = done.status.or(s.report.last_status);
            s.report.redacted |= done.redacted;
            if outcome.is_ok() {
                s.report.requests += 1;
                s.report.failure = None;
            }
        });
        outcome.map(|response| (cleared, response))
    }

    /// Every check that needs no packet: lists, action, headers, caps, quotas, credential slot.
    fn clear(&self, mut request: OutboundRequest, attempt: &mut Attempt) -> Result<Cleared, SendError> {
        let limits = &self.gate.limits;
        let (verdict, permitted) = self.spec.grant.permit(request.url.as_bytes(), request.method);
        let target = self.judged(verdict, permitted, attempt)?;
        let injected = self.spec.injection.header_names();
        let headers =
            request::check(&request, &injected, limits).inspect_err(|e| self.refuse("headers", e.code))?;
        self.check_query(&target)?;
        let body = Bytes::from(request.body.take().unwrap_or_default());
        self.count(body.len() as u64).inspect_err(|e| self.refuse("quota", e.code))?;
        self.check_slot(&request, target.target().host())
            .inspect_err(|e| self.refuse("credential", e.code))?;
        let hop = Hop { method: request.method, headers, body, credential: request.credential.is_some() };
        self.with_state(|s| {
            let report = &mut s.report;
            report
                .request_hash
                .get_or_insert_with(|| rehearsal::hash(target.target(), &hop, &self.spec.varying));
        });
        Ok(Cleared { target, hop, options: request.options })
    }

    /// The same from the top for a redirect's target, and what goes along.
    fn clear_redirect(
        &self,
        status: u16,
        location: &[u8],
        before: Cleared,
        attempt: &mut Attempt,
    ) -> Result<Cleared, SendError> {
        let from = before.target.target();
        let url = redirect::location(from, location, self.gate.limits.url_bytes)
            .inspect_err(|code| self.refuse("redirect", *code))?;
        let (verdict, permitted) =
            self.spec.grant.permit_redirect(url.as_bytes(), from, self.spec.redirects.follow);
        let target = self.judged(verdict, permitted, attempt)?;
        let hop = redirect::hop(status, from, target.target(), before.hop)
            .inspect_err(|code| self.refuse("redirect", *code))?;
        attempt.method = hop.method.as_str();
        if hop.credential {
            self.check_query(&target)?;
        }
        Ok(Cleared { target, hop, options: before.options })
    }

    /// Notes a verdict in attempt and report, and gives the target it permits.
    fn judged(
        &self,
        verdict: Verdict,
        permitted: Option<PermittedTarget>,
        attempt: &mut Attempt,
    ) -> Result<PermittedTarget, SendError> {
        if let Some(target) = &verdict.target {
            attempt.origin = target.origin();
            attempt.path = target.path().to_owned();
        }
        attempt.matched_connector.clone_from(&verdict.matched_connector);
        attempt.matched_org.clone_from(&verdict.matched_org);
        attempt.would_refuse = verdict.decisions.iter().any(|d| d.verdict == CheckVerdict::WouldRefuse);
        self.with_state(|s| s.report.decisions = verdict.decisions);
        match (permitted, verdict.refusal) {
            (Some(target), None) => Ok(target),
            (_, refusal) => Err(SendError::from(refusal.unwrap_or(Code::UrlInvalid))),
        }
    }

    /// Notes the request that would be sent; the error ends the guest.
    fn rehearse(&self, cleared: &Cleared) -> SendError {
        let (target, hop) = (cleared.target.target(), &cleared.hop);
        let hash = self.with_state(|s| s.report.request_hash.clone()).unwrap_or_default();
        match rehearsal::rehearse(target, hop, &self.spec.injection, &self.spec.config, hash) {
            Ok(shown) => {
                self.with_state(|s| s.report.rehearsal = Some(shown));
                SendError::from(Code::CallEnded)
            }
            Err(error) => error,
        }
    }

    /// The query has no pair of the name that the credential will take.
    fn check_query(&self, target: &PermittedTarget) -> Result<(), SendError> {
        if self.spec.injection.query_is_taken(target.target().query()) {
            self.refuse("query", Code::QueryForbidden);
            return Err(SendError::from(Code::QueryForbidden));
        }
        Ok(())
    }

    fn refuse(&self, check: &'static str, code: Code) {
        self.with_state(|s| s.report.decisions.push(Decision::refuse(check, code)));
    }

    fn count(&self, body_bytes: u64) -> Result<(), SendError> {
        let limits = &self.gate.limits;
        self.with_state(|s| {
            s.asked += 1;
            s.bytes_out += body_bytes;
            if s.asked > self.spec.requests_max {
                return Err(SendError::limit(Code::CallsExceeded, LimitKind::Calls, self.spec.requests_max));
            }
            if s.bytes_out > limits.outbound_bytes_per_call {
                let limit = limits.outbound_bytes_per_call;
                return Err(SendError::limit(Code::CallsExceeded, LimitKind::RequestBytes, limit));
            }
            Ok(())
        })
    }

    /// The slot exists, and its credential was sealed for this host.
    fn check_slot(&self, request: &OutboundRequest, host: &str) -> Result<(), SendError> {
        match (&request.credential, &self.spec.credential) {
            (None, _) => Ok(()),
            (Some(slot), Some(bound)) if *slot == bound.slot => {
                match sealed_for(&bound.allowed_hosts, host) {
                    true => Ok(()),
                    false => Err(SendError::from(Code::CredentialNotBound)),
                }
            }
            (Some(_), _) => Err(SendError::from(Code::CredentialMissing)),
        }
    }

    /// Everything that needs the network, and the credential at the end of it.
    async fn perform(&self, cleared: &Cleared, attempt: &mut Attempt) -> Result<OutboundResponse, SendError> {
        let target = cleared.target.target();
        let key =
            PoolKey { scope: self.spec.scope.clone(), host: target.host().to_owned(), port: target.port() };
        let mut connection = match self.pooled(&key).await {
            Some(connection) => connection,
            None => self.open(&key, cleared, attempt).await?,
        };
        attempt.tls_version = Some(connection.tls_version.to_owned());
        attempt.chosen_address = Some(connection.peer.ip().to_string());
        let hop = &cleared.hop;
        let Message { request, secrets } = if hop.credential {
            self.inject(target, hop, attempt).await?
        } else {
            inject::plain(target, hop)?
        };
        let started = Instant::now();
        self.with_state(|s| s.report.sent = true);
        let sent = self.exchange(&key, cleared, &mut connection, request, attempt).await;
        attempt.durations.first_byte_us = Some(micros(started));
        let answer = sent?;
        attempt.status = Some(answer.status().as_u16());
        let own_max = self.gate.limits.response_bytes;
        let own_max = self.spec.limits.response_bytes.map_or(own_max, |bytes| bytes.min(own_max));
        let bytes_max = cleared.options.response_bytes_max.map_or(own_max, |m| m.min(own_max));
        let raw =
            response::read(answer, hop.method, &self.gate.limits, bytes_max, &mut attempt.bytes_in).await?;
        self.gate.pool.put(key, connection);
        Ok(match self.spec.answers {
            Answers::Guest => {
                let seen = raw.for_guest(&secrets);
                attempt.redacted = seen.redacted;
                seen
            }
            Answers::TokenKeeper => raw.whole(),
        })
    }

    /// An idle connection that is still good. Asked before the credential is opened, so that a dead one
    /// does not keep it open through a new lookup and handshake.
    async fn pooled(&self, key: &PoolKey) -> Option<Connection> {
        while let Some(mut connection) = self.gate.pool.take(key) {
            if connection.sender.is_good().await {
                // Judged when it was opened; the key changes with every policy.
                self.with_state(|s| s.report.decisions.push(Decision::pass("addresses", None)));
                return Some(connection);
            }
        }
        None
    }

    async fn open(
        &self,
        key: &PoolKey,
        cleared: &Cleared,
        attempt: &mut Attempt,
    ) -> Result<Connection, SendError> {
        let own_limit = self.spec.limits.connect_timeout_ms.map(|ms| Duration::from_millis(u64::from(ms)));
        let timeout = cleared.options.connect_timeout.into_iter().chain(own_limit).min();
        let made = self.gate.connect(key, cleared.target.clone(), timeout, attempt).await;
        let decision = match &made {
            Err(code @ (Code::AddressForbidden | Code::DnsFailed)) => Decision::refuse("addresses", *code),
            _ => Decision::pass("addresses", None),
        };
        self.with_state(|s| s.report.decisions.push(decision));
        made.map_err(SendError::from)
    }

    /// Sends one message. A pooled connection that the upstream closed before anything was written
    /// is replaced once; a request that may have been sent is never repeated here.
    async fn exchange(
        &self,
        key: &PoolKey,
        cleared: &Cleared,
        connection: &mut Connection,
        message: Request<Full<Bytes>>,
        attempt: &mut Attempt,
    ) -> Result<Response<Incoming>, SendError> {
        let first_byte = cap(cleared.options.first_byte_timeout, self.gate.limits.first_byte_ms);
        let late = |_| SendError::timeout(TimeoutPhase::FirstByte);
        let lost = || SendError::from(Code::UpstreamProtocol);
        let unsent =
            match tokio::time::timeout(first_byte, connection.sender.send(message)).await.map_err(late)? {
                Ok(answer) => return Ok(answer),
                Err(SendFailure::NotSent(message)) => message,
                Err(SendFailure::Lost) => return Err(lost()),
            };
        // Why: should the new connection fail, nothing was sent at all.
        self.with_state(|s| s.report.sent = false);
        *connection = self.open(key, cleared, attempt).await?;
        self.with_state(|s| s.report.sent = true);
        let answer = tokio::time::timeout(first_byte, connection.sender.send(*unsent)).await.map_err(late)?;
        answer.map_err(|_| lost())
    }

    /// Opens the credential and puts it into the message: the last thing before the request is written.
    async fn inject(&self, target: &Target, hop: &Hop, attempt: &mut Attempt) -> Result<Message, SendError> {
        let missing = || SendError::from(Code::CredentialMissing);
        let bound = self.spec.credential.as_ref().ok_or_else(missing)?;
        // Why the host again: the list outside the seal is a convenience, the sealed one is the rule.
        let fields = bound.source.open(target.host()).await.map_err(|error| match error {
            CredentialError::NotBound => SendError::from(Code::CredentialNotBound),
            CredentialError::Closed => SendError::from(Code::Internal),
        })?;
        let message = inject::with_credential(target, hop, &self.spec.injection, &fields, &self.spec.config)?;
        attempt.credential_slot = Some(bound.slot.clone());
        attempt.credential_version = Some(bound.version);
        Ok(message)
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
