//! The guard of one call: every request of a guest passes through [`Guard::send`], from the top.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use portcullis_core::fault::Code;
use portcullis_core::grant::{EgressGrant, PermittedTarget};
use portcullis_core::host_pattern::HostPattern;
use portcullis_core::injection::{Injected, Injection};
use portcullis_core::outbound::{
    BoxFuture, LimitKind, Outbound, OutboundError, OutboundRequest, OutboundResponse, TimeoutPhase,
};
use portcullis_core::verdict::Decision;
use serde_json::{Map, Value};

use crate::attempt::{Attempt, AttemptLog, Bracket};
use crate::credential::BoundCredential;
use crate::error::SendError;
use crate::gate::{Gate, micros};
use crate::pool::{Connection, PoolKey};
use crate::scrub::Scrubber;
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
}

/// What one call may do and with what.
pub struct GuardSpec {
    /// Where it may go.
    pub grant: EgressGrant,
    /// The credential, still sealed.
    pub credential: Option<BoundCredential>,
    /// Where the credential goes.
    pub injection: Injection,
    /// Non-secret values of the connection.
    pub config: Arc<Map<String, Value>>,
    /// Where attempts are recorded.
    pub log: Arc<dyn AttemptLog>,
    /// Most requests of this call.
    pub requests_max: u64,
    /// What keeps its connections apart.
    pub scope: PoolScope,
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
}

