//! The parts of `auth` that make tokens and signatures, as written.

use std::borrow::Cow;
use std::collections::BTreeMap;

use portcullis_action::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::BodyTypeDef;

/// A scope: its name, or an object that describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum ScopeDef {
    /// The name only.
    Name(String),
    /// Name and description.
    Described {
        /// Its name.
        name: String,
        /// What it allows.
        #[serde(default)]
        description: Option<String>,
        /// Actions that need it.
        #[serde(default)]
        required_by: Vec<String>,
    },
}

impl ScopeDef {
    /// The scope's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Name(name) | Self::Described { name, .. } => name,
        }
    }
}

impl JsonSchema for ScopeDef {
    fn schema_name() -> Cow<'static, str> {
        "ScopeDef".into()
    }

    // Why by hand: a mistake inside one of two alternatives has no pointer.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A scope, by name or with what people should know.",
            "type": ["string", "object"],
            "minLength": 1,
            "maxLength": 200,
            "properties": {
                "name": { "description": "Its name.", "type": "string", "minLength": 1, "maxLength": 200 },
                "description": { "description": "What it allows.", "type": ["string", "null"] },
                "required_by": {
                    "description": "Actions that need it.",
                    "type": "array",
                    "items": { "type": "string" },
                },
            },
            "required": ["name"],
        })
    }
}

/// Client authentication (RFC 6749 section 2.3, RFC 7523 section 2.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthDef {
    /// `Authorization: Basic`, both parts form-encoded (RFC 6749 section 2.3.1).
    Basic,
    /// `Authorization: Basic` with both parts as they are, for servers that do not decode them.
    BasicRaw,
    /// `client_id` and `client_secret` in the body.
    #[default]
    Body,
    /// A signed assertion; uses `alg`, `key_field` and `kid`.
    PrivateKeyJwt,
}

/// How an answer of a token endpoint is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenFormatDef {
    /// As it looks: JSON, a form or XML.
    #[default]
    Auto,
    /// JSON.
    Json,
    /// `application/x-www-form-urlencoded`: every name is a member.
    Form,
    /// XML: every element is a member of the one around it; the outermost has no name.
    Xml,
}

/// Shape of a token request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyFormatDef {
    /// `application/x-www-form-urlencoded`.
    #[default]
    Form,
    /// `application/json`.
    Json,
}

/// Unit of a lifetime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExpiresUnitDef {
    /// Seconds from now.
    #[default]
    S,
    /// Milliseconds from now.
    Ms,
    /// A point in time: seconds since 1970.
    EpochS,
    /// A point in time: milliseconds since 1970.
    EpochMs,
    /// A point in time (RFC 3339).
    Iso8601,
}

/// Proof key of the authorization code (RFC 7636).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum PkceDef {
    /// SHA-256 of the verifier.
    #[default]
    S256,
    /// None, for servers that refuse it.
    #[serde(rename = "none")]
    None,
}

/// How a token is renewed.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RefreshDef {
    /// Every renewal returns a new refresh token and invalidates the old one.
    pub rotates: bool,
    /// Where it is renewed, if not at `token_url`; a template over `config.*`.
    #[schemars(length(min = 1, max = 2048))]
    pub url: Option<String>,
    /// Headers of the request besides those of `auth.headers`; templates over `cred.*` and `config.*`.
    pub headers: BTreeMap<String, String>,
    /// Additional members of the refresh request; templates over `cred.*` and `config.*`.
    pub extra_params: BTreeMap<String, String>,
}

/// Which answers mean that the token is no longer valid.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RefreshOnDef {
    /// Statuses; 401 by default.
    #[schemars(length(max = 32), inner(range(min = 100, max = 599)))]
    pub status: Vec<u16>,
    /// A condition on the answer's body.
    pub predicate: Option<Value>,
}

/// Signature algorithms (RFC 7518, RFC 8037) and keyed hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "the registered names say it")]
pub enum AlgDef {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    ES256,
    ES384,
    EdDSA,
    #[serde(rename = "sha1")]
    Sha1,
    #[serde(rename = "sha256")]
    Sha256,
    #[serde(rename = "sha512")]
    Sha512,
}

/// `header` of `hmac` (a name) or of `jwt` (members).
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum HeaderMemberDef {
    /// A header's name.
    Name(String),
    /// Members of the JOSE header.
    Members(Map<String, Value>),
}

impl JsonSchema for HeaderMemberDef {
    fn schema_name() -> Cow<'static, str> {
        "HeaderMemberDef".into()
    }

    // Why by hand: as for [`ScopeDef`].
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "`hmac`: a header's name. `jwt`: more members of the JOSE header.",
            "type": ["string", "object"],
            "minLength": 1,
            "maxLength": 120,
        })
    }
}

/// One login request.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["request", "capture"]))]
pub struct StepDef {
    /// The request.
    pub request: StepRequestDef,
    /// Name, with the source of its value in the answer: a pointer into the body, `header:<name>` or
    /// `cookie:<name>`. Later steps and `value` read it as `cred.<name>`; `access_token` is the token.
    #[schemars(extend("minProperties" = 1))]
    pub capture: BTreeMap<String, String>,
    /// Pointer to the lifetime in the answer.
    #[schemars(length(max = 200))]
    pub expires_in_path: Option<String>,
}

/// A login request. Made and sent by the host alone; its body never reaches a guest.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["url"]))]
pub struct StepRequestDef {
    /// Method; POST by default.
    pub method: Option<Method>,
    /// URL; a template over `config.*`.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// Headers; templates over `cred.*` and `config.*`, `jwt.token` where `alg` is given.
    pub headers: BTreeMap<String, String>,
    /// `json`, `form` or `none`; json by default where there is a body.
    pub body_type: Option<BodyTypeDef>,
    /// The body; its texts are templates over `cred.*` and `config.*`.
    pub body: Option<Value>,
}

/// Encoding of a signature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncodingDef {
    /// Lower-case hexadecimal.
    #[default]
    Hex,
    /// Base64 with padding (RFC 4648 section 4).
    Base64,
}

/// Format of a timestamp.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimestampFormatDef {
    /// Seconds since 1970.
    #[default]
    EpochS,
    /// Milliseconds since 1970.
    EpochMs,
    /// RFC 3339 in UTC.
    Iso8601,
}

/// OAuth 1.0 signature method.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum OAuth1MethodDef {
    /// RFC 5849 section 3.4.2.
    #[default]
    #[serde(rename = "HMAC-SHA1")]
    HmacSha1,
    /// The same with SHA-256.
    #[serde(rename = "HMAC-SHA256")]
    HmacSha256,
}
