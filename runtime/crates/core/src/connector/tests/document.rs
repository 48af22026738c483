//! The document as a whole: unknown fields, counts, links, domains, ports.

use super::*;

#[test]
fn what_is_not_implemented_is_unknown_wherever_it_stands() {
    changes([
        (json!({ "x_note": 1 }), &[][..]),
        (json!({ "webhooks": {} }), &[("/webhooks", "unknown_field")]),
        (json!({ "signature": {} }), &[("/signature", "unknown_field")]),
        (json!({ "migrations": [] }), &[("/migrations", "unknown_field")]),
        (json!({ "locales": {} }), &[("/locales", "unknown_field")]),
        (json!({ "redaction": {} }), &[("/redaction", "unknown_field")]),
        (json!({ "limits": { "fuel": 1 } }), &[("/limits/fuel", "unknown_field")]),
        (json!({ "limits": { "memory_bytes": 1 } }), &[("/limits/memory_bytes", "unknown_field")]),
        (json!({ "limits": { "request_bytes": 1 } }), &[("/limits/request_bytes", "unknown_field")]),
        (json!({ "egress": { "allowed_methods": [] } }), &[("/egress/allowed_methods", "unknown_field")]),
        (json!({ "egress": { "redirects": { "to": 1 } } }), &[("/egress/redirects/to", "unknown_field")]),
        (json!({ "auth": { "assume_role": {} } }), &[("/auth/assume_role", "unknown_field")]),
        (
            json!({ "auth": { "custom": { "cookies": 1 } }, "auth_type": "custom" }),
            &[("/auth/custom/cookies", "unknown_field"), ("/auth/custom", "auth_incomplete")],
        ),
        (json!({ "retry": { "attempts": 1 } }), &[("/retry/attempts", "unknown_field")]),
    ]);
    actions([
        (json!({ "x_note": 1 }), &[][..]),
        (json!({ "capabilities": {} }), &[("/actions/0/capabilities", "unknown_field")]),
        (json!({ "response": { "stream": true } }), &[("/actions/0/response/stream", "unknown_field")]),
        (
            json!({ "body_schema": [{ "name": "a", "secret": true }] }),
            &[("/actions/0/body_schema/0/secret", "unknown_field")],
        ),
        (json!({ "limits": { "fuel": 1 } }), &[("/actions/0/limits/fuel", "unknown_field")]),
    ]);
}

#[test]
fn unknown_auth_types_are_reported_alone() {
    for auth_type in ["digest", "mtls", "module", "oauth2"] {
        changes([(
            json!({ "auth_type": auth_type, "auth": { "name": "X-Key" } }),
            &[("/auth_type", "not_in_list")][..],
        )]);
    }
}

#[test]
fn a_mistake_inside_a_scope_or_a_header_points_at_its_member() {
    let oauth = |change: Value| {
        let mut document = oauth::client_credentials();
        merge(&mut document, change);
        document
    };
    expect([
        (oauth(json!({ "auth": { "scopes": ["a", { "name": "b", "description": "B" }] } })), &[][..]),
        (
            oauth(json!({ "auth": { "scopes": [{ "name": "b", "descr": "B" }] } })),
            &[("/auth/scopes/0/descr", "unknown_field")],
        ),
        (oauth(json!({ "auth": { "scopes": [{}] } })), &[("/auth/scopes/0/name", "missing_field")]),
        (oauth(json!({ "auth": { "scopes": [5] } })), &[("/auth/scopes/0", "wrong_type")]),
    ]);
}

#[test]
fn every_breach_is_reported_at_once() {
    let document = with(json!({
        "allowed_domain": [],
        "allowed_domains": ["*", "10.0.0.1", "*.co.uk", "https://x.example.com", "*.salesforce.com"],
        "enabled": "yes",
        "actions": [{
            "action_id": "a", "http_method": "GET", "url_template": "/x",
            "body_schema": [{ "name": "a" }, { "name": "a" }], "headers": { "Host": "x" },
        }],
    }));
    expect([(
        document,
        &[
            ("/allowed_domain", "unknown_field"),
            ("/allowed_domains/0", "allowed_domain_any"),
            ("/allowed_domains/1", "allowed_domain_ip"),
            ("/allowed_domains/2", "allowed_domain_public_suffix"),
            ("/allowed_domains/3", "allowed_domain_scheme"),
            ("/actions/0/url_template", "base_url_missing"),
            ("/actions/0/body_schema/1/name", "duplicate_input"),
            ("/actions/0/headers/Host", "header_forbidden"),
            ("/enabled", "wrong_type"),
        ][..],
    )]);
}

#[test]
fn what_is_said_once_for_all_actions_is_reported_once() {
    let action = |id: &str| {
        json!({ "action_id": id, "http_method": "GET",
        "url_template": "https://a.salesforce.com/" })
    };
    changes([(
        json!({
            "actions": [action("a"), action("b"), action("c")],
            "default_headers": { "Host": "x" }, "default_query": { "a": "{{cred.api_key}}" },
            "errors": [{ "when": {}, "class": "auth" }],
            "retry": { "body": { "path": "/x", "pattern": "(" } },
            "rate_limit": [{}],
        }),
        &[
            ("/default_headers/Host", "header_forbidden"),
            ("/default_query/a", "template_unknown_variable"),
            ("/errors/0/when", "rule_without_condition"),
            ("/retry/body/pattern", "pattern_invalid"),
            ("/rate_limit/0", "budget_incomplete"),
        ][..],
    )]);
}

