//! Credentials that are placed unchanged: none, API keys, bearer tokens, HTTP Basic, and several values at
//! once.

use serde_json::{Value, json};

use super::harness::{Case, HOST, Harness, KEY, header, headers, target};
use super::second;
use super::shown::percent;

/// Another secret beside the first.
const SECOND: &str = "cnry-5Yb/8d1+07aa=c93f6612.Qq~w";

fn api_key(auth: Value) -> Case {
    Case::new("api_key", auth, json!({ "api_key": KEY }))
}

#[tokio::test]
async fn none_sends_no_credential_and_opens_none() {
    let harness = Harness::start().await;
    let sent = harness.prove(&Case::new("none", Value::Null, Value::Null)).await;
    let names: Vec<String> = headers(&sent).into_iter().map(|(name, _)| name).collect();
    for name in ["authorization", "cookie", "x-api-key"] {
        assert!(!names.iter().any(|n| n == name), "{names:?}");
    }
    assert_eq!(sent.line(), "POST /v1/things");
    assert_eq!(sent.text(), r#"{"title":"Ä & b"}"#);
}

#[tokio::test]
async fn an_api_key_in_a_header_is_there_once_under_its_name_and_prefix() {
    let harness = Harness::start().await;
    for (auth, name, value, at) in [
        (Value::Null, "authorization", format!("Bearer {KEY}"), "header authorization"),
        (
            json!({ "prefix": "Token token=" }),
            "authorization",
            format!("Token token={KEY}"),
            "header authorization",
        ),
        (json!({ "prefix": "" }), "authorization", KEY.to_owned(), "header authorization"),
        (json!({ "in": "header", "name": "X-Api-Key" }), "x-api-key", KEY.to_owned(), "header x-api-key"),
        (
            json!({ "name": "X-Auth", "prefix": "Key ", "value": "v1.{{cred.api_key}}!" }),
            "x-auth",
            format!("Key v1.{KEY}!"),
            "header x-auth",
        ),
    ] {
        let places: &'static [(&str, &str)] = match at {
            "header authorization" => &[("api_key", "header authorization")],
            "header x-api-key" => &[("api_key", "header x-api-key")],
            _ => &[("api_key", "header x-auth")],
        };
        let sent = harness.prove(&api_key(auth).at(places)).await;
        assert_eq!(header(&sent, name), value);
        assert_eq!(sent.head.matches(KEY).count(), 1, "{}", sent.head);
    }
}

#[tokio::test]
async fn an_api_key_in_the_query_is_the_last_pair_and_encoded_once() {
    let harness = Harness::start().await;
    for (name, prefix, before) in [("key", "", ""), ("api[key]", "Key ", "?z=1&a=b%20c")] {
        let auth = json!({ "in": "query", "name": name, "prefix": prefix });
        let url = format!("https://{HOST}/v1/things{before}");
        let case = api_key(auth).at(&[("api_key", "query")]);
        let case = case.action(json!({ "http_method": "GET", "url_template": url }), json!({ "title": "t" }));
        let sent = harness.prove(&case).await;
        let pair = format!("{}={}", percent(name), percent(&format!("{prefix}{KEY}")));
        let joined = if before.is_empty() { "?" } else { "&" };
        assert_eq!(sent.line(), format!("GET /v1/things{before}{}title=t&{pair}", joined));
    }
    let case = api_key(json!({ "in": "query", "name": "key" })).at(&[("api_key", "query")]);
    let sent = harness.prove(&case.action(json!({ "body_schema": [] }), json!({}))).await;
    assert_eq!(target(&sent).1, Some(format!("key={}", percent(KEY)).as_str()), "the only pair");
}

#[tokio::test]
async fn an_api_key_in_the_body_is_one_member_beside_the_actions_own() {
    let harness = Harness::start().await;
    let auth = json!({ "in": "body", "path": "/auth/key" });
    let (nowhere_else, input) = (&[("api_key", "body")], json!({ "title": "a=b&c", "v": 2 }));
    let schema = json!([{ "name": "title" }, { "name": "v", "type": "integer", "path": "/auth/v" }]);
    let action = json!({ "body_schema": schema });
    let sent = harness.prove(&api_key(auth.clone()).at(nowhere_else).action(action, input.clone())).await;
    let document: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(document, json!({ "title": "a=b&c", "auth": { "v": 2, "key": KEY } }));
    assert_eq!(header(&sent, "content-length"), sent.body.len().to_string());
    let action = json!({ "body_schema": schema, "body": { "type": "json", "wrap": "auth" } });
    let case = api_key(auth.clone()).at(nowhere_else).action(action, json!({ "title": "t" }));
    let document: Value = serde_json::from_slice(&harness.prove(&case).await.body).unwrap();
    assert_eq!(document, json!({ "auth": { "title": "t", "key": KEY } }));
    let action = json!({ "body_schema": schema, "body": { "type": "form" } });
    let sent = harness.prove(&api_key(auth).at(nowhere_else).action(action, input)).await;
    let own = "title=a%3Db%26c&auth[v]=2";
    assert_eq!(sent.text(), format!("{own}&auth%5Bkey%5D={}", percent(KEY)));
}

