//! The listener of the metrics alone: `GET /metrics` without a token, for a scraper on the same machine or network.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::{ACCEPT, ALLOW};
use http::{HeaderValue, Method, Request, Response};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use portcullis_core::fault::Code;
use portcullis_engine::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::answer::Answer as _;
use crate::service::Api;
use crate::v1::metrics::text;
use crate::{problem, request_id};

/// Scrapers that are connected at once; further ones wait with the operating system.
const CONNECTIONS_MAX: usize = 16;
/// How long one may stay: its place is wanted, and it connects again.
const STAY: Duration = Duration::from_secs(300);
/// Pause after an accept that failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves the metrics on `listener` until it is dropped.
pub async fn serve_metrics(api: Arc<Api>, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let serving = connection(Arc::clone(&api), stream);
                tokio::spawn(async move {
                    // Why ignored: a scraper that disconnected, or stayed too long, has no use for an error.
                    let _ = timeout(STAY, serving).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::error!(%error, "no connection can be taken on metrics.listen");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(api: Arc<Api>, stream: TcpStream) {
    let header_time = Duration::from_millis(api.engine.limits().api_header_ms);
    let service = service_fn(move |request| {
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(answer(&api, &request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_time)
        .serve_connection(TokioIo::new(stream), service);
    // Why ignored: as above.
    let _ = served.await;
}

async fn answer<B>(api: &Arc<Api>, request: &Request<B>) -> Response<Body> {
    let id = request_id::of(request.headers());
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let answered = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => text(api, accept).await.and_then(|text| text.into_response()),
        (_, "/metrics") => Err(Error::plain(Code::MethodNotAllowed)),
        _ => Err(Error::plain(Code::NotFound)),
    };
    let mut response = answered.unwrap_or_else(|error| problem::of_request(&error, &id));
    if response.status() == http::StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    }
    crate::dispatch::finish(api, response, &id)
}
