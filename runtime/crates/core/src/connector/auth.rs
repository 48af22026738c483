//! From the definition's `auth` object to plans: where a credential goes, how a token is obtained, what is
//! signed.

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_action::compile::Compiler;
use portcullis_action::template::{Scope, Template};

use super::action::Report;
use super::reach::Reach;
use crate::definition::{AuthDef, AuthType, Definition};
use crate::form::Field;
use crate::injection::Injection;
use crate::token_plan::TokenPlan;
use crate::violation::{Violation, Violations};

mod client;
mod jwt;
mod key;
mod oauth;
mod read;
mod sign;
mod steps;
mod templates;

pub use client::ClientFields;
pub(crate) use read::members_of;

/// How requests of a connector are authenticated.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    /// Where the credential goes.
    pub injection: Arc<Injection>,
    /// How a token is obtained, for auth types that have one.
    pub token: Option<TokenPlan>,
    /// What of the form belongs to the OAuth client.
    pub client: ClientFields,
}

/// Fields that the host adds to a token request; a form field with such a name would be hidden by it.
const TOKEN_FIELDS: &[&str] = &["access_token", "code", "code_verifier", "redirect_uri"];

/// What an `auth` object is checked against. Errors are collected; a method that returns `None` has
/// reported the reason.
struct Reader<'a> {
    auth: &'a AuthDef,
    fields: &'a [Field],
    /// How many of them, from the first one, belong to the form.
    form_fields: usize,
    /// Ids of the actions, for scopes that say which need them.
    actions: BTreeSet<&'a str>,
    reach: Reach<'a>,
    /// Names captured from answers so far, available as `cred.<name>`.
    captured: BTreeSet<String>,
    errors: &'a mut Violations,
    warnings: &'a mut Violations,
    compiler: &'a mut Compiler,
}

/// The plans of a definition; `None` after an error.
pub(super) fn build(
    definition: &Definition,
    fields: &[Field],
    reach: Reach<'_>,
    report: &mut Report<'_>,
) -> Option<Auth> {
    let errors = &mut *report.errors;
    let default_auth = AuthDef::default();
    let auth = definition.auth.as_ref().unwrap_or(&default_auth);
    let before = errors.len();
    read::check_unread(definition.auth_type, auth, errors);
    let actions = definition.actions.iter().map(|a| a.action_id.as_str()).collect();
    let (warnings, compiler) = (&mut *report.warnings, &mut *report.compiler);
    let captured = BTreeSet::new();
    let form_fields = definition.auth_schema.fields.len();
    let mut reader =
        Reader { auth, fields, form_fields, actions, reach, captured, errors, warnings, compiler };
    let token = reader.token(definition.auth_type)?;
    let mut injection = match definition.auth_type {
        AuthType::None => Injection::default(),
        AuthType::Bearer => reader.header("Authorization", "Bearer ")?,
        AuthType::Basic => reader.basic()?,
        AuthType::Jwt => reader.jwt()?,
        AuthType::Hmac => reader.hmac()?,
        AuthType::AwsSigv4 => reader.sigv4()?,
        AuthType::OAuth1 => reader.oauth1()?,
        AuthType::Custom => reader.custom()?,
        _ => reader.key()?,
    };
    reader.places(&mut injection)?;
    let client = reader.client_fields(definition.auth_type, token.as_ref(), &injection);
    let auth = Auth { injection: Arc::new(injection), token, client };
    sign::check_keys(&auth, reader.errors);
    (reader.errors.len() == before).then_some(auth)
}

impl Reader<'_> {
    /// How a token is obtained: `Some(None)` for an auth type that has none.
    fn token(&mut self, auth_type: AuthType) -> Option<Option<TokenPlan>> {
        let plan = match auth_type {
            AuthType::OAuth2ClientCredentials => self.client_credentials()?,
            AuthType::OAuth2AuthorizationCode => self.authorization_code()?,
            AuthType::OAuth2RefreshToken => self.refresh_token()?,
            AuthType::OAuth2JwtBearer => self.jwt_bearer()?,
            AuthType::TokenExchange => self.token_exchange()?,
            _ => return Some(None),
        };
        self.check_scopes();
        for (index, field) in self.fields.iter().enumerate() {
            // Why not by index for config fields: they follow the form's fields and have another pointer.
            let renews = auth_type == AuthType::OAuth2AuthorizationCode && field.name == "refresh_token";
            if field.secret && (renews || TOKEN_FIELDS.contains(&field.name.as_str())) {
                let message =
                    format!("{:?} is a name of the token's own; call the field something else", field.name);
                let at = format!("/auth_schema/fields/{index}/name");
                self.errors.push(Violation::new(at, "field_reserved", message));
            }
        }
        if auth_type != AuthType::TokenExchange {
            self.captured.insert("access_token".to_owned());
        }
        Some(Some(plan))
    }

    fn refuse<T>(&mut self, member: &str, code: &'static str, message: impl Into<String>) -> Option<T> {
        self.errors.push(Violation::new(format!("/auth{member}"), code, message.into()));
        None
    }

    /// A template as written, otherwise the field with the same name.
    fn named(&mut self, written: Option<String>, field: &str) -> Option<Template> {
        let text = written.unwrap_or_else(|| format!("{{{{cred.{field}}}}}"));
        self.secret_template(&text, &format!("/{field}"), &[Scope::Cred, Scope::Config])
    }

    fn is_secret(&self, name: &str) -> bool {
        self.fields.iter().any(|f| f.name == name && f.secret)
    }
}
