//! The draft as a whole: head, bases, names, selection.

use super::*;

#[test]
fn a_draft_is_a_definition_without_errors() {
    let document = document(&json!({ "/items/{id}": {
        "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } }],
        "get": { "operationId": "items/get", "summary": "Get an item", "description": "More.",
            "externalDocs": { "url": "https://docs.example.com/items" },
            "parameters": [{ "name": "limit", "in": "query",
                "schema": { "type": "integer", "default": 30 } }] },
    } }));
    let imported = run(&document);
    assert_eq!(
        imported.definition,
        json!({
            "schema_version": 1,
            "connector_id": "example-api",
            "display_name": "Example API",
            "status": "draft",
            "auth_type": "none",
            "auth_schema": { "fields": [] },
            "allowed_domains": ["api.example.com"],
            "actions": [{
                "action_id": "items-get",
                "name": "Get an item",
                "description": "More.",
                "docs_url": "https://docs.example.com/items",
                "http_method": "GET",
                "url_template": "https://api.example.com/v1/items/{{input.id}}",
                "body_schema": [
                    { "name": "id", "label": "id", "type": "string", "required": true },
                    { "name": "limit", "label": "limit", "type": "integer", "in": "query", "help": "Default: 30" },
                ],
            }],
        })
    );
    assert_eq!(imported.report.carried, 3);
}

#[test]
fn server_variables_become_config_fields() {
    let mut document = document(&json!({ "/a": { "get": {} } }));
    document["servers"] = json!([{ "url": "https://{region}.example.com/{token}", "variables": {
        "region": { "default": "us", "enum": ["us", "eu"], "description": "Where" },
        "token": { "default": "v2" },
    } }]);
    let imported = run(&document);
    assert_eq!(
        imported.definition["config_fields"],
        json!([
            { "name": "region", "label": "region", "type": "select", "required": true, "default": "us",
              "enum": [{ "value": "us" }, { "value": "eu" }], "help": "Where" },
            { "name": "server_token", "label": "token", "type": "text", "required": true, "default": "v2" },
        ])
    );
    assert_eq!(imported.definition["allowed_domains"], json!(["*.example.com"]));
    let url = "https://{{config.region}}.example.com/{{config.server_token}}/a";
    assert_eq!(imported.definition["actions"][0]["url_template"], url);
}

#[test]
fn the_callers_base_url_wins_and_takes_a_relative_path() {
    let with = |server: Value, base_url: &str| {
        let mut document = document(&json!({ "/a": { "get": {} } }));
        document["servers"] = server;
        let options = ImportOptions { base_url: Some(base_url.to_owned()), ..ImportOptions::default() };
        import(&document, &options).map(|imported| {
            check_draft(&imported);
            imported.definition["actions"][0]["url_template"].clone()
        })
    };
    for (server, base_url, expected) in [
        (json!([{ "url": "/api/v3" }]), "https://x.example.com", "https://x.example.com/api/v3/a"),
        (json!([{ "url": "/api/v3" }]), "https://x.example.com/v9", "https://x.example.com/v9/a"),
        (json!([]), "https://x.example.com/", "https://x.example.com/a"),
        (json!([{ "url": "https://10.0.0.1" }]), "https://x.example.com", "https://x.example.com/a"),
        (json!([]), "https://{site}.example.com", "https://{{config.site}}.example.com/a"),
    ] {
        assert_eq!(with(server.clone(), base_url), Ok(json!(expected)), "{server} {base_url}");
    }
    assert!(matches!(with(json!([]), "x.example.com"), Err(ImportError::BaseUrl(_))));
}

#[test]
fn without_a_usable_server_the_caller_is_told_what_to_pass() {
    for server in ["/api", "https://localhost:8080", "https://10.0.0.1/v1", "https://{shop}.co.uk"] {
        let mut document = document(&json!({ "/a": { "get": {} } }));
        document["servers"] = json!([{ "url": server }]);
        let error = refused(&document);
        assert!(matches!(&error, ImportError::BaseUrl(_)), "{server}");
        assert!(error.to_string().contains("pass base_url"), "{error}");
    }
    let mut document = document(&json!({ "/a": { "get": {} } }));
    document["servers"] = json!([{ "url": "http://localhost" }, { "url": "https://api.example.com" }]);
    let imported = run(&document);
    assert_eq!(codes(&imported), ["server_not_usable", "several_servers"]);
    check_pointers(&document, &imported);
}

