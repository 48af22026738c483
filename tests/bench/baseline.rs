//! The same call without any protection: axum takes the request, hyper sends its body on
//! through TLS with a fixed key, and the answer goes back. Connections are pooled as the product pools
//! them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::routing::post;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::children::serve_until_released;
use crate::sample::NAME;
use crate::{Arguments, Failure};

struct Client {
    address: SocketAddr,
    tls: TlsConnector,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// Runs until released.
pub(crate) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(arguments.required("ca")?.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Arc::new(Client {
        address: arguments.required("upstream")?.parse()?,
        tls: TlsConnector::from(Arc::new(config)),
        idle: Mutex::default(),
    });
    let app = axum::Router::new().route("/call", post(call)).with_state(client);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    serve_until_released(json!({ "address": address.to_string() })).await
}

async fn call(State(client): State<Arc<Client>>, body: Bytes) -> Response<Body> {
    match client.send(body).await {
        Ok(body) => Response::new(Body::from(body)),
        Err(_) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }
}

impl Client {
    async fn send(&self, body: Bytes) -> Result<Bytes, Failure> {
        let mut sender = self.connection().await?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = http::Uri::from_static("/v1/contacts");
        let headers = request.headers_mut();
        headers.insert("host", HeaderValue::from_static(NAME));
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("authorization", HeaderValue::from_static("Bearer bench-key-3c1d5a7788e94f20"));
        let answer = sender.send_request(request).await?;
        let body = answer.into_body().collect().await?.to_bytes();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        Ok(body)
    }

    #[allow(clippy::disallowed_methods, reason = "the benchmark's own upstream on loopback")]
    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        while let Some(mut sender) = idle() {
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let stream = self.tls.connect(ServerName::try_from(NAME)?, stream).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        sender.ready().await?;
        Ok(sender)
    }
}
