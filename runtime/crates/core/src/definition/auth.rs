//! How requests are authenticated, as written. One flat object: `auth_type` decides which of its members
//! are read, and any other is refused.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    AlgDef, BodyFormatDef, ClientAuthDef, EncodingDef, ExpiresUnitDef, FieldDef, HeaderMemberDef,
    OAuth1MethodDef, PkceDef, RefreshDef, RefreshOnDef, ScopeDef, StepDef, TimestampFormatDef,
    TokenFormatDef,
};

/// How requests are authenticated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthType {
    /// No credential.
    #[default]
    None,
    /// A key in a header, query pair, cookie or body member; by default
    /// `Authorization: Bearer <first secret field>`.
    ApiKey,
    /// `Authorization: Bearer <first secret field>` (RFC 6750).
    Bearer,
    /// HTTP Basic (RFC 7617).
    Basic,
    /// OAuth 2.0 client credentials (RFC 6749 section 4.4).
    #[serde(rename = "oauth2_client_credentials")]
    OAuth2ClientCredentials,
    /// OAuth 2.0 authorization code (RFC 6749 section 4.1) with PKCE (RFC 7636).
    #[serde(rename = "oauth2_authorization_code")]
    OAuth2AuthorizationCode,
    /// A refresh token that a person pastes (RFC 6749 section 6).
    #[serde(rename = "oauth2_refresh_token")]
    OAuth2RefreshToken,
    /// A signed assertion for a token (RFC 7523).
    #[serde(rename = "oauth2_jwt_bearer")]
    OAuth2JwtBearer,
    /// A JWT (RFC 7519) that the host signs, in a header.
    Jwt,
    /// Login requests that end with a token or a session.
    TokenExchange,
    /// A keyed hash (RFC 2104) over the finished request.
    Hmac,
    /// AWS Signature Version 4.
    AwsSigv4,
    /// OAuth 1.0 (RFC 5849).
    #[serde(rename = "oauth1")]
    OAuth1,
    /// Several values, each at its position.
    Custom,
}

impl AuthType {
    /// Every auth type.
    pub const ALL: [Self; 14] = [
        Self::None,
        Self::ApiKey,
        Self::Bearer,
        Self::Basic,
        Self::OAuth2ClientCredentials,
        Self::OAuth2AuthorizationCode,
        Self::OAuth2RefreshToken,
        Self::OAuth2JwtBearer,
        Self::Jwt,
        Self::TokenExchange,
        Self::Hmac,
        Self::AwsSigv4,
        Self::OAuth1,
        Self::Custom,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ApiKey => "api_key",
            Self::Bearer => "bearer",
            Self::Basic => "basic",
            Self::OAuth2ClientCredentials => "oauth2_client_credentials",
            Self::OAuth2AuthorizationCode => "oauth2_authorization_code",
            Self::OAuth2RefreshToken => "oauth2_refresh_token",
            Self::OAuth2JwtBearer => "oauth2_jwt_bearer",
            Self::Jwt => "jwt",
            Self::TokenExchange => "token_exchange",
            Self::Hmac => "hmac",
            Self::AwsSigv4 => "aws_sigv4",
            Self::OAuth1 => "oauth1",
            Self::Custom => "custom",
        }
    }

    /// What people call it, for a method to which its definition gives no label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::None => "No credential",
            Self::ApiKey => "API key",
            Self::Bearer => "Access token",
            Self::Basic => "User name and password",
            Self::OAuth2ClientCredentials => "OAuth 2.0 client credentials",
            Self::OAuth2AuthorizationCode => "OAuth 2.0",
            Self::OAuth2RefreshToken => "OAuth 2.0 refresh token",
            Self::OAuth2JwtBearer => "OAuth 2.0 service account",
            Self::Jwt => "Signed token (JWT)",
            Self::TokenExchange => "Login",
            Self::Hmac => "Signing key",
            Self::AwsSigv4 => "AWS access key",
            Self::OAuth1 => "OAuth 1.0",
            Self::Custom => "Credentials",
        }
    }
}

/// One of several authentication methods.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["id", "auth_type"]))]
pub struct AuthMethodDef {
    /// Id; the workspace's settings contain it. Not `default`, which is the connector's own `auth_type`.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$"))]
    pub id: String,
    /// Label for people.
    #[schemars(length(max = 120))]
    pub label: Option<String>,
    /// How requests are authenticated.
    pub auth_type: AuthType,
    /// Where the credential goes and how it is made.
    pub auth: Option<AuthDef>,
    /// The credential form.
    pub fields: Vec<FieldDef>,
    /// Used instead of the connector's `base_url`.
    #[schemars(length(min = 1, max = 2048))]
    pub base_url: Option<String>,
    /// Shown as the recommended choice.
    pub recommended: bool,
}

