//! A route: its entry in the table, and how its handler is called.

use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use http::{Method, Response, StatusCode};
use portcullis_core::fault::{Code, Fault};
use portcullis_core::limits::Limits;
use portcullis_engine::Error;
use portcullis_engine::api_token::Role;
use portcullis_engine::caller::PLATFORM;
use portcullis_engine::workers::Lane;
use schemars::{Schema, SchemaGenerator};

use crate::answer::{Answer, AnswerHeader, Content};
use crate::connect::browser::FORM;
use crate::problem;
use crate::request::{Context, Parameter, Parameters, RawRequest, RequestBody, WASM};

/// Whether a route takes part in admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Served under any load; the kill switch is one of them.
    Always,
    /// It makes calls to third parties: admitted or refused before its body is read, and scheduled.
    Scheduled,
}

/// A handler's answer; an error is rendered already.
pub(crate) type Handled = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// One route.
pub struct Route {
    /// HTTP method.
    pub method: &'static str,
    /// Path with `{parameters}`.
    pub path: &'static str,
    /// The operation's name for generated clients.
    pub operation: &'static str,
    /// The group it belongs to.
    pub tag: &'static str,
    /// Roles that may use it; if empty, it is open to all.
    pub roles: &'static [Role],
    /// Whether it takes part in admission.
    pub admission: Admission,
    /// Codes besides those that all routes of its kind have.
    pub(crate) own_codes: &'static [Code],
    /// One line for people.
    pub summary: &'static str,
    pub(crate) types: Types,
    pub(crate) handler: fn(Context, RawRequest) -> Handled,
}

/// The types of a handler, for the OpenAPI document.
pub(crate) struct Types {
    pub(crate) parameters: fn() -> Vec<Parameter>,
    pub(crate) body: fn(&mut SchemaGenerator) -> Option<Schema>,
    pub(crate) body_media: &'static str,
    pub(crate) body_codes: &'static [Code],
    pub(crate) status: StatusCode,
    pub(crate) other_statuses: &'static [StatusCode],
    pub(crate) answer_headers: &'static [AnswerHeader],
    pub(crate) answer: fn(&mut SchemaGenerator) -> Content,
}

impl Types {
    /// The types of this handler.
    pub(crate) const fn of<P: Parameters, B: RequestBody, A: Answer, H: Handler<P, B, A>>(_: H) -> Self {
        Self {
            parameters: P::describe,
            body: B::schema,
            body_media: B::MEDIA,
            body_codes: B::CODES,
            status: A::STATUS,
            other_statuses: A::OTHER_STATUSES,
            answer_headers: A::HEADERS,
            answer: A::content,
        }
    }
}

/// A function that serves a route.
pub(crate) trait Handler<P, B, A>: Copy + Send + 'static {
    /// Serves a request.
    fn serve(self, context: Context, parameters: P, body: B)
    -> impl Future<Output = Result<A, Error>> + Send;
}

impl<F, R, P, B, A> Handler<P, B, A> for F
where
    F: Fn(Context, P, B) -> R + Copy + Send + 'static,
    R: Future<Output = Result<A, Error>> + Send,
    P: Parameters,
    B: RequestBody,
    A: Answer,
{
    fn serve(
        self,
        context: Context,
        parameters: P,
        body: B,
    ) -> impl Future<Output = Result<A, Error>> + Send {
        self(context, parameters, body)
    }
}

/// Reads a request by a handler's types, calls it, and renders its answer or its error: all that may take long.
pub(crate) async fn handle<P: Parameters, B: RequestBody, A: Answer, H: Handler<P, B, A>>(
    handler: H,
    context: Context,
    request: RawRequest,
) -> Response<Body> {
    let request_id = Arc::clone(context.request_id());
    match answer(handler, context, request).await {
        Ok(answer) => answer,
        Err(error) => problem::of_request(&error, &request_id),
    }
}

async fn answer<P: Parameters, B: RequestBody, A: Answer, H: Handler<P, B, A>>(
    handler: H,
    context: Context,
    request: RawRequest,
) -> Result<Response<Body>, Error> {
    let parameters = P::read(&context, &request)?;
    let body = B::read(&context, &request)?;
    drop(request);
    handler.serve(context, parameters, body).await?.into_response()
}

