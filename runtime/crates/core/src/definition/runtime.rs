//! A custom module of a connector, as written.

use portcullis_action::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ExampleRequestDef, ExampleResponseDef};

/// Who makes an action's requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HandlerDef {
    /// The product's own handler, from the definition alone.
    #[default]
    Http,
    /// The connector's module.
    Module,
}

/// The custom module that serves actions with `handler: "module"`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["module", "requests"]))]
pub struct RuntimeDef {
    /// Digest of the module's bytes, as its upload answers.
    #[schemars(regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub module: String,
    /// What it may import.
    pub profile: ProfileDef,
    /// The requests that it may make, and no others.
    #[schemars(length(min = 1, max = 100))]
    pub requests: Vec<RuntimeRequestDef>,
    /// Limits below the platform's.
    pub limits: RuntimeLimitsDef,
}

/// What a module may import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProfileDef {
    /// The gate and the log, and nothing else.
    #[default]
    Pure,
    /// Besides, WASI 0.2 as far as it reaches nothing: an empty environment, no files, coarse clocks, random numbers,
    /// output into the log. Only where the platform allows it.
    Std,
}

impl ProfileDef {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Std => "std",
        }
    }
}

/// Requests that a module may make.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["methods", "url"]))]
pub struct RuntimeRequestDef {
    /// Methods.
    #[schemars(length(min = 1, max = 7))]
    pub methods: Vec<Method>,
    /// URL, such as `https://api.example.com/v1/contacts/{id}`: `{name}` is one segment of the path, `{name+}` the rest
    /// of it, `{{config.x}}` a value of the connection. The query is free. Begins with `/` below `base_url`.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
}

/// Limits of a module below the platform's.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RuntimeLimitsDef {
    /// Requests of one call.
    #[schemars(range(min = 1))]
    pub requests: Option<u64>,
    /// Linear memory, bytes.
    #[schemars(range(min = 65_536))]
    pub memory_bytes: Option<u64>,
    /// Time it may compute, milliseconds.
    #[schemars(range(min = 1))]
    pub cpu_ms: Option<u64>,
}

/// One request of a module's example, and its recorded answer.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["response"]))]
pub struct ExchangeDef {
    /// The exact request that must be made, without the credential.
    pub expect_request: Option<ExampleRequestDef>,
    /// The recorded answer.
    pub response: ExampleResponseDef,
}
