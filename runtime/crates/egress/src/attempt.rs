//! One attempt to leave, as the ledger will tell it, and the bracket around it.
//!
//! `begin` must succeed before anything leaves, a name lookup included. `complete` is written
//! whatever happens, also when the call is dropped in the middle.

use std::sync::{Arc, OnceLock};

use portcullis_core::fault::Code;
use portcullis_core::host_pattern::HostPattern;
use portcullis_core::ledger::{LedgerVerdict, PhaseDurations};
use portcullis_core::outbound::BoxFuture;

/// The facts of one attempt. No secret, no query, no body.
#[derive(Debug, Clone)]
pub struct OutboundAttempt {
    /// HTTP method.
    pub method: &'static str,
    /// `https://host[:port]`, empty when there was none to read.
    pub origin: String,
    /// Path without query.
    pub path: String,
    /// Verdict so far.
    pub verdict: LedgerVerdict,
    /// Why not.
    pub code: Option<Code>,
    /// Entry of the connector's list that matched.
    pub matched_connector: Option<HostPattern>,
    /// Entry of the org's list that matched.
    pub matched_org: Option<HostPattern>,
    /// The org's list would have refused it, had it been enforced.
    pub would_refuse: bool,
    /// Every address of the answer.
    pub addresses: Vec<String>,
    /// The address connected to.
    pub chosen_address: Option<String>,
    /// Negotiated TLS version.
    pub tls_version: Option<String>,
    /// Upstream's status.
    pub status: Option<u16>,
    /// Request body bytes.
    pub bytes_out: u64,
    /// Response body bytes as received.
    pub bytes_in: u64,
    /// Durations.
    pub durations: PhaseDurations,
    /// Slot of the injected credential.
    pub credential_slot: Option<String>,
    /// Version of the injected credential.
    pub credential_version: Option<u64>,
    /// Whether an echo of the secret was removed.
    pub redacted: bool,
}

impl OutboundAttempt {
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

/// Where attempts are recorded. One log serves one call and knows who asks.
pub trait OutboundLog: Send + Sync {
    /// Records a refusal: nothing left.
    fn refused(&self, attempt: OutboundAttempt) -> BoxFuture<'_, Result<(), OutboundLogError>>;

    /// Records that an attempt is about to leave. When this fails, it does not leave. The text names
    /// the entry for `complete`.
    fn begin(&self, attempt: OutboundAttempt) -> BoxFuture<'_, Result<String, OutboundLogError>>;

    /// Records how an attempt ended. Retried by the implementation; never changes the answer.
    fn complete(self: Arc<Self>, entry: String, attempt: OutboundAttempt) -> BoxFuture<'static, ()>;
}

/// An open bracket. Dropped without [`Self::close`], it records that the call was ended.
pub(crate) struct Bracket {
    open: Option<(Arc<dyn OutboundLog>, String)>,
    ended: Arc<OnceLock<Code>>,
    pub(crate) attempt: OutboundAttempt,
}

impl Bracket {
    /// Writes `begin`. `ended` holds why the call was ended, should it be.
    pub(crate) async fn begin(
        log: &Arc<dyn OutboundLog>,
        ended: &Arc<OnceLock<Code>>,
        attempt: OutboundAttempt,
    ) -> Result<Self, OutboundLogError> {
        let entry = log.begin(attempt.clone()).await?;
        Ok(Self { open: Some((Arc::clone(log), entry)), ended: Arc::clone(ended), attempt })
    }

    /// Writes `complete`.
    pub(crate) async fn close(mut self) {
        if let Some((log, entry)) = self.open.take() {
            log.complete(entry, self.take_attempt()).await;
        }
    }

    /// The attempt itself, for its last record.
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
        // Why a task: a dropped future cannot wait, and the record must still be written.
        if let Ok(handle) = tokio::runtime::Handle::try_current() {
            handle.spawn(log.complete(entry, attempt));
        }
    }
}
