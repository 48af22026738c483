//! The connector definition as it is uploaded: wire shapes, their JSON Schema, and the structural
//! check.
//!
//! The schema is generated from these types and is what the check runs, so editors and the server
//! agree. Wire types carry no invariant; [`crate::connector::Connector`] does. A field that is not
//! here is refused with its pointer, never ignored; names starting `x_` are annotations.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

mod structure;

pub use structure::{read, schema};

/// A connector definition, version 1.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["connector_id", "display_name", "auth_type", "actions", "allowed_domains"]))]
pub struct Definition {
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
    /// What the third party is.
    #[schemars(length(max = 2000))]
    pub description: Option<String>,
    /// Where its documentation is.
    #[schemars(length(max = 500))]
    pub docs_url: Option<String>,
    /// How requests are authenticated.
    pub auth_type: AuthType,
    /// The credential form.
    pub auth_schema: AuthSchema,
    /// Where the credential goes, when the default of `auth_type` is not right.
    #[schemars(with = "AuthDef")]
    pub auth: Option<AuthDef>,
    /// Non-secret values of each workspace's connection.
    pub config_fields: Vec<FieldDef>,
    /// What the connector can do.
    #[schemars(length(min = 1))]
    pub actions: Vec<ActionDef>,
    /// Hosts that requests may go to: a host, or `*.` and a host for everything below it.
    #[schemars(length(min = 1))]
    pub allowed_domains: Vec<String>,
    /// Headers of every action; templates. An action's own header wins.
    pub default_headers: BTreeMap<String, String>,
    /// Narrowing of the gate.
    pub egress: EgressDef,
    /// The kill switch.
    #[serde(default = "yes")]
    pub enabled: bool,
}

const fn yes() -> bool {
    true
}

/// How requests are authenticated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthType {
    /// No credential.
    #[default]
    None,
    /// A key in a header or query pair; by default `Authorization: Bearer <first secret field>`.
    ApiKey,
    /// `Authorization: Bearer <first secret field>` (RFC 6750).
    Bearer,
    /// HTTP Basic (RFC 7617).
    Basic,
}

/// The credential form.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuthSchema {
    /// Its fields.
    pub fields: Vec<FieldDef>,
}

/// A field's type; `secret` and `string` are read as `password` and `text`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// One line.
    #[default]
    #[serde(alias = "string")]
    Text,
    /// One line, hidden while typing.
    #[serde(alias = "secret")]
    Password,
    /// Several lines.
    Textarea,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// One of a list.
    Select,
    /// A URL.
    Url,
    /// An email address.
    Email,
}

impl JsonSchema for FieldType {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FieldType".into()
    }

    // Why by hand: the derived schema does not know the aliases.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "enum": [
            "text", "string", "password", "secret", "textarea", "number", "boolean", "select", "url", "email",
        ] })
    }
}

/// A field of the credential form or of the connection's config.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["name"]))]
pub struct FieldDef {
    /// Name in `config`.
    #[schemars(regex(pattern = "^[A-Za-z_][A-Za-z0-9_]{0,62}$"))]
    pub name: String,
    /// Label for people.
    #[schemars(length(max = 120))]
    pub label: Option<String>,
    /// Type.
    pub r#type: FieldType,
    /// Whether a value must be given.
    pub required: bool,
    /// Whether it is a secret. Default: true in `auth_schema`, false in `config_fields`.
    pub secret: Option<bool>,
    /// Shown in the empty field.
    #[schemars(length(max = 200))]
    pub placeholder: Option<String>,
    /// Shown beside the field.
    #[schemars(length(max = 1000))]
    pub help: Option<String>,
    /// What stands in when nothing is given; non-secret fields only.
    #[schemars(length(max = 1000))]
    pub default: Option<String>,
    /// Longest value, characters.
    pub max_length: Option<u32>,
    /// Shortest value, characters.
    pub min_length: Option<u32>,
    /// Accepted values.
    pub r#enum: Option<Vec<EnumValue>>,
}

/// One accepted value.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["value"]))]
pub struct EnumValue {
    /// The value.
    pub value: String,
    /// Its label.
    pub label: Option<String>,
}

/// Where a credential goes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuthDef {
    /// `header` (default) or `query`; for `api_key`.
    pub r#in: AuthPlace,
    /// Header or query name; `Authorization` by default.
    #[schemars(length(min = 1, max = 120))]
    pub name: Option<String>,
    /// Put before the value; `Bearer ` by default when the header is `Authorization`.
    #[schemars(length(max = 60))]
    pub prefix: Option<String>,
    /// Template over `cred.*`; the first secret field by default.
    pub value: Option<String>,
    /// Template of the user name, for `basic`.
    pub username: Option<String>,
    /// Template of the password, for `basic`.
    pub password: Option<String>,
}

/// Where an API key goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthPlace {
    /// A request header.
    #[default]
    Header,
    /// A query pair.
    Query,
}

/// Narrowing of the gate below the domain list.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EgressDef {
    /// Ports that may be named besides 443.
    #[schemars(inner(range(min = 1)))]
    pub ports: Vec<u16>,
    /// Which redirects are followed; by default none, and a 3xx answer is the action's answer.
    pub redirects: RedirectsDef,
    /// Whether HTTP/2 is offered; HTTP/1.1 is spoken otherwise.
    pub http2: bool,
}

/// Which redirects are followed.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RedirectsDef {
    /// Where to.
    pub follow: RedirectFollow,
    /// Most hops, 1 to 3; 3 by default.
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
    /// To any host that both lists allow; credential and headers are dropped on the way.
    AllowedHosts,
}

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
    /// Method.
    pub http_method: MethodDef,
    /// URL, with `{{input.x}}` and `{{config.x}}`.
    #[schemars(length(min = 1, max = 8192))]
    pub url_template: String,
    /// Headers; templates.
    pub headers: BTreeMap<String, String>,
    /// Inputs. One without more is optional text at the top of the body.
    pub body_schema: Vec<InputDef>,
}

/// Methods that exist here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum MethodDef {
    /// GET
    #[default]
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
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
    /// Anything.
    Any,
}

/// Where an input goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InputIn {
    /// The URL template places it.
    Path,
    /// A query pair.
    Query,
    /// A header.
    Header,
    /// The body.
    Body,
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
    /// Longest text, characters.
    pub max_length: Option<u32>,
    /// Where it goes; by default the path when the URL template names it, else the body (the query
    /// for GET, HEAD, DELETE and OPTIONS).
    pub r#in: Option<InputIn>,
    /// Name on the wire, when it differs.
    #[schemars(length(min = 1, max = 200))]
    pub r#as: Option<String>,
    /// Shown beside the field.
    #[schemars(length(max = 1000))]
    pub help: Option<String>,
    /// An example value.
    pub example: Option<Value>,
}
