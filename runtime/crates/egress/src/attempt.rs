//! One outbound request as the ledger records it, and the pair of records around it. Called by the guard.
//!
//! `begin` must succeed before anything is sent, a DNS query included. `complete` is written in every case,
//! also when the call is dropped half-way.

use std::sync::{Arc, OnceLock};

use portcullis_core::fault::Code;
use portcullis_core::host_pattern::HostPattern;
use portcullis_core::ledger::{LedgerVerdict, PhaseDurations};
use portcullis_core::outbound::BoxFuture;

/// The facts of one outbound request. No secret, no query, no body.
#[derive(Debug, Clone)]
pub struct OutboundAttempt {
    pub method: &'static str,
    /// `https://host[:port]`; empty when the URL has none that can be read.
    pub origin: String,
    /// Without the query.
    pub path: String,
    /// Verdict so far.
    pub verdict: LedgerVerdict,
    /// Why it was refused, or why it failed.
    pub code: Option<Code>,
    /// Entry of the connector's list that matched.
    pub matched_connector: Option<HostPattern>,
    /// Entry of the org's list that matched.
    pub matched_org: Option<HostPattern>,
    /// The org's list would have refused it, had it been enforced.
    pub would_refuse: bool,
    /// Every address of the DNS answer.
    pub addresses: Vec<String>,
    /// The address connected to.
    pub chosen_address: Option<String>,
    pub tls_version: Option<String>,
    pub status: Option<u16>,
    /// Request body bytes.
    pub bytes_out: u64,
    /// Response body bytes as received.
    pub bytes_in: u64,
    pub durations: PhaseDurations,
    pub credential_slot: Option<String>,
    pub credential_version: Option<u64>,
    /// Whether the credential was removed from the response.
    pub redacted: bool,
}

impl OutboundAttempt {
    /// A request that was refused before it was made.
    #[must_use]
    pub fn refused(method: &'static str, origin: String, code: Code) -> Self {
        Self { origin, verdict: LedgerVerdict::Refuse, code: Some(code), ..Self::new(method) }
    }

    pub(crate) const fn new(method: &'static str) -> Self {
        Self {
            method,
            origin: String::new(),
            path: String::new(),
            verdict: LedgerVerdict::Allow,
            code: None,
            matched_connector: None,
            matched_org: None,
            would_refuse: false,
            addresses: Vec::new(),
            chosen_address: None,
            tls_version: None,
            status: None,
            bytes_out: 0,
            bytes_in: 0,
            durations: PhaseDurations {
                dns_us: None,
                connect_us: None,
                tls_us: None,
                first_byte_us: None,
                total_us: None,
            },
            credential_slot: None,
            credential_version: None,
            redacted: false,
        }
    }
}

/// The ledger could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the outbound ledger cannot be written")]
pub struct OutboundLogError;

/// Where outbound requests are recorded. One log serves one call and knows its tenant.
pub trait OutboundLog: Send + Sync {
    /// Records a refusal: nothing was sent.
    fn refused(&self, attempt: OutboundAttempt) -> BoxFuture<'_, Result<(), OutboundLogError>>;

    /// Records a request that is about to be sent; when this fails, it is not sent. The returned text names
    /// the entry for `complete`.
    fn begin(&self, attempt: OutboundAttempt) -> BoxFuture<'_, Result<String, OutboundLogError>>;

    /// Records how the request ended. The implementation retries; the outcome never changes the response.
    fn complete(self: Arc<Self>, entry: String, attempt: OutboundAttempt) -> BoxFuture<'static, ()>;
}

/// A request with a `begin` and no `complete` yet. Dropped without [`Self::close`], it records that the call
/// was ended.
pub(crate) struct Bracket {
    open: Option<(Arc<dyn OutboundLog>, String)>,
    ended: Arc<OnceLock<Code>>,
    pub(crate) attempt: OutboundAttempt,
}

impl Bracket {
    /// Writes `begin`. `ended` holds why the call was ended, if it was.
    pub(crate) async fn begin(
        log: &Arc<dyn OutboundLog>,
        ended: &Arc<OnceLock<Code>>,
        attempt: OutboundAttempt,
    ) -> Result<Self, OutboundLogError> {
        let entry = log.begin(attempt.clone()).await?;
        Ok(Self { open: Some((Arc::clone(log), entry)), ended: Arc::clone(ended), attempt })
    }

    /// The name of its entry.
    pub(crate) fn entry(&self) -> Option<String> {
        self.open.as_ref().map(|(_, entry)| entry.clone())
    }

    /// Writes `complete`.
    pub(crate) async fn close(mut self) {
        if let Some((log, entry)) = self.open.take() {
            log.complete(entry, self.take_attempt()).await;
        }
    }

    fn take_attempt(&mut self) -> OutboundAttempt {
        std::mem::replace(&mut self.attempt, OutboundAttempt::new(""))
    }
}

impl Drop for Bracket {
    fn drop(&mut self) {
        let Some((log, entry)) = self.open.take() else {
            return;
        };
        let mut attempt = self.take_attempt();
        attempt.verdict = LedgerVerdict::Error;
        attempt.code = self.ended.get().copied().or(Some(Code::CallEnded));
        // Why a task: a dropped future cannot await, and the record must still be written.
        if let Ok(handle) = tokio::runtime::Handle::try_current() {
            handle.spawn(log.complete(entry, attempt));
        }
    }
}
