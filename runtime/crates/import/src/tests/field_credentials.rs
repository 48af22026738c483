//! Credentials of real descriptions: scopes, several at once, differing ones, token URLs.

use super::*;

fn with(schemes: Value, security: Value, paths: Value) -> Imported {
    let mut document = document(&paths);
    document["components"] = json!({ "securitySchemes": schemes });
    if !security.is_null() {
        document["security"] = security;
    }
    let imported = run(&document);
    check_pointers(&document, &imported);
    imported
}

fn get() -> Value {
    json!({ "/a": { "get": {} } })
}

fn names(imported: &Imported) -> Vec<String> {
    let fields = imported.definition["auth_schema"]["fields"].as_array().unwrap();
    fields.iter().map(|field| field["name"].as_str().unwrap().to_owned()).collect()
}

fn count(imported: &Imported, code: &str) -> usize {
    imported.report.items.iter().filter(|item| item.code == code).count()
}

fn oauth(flow: &str, more: Value) -> Value {
    let mut urls = json!({ "tokenUrl": "https://auth.example.com/t", "scopes": {} });
    urls.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    json!({ "type": "oauth2", "flows": { flow: urls } })
}

#[test]
fn f5_scopes_are_single_words() {
    let scopes =
        json!({ "a b c": "", "b": "", "d\"": "", "e\tf": "", "": "", "{g}": "", "h".repeat(201): "" });
    let scheme = oauth("clientCredentials", json!({ "scopes": scopes }));
    let imported = with(json!({ "s": scheme }), json!([{ "s": [] }]), get());
    assert_eq!(imported.definition["auth"]["scopes"], json!(["a", "b", "c", "e", "f"]));
    assert_eq!((count(&imported, "scope_split"), count(&imported, "scope_not_carried")), (2, 3));
    let asked = json!([{ "s": ["a b c"] }]);
    let imported =
        with(json!({ "s": oauth("clientCredentials", json!({ "scopes": { "a b c": "" } })) }), asked, get());
    assert_eq!(imported.definition["auth"]["scopes"], json!(["a", "b", "c"]));
}

#[test]
fn f6_credentials_that_go_together_are_one() {
    let key = |place: &str, name: &str| json!({ "type": "apiKey", "in": place, "name": name });
    let bearer = json!({ "type": "http", "scheme": "bearer" });
    let both = json!([{ "a": [], "b": [] }]);
    let imported = with(
        json!({ "a": key("header", "DD-API-KEY"), "b": key("header", "DD-APP-KEY") }),
        both.clone(),
        get(),
    );
    assert_eq!(imported.definition["auth_type"], "custom");
    let headers = json!({ "DD-API-KEY": "{{cred.dd_api_key}}", "DD-APP-KEY": "{{cred.dd_app_key}}" });
    assert_eq!(imported.definition["auth"], json!({ "custom": { "headers": headers } }));
    assert_eq!(
        (names(&imported), codes(&imported)),
        (vec!["dd_api_key".into(), "dd_app_key".into()], vec![])
    );
    let imported = with(json!({ "a": key("query", "key"), "b": bearer }), both.clone(), get());
    let custom = json!({ "query": { "key": "{{cred.api_key}}" }, "headers": { "Authorization": "Bearer {{cred.token}}" } });
    assert_eq!(
        (&imported.definition["auth_type"], &imported.definition["auth"]["custom"]),
        (&json!("custom"), &custom)
    );
    for (other, auth_type) in [
        (json!({ "type": "http", "scheme": "basic" }), "basic"),
        (oauth("clientCredentials", json!({})), "oauth2_client_credentials"),
    ] {
        let imported = with(json!({ "a": key("header", "X-Key"), "b": other }), both.clone(), get());
        let place = json!([{ "in": "header", "name": "X-Key", "value": "{{cred.api_key}}" }]);
        assert_eq!(imported.definition["auth_type"], auth_type);
        assert_eq!(imported.definition["auth"]["places"], place, "{auth_type}");
        assert!(names(&imported).contains(&"api_key".to_owned()));
    }
    let imported = with(json!({ "a": key("cookie", "sid"), "b": key("header", "X-Csrf") }), both, get());
    let auth = &imported.definition["auth"];
    assert_eq!((&auth["in"], &auth["places"][0]["name"]), (&json!("cookie"), &json!("X-Csrf")));
}

