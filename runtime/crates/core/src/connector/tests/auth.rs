//! Where keys and passwords go.

use super::*;

fn auth(auth_type: &str, auth: Value) -> Value {
    json!({ "auth_type": auth_type, "auth": auth })
}

#[test]
fn each_auth_type_says_what_it_needs() {
    changes([
        (auth("none", json!({})), &[][..]),
        (auth("bearer", json!({})), &[]),
        (auth("api_key", json!({})), &[]),
        (auth("basic", json!({ "username": "{{cred.api_key}}", "password": "" })), &[]),
        (auth("basic", json!({ "username": "u" })), &[("/auth", "auth_incomplete")]),
        (auth("basic", json!({})), &[("/auth", "auth_incomplete")]),
        (auth("jwt", json!({})), &[("/auth/alg", "auth_incomplete")]),
        (auth("jwt", json!({ "alg": "RS256" })), &[("/auth/key_field", "auth_incomplete")]),
        (auth("hmac", json!({})), &[("/auth/header", "auth_incomplete")]),
        (auth("aws_sigv4", json!({})), &[("/auth/service", "auth_incomplete")]),
        (auth("aws_sigv4", json!({ "service": "s3" })), &[("/auth/region", "auth_incomplete")]),
        (auth("oauth1", json!({})), &[("/auth/consumer_key", "template_unknown_variable")]),
        (auth("custom", json!({})), &[("/auth/custom", "auth_incomplete")]),
        (auth("token_exchange", json!({})), &[("/auth/steps", "auth_incomplete")]),
        (auth("oauth2_client_credentials", json!({})), &[("/auth/token_url", "auth_incomplete")]),
        (auth("oauth2_authorization_code", json!({})), &[("/auth/authorize_url", "auth_incomplete")]),
        (auth("oauth2_jwt_bearer", json!({})), &[("/auth/token_url", "auth_incomplete")]),
    ]);
    for auth_type in ["bearer", "api_key", "hmac"] {
        let auth = json!({ "header": "X-Sign", "string_to_sign": ["body"] });
        let auth = if auth_type == "hmac" { auth } else { json!({}) };
        let change = json!({ "auth_type": auth_type, "auth": auth, "auth_schema": { "fields": [] } });
        changes([(change, &[("/auth_schema/fields", "auth_incomplete")][..])]);
    }
}

#[test]
fn what_is_written_is_read() {
    let basic = |member: &str| {
        let mut auth = json!({ "username": "{{cred.api_key}}", "password": "" });
        auth[member] = json!("x");
        auth
    };
    changes([
        (auth("none", json!({ "name": "X" })), &[("/auth/name", "auth_unused")][..]),
        (auth("bearer", json!({ "prefix": "Token ", "value": "{{cred.api_key}}" })), &[]),
        (auth("bearer", json!({ "name": "X-Key" })), &[("/auth/name", "auth_unused")]),
        (auth("bearer", json!({ "in": "query" })), &[("/auth/in", "auth_unused")]),
        (auth("api_key", json!({ "path": "/key" })), &[("/auth/path", "auth_unused")]),
        (
            auth("api_key", json!({ "in": "body", "path": "/key", "name": "k" })),
            &[("/auth/name", "auth_unused")],
        ),
        (auth("api_key", json!({ "username": "u" })), &[("/auth/username", "auth_unused")]),
        (auth("basic", basic("prefix")), &[("/auth/prefix", "auth_unused")]),
        (auth("basic", basic("consumer_secret")), &[("/auth/consumer_secret", "auth_unused")]),
        (auth("basic", basic("token")), &[("/auth/token", "auth_unused")]),
        (auth("basic", basic("token_secret")), &[("/auth/token_secret", "auth_unused")]),
    ]);
    let mut jwt = json!({ "alg": "HS256", "key_field": "api_key", "prefix": "JWT ", "name": "X-Jwt" });
    changes([(auth("jwt", jwt.clone()), &[][..])]);
    for member in ["value", "path"] {
        jwt[member] = json!("/x");
        let pointer = format!("/auth/{member}");
        changes([(auth("jwt", jwt.clone()), &[(pointer.as_str(), "auth_unused")][..])]);
        jwt.as_object_mut().unwrap().shift_remove(member);
    }
}

#[test]
fn a_key_has_one_place_with_a_name() {
    changes([
        (auth("api_key", json!({ "name": "X-Api-Key" })), &[][..]),
        (auth("api_key", json!({ "in": "query", "name": "key" })), &[]),
        (auth("api_key", json!({ "in": "cookie", "name": "sid" })), &[]),
        (auth("api_key", json!({ "in": "body", "path": "/auth/key" })), &[]),
        (auth("api_key", json!({ "in": "body", "path": "auth.key" })), &[]),
        (auth("api_key", json!({ "name": "Host" })), &[("/auth/name", "header_forbidden")]),
        (auth("api_key", json!({ "name": "Cookie" })), &[("/auth/name", "header_forbidden")]),
        (auth("api_key", json!({ "name": "a b" })), &[("/auth/name", "header_forbidden")]),
        (auth("api_key", json!({ "in": "query" })), &[("/auth/name", "auth_incomplete")]),
        (auth("api_key", json!({ "in": "cookie" })), &[("/auth/name", "auth_incomplete")]),
        (auth("api_key", json!({ "in": "cookie", "name": "a;b" })), &[("/auth/name", "cookie_name")]),
        (auth("api_key", json!({ "in": "body" })), &[("/auth/path", "auth_incomplete")]),
        (auth("api_key", json!({ "in": "body", "path": "/a//b" })), &[("/auth/path", "pointer_invalid")]),
    ]);
}

