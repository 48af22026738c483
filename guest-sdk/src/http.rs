//! Building a request and sending it through the gate. No retry, no waiting: a guest has no clock.

use crate::bindings::portcullis::connector::outbound_http;
use crate::{Error, Method, Request, Response};

/// Sends one request through the host's gate and waits for its answer.
///
/// # Errors
/// [`Error`] with the gate's reason; after a refusal a retry makes no sense.
pub fn send(request: &Request) -> Result<Response, Error> {
    outbound_http::send(request)
}

impl Request {
    /// A request without headers, body and credential.
    #[must_use]
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: Vec::new(), body: None, credential: None, options: None }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Names the credential slot to inject.
    #[must_use]
    pub fn credential(mut self, slot: impl Into<String>) -> Self {
        self.credential = Some(slot.into());
        self
    }
}

impl Response {
    /// The first header with that name, in any case, as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| std::str::from_utf8(value).ok())
    }
}
