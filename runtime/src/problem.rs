//! Problems: every error that a caller sees, as `application/problem+json` (RFC 9457).
//!
//! The status comes from the code and nowhere else. The caller's message never quotes a secret, an
//! address or a path of this machine; what the operator needs goes to the log with the request id.

use axum::body::Body;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use portcullis_core::fault::{Code, Fault};
use portcullis_core::violation::Violation;
use portcullis_store::{LedgerError, StoreError, VaultError};
use serde::Serialize;
use serde_json::Value;

use portcullis_admission::Refused;

/// Seconds after which an overloaded or unavailable service may be asked again.
const RETRY_AFTER_SECONDS: u64 = 1;

/// An error for a caller.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Its code.
    pub code: Code,
    /// What happened, for a person.
    pub detail: String,
    /// JSON pointer of the one thing that is wrong.
    pub pointer: Option<String>,
    /// Everything that is wrong.
    pub errors: Vec<Violation>,
    /// The run that was refused or failed.
    pub run: Option<Box<Value>>,
    /// Seconds after which it may be asked again, where that is known.
    pub retry_after_s: Option<u64>,
}

impl Problem {
    /// A problem with a sentence of its own.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            pointer: None,
            errors: Vec::new(),
            run: None,
            retry_after_s: None,
        }
    }

    /// The code's own sentence.
    #[must_use]
    pub fn plain(code: Code) -> Self {
        Self::new(code, code.title())
    }

    /// Several breaches of one document.
    #[must_use]
    pub fn breaches(code: Code, errors: Vec<Violation>) -> Self {
        let detail = match errors.as_slice() {
            [one] => format!("{}: {}", one.pointer, one.message),
            several => format!("{} problems; see errors", several.len()),
        };
        let pointer = errors.first().map(|e| e.pointer.clone());
        Self { code, detail, pointer, errors, run: None, retry_after_s: None }
    }

    /// Points at the member that is wrong.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// The problem document.
    #[must_use]
    pub fn document(&self, request_id: &str) -> Value {
        serde_json::to_value(Document::of(self, request_id)).unwrap_or_default()
    }

    /// The problem document as JSON.
    #[must_use]
    pub fn text(&self, request_id: &str) -> String {
        serde_json::to_string(&Document::of(self, request_id)).unwrap_or_default()
    }

    /// The HTTP response.
    #[must_use]
    pub fn response(&self, request_id: &str) -> Response<Body> {
        let mut response = Response::new(Body::from(self.text(request_id)));
        *response.status_mut() =
            StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if matches!(self.code.status(), 429 | 503) {
            let seconds = self.retry_after_s.unwrap_or(RETRY_AFTER_SECONDS);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    /// Whether an operator should see it in the log.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.code.fault() == Fault::Internal
    }
}

/// A problem as it goes over the wire.
#[derive(Serialize)]
struct Document<'p> {
    r#type: String,
    title: &'p str,
    status: u16,
    detail: &'p str,
    code: Code,
    request_id: &'p str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'p str>,
    #[serde(skip_serializing_if = "<[Violation]>::is_empty")]
    errors: &'p [Violation],
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'p Value>,
}

impl<'p> Document<'p> {
    fn of(problem: &'p Problem, request_id: &'p str) -> Self {
        Self {
            r#type: format!("urn:portcullis:problem:{}", problem.code),
            title: problem.code.title(),
            status: problem.code.status(),
            detail: &problem.detail,
            code: problem.code,
            request_id,
            pointer: problem.pointer.as_deref(),
            errors: &problem.errors,
            run: problem.run.as_deref(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { .. } => Self::new(
                Code::RevisionMismatch,
                "the record changed while this request was handled; read it and try again",
            ),
            StoreError::TooLarge { bytes, limit, .. } => {
                Self::new(Code::BodyTooLarge, format!("the record is {bytes} bytes, the limit is {limit}"))
            }
            other => {
                tracing::error!(error = %other, "store");
                Self::plain(Code::StoreUnavailable)
            }
        }
    }
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        tracing::error!(%error, "vault");
        Self::plain(Code::Internal)
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        tracing::error!(%error, "ledger");
        Self::plain(Code::LedgerUnavailable)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self::new(refused.code(), refused.to_string())
    }
}

impl From<portcullis_core::id::InvalidId> for Problem {
    fn from(error: portcullis_core::id::InvalidId) -> Self {
        Self::new(Code::ValidationFailed, error.to_string())
    }
}