#[test]
fn swagger_hosts_are_bases() {
    let document = swagger(&json!({ "/a/": { "get": {} } }));
    assert_eq!(action(&document).0["url_template"], "https://api.example.com/v1/a/");
    let mut plain = document.clone();
    plain["schemes"] = json!(["http"]);
    let (action, codes) = action(&plain);
    assert_eq!(action["url_template"], "https://api.example.com/v1/a/");
    assert_eq!(codes, ["server_not_https"]);
    let mut port = document;
    port["host"] = json!("api.example.com:8443");
    let imported = run(&port);
    assert_eq!(imported.definition["egress"], json!({ "ports": [8443] }));
    assert_eq!(imported.definition["actions"][0]["url_template"], "https://api.example.com:8443/v1/a/");
    assert_eq!(super::codes(&imported), ["port_not_443"]);
}

#[test]
fn an_operation_may_have_a_host_of_its_own() {
    let document = document(&json!({
        "/a": { "get": {} },
        "/up": { "post": { "servers": [{ "url": "https://uploads.example.com" }] } },
        "/bad": { "get": { "servers": [{ "url": "http://127.0.0.1" }] } },
    }));
    let imported = run(&document);
    assert_eq!(imported.definition["allowed_domains"], json!(["api.example.com", "uploads.example.com"]));
    assert_eq!(imported.definition["actions"][1]["url_template"], "https://uploads.example.com/up");
    assert_eq!(codes(&imported), ["operation_server", "server_not_usable"]);
    assert_eq!(imported.report.operations.left_out, 1);
}

#[test]
fn operations_have_one_name_each() {
    let document = document(&json!({
        "/a": { "get": { "operationId": "get a" }, "post": { "operationId": "get/a" }, "put": {} },
        "/b": { "get": { "operationId": "plain", "deprecated": true, "summary": "x".repeat(130) } },
    }));
    let imported = run(&document);
    let ids: Vec<&str> = imported.definition["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["action_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["get-a", "put-a", "get-a-2", "plain"]);
    let last = &imported.definition["actions"][3];
    assert_eq!(last["name"].as_str().unwrap().len(), 120);
    assert!(last["deprecated"]["reason"].is_string());
    let codes: Vec<_> = imported.report.items.iter().map(|i| i.code).collect();
    assert_eq!(
        codes,
        ["action_id_renamed", "action_id_changed", "action_id_made", "text_cut", "never_carried"]
    );
}

#[test]
fn what_cannot_be_asked_for_is_left_out() {
    for path in ["a", "/a#b", "/a/../b", "/{a", "/{}"] {
        let paths = json!({ path: { "get": {} }, "/good": { "get": {}, "trace": {} } });
        let imported = run(&document(&paths));
        assert_eq!(codes(&imported), ["path_not_usable", "method_not_supported"], "{path}");
        let operations = imported.report.operations;
        assert_eq!((operations.total, operations.carried, operations.left_out), (3, 1, 2));
    }
    let alone = refused(&document(&json!({ "/a#b": { "get": {} } })));
    assert!(matches!(alone, ImportError::NoOperation { total: 1, .. }), "{alone}");
    assert!(matches!(refused(&document(&json!({}))), ImportError::NoOperation { total: 0, .. }));
}

#[test]
fn only_what_is_asked_for_is_carried() {
    let document = document(&json!({ "/a": { "get": {}, "post": {} }, "/b": { "get": {} } }));
    let with = |only: &[&str], actions_max: usize| {
        let only = only.iter().map(|s| (*s).to_owned()).collect();
        import(&document, &ImportOptions { only, actions_max, ..ImportOptions::default() })
    };
    let imported = with(&["GET *"], 9).unwrap();
    let operations = imported.report.operations;
    assert_eq!((operations.carried, operations.left_out, operations.not_selected), (2, 0, 1));
    assert!(matches!(with(&["DELETE *"], 9), Err(ImportError::NoOperation { total: 3, .. })));
    let cut = with(&[], 1).unwrap();
    assert_eq!((cut.report.operations.carried, cut.report.operations.left_out), (1, 2));
    assert_eq!(codes(&cut), ["actions_cut"]);
}

#[test]
fn the_callers_id_is_checked() {
    let document = document(&json!({ "/a": { "get": {} } }));
    let with = |id: &str| {
        let options = ImportOptions { connector_id: Some(id.to_owned()), ..ImportOptions::default() };
        import(&document, &options).map(|i| i.definition["connector_id"].clone())
    };
    assert_eq!(with("my_api"), Ok(json!("my_api")));
    assert_eq!(with("My API"), Err(ImportError::ConnectorId("My API".to_owned())));
}

#[test]
fn what_goes_the_other_way_is_told() {
    let mut document = document(&json!({ "/a": { "get": {
        "callbacks": { "done": {} },
        "responses": { "200": { "description": "", "links": { "next": {} } } },
    } } }));
    document["webhooks"] = json!({ "push": {} });
    let imported = run(&document);
    assert_eq!(codes(&imported), ["webhooks", "callbacks", "links"]);
    check_pointers(&document, &imported);
}
