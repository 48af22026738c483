//! Credentials that are never sent: the host signs with them, and another implementation checks the
//! signature.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::harness::{Case, HOST, Harness, KEY, header, places, target, with};
use super::second;

/// A secret key of AWS; like real ones, it has a character that encodings write differently.
const ACCESS_KEY: &str = "AKIACNRYQ7F3A9C51E2B";

/// A PEM text (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A private RSA key and its public half.
pub(super) fn rsa() -> (String, String) {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'static> = pair.as_der().unwrap();
    let public: aws_lc_rs::encoding::PublicKeyX509Der<'static> = pair.public_key().as_der().unwrap();
    (pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", public.as_ref()))
}

/// A private key on P-256 and its public half.
pub(super) fn p256() -> (String, String) {
    let pair = rcgen::KeyPair::generate().unwrap();
    (pair.serialize_pem(), pair.public_key_pem())
}

/// A case with a multi-line field for the key.
fn jwt(auth: Value, key: &str) -> Case {
    let mut case = Case::new("jwt", auth, json!({ "private_key": key, "issuer": "team-0042" }));
    let key = json!({ "name": "private_key", "type": "pem", "required": true });
    case.fields = json!([key, { "name": "issuer", "secret": false }]);
    case
}

#[tokio::test]
async fn a_jwt_by_rs256_and_es256_is_verified_by_the_public_key() {
    let harness = Harness::start().await;
    for (alg, (private, public)) in [("RS256", rsa()), ("ES256", p256())] {
        let auth = json!({
            "alg": alg, "key_field": "private_key", "kid": "kid-{{config.issuer}}", "ttl_s": 600,
            "claims": { "iss": "{{config.issuer}}", "aud": "things-v1", "scope": ["GET /v1"], "n": 1 },
            "header": { "x5t": "AbCd" },
        });
        let sent = harness.prove(&jwt(auth, &private)).await;
        let secrets = json!({
            "key": public, "alg": alg,
            "claims": { "iss": "team-0042", "aud": "things-v1", "scope": ["GET /v1"], "n": 1 },
            "jose_header": { "alg": alg, "typ": "JWT", "kid": "kid-team-0042", "x5t": "AbCd" },
        });
        second::check("jwt", &sent, &secrets);
        let one_line = private.trim_end().replace('\n', "\\n");
        assert_eq!(places(&sent, &one_line[40..80]), [] as [&str; 0], "no part of the key is sent");
    }
}

#[tokio::test]
async fn a_key_pasted_with_its_line_ends_written_out_signs_as_well() {
    let harness = Harness::start().await;
    let (private, public) = rsa();
    let auth = json!({ "alg": "RS256", "key_field": "private_key" });
    let sent = harness.prove(&jwt(auth, &private.trim_end().replace('\n', "\\n"))).await;
    second::check("jwt", &sent, &json!({ "key": public, "alg": "RS256" }));
}

#[tokio::test]
async fn a_jwt_by_hs256_goes_to_a_header_of_the_definitions_choice() {
    let harness = Harness::start().await;
    let auth = json!({
        "alg": "HS256", "key_field": "secret", "name": "X-Token", "prefix": "JWT ",
        "claims": { "sub": "{{cred.account}}" },
    });
    let saved = json!({ "secret": KEY, "account": "cnry-account-0042" });
    // The account is a claim, so it is found in its base64url form.
    let case = Case::new("jwt", auth, saved).at(&[("account", "header x-token")]);
    let sent = harness.prove(&case).await;
    let secrets = json!({
        "key": KEY, "alg": "HS256", "header": "x-token", "prefix": "JWT ",
        "claims": { "sub": "cnry-account-0042" },
    });
    second::check("jwt", &sent, &secrets);
    assert!(sent.header("authorization").is_empty());
}

/// The members of an HMAC that the definition and the check share.
fn hmac(members: Value) -> (Value, Value) {
    let checked = with(&members, json!({ "key": KEY, "signature_header": "x-signature" }));
    let mut auth = with(&members, json!({ "key_field": "secret", "header": "X-Signature" }));
    if let Some(format) = auth["format"].as_str() {
        let format = format.replace("{signature}", "{{sign.signature}}");
        let format = format.replace("{timestamp}", "{{sign.timestamp}}").replace("{nonce}", "{{sign.nonce}}");
        auth["format"] = json!(format.replace("key-0042-cnry", "{{cred.key_id}}"));
    }
    (auth, checked)
}

#[tokio::test]
async fn a_keyed_hash_covers_what_its_definition_lists() {
    let harness = Harness::start().await;
    for members in [
        json!({
            "alg": "sha256", "timestamp_header": "X-Timestamp", "timestamp_format": "epoch_ms",
            "nonce_header": "X-Nonce", "format": "t={timestamp},n={nonce},k=key-0042-cnry,v1={signature}",
            "string_to_sign": [
                "timestamp", "'.'", "nonce", "'.'", "method", "'\n'", "path_and_query", "'\n'",
                "header:content-type", "'\n'", "body_sha256",
            ],
        }),
        json!({ "alg": "sha512", "encoding": "base64", "string_to_sign": ["path", "'?'", "query", "body"] }),
        json!({ "alg": "sha1", "string_to_sign": ["'v0:'", "timestamp", "':'", "body"],
                "format": "v0={signature}", "timestamp_header": "X-Request-Timestamp" }),
        // Regression: with the timestamp header among the signed headers, saving was refused.
        json!({ "alg": "sha256", "string_to_sign": ["header:x-request-time", "header:host", "body"],
                "timestamp_header": "X-Request-Time", "timestamp_format": "iso8601" }),
    ] {
        let (auth, checked) = hmac(members);
        let saved = json!({ "secret": KEY, "key_id": "key-0042-cnry" });
        let named = auth["format"].as_str().is_some_and(|format| format.contains("key_id"));
        let case = Case::new("hmac", auth, saved);
        let case = if named { case.at(&[("key_id", "header x-signature")]) } else { case };
        let action = json!({ "query": { "q": "{{input.title}}", "z": "1" } });
        let sent = harness.prove(&case.action(action, json!({ "title": "Ä & b" }))).await;
        assert_eq!(sent.header("x-signature").len(), 1);
        second::check("hmac", &sent, &checked);
    }
}

#[tokio::test]
async fn two_calls_have_two_nonces_and_two_signatures() {
    let harness = Harness::start().await;
    let (auth, _) = hmac(json!({ "nonce_header": "X-Nonce", "string_to_sign": ["nonce", "body"] }));
    let id = harness.upload(&Case::new("hmac", auth, json!({ "secret": KEY }))).await;
    harness.acme.connect(&id, json!({ "secret": KEY })).await;
    for _ in 0..2 {
        harness.acme.call(&id, "act", json!({ "title": "t" })).await.is(200);
    }
    let sent = harness.world.upstream.received();
    for name in ["x-nonce", "x-signature"] {
        assert_ne!(header(&sent[0], name), header(&sent[1], name), "{name}");
    }
}

/// A definition for AWS, and the secrets for the check.
fn sigv4(service: &str, members: Value) -> (Case, Value) {
    let auth = json!({ "service": service, "region": "{{config.region}}" });
    let saved = json!({ "access_key": ACCESS_KEY, "secret_key": KEY, "region": "eu-central-1" });
    let mut case = Case::new("aws_sigv4", with(&auth, members), saved);
    let secret = |name: &str| json!({ "name": name, "type": "password", "required": true });
    case.fields = json!([secret("access_key"), secret("secret_key")]);
    case.config_fields = json!([{ "name": "region", "required": true }]);
    let checked =
        json!({ "access_key": ACCESS_KEY, "secret_key": KEY, "service": service, "region": "eu-central-1" });
    (case.at(&[("access_key", "header authorization")]), checked)
}

#[tokio::test]
async fn sigv4_of_an_ordinary_service_signs_query_body_and_its_own_headers() {
    let harness = Harness::start().await;
    let (case, checked) = sigv4("execute-api", json!({}));
    let action = json!({
        "url_template": format!("https://{HOST}/prod/things/{{{{input.id}}}}?z=1&A=2"),
        "query": { "b": "{{input.id}}", "empty": "", "a": "1 2" },
        "headers": { "X-Amz-Target": "Things_20120810.Put", "X-Other": "not signed" },
        "body_schema": [
            { "name": "id" }, { "name": "title" },
            { "name": "tag", "type": "array", "in": "query", "array_format": "repeat" },
        ],
    });
    let input = json!({ "id": "a b/ü*~", "title": "t", "tag": ["b", "a", "c+d"] });
    let sent = harness.prove(&case.action(action, input)).await;
    assert_eq!(target(&sent).0, "/prod/things/a%20b%2F%C3%BC%2A~");
    assert!(header(&sent, "authorization").contains("SignedHeaders=content-type;host;x-amz-content-sha256;"));
    second::check("sigv4", &sent, &checked);
    let (case, checked) = sigv4("execute-api", json!({}));
    let action = json!({ "http_method": "GET", "body_schema": [] });
    second::check("sigv4", &harness.prove(&case.action(action, json!({}))).await, &checked);
}

#[tokio::test]
async fn sigv4_of_s3_signs_keys_with_every_odd_character_once() {
    let harness = Harness::start().await;
    for members in [json!({}), json!({ "unsigned_payload": true })] {
        for key in ["Q1 & Q2/ä$%25 (1)+@:,;='!*~.txt", "a/b c/d%2Fe", "日本/-._~"] {
            let (case, mut checked) = sigv4("s3", members.clone());
            let action = json!({
                "http_method": "PUT",
                "url_template": format!("https://{HOST}/bucket/a$b(c)/{{{{+input.key}}}}"),
                "query": { "tagging": "" },
                "body_schema": [{ "name": "key" }, { "name": "content" }],
                "body": { "type": "text", "root": "content" },
            });
            checked["unsigned_payload"] = members["unsigned_payload"].as_bool().unwrap_or_default().into();
            let sent = harness.prove(&case.action(action, json!({ "key": key, "content": "Grüße" }))).await;
            second::check("sigv4", &sent, &checked);
        }
    }
}

#[tokio::test]
async fn sigv4_with_a_session_token_sends_and_signs_it_and_without_one_does_not() {
    let harness = Harness::start().await;
    let token = "cnry-session//token+9c51e2b84d06==";
    let (case, mut checked) = sigv4("dynamodb", json!({ "session_token": "{{cred.session_token}}" }));
    let mut case =
        case.at(&[("access_key", "header authorization"), ("session_token", "header x-amz-security-token")]);
    case.fields.as_array_mut().unwrap().push(json!({ "name": "session_token", "type": "password" }));
    let id = harness.upload(&case).await;
    harness.acme.connect(&id, case.saved.clone()).await;
    harness.acme.call(&id, "act", case.input.clone()).await.is(200);
    let sent = harness.world.upstream.received().last().unwrap().clone();
    assert!(sent.header("x-amz-security-token").is_empty(), "{}", sent.head);
    second::check("sigv4", &sent, &checked);
    case.saved["session_token"] = json!(token);
    checked["session_token"] = json!(token);
    let sent = harness.prove(&case).await;
    assert_eq!(header(&sent, "x-amz-security-token"), token);
    second::check("sigv4", &sent, &checked);
}

#[tokio::test]
async fn oauth1_signs_a_form_with_sha1_and_json_with_sha256() {
    let harness = Harness::start().await;
    let saved = json!({
        "consumer_key": "cnry-consumer-0042", "consumer_secret": KEY, "token": "cnry-token/0042",
        "token_secret": format!("2{KEY}"),
    });
    let here = &[("consumer_key", "header authorization"), ("token", "header authorization")];
    for (method, body, realm) in [
        ("HMAC-SHA1", "form", None),
        ("HMAC-SHA256", "json", Some("1234567_SB1")),
        ("HMAC-SHA256", "form", None),
    ] {
        let mut auth = json!({ "signature_method": method });
        let mut checked = with(&saved, json!({ "signature_method": method }));
        if let Some(realm) = realm {
            (auth["realm"], checked["realm"]) = (json!(realm), json!(realm));
        }
        let action = json!({
            "url_template": format!("https://{HOST}/1.1/statuses/{{{{input.id}}}}?include=true"),
            "query": { "b5": "=%3D", "a3": "a", "a2": "r b" }, "body": { "type": body },
            "body_schema": [{ "name": "id" }, { "name": "status" }, { "name": "a3" }],
        });
        let input = json!({ "id": "x y", "status": "Ladies + Gentlemen, 100% é=&~*", "a3": "2 q" });
        let case = Case::new("oauth1", auth, saved.clone()).at(here).action(action, input);
        let sent = harness.prove(&case).await;
        second::check("oauth1", &sent, &checked);
    }
}