/// Regression: an empty form counted as no body, and the request was sent without its credential.
#[tokio::test]
async fn an_api_key_goes_into_an_empty_body_too() {
    let harness = Harness::start().await;
    for (kind, body) in
        [("form", format!("key={}", percent(KEY))), ("json", json!({ "key": KEY }).to_string())]
    {
        let case = api_key(json!({ "in": "body", "path": "/key" })).at(&[("api_key", "body")]);
        let sent = harness.prove(&case.action(json!({ "body": { "type": kind } }), json!({}))).await;
        assert_eq!(sent.text(), body);
    }
}

#[tokio::test]
async fn an_api_key_in_a_cookie_is_the_only_one() {
    let harness = Harness::start().await;
    let auth = json!({ "in": "cookie", "name": "sid", "prefix": "s:" });
    let sent = harness.prove(&api_key(auth).at(&[("api_key", "header cookie")])).await;
    assert_eq!(header(&sent, "cookie"), format!("sid=s:{KEY}"));
}

#[tokio::test]
async fn a_bearer_token_is_rfc_6750() {
    let harness = Harness::start().await;
    let here = &[("token", "header authorization")];
    let case = Case::new("bearer", Value::Null, json!({ "token": KEY })).at(here);
    second::check("bearer", &harness.prove(&case).await, &json!({ "token": KEY }));
    let both = json!({ "account": "acct-0042", "token": KEY });
    let auth = json!({ "value": "{{cred.account}}.{{cred.token}}" });
    let here = &[("token", "header authorization"), ("account", "header authorization")];
    let sent = harness.prove(&Case::new("bearer", auth, both).at(here)).await;
    second::check("bearer", &sent, &json!({ "token": format!("acct-0042.{KEY}") }));
}

#[tokio::test]
async fn basic_is_rfc_7617_with_templates_and_with_an_empty_password() {
    let harness = Harness::start().await;
    let email = "jörg.cnry@example.org";
    for (username, password, saved, expected) in [
        (
            "{{cred.email}}/token",
            "{{cred.key}}",
            json!({ "email": email, "key": KEY }),
            (format!("{email}/token"), KEY),
        ),
        ("{{cred.key}}", "", json!({ "key": KEY }), (KEY.to_owned(), "")),
        ("anystring", "{{cred.key}}", json!({ "key": KEY }), ("anystring".to_owned(), KEY)),
        ("u", "x:{{cred.key}}:ä", json!({ "key": KEY }), ("u".to_owned(), &format!("x:{KEY}:ä"))),
    ] {
        let auth = json!({ "username": username, "password": password });
        let here = &[("email", "header authorization"), ("key", "header authorization")];
        let case = Case::new("basic", auth, saved).at(here);
        let sent = harness.prove(&case).await;
        second::check("basic", &sent, &json!({ "username": expected.0, "password": expected.1 }));
    }
}

/// Regression: an optional password was refused when it was left empty.
#[tokio::test]
async fn basic_with_a_password_that_was_left_empty_sends_an_empty_one() {
    let harness = Harness::start().await;
    let auth = json!({ "username": "{{cred.user}}", "password": "{{cred.password}}" });
    for saved in [json!({ "user": KEY }), json!({ "user": KEY, "password": "" })] {
        let mut case = Case::new("basic", auth.clone(), saved).at(&[("user", "header authorization")]);
        case.fields = json!([{ "name": "user", "required": true }, { "name": "password" }]);
        let sent = harness.prove(&case).await;
        second::check("basic", &sent, &json!({ "username": KEY, "password": "" }));
    }
    let mut case = Case::new("basic", auth, json!({})).at(&[]);
    case.fields = json!([{ "name": "user" }, { "name": "password" }]);
    let id = harness.upload(&case).await;
    let body = json!({ "config": { "password": KEY } });
    let refused = harness.acme.workspace.put(&harness.acme.setting(&id), &body).await.is(422);
    assert!(refused.messages().contains("user"), "the user name may not be empty: {}", refused.text);
}

#[tokio::test]
async fn custom_puts_each_value_in_its_place_and_nowhere_else() {
    let harness = Harness::start().await;
    let custom = json!({
        "headers": { "DD-API-KEY": "{{cred.first}}", "X-Account": "eu/{{config.account}}" },
        "query": { "key": "{{cred.second}}", "token": "t {{cred.third}}" },
        "body": { "/auth/secret": "{{cred.fourth}}" },
    });
    let saved = json!({
        "first": KEY, "second": SECOND, "third": format!("3{KEY}"), "fourth": format!("4{SECOND}"),
        "account": "acct 7",
    });
    let mut case = Case::new("custom", json!({ "custom": custom }), saved).at(&[
        ("first", "header dd-api-key"),
        ("first", "query"),
        ("second", "query"),
        ("second", "body"),
        ("third", "query"),
        ("fourth", "body"),
    ]);
    case.fields =
        ["first", "second", "third", "fourth"].map(|n| json!({ "name": n, "required": true })).into();
    case.config_fields = json!([{ "name": "account", "required": true }]);
    let sent = harness.prove(&case).await;
    assert_eq!(header(&sent, "dd-api-key"), KEY);
    assert_eq!(header(&sent, "x-account"), "eu/acct 7");
    let query = format!("key={}&token={}", percent(SECOND), percent(&format!("t 3{KEY}")));
    assert_eq!(target(&sent).1, Some(query.as_str()));
    let document: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(document, json!({ "title": "Ä & b", "auth": { "secret": format!("4{SECOND}") } }));
}
