//! Plans of how a token is obtained and renewed. Data only; the engine carries them out
//! through the gate, and no guest ever sees a token request or its answer.

use portcullis_action::predicate::Predicate;
use portcullis_action::template::Template;
use portcullis_action::{Method, UrlTemplate};
use serde_json::Value;

use crate::definition::{ExpiresUnitDef, TokenFormatDef};
use crate::injection::Injection;

/// How a token is obtained.
#[derive(Debug, Clone)]
pub struct TokenPlan {
    /// The request that obtains a token without a person; empty where a person must consent first.
    pub obtain: Vec<TokenStep>,
    /// The request that renews a token with a refresh token.
    pub renew: Option<TokenStep>,
    /// A person's consent, where the flow needs it.
    pub consent: Option<ConsentPlan>,
    /// The revocation request (RFC 7009).
    pub revoke: Option<TokenStep>,
    /// Whether every renewal invalidates the refresh token it used.
    pub rotates: bool,
    /// Lifetime used when the answer has none, seconds.
    pub default_ttl_s: u32,
    /// How long before its expiry a token is renewed, seconds.
    pub refresh_skew_s: u32,
    /// Which answers mean that the token is no longer valid.
    pub refresh_on: RefreshOn,
}

impl TokenPlan {
    /// Every request of the host that the plan may need.
    pub fn steps(&self) -> impl Iterator<Item = &TokenStep> {
        let exchange = self.consent.as_ref().map(|consent| &consent.exchange);
        self.obtain.iter().chain(&self.renew).chain(exchange).chain(&self.revoke)
    }
}

/// Which answers mean that a token is no longer valid.
#[derive(Debug, Clone)]
pub struct RefreshOn {
    pub status: Vec<u16>,
    pub predicate: Option<Predicate>,
}

/// The consent of a person (RFC 6749 section 4.1, RFC 7636).
#[derive(Debug, Clone)]
pub struct ConsentPlan {
    /// Where the person gives consent.
    pub authorize_url: UrlTemplate,
    /// Pairs of that URL in addition to the protocol's.
    pub params: Vec<(String, Template)>,
    pub client_id: Template,
    /// Scopes, joined.
    pub scope: String,
    /// What joins them.
    pub scope_separator: String,
    /// Whether a proof key is used.
    pub pkce: bool,
    /// Issuer identifier that the callback must name (RFC 9207), where the definition says it.
    pub issuer: Option<Template>,
    /// Config values that come with the callback, each with the name of its pair.
    pub callback: Vec<(String, String)>,
    /// The exchange of the code; its injection reads `cred.code`, `cred.code_verifier`,
    /// `cred.redirect_uri`.
    pub exchange: TokenStep,
}

/// One request of the host, and what is taken from its answer.
#[derive(Debug, Clone)]
pub struct TokenStep {
    pub method: Method,
    /// URL, over `config.*`.
    pub url: UrlTemplate,
    /// Headers without a secret.
    pub headers: Vec<(String, String)>,
    /// The body without its secrets.
    pub body: StepBody,
    /// Where the secrets go.
    pub injection: Injection,
    /// Values captured from the answer, by name. `access_token` is the token, `refresh_token` renews it;
    /// any other is an additional field.
    pub capture: Vec<(String, Capture)>,
    /// Config values taken from the answer, by name.
    pub config: Vec<(String, String)>,
    /// Pointer to the lifetime.
    pub expires_in_path: String,
    pub expires_unit: ExpiresUnitDef,
    /// How the answer is written.
    pub format: TokenFormatDef,
}

/// A step's body without its secrets.
#[derive(Debug, Clone)]
pub enum StepBody {
    /// No body.
    None,
    /// `application/x-www-form-urlencoded`.
    Form(Vec<(String, String)>),
    /// `application/json`.
    Json(Value),
}

/// Where a value is in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capture {
    /// JSON pointer into the body.
    Body(String),
    Header(String),
    /// A cookie that the answer sets.
    Cookie(String),
}
