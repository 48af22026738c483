//! Actions, inputs, bodies and answers, as written.

use std::collections::BTreeMap;

use portcullis_action::plan::{ArrayFormat, FormStyle, InputPlace, Method, OmitIf, ResponseType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    DeprecatedDef, ErrorRuleDef, ExampleDef, HandlerDef, IdempotencyDef, LimitsDef, PaginationDef, PollDef,
    RateLimitDef, RetryDef, SuccessDef,
};

/// One thing the connector can do.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["action_id"]))]
pub struct ActionDef {
    /// Id, unique in the connector.
    #[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"))]
    pub action_id: String,
    /// Name for people.
    #[schemars(length(max = 120))]
    pub name: Option<String>,
    /// What it does.
    #[schemars(length(max = 2000))]
    pub description: Option<String>,
    /// Where it is documented.
    #[schemars(length(max = 500))]
    pub docs_url: Option<String>,
    /// Deprecated: not to be used for anything new.
    pub deprecated: Option<DeprecatedDef>,
    /// Not offered when something new is made.
    pub hidden: bool,
    /// Who makes the requests: the product from the definition, or the connector's module, which needs no
    /// `http_method` and `url_template`.
    pub handler: HandlerDef,
    /// Method.
    pub http_method: Option<Method>,
    /// URL, with `{{input.x}}` and `{{config.x}}`; appended to `base_url` when it begins with `/`.
    #[schemars(length(min = 1, max = 8192))]
    pub url_template: Option<String>,
    /// What it does at the third party; by default from the method: GET and HEAD read, DELETE deletes.
    pub effect: Option<Effect>,
    /// Whether repeating the request has the same effect as sending it once; by default from the method (RFC 9110
    /// section 9.2.2).
    pub idempotent: Option<bool>,
    /// Headers; templates.
    pub headers: BTreeMap<String, String>,
    /// Query pairs; templates. A pair whose template is one absent variable is left out.
    pub query: BTreeMap<String, String>,
    /// Inputs. One with a name only is an optional text at the top level of the body.
    pub body_schema: Vec<InputDef>,
    /// Shape of the body; by default a JSON object of the body inputs.
    pub body: Option<BodyDef>,
    /// Which answers are a success; a 2xx status by default.
    pub success: Option<SuccessDef>,
    /// How the answer becomes the output.
    pub response: Option<ResponseDef>,
    /// What error answers mean; the first matching rule applies. Checked before the connector's rules.
    #[schemars(length(max = 32))]
    pub errors: Vec<ErrorRuleDef>,
    /// When a failed call is retried.
    pub retry: Option<RetryDef>,
    /// How the pages of the list are requested.
    pub pagination: Option<PaginationDef>,
    /// Use the connector's `pagination`.
    pub paginate: bool,
    /// How an answer that is not finished yet is asked for again.
    pub poll: Option<PollDef>,
    /// Client-side budgets in addition to the connector's.
    #[schemars(length(max = 4))]
    pub rate_limit: Vec<RateLimitDef>,
    /// Limits below the platform's.
    pub limits: Option<LimitsDef>,
    /// The idempotency key, by which the vendor recognizes a repeated request.
    pub idempotency: Option<IdempotencyDef>,
    /// Scopes that a token must have.
    #[schemars(length(max = 32))]
    pub requires_scopes: Vec<String>,
    /// Checks without a network: an input, the exact request it makes, and the output of a recorded answer.
    #[schemars(length(max = 64))]
    pub examples: Vec<ExampleDef>,
}

/// What an action does at the third party.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Creates or changes something.
    Write,
    /// Removes something.
    Delete,
}

impl Effect {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
        }
    }
}

/// An input's type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InputType {
    /// Text.
    #[default]
    String,
    /// Any number.
    Number,
    /// A whole number.
    Integer,
    /// True or false.
    Boolean,
    /// A JSON object.
    Object,
    /// A JSON array.
    Array,
    /// A full date, `2026-11-22` (RFC 3339).
    Date,
    /// A date and time with offset (RFC 3339).
    Datetime,
    /// `{"filename", "content_type"?, "data": <base64>}`; or plain text.
    File,
    /// Any JSON value.
    Any,
}

