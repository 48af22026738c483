//! The third party: a TLS server that answers at once, or as its path says: after a delay, or with a failure. How many
//! requests each path got is told without TLS, to the benchmark alone.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_stand_in::certificates;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::children::serve_until_released;
use crate::sample::{CREATED, NAME};
use crate::{Arguments, Failure};

/// Runs until released.
pub(crate) async fn run(_: &Arguments) -> Result<(), Failure> {
    let (ca_pem, config) = certificates(&[NAME])?;
    let tls = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let counts = Arc::new(Counts::default());
    let counting = TcpListener::bind(("127.0.0.1", 0)).await?;
    let told_at = counting.local_addr()?;
    tokio::spawn(tell(counting, Arc::clone(&counts)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, counts) = (tls.clone(), Arc::clone(&counts));
            tokio::spawn(async move {
                // Why ignored: it is only slower without.
                let _ = stream.set_nodelay(true);
                let Ok(stream) = tls.accept(stream).await else { return };
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(|request| answer(request, &counts)))
                    .await;
            });
        }
    });
    let said = json!({ "address": address.to_string(), "ca": ca_pem, "counts": told_at.to_string() });
    serve_until_released(said).await
}

/// Requests by path.
#[derive(Default)]
struct Counts(Mutex<BTreeMap<String, u64>>);

impl Counts {
    fn note(&self, path: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(path) {
            Some(count) => *count += 1,
            None => drop(counts.insert(path.to_owned(), 1)),
        }
    }
}

/// Answers every request with the counts.
async fn tell(listener: TcpListener, counts: Arc<Counts>) {
    while let Ok((stream, _)) = listener.accept().await {
        let counts = Arc::clone(&counts);
        tokio::spawn(async move {
            let told = service_fn(|_: Request<Incoming>| {
                let text = json!(*counts.0.lock().unwrap_or_else(PoisonError::into_inner)).to_string();
                std::future::ready(Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text)))))
            });
            // Why ignored: an ended connection is the benchmark's to notice.
            let _ =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), told).await;
        });
    }
}

async fn answer(request: Request<Incoming>, counts: &Counts) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    counts.note(parts.uri.path());
    // Why ignored: an unreadable body is an ended connection.
    let _ = body.collect().await;
    if let Some(ms) = parts.uri.path().strip_prefix("/slow/").and_then(|ms| ms.parse().ok()) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    let mut response = Response::new(Full::new(Bytes::from_static(CREATED.as_bytes())));
    let asked = parts.uri.path().strip_prefix("/status/").and_then(|status| status.parse().ok());
    *response.status_mut() = asked.unwrap_or(StatusCode::CREATED);
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    Ok(response)
}
