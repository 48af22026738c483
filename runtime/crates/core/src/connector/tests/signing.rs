//! JWTs and signatures: what is signed, and that keys are never sent.

use super::*;

fn document(auth_type: &str, auth: Value) -> Value {
    with(json!({
        "auth_type": auth_type, "auth": auth,
        "auth_schema": { "fields": [{ "name": "key" }, { "name": "id" }, { "name": "site",
            "secret": false }] },
    }))
}

fn jwt(change: Value) -> Value {
    let mut auth = json!({ "alg": "HS256", "key_field": "key" });
    merge(&mut auth, change);
    document("jwt", auth)
}

fn hmac(change: Value) -> Value {
    let mut auth =
        json!({ "key_field": "key", "header": "X-Sign", "string_to_sign": ["method", "'\\n'", "body"] });
    merge(&mut auth, change);
    document("hmac", auth)
}

#[test]
fn claims_are_templates_at_the_top_and_times_are_made() {
    expect([
        (
            jwt(json!({ "claims": { "iss": "{{cred.id}}", "aud": ["a"], "n": 1 }, "kid": "{{cred.id}}",
                    "ttl_s": 60 })),
            &[][..],
        ),
        (jwt(json!({ "claims": { "exp": 9_999_999_999_u64 } })), &[("/auth/claims/exp", "claim_reserved")]),
        (jwt(json!({ "claims": { "iat": "{{cred.id}}" } })), &[("/auth/claims/iat", "claim_reserved")]),
        (
            jwt(json!({ "claims": { "a": { "b": "{{cred.id}}" } } })),
            &[("/auth/claims/a/b", "template_invalid")],
        ),
        (jwt(json!({ "claims": { "a": ["{{cred.id}}"] } })), &[("/auth/claims/a/0", "template_invalid")]),
        (jwt(json!({ "claims": { "a": "{{run.id}}" } })), &[("/auth/claims/a", "template_unknown_variable")]),
        (
            jwt(json!({ "claims": { "a": "{{jwt.token}}" } })),
            &[("/auth/claims/a", "template_unknown_variable")],
        ),
        (jwt(json!({ "kid": "{{cred.nope}}" })), &[("/auth/kid", "template_unknown_variable")]),
    ]);
}

#[test]
fn the_signers_header_members_are_its_own() {
    expect([(jwt(json!({ "header": { "typ": "at+jwt", "x5t": "a" } })), &[][..])]);
    for name in ["alg", "kid", "crit", "b64"] {
        let pointer = format!("/auth/header/{name}");
        expect([(jwt(json!({ "header": { name: "none" } })), &[(pointer.as_str(), "claim_reserved")][..])]);
    }
    expect([
        (jwt(json!({ "header": { "x": "{{cred.key}}" } })), &[("/auth/header/x", "template_invalid")][..]),
        (jwt(json!({ "header": "X-Jwt" })), &[("/auth/header", "wrong_type")]),
        (jwt(json!({ "alg": "sha256" })), &[("/auth/alg", "not_in_list")]),
        (jwt(json!({ "alg": "none" })), &[("/auth/alg", "not_in_list"), ("/auth/alg", "auth_incomplete")]),
        (jwt(json!({ "key_field": "site" })), &[("/auth/key_field", "unknown_reference")]),
        (jwt(json!({ "prefix": "JWT\n" })), &[("/auth/prefix", "template_invalid")]),
    ]);
}

#[test]
fn a_signing_key_is_told_to_nobody() {
    let aws = |change: Value| {
        let mut auth = json!({
            "service": "s3", "region": "{{config.site}}", "access_key": "{{cred.id}}",
                "secret_key": "{{cred.key}}",
        });
        merge(&mut auth, change);
        document("aws_sigv4", auth)
    };
    let oauth1 = |change: Value| {
        let mut auth = json!({
            "consumer_key": "{{cred.id}}", "consumer_secret": "{{cred.key}}",
            "token": "{{cred.id}}", "token_secret": "{{cred.key}}", "realm": "{{cred.site}}",
        });
        merge(&mut auth, change);
        document("oauth1", auth)
    };
    expect([
        (jwt(json!({ "claims": { "k": "{{cred.key}}" } })), &[("/auth/key_field", "signing_key_sent")][..]),
        (jwt(json!({ "kid": "{{cred.key}}" })), &[("/auth/key_field", "signing_key_sent")]),
        (hmac(json!({ "format": "{{cred.id}}:{{sign.signature}}" })), &[]),
        (
            hmac(json!({ "format": "{{cred.key}}:{{sign.signature}}" })),
            &[("/auth/key_field", "signing_key_sent")],
        ),
        (aws(json!({})), &[]),
        (aws(json!({ "access_key": "{{cred.key}}" })), &[("/auth/secret_key", "signing_key_sent")]),
        (aws(json!({ "session_token": "{{cred.key}}" })), &[("/auth/secret_key", "signing_key_sent")]),
        (aws(json!({ "region": "{{cred.id}}" })), &[("/auth/region", "template_unknown_variable")]),
        (aws(json!({ "service": "{{config.key}}" })), &[("/auth/service", "template_unknown_variable")]),
        (aws(json!({ "secret_key": "fixed" })), &[("/auth/secret_key", "credential_in_definition")]),
        (oauth1(json!({})), &[]),
        (
            oauth1(json!({ "realm": "{{cred.key}}" })),
            &[("/auth/consumer_secret", "signing_key_sent"), ("/auth/token_secret", "signing_key_sent")],
        ),
        (
            oauth1(json!({ "consumer_secret": "fixed" })),
            &[("/auth/consumer_secret", "credential_in_definition")],
        ),
    ]);
    let steps = json!([{
        "request": {
            "url": "https://a.salesforce.com/login", "headers": { "Authorization": "Bearer {{jwt.token}}" },
            "body": { "key": "{{cred.key}}" },
        },
        "capture": { "access_token": "/t" },
    }]);
    let leaks = document("token_exchange", json!({ "alg": "HS256", "key_field": "key", "steps": steps }));
    expect([(leaks, &[("/auth/key_field", "signing_key_sent")][..])]);
}