#[test]
fn f6_what_cannot_go_together_gives_way_to_what_can() {
    let schemes = json!({
        "a": { "type": "http", "scheme": "bearer" }, "b": { "type": "http", "scheme": "basic" },
        "c": { "type": "apiKey", "in": "query", "name": "key" }, "d": { "type": "http", "scheme": "digest" },
    });
    for (security, auth_type) in [
        (json!([{ "a": [], "b": [] }, { "c": [] }]), "api_key"),
        (json!([{ "a": [], "d": [] }, { "c": [] }]), "api_key"),
        (json!([{ "a": [], "b": [] }]), "bearer"),
        (json!([{}, { "c": [] }]), "api_key"),
    ] {
        let imported = with(schemes.clone(), security.clone(), get());
        assert_eq!(imported.definition["auth_type"], auth_type, "{security}");
    }
    let imported = with(schemes, json!([{ "a": [], "b": [] }]), get());
    assert_eq!(count(&imported, "security_combination"), 1);
}

#[test]
fn f6_operations_with_another_credential_are_told_inherited_or_not() {
    let schemes = json!({
        "key": { "type": "apiKey", "in": "header", "name": "X-Key" },
        "digest": { "type": "http", "scheme": "digest" },
        "both": { "type": "apiKey", "in": "query", "name": "k" },
    });
    let paths = json!({
        "/own": { "get": { "security": [{ "key": [] }] }, "put": { "security": [{ "key": [] }] } },
        "/inherits": { "get": {} },
        "/more": { "get": { "security": [{ "key": [], "both": [] }] } },
        "/any": { "get": { "security": [{ "both": [] }, { "key": [] }] } },
        "/open": { "get": { "security": [] }, "put": { "security": [{}] } },
    });
    let imported = with(schemes, json!([{ "digest": [] }]), paths);
    assert_eq!(imported.definition["auth_type"], "api_key");
    let told: Vec<&str> = imported
        .report
        .items
        .iter()
        .filter(|i| i.code == "operation_security")
        .map(|i| i.message.as_str())
        .collect();
    assert_eq!(told, ["2 times, first here: it asks for a credential that the draft does not have"]);
    let open = imported.report.items.iter().find(|item| item.code == "operation_without_security").unwrap();
    assert!(open.message.starts_with("2 times"), "{open:?}");
}

#[test]
fn f6_a_key_that_operations_require_as_a_parameter_is_the_credential() {
    let schemes = json!({ "a": { "type": "apiKey", "in": "query", "name": "key" },
        "b": { "type": "apiKey", "in": "query", "name": "token" } });
    let parameter = |name: &str| json!({ "name": name, "in": "query", "required": true, "schema": {} });
    let paths = json!({ "/a": { "get": { "parameters": [parameter("key"), parameter("token")] } } });
    let imported = with(schemes, json!([{ "a": [] }, { "b": [] }]), paths);
    assert_eq!(imported.definition["auth_type"], "custom");
    assert_eq!(imported.definition["actions"][0]["body_schema"], json!([]));
    let header = json!([{ "name": "Authorization", "in": "header", "required": true,
        "description": "Token …", "schema": {} }]);
    let imported = run(&document(&json!({ "/a": { "get": { "parameters": header } } })));
    assert_eq!(imported.definition["auth"], json!({ "in": "header", "name": "Authorization", "prefix": "" }));
    assert_eq!(imported.definition["auth_schema"]["fields"][0]["help"], "Token …");
}

