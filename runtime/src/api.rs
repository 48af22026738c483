//! The HTTP API: one table of routes, one way in.
//!
//! [`routes::ROUTES`] lists every route with its roles; from it come the router, the OpenAPI
//! document and the test that every route is exercised. `dispatch` does for every route what none
//! may forget: request id, token, role, tenant, body limit, and errors as problem documents.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawPathParams, Request, State};
use axum::routing::{MethodFilter, on};
use http::header::CONNECTION;
use http::{HeaderValue, Response};
use portcullis_core::fault::Code;
use tokio::task::JoinHandle;

use crate::app::App;
use crate::problem::Problem;
use portcullis_admission::{Refused, Scheduled};

pub mod auth;
pub mod automations;
mod catalog;
pub mod connectors;
pub mod context;
pub(crate) mod door;
pub mod ledger;
mod oauth;
pub mod openapi;
pub mod org_settings;
pub mod routes;
pub mod runs;
pub mod status;
pub mod tenants;
pub mod tokens;
pub mod workspace_settings;

pub use context::Ctx;
use routes::{Answer, ROUTES, Route};

/// Name of the header that carries the request id.
const REQUEST_ID: &str = "x-request-id";

/// The router of the whole API.
pub fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let Ok(filter) = MethodFilter::try_from(route.http_method()) else {
            continue;
        };
        router = router.route(
            route.path,
            on(filter, move |State(app): State<Arc<App>>, params: RawPathParams, request: Request| {
                dispatch(app, route, params, request)
            }),
        );
    }
    router
        .fallback(|State(app): State<Arc<App>>| async move { stray(&app, Code::NotFound) })
        .method_not_allowed_fallback(|State(app): State<Arc<App>>| async move {
            stray(&app, Code::MethodNotAllowed)
        })
        .with_state(app)
}

fn stray(app: &App, code: Code) -> Response<Body> {
    let id = context::request_id();
    finish(app, Problem::plain(code).response(&id), &id)
}

async fn dispatch(
    app: Arc<App>,
    route: &'static Route,
    params: RawPathParams,
    request: Request,
) -> Response<Body> {
    let request_id = context::request_id();
    let started = std::time::Instant::now();
    let method = request.method().clone();
    app.requests.fetch_add(1, Ordering::Relaxed);
    let result = match Ctx::open(Arc::clone(&app), route, params, request, request_id.clone()).await {
        Ok((context, None)) => (route.handler)(context).await,
        Ok((context, Some(place))) => apart(place.run((route.handler)(context))).await,
        Err(problem) => Err(problem),
    };
    let response = match result {
        Ok(response) => response,
        Err(problem) => {
            if problem.is_ours() {
                tracing::error!(%request_id, code = %problem.code, "request failed inside");
            }
            problem.response(&request_id)
        }
    };
    // Why debug: runs and ledger say what happened, and a line for each would cost as much as some of the checks.
    // Why the route's pattern and not the path: a path may hold what a caller should not have put there.
    tracing::debug!(
        %request_id, %method, route = route.path, status = response.status().as_u16(),
        us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX), "request"
    );
    finish(&app, response, &request_id)
}

/// Runs a call in a task of its own. Why: what wakes a call need not look after the connection too, and a panic
/// is an answer instead of a connection that was cut. With the connection the call ends.
async fn apart(call: Scheduled<Answer>) -> Result<Response<Body>, Problem> {
    struct WithCaller(JoinHandle<Result<Result<Response<Body>, Problem>, Refused>>);
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
            Err(Problem::plain(Code::Internal))
        }
    }
}

fn finish(app: &App, mut response: Response<Body>, request_id: &str) -> Response<Body> {
    let headers = response.headers_mut();
    if app.draining.load(Ordering::SeqCst) {
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
