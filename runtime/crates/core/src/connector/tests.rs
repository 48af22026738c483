//! A connector is valid by construction: every rule beside the neighbour that keeps it.

use serde_json::json;

use super::*;

/// The brief's document, byte for byte.
pub(crate) const BRIEF: &str = r#"{ "connector_id": "salesforce", "display_name": "Salesforce", "auth_type": "api_key",
  "auth_schema": { "fields": [{ "name": "api_key", "label": "API Key", "type": "password", "required": true }] },
  "actions": [{ "action_id": "create-contact", "http_method": "POST",
    "url_template": "https://api.salesforce.com/v1/contacts",
    "body_schema": [{ "name": "Email", "label": "Email" }] }],
  "allowed_domains": ["*.salesforce.com"], "enabled": true }"#;

fn brief() -> Value {
    serde_json::from_str(BRIEF).unwrap()
}

fn errors(document: &Value) -> Vec<(String, &'static str)> {
    let checked = Connector::parse(document, &Limits::default());
    assert_eq!(checked.connector.is_some(), checked.errors.is_empty());
    checked.errors.into_iter().map(|p| (p.pointer, p.code)).collect()
}

/// Applies a change to the brief's document and gives the errors.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<(String, &'static str)> {
    let mut document = brief();
    change(&mut document);
    errors(&document)
}

#[test]
fn the_briefs_document_is_a_connector() {
    let checked = Connector::parse(&brief(), &Limits::default());
    assert_eq!(checked.errors, []);
    assert_eq!(checked.warnings, []);
    let connector = checked.connector.unwrap();
    assert_eq!(connector.injection.header_names(), ["authorization"]);
    let action = connector.action("create-contact").unwrap();
    assert_eq!(action.plan.credential.as_deref(), Some("default"));
    assert!(connector.fields[0].secret);
}

#[test]
fn a_template_must_stay_inside_allowed_domains() {
    let with = |url: &str| {
        changed(|d| {
            d["actions"][0]["url_template"] = json!(url);
            d["config_fields"] = json!([{ "name": "shop" }]);
        })
    };
    assert_eq!(with("https://{{config.shop}}.salesforce.com/x"), []);
    for url in [
        "https://salesforce.com/x",
        "https://evil.com/x",
        "https://{{config.shop}}.com/",
        "https://api.salesforce.com.evil.com/",
    ] {
        assert_eq!(
            with(url),
            [("/actions/0/url_template".to_owned(), "template_host_outside_allowed_domains")],
            "{url}"
        );
    }
    assert_eq!(
        with("http://api.salesforce.com/"),
        [("/actions/0/url_template".to_owned(), "template_invalid")]
    );
}

#[test]
fn unknown_variables_and_misplaced_secrets_are_refused() {
    for url in [
        "https://api.salesforce.com/{{input.nope}}",
        "https://api.salesforce.com/{{config.nope}}",
        "https://api.salesforce.com/{{config.api_key}}",
        "https://api.salesforce.com/{{cred.api_key}}",
        "https://api.salesforce.com/?k={{source.x}}",
    ] {
        let found = changed(|d| d["actions"][0]["url_template"] = json!(url));
        assert_eq!(found, [("/actions/0/url_template".to_owned(), "template_unknown_variable")], "{url}");
    }
    let found = changed(|d| d["actions"][0]["headers"] = json!({ "X-A": "{{cred.api_key}}" }));
    assert_eq!(found, [("/actions/0/headers/X-A".to_owned(), "template_unknown_variable")]);
}

#[test]
fn every_breach_is_reported_at_once() {
    let found = changed(|d| {
        d["allowed_domain"] = json!([]);
        d["allowed_domains"] =
            json!(["*", "10.0.0.1", "*.co.uk", "https://x.example.com", "*.salesforce.com"]);
        d["actions"][0]["body_schema"] = json!([{ "name": "a" }, { "name": "a" }]);
        d["enabled"] = json!("yes");
    });
    let codes: Vec<&str> = found.iter().map(|(_, code)| *code).collect();
    for code in [
        "unknown_field",
        "allowed_domain_any",
        "allowed_domain_ip",
        "allowed_domain_public_suffix",
        "allowed_domain_scheme",
        "duplicate_input",
        "wrong_type",
    ] {
        assert!(codes.contains(&code), "{code} in {found:?}");
    }
}

#[test]
fn headers_that_belong_to_the_host_or_the_credential_are_refused() {
    let with = |headers: Value| changed(|d| d["actions"][0]["headers"] = headers);
    assert_eq!(with(json!({ "X-Version": "1" })), []);
    for name in ["Host", "content_length", "Authorization", "X-Forwarded-For", "a b"] {
        assert_eq!(with(json!({ name: "1" })).first().map(|p| p.1), Some("header_forbidden"), "{name}");
    }
}

