//! The stand-in for the vendor: it ends TLS under the vendor's host names, records every request and
//! its answer, and forwards the request to the mock server. Requests that an entry makes before its own,
//! mostly to another host, are answered from the entry's examples.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::HOST;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::Failure;
use crate::description::{Asked, Description};
use portcullis_stand_in::certificates;

/// Longest part of an answer that is shown, characters.
const SHOWN_CHARS_MAX: usize = 400;

/// A request with the mock server's answer.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    request: http::request::Parts,
    body: Bytes,
    pub(crate) status: u16,
    violations: Option<String>,
    answer: Bytes,
}

impl Exchange {
    /// The request's names, to be looked up.
    pub(crate) fn asked(&self) -> Asked<'_> {
        let content_type = self.request.headers.get("content-type");
        Asked {
            method: self.request.method.as_str(),
            path: self.request.uri.path(),
            query: self.request.uri.query().unwrap_or_default(),
            content_type: content_type.and_then(|v| v.to_str().ok()).unwrap_or_default(),
            body: &self.body,
        }
    }

    /// The URL to which it was sent.
    pub(crate) fn url(&self) -> String {
        let host = self.request.headers.get(HOST).and_then(|v| v.to_str().ok()).unwrap_or_default();
        format!("https://{host}{}", self.request.uri)
    }

    /// Whether the mock server has no such operation.
    pub(crate) fn is_of_no_operation(&self) -> bool {
        let problem: Value = serde_json::from_slice(&self.answer).unwrap_or_default();
        let kind = problem.get("type").and_then(Value::as_str).unwrap_or_default();
        ["#NO_PATH_MATCHED_ERROR", "#NO_METHOD_MATCHED_ERROR"].iter().any(|end| kind.ends_with(end))
    }

    pub(crate) fn is_accepted(&self) -> bool {
        (200..300).contains(&self.status) && self.complaint().is_none()
    }

    /// The mock server's complaint about the request, besides its status.
    fn complaint(&self) -> Option<&str> {
        let about_request = |text: &&str| !text.contains("\"location\":[\"response");
        self.violations.as_deref().filter(about_request)
    }

    /// The request and why it was not accepted.
    pub(crate) fn told(&self) -> String {
        let said = String::from_utf8_lossy(&self.answer);
        let said = self.complaint().unwrap_or(&said);
        let said: String = said.chars().take(SHOWN_CHARS_MAX).collect();
        let sent = String::from_utf8_lossy(&self.body);
        format!("{} {} {sent} -> {} {said}", self.request.method, self.url(), self.status)
    }
}

/// An answer that does not come from the mock server.
pub(crate) struct Recorded {
    /// The URL to which it is the answer.
    pub(crate) url: String,
    pub(crate) body: Bytes,
}

struct Shared {
    mock: SocketAddr,
    description: Arc<Description>,
    recorded: Vec<Recorded>,
    kept: Mutex<Vec<Exchange>>,
    aside: Mutex<Vec<String>>,
}

/// The running front.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    pub(crate) ca_pem: String,
    shared: Arc<Shared>,
}

impl Front {
    /// Starts it for these host names.
    ///
    /// # Errors
    /// If no port is available.
    pub(crate) async fn start(
        hosts: &[String],
        mock: SocketAddr,
        description: Arc<Description>,
        recorded: Vec<Recorded>,
    ) -> Result<Self, Failure> {
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let (ca_pem, config) = certificates(&hosts)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (kept, aside) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { mock, description, recorded, kept, aside });
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), Arc::clone(&shared)));
        Ok(Self { address, ca_pem, shared })
    }

    /// How many requests have arrived.
    pub(crate) fn count(&self) -> usize {
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// URLs that were answered from the entry's own examples.
    pub(crate) fn aside(&self) -> Vec<String> {
        self.shared.aside.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The requests after the first `count`.
    pub(crate) fn since(&self, count: usize) -> Vec<Exchange> {
        let kept = self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().skip(count).cloned().collect()
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            // Why ignored: a connection that fails shows as a run that fails.
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(|request| pass_on(Arc::clone(&shared), request));
            let server = hyper::server::conn::http1::Builder::new();
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn pass_on(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Failure> {
    let (request, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut passed = Request::from_parts(request.clone(), body.clone());
    *passed.uri_mut() = below_server(&shared.description, &request.uri)?;
    let mut exchange = Exchange { request, body, status: 0, violations: None, answer: Bytes::new() };
    let url = exchange.url();
    if let Some(recorded) = shared.recorded.iter().find(|recorded| recorded.url == url) {
        shared.aside.lock().unwrap_or_else(PoisonError::into_inner).push(url);
        let answer = Response::builder().header("content-type", "application/json");
        return Ok(answer.body(Full::new(recorded.body.clone()))?);
    }
    let (answer, content) = forward(shared.mock, passed).await?.into_parts();
    let violations = answer.headers.get("sl-violations");
    exchange.violations = violations.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    (exchange.status, exchange.answer) = (answer.status.as_u16(), content.clone());
    shared.kept.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
    let mut response = Response::from_parts(answer, Full::new(content));
    for framing in ["transfer-encoding", "content-length", "connection", "keep-alive"] {
        response.headers_mut().remove(framing);
    }
    Ok(response)
}

fn below_server(description: &Description, uri: &Uri) -> Result<Uri, Failure> {
    let path = description.below_server(uri.path());
    Ok(match uri.query() {
        Some(query) => format!("{path}?{query}").parse()?,
        None => path.parse()?,
    })
}

/// Sends one request to the mock server on a separate connection.
///
/// # Errors
/// If it does not answer.
pub(crate) async fn forward(mock: SocketAddr, request: Request<Bytes>) -> Result<Response<Bytes>, Failure> {
    #[allow(clippy::disallowed_methods, reason = "the mock server of this program, on loopback")]
    let stream = TcpStream::connect(mock).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request.map(Full::new)).await?;
    let (parts, body) = response.into_parts();
    Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
}
