//! Plans of what is signed with a credential: JWTs that the host signs, and signatures over a finished
//! request. Data only: the `auth` crate makes the signatures.

use http::HeaderName;
use portcullis_action::template::Template;
use serde_json::{Map, Value};

use crate::definition::{AlgDef, EncodingDef, OAuth1MethodDef, TimestampFormatDef};

/// A JWT (RFC 7519) that the host signs.
#[derive(Debug, Clone)]
pub struct JwtPlan {
    pub alg: AlgDef,
    /// The credential's field that holds the key.
    pub key_field: String,
    pub kid: Option<Template>,
    /// Additional members of the JOSE header.
    pub header: Map<String, Value>,
    /// Claims whose texts are fixed.
    pub claims: Map<String, Value>,
    /// Claims whose texts are templates over `cred.*` and `config.*`.
    pub claim_templates: Vec<(String, Template)>,
    /// Lifetime, seconds.
    pub ttl_s: u32,
}

impl JwtPlan {
    /// Every template of the plan.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.kid.iter().chain(self.claim_templates.iter().map(|(_, template)| template))
    }
}

/// What a keyed hash covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedPart {
    Method,
    /// The path as sent.
    Path,
    /// The query as sent, without `?`.
    Query,
    /// Path and query as sent.
    PathAndQuery,
    Body,
    /// SHA-256 of the body, hexadecimal.
    BodySha256,
    Timestamp,
    Nonce,
    /// A header's value.
    Header(HeaderName),
    Literal(String),
}

/// A signature over the finished request.
#[derive(Debug, Clone)]
pub enum Signing {
    /// A keyed hash (RFC 2104).
    Hmac(Box<HmacPlan>),
    /// AWS Signature Version 4.
    SigV4(Box<SigV4Plan>),
    /// OAuth 1.0 (RFC 5849).
    OAuth1(Box<OAuth1Plan>),
}

/// A keyed hash over parts of the request.
#[derive(Debug, Clone)]
pub struct HmacPlan {
    pub alg: AlgDef,
    /// The credential's field that holds the key.
    pub key_field: String,
    /// What is signed, in order.
    pub parts: Vec<SignedPart>,
    /// Encoding of the signature.
    pub encoding: EncodingDef,
    /// The header that carries the signature.
    pub header: HeaderName,
    /// The header's value, over `sign.*`, `cred.*` and `config.*`; the signature alone when absent.
    pub format: Option<Template>,
    /// The header that carries the timestamp.
    pub timestamp_header: Option<HeaderName>,
    pub timestamp_format: TimestampFormatDef,
    /// The header that carries the nonce.
    pub nonce_header: Option<HeaderName>,
}

/// AWS Signature Version 4.
#[derive(Debug, Clone)]
pub struct SigV4Plan {
    pub service: Template,
    pub region: Template,
    pub access_key: Template,
    pub secret_key: Template,
    pub session_token: Option<Template>,
    /// Sign without the body's hash.
    pub unsigned_payload: bool,
    /// Encode the path twice; if absent, decided by the service.
    pub double_encode_path: Option<bool>,
}

/// OAuth 1.0.
#[derive(Debug, Clone)]
pub struct OAuth1Plan {
    pub method: OAuth1MethodDef,
    pub consumer_key: Template,
    pub consumer_secret: Template,
    pub token: Template,
    pub token_secret: Template,
    pub realm: Option<Template>,
}

impl Signing {
    /// Names of the headers that the signature sets, lower case.
    #[must_use]
    pub fn header_names(&self) -> Vec<&str> {
        match self {
            Self::Hmac(plan) => {
                [Some(&plan.header), plan.timestamp_header.as_ref(), plan.nonce_header.as_ref()]
                    .into_iter()
                    .flatten()
                    .map(http::HeaderName::as_str)
                    .collect()
            }
            Self::SigV4(_) => {
                vec!["authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"]
            }
            Self::OAuth1(_) => vec!["authorization"],
        }
    }

    /// Every template of the plan.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let all: Vec<&Template> = match self {
            Self::Hmac(plan) => plan.format.iter().collect(),
            Self::SigV4(plan) => [&plan.service, &plan.region, &plan.access_key, &plan.secret_key]
                .into_iter()
                .chain(&plan.session_token)
                .collect(),
            Self::OAuth1(plan) => {
                [&plan.consumer_key, &plan.consumer_secret, &plan.token, &plan.token_secret]
                    .into_iter()
                    .chain(&plan.realm)
                    .collect()
            }
        };
        all.into_iter()
    }

    /// The template that may have no value.
    #[must_use]
    pub fn optional_template(&self) -> Option<&Template> {
        match self {
            Self::SigV4(plan) => plan.session_token.as_ref(),
            Self::Hmac(_) | Self::OAuth1(_) => None,
        }
    }

    /// The credential's field that holds a key outside the templates.
    #[must_use]
    pub fn key_field(&self) -> Option<&str> {
        match self {
            Self::Hmac(plan) => Some(&plan.key_field),
            Self::SigV4(_) | Self::OAuth1(_) => None,
        }
    }
}
