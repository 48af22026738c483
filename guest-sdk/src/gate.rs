//! The way out, as it is: one request, one answer or the gate's reason. No retry and no waiting: a guest has no clock.

use crate::{GateError, Request, Response};

/// Sends one request through the host's gate and waits for its answer. [`Request::send`] does the same with an
/// [`Error`](crate::Error) that `?` takes on.
///
/// ```
/// use portcullis_guest::{DenyReason, GateError, Method, Request, send};
/// use portcullis_guest::testing::{FakeGate, expect};
///
/// let refusal = GateError::Denied(DenyReason::HostNotInConnector);
/// let gate = FakeGate::new([expect(Method::Get, "https://elsewhere.example/").fail(refusal)]);
/// let answer = gate.run(|| send(&Request::get("https://elsewhere.example/")));
/// assert!(matches!(answer, Err(GateError::Denied(DenyReason::HostNotInConnector))));
/// ```
///
/// # Errors
/// [`GateError`] with the gate's reason; after a refusal a retry makes no sense.
///
/// # Panics
/// Outside of WebAssembly and of [`testing::FakeGate::run`](crate::testing::FakeGate::run): there is no gate.
pub fn send(request: &Request) -> Result<Response, GateError> {
    #[cfg(target_family = "wasm")]
    return crate::bindings::portcullis::connector::outbound_http::send(request);
    #[cfg(not(target_family = "wasm"))]
    return crate::testing::send(request);
}
