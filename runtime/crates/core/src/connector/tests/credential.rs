//! Nothing else can be written where the credential goes, and its position always exists.

use super::*;

fn key_in_body(path: &str, action: Value) -> Value {
    let mut document = with_action(action);
    document["auth"] = json!({ "in": "body", "path": path });
    document
}

#[test]
fn the_credentials_header_is_not_to_be_set() {
    for name in ["Authorization", "AUTHORIZATION", "authorization"] {
        let headers = format!("/actions/0/headers/{name}");
        actions([(json!({ "headers": { name: "1" } }), &[(headers.as_str(), "header_forbidden")][..])]);
        let input = json!({ "body_schema": [{ "name": "a", "as": name, "in": "header" }] });
        actions([(input, &[("/actions/0/body_schema/0/name", "header_forbidden")][..])]);
        let key = json!({ "idempotency": { "in": "header", "name": name } });
        actions([(key, &[("/actions/0/idempotency/name", "header_forbidden")][..])]);
    }
    let other = |name: &str| {
        let mut document = with_action(json!({ "headers": { name: "1" } }));
        document["auth"] = json!({ "name": "X-Api-Key" });
        document
    };
    expect([
        (other("Authorization"), &[][..]),
        (other("x_api_key"), &[("/actions/0/headers/x_api_key", "header_forbidden")]),
    ]);
    let hmac = json!({ "auth_type": "hmac", "auth": {
        "header": "X-Sign", "timestamp_header": "X-Time", "nonce_header": "X-Nonce",
        "string_to_sign": ["timestamp", "nonce", "body"],
    } });
    for name in ["X-Sign", "x-time", "X-NONCE"] {
        let mut document = with(hmac.clone());
        document["actions"][0]["headers"] = json!({ name: "1" });
        let pointer = format!("/actions/0/headers/{name}");
        expect([(document, &[(pointer.as_str(), "header_forbidden")][..])]);
    }
}

#[test]
fn a_cookie_header_is_never_to_be_set() {
    for auth in [json!({}), json!({ "in": "cookie", "name": "sid" })] {
        let mut document = with_action(json!({ "headers": { "Cookie": "sid=1" } }));
        document["auth"] = auth.clone();
        expect([(document, &[("/actions/0/headers/Cookie", "header_forbidden")][..])]);
        let mut document = with_action(json!({ "body_schema": [{ "name": "cookie", "in": "header" }] }));
        document["auth"] = auth;
        expect([(document, &[("/actions/0/body_schema/0/name", "header_forbidden")][..])]);
    }
}

#[test]
fn the_credentials_query_pair_is_nobody_elses() {
    let keyed = |action: Value| {
        let mut document = with_action(action);
        document["auth"] = json!({ "in": "query", "name": "key" });
        document
    };
    let input = |name: &str| keyed(json!({ "body_schema": [{ "name": name, "in": "query" }] }));
    let taken = |pointer: &'static str| [(pointer, "query_forbidden")];
    expect([(input("keys"), &[][..]), (input("monkey"), &[])]);
    for name in ["key", "KEY", "key[]", "Key[a]"] {
        expect([(input(name), &taken("/actions/0/body_schema/0/name")[..])]);
    }
    for query in ["key=1", "KEY=1", "%6bey=1", "k%65y", "key%5B%5D=1", "a=1&key[]=2"] {
        let url = format!("https://api.salesforce.com/x?{query}");
        expect([(keyed(json!({ "url_template": url })), &taken("/actions/0/url_template")[..])]);
    }
    expect([
        (keyed(json!({ "query": { "Key": "1" } })), &taken("/actions/0/query/Key")[..]),
        (
            keyed(json!({ "idempotency": { "in": "query", "name": "key" } })),
            &taken("/actions/0/idempotency/name"),
        ),
        (
            keyed(json!({ "pagination": { "type": "page", "items": "", "param": "key" } })),
            &taken("/actions/0/pagination/param"),
        ),
        (
            keyed(json!({ "pagination": { "type": "page", "items": "", "param": "p", "limit_param": "KEY",
                    "limit": 5 } })),
            &taken("/actions/0/pagination/limit_param"),
        ),
    ]);
    let mut default = keyed(json!({}));
    default["default_query"] = json!({ "key": "1" });
    expect([(default, &taken("/default_query/key")[..])]);
}

