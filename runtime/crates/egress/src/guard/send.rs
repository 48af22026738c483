//! Sending a checked request: the connection, then the credential, then the response. Decides nothing that
//! `guard/check.rs` decides; called by the guard.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use portcullis_core::fault::Code;
use portcullis_core::offload;
use portcullis_core::outbound::{Method, OutboundResponse, TimeoutPhase};
use portcullis_core::target::Target;
use portcullis_core::verdict::Decision;

use super::{Answers, Checked, Guard, cap};
use crate::attempt::OutboundAttempt;
use crate::credential::CredentialError;
use crate::error::SendError;
use crate::gate::micros;
use crate::inject::{self, Message};
use crate::pool::{Connection, PoolKey};
use crate::redirect::Hop;
use crate::response::{self, Reading};
use crate::sender::SendFailure;

/// How much longer the search for secrets may take than other work over a text of that size.
const SEARCH_WEIGHT: usize = 2;

impl Guard {
    /// Gets a connection, opens and injects the credential, sends, and reads the response.
    pub(super) async fn send_checked(
        &self,
        checked: &Checked,
        attempt: &mut OutboundAttempt,
    ) -> Result<OutboundResponse, SendError> {
        let target = checked.target.target();
        let key = PoolKey {
            scope: Arc::clone(&self.spec.scope),
            host: target.host().to_owned(),
            port: target.port(),
        };
        let mut connection = match self.pooled(&key).await {
            Some(connection) => connection,
            // Why boxed: most requests find an idle connection, and their future stays small.
            None => Box::pin(self.open(&key, checked, attempt)).await?,
        };
        attempt.tls_version = Some(connection.tls_version.to_owned());
        attempt.chosen_address = Some(connection.address.clone());
        let hop = &checked.hop;
        let request = if hop.credential {
            self.inject(target, hop, attempt).await?
        } else {
            inject::plain(target, hop)?
        };
        let started = Instant::now();
        let reads = matches!(hop.method, Method::Get | Method::Head | Method::Options);
        self.with_state(|s| {
            s.report.sent = true;
            s.report.changed |= !reads;
        });
        let sent = self.exchange(&key, checked, &mut connection, request, attempt).await;
        attempt.durations.first_byte_us = Some(micros(started));
        let answer = sent?;
        attempt.status = Some(answer.status().as_u16());
        let own_max = self.gate.limits.response_bytes;
        let own_max = self.spec.limits.response_bytes.map_or(own_max, |bytes| bytes.min(own_max));
        let bytes_max = checked.options.response_bytes_max.map_or(own_max, |m| m.min(own_max));
        let reading = Reading { method: hop.method, bytes_max, unclean_close: self.spec.unclean_close };
        let read = response::read(answer, reading, &self.gate.limits, &mut attempt.bytes_in);
        if self.spec.answers == Answers::TokenKeeper {
            let raw = read.await?;
            self.gate.pool.put(key, connection);
            return Ok(raw.whole());
        }
        // Why at once: the body takes time to arrive.
        let (raw, others) = tokio::join!(read, self.open_others());
        let raw = raw?;
        self.gate.pool.put(key, connection);
        others?;
        offload::over(raw.body.len().saturating_mul(SEARCH_WEIGHT)).await;
        // Why taken out: the search takes time, and the state's lock is for moments.
        let known = self.with_state(|s| std::mem::take(&mut s.known));
        let seen = raw.for_guest(&known);
        self.with_state(|s| s.known = known);
        attempt.redacted = seen.redacted;
        Ok(seen)
    }

    /// Opens what the requests of this attempt did not need, once an answer has come: the upstream may know the
    /// connection's other secrets and echo them. Without them the answer cannot be cleaned, and nobody sees it.
    async fn open_others(&self) -> Result<(), SendError> {
        let Some(bound) = &self.spec.credential else { return Ok(()) };
        let (opened, done) = self.with_state(|s| (s.opened, s.others_opened));
        if done {
            return Ok(());
        }
        let others = bound.source.open_others(!opened).await;
        let others = others.map_err(|_| SendError::from(Code::Internal))?;
        self.with_state(|s| {
            s.known.add_fields(&others);
            s.others_opened = true;
        });
        Ok(())
    }