/// One input of an action.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["name"]))]
pub struct InputDef {
    /// Name in `input`.
    #[schemars(length(min = 1, max = 120))]
    pub name: String,
    /// Label for people.
    #[schemars(length(max = 120))]
    pub label: Option<String>,
    /// Type; values are never coerced.
    pub r#type: InputType,
    /// Whether it must be given.
    pub required: bool,
    /// Value used when none is given.
    pub default: Option<Value>,
    /// Accepted values.
    pub r#enum: Option<Vec<Value>>,
    /// Anchored regular expression (RE2 syntax) of the whole text.
    #[schemars(length(min = 1, max = 500))]
    pub pattern: Option<String>,
    /// Format of a text.
    pub format: Option<super::FieldFormat>,
    /// Smallest number.
    pub min: Option<f64>,
    /// Largest number.
    pub max: Option<f64>,
    /// Shortest text in characters, or fewest entries.
    pub min_length: Option<u32>,
    /// Longest text in characters, or most entries.
    pub max_length: Option<u32>,
    /// Where it goes; by default the path when the URL template names it, else the body (the query
    /// for GET, HEAD, DELETE and OPTIONS). An input that a header, query or body template names goes
    /// there alone.
    pub r#in: Option<InputPlace>,
    /// Name on the wire, when it differs.
    #[schemars(length(min = 1, max = 200))]
    pub r#as: Option<String>,
    /// Position in the body: a JSON pointer (`/properties/email`) or a dotted path.
    #[schemars(length(min = 1, max = 400))]
    pub path: Option<String>,
    /// How an array or object is written in a query or form.
    pub array_format: Option<ArrayFormat>,
    /// Filters of the template language, such as `lower | md5`.
    #[schemars(length(min = 1, max = 200))]
    pub transform: Option<String>,
    /// When it is left out.
    pub omit_if: Option<OmitIf>,
    /// Whether a given null is sent; otherwise it counts as not given.
    pub nullable: bool,
    /// Its value is personal data: it is not shown in dry runs and logs.
    pub sensitive: bool,
    /// Shown beside the field.
    #[schemars(length(max = 1000))]
    pub help: Option<String>,
    /// An example value.
    pub example: Option<Value>,
}

/// Shape of a body.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["type"]))]
pub struct BodyDef {
    /// The body's type.
    pub r#type: BodyTypeDef,
    /// `json`: the object is put under this name, as in `{"ticket": {…}}`.
    #[schemars(length(min = 1, max = 120))]
    pub wrap: Option<String>,
    /// `json`: a document whose texts are templates; body inputs are merged into it. `xml`, `text`:
    /// a text template.
    pub template: Option<Value>,
    /// `json`, `text`, `raw`: the named input is the whole body.
    #[schemars(length(min = 1, max = 120))]
    pub root: Option<String>,
    /// `form`: how nested values are written; `brackets` by default.
    pub form_style: Option<FormStyle>,
    /// Content type, when it differs from the usual one of the body's type.
    #[schemars(length(min = 3, max = 200))]
    pub content_type: Option<String>,
    /// `graphql`: the operation; no template.
    #[schemars(length(min = 1, max = 16384))]
    pub query: Option<String>,
    /// `graphql`: a document whose texts are templates; body inputs are merged into it.
    pub variables: Option<Map<String, Value>>,
}

/// Body types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyTypeDef {
    /// No body.
    None,
    /// `application/json`.
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data` (RFC 7578).
    Multipart,
    /// `application/xml`, from `template`.
    Xml,
    /// `text/plain`, from `template` or `root`.
    Text,
    /// The bytes of the file input named by `root`.
    Raw,
    /// GraphQL over HTTP: `{"query", "variables"}`.
    Graphql,
}

/// How an answer becomes the output.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ResponseDef {
    /// How the body is parsed; by default from its content type.
    pub r#type: ResponseType,
    /// Pointer to the value that the output is made from, such as `/data`.
    #[schemars(length(max = 400))]
    pub root: Option<String>,
    /// Name of an output member, with the source of its value: a pointer below `root`, `header:<name>` or `status`.
    /// Without `map` the output is the value at `root`.
    pub map: BTreeMap<String, String>,
    /// Values that later steps can use.
    #[schemars(length(max = 200))]
    pub fields: Vec<OutputFieldDef>,
    /// Largest response body, bytes.
    #[schemars(range(min = 1))]
    pub max_bytes: Option<u64>,
}

/// One value that later steps can use.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["name"]))]
pub struct OutputFieldDef {
    /// Name.
    #[schemars(length(min = 1, max = 120))]
    pub name: String,
    /// Label for people.
    #[schemars(length(max = 120))]
    pub label: Option<String>,
    /// Type.
    pub r#type: InputType,
    /// Pointer into the output.
    #[schemars(length(max = 400))]
    pub path: Option<String>,
}