impl Outbound for Guard {
    fn send(&self, request: OutboundRequest) -> BoxFuture<'_, Result<OutboundResponse, OutboundError>> {
        Box::pin(async move {
            match self.attempt(request).await {
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
    headers: HeaderMap,
    body: Bytes,
    request: OutboundRequest,
}

impl Guard {
    pub(crate) fn new(gate: Arc<Gate>, spec: GuardSpec) -> Self {
        Self { gate, spec, state: Mutex::new(State::default()) }
    }

    /// What happened so far.
    #[must_use]
    pub fn report(&self) -> GuardReport {
        self.with_state(|s| s.report.clone())
    }

    fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn attempt(&self, request: OutboundRequest) -> Result<OutboundResponse, SendError> {
        let started = Instant::now();
        let mut attempt = Attempt::new(request.method.as_str());
        let cleared = match self.clear(request, &mut attempt) {
            Ok(cleared) => cleared,
            Err(error) => {
                attempt.verdict = error.verdict();
                attempt.code = Some(error.code);
                self.spec.log.refused(attempt).await.map_err(|_| SendError::from(Code::LedgerUnavailable))?;
                return Err(error);
            }
        };
        attempt.bytes_out = cleared.body.len() as u64;
        let mut bracket = Bracket::begin(&self.spec.log, attempt)
            .await
            .map_err(|_| SendError::from(Code::LedgerUnavailable))?;
        let total = cap(cleared.request.options.total_timeout, self.gate.limits.total_ms);
        let outcome = match tokio::time::timeout(total, self.perform(cleared, &mut bracket.attempt)).await {
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
        outcome
    }

    /// Every check that needs no packet: lists, action, headers, caps, quotas, credential slot.
    fn clear(&self, mut request: OutboundRequest, attempt: &mut Attempt) -> Result<Cleared, SendError> {
        let limits = &self.gate.limits;
        let (verdict, permitted) = self.spec.grant.permit(request.url.as_bytes(), request.method);
        if let Some(target) = &verdict.target {
            attempt.origin = target.origin();
            attempt.path = target.path().to_owned();
        }
        attempt.matched_connector.clone_from(&verdict.matched_connector);
        attempt.matched_org.clone_from(&verdict.matched_org);
        self.with_state(|s| s.report.decisions = verdict.decisions);
        let target = match (permitted, verdict.refusal) {
            (Some(target), None) => target,
            (_, refusal) => return Err(SendError::from(refusal.unwrap_or(Code::UrlInvalid))),
        };
        let injected = self.spec.injection.header_names();
        let headers =
            request::check(&request, &injected, limits).inspect_err(|e| self.refuse("headers", e.code))?;
        let body = Bytes::from(request.body.take().unwrap_or_default());
        self.count(body.len() as u64).inspect_err(|e| self.refuse("quota", e.code))?;
        self.check_slot(&request).inspect_err(|e| self.refuse("credential", e.code))?;
        Ok(Cleared { target, headers, body, request })
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

    fn check_slot(&self, request: &OutboundRequest) -> Result<(), SendError> {
        match (&request.credential, &self.spec.credential) {
            (None, _) => Ok(()),
            (Some(slot), Some(bound)) if *slot == bound.slot => Ok(()),
            (Some(_), _) => Err(SendError::from(Code::CredentialMissing)),
        }
    }

    /// Everything that needs the network, and the credential at the end of it.
    async fn perform(&self, cleared: Cleared, attempt: &mut Attempt) -> Result<OutboundResponse, SendError> {
        let target = cleared.target.target();
        let key =
            PoolKey { scope: self.spec.scope.clone(), host: target.host().to_owned(), port: target.port() };
        let wants_credential = cleared.request.credential.is_some();
        let mut connection = match self.gate.pool.take(&key) {
            Some(connection) => connection,
            None => self.open(&key, &cleared, attempt).await?,
        };
        attempt.tls_version = Some(connection.tls_version.to_owned());
        attempt.chosen_address = Some(connection.peer.ip().to_string());
        let injected = if wants_credential { Some(self.inject(target.host(), attempt).await?) } else { None };
        let message = request::assemble(
            target,
            cleared.request.method,
            cleared.headers.clone(),
            cleared.body.clone(),
            injected.as_ref(),
        )?;
        let first_byte = cap(cleared.request.options.first_byte_timeout, self.gate.limits.first_byte_ms);
        let started = Instant::now();
        let sent = self.exchange(&key, &cleared, &mut connection, message, first_byte, attempt).await;
        attempt.durations.first_byte_us = Some(micros(started));
        let answer = sent?;
        attempt.status = Some(answer.status().as_u16());
        let own_max = self.gate.limits.response_bytes;
        let bytes_max = cleared.request.options.response_bytes_max.map_or(own_max, |m| m.min(own_max));
        let raw = response::read(answer, &self.gate.limits, bytes_max, &mut attempt.bytes_in).await?;
        self.gate.pool.put(key, connection);
        Ok(scrub(raw, injected.as_ref(), attempt))
    }

    async fn open(
        &self,
        key: &PoolKey,
        cleared: &Cleared,
        attempt: &mut Attempt,
    ) -> Result<Connection, SendError> {
        let timeout = cleared.request.options.connect_timeout;
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
        first_byte: Duration,
        attempt: &mut Attempt,
    ) -> Result<Response<Incoming>, SendError> {
        let unsent = match send_once(connection, message, first_byte).await? {
            Sent::Answer(answer) => return Ok(answer),
            Sent::NotSent(message) => message,
        };
        *connection = self.open(key, cleared, attempt).await?;
        match send_once(connection, *unsent, first_byte).await? {
            Sent::Answer(answer) => Ok(answer),
            Sent::NotSent(_) => Err(SendError::from(Code::UpstreamProtocol)),
        }
    }

    /// Opens the credential and turns it into headers: the last thing before the request is written.
    async fn inject(&self, host: &str, attempt: &mut Attempt) -> Result<Injected, SendError> {
        let missing = || SendError::from(Code::CredentialMissing);
        let bound = self.spec.credential.as_ref().ok_or_else(missing)?;
        let opened = bound.source.open().await.map_err(|_| SendError::from(Code::Internal))?;
        let sealed_for_host = opened
            .allowed_hosts
            .iter()
            .any(|entry| HostPattern::parse(entry).is_ok_and(|pattern| pattern.matches(host)));
        if !sealed_for_host {
            return Err(SendError::from(Code::CredentialNotBound));
        }
        let injected = self.spec.injection.apply(&opened.fields, &self.spec.config).map_err(|error| {
            tracing::info!(%error, "the credential cannot be injected");
            missing()
        })?;
        attempt.credential_slot = Some(bound.slot.clone());
        attempt.credential_version = Some(bound.version);
        Ok(injected)
    }
}

/// A guest's wish for a timeout, which can only lower the host's.
fn cap(wish: Option<Duration>, limit_ms: u64) -> Duration {
    let limit = Duration::from_millis(limit_ms);
    wish.map_or(limit, |w| w.min(limit))
}

enum Sent {
    Answer(Response<Incoming>),
    NotSent(Box<Request<Full<Bytes>>>),
}

async fn send_once(
    connection: &mut Connection,
    message: Request<Full<Bytes>>,
    first_byte: Duration,
) -> Result<Sent, SendError> {
    if connection.sender.ready().await.is_err() {
        return Ok(Sent::NotSent(Box::new(message)));
    }
    let answer = tokio::time::timeout(first_byte, connection.sender.try_send_request(message))
        .await
        .map_err(|_| SendError::timeout(TimeoutPhase::FirstByte))?;
    match answer {
        Ok(answer) => Ok(Sent::Answer(answer)),
        Err(mut error) => match error.take_message() {
            Some(message) => Ok(Sent::NotSent(Box::new(message))),
            None => Err(SendError::from(Code::UpstreamProtocol)),
        },
    }
}

/// Removes every form of the credential from what the guest will see.
fn scrub(raw: response::Raw, injected: Option<&Injected>, attempt: &mut Attempt) -> OutboundResponse {
    let response::Raw { status, mut headers, mut body } = raw;
    let mut redacted = false;
    if let Some(injected) = injected {
        let scrubber = Scrubber::new(injected.secrets.iter().map(|s| s.as_str()));
        redacted |= scrubber.scrub(&mut body);
        let before = headers.len();
        headers.retain(|(name, _)| !scrubber.is_in(name.as_bytes()));
        redacted |= headers.len() != before;
        for (_, value) in &mut headers {
            redacted |= scrubber.scrub(value);
        }
        if redacted {
            headers.retain(|(name, _)| name != "content-length");
        }
    }
    attempt.redacted = redacted;
    OutboundResponse { status, headers, body, redacted }
}
