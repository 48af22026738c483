//! Examples of actions, as written: they are checked without a network.

use std::collections::BTreeMap;

use portcullis_action::Method;
use portcullis_action::plan::ErrorClass;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::ExchangeDef;

/// An example that is checked without a network.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["name", "input"]))]
pub struct ExampleDef {
    /// Name.
    #[schemars(length(min = 1, max = 120))]
    pub name: String,
    /// Config values of the connection.
    pub config: Map<String, Value>,
    /// The input.
    pub input: Map<String, Value>,
    /// The exact request that must be made, without the credential.
    pub expect_request: Option<ExampleRequestDef>,
    /// A recorded answer.
    pub response: Option<ExampleResponseDef>,
    /// The requests of a module, or of an action with `poll`, in order, each with its recorded answer.
    #[schemars(length(max = 100))]
    pub exchanges: Vec<ExchangeDef>,
    /// The expected output.
    pub expect_output: Option<Value>,
    /// The expected error, instead of an output.
    pub expect_error: Option<ExampleErrorDef>,
}

/// The expected request of an example.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["method", "url"]))]
pub struct ExampleRequestDef {
    /// Method.
    pub method: Method,
    /// URL, exactly.
    pub url: String,
    /// Headers that must be present; names in any case. Others may be present too.
    pub headers: BTreeMap<String, String>,
    /// The body: a JSON document for JSON bodies (compared as values), otherwise the exact text. Absent
    /// means no body.
    pub body: Option<Value>,
}

/// A recorded answer.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["status"]))]
pub struct ExampleResponseDef {
    /// Status.
    pub status: u16,
    /// Headers; `content-type` defaults to JSON when the body is not a text.
    pub headers: BTreeMap<String, String>,
    /// Body: a text is used as it is, anything else is JSON.
    pub body: Option<Value>,
}

impl ExampleResponseDef {
    /// Headers, their names in lower case, and body as an upstream would send them.
    #[must_use]
    pub fn as_received(&self) -> (Vec<(String, Vec<u8>)>, Vec<u8>) {
        let mut headers: BTreeMap<String, String> =
            self.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
        let body = match &self.body {
            None => Vec::new(),
            Some(Value::String(text)) => text.clone().into_bytes(),
            Some(document) => {
                headers.entry("content-type".to_owned()).or_insert_with(|| "application/json".to_owned());
                document.to_string().into_bytes()
            }
        };
        (headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect(), body)
    }
}

/// The expected error of a recorded answer.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["class"]))]
pub struct ExampleErrorDef {
    /// Class.
    pub class: ErrorClass,
    /// Upstream's code, where a rule says where it is.
    pub code: Option<String>,
    /// Upstream's message, where a rule says where it is.
    pub message: Option<String>,
    /// How long the retry rules would wait, milliseconds.
    pub wait_ms: Option<u64>,
}
