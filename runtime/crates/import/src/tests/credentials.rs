//! Security schemes, rule by rule.

use super::*;

fn with(schemes: &Value, security: &Value, operation: &Value) -> (Value, Vec<&'static str>) {
    let mut document = document(&json!({ "/a": { "get": operation } }));
    document["components"] = json!({ "securitySchemes": schemes });
    document["security"] = security.clone();
    let imported = run(&document);
    check_pointers(&document, &imported);
    (imported.definition.clone(), codes(&imported))
}

fn auth(scheme: Value) -> (Value, Value, Vec<String>, Vec<&'static str>) {
    let (definition, codes) = with(&json!({ "s": scheme }), &json!([{ "s": [] }]), &json!({}));
    let fields = definition["auth_schema"]["fields"].as_array().unwrap();
    assert!(fields.iter().all(|f| f["type"] == "password" && f["required"] == true));
    let names = fields.iter().map(|f| f["name"].as_str().unwrap().to_owned()).collect();
    (definition["auth_type"].clone(), definition["auth"].clone(), names, codes)
}

#[test]
fn schemes_become_auth_types() {
    for (scheme, auth_type, expected, fields) in [
        (json!({ "type": "http", "scheme": "Bearer" }), "bearer", Value::Null, &["token"][..]),
        (
            json!({ "type": "http", "scheme": "basic" }),
            "basic",
            json!({ "username": "{{cred.username}}", "password": "{{cred.password}}" }),
            &["username", "password"],
        ),
        (
            json!({ "type": "apiKey", "in": "header", "name": "X-Key" }),
            "api_key",
            json!({ "in": "header", "name": "X-Key", "prefix": "" }),
            &["api_key"],
        ),
        (
            json!({ "type": "apiKey", "in": "query", "name": "key" }),
            "api_key",
            json!({ "in": "query", "name": "key", "prefix": "" }),
            &["api_key"],
        ),
        (
            json!({ "type": "apiKey", "in": "cookie", "name": "sid" }),
            "api_key",
            json!({ "in": "cookie", "name": "sid", "prefix": "" }),
            &["api_key"],
        ),
    ] {
        let fields: Vec<String> = fields.iter().map(|f| (*f).to_owned()).collect();
        assert_eq!(auth(scheme.clone()), (json!(auth_type), expected, fields, vec![]), "{scheme}");
    }
}

#[test]
fn what_is_no_credential_of_ours_is_told() {
    for scheme in [
        json!({ "type": "http", "scheme": "digest" }),
        json!({ "type": "mutualTLS" }),
        json!({ "type": "apiKey", "in": "header", "name": "Cookie" }),
        json!({ "type": "apiKey", "in": "header", "name": "a b" }),
        json!({ "type": "apiKey", "in": "body", "name": "k" }),
    ] {
        let (auth_type, _, _, codes) = auth(scheme.clone());
        assert_eq!(
            (auth_type, codes),
            (json!("none"), vec!["security_scheme_not_carried", "no_security"]),
            "{scheme}"
        );
    }
}

#[test]
fn oauth_flows_bring_their_token_host_and_the_scopes_that_are_asked_for() {
    let flow = json!({
        "tokenUrl": "https://auth.example.com/token", "authorizationUrl": "https://auth.example.com/go",
        "scopes": { "read": "", "write": "", "admin": "" },
    });
    let flows = json!({ "clientCredentials": flow, "authorizationCode": flow });
    let machine = json!({ "s": { "type": "oauth2", "flows": flows } });
    let (definition, _) = with(&machine, &json!([{ "s": ["read"] }]), &json!({}));
    assert_eq!(definition["auth_type"], "oauth2_client_credentials");
    let expected = json!({ "token_url": "https://auth.example.com/token", "scopes": ["read"] });
    assert_eq!(definition["auth"], expected);
    assert_eq!(definition["allowed_domains"], json!(["api.example.com", "auth.example.com"]));
    let person = json!({ "s": { "type": "oauth2", "flows": { "authorizationCode": flow } } });
    let (definition, _) = with(&person, &json!([]), &json!({ "security": [{ "s": ["write", "other"] }] }));
    assert_eq!(definition["auth_type"], "oauth2_authorization_code");
    assert_eq!(
        definition["auth"],
        json!({
            "authorize_url": "https://auth.example.com/go", "pkce": "S256",
            "token_url": "https://auth.example.com/token", "scopes": ["write"],
        })
    );
    let (definition, _) = with(&person, &json!([{ "s": [] }]), &json!({}));
    assert_eq!(definition["auth"]["scopes"], json!(["read", "write", "admin"]));
}

