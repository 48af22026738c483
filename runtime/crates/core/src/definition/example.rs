//! Examples of actions, as written: proof without a network.

use std::collections::BTreeMap;

use portcullis_action::Method;
use portcullis_action::plan::ErrorClass;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// An example that is checked without a network.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["name", "input"]))]
pub struct ExampleDef {
    /// Its name.
    #[schemars(length(min = 1, max = 120))]
    pub name: String,
    /// Config values of the connection.
    pub config: Map<String, Value>,
    /// The input.
    pub input: Map<String, Value>,
    /// The request that must come out, credential aside.
    pub expect_request: Option<ExampleRequestDef>,
    /// A recorded answer.
    pub response: Option<ExampleResponseDef>,
    /// What the answer must become.
    pub expect_output: Option<Value>,
    /// Or the error it must be.
    pub expect_error: Option<ExampleErrorDef>,
}

/// The request that an example must make.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["method", "url"]))]
pub struct ExampleRequestDef {
    /// Method.
    pub method: Method,
    /// URL, exactly.
    pub url: String,
    /// Headers that must be there; names in any case. Others may be there too.
    pub headers: BTreeMap<String, String>,
    /// The body: a JSON document for JSON bodies (compared as values), else the exact text. Absent
    /// means that there is none.
    pub body: Option<Value>,
}

/// A recorded answer.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["status"]))]
pub struct ExampleResponseDef {
    /// Status.
    pub status: u16,
    /// Headers; `content-type` is JSON unless said, when the body is not a text.
    pub headers: BTreeMap<String, String>,
    /// Body: a text stands as it is, anything else is JSON.
    pub body: Option<Value>,
}

/// The error that a recorded answer must be.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["class"]))]
pub struct ExampleErrorDef {
    /// Class.
    pub class: ErrorClass,
    /// Upstream's code, where a rule names where it is.
    pub code: Option<String>,
    /// Upstream's message, where a rule names where it is.
    pub message: Option<String>,
    /// How long the retry rules would wait, milliseconds.
    pub wait_ms: Option<u64>,
}