#[test]
fn templates_of_auth_name_fields_and_nothing_else() {
    let value = |text: &str| auth("api_key", json!({ "name": "X-Key", "value": text }));
    let unknown = &[("/auth/value", "template_unknown_variable")][..];
    for sound in ["{{cred.api_key}}", "Key {{cred.api_key}}"] {
        changes([(value(sound), &[][..])]);
    }
    for text in [
        "{{cred.nope}}",
        "{{input.Email}}",
        "{{run.id}}",
        "{{action.id}}",
        "{{now}}",
        "{{source.x}}",
        "{{jwt.token}}",
        "{{sign.signature}}",
        "{{cred.access_token}}",
        "{{cred.api_key|base64}}",
        "{{config.api_key}}",
    ] {
        changes([(value(text), unknown)]);
    }
    changes([
        (value("{{cred.api_key"), &[("/auth/value", "template_invalid")][..]),
        (value("{{+cred.api_key}}"), &[("/auth/value", "template_invalid")]),
        (value("{{cred.api_key}}\r\nX: 1"), &[("/auth/value", "template_invalid")]),
        (auth("bearer", json!({ "prefix": "{{cred.api_key}}" })), &[("/auth/prefix", "template_invalid")]),
        (
            auth("api_key", json!({ "in": "cookie", "name": "s", "value": "a; b={{cred.api_key}}" })),
            &[("/auth/value", "template_invalid")],
        ),
        (
            auth("basic", json!({ "username": "a:b", "password": "{{cred.api_key}}" })),
            &[("/auth/username", "template_invalid")],
        ),
    ]);
    let with_config = json!({
        "auth_type": "basic", "config_fields": [{ "name": "email" }],
        "auth": { "username": "{{config.email}}/token", "password": "{{cred.api_key}}" },
    });
    changes([(with_config, &[][..])]);
}

#[test]
fn a_definition_holds_no_credential() {
    changes([
        (auth("bearer", json!({ "value": "sk_live_1" })), &[("/auth/value", "credential_in_definition")][..]),
        (
            auth("basic", json!({ "username": "u", "password": "p" })),
            &[("/auth", "credential_in_definition")],
        ),
        (auth("basic", json!({ "username": "anystring", "password": "{{cred.api_key}}" })), &[]),
        (
            auth("custom", json!({ "custom": { "headers": { "X-Key": "k" } } })),
            &[("/auth/custom", "credential_in_definition")],
        ),
        (
            auth("custom", json!({ "custom": { "headers": { "X-Key": "{{cred.api_key}}", "X-App": "a" } } })),
            &[],
        ),
    ]);
}

#[test]
fn several_values_never_share_a_place() {
    let custom = |value: Value| auth("custom", json!({ "custom": value }));
    let key = "{{cred.api_key}}";
    changes([
        (
            custom(json!({ "headers": { "X-A": key, "X-B": key }, "query": { "a": key },
                    "body": { "/a": key } })),
            &[][..],
        ),
        (
            custom(json!({ "headers": { "X-A": key, "x-a": key } })),
            &[("/auth/custom/headers/x-a", "auth_duplicate")],
        ),
        (
            custom(json!({ "headers": { "X-A": key, "X_A": key } })),
            &[("/auth/custom/headers/X_A", "auth_duplicate")],
        ),
        (
            custom(json!({ "headers": { "Cookie": key } })),
            &[("/auth/custom/headers/Cookie", "header_forbidden")],
        ),
        (
            custom(json!({ "query": { "KEY": key, "key": key } })),
            &[("/auth/custom/query/key", "auth_duplicate")],
        ),
        (
            custom(json!({ "body": { "/a": key, "/a/b": key } })),
            &[("/auth/custom/body/~1a~1b", "auth_duplicate")],
        ),
        (custom(json!({ "body": { "/a": key, "a": key } })), &[("/auth/custom/body/a", "auth_duplicate")]),
        (custom(json!({})), &[("/auth/custom", "auth_incomplete")]),
    ]);
}

#[test]
fn a_mistake_inside_auth_points_at_its_member() {
    let found = checked(&with(json!({ "auth": { "in": "kookie", "nme": "X" } })));
    let found = codes(&found.errors);
    assert!(
        found.contains(&("/auth/in", "not_in_list")) && found.contains(&("/auth/nme", "unknown_field")),
        "{found:?}"
    );
}
