//! The generic HTTP handler: one guest for every connector that is only JSON.
//!
//! It renders the action plan that it receives, asks the gate to send the result, and maps the answer, page
//! by page if the plan has pagination (`answer`). It holds no credential, follows no
//! redirect, never waits and never retries. Built to a component
//! by `connectors/build.rs`; its unit tests run natively.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking"))]
#![allow(clippy::result_large_err, reason = "the failure's shape is the interface's; it is made once a call")]

mod answer;
#[cfg(any(target_family = "wasm", test))]
mod arena;

use std::mem::ManuallyDrop;

use portcullis_action::json::{Members, Object};
use portcullis_action::judge::PLAN_INVALID;
use portcullis_action::{ActionPlan, Values, poll, render};
use portcullis_guest::{Failure, GateError, Handler, Invocation, Request, Response};
use serde_json::{Map, Value};

/// Enough for a call with a request and an answer of some hundred KiB; more is allocated as usual.
#[cfg(target_family = "wasm")]
const ARENA_BYTES: usize = 1024 * 1024;

// Why only there: a guest has one thread, and a test of this crate has several.
#[cfg(target_family = "wasm")]
#[global_allocator]
static ARENA: arena::Arena<ARENA_BYTES> = arena::Arena::new();

struct HttpHandler;

impl Handler for HttpHandler {
    fn invoke(call: Invocation) -> Result<String, Failure> {
        run(&keep(call), portcullis_guest::send)
    }
}

portcullis_guest::export_handler!(HttpHandler);

fn run(
    call: &Invocation,
    send: impl FnMut(&Request) -> Result<Response, GateError>,
) -> Result<String, Failure> {
    let plan = ActionPlan::read(&call.plan);
    let plan = keep(plan.ok_or_else(|| Failure::permanent(PLAN_INVALID, "this is no plan of the host's"))?);
    let input = keep(Given::read(&call.input, "input_invalid")?);
    let config = keep(Given::read(&call.config, "config_invalid")?);
    let values = Values {
        input: input.object(),
        config: config.object(),
        action_id: &plan.action_id,
        run_id: &call.run_id,
        source: None,
        entries: &[],
        // Why: a time past the year 292 million is no reason to fail a call.
        now_ms: i64::try_from(call.now_ms).unwrap_or(i64::MAX),
        idempotency_key: call.idempotency_key.as_deref(),
        tables: &plan.tables,
        budget: None,
    };
    let rendered = render::render_request(&plan, &values)
        .map_err(|e| Failure::permanent("input_invalid", e.to_string()))?;
    let asked = plan.poll.as_ref().and_then(|poll| poll.asked.as_ref());
    let rendered = match asked {
        Some(asked) => poll::request(&plan, asked, rendered),
        None => rendered,
    };
    answer::complete(&plan, rendered, send)
}

/// Lets a value live as long as the instance, which serves only this call: releasing its parts one by one
/// would be wasted work. Not for what every page of a list has.
const fn keep<T>(value: T) -> ManuallyDrop<T> {
    ManuallyDrop::new(value)
}

/// An object of the call: its members as text if that is enough.
enum Given<'t> {
    Members(Members<'t>),
    Map(Map<String, Value>),
}

impl<'t> Given<'t> {
    fn read(text: &'t str, code: &str) -> Result<Self, Failure> {
        if let Some(members) = Members::read(text) {
            return Ok(Self::Members(members));
        }
        serde_json::from_str(text).map(Self::Map).map_err(|e| Failure::permanent(code, e.to_string()))
    }

    fn object(&self) -> Object<'_> {
        match self {
            Self::Members(members) => Object::Members(members),
            Self::Map(map) => Object::Map(map),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(input: &Value) -> Invocation {
        Invocation {
            operation: "create-contact".to_owned(),
            plan: json!({
                "action_id": "create-contact", "method": "POST",
                "url": "https://api.salesforce.com/v1/contacts",
                "inputs": [{ "name": "Email", "place": "body" }],
                "body": { "type": "json" }, "credential": "default",
            })
            .to_string(),
            input: input.to_string(),
            config: "{}".to_owned(),
            run_id: "run_1".to_owned(),
            now_ms: 1_795_343_400_000,
            idempotency_key: None,
        }
    }

    fn answer(status: u16, body: &str) -> Response {
        Response {
            status,
            headers: vec![("content-type".to_owned(), b"application/json".to_vec())],
            body: body.as_bytes().to_vec(),
            redacted: false,
        }
    }

    #[test]
    fn the_plan_becomes_one_request_that_names_the_credential_slot() {
        let output = run(&call(&json!({ "Email": "a@b.c" })), |request| {
            assert_eq!(request.url, "https://api.salesforce.com/v1/contacts");
            assert_eq!(request.body.as_deref(), Some(br#"{"Email":"a@b.c"}"#.as_slice()));
            assert_eq!(request.credential.as_deref(), Some("default"));
            Ok(answer(201, r#"{"id":"003"}"#))
        });
        let output: Value = serde_json::from_str(&output.unwrap()).unwrap();
        assert_eq!(output["output"], json!({ "id": "003" }));
        assert_eq!(output["upstream"]["status"], 201);
    }

    #[test]
    fn an_error_status_is_a_failure_with_its_class_and_answer() {
        let failure = run(&call(&json!({})), |_| Ok(answer(429, r#"{"m":"slow"}"#))).unwrap_err();
        assert_eq!(failure.class.as_deref(), Some("rate_limit"));
        assert!(failure.retryable);
        let response: Value = serde_json::from_str(&failure.response.unwrap()).unwrap();
        assert_eq!(response["body"], json!({ "m": "slow" }));
    }

    #[test]
    fn input_that_is_no_object_is_a_clean_failure() {
        let failure = run(&call(&json!([])), |_| Ok(answer(200, ""))).unwrap_err();
        assert_eq!(failure.code, "input_invalid");
    }
}