#[test]
fn f7_token_urls_are_resolved_against_the_server() {
    let server = "https://api.example.com/v1";
    for (written, expected) in [
        ("/v1/oauth2/token", "https://api.example.com/v1/oauth2/token"),
        ("oauth2/token", "https://api.example.com/oauth2/token"),
        ("./oauth2/token", "https://api.example.com/oauth2/token"),
        ("//auth.example.com/t", "https://auth.example.com/t"),
        ("http://auth.example.com/t", "https://auth.example.com/t"),
        ("https://auth.example.com/t", "https://auth.example.com/t"),
    ] {
        let scheme = oauth("authorizationCode", json!({ "tokenUrl": written, "authorizationUrl": "/go" }));
        let imported = with(json!({ "s": scheme }), json!([{ "s": [] }]), get());
        let auth = &imported.definition["auth"];
        assert_eq!(
            (&auth["token_url"], &auth["authorize_url"]),
            (&json!(expected), &json!("https://api.example.com/go")),
            "{server}"
        );
        assert!(count(&imported, "oauth_url_resolved") > 0);
    }
    let mut document = document(&get());
    document["servers"] = json!([{ "url": "https://{shop}.example.com" }]);
    document["components"] =
        json!({ "securitySchemes": { "s": oauth("clientCredentials", json!({ "tokenUrl": "/t" })) } });
    document["security"] = json!([{ "s": [] }]);
    assert_eq!(run(&document).definition["auth"]["token_url"], "https://{{config.shop}}.example.com/t");
}

#[test]
fn f7_a_token_whose_way_cannot_be_carried_is_a_field() {
    for scheme in [
        json!({ "type": "oauth2", "flows": { "implicit": { "authorizationUrl": "https://a.example.com/go" } } }),
        oauth("password", json!({})),
        oauth("clientCredentials", json!({ "tokenUrl": "https://10.0.0.1/t" })),
        oauth("clientCredentials", json!({ "tokenUrl": "" })),
        oauth("clientCredentials", json!({ "tokenUrl": "/../t" })),
        json!({ "type": "openIdConnect", "openIdConnectUrl": "https://a.example.com" }),
    ] {
        let imported = with(json!({ "s": scheme }), json!([{ "s": [] }]), get());
        assert_eq!(imported.definition["auth_type"], "bearer", "{scheme}");
        assert_eq!((names(&imported), codes(&imported)), (vec!["token".to_owned()], vec!["oauth_as_bearer"]));
    }
    let mut old = swagger(&get());
    old["securityDefinitions"] = json!({ "s": { "type": "oauth2", "flow": "implicit",
        "authorizationUrl": "https://a.example.com/go", "scopes": {} } });
    old["security"] = json!([{ "s": [] }]);
    assert_eq!(run(&old).definition["auth_type"], "bearer");
    let schemes = json!({ "s": { "type": "oauth2", "flows": { "implicit": {} } },
        "k": { "type": "apiKey", "in": "header", "name": "X-Key" } });
    let imported = with(schemes, json!([{ "s": [] }, { "k": [] }]), get());
    assert_eq!(imported.definition["auth_type"], "api_key", "what can be carried whole comes first");
}

#[test]
fn f7_what_a_scheme_says_is_the_help_of_its_field() {
    for scheme in [
        json!({ "type": "apiKey", "in": "header", "name": "X-Key", "description": "From the settings." }),
        json!({ "type": "http", "scheme": "bearer", "description": "From the settings." }),
        json!({ "type": "http", "scheme": "basic", "description": "From the settings." }),
        json!({ "type": "oauth2", "flows": { "implicit": {} }, "description": "From the settings." }),
    ] {
        let imported = with(json!({ "s": scheme }), json!([{ "s": [] }]), get());
        let fields = &imported.definition["auth_schema"]["fields"];
        assert_eq!(fields[0]["help"], "From the settings.", "{scheme}");
    }
    let long = json!({ "type": "http", "scheme": "bearer", "description": "x".repeat(5000) });
    with(json!({ "s": long }), json!([{ "s": [] }]), get());
}
