//! What the server of a process holds besides the engine.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use portcullis_core::client_address::TrustedProxies;
use portcullis_engine::Engine;
use portcullis_engine::metrics::Outside;

use crate::login_delay::LoginDelay;
use crate::login_log::{LoginLog, Peer};

/// The API of one engine.
pub struct Api {
    /// The use cases.
    pub engine: Arc<Engine>,
    requests: AtomicU64,
    draining: AtomicBool,
    log_lines_lost: OnceLock<Counter>,
    trusted_proxies: OnceLock<TrustedProxies>,
    pub(crate) login_log: LoginLog,
    pub(crate) login_delay: LoginDelay,
}

/// Reads a count that another part of the process keeps.
type Counter = Box<dyn Fn() -> u64 + Send + Sync>;

impl Api {
    /// The API of this engine.
    #[must_use]
    pub fn new(engine: Arc<Engine>) -> Arc<Self> {
        let login_log = LoginLog::new(engine.limits().failed_login_lines);
        let login_delay = LoginDelay::new(engine.limits());
        Arc::new(Self {
            engine,
            requests: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            log_lines_lost: OnceLock::new(),
            trusted_proxies: OnceLock::new(),
            login_log,
            login_delay,
        })
    }

    /// The same, with the count of log lines that could not be written, for `/readyz`.
    #[must_use]
    pub fn with_log_lines_lost(
        self: Arc<Self>,
        count: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Arc<Self> {
        // Why ignored: it is set once, before anything is served.
        let _ = self.log_lines_lost.set(Box::new(count));
        self
    }

    /// The same, with the proxies whose word on where a request came from counts.
    #[must_use]
    pub fn with_trusted_proxies(self: Arc<Self>, proxies: TrustedProxies) -> Arc<Self> {
        // Why ignored: they are set once, before anything is served.
        let _ = self.trusted_proxies.set(proxies);
        self
    }

    /// Where a request came from: the address of its connection, or of the caller behind proxies that are trusted.
    pub(crate) fn source(&self, peer: Peer, headers: &HeaderMap) -> IpAddr {
        let peer = peer.0.ip().to_canonical();
        let Some(proxies) = self.trusted_proxies.get() else { return peer };
        let lines = |name: &str| -> Vec<&str> {
            // Why empty instead of left out: one that is no text is nothing that a trusted proxy wrote.
            headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect()
        };
        proxies.source(peer, &lines("forwarded"), &lines("x-forwarded-for"))
    }

    /// Log lines that could not be written; 0 where nobody counts them.
    pub(crate) fn log_lines_lost(&self) -> u64 {
        self.log_lines_lost.get().map_or(0, |count| count())
    }

    /// What the metrics tell besides the engine's own.
    pub(crate) fn outside(&self) -> Outside {
        Outside { requests: self.requests(), log_lines_lost: self.log_lines_lost() }
    }

    /// Number of requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the process was asked to stop: `/readyz` fails, and every answer closes its connection.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Gives callers notice to use another process.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }
}
