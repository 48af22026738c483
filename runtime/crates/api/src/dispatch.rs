//! Dispatch: the entry of every route. It does what no handler may forget: request id, token, role, tenant, admission,
//! body limit, and errors as problem documents.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawPathParams, Request, State};
use axum::routing::{MethodFilter, on};
use http::header::CONNECTION;
use http::{HeaderValue, Response};
use portcullis_admission::{Refused, Scheduled};
use portcullis_core::fault::Code;
use portcullis_engine::{Error, clock};
use tokio::task::JoinHandle;

use crate::problem;
use crate::request::Context;
use crate::route::{Handled, Route};
use crate::routes::ROUTES;
use crate::service::Api;

/// A new request id.
pub(crate) fn request_id() -> String {
    clock::fresh_text("req")
}

/// Name of the header that carries the request id.
const REQUEST_ID: &str = "x-request-id";

/// The router of the whole API.
pub fn router(api: Arc<Api>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let Ok(filter) = MethodFilter::try_from(route.http_method()) else {
            continue;
        };
        router = router.route(
            route.path,
            on(filter, move |State(api): State<Arc<Api>>, params: RawPathParams, request: Request| {
                dispatch(api, route, params, request)
            }),
        );
    }
    router
        .fallback(|State(api): State<Arc<Api>>| async move { stray(&api, Code::NotFound) })
        .method_not_allowed_fallback(|State(api): State<Arc<Api>>| async move {
            stray(&api, Code::MethodNotAllowed)
        })
        .with_state(api)
}

fn stray(api: &Api, code: Code) -> Response<Body> {
    let id = request_id();
    finish(api, problem::response(&Error::plain(code), &id), &id)
}

async fn dispatch(
    api: Arc<Api>,
    route: &'static Route,
    params: RawPathParams,
    request: Request,
) -> Response<Body> {
    let request_id = request_id();
    let started = std::time::Instant::now();
    let method = request.method().clone();
    api.count_request();
    let result = match Context::open(Arc::clone(&api), route, params, request).await {
        Ok((context, request, None)) => (route.handler)(context, request).await,
        Ok((context, request, Some(permit))) => apart(permit.run((route.handler)(context, request))).await,
        Err(error) => Err(error),
    };
    let response = match result {
        Ok(response) => response,
        Err(error) => {
            if error.is_ours() {
                tracing::error!(%request_id, code = %error.code, "request failed inside");
            }
            problem::response(&error, &request_id)
        }
    };
    // Why debug: runs and ledger record what happened, and a log line for each would cost as much as some checks.
    // Why the route's pattern and not the path: a path may contain what a caller should not have put there.
    tracing::debug!(
        %request_id, %method, route = route.path, status = response.status().as_u16(),
        us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX), "request"
    );
    finish(&api, response, &request_id)
}

/// Runs a call in a separate task. Why: waking the call then does not poll the connection as well, and a panic becomes
/// an error response instead of a broken connection. If the connection is dropped, the call ends.
async fn apart(call: Scheduled<Handled>) -> Result<Response<Body>, Error> {
    struct WithCaller(JoinHandle<Result<Result<Response<Body>, Error>, Refused>>);
    impl Drop for WithCaller {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let mut task = WithCaller(tokio::spawn(call));
    match (&mut task.0).await {
        Ok(Ok(result)) => result,
        Ok(Err(refused)) => Err(refused.into()),
        Err(panicked) => {
            tracing::error!(error = %panicked, "a call");
            Err(Error::plain(Code::Internal))
        }
    }
}

pub(crate) fn finish(api: &Api, mut response: Response<Body>, request_id: &str) -> Response<Body> {
    let headers = response.headers_mut();
    if api.is_draining() {
        // Why: the caller's next request goes to another process before this one closes the connection.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.entry("cache-control").or_insert(HeaderValue::from_static("no-store"));
    response
}
