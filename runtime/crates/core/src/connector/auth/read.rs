//! Which members of `auth` an auth type reads. One that is written and not read is a mistake that would go
//! unnoticed, so it is refused.

use crate::definition::{AuthDef, AuthPlace, AuthType, ClientAuthDef, StepDef};
use crate::violation::{Violation, Violations};

/// Members of every token endpoint.
const TOKEN: &[&str] = &[
    "token_url",
    "client_id",
    "scopes",
    "scope_separator",
    "client_auth",
    "body_format",
    "extra_params",
    "token_path",
    "expires_in_path",
    "expires_unit",
    "default_ttl_s",
    "refresh_skew_s",
    "refresh_on",
    "capture",
    "revoke_url",
    "headers",
    "token_format",
];
/// Members of a JWT.
const JWT: &[&str] = &["alg", "key_field", "kid", "claims", "header", "ttl_s"];

/// Members that say where a key or a token goes.
const fn place(auth: &AuthDef) -> &'static [&'static str] {
    match auth.r#in {
        Some(AuthPlace::Body) => &["in", "path", "prefix", "value", "places"],
        _ => &["in", "name", "prefix", "value", "places"],
    }
}

/// Members for client authentication.
fn client(auth: &AuthDef) -> &'static [&'static str] {
    match auth.client_auth {
        Some(ClientAuthDef::PrivateKeyJwt) => JWT,
        _ => &["client_secret"],
    }
}

/// Members of a JWT, where a login request contains one.
fn jwt_of_steps(auth: &AuthDef) -> &'static [&'static str] {
    let named = |text: &str| text.contains("jwt.token");
    let in_step = |step: &StepDef| {
        let request = &step.request;
        request.headers.values().any(|text| named(text))
            || request.body.as_ref().is_some_and(|body| named(&body.to_string()))
    };
    if auth.steps.iter().any(in_step) { JWT } else { &[] }
}

fn reads(auth_type: AuthType, auth: &AuthDef) -> Vec<&'static [&'static str]> {
    match auth_type {
        AuthType::None => vec![],
        AuthType::ApiKey => vec![place(auth)],
        AuthType::Bearer => vec![&["prefix", "value", "places"]],
        AuthType::Basic => vec![&["username", "password", "places"]],
        AuthType::OAuth2ClientCredentials => vec![place(auth), TOKEN, client(auth), &["audience"]],
        AuthType::OAuth2AuthorizationCode => {
            let own = &["authorize_url", "authorize_params", "capture_callback", "issuer", "pkce", "refresh"];
            vec![place(auth), TOKEN, client(auth), own]
        }
        AuthType::OAuth2RefreshToken => vec![place(auth), TOKEN, client(auth), &["refresh_token", "refresh"]],
        AuthType::OAuth2JwtBearer => {
            vec![place(auth), TOKEN, &["client_secret", "grant_type", "audience"], JWT]
        }
        AuthType::Jwt => vec![JWT, &["name", "prefix", "places"]],
        AuthType::TokenExchange => {
            let own =
                &["steps", "expires_unit", "default_ttl_s", "refresh_skew_s", "refresh_on", "token_format"];
            vec![place(auth), jwt_of_steps(auth), own]
        }
        AuthType::Hmac => vec![&[
            "alg",
            "key_field",
            "string_to_sign",
            "encoding",
            "header",
            "format",
            "timestamp_header",
            "timestamp_format",
            "nonce_header",
        ]],
        AuthType::AwsSigv4 => vec![&[
            "service",
            "region",
            "access_key",
            "secret_key",
            "session_token",
            "unsigned_payload",
            "double_encode_path",
        ]],
        AuthType::OAuth1 => {
            vec![&["signature_method", "realm", "consumer_key", "consumer_secret", "token", "token_secret"]]
        }
        AuthType::Custom => vec![&["custom"]],
    }
}

/// Every member that an auth type may read, whatever the others say: for the published schema.
pub(crate) fn members_of(auth_type: AuthType) -> Vec<&'static str> {
    let header = AuthDef::default();
    let body = AuthDef { r#in: Some(AuthPlace::Body), ..AuthDef::default() };
    let signed = AuthDef { client_auth: Some(ClientAuthDef::PrivateKeyJwt), ..AuthDef::default() };
    let ways = [&header, &body, &signed];
    let mut members: Vec<&str> =
        ways.iter().flat_map(|auth| reads(auth_type, auth)).flatten().copied().collect();
    if auth_type == AuthType::TokenExchange {
        members.extend(JWT);
    }
    members.sort_unstable();
    members.dedup();
    members
}

