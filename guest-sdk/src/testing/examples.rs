//! The examples of a definition, run against the module as ordinary code.
#![allow(clippy::panic, reason = "an example that differs ends the test")]

use serde_json::Value;

use super::{Exchange, FakeGate, expect, invocation};
use crate::{Failure, Handler, Method};

/// Runs every example of the definition's module actions, as an upload does in the sandbox, and returns their
/// number. `input`, `config`, `exchanges`, `expect_output` and `expect_error` mean what they mean there.
///
/// ```
/// use portcullis_guest::testing::examples;
/// use portcullis_guest::{Invocation, Request, Result, actions};
/// use serde_json::Value;
///
/// fn ping(_call: &Invocation, _input: Value) -> Result<Value> {
///     Request::get("https://api.example.com/ping").credential("default").send()?.ok()?.json()
/// }
///
/// actions!(Module { "ping" => ping });
///
/// # fn main() {
/// let definition = r#"{ "actions": [{ "action_id": "ping", "handler": "module", "examples": [{
///     "name": "it is there", "input": {},
///     "exchanges": [{ "expect_request": { "method": "GET", "url": "https://api.example.com/ping" },
///                     "response": { "status": 200, "body": { "up": true } } }],
///     "expect_output": { "up": true } }] }] }"#;
/// assert_eq!(examples::<Module>(definition), 1);
/// # }
/// ```
///
/// # Panics
/// With the name of an example that does not come out, or if the definition has none.
pub fn examples<H: Handler>(definition: &str) -> usize {
    let definition: Value = match serde_json::from_str(definition) {
        Ok(definition) => definition,
        Err(error) => panic!("the definition is no JSON: {error}"),
    };
    let mut count = 0;
    for action in array(&definition, "actions") {
        if action.get("handler").and_then(Value::as_str) != Some("module") {
            continue;
        }
        for example in array(action, "examples") {
            run::<H>(text(action, "action_id"), example);
            count += 1;
        }
    }
    assert!(count > 0, "the definition has no example of a module action");
    count
}

fn run<H: Handler>(action: &str, example: &Value) {
    let name = format!("{action}, {:?}", text(example, "name"));
    let gate = FakeGate::new(array(example, "exchanges").iter().map(exchange));
    let input = example.get("input").map_or("{}".to_owned(), Value::to_string);
    let mut call = invocation(action, &input);
    if let Some(config) = example.get("config") {
        call.config = config.to_string();
    }
    match (gate.invoke::<H>(call), example.get("expect_error")) {
        (Ok(output), None) => {
            if let Some(expected) = example.get("expect_output") {
                assert_eq!(&output, expected, "{name}: the output (left) is not the expected one");
            }
        }
        (Ok(output), Some(_)) => panic!("{name}: an error was expected, the output is {output}"),
        (Err(failure), None) => panic!("{name}: failed with {}: {}", failure.code, failure.message),
        (Err(failure), Some(expected)) => compare(&name, &failure, expected),
    }
}

fn compare(name: &str, failure: &Failure, expected: &Value) {
    let class = failure.class.as_deref().unwrap_or("permanent");
    for (member, got) in
        [("class", class), ("code", failure.code.as_str()), ("message", failure.message.as_str())]
    {
        if let Some(expected) = expected.get(member).and_then(Value::as_str) {
            assert_eq!(got, expected, "{name}: the error's {member} (left) is not the expected one");
        }
    }
}

fn exchange(recorded: &Value) -> Exchange {
    let request = recorded.get("expect_request").unwrap_or(&Value::Null);
    let mut expected = expect(method(text(request, "method")), text(request, "url"));
    for (name, value) in object(request, "headers") {
        expected = expected.header(name, value.as_str().unwrap_or_default());
    }
    expected = match request.get("body") {
        None => expected,
        Some(Value::String(body)) => expected.body(body.as_str()),
        Some(body) => expected.json(body),
    };
    let response = recorded.get("response").unwrap_or(&Value::Null);
    let status = response.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    let status = status.unwrap_or(200);
    let mut exchange = match response.get("body") {
        None => expected.answer(status, ""),
        Some(Value::String(body)) => expected.answer(status, body.as_str()),
        Some(body) => expected.answer_json(status, body),
    };
    for (name, value) in object(response, "headers") {
        exchange = exchange.with_header(name, value.as_str().unwrap_or_default());
    }
    exchange
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        other => panic!("expect_request: {other:?} is no method"),
    }
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value.get(member).and_then(Value::as_str).unwrap_or_default()
}

fn array<'v>(value: &'v Value, member: &str) -> &'v [Value] {
    value.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn object<'v>(value: &'v Value, member: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    value.get(member).and_then(Value::as_object).into_iter().flatten()
}
