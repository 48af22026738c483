//! The connector definition as it is uploaded: wire shapes, their JSON Schema, and the structural
//! check.
//!
//! The schema is generated from these types and is what the check runs, so editors and the server
//! agree. Wire types carry no invariant; [`crate::connector::Connector`] does. A field that is not
//! here is refused with its pointer, never ignored; names starting `x_` are annotations.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

mod action;
mod auth;
mod behaviour;
mod example;
mod field;
mod poll;
mod published;
mod runtime;
mod structure;
mod token;

pub use action::{ActionDef, BodyDef, BodyTypeDef, Effect, InputDef, InputType, OutputFieldDef, ResponseDef};
pub use auth::{AuthDef, AuthMethodDef, AuthPlace, AuthType, CustomAuthDef, PlaceDef};
pub use behaviour::{
    BudgetScope, ErrorRuleDef, ErrorWhenDef, IdempotencyDef, IdempotencyIn, PaginationDef, PaginationIn,
    PaginationType, RateLimitDef, RetryBodyDef, RetryDef, RetryHeaderDef, SuccessDef,
};
pub use example::{ExampleDef, ExampleErrorDef, ExampleRequestDef, ExampleResponseDef};
pub use field::{
    AuthSchema, ComputedDef, EnumValue, FieldDef, FieldFormat, FieldScope, FieldType, VisibleWhenDef,
};
pub use poll::{PollDef, PollResultDef, PollUrlDef};
pub use published::published_schema;
pub use runtime::{ExchangeDef, HandlerDef, ProfileDef, RuntimeDef, RuntimeLimitsDef, RuntimeRequestDef};
pub use structure::{read, schema};
pub use token::{
    AlgDef, BodyFormatDef, ClientAuthDef, EncodingDef, ExpiresUnitDef, HeaderMemberDef, OAuth1MethodDef,
    PkceDef, RefreshDef, RefreshOnDef, ScopeDef, StepDef, StepRequestDef, TimestampFormatDef, TokenFormatDef,
};

/// A connector definition, version 1.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["connector_id", "display_name", "auth_type", "actions", "allowed_domains"]))]
pub struct Definition {
    /// The JSON Schema that an editor completes the document with; nothing is fetched for it.
    #[serde(rename = "$schema")]
    #[schemars(length(max = 500), extend("x-effect" = "none"))]
    pub json_schema: Option<String>,
    /// Format version.
    #[schemars(extend("const" = 1))]
    pub schema_version: Option<u32>,
    /// Durable id of the connector.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$"))]
    pub connector_id: String,
    /// Name for people.
    #[schemars(length(min = 1, max = 120))]
    pub display_name: String,
    /// Version of this definition, for people.
    #[schemars(length(max = 64))]
    pub version: Option<String>,
    /// Release status; a draft is visible to platform admins only.
    pub status: StatusDef,
    /// What the third party is.
    #[schemars(length(max = 2000))]
    pub description: Option<String>,
    /// Picture as a `data:image/…` URL; nothing is ever fetched for it.
    #[schemars(length(max = 16384), regex(pattern = "^data:image/(png|svg\\+xml|webp|jpeg);base64,"))]
    pub icon: Option<String>,
    /// Link to its documentation.
    #[schemars(length(max = 500))]
    pub docs_url: Option<String>,
    /// Link to help.
    #[schemars(length(max = 500))]
    pub support_url: Option<String>,
    /// Categories of the third party's system.
    #[schemars(length(max = 16), inner(length(min = 1, max = 60)))]
    pub categories: Vec<String>,
    /// Search words.
    #[schemars(length(max = 32), inner(length(min = 1, max = 60)))]
    #[schemars(extend("x-effect" = "none"))]
    pub tags: Vec<String>,
    /// Deprecated: not to be used for anything new.
    pub deprecated: Option<DeprecatedDef>,
    /// How requests are authenticated. With `auth_methods` it is the default method.
    pub auth_type: AuthType,
    /// The credential form.
    pub auth_schema: AuthSchema,
    /// Where the credential goes and how it is made.
    pub auth: Option<AuthDef>,
    /// Further authentication methods; the workspace chooses one. The connector's own `auth_type`,
    /// `auth` and `auth_schema` are the default method.
    #[schemars(length(max = 8))]
    pub auth_methods: Vec<AuthMethodDef>,
    /// Non-secret values of each workspace's connection.
    pub config_fields: Vec<FieldDef>,
    /// Base of every `url_template` that begins with `/`; may use `config.*`.
    #[schemars(length(min = 1, max = 2048))]
    pub base_url: Option<String>,
    /// What the connector can do.
    #[schemars(length(min = 1))]
    pub actions: Vec<ActionDef>,
    /// The custom module that serves actions with `handler: "module"`.
    pub runtime: Option<RuntimeDef>,
    /// Hosts that requests may go to: a host, or `*.` and a host for everything below it.
    #[schemars(length(min = 1))]
    pub allowed_domains: Vec<String>,
    /// Added to the `User-Agent` of every request, for vendors that ask who calls, such as
    /// `acme-integration/1.0 (+https://acme.example)` (RFC 9110 section 10.1.5).
    #[schemars(length(min = 1, max = 200))]
    pub user_agent_suffix: Option<String>,
    /// Headers of every action; templates. An action's own header wins.
    pub default_headers: BTreeMap<String, String>,
    /// Query pairs of every action; templates. An action's own pair wins.
    pub default_query: BTreeMap<String, String>,
    /// Tables for the filter `lookup`: name, then what stands for each value. A text, number or boolean.
    pub tables: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
    /// A read that shows whether a credential works.
    pub test: Option<TestDef>,
    /// Reads that fill `config_fields` marked `automated` after a credential was saved.
    #[schemars(length(max = 4))]
    pub discover: Vec<DiscoverDef>,
    /// Rules of the outbound gate.
    pub egress: EgressDef,
    /// Limits below the platform's.
    pub limits: LimitsDef,
    /// Client-side budgets of every action.
    #[schemars(length(max = 8))]
    pub rate_limit: Vec<RateLimitDef>,
    /// What error answers mean; the first matching rule applies. Checked after the action's own rules.
    #[schemars(length(max = 32))]
    pub errors: Vec<ErrorRuleDef>,
    /// When a failed call is retried, for every action without rules of its own.
    pub retry: Option<RetryDef>,
    /// How the pages of a list are requested, for every action with `paginate: true`.
    pub pagination: Option<PaginationDef>,
    /// The kill switch.
    #[serde(default = "yes")]
    pub enabled: bool,
}

