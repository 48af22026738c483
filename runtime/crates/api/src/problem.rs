//! Problems: every error that a caller sees, as `application/problem+json` (RFC 9457).
//!
//! The only code that converts an error of the engine to HTTP. The status is determined by the code alone.

use axum::body::Body;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use portcullis_core::fault::Code;
use portcullis_core::violation::Violation;
use portcullis_engine::Error;
use portcullis_engine::modules::ModuleReport;
use portcullis_engine::runs::RunDocument;
use schemars::JsonSchema;
use serde::Serialize;

use crate::pieces;

/// Default of `Retry-After` for an overloaded or unavailable service, seconds.
const RETRY_AFTER_SECONDS: u64 = 1;

/// Media type of a problem.
pub(crate) const MEDIA: &str = "application/problem+json";

/// An error (RFC 9457).
#[derive(Serialize, JsonSchema)]
pub(crate) struct Problem<'p> {
    /// A stable URI that names the code.
    r#type: String,
    /// One sentence that belongs to the code.
    title: &'p str,
    /// The HTTP status.
    status: u16,
    /// What happened, for people.
    detail: &'p str,
    /// The stable code: match on this.
    code: Code,
    /// The request's id in the log.
    request_id: &'p str,
    /// JSON pointer (RFC 6901) to the first thing that is wrong in the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'p str>,
    /// Every violation in the request.
    #[serde(skip_serializing_if = "<[Violation]>::is_empty")]
    errors: &'p [Violation],
    /// The run that was refused or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunDocument<'p>>,
    /// The report of a module that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<&'p ModuleReport>,
    /// What a connector's module would be able to do besides, one line for each thing.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    difference: &'p [String],
    /// The digest of that difference, to be named in `?accept=`.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'p str>,
}

impl<'p> Problem<'p> {
    fn of(error: &'p Error, request_id: &'p str) -> Self {
        Self {
            r#type: format!("urn:portcullis:problem:{}", error.code),
            title: error.code.title(),
            status: error.code.status(),
            detail: &error.detail,
            code: error.code,
            request_id,
            pointer: error.pointer.as_deref(),
            errors: &error.violations,
            run: error.run.as_deref().map(portcullis_engine::runs::Run::document),
            report: error.module.as_deref(),
            difference: error.widening.as_ref().map_or(&[], |widening| &widening.difference),
            digest: error.widening.as_ref().map(|widening| widening.digest.as_str()),
        }
    }
}

/// The problem document of an error as JSON.
pub(crate) fn text(error: &Error, request_id: &str) -> String {
    serde_json::to_string(&Problem::of(error, request_id)).unwrap_or_default()
}

/// The same with another form of its run.
pub(crate) fn text_with(error: &Error, request_id: &str, run: RunDocument<'_>) -> String {
    serde_json::to_string(&Problem { run: Some(run), ..Problem::of(error, request_id) }).unwrap_or_default()
}

/// The HTTP response of an error, which is logged if the operator should see it.
pub(crate) fn of_request(error: &Error, request_id: &str) -> Response<Body> {
    if error.is_ours() {
        tracing::error!(%request_id, code = %error.code, "request failed inside");
    }
    response(error, request_id)
}

/// The HTTP response of an error.
pub(crate) fn response(error: &Error, request_id: &str) -> Response<Body> {
    let mut response = Response::new(pieces::body(text(error, request_id)));
    *response.status_mut() =
        StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA));
    if matches!(error.code.status(), 429 | 503) {
        let seconds = error.retry_after_s.unwrap_or(RETRY_AFTER_SECONDS);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
