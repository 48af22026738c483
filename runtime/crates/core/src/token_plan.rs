//! Plans of how a token is got and renewed. Data only; the runtime's token keeper carries them out,
//! through the gate, and no guest ever sees a token request or its answer.

use portcullis_action::predicate::Predicate;
use portcullis_action::template::Template;
use portcullis_action::{Method, UrlTemplate};
use serde_json::Value;

use crate::definition::ExpiresUnitDef;
use crate::injection::Injection;

/// How a token is got.
#[derive(Debug, Clone)]
pub struct TokenPlan {
    /// The request that gets a token without anybody's help; absent where a person must consent first.
    pub obtain: Vec<TokenStep>,
    /// The request that renews a token with a refresh token.
    pub renew: Option<TokenStep>,
    /// The consent of a person.
    pub consent: Option<ConsentPlan>,
    /// Where a token is given back.
    pub revoke: Option<TokenStep>,
    /// Whether every renewal spends its refresh token.
    pub rotates: bool,
    /// Lifetime where the answer gives none, seconds.
    pub default_ttl_s: u32,
    /// How long before its end a token is renewed, seconds.
    pub refresh_skew_s: u32,
    /// Which answers say that the token is no good any more.
    pub refresh_on: RefreshOn,
}

/// Which answers say that a token is no good any more.
#[derive(Debug, Clone)]
pub struct RefreshOn {
    /// Statuses.
    pub status: Vec<u16>,
    /// A condition on the body.
    pub predicate: Option<Predicate>,
}

/// The consent of a person (RFC 6749 section 4.1, RFC 7636).
#[derive(Debug, Clone)]
pub struct ConsentPlan {
    /// Where the person is sent.
    pub authorize_url: UrlTemplate,
    /// Pairs of that URL besides the protocol's own.
    pub params: Vec<(String, Template)>,
    /// Client id.
    pub client_id: Template,
    /// Scopes, joined.
    pub scope: String,
    /// Whether a proof key is used.
    pub pkce: bool,
    /// The exchange of the code; its injection reads `cred.code`, `cred.code_verifier`,
    /// `cred.redirect_uri`.
    pub exchange: TokenStep,
}

/// One request of the host's own and what is taken from its answer.
#[derive(Debug, Clone)]
pub struct TokenStep {
    /// Method.
    pub method: Method,
    /// URL, over `config.*`.
    pub url: UrlTemplate,
    /// Headers without a secret.
    pub headers: Vec<(String, String)>,
    /// The body without its secrets.
    pub body: StepBody,
    /// Where the secrets go.
    pub injection: Injection,
    /// What is taken from the answer, by name. `access_token` is the token, `refresh_token` renews it;
    /// any other is a field of its own.
    pub capture: Vec<(String, Capture)>,
    /// Config values taken from the answer, by name.
    pub config: Vec<(String, String)>,
    /// Pointer of the lifetime.
    pub expires_in_path: String,
    /// Its unit.
    pub expires_unit: ExpiresUnitDef,
}

/// A step's body without its secrets.
#[derive(Debug, Clone)]
pub enum StepBody {
    /// None.
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
    /// A header.
    Header(String),
    /// A cookie that is set.
    Cookie(String),
}