#[test]
fn a_signature_has_parts_and_headers_of_its_own() {
    expect([
        (hmac(json!({})), &[][..]),
        (hmac(json!({ "alg": "sha512", "encoding": "base64" })), &[]),
        (hmac(json!({ "alg": "HS256" })), &[("/auth/alg", "not_in_list")]),
        (hmac(json!({ "header": { "a": 1 } })), &[("/auth/header", "auth_incomplete")]),
        (hmac(json!({ "header": "Host" })), &[("/auth/header", "header_forbidden")]),
        (hmac(json!({ "string_to_sign": [] })), &[("/auth/string_to_sign", "auth_incomplete")]),
        (hmac(json!({ "string_to_sign": ["body", "url"] })), &[("/auth/string_to_sign/1", "not_in_list")]),
        (hmac(json!({ "string_to_sign": ["'open"] })), &[("/auth/string_to_sign/0", "not_in_list")]),
        (
            hmac(json!({ "string_to_sign": ["header:x-sign"] })),
            &[("/auth/string_to_sign/0", "unknown_reference")],
        ),
        (hmac(json!({ "string_to_sign": ["timestamp"] })), &[("/auth/timestamp_header", "auth_incomplete")]),
        (hmac(json!({ "string_to_sign": ["timestamp"], "timestamp_header": "X-Time" })), &[]),
        (
            hmac(
                json!({ "string_to_sign": ["timestamp"], "format": "{{sign.timestamp}}:{{sign.signature}}" }),
            ),
            &[],
        ),
        (hmac(json!({ "string_to_sign": ["nonce"] })), &[("/auth/nonce_header", "auth_incomplete")]),
        (hmac(json!({ "timestamp_header": "x-sign" })), &[("/auth/timestamp_header", "auth_duplicate")]),
        (
            hmac(json!({ "timestamp_header": "X-T", "nonce_header": "x-t" })),
            &[("/auth/nonce_header", "auth_duplicate")],
        ),
        (hmac(json!({ "format": "{{sign.timestamp}}" })), &[("/auth/format", "auth_incomplete")]),
        (
            hmac(json!({ "format": "{{input.Email}}{{sign.signature}}" })),
            &[("/auth/format", "template_unknown_variable")],
        ),
        (hmac(json!({ "key_field": "site" })), &[("/auth/key_field", "unknown_reference")]),
    ]);
}

#[test]
fn a_header_that_is_signed_is_always_sent() {
    let signs = |header: &str, action: Value| {
        let mut document = hmac(json!({ "string_to_sign": [format!("header:{header}"), "body"] }));
        merge(&mut document["actions"][0], action);
        document
    };
    for name in ["content-type", "accept", "Host"] {
        expect([(signs(name, json!({})), &[][..])]);
    }
    let input = |required: bool| {
        json!({ "body_schema": [{ "name": "X-Org", "in": "header",
        "required": required }] })
    };
    expect([
        (signs("X-Org", json!({ "headers": { "x-org": "1" } })), &[][..]),
        (signs("X-Org", input(true)), &[]),
        (signs("X-Org", input(false)), &[("/auth/string_to_sign/0", "unknown_reference")]),
        (signs("X-Org", json!({})), &[("/auth/string_to_sign/0", "unknown_reference")]),
        (
            signs("content-type", json!({ "http_method": "GET", "body_schema": [] })),
            &[("/auth/string_to_sign/0", "unknown_reference")],
        ),
    ]);
}
