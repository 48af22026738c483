//! Several authentication methods, each with a complete connector.

use super::*;

fn methods(methods: Value) -> Value {
    json!({ "auth_methods": methods })
}

fn method(change: Value) -> Value {
    let mut own = json!({ "id": "app", "auth_type": "bearer", "fields": [{ "name": "token" }] });
    merge(&mut own, change);
    own
}

#[test]
fn a_breach_of_a_method_points_into_the_method() {
    let one = |change: Value| {
        methods(json!([
            method(json!({})),
            method({
                let mut own = json!({ "id": "b" });
                merge(&mut own, change);
                own
            })
        ]))
    };
    changes([
        (one(json!({})), &[][..]),
        (
            one(json!({ "auth": { "value": "{{cred.api_key}}" } })),
            &[("/auth_methods/1/auth/value", "template_unknown_variable")],
        ),
        (one(json!({ "auth": { "name": "X" } })), &[("/auth_methods/1/auth/name", "auth_unused")]),
        (one(json!({ "auth": { "nope": "X" } })), &[("/auth_methods/1/auth/nope", "unknown_field")]),
        (one(json!({ "auth_type": "basic" })), &[("/auth_methods/1/auth", "auth_incomplete")]),
        (
            one(json!({ "auth_type": "nope", "auth": { "name": "X" } })),
            &[("/auth_methods/1/auth_type", "not_in_list")],
        ),
        (one(json!({ "fields": [] })), &[("/auth_methods/1/fields", "auth_incomplete")]),
        (
            one(json!({ "fields": [{ "name": "t", "default": "x" }] })),
            &[("/auth_methods/1/fields/0/default", "secret_default")],
        ),
        (one(json!({ "id": "app" })), &[("/auth_methods/1/id", "duplicate_method")]),
        (one(json!({ "id": "A b" })), &[("/auth_methods/1/id", "wrong_form")]),
        (one(json!({ "test": {} })), &[("/auth_methods/1/test", "unknown_field")]),
        (
            one(json!({ "auth_type": "oauth2_client_credentials",
                    "auth": { "token_url": "https://evil.com/" },
                        "fields": [{ "name": "client_id" }] })),
            &[("/auth_methods/1/auth/token_url", "template_host_outside_allowed_domains")],
        ),
        (
            methods(json!([
                method(json!({ "recommended": true })),
                method(json!({ "id": "b", "recommended": true }))
            ])),
            &[("/auth_methods/1/recommended", "duplicate_method")],
        ),
    ]);
}

#[test]
fn what_the_ways_share_is_reported_once_and_what_one_lacks_names_it() {
    let mut document = with_action(json!({ "headers": { "Host": "x", "X-Site": "{{config.site}}" } }));
    document["auth_schema"]["fields"] = json!([{ "name": "api_key" }, { "name": "site", "secret": false }]);
    document["auth_methods"] = json!([method(json!({}))]);
    let found = checked(&document).errors;
    assert_eq!(
        codes(&found),
        [
            ("/actions/0/headers/Host", "header_forbidden"),
            ("/actions/0/headers/X-Site", "template_unknown_variable"),
        ]
    );
    assert!(found[1].message.contains("under auth_methods \"app\""), "{}", found[1].message);
}

#[test]
fn the_place_of_one_ways_credential_is_checked_against_every_action() {
    let mut document = with_action(json!({ "headers": { "X-Token": "1" } }));
    document["auth_methods"] =
        json!([method(json!({ "auth_type": "api_key", "auth": { "name": "X-Token" } }))]);
    expect([(document, &[("/actions/0/headers/X-Token", "header_forbidden")][..])]);
}

#[test]
fn a_method_has_its_own_base_url_form_and_credential() {
    let document = |base: &str| {
        let mut document = with_action(json!({ "url_template": "/v1" }));
        document["base_url"] = json!("https://a.salesforce.com");
        document["auth_methods"] = json!([
            method(json!({ "base_url": base, "label": "App", "recommended": true })),
            method(json!({ "id": "b" }))
        ]);
        document
    };
    let connector = connector(&document("https://b.salesforce.com/x/"));
    let url = |method: Option<&str>| connector.under(method).actions[0].plan.url.clone();
    assert_eq!(url(None), "https://a.salesforce.com/v1");
    assert_eq!(url(Some("app")), "https://b.salesforce.com/x/v1");
    assert_eq!(url(Some("b")), "https://a.salesforce.com/v1");
    assert_eq!(connector.under(Some("app")).fields[0].name, "token");
    assert_eq!(connector.under(Some("app")).auth_type, AuthType::Bearer);
    assert!(connector.methods[0].recommended && !connector.methods[1].recommended);
    expect([
        (
            document("https://evil.com"),
            &[("/auth_methods/0/base_url", "template_host_outside_allowed_domains")][..],
        ),
        (
            document("https://b.salesforce.com/{{config.nope}}"),
            &[("/auth_methods/0/base_url", "template_unknown_variable")],
        ),
    ]);
}