/// Codes with which calls to third parties end.
const CALL_CODES: &[Code] = &[
    Code::ConnectorNotFound,
    Code::ActionNotFound,
    Code::CredentialNeedsAttention,
    Code::NotGranted,
    Code::InputInvalid,
    Code::RateLimited,
    Code::OrgRateLimited,
    Code::LedgerUnavailable,
];

impl Route {
    /// The method as a type.
    #[must_use]
    pub fn http_method(&self) -> Method {
        Method::from_bytes(self.method.as_bytes()).unwrap_or(Method::GET)
    }

    /// Whether unknown query parameters are ignored: third parties send parameters of their choice, and programs that
    /// mail goes through add some to links.
    pub(crate) fn is_lenient(&self) -> bool {
        self.path == portcullis_engine::oauth::consent::CALLBACK_PATH || self.path.starts_with("/connect/")
    }

    /// The largest body of a request, bytes, and the name of that limit.
    pub(crate) fn body_limit(&self, limits: &Limits) -> (u64, &'static str) {
        match self.types.body_media {
            WASM => (limits.module_bytes, "module_bytes"),
            FORM => (limits.connect_form_bytes, "connect_form_bytes"),
            _ => (limits.api_body_bytes, "api_body_bytes"),
        }
    }

    /// Whether a worker serves it whatever the size of its body: it reads, checks or shows definitions.
    pub(crate) fn is_for_workers(&self) -> bool {
        matches!(self.tag, "Connectors" | "Automations")
            || matches!(self.operation, "listConnections" | "getOpenapi")
    }

    /// Whose work a request of this org is. What the platform changes waits for nobody.
    pub(crate) fn lane(&self, org: Option<&str>) -> Lane {
        let changes = matches!(self.method, "PUT" | "PATCH" | "DELETE");
        if changes && self.roles == PLATFORM { Lane::Control } else { Lane::of(org) }
    }

    /// Names of the path's parameters, in order.
    pub fn path_parameters(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|step| step.strip_prefix('{')?.strip_suffix('}'))
    }

    /// Whether its answer shows how a call ended, and its problems contain a run. Not of an event, which tells of each
    /// of its calls in a whole answer.
    #[must_use]
    pub fn answers_with_run(&self) -> bool {
        self.admission == Admission::Scheduled
            && self.path.starts_with("/run/")
            && !self.path.ends_with("/event")
    }

    /// Every code that an answer of this route may have, in the order of the list of codes.
    #[must_use]
    pub fn codes(&self) -> Vec<Code> {
        let mut codes = self.own_codes.to_vec();
        codes.extend([Code::Internal, Code::StoreUnavailable, Code::BodyTooLarge, Code::RequestTimeout]);
        codes.push(Code::BadRequest);
        if !self.is_lenient() {
            codes.push(Code::UnknownParameter);
        }
        codes.extend_from_slice(self.types.body_codes);
        if !self.roles.is_empty() {
            codes.extend([Code::Unauthorized, Code::RoleNotAllowed]);
        }
        for parameter in self.path_parameters() {
            match parameter {
                "org" => codes.push(Code::OrgNotFound),
                "ws" => codes.push(Code::WorkspaceNotFound),
                _ => {}
            }
        }
        if self.method != "GET" && self.admission == Admission::Always {
            // Why all that write: what a write depends on may change or go while it is made.
            codes.push(Code::RevisionMismatch);
        }
        if self.admission == Admission::Scheduled {
            codes.extend([Code::WorkspaceBusy, Code::OrgBusy]);
        }
        if self.tag != "Service" {
            // Why all: a large body is one that anybody may send.
            codes.push(Code::Overloaded);
        }
        if self.answers_with_run() {
            codes.extend_from_slice(CALL_CODES);
            let of_calls =
                |code: &Code| matches!(code.fault(), Fault::Policy | Fault::Guest | Fault::Upstream);
            codes.extend(Code::ALL.iter().copied().filter(of_calls));
        }
        Code::ALL.iter().copied().filter(|code| codes.contains(code)).collect()
    }
}
