//! The checks of a request that need no network, in their fixed order. Opens no credential and records
//! nothing in the ledger; called by the guard.

use http::header::USER_AGENT;
use hyper::body::Bytes;
use portcullis_core::fault::Code;
use portcullis_core::grant::PermittedTarget;
use portcullis_core::outbound::{LimitKind, OutboundRequest};
use portcullis_core::verdict::{CheckVerdict, Decision, Verdict};

use super::{Checked, Guard};
use crate::attempt::OutboundAttempt;
use crate::credential::sealed_for;
use crate::error::SendError;
use crate::redirect::{self, Hop};
use crate::{dry_run, request};

impl Guard {
    /// Every check that needs no network: lists, action, headers, size limits, quotas, credential slot.
    pub(super) fn check(
        &self,
        mut request: OutboundRequest,
        attempt: &mut OutboundAttempt,
    ) -> Result<Checked, SendError> {
        let limits = &self.gate.limits;
        let (verdict, permitted) = self.spec.grant.permit(request.url.as_bytes(), request.method);
        let target = self.judged(verdict, permitted, attempt)?;
        let injected = self.spec.injection.header_names();
        let mut headers =
            request::check(&request, &injected, limits).inspect_err(|e| self.refuse("headers", e.code))?;
        self.check_query(&target)?;
        if let Some(agent) = self.spec.user_agent_suffix.as_ref().and_then(request::agent) {
            headers.insert(USER_AGENT, agent);
        }
        let body = Bytes::from(request.body.take().unwrap_or_default());
        self.count(body.len() as u64).inspect_err(|e| self.refuse("quota", e.code))?;
        self.check_slot(&request, target.target().host())
            .inspect_err(|e| self.refuse("credential", e.code))?;
        let hop = Hop { method: request.method, headers, body, credential: request.credential.is_some() };
        self.with_state(|s| {
            let report = &mut s.report;
            report
                .request_hash
                .get_or_insert_with(|| dry_run::hash(target.target(), &hop, &self.spec.varying));
        });
        Ok(Checked { target, hop, options: request.options })
    }

    /// The same checks for the target of a redirect, and the request that goes there.
    pub(super) fn check_redirect(
        &self,
        status: u16,
        location: &[u8],
        before: Checked,
        attempt: &mut OutboundAttempt,
    ) -> Result<Checked, SendError> {
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
        Ok(Checked { target, hop, options: before.options })
    }

    /// Records a verdict for the ledger and the report; returns the target that it permits.
    fn judged(
        &self,
        verdict: Verdict,
        permitted: Option<PermittedTarget>,
        attempt: &mut OutboundAttempt,
    ) -> Result<PermittedTarget, SendError> {
        if let Some(target) = &verdict.target {
            attempt.origin = target.origin().to_owned();
            attempt.path = target.path().to_owned();
        }
        attempt.matched_connector.clone_from(&verdict.matched_connector);
        attempt.matched_org.clone_from(&verdict.matched_org);
        attempt.would_refuse = verdict.decisions.iter().any(|d| d.verdict == CheckVerdict::WouldRefuse);
        // Why not the org's entries: whoever calls need not be a reader of the org's list.
        let words = verdict.refusal.and_then(|_| verdict.refusal_text(&self.spec.grant.rules(), false));
        self.with_state(|s| s.report.decisions = verdict.decisions);
        match (permitted, verdict.refusal) {
            (Some(target), None) => Ok(target),
            (_, refusal) => {
                let error = SendError::from(refusal.unwrap_or(Code::UrlInvalid));
                Err(SendError { detail: words, ..error })
            }
        }
    }

    /// Reports the request that would be sent; the returned error ends the guest.
    pub(super) fn dry_run(&self, checked: &Checked) -> SendError {
        let (target, hop) = (checked.target.target(), &checked.hop);
        let hash = self.with_state(|s| s.report.request_hash.clone()).unwrap_or_default();
        match dry_run::show(target, hop, &self.spec.injection, &self.spec.config, hash) {
            Ok(shown) => {
                self.with_state(|s| {
                    s.report.dry_run.get_or_insert(shown);
                });
                SendError::from(Code::CallEnded)
            }
            Err(error) => error,
        }
    }

    /// Refuses a query that already has the parameter that the credential will set.
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

    /// Checks that the slot exists and that its credential was sealed for this host.
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
}
