//! The one error of a module: what `?` takes on, and what becomes the failure of the call.

use std::fmt;

use crate::{Failure, GateError, Response};

/// The result of everything in this crate that can fail.
///
/// ```
/// fn half(text: &str) -> portcullis_guest::Result<u32> {
///     Ok(text.parse::<u32>()? / 2)
/// }
/// assert!(half("a dozen").is_err());
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an action has no output. It comes from the gate, from an answer, from a text that cannot be read, or from the
/// module itself:
///
/// ```
/// use portcullis_guest::Error;
///
/// let error = Error::new("no_such_list", "there is no list of that name").class("not_found");
/// assert_eq!((error.code(), error.is_retryable()), ("no_such_list", false));
/// assert_eq!(error.to_string(), "there is no list of that name");
/// ```
///
/// A text is an error as well, with the code `module_failed`:
///
/// ```
/// use portcullis_guest::{Error, Result};
///
/// fn first(items: &[u8]) -> Result<u8> {
///     items.first().copied().ok_or_else(|| Error::from("the list is empty"))
/// }
/// assert_eq!(first(&[]).unwrap_err().code(), "module_failed");
/// ```
// Why a box: a result is moved at every `?`, and the failure is ten times the size of an ordinary answer.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    failure: Failure,
    status: Option<u16>,
}

impl Error {
    /// An error with a stable code in snake_case and a message for people. A retry will not change it.
    ///
    /// ```
    /// let error = portcullis_guest::Error::new("order_closed", "the order is closed");
    /// assert_eq!(error.message(), "the order is closed");
    /// ```
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { failure: Failure::permanent(code, message), status: None }))
    }

    /// The same call may succeed later. The host retries only what the definition allows to retry.
    ///
    /// ```
    /// let error = portcullis_guest::Error::new("not_ready", "the export is not ready").retryable();
    /// assert!(error.is_retryable());
    /// ```
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.0.failure.retryable = true;
        self
    }

    /// The class, one of those of the definition's error rules: `auth`, `permission`, `validation`, `not_found`,
    /// `conflict`, `rate_limit`, `quota`, `transient`, `permanent`.
    ///
    /// ```
    /// let error = portcullis_guest::Error::new("no_seats", "all seats are taken").class("quota");
    /// assert_eq!(error.into_failure().class.as_deref(), Some("quota"));
    /// ```
    #[must_use]
    pub fn class(mut self, class: impl Into<String>) -> Self {
        self.0.failure.class = Some(class.into());
        self
    }

    /// The code.
    ///
    /// ```
    /// assert_eq!(portcullis_guest::Error::from("why").code(), "module_failed");
    /// ```
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.failure.code
    }

    /// The message.
    ///
    /// ```
    /// assert_eq!(portcullis_guest::Error::from("why").message(), "why");
    /// ```
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.failure.message
    }

    /// Whether the same call may succeed later.
    ///
    /// ```
    /// assert!(!portcullis_guest::Error::from("why").is_retryable());
    /// ```
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.failure.retryable
    }

    /// The status of the answer that was refused by [`Response::ok`].
    ///
    /// ```
    /// assert_eq!(portcullis_guest::Error::from("why").status(), None);
    /// ```
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The gate's reason, if there was no answer.
    ///
    /// ```
    /// use portcullis_guest::{Error, GateError};
    /// assert!(matches!(Error::from(GateError::TlsFailed).gate(), Some(GateError::TlsFailed)));
    /// ```
    #[must_use]
    pub fn gate(&self) -> Option<&GateError> {
        self.0.failure.cause.as_ref()
    }

    /// What the host gets.
    ///
    /// ```
    /// assert_eq!(portcullis_guest::Error::from("why").into_failure().message, "why");
    /// ```
    #[must_use]
    pub fn into_failure(self) -> Failure {
        self.0.failure
    }

    /// An answer that is no success.
    pub(crate) fn of_answer(response: &Response) -> Self {
        let class = class_of(response.status);
        let message = format!("the answer has the status {}", response.status);
        let mut error = Self::new("upstream_status", message).class(class);
        error.0.status = Some(response.status);
        error.0.failure.retryable = matches!(class, "rate_limit" | "transient");
        #[cfg(feature = "json")]
        {
            error.0.failure.response = Some(response.as_document(class, error.is_retryable()));
        }
        error
    }
}