#[test]
fn a_key_in_the_body_needs_a_body_that_is_always_there() {
    let no_place = |member: &'static str| [(member, "credential_no_place")];
    let sound = [
        json!({}),
        json!({ "body": { "type": "form" } }),
        json!({ "body": { "type": "json", "template": { "a": 1 } } }),
        json!({ "http_method": "DELETE", "body": { "type": "json", "template": { "a": 1 } },
            "body_schema": [] }),
        json!({ "body": { "type": "graphql", "query": "query { a }" } }),
        json!({ "body": { "type": "json", "content_type": "application/vnd.api+json" } }),
    ];
    for action in sound {
        expect([(key_in_body("/key", action), &[][..])]);
    }
    let file = json!([{ "name": "f", "type": "file" }]);
    for action in [
        json!({ "body": { "type": "multipart" } }),
        json!({ "body": { "type": "raw", "root": "f" }, "body_schema": file }),
        json!({ "body": { "type": "text", "template": "x" }, "body_schema": [] }),
        json!({ "body": { "type": "xml", "template": "<x/>" }, "body_schema": [] }),
        json!({ "body": { "type": "none" }, "body_schema": [] }),
        json!({ "body": { "type": "json", "template": [1] }, "body_schema": [] }),
        json!({ "body": { "type": "json", "root": "Email" } }),
        json!({ "http_method": "DELETE", "body": { "type": "json" }, "body_schema": [] }),
        json!({ "http_method": "DELETE", "body": { "type": "form" }, "body_schema": [] }),
    ] {
        let found = checked(&key_in_body("/key", action.clone()));
        assert!(
            codes(&found.errors).contains(&("/actions/0/body", "credential_no_place")),
            "{action} {:?}",
            found.errors
        );
    }
    expect([
        (key_in_body("/key", json!({ "http_method": "GET" })), &no_place("/actions/0/http_method")[..]),
        (
            key_in_body("/key", json!({ "headers": { "Content-Type": "text/plain" } })),
            &no_place("/actions/0/headers"),
        ),
        (
            key_in_body("/key", json!({ "body": { "type": "json", "content_type": "text/plain" } })),
            &no_place("/actions/0/body/content_type"),
        ),
    ]);
}

