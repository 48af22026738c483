//! A gate for tests: recorded exchanges in place of the host. Where a module is built for any target but
//! WebAssembly, its requests and log lines come here, so `cargo test` runs it as ordinary code.
//!
//! A test writes down what the module has to ask, in order, and what it is answered:
//!
//! ```
//! use portcullis_guest::testing::{FakeGate, expect};
//! use portcullis_guest::{Invocation, Method, Request, Result, actions};
//! use serde_json::{Value, json};
//!
//! fn get_contact(_call: &Invocation, input: Value) -> Result<Value> {
//!     let id = input["id"].as_str().unwrap_or_default();
//!     Request::get("https://api.example.com/contacts/{id}").path("id", id).credential("default").send()?.ok()?.json()
//! }
//!
//! actions!(Module { "get-contact" => get_contact });
//!
//! # fn main() {
//! let gate = FakeGate::new([expect(Method::Get, "https://api.example.com/contacts/c_1")
//!     .credential("default")
//!     .answer_json(200, &json!({ "email": "ada@example.org" }))]);
//! let output = gate.call::<Module>("get-contact", &json!({ "id": "c_1" })).unwrap();
//! assert_eq!(output["email"], "ada@example.org");
//! # }
//! ```
//!
//! Better, the same exchanges stand in the definition as `examples`, where every upload runs them too, and the test
//! is one line: [`examples`].

#[cfg(feature = "json")]
mod examples;
mod exchange;
mod fake_gate;

#[cfg(feature = "json")]
pub use examples::examples;
pub use exchange::{Exchange, Expected, expect};
pub use fake_gate::FakeGate;
pub(crate) use fake_gate::{log, send};

use crate::Invocation;

/// A call of an action with that input, as the definition's examples are called: 2026-01-01T00:00:00Z, the run
/// `run_example`, the idempotency key `example-key`, no config. Every part can be changed.
///
/// ```
/// let call = portcullis_guest::testing::invocation("greet", r#"{"name":"Ada"}"#);
/// assert_eq!((call.operation.as_str(), call.now_ms), ("greet", 1_767_225_600_000));
/// ```
#[must_use]
pub fn invocation(action: &str, input: &str) -> Invocation {
    Invocation {
        operation: action.to_owned(),
        plan: "{}".to_owned(),
        input: input.to_owned(),
        config: "{}".to_owned(),
        run_id: "run_example".to_owned(),
        now_ms: 1_767_225_600_000,
        idempotency_key: Some("example-key".to_owned()),
    }
}