pub(crate) const fn yes() -> bool {
    true
}

/// Release status of a definition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatusDef {
    /// Visible to platform admins only.
    Draft,
    /// Visible to everyone; may still change.
    Beta,
    /// Visible to everyone.
    #[default]
    Stable,
}

/// Why something should not be used for anything new.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DeprecatedDef {
    /// Since when.
    #[schemars(length(max = 64))]
    #[schemars(extend("x-effect" = "none"))]
    pub since: Option<String>,
    /// Why.
    #[schemars(length(max = 500))]
    #[schemars(extend("x-effect" = "none"))]
    pub reason: Option<String>,
    /// What to use instead.
    #[schemars(length(max = 120))]
    #[schemars(extend("x-effect" = "none"))]
    pub replaced_by: Option<String>,
}

/// The credential check.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["request"]))]
pub struct TestDef {
    /// The request: an action whose inputs all have defaults.
    pub request: ActionDef,
    /// Pointer to the value in the answer that names the account, such as `/login`.
    #[schemars(length(max = 200))]
    pub label: Option<String>,
}

/// A request that fills config fields.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["request", "capture"]))]
pub struct DiscoverDef {
    /// The request: an action whose inputs all have defaults.
    pub request: ActionDef,
    /// Name of a config field marked `automated`, with the pointer to its value in the answer.
    #[schemars(extend("minProperties" = 1))]
    pub capture: BTreeMap<String, String>,
}

/// Rules of the outbound gate besides the domain list.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EgressDef {
    /// Ports besides 443 that URLs may use.
    #[schemars(length(max = 16), inner(range(min = 1)))]
    pub ports: Vec<u16>,
    /// Which redirects are followed; by default none, and a 3xx answer is the action's answer.
    pub redirects: RedirectsDef,
    /// Whether HTTP/2 is offered; otherwise HTTP/1.1 is used.
    pub http2: bool,
    /// Whether an answer without a length may end with a connection that is closed without TLS's
    /// `close_notify`.
    pub tls_close: TlsCloseDef,
}

/// How a TLS connection must end after an answer without a length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TlsCloseDef {
    /// With `close_notify` (RFC 8446 section 6.1); else the answer may be cut off, and the call fails.
    #[default]
    Strict,
    /// With or without it. An attacker who can close the connection can then cut such an answer off unnoticed.
    Lenient,
}

/// Which redirects are followed.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RedirectsDef {
    /// Where they may lead.
    pub follow: RedirectFollow,
    /// Maximum number of hops, 1 to 3; 3 by default.
    #[schemars(range(min = 1, max = 3))]
    pub max: Option<u8>,
}

/// Where redirects may lead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RedirectFollow {
    /// Nowhere.
    #[default]
    None,
    /// To the same host and port.
    SameHost,
    /// To any host that both lists allow; credential and headers are dropped.
    AllowedHosts,
}

/// Limits below the platform's; a higher number has no effect.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LimitsDef {
    /// Largest answer, bytes.
    #[schemars(range(min = 1))]
    pub response_bytes: Option<u64>,
    /// Longest request from start to end, milliseconds.
    #[schemars(range(min = 1))]
    pub timeout_ms: Option<u32>,
    /// Longest TCP connect, milliseconds.
    #[schemars(range(min = 1))]
    pub connect_timeout_ms: Option<u32>,
}
