//! A TLS server on loopback that stands in for `api.salesforce.com`, and the swapped system calls that lead to it:
//! resolver, dialer, and certificates for the root store.
//!
//! The demo and tests use it, never the product: no policy is changed here, only the destination of permitted requests.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_core::outbound::BoxFuture;
use portcullis_core::sync::lock;
use portcullis_egress::{Dial, Dialed, Resolve, ResolveError};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

mod example;

pub use example::{SALESFORCE, automation};

/// The stand-in's address, which looks public.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);
/// A private address.
const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// Method and URL.
    pub line: String,
    /// `Authorization`.
    pub authorization: String,
    /// Body.
    pub body: String,
}

/// The running stand-in.
pub struct StandIn {
    /// The certificate of its CA, PEM.
    pub ca_pem: String,
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    dials: Arc<AtomicUsize>,
}

impl StandIn {
    /// Starts it with a certificate of a new CA.
    ///
    /// # Errors
    /// A sentence: no key, or no socket on loopback.
    pub async fn start(name: &str) -> Result<Self, String> {
        let (ca_pem, config) = certificates(&[name]).map_err(|e| format!("certificates: {e}"))?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|e| e.to_string())?;
        let address = listener.local_addr().map_err(|e| e.to_string())?;
        let received = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), Arc::clone(&received)));
        Ok(Self { ca_pem, address, received, dials: Arc::new(AtomicUsize::new(0)) })
    }

    /// A dialer that redirects the stand-in's public-looking address to it.
    #[must_use]
    pub fn dialer(&self) -> StandInDialer {
        StandInDialer { address: self.address, dials: Arc::clone(&self.dials) }
    }

    /// The requests that arrived.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        lock(&self.received).clone()
    }

    /// Number of sockets opened to it.
    #[must_use]
    pub fn dials(&self) -> usize {
        self.dials.load(Ordering::SeqCst)
    }
}

/// A new CA as PEM, and a server with a certificate from it for these names.
///
/// # Errors
/// If no key can be made, or a name is not allowed in a certificate.
pub fn certificates(
    names: &[&str],
) -> Result<(String, ServerConfig), Box<dyn std::error::Error + Send + Sync>> {
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())?
        .signed_by(&key, &ca)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], private)?;
    Ok((ca.pem(), config))
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, received: Arc<Mutex<Vec<Received>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, received) = (tls.clone(), Arc::clone(&received));
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            let service = service_fn(move |request| answer(request, Arc::clone(&received)));
            let served =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = served.await {
                tracing::debug!(%error, "stand-in connection ended");
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    received: Arc<Mutex<Vec<Received>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let text =
        |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    lock(&received).push(Received {
        line: format!("{} https://{}{}", parts.method, text("host"), parts.uri),
        authorization: text("authorization"),
        body: String::from_utf8_lossy(&body).into_owned(),
    });
    let mut response =
        Response::new(Full::new(Bytes::from_static(br#"{"id":"003000000000001","success":true}"#)));
    *response.status_mut() = http::StatusCode::CREATED;
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The demo's names: one with a public address, one with a private one, nothing else.
pub struct Names;

impl Resolve for Names {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async move {
            match host {
                "api.salesforce.com" => Ok(vec![IpAddr::V4(PUBLIC)]),
                "intranet.salesforce.com" => Ok(vec![IpAddr::V4(PRIVATE)]),
                other => Err(ResolveError(format!("no such name: {other}"))),
            }
        })
    }
}

/// Redirects the public-looking address to the stand-in, and counts.
pub struct StandInDialer {
    address: SocketAddr,
    dials: Arc<AtomicUsize>,
}

impl Dial for StandInDialer {
    #[allow(clippy::disallowed_methods, reason = "the demo's stand-in on loopback")]
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Dialed>> {
        Box::pin(async move {
            self.dials.fetch_add(1, Ordering::SeqCst);
            if address.ip() != IpAddr::V4(PUBLIC) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let stream = TcpStream::connect(self.address).await?;
            Ok(Dialed { stream, peer: address })
        })
    }
}