/// The class that the host gives a status without a rule.
const fn class_of(status: u16) -> &'static str {
    match status {
        401 => "auth",
        403 => "permission",
        400 | 422 => "validation",
        404 | 410 => "not_found",
        409 | 412 => "conflict",
        429 => "rate_limit",
        408 | 425 | 500..=599 => "transient",
        _ => "permanent",
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Error {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        error.into_failure()
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self(Box::new(Inner { failure, status: None }))
    }
}

impl From<GateError> for Error {
    fn from(error: GateError) -> Self {
        let mut failure = Failure::from(error.clone());
        failure.message = format!("no answer: {}", reason(&error));
        Self::from(failure)
    }
}

/// The gate's reason in words.
fn reason(error: &GateError) -> String {
    match error {
        GateError::Denied(reason) => format!("the gate refused the request ({})", words(reason)),
        GateError::DnsFailed => "the host's name was not found".to_owned(),
        GateError::ConnectFailed => "no connection".to_owned(),
        GateError::TlsFailed => "the host's certificate was not accepted".to_owned(),
        GateError::Timeout(phase) => format!("timeout ({})", words(phase)),
        GateError::Limit(limit) => format!("a limit was exceeded ({}: {})", words(&limit.kind), limit.limit),
        GateError::Protocol => "the answer was no HTTP".to_owned(),
        GateError::Cancelled => "the call was ended".to_owned(),
        GateError::Internal(id) => format!("an error of the host ({id})"),
    }
}

/// The last word of a variant's `Debug`, as in the WIT: `DenyReason::HostNotInOrg` is `host-not-in-org`.
fn words(variant: &impl fmt::Debug) -> String {
    let text = format!("{variant:?}");
    let name = text.rsplit("::").next().unwrap_or(&text);
    let mut out = String::with_capacity(name.len() + 4);
    for (index, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && index > 0 {
            out.push('-');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::new("module_failed", message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Self::new("module_failed", message)
    }
}

macro_rules! from_standard_errors {
    ($($error:ty),+) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::new("module_failed", error.to_string())
            }
        }
    )+};
}

from_standard_errors!(
    std::str::Utf8Error,
    std::string::FromUtf8Error,
    std::num::ParseIntError,
    std::num::ParseFloatError,
    std::num::TryFromIntError,
    fmt::Error
);

#[cfg(feature = "json")]
from_standard_errors!(serde_json::Error);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DenyReason, LimitInfo, LimitKind, TimeoutPhase};

    #[test]
    fn the_gates_reasons_are_told_in_the_words_of_the_wit() {
        let limit = LimitInfo { kind: LimitKind::Calls, limit: 20, retry_after_ms: None };
        for (error, message) in [
            (
                GateError::Denied(DenyReason::HostNotInOrg),
                "no answer: the gate refused the request (host-not-in-org)",
            ),
            (GateError::Timeout(TimeoutPhase::FirstByte), "no answer: timeout (first-byte)"),
            (GateError::Limit(limit), "no answer: a limit was exceeded (calls: 20)"),
        ] {
            assert_eq!(Error::from(error).message(), message);
        }
    }

    #[test]
    fn a_status_has_the_class_that_the_host_gives_it() {
        for (status, class, retryable) in [
            (401, "auth", false),
            (403, "permission", false),
            (422, "validation", false),
            (410, "not_found", false),
            (409, "conflict", false),
            (429, "rate_limit", true),
            (503, "transient", true),
            (418, "permanent", false),
        ] {
            let response = Response { status, headers: Vec::new(), body: Vec::new(), redacted: false };
            let error = Error::of_answer(&response);
            assert_eq!(error.status(), Some(status));
            assert_eq!(error.is_retryable(), retryable);
            assert_eq!(error.into_failure().class.as_deref(), Some(class));
        }
    }
}