#[test]
fn where_the_credential_goes_is_checked() {
    let with = |auth_type: &str, auth: Value| {
        changed(|d| {
            d["auth_type"] = json!(auth_type);
            d["auth"] = auth;
        })
    };
    assert_eq!(with("api_key", json!({ "name": "X-Api-Key" })), []);
    assert_eq!(with("api_key", json!({ "in": "query", "name": "key" })), []);
    assert_eq!(with("basic", json!({ "username": "{{cred.api_key}}", "password": "" })), []);
    assert_eq!(with("api_key", json!({ "name": "Host" }))[0].1, "header_forbidden");
    assert_eq!(with("api_key", json!({ "in": "query" }))[0].1, "auth_incomplete");
    assert_eq!(with("api_key", json!({ "value": "{{cred.nope}}" }))[0].1, "template_unknown_variable");
    assert_eq!(with("basic", json!({ "username": "u" }))[0].1, "auth_incomplete");
    assert_eq!(with("none", json!({ "name": "X" }))[0].1, "auth_unused");
    assert_eq!(with("oauth1", json!({}))[0], ("/auth_type".to_owned(), "not_in_list"));
    let found = changed(|d| d["auth_schema"]["fields"] = json!([]));
    assert_eq!(found[0].1, "auth_incomplete");
}

#[test]
fn a_mistake_inside_auth_points_at_its_member() {
    let found = changed(|d| d["auth"] = json!({ "in": "cookie", "nme": "X" }));
    let pointers: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert!(pointers.contains(&"/auth/in") && pointers.contains(&"/auth/nme"), "{found:?}");
}

#[test]
fn field_types_have_aliases() {
    for kind in ["secret", "password", "string", "text"] {
        assert_eq!(changed(|d| d["auth_schema"]["fields"][0]["type"] = json!(kind)), [], "{kind}");
    }
    let found = changed(|d| d["auth_schema"]["fields"][0]["type"] = json!("pasword"));
    assert_eq!(found, [("/auth_schema/fields/0/type".to_owned(), "not_in_list")]);
}

#[test]
fn secrets_have_no_default_and_config_has_no_secret() {
    let found = changed(|d| d["auth_schema"]["fields"][0]["default"] = json!("k"));
    assert_eq!(found[0].1, "secret_default");
    let found = changed(|d| d["config_fields"] = json!([{ "name": "x", "secret": true }]));
    assert_eq!(found[0].1, "config_field_secret");
    let found = changed(|d| d["config_fields"] = json!([{ "name": "api_key" }]));
    assert_eq!(found[0].1, "duplicate_field");
}

#[test]
fn inputs_go_where_they_can() {
    let with = |method: &str, input: Value| {
        changed(|d| {
            d["actions"][0]["http_method"] = json!(method);
            d["actions"][0]["body_schema"] = json!([input]);
        })
    };
    assert_eq!(with("GET", json!({ "name": "q" })), []);
    assert_eq!(with("GET", json!({ "name": "q", "in": "body" }))[0].1, "method_without_body");
    assert_eq!(with("GET", json!({ "name": "q", "type": "array" }))[0].1, "input_type_not_placeable");
    assert_eq!(with("POST", json!({ "name": "q", "type": "array" })), []);
    assert_eq!(with("POST", json!({ "name": "q", "in": "path" }))[0].1, "input_not_in_path");
    assert_eq!(with("POST", json!({ "name": "Host", "in": "header" }))[0].1, "header_forbidden");
    assert_eq!(with("POST", json!({ "name": "n", "type": "integer", "default": "x" }))[0].1, "wrong_type");
}

#[test]
fn an_input_cannot_take_the_credentials_query_pair() {
    let with = |name: &str| {
        changed(|d| {
            d["auth"] = json!({ "in": "query", "name": "key" });
            d["actions"][0]["body_schema"] = json!([{ "name": name, "in": "query" }]);
        })
    };
    assert_eq!(with("keys"), []);
    assert_eq!(with("KEY")[0].1, "query_forbidden");
}

#[test]
fn ports_must_be_listed() {
    let with = |ports: Value| {
        changed(|d| {
            d["actions"][0]["url_template"] = json!("https://api.salesforce.com:8443/x");
            d["egress"] = json!({ "ports": ports });
        })
    };
    assert_eq!(with(json!([8443])), []);
    assert_eq!(with(json!([]))[0].1, "port_not_listed");
    let bad: Vec<String> = with(json!([0, 8443, 70_000])).into_iter().map(|(pointer, _)| pointer).collect();
    assert!(
        bad.contains(&"/egress/ports/0".to_owned()) && bad.contains(&"/egress/ports/2".to_owned()),
        "{bad:?}"
    );
}

#[test]
fn limits_are_named() {
    let domains: Vec<String> = (0..65).map(|i| format!("a{i}.salesforce.com")).collect();
    let found = changed(|d| d["allowed_domains"] = json!(domains));
    assert!(found.contains(&("/allowed_domains".to_owned(), "too_many")), "{found:?}");
}

/// An answer of a token endpoint cannot reach a guest where nothing can name a token endpoint.
#[test]
fn s11_no_definition_can_name_a_token_endpoint() {
    for auth_type in [
        "oauth2_client_credentials",
        "oauth2_authorization_code",
        "oauth2_refresh_token",
        "oauth2_jwt_bearer",
        "token_exchange",
        "jwt",
        "oauth1",
    ] {
        let found = changed(|d| d["auth_type"] = json!(auth_type));
        assert_eq!(found, [("/auth_type".to_owned(), "not_in_list")], "{auth_type}");
    }
    let found = changed(|d| d["auth"] = json!({ "token_url": "https://api.salesforce.com/token" }));
    assert_eq!(found, [("/auth/token_url".to_owned(), "unknown_field")]);
    assert_eq!(changed(|d| d["auth"] = json!({ "name": "X-Api-Key" })), [], "what is known is accepted");
}