#[test]
fn the_first_usable_requirement_is_taken_then_the_most_used() {
    let schemes = json!({
        "digest": { "type": "http", "scheme": "digest" },
        "bearer": { "type": "http", "scheme": "bearer" },
        "basic": { "type": "http", "scheme": "basic" },
    });
    let both = json!([{ "bearer": [], "basic": [] }, { "digest": [] }, { "basic": [] }, { "bearer": [] }]);
    let (definition, codes) = with(&schemes, &both, &json!({}));
    assert_eq!(definition["auth_type"], "basic");
    assert_eq!(codes, ["security_scheme_not_carried", "security_scheme_not_carried"]);
    let mut document = document(&json!({
        "/a": { "get": { "security": [{ "basic": [] }] }, "put": { "security": [{ "bearer": [] }] } },
        "/b": { "get": { "security": [{ "bearer": [] }] }, "put": { "security": [{}] } },
    }));
    document["components"] = json!({ "securitySchemes": schemes });
    let imported = run(&document);
    assert_eq!(imported.definition["auth_type"], "bearer");
    assert_eq!(codes_of(&imported, "operation_security"), ["/paths/~1a/get/security"]);
}

fn codes_of(imported: &Imported, code: &str) -> Vec<String> {
    imported.report.items.iter().filter(|i| i.code == code).map(|i| i.pointer.clone()).collect()
}

#[test]
fn where_a_credential_goes_is_no_input() {
    let schemes = json!({
        "h": { "type": "apiKey", "in": "header", "name": "X-Key" },
        "q": { "type": "apiKey", "in": "query", "name": "key" },
    });
    let parameters = json!([
        { "name": "x_key", "in": "header", "schema": {} },
        { "name": "KEY", "in": "query", "schema": {} },
        { "name": "keys", "in": "query", "schema": { "type": "string" } },
    ]);
    let (definition, codes) = with(&schemes, &json!([{ "h": [] }]), &json!({ "parameters": parameters }));
    assert_eq!(definition["actions"][0]["body_schema"].as_array().unwrap().len(), 1);
    assert_eq!(codes, ["security_scheme_not_carried", "credential_parameter", "credential_parameter"]);
}

#[test]
fn swagger_definitions_are_known() {
    for (scheme, expected) in [
        (json!({ "type": "basic" }), "basic"),
        (json!({ "type": "apiKey", "in": "header", "name": "Authorization" }), "api_key"),
        (
            json!({ "type": "oauth2", "flow": "application", "tokenUrl": "https://auth.example.com/t" }),
            "oauth2_client_credentials",
        ),
        (
            json!({ "type": "oauth2", "flow": "accessCode", "tokenUrl": "https://auth.example.com/t",
                "authorizationUrl": "https://auth.example.com/a", "scopes": {} }),
            "oauth2_authorization_code",
        ),
        (json!({ "type": "oauth2", "flow": "password", "tokenUrl": "https://auth.example.com/t" }), "bearer"),
    ] {
        let mut document = swagger(&json!({ "/a": { "get": {} } }));
        document["securityDefinitions"] = json!({ "s": scheme });
        document["security"] = json!([{ "s": [] }]);
        assert_eq!(run(&document).definition["auth_type"], expected, "{scheme}");
    }
}

#[test]
fn scopes_beyond_the_limit_are_cut() {
    let scopes: serde_json::Map<String, Value> = (0..101).map(|i| (format!("s{i}"), json!(""))).collect();
    let flow = json!({ "tokenUrl": "https://auth.example.com/t", "scopes": scopes });
    let (_, _, _, codes) = auth(json!({ "type": "oauth2", "flows": { "clientCredentials": flow } }));
    assert_eq!(codes, ["scopes_cut"]);
}
