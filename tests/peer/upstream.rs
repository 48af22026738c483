//! The third party: a TLS server that reports every connection, handshake and request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::script::{Reply, UpstreamScript};
use crate::{Failure, event};

/// The server, before it listens.
#[derive(Clone)]
pub(crate) struct Upstream {
    tls: TlsAcceptor,
    keep_alive: bool,
    replies: Arc<Replies>,
}

/// The scripted answers, how many of each path were used, and those that are held.
struct Replies {
    by_path: HashMap<String, Vec<Reply>>,
    taken: Mutex<HashMap<String, usize>>,
    held: Arc<Semaphore>,
    pause_ms: u64,
    paused: AtomicU64,
}

impl Replies {
    fn next(&self, path: &str) -> Option<Reply> {
        let list = self.by_path.get(path)?;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = taken.entry(path.to_owned()).or_default();
        let reply = list.get(*turn).or(list.last()).cloned();
        *turn += 1;
        reply
    }

    /// The time before the next answer.
    fn pause(&self) -> Duration {
        // Why a prime: neighbours differ, and all lengths occur.
        let turn = self.paused.fetch_add(7919, Ordering::Relaxed);
        Duration::from_millis(turn.checked_rem(self.pause_ms).unwrap_or_default())
    }
}

impl Upstream {
    /// A server with the script's certificate.
    pub(crate) fn new(script: &UpstreamScript) -> Result<Self, Failure> {
        let chain = CertificateDer::pem_slice_iter(script.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| format!("certificate: {e}"))?;
        let key = PrivateKeyDer::from_pem_slice(script.key.as_bytes()).map_err(|e| format!("key: {e}"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let (by_path, taken) = (script.answers.clone(), Mutex::default());
        let (held, pause_ms) = (Arc::new(Semaphore::new(0)), script.pause_ms);
        let replies = Arc::new(Replies { by_path, taken, held, pause_ms, paused: AtomicU64::new(0) });
        Ok(Self { tls: TlsAcceptor::from(Arc::new(config)), keep_alive: script.keep_alive, replies })
    }

    /// Each permit releases one held answer.
    pub(crate) fn held(&self) -> Arc<Semaphore> {
        Arc::clone(&self.replies.held)
    }

    /// Serves until the process ends.
    pub(crate) async fn accept(self, listener: TcpListener) {
        while let Ok((stream, peer)) = listener.accept().await {
            let local = stream.local_addr().map(|a| a.ip().to_canonical().to_string()).unwrap_or_default();
            event(
                &json!({ "event": "connected", "to": local, "from": peer.ip().to_canonical().to_string() }),
            );
            let server = self.clone();
            tokio::spawn(async move { server.serve(stream).await });
        }
    }

    async fn serve(self, stream: TcpStream) {
        let stream = match self.tls.accept(stream).await {
            Ok(stream) => stream,
            Err(error) => {
                event(&json!({ "event": "handshake_failed", "error": error.to_string() }));
                return;
            }
        };
        let sni = stream.get_ref().1.server_name().map(str::to_owned);
        event(&json!({ "event": "handshake", "sni": sni }));
        let served = hyper::server::conn::http1::Builder::new()
            .keep_alive(self.keep_alive)
            .serve_connection(TokioIo::new(stream), service_fn(|request| answer(request, &self.replies)));
        let error = served.await.err().map(|e| e.to_string());
        event(&json!({ "event": "closed", "error": error }));
    }
}

async fn answer(
    request: Request<Incoming>,
    replies: &Replies,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut headers: Map<String, Value> = Map::new();
    for (name, value) in &parts.headers {
        let value = json!(String::from_utf8_lossy(value.as_bytes()));
        let values = headers.entry(name.as_str()).or_insert_with(|| json!([]));
        if let Some(values) = values.as_array_mut() {
            values.push(value);
        }
    }
    event(&json!({
        "event": "request", "method": parts.method.as_str(), "target": parts.uri.to_string(),
        "headers": headers, "body": String::from_utf8_lossy(&body),
    }));
    tokio::time::sleep(replies.pause()).await;
    let small = || Reply { status: 200, body: json!({ "id": "1" }), held: false };
    let reply = replies.next(parts.uri.path()).unwrap_or_else(small);
    if reply.held {
        event(&json!({ "event": "held", "target": parts.uri.to_string() }));
        // Why ignored: the semaphore is never closed.
        let _ = replies.held.acquire().await.map(tokio::sync::SemaphorePermit::forget);
    }
    let mut response = Response::new(Full::new(Bytes::from(reply.body.to_string())));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or_default();
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    Ok(response)
}