#[test]
fn nothing_else_goes_to_the_credentials_place_in_the_body() {
    let input =
        |input: Value, body: Value| key_in_body("/auth/key", json!({ "body_schema": [input], "body": body }));
    let json_body = json!({ "type": "json" });
    let forbidden = &[("/actions/0/body_schema/0/name", "body_forbidden")][..];
    expect([
        (input(json!({ "name": "key" }), json_body.clone()), &[][..]),
        (input(json!({ "name": "a", "path": "/auth/key" }), json_body.clone()), forbidden),
        (input(json!({ "name": "a", "path": "auth.key.x" }), json_body.clone()), forbidden),
        (input(json!({ "name": "auth", "type": "object" }), json_body.clone()), forbidden),
        (input(json!({ "name": "a", "as": "auth" }), json_body), forbidden),
        (input(json!({ "name": "a", "path": "/auth/other" }), json!({ "type": "json" })), &[]),
        (input(json!({ "name": "key" }), json!({ "type": "json", "wrap": "auth" })), forbidden),
        (input(json!({ "name": "auth" }), json!({ "type": "json", "wrap": "w" })), &[]),
        (input(json!({ "name": "auth" }), json!({ "type": "graphql", "query": "{ a }" })), &[]),
        (
            input(json!({ "name": "a" }), json!({ "type": "json", "template": { "auth": { "key": "x" } } })),
            &[("/actions/0/body", "body_forbidden")],
        ),
        (
            input(json!({ "name": "a" }), json!({ "type": "json", "template": { "auth": "x" } })),
            &[("/actions/0/body", "body_forbidden")],
        ),
        (input(json!({ "name": "a" }), json!({ "type": "json", "template": { "auth": { "v": 1 } } })), &[]),
        (
            input(json!({ "name": "a" }), json!({ "type": "form", "form_style": "dots" })),
            &[("/actions/0/body", "body_forbidden")],
        ),
    ]);
    let variables = |path: &str, name: &str| {
        key_in_body(
            path,
            json!({ "body_schema": [{ "name": name }], "body": { "type": "graphql", "query": "{ a }" } }),
        )
    };
    expect([
        (variables("/variables/key", "other"), &[][..]),
        (variables("/variables/key", "key"), forbidden),
        (variables("/query", "a"), &[("/actions/0/body", "body_forbidden")]),
        (
            key_in_body("/key", json!({ "idempotency": { "in": "body", "name": "/key" } })),
            &[("/actions/0/idempotency/name", "body_forbidden")],
        ),
        (
            key_in_body(
                "/key",
                json!({ "pagination": { "type": "cursor", "items": "", "cursor_path": "/c",
                    "param": "key", "in": "body" } }),
            ),
            &[("/actions/0/pagination/param", "body_forbidden")],
        ),
    ]);
}

#[test]
fn no_template_of_an_action_can_name_a_secret() {
    let secret = "{{cred.api_key}}";
    let unknown = |pointer: &'static str| [(pointer, "template_unknown_variable")];
    for text in [secret, "{{config.api_key}}", "{{jwt.token}}", "{{sign.signature}}", "{{source.a}}"] {
        actions([
            (
                json!({ "url_template": format!("https://api.salesforce.com/{text}") }),
                &unknown("/actions/0/url_template")[..],
            ),
            (
                json!({ "url_template": format!("https://api.salesforce.com/?a={text}") }),
                &unknown("/actions/0/url_template"),
            ),
            (json!({ "headers": { "X-A": text } }), &unknown("/actions/0/headers/X-A")),
            (json!({ "query": { "a": text } }), &unknown("/actions/0/query/a")),
            (
                json!({ "rate_limit": [{ "requests": 1, "key": text }] }),
                &unknown("/actions/0/rate_limit/0/key"),
            ),
            (
                json!({ "body": { "type": "json", "template": { "a": [{ "b": text }] } } }),
                &unknown("/actions/0/body/template/a/0/b"),
            ),
            (
                json!({ "body": { "type": "xml", "template": text }, "body_schema": [] }),
                &unknown("/actions/0/body/template"),
            ),
            (
                json!({ "body": { "type": "text", "template": text }, "body_schema": [] }),
                &unknown("/actions/0/body/template"),
            ),
            (
                json!({ "body": { "type": "graphql", "query": "{ a }", "variables": { "a": text } } }),
                &unknown("/actions/0/body/variables/a"),
            ),
        ]);
        changes([
            (json!({ "default_headers": { "X-A": text } }), &unknown("/default_headers/X-A")[..]),
            (json!({ "default_query": { "a": text } }), &unknown("/default_query/a")),
            (json!({ "rate_limit": [{ "requests": 1, "key": text }] }), &unknown("/rate_limit/0/key")),
            (json!({ "base_url": format!("https://api.salesforce.com/{text}") }), &unknown("/base_url")),
        ]);
    }
    for sound in ["{{input.Email}}", "{{run.id}}", "{{action.id}}", "{{now|epoch}}"] {
        actions([(json!({ "headers": { "X-A": sound } }), &[][..])]);
    }
}