#[test]
fn counts_are_limited() {
    let domains = |count: usize| json!({ "allowed_domains": vec!["*.salesforce.com"; count] });
    changes([(domains(64), &[][..]), (domains(65), &[("/allowed_domains", "too_many")])]);
    let fields = |count: usize| -> Value { (0..count).map(|i| json!({ "name": format!("f{i}") })).collect() };
    changes([
        (json!({ "config_fields": fields(63) }), &[][..]),
        (json!({ "config_fields": fields(64) }), &[("/auth_schema/fields", "too_many")]),
        (
            json!({ "auth_methods": [{ "id": "b", "auth_type": "bearer", "fields": fields(65) }] }),
            &[("/auth_methods/0/fields", "too_many")],
        ),
    ]);
    actions([
        (json!({ "body_schema": fields(200) }), &[][..]),
        (json!({ "body_schema": fields(201) }), &[("/actions/0/body_schema", "too_many")]),
    ]);
    let headers: Value =
        (0..65).map(|i| (format!("x-{i}"), json!("1"))).collect::<serde_json::Map<_, _>>().into();
    actions([(json!({ "headers": headers }), &[("/actions/0/headers", "too_many")][..])]);
}

#[test]
fn links_are_web_addresses_and_an_icon_is_data() {
    changes([
        (json!({ "docs_url": "https://a.example.com/x", "support_url": "https://a.example.com" }), &[][..]),
        (json!({ "docs_url": "javascript:alert(1)" }), &[("/docs_url", "wrong_form")]),
        (json!({ "support_url": "http://a.example.com" }), &[("/support_url", "wrong_form")]),
        (
            json!({ "config_fields": [{ "name": "a", "help_url": "data:x" }] }),
            &[("/config_fields/0/help_url", "wrong_form")],
        ),
        (json!({ "icon": "data:image/png;base64,AAAA" }), &[]),
        (json!({ "icon": "https://a.example.com/i.png" }), &[("/icon", "wrong_form")]),
        (json!({ "icon": "data:text/html;base64,AAAA" }), &[("/icon", "wrong_form")]),
    ]);
    actions([(json!({ "docs_url": "//a.example.com" }), &[("/actions/0/docs_url", "wrong_form")][..])]);
}

#[test]
fn ports_must_be_listed() {
    let with = |ports: Value| {
        let mut document = with_action(json!({ "url_template": "https://api.salesforce.com:8443/x" }));
        document["egress"] = json!({ "ports": ports });
        document
    };
    expect([
        (with(json!([8443])), &[][..]),
        (with(json!([])), &[("/actions/0/url_template", "port_not_listed")]),
        (
            with(json!([0, 8443, 70_000])),
            &[
                ("/actions/0/url_template", "port_not_listed"),
                ("/egress/ports/0", "out_of_range"),
                ("/egress/ports/2", "out_of_range"),
            ],
        ),
    ]);
}

#[test]
fn metadata_is_kept() {
    let connector = connector(&with(json!({
        "version": "1.2.0", "status": "beta", "deprecated": { "since": "2026", "replaced_by": "other" },
        "description": "CRM", "categories": ["crm"], "tags": ["a"], "schema_version": 1, "enabled": false,
    })));
    assert_eq!(connector.version.as_deref(), Some("1.2.0"));
    assert_eq!(connector.status, StatusDef::Beta);
    assert!(connector.deprecated && !connector.enabled);
    changes([(json!({ "schema_version": 2 }), &[("/schema_version", "out_of_range")][..])]);
}

#[test]
fn f10_a_definition_over_the_upload_limit_is_an_error_of_every_check() {
    let limits = Limits { definition_bytes: 4000, ..Limits::default() };
    let mut document = salesforce();
    let own = document.to_string().len();
    document["x_note"] = json!("");
    let frame = document.to_string().len() - own;
    for (bytes, expected) in [(4000, &[][..]), (4001, &[("", "too_large")])] {
        document["x_note"] = json!("x".repeat(bytes - own - frame));
        assert_eq!(document.to_string().len(), bytes);
        let pretty = serde_json::to_vec_pretty(&document).unwrap();
        for checked in [Connector::parse(&document, &limits), Connector::parse_bytes(&pretty, &limits)] {
            let found: Vec<_> = checked.errors.iter().map(|e| (e.pointer.as_str(), e.code)).collect();
            assert_eq!(found, expected, "{bytes}");
        }
        assert_eq!(Connector::too_large(&document, &limits).is_some(), bytes > 4000);
    }
}

#[test]
fn f10_a_text_over_the_limit_of_a_request_is_an_error_of_lint_too() {
    let pretty = serde_json::to_vec_pretty(&salesforce()).unwrap();
    let bytes = pretty.len() as u64;
    for (limit, expected) in [(bytes, &[][..]), (bytes - 1, &[("", "too_large")])] {
        let limits = Limits { api_body_bytes: limit, ..Limits::default() };
        let checked = Connector::parse_bytes(&pretty, &limits);
        let found: Vec<_> = checked.errors.iter().map(|e| (e.pointer.as_str(), e.code)).collect();
        assert_eq!(found, expected);
        assert!(Connector::parse_bytes(salesforce().to_string().as_bytes(), &limits).errors.is_empty());
    }
}