/// A value that goes with every request.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["in", "name", "value"]))]
pub struct PlaceDef {
    /// Where it goes.
    pub r#in: AuthPlace,
    /// Name of the header, query pair or cookie, or pointer to the member of the body.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// Template over `cred.*`, `config.*` and what a login captured, `captured.*`.
    #[schemars(length(min = 1, max = 1000))]
    pub value: String,
}

/// Where a credential goes and how it is made.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuthDef {
    /// Where an API key or a token goes.
    pub r#in: Option<AuthPlace>,
    /// Name of the header, query pair or cookie; `Authorization` by default.
    #[schemars(length(min = 1, max = 120))]
    pub name: Option<String>,
    /// Text before the value; `Bearer ` by default when the header is `Authorization`.
    #[schemars(length(max = 60))]
    pub prefix: Option<String>,
    /// Template over `cred.*`; by default the first secret field, or the token.
    pub value: Option<String>,
    /// Pointer to the body member that holds the API key.
    #[schemars(length(min = 2, max = 200))]
    pub path: Option<String>,
    /// More values that go with every request beside the key or token.
    #[schemars(length(max = 20))]
    pub places: Vec<PlaceDef>,
    /// Template of the user name, for `basic`.
    pub username: Option<String>,
    /// Template of the password, for `basic`.
    pub password: Option<String>,

    /// Headers of the requests to the token endpoint; templates over `cred.*` and `config.*`.
    pub headers: BTreeMap<String, String>,
    /// How the answers of the token endpoint are written: `auto` finds out.
    pub token_format: Option<TokenFormatDef>,
    /// Token endpoint; a template over `config.*`.
    #[schemars(length(min = 1, max = 2048))]
    pub token_url: Option<String>,
    /// Authorization endpoint, where the person gives consent; a template over `config.*`.
    #[schemars(length(min = 1, max = 2048))]
    pub authorize_url: Option<String>,
    /// Revocation endpoint (RFC 7009).
    #[schemars(length(min = 1, max = 2048))]
    pub revoke_url: Option<String>,
    /// Template of the client id; `{{cred.client_id}}` by default.
    pub client_id: Option<String>,
    /// Template of the client secret; `{{cred.client_secret}}` by default.
    pub client_secret: Option<String>,
    /// Template of the pasted refresh token; `{{cred.refresh_token}}` by default.
    pub refresh_token: Option<String>,
    /// Scopes to request.
    #[schemars(length(max = 100))]
    pub scopes: Vec<ScopeDef>,
    /// Separator between scopes; a space by default.
    #[schemars(length(min = 1, max = 4))]
    pub scope_separator: Option<String>,
    /// How the client authenticates at the token endpoint; `body` by default.
    pub client_auth: Option<ClientAuthDef>,
    /// Shape of the token request; `form` by default.
    pub body_format: Option<BodyFormatDef>,
    /// Additional members of the token request; templates over `cred.*` and `config.*`.
    pub extra_params: BTreeMap<String, String>,
    /// Additional pairs of the authorization URL; templates over `config.*`.
    pub authorize_params: BTreeMap<String, String>,
    /// The authorization server's issuer identifier (RFC 8414), such as `https://login.example.com`; a template over
    /// `config.*`. The callback's `iss` (RFC 9207) must be there and be this text.
    #[schemars(length(min = 9, max = 500))]
    pub issuer: Option<String>,
    /// `audience` of a client credentials request, `aud` of a JWT bearer; a template over `config.*`.
    #[schemars(length(max = 500))]
    pub audience: Option<String>,
    /// Pointer to the token in the answer; `/access_token` by default.
    #[schemars(length(min = 2, max = 200))]
    pub token_path: Option<String>,
    /// Pointer to the lifetime in the answer; `/expires_in` by default.
    #[schemars(length(min = 2, max = 200))]
    pub expires_in_path: Option<String>,
    /// Unit of the lifetime; seconds by default.
    pub expires_unit: Option<ExpiresUnitDef>,
    /// Lifetime used when the answer has none, seconds; 3600 by default.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub default_ttl_s: Option<u32>,
    /// How long before its expiry a token is renewed, seconds; 60 by default.
    #[schemars(range(max = 86_400))]
    pub refresh_skew_s: Option<u32>,
    /// Name of a config field marked `automated`, with the pointer to its value in the token answer.
    pub capture: BTreeMap<String, String>,
    /// Name of a config field marked `automated`, with the name of the pair of the callback's query that has its value,
    /// such as `realmId`.
    pub capture_callback: BTreeMap<String, String>,
    /// Proof key of the authorization code; `S256` by default.
    pub pkce: Option<PkceDef>,
    /// How a token is renewed.
    pub refresh: Option<RefreshDef>,
    /// Which answers mean that the token is no longer valid, whatever its lifetime.
    pub refresh_on: Option<RefreshOnDef>,

    /// Signature algorithm of a JWT or HMAC.
    pub alg: Option<AlgDef>,
    /// The field that holds the key: PEM, or the text of a shared key.
    pub key_field: Option<String>,
    /// Key id; a template over `cred.*` and `config.*`.
    pub kid: Option<String>,
    /// Claims; texts are templates over `cred.*` and `config.*`. `iat` and `exp` are set when the JWT is signed.
    pub claims: Map<String, Value>,
    /// `hmac`: the header that carries the signature. JWT: additional members of the JOSE header.
    pub header: Option<HeaderMemberDef>,
    /// Lifetime of the JWT, seconds; 300 by default.
    #[schemars(range(min = 1, max = 86_400))]
    pub ttl_s: Option<u32>,
    /// `grant_type` of a JWT bearer; the one of RFC 7523 by default.
    #[schemars(length(max = 200))]
    pub grant_type: Option<String>,

    /// Login requests, in order.
    #[schemars(length(max = 4))]
    pub steps: Vec<StepDef>,

    /// What is signed, in order: `method`, `path`, `query`, `path_and_query`, `body`, `body_sha256`,
    /// `timestamp`, `nonce`, `header:<name>`, or `'literal text'`.
    #[schemars(length(max = 32))]
    pub string_to_sign: Vec<String>,
    /// Encoding of the signature; `hex` by default.
    pub encoding: Option<EncodingDef>,
    /// Template of the header's value over `cred.*`, `config.*`, `sign.signature`, `sign.timestamp`
    /// and `sign.nonce`; the signature alone by default.
    #[schemars(length(max = 500))]
    pub format: Option<String>,
    /// Header that carries the timestamp.
    #[schemars(length(max = 120))]
    pub timestamp_header: Option<String>,
    /// Format of the timestamp; `epoch_s` by default.
    pub timestamp_format: Option<TimestampFormatDef>,
    /// Header that carries the nonce.
    #[schemars(length(max = 120))]
    pub nonce_header: Option<String>,

    /// AWS service; a template over `config.*`.
    pub service: Option<String>,
    /// AWS region; a template over `config.*`.
    pub region: Option<String>,
    /// Template of the access key id; `{{cred.access_key}}` by default.
    pub access_key: Option<String>,
    /// Template of the secret access key; `{{cred.secret_key}}` by default.
    pub secret_key: Option<String>,
    /// Template of the session token; none by default.
    pub session_token: Option<String>,
    /// Sign without the body's hash.
    pub unsigned_payload: bool,
    /// Encode the path twice; true by default for every service but `s3`.
    pub double_encode_path: Option<bool>,

    /// OAuth 1.0 signature method.
    pub signature_method: Option<OAuth1MethodDef>,
    /// OAuth 1.0 realm; a template over `cred.*` and `config.*`.
    pub realm: Option<String>,
    /// Template of the consumer key; `{{cred.consumer_key}}` by default.
    pub consumer_key: Option<String>,
    /// Template of the consumer secret; `{{cred.consumer_secret}}` by default.
    pub consumer_secret: Option<String>,
    /// Template of the token; `{{cred.token}}` by default.
    pub token: Option<String>,
    /// Template of the token secret; `{{cred.token_secret}}` by default.
    pub token_secret: Option<String>,

    /// Several values, each at its position.
    pub custom: Option<CustomAuthDef>,
}

/// Where an API key or token goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthPlace {
    /// A request header.
    #[default]
    Header,
    /// A query pair.
    Query,
    /// A member of the body.
    Body,
    /// A cookie (RFC 6265).
    Cookie,
}

/// Several values, each at its position; templates over `cred.*` and `config.*`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CustomAuthDef {
    /// Headers.
    pub headers: BTreeMap<String, String>,
    /// Query pairs.
    pub query: BTreeMap<String, String>,
    /// Pointer to a body member, with its value.
    pub body: BTreeMap<String, String>,
}