    /// An idle connection that is still open. Taken before the credential is opened, so that the credential
    /// is not held open through a new lookup and handshake.
    async fn pooled(&self, key: &PoolKey) -> Option<Connection> {
        while let Some(mut connection) = self.gate.pool.take(key) {
            if connection.sender.is_good().await {
                // Its address was judged when it was opened, and the key changes with every policy.
                self.with_state(|s| s.report.decisions.push(Decision::pass("addresses", None)));
                return Some(connection);
            }
        }
        None
    }

    async fn open(
        &self,
        key: &PoolKey,
        checked: &Checked,
        attempt: &mut OutboundAttempt,
    ) -> Result<Connection, SendError> {
        let own_limit = self.spec.limits.connect_timeout_ms.map(|ms| Duration::from_millis(u64::from(ms)));
        let timeout = checked.options.connect_timeout.into_iter().chain(own_limit).min();
        let made = self.gate.connect(key, checked.target.clone(), timeout, attempt).await;
        let decision = match &made {
            Err(code @ (Code::AddressForbidden | Code::DnsFailed)) => Decision::refuse("addresses", *code),
            _ => Decision::pass("addresses", None),
        };
        self.with_state(|s| s.report.decisions.push(decision));
        made.map_err(SendError::from)
    }

    /// Sends one message. A pooled connection that the upstream closed before anything was written is
    /// replaced once. A request that may have been sent is not repeated here.
    async fn exchange(
        &self,
        key: &PoolKey,
        checked: &Checked,
        connection: &mut Connection,
        message: Request<Full<Bytes>>,
        attempt: &mut OutboundAttempt,
    ) -> Result<Response<Incoming>, SendError> {
        let first_byte = cap(checked.options.first_byte_timeout, self.gate.limits.first_byte_ms);
        let late = |_| SendError::timeout(TimeoutPhase::FirstByte);
        let unsent =
            match tokio::time::timeout(first_byte, connection.sender.send(message)).await.map_err(late)? {
                Ok(answer) => return Ok(answer),
                Err(SendFailure::NotSent(message)) => message,
                Err(failure) => return Err(self.unanswered(&failure)),
            };
        // Why: if the new connection fails, nothing was sent.
        self.with_state(|s| s.report.sent = false);
        *connection = Box::pin(self.open(key, checked, attempt)).await?;
        attempt.tls_version = Some(connection.tls_version.to_owned());
        self.with_state(|s| s.report.sent = true);
        let again = Box::pin(connection.sender.send(*unsent));
        let answer = tokio::time::timeout(first_byte, again).await.map_err(late)?;
        answer.map_err(|failure| self.unanswered(&failure))
    }

    /// The error for a request that was sent and got no answer that can be read.
    fn unanswered(&self, failure: &SendFailure) -> SendError {
        match failure {
            SendFailure::HeadTooLarge => response::head_too_large(&self.gate.limits),
            SendFailure::Lost | SendFailure::NotSent(_) => SendError::from(Code::UpstreamProtocol),
        }
    }

    /// Opens the credential and puts it into the message, just before the message is written.
    async fn inject(
        &self,
        target: &Target,
        hop: &Hop,
        attempt: &mut OutboundAttempt,
    ) -> Result<Request<Full<Bytes>>, SendError> {
        let missing = || SendError::from(Code::CredentialMissing);
        let bound = self.spec.credential.as_ref().ok_or_else(missing)?;
        // Why the host is checked again: only the list inside the seal counts.
        let fields = bound.source.open(target.host()).await.map_err(|error| match error {
            CredentialError::NotBound => SendError::from(Code::CredentialNotBound),
            CredentialError::Closed => SendError::from(Code::Internal),
        })?;
        let Message { request, secrets } =
            inject::with_credential(target, hop, &self.spec.injection, &fields, &self.spec.config)?;
        self.with_state(|s| {
            s.known.add_fields(&fields);
            s.known.add_made(secrets);
            s.opened = true;
        });
        attempt.credential_slot = Some(bound.slot.clone());
        attempt.credential_version = Some(bound.version);
        Ok(request)
    }
}
