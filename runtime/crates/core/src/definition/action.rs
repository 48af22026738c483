//! Actions, inputs, bodies and answers, as written.

use std::collections::BTreeMap;

use portcullis_action::plan::{ArrayFormat, FormStyle, InputPlace, Method, OmitIf, ResponseType};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    DeprecatedDef, ErrorRuleDef, ExampleDef, IdempotencyDef, LimitsDef, PaginationDef, RateLimitDef,
    RetryDef, SuccessDef,
};

/// One thing the connector can do.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["action_id", "http_method", "url_template"]))]
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
    /// Not to be used for anything new.
    pub deprecated: Option<DeprecatedDef>,
    /// Not offered when something new is made.
    pub hidden: bool,
    /// Method.
    pub http_method: Method,
    /// URL, with `{{input.x}}` and `{{config.x}}`; joined to `base_url` when it begins with `/`.
    #[schemars(length(min = 1, max = 8192))]
    pub url_template: String,
    /// What it does to the other side; by the method unless said: GET and HEAD read, DELETE deletes.
    pub effect: Option<Effect>,
    /// Whether doing it twice is doing it once; by the method unless said (RFC 9110 section 9.2.2).
    pub idempotent: Option<bool>,
    /// Headers; templates.
    pub headers: BTreeMap<String, String>,
    /// Query pairs; templates. A pair that is one absent variable is left out.
    pub query: BTreeMap<String, String>,
    /// Inputs. One without more is optional text at the top of the body.
    pub body_schema: Vec<InputDef>,
    /// Shape of the body; a JSON object of the body inputs by default.
    pub body: Option<BodyDef>,
    /// Which answers are a success; a 2xx status by default.
    pub success: Option<SuccessDef>,
    /// What becomes of the answer.
    pub response: Option<ResponseDef>,
    /// What error answers mean, first match wins; tried before the connector's.
    #[schemars(length(max = 32))]
    pub errors: Vec<ErrorRuleDef>,
    /// When a failed call is tried again.
    pub retry: Option<RetryDef>,
    /// How the list goes on.
    pub pagination: Option<PaginationDef>,
    /// Take the connector's `pagination`.
    pub paginate: bool,
    /// Client-side budgets besides the connector's.
    #[schemars(length(max = 4))]
    pub rate_limit: Vec<RateLimitDef>,
    /// Lower limits.
    pub limits: Option<LimitsDef>,
    /// How a repeat is told from a new request.
    pub idempotency: Option<IdempotencyDef>,
    /// Scopes that a token must have.
    #[schemars(length(max = 32))]
    pub requires_scopes: Vec<String>,
    /// Proof without a network: an input, the exact request it makes, and what an answer becomes.
    #[schemars(length(max = 64))]
    pub examples: Vec<ExampleDef>,
}

/// What an action does to the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing.
    Read,
    /// It makes or changes something.
    Write,
    /// It removes something.
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
    /// Anything.
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
    /// What stands in when it is not given.
    pub default: Option<Value>,
    /// Accepted values.
    pub r#enum: Option<Vec<Value>>,
    /// Anchored regular expression (RE2 syntax) of the whole text.
    #[schemars(length(min = 1, max = 500))]
    pub pattern: Option<String>,
    /// What a text must look like.
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
    /// Place in the body: a JSON pointer (`/properties/email`) or a dotted path.
    #[schemars(length(min = 1, max = 400))]
    pub path: Option<String>,
    /// How an array or object is written in a query or form.
    pub array_format: Option<ArrayFormat>,
    /// Filters of the template language, such as `lower | md5`.
    #[schemars(length(min = 1, max = 200))]
    pub transform: Option<String>,
    /// When it is left out.
    pub omit_if: Option<OmitIf>,
    /// Its value is personal: it is not shown in dry runs and logs.
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
    /// Which.
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
    /// Content type, when it is not the usual one of the body's type.
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

/// What becomes of an answer.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ResponseDef {
    /// How the body is read; by its content type unless said.
    pub r#type: ResponseType,
    /// Pointer of what the output is made from, such as `/data`.
    #[schemars(length(max = 400))]
    pub root: Option<String>,
    /// Output member to where its value is: a pointer below `root`, `header:<name>` or `status`.
    /// Without it the output is what is at `root`.
    pub map: BTreeMap<String, String>,
    /// What later steps can use.
    #[schemars(length(max = 200))]
    pub fields: Vec<OutputFieldDef>,
    /// Largest answer, bytes.
    #[schemars(range(min = 1))]
    pub max_bytes: Option<u64>,
}

/// One value that later steps can use.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["name"]))]
pub struct OutputFieldDef {
    /// Its name.
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
