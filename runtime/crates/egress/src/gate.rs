//! The gate of the process: resolver, dialer, TLS roots, connection pool and limits. Opens connections; which
//! request may use them is decided in [`crate::guard`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_core::fault::Code;
use portcullis_core::grant::PermittedTarget;
use portcullis_core::limits::Limits;
use rustls::ProtocolVersion;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::attempt::OutboundAttempt;
use crate::dial::{self, Dial};
use crate::dns::{self, Resolve};
use crate::pool::{Connection, Pool, PoolKey, PoolScope};
use crate::sender::Sender;
use crate::tls::TlsRoots;

/// What a gate is made of.
pub struct GateParts {
    pub resolver: Arc<dyn Resolve>,
    pub dialer: Arc<dyn Dial>,
    pub tls_roots: TlsRoots,
    pub limits: Arc<Limits>,
}

/// Makes every outbound connection of the process.
pub struct Gate {
    resolver: Arc<dyn Resolve>,
    dialer: Arc<dyn Dial>,
    tls_roots: TlsRoots,
    pub(crate) limits: Arc<Limits>,
    pub(crate) pool: Pool,
}

impl Gate {
    #[must_use]
    pub fn new(parts: GateParts) -> Arc<Self> {
        let pool = Pool::new(&parts.limits);
        Arc::new(Self {
            resolver: parts.resolver,
            dialer: parts.dialer,
            tls_roots: parts.tls_roots,
            limits: parts.limits,
            pool,
        })
    }

    /// Looks a host up and judges the addresses, without connecting; for `explain --resolve`.
    ///
    /// # Errors
    /// `dns_failed` or `address_forbidden`.
    pub async fn judge_host(&self, host: &str, seen: &mut Vec<String>) -> Result<(), Code> {
        let own = dial::own_addresses();
        dns::judge_host(self.resolver.as_ref(), host, &self.limits, &own, seen).await.map(|_| ())
    }

    /// Closes connections that were idle for too long; returns how many are left.
    pub fn sweep(&self) -> usize {
        self.pool.sweep()
    }

    /// Number of idle upstream connections, those included that the next sweep closes.
    #[must_use]
    pub fn idle_connections(&self) -> usize {
        self.pool.count()
    }

    /// Verifies certificates by these roots from here on, and closes the connections that others verified: idle
    /// ones now, those in use after the request that they carry.
    pub fn replace_tls_roots(&self, roots: TlsRoots) {
        self.tls_roots.replace(roots);
        self.pool.distrust();
    }

    /// Closes the idle connections of every scope that the predicate selects.
    pub fn drop_connections(&self, doomed: impl Fn(&PoolScope) -> bool) {
        self.pool.drop_where(doomed);
    }

    /// A new connection to a permitted target: look up → judge → connect → judge the peer → TLS.
    pub(crate) async fn connect(
        &self,
        key: &PoolKey,
        target: PermittedTarget,
        connect_timeout: Option<Duration>,
        attempt: &mut OutboundAttempt,
    ) -> Result<Connection, Code> {
        let own: Vec<IpAddr> = dial::own_addresses();
        let started = Instant::now();
        let pinned =
            dns::pin(self.resolver.as_ref(), target, &self.limits, &own, &mut attempt.addresses).await;
        attempt.durations.dns_us = Some(micros(started));
        let pinned = pinned?;
        let started = Instant::now();
        let own_limit = Duration::from_millis(self.limits.connect_ms);
        let timeout = connect_timeout.map_or(own_limit, |t| t.min(own_limit));
        let dialed = dial::connect(self.dialer.as_ref(), &pinned, &own, timeout).await;
        attempt.durations.connect_us = Some(micros(started));
        let dialed = dialed?;
        attempt.chosen_address = Some(dialed.peer.ip().to_string());
        let started = Instant::now();
        // Why before the handshake: if the roots are replaced meanwhile, the connection counts as one of the old.
        let trust = self.pool.trust();
        let tls = self.handshake(key, dialed.stream).await;
        attempt.durations.tls_us = Some(micros(started));
        self.http(tls?, dialed.peer, trust).await
    }

    async fn handshake(&self, key: &PoolKey, stream: TcpStream) -> Result<TlsStream<TcpStream>, Code> {
        let name = ServerName::try_from(key.host.clone()).map_err(|_| Code::TlsFailed)?;
        let config = self.tls_roots.client_config(&key.scope.workspace, key.scope.http2);
        let connector = TlsConnector::from(config);
        let handshake = connector.connect(name, stream);
        match tokio::time::timeout(Duration::from_millis(self.limits.tls_ms), handshake).await {
            Ok(Ok(tls)) => Ok(tls),
            Ok(Err(error)) => {
                tracing::debug!(host = key.host, %error, "TLS handshake failed");
                Err(Code::TlsFailed)
            }
            Err(_) => Err(Code::UpstreamTimeout),
        }
    }

    async fn http(
        &self,
        tls: TlsStream<TcpStream>,
        peer: SocketAddr,
        trust: u64,
    ) -> Result<Connection, Code> {
        let session = tls.get_ref().1;
        let tls_version = match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => return Err(Code::TlsFailed),
        };
        let http2 = session.alpn_protocol() == Some(b"h2");
        let sender = if http2 { self.http2(tls).await? } else { self.http1(tls).await? };
        Ok(Connection { sender, address: peer.ip().to_string(), tls_version, trust })
    }

    async fn http1(&self, tls: TlsStream<TcpStream>) -> Result<Sender, Code> {
        let headers_max = usize::try_from(self.limits.response_header_count).unwrap_or(100);
        let bytes_max = usize::try_from(self.limits.response_header_bytes).unwrap_or(65_536);
        let (sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_headers(headers_max)
            .max_buf_size(bytes_max.max(8192))
            .handshake(TokioIo::new(tls))
            .await
            .map_err(|_| Code::UpstreamProtocol)?;
        drive(connection);
        Ok(Sender::Http1(sender))
    }

    async fn http2(&self, tls: TlsStream<TcpStream>) -> Result<Sender, Code> {
        let bytes_max = u32::try_from(self.limits.response_header_bytes).unwrap_or(65_536);
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .max_header_list_size(bytes_max)
            .max_concurrent_reset_streams(10)
            .handshake(TokioIo::new(tls))
            .await
            .map_err(|_| Code::UpstreamProtocol)?;
        drive(connection);
        Ok(Sender::Http2(sender))
    }
}

/// Drives a connection until it ends; its [`Sender`] then reports that it is closed.
fn drive(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "upstream connection ended");
        }
    });
}

pub(crate) fn micros(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}