/// Every member with whether it is written.
fn written(auth: &AuthDef) -> [(&'static str, bool); 62] {
    [
        ("in", auth.r#in.is_some()),
        ("name", auth.name.is_some()),
        ("prefix", auth.prefix.is_some()),
        ("value", auth.value.is_some()),
        ("path", auth.path.is_some()),
        ("places", !auth.places.is_empty()),
        ("headers", !auth.headers.is_empty()),
        ("token_format", auth.token_format.is_some()),
        ("username", auth.username.is_some()),
        ("password", auth.password.is_some()),
        ("token_url", auth.token_url.is_some()),
        ("authorize_url", auth.authorize_url.is_some()),
        ("revoke_url", auth.revoke_url.is_some()),
        ("client_id", auth.client_id.is_some()),
        ("client_secret", auth.client_secret.is_some()),
        ("refresh_token", auth.refresh_token.is_some()),
        ("scopes", !auth.scopes.is_empty()),
        ("scope_separator", auth.scope_separator.is_some()),
        ("client_auth", auth.client_auth.is_some()),
        ("body_format", auth.body_format.is_some()),
        ("extra_params", !auth.extra_params.is_empty()),
        ("authorize_params", !auth.authorize_params.is_empty()),
        ("issuer", auth.issuer.is_some()),
        ("audience", auth.audience.is_some()),
        ("token_path", auth.token_path.is_some()),
        ("expires_in_path", auth.expires_in_path.is_some()),
        ("expires_unit", auth.expires_unit.is_some()),
        ("default_ttl_s", auth.default_ttl_s.is_some()),
        ("refresh_skew_s", auth.refresh_skew_s.is_some()),
        ("capture", !auth.capture.is_empty()),
        ("capture_callback", !auth.capture_callback.is_empty()),
        ("pkce", auth.pkce.is_some()),
        ("refresh", auth.refresh.is_some()),
        ("refresh_on", auth.refresh_on.is_some()),
        ("alg", auth.alg.is_some()),
        ("key_field", auth.key_field.is_some()),
        ("kid", auth.kid.is_some()),
        ("claims", !auth.claims.is_empty()),
        ("header", auth.header.is_some()),
        ("ttl_s", auth.ttl_s.is_some()),
        ("grant_type", auth.grant_type.is_some()),
        ("steps", !auth.steps.is_empty()),
        ("string_to_sign", !auth.string_to_sign.is_empty()),
        ("encoding", auth.encoding.is_some()),
        ("format", auth.format.is_some()),
        ("timestamp_header", auth.timestamp_header.is_some()),
        ("timestamp_format", auth.timestamp_format.is_some()),
        ("nonce_header", auth.nonce_header.is_some()),
        ("service", auth.service.is_some()),
        ("region", auth.region.is_some()),
        ("access_key", auth.access_key.is_some()),
        ("secret_key", auth.secret_key.is_some()),
        ("session_token", auth.session_token.is_some()),
        ("unsigned_payload", auth.unsigned_payload),
        ("double_encode_path", auth.double_encode_path.is_some()),
        ("signature_method", auth.signature_method.is_some()),
        ("realm", auth.realm.is_some()),
        ("custom", auth.custom.is_some()),
        ("consumer_key", auth.consumer_key.is_some()),
        ("consumer_secret", auth.consumer_secret.is_some()),
        ("token", auth.token.is_some()),
        ("token_secret", auth.token_secret.is_some()),
    ]
}

/// Refuses what the auth type does not read.
pub(super) fn check_unread(auth_type: AuthType, auth: &AuthDef, errors: &mut Violations) {
    let read = reads(auth_type, auth);
    for (name, is_written) in written(auth) {
        if is_written && !read.iter().any(|names| names.contains(&name)) {
            let names: Vec<&str> = read.iter().flat_map(|names| names.iter().copied()).collect();
            let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            let example = match auth_type {
                AuthType::Custom => r#"; write "auth": {"custom": {"headers": {"X-Key": "{{cred.key}}"}}}"#,
                _ => "",
            };
            let message =
                format!("is not read here; auth_type {} reads {names}{example}", auth_type.as_str());
            errors.push(Violation::new(format!("/auth/{name}"), "auth_unused", message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_of_auth_is_listed() {
        let schema = crate::definition::schema();
        let properties = schema.pointer("/$defs/AuthDef/properties").and_then(|p| p.as_object()).unwrap();
        let mut members: Vec<&str> = properties.keys().map(String::as_str).collect();
        let mut listed: Vec<&str> = written(&AuthDef::default()).iter().map(|(name, _)| *name).collect();
        members.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, members);
    }
}
