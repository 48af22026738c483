//! Dispatch: the entry of every route. It does what no handler may forget: request id, token, role, tenant, admission,
//! body limit, and errors as problem documents.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::routing::{MethodFilter, on};
use http::header::CONNECTION;
use http::{HeaderMap, HeaderValue, Response};
use portcullis_admission::Refused;
use portcullis_core::fault::Code;
use portcullis_core::id::TokenId;
use portcullis_core::violation::nearest;
use portcullis_engine::runs::Commitment;
use portcullis_engine::{Caller, Error, RequestMark};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::request::{Context, Opened};
use crate::request_id::REQUEST_ID;
use crate::route::Route;
use crate::routes::ROUTES;
use crate::serve::OnControl;
use crate::service::Api;
use crate::{problem, request_id};

/// The parameters of a path; an error if one of them is not text once it is decoded.
pub(crate) type PathParams = Result<RawPathParams, RawPathParamsRejection>;

/// The router of the whole API.
pub fn router(api: Arc<Api>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let Ok(filter) = MethodFilter::try_from(route.http_method()) else {
            continue;
        };
        router = router.route(
            route.path,
            on(filter, move |State(api): State<Arc<Api>>, params: PathParams, request: Request| {
                dispatch(api, route, params, request)
            }),
        );
    }
    router
        .fallback(|State(api): State<Arc<Api>>, request: Request| async move {
            stray(&api, &no_route(request.uri().path()), request.headers())
        })
        .method_not_allowed_fallback(|State(api): State<Arc<Api>>, request: Request| async move {
            stray(&api, &no_method(request.uri().path()), request.headers())
        })
        .with_state(api)
}

fn stray(api: &Api, error: &Error, headers: &HeaderMap) -> Response<Body> {
    let id = request_id::of(headers);
    finish(api, problem::response(error, &id), &id)
}

/// Longest path that is compared with the routes, bytes; none that is meant is longer.
const COMPARED_BYTES_MAX: usize = 300;

/// That no route has a path, with the one that was probably meant. Why its pattern and not the path: what somebody put
/// there may not belong into an answer.
fn no_route(path: &str) -> Error {
    let near = Some(path).filter(|path| path.len() <= COMPARED_BYTES_MAX).and_then(nearest_route);
    match near {
        Some(route) => Error::new(
            Code::NotFound,
            format!("there is no such route; did you mean {}? /openapi.json has all of them", route.path),
        ),
        None => Error::new(Code::NotFound, "there is no such route; /openapi.json has all of them"),
    }
}

/// The route whose path comes nearest, its parameters as they are given.
fn nearest_route(path: &str) -> Option<&'static Route> {
    let given: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let filled = |route: &Route| {
        let pattern: Vec<&str> = route.path.split('/').collect();
        let segments = pattern.iter().zip(&given);
        let all: Vec<&str> =
            segments.map(|(one, given)| if one.starts_with('{') { *given } else { *one }).collect();
        (pattern.len() == given.len()).then(|| all.join("/"))
    };
    let candidates: Vec<(String, &Route)> =
        ROUTES.iter().filter_map(|route| Some((filled(route)?, route))).collect();
    let near = nearest(&given.join("/"), candidates.iter().map(|(filled, _)| filled.as_str()))?;
    candidates.iter().find(|(filled, _)| filled == near).map(|(_, route)| *route)
}

/// That a path does not take a method, with those that it takes.
fn no_method(path: &str) -> Error {
    let given: Vec<&str> = path.split('/').collect();
    let is_meant = |route: &&Route| {
        let pattern: Vec<&str> = route.path.split('/').collect();
        pattern.len() == given.len()
            && pattern.iter().zip(&given).all(|(one, given)| one.starts_with('{') || one == given)
    };
    let methods: Vec<&str> = ROUTES.iter().filter(is_meant).map(|route| route.method).collect();
    Error::new(Code::MethodNotAllowed, format!("this path takes {}", methods.join(", ")))
}

/// The end of a call's task.
type Called = Result<Result<Response<Body>, Error>, Refused>;

async fn dispatch(
    api: Arc<Api>,
    route: &'static Route,
    params: PathParams,
    request: Request,
) -> Response<Body> {
    let request_id: Arc<str> = request_id::of(request.headers()).into();
    let started = std::time::Instant::now();
    let method = request.method().clone();
    api.count_request();
    let runtime = request.extensions().get::<OnControl>().map(|on| on.0.clone());
    let result = match Context::open(Arc::clone(&api), route, params, request, &request_id).await {
        Ok(opened) => serve(&api, route, opened, runtime).await,
        Err(error) => Err(error),
    };
    let response = result.unwrap_or_else(|error| problem::of_request(&error, &request_id));
    // Why debug: each call and each change has its own line, runs and ledger record what happened, and a log line for each would cost as much as some checks.
    // Why the route's pattern and not the path: a path may contain what a caller should not have put there.
    tracing::debug!(
        %request_id, %method, route = route.path, status = response.status().as_u16(),
        us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX), "request"
    );
    finish(&api, response, &request_id)
}

/// Calls the handler, on a worker if that is known to take long.
async fn serve(
    api: &Api,
    route: &'static Route,
    opened: Opened,
    runtime: Option<Handle>,
) -> Result<Response<Body>, Error> {
    let Opened { context, request, permit, lane, seat } = opened;
    let commitment = context.commitment.clone();
    let request_id = Arc::clone(context.request_id());
    let mark = RequestMark::new(Some(Arc::clone(&request_id)), request_id::trace_of(context.headers()));
    let caller = context.caller().ok().cloned();
    mark.acts(route.operation, route.method == "GET", caller.as_ref(), || context.source());
    let handled = Box::pin(Arc::clone(&mark).around((route.handler)(context, request)));
    let workers = api.engine.workers();
    let Some(permit) = permit else {
        let _line = ChangeLine { route, mark, caller, request_id };
        return match seat {
            Some(seat) => workers.seated(seat, handled).await,
            None => workers.movable(lane, handled).await,
        };
    };
    let call = {
        let _runtime = runtime.as_ref().map(Handle::enter);
        let movable = match seat {
            Some(seat) => workers.seated(seat, handled),
            None => workers.movable(lane, handled),
        };
        api.engine.spawn_call(permit.run(movable))
    };
    apart(api, call, commitment).await
}

/// Writes the line of a request that changed what people change, when its handler has ended: also of one that failed
/// after that, or whose caller left.
struct ChangeLine {
    route: &'static Route,
    mark: Arc<RequestMark>,
    caller: Option<Caller>,
    request_id: Arc<str>,
}

impl Drop for ChangeLine {
    fn drop(&mut self) {
        let changes = self.mark.changes();
        if changes.is_empty() {
            return;
        }
        let first = changes.written.iter().chain(&changes.deleted).next();
        let kind = first.and_then(|key| key.split('/').next()).unwrap_or_default();
        let caller = self.caller.as_ref();
        tracing::info!(
            target: "change",
            operation = self.route.operation,
            kind,
            written = (!changes.written.is_empty()).then(|| changes.written.join(" ")),
            deleted = (!changes.deleted.is_empty()).then(|| changes.deleted.join(" ")),
            further = changes.further,
            token_id = caller.and_then(|caller| caller.token_id.as_ref()).map(TokenId::as_str),
            role = caller.map(|caller| caller.role.as_str()),
            request_id = self.request_id.as_ref(),
            "change"
        );
    }
}

/// The answer of a call, which runs in a separate task. Why: waking the call then does not poll the connection as well,
/// and a panic becomes an error response instead of a broken connection. If the connection is dropped, a call that has
/// begun an outbound request goes on to its end, and any other is dropped.
async fn apart(api: &Api, call: JoinHandle<Called>, commitment: Commitment) -> Result<Response<Body>, Error> {
    struct WithCaller(JoinHandle<Called>, Commitment);
    impl Drop for WithCaller {
        fn drop(&mut self) {
            if self.1.abandon() {
                self.0.abort();
            }
        }
    }
    let mut task = WithCaller(call, commitment);
    match (&mut task.0).await {
        Ok(Ok(result)) => result,
        Ok(Err(refused)) => {
            api.engine.note_no_place(refused.code());
            Err(refused.into())
        }
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
