//! What happens after a request left: success, errors, retries, lists, budgets, limits, keys.

use portcullis_action::plan::{ErrorAction, PageParam, PaginationKind};

use super::*;

#[test]
fn a_broken_predicate_is_pointed_at() {
    let good = json!({ "path": "/ok", "eq": true });
    let bad = json!({ "all": [{ "path": "/ok", "eq": true }, { "path": "ok", "eq": 1 }] });
    actions([
        (json!({ "success": { "predicate": good } }), &[][..]),
        (
            json!({ "success": { "predicate": bad } }),
            &[("/actions/0/success/predicate/all/1", "predicate_invalid")],
        ),
        (
            json!({ "errors": [{ "when": { "predicate": { "not": [{ "path": "/a" }] } },
                "class": "auth" }] }),
            &[("/actions/0/errors/0/when/predicate/not/0", "predicate_invalid")],
        ),
        (
            json!({ "errors": [{ "when": { "header": { "path": "/a", "matches": "(" } },
                "class": "auth" }] }),
            &[("/actions/0/errors/0/when/header", "predicate_invalid")],
        ),
        (json!({ "success": { "status": [200, 99] } }), &[("/actions/0/success/status/1", "out_of_range")]),
    ]);
}

#[test]
fn an_error_rule_has_a_condition_and_pointers() {
    actions([
        (
            json!({ "errors": [{ "when": { "status": [403] }, "class": "quota",
                "code_path": "/errors/*/code" }] }),
            &[][..],
        ),
        (
            json!({ "errors": [{ "when": {}, "class": "auth" }] }),
            &[("/actions/0/errors/0/when", "rule_without_condition")],
        ),
        (json!({ "errors": [{ "class": "auth" }] }), &[("/actions/0/errors/0/when", "missing_field")]),
        (
            json!({ "errors": [{ "when": { "status": [403] }, "class": "nope" }] }),
            &[("/actions/0/errors/0/class", "not_in_list")],
        ),
        (
            json!({ "errors": [{ "when": { "status": [4030] }, "class": "auth" }] }),
            &[("/actions/0/errors/0/when/status/0", "out_of_range")],
        ),
        (
            json!({ "errors": [{ "when": { "status": [403] }, "class": "auth",
                "message_path": "message" }] }),
            &[("/actions/0/errors/0/message_path", "pointer_invalid")],
        ),
    ]);
    let mut rules: Vec<Value> =
        (0..12).map(|i| json!({ "when": { "status": [400 + i] }, "class": "auth" })).collect();
    rules[1]["when"] = json!({});
    rules[10]["when"] = json!({});
    // Why twelve: a pointer of one rule is a prefix of another's.
    changes([(
        json!({ "errors": rules }),
        &[("/errors/1/when", "rule_without_condition"), ("/errors/10/when", "rule_without_condition")][..],
    )]);
}

#[test]
fn an_actions_rules_come_before_the_connectors() {
    let rule = |status: u16, class: &str| json!({ "when": { "status": [status] }, "class": class });
    let mut document = with_action(json!({ "errors": [rule(400, "validation"), rule(404, "ignored")] }));
    document["errors"] = json!([rule(429, "rate_limit"), rule(500, "transient"), rule(401, "auth")]);
    let plan = connector(&document).actions[0].plan.clone();
    let rules: Vec<_> = plan.errors.iter().map(|rule| (rule.status[0], rule.action)).collect();
    assert_eq!(
        rules,
        [
            (400, ErrorAction::Fail),
            (404, ErrorAction::Ignore),
            (429, ErrorAction::Retry),
            (500, ErrorAction::Retry),
            (401, ErrorAction::Fail),
        ]
    );
}

#[test]
fn retry_rules_are_read_as_they_will_be() {
    let body = |body: Value| json!({ "retry": { "body": body } });
    actions([
        (body(json!({ "path": "/error/message", "pattern": "after (\\S+)", "kind": "seconds" })), &[][..]),
        (
            body(json!({ "path": "/a", "pattern": "(" })),
            &[("/actions/0/retry/body/pattern", "pattern_invalid")],
        ),
        (
            body(json!({ "path": "/a", "pattern": "(a{1000}){1000}" })),
            &[("/actions/0/retry/body/pattern", "pattern_invalid")],
        ),
        (body(json!({ "path": "a" })), &[("/actions/0/retry/body/path", "pointer_invalid")]),
        (
            json!({ "retry": { "headers": [{ "name": "a b" }] } }),
            &[("/actions/0/retry/headers/0/name", "wrong_form")],
        ),
        (json!({ "retry": { "max_attempts": 0 } }), &[("/actions/0/retry/max_attempts", "out_of_range")]),
        (json!({ "retry": { "on_status": [200] } }), &[("/actions/0/retry/on_status/0", "out_of_range")]),
    ]);
    let mut document = with_action(
        json!({ "retry": { "max_attempts": 2, "headers": [{ "name": "X-Reset", "kind": "epoch_s",
            "when_remaining_zero": "X-Left" }] } }),
    );
    document["retry"] = json!({ "max_attempts": 9 });
    let retry = connector(&document).actions[0].retry.clone();
    assert_eq!((retry.max_attempts, retry.headers[0].name.as_str()), (2, "x-reset"));
    assert_eq!(retry.headers[0].when_remaining_zero.as_deref(), Some("x-left"));
}

#[test]
fn each_way_of_paging_has_what_it_needs_and_nothing_else() {
    let at = "/actions/0/pagination";
    let case = |pagination: Value, member: &str, code: &'static str| {
        (json!({ "pagination": pagination }), format!("{at}/{member}"), code)
    };
    for sound in [
        json!({ "type": "cursor", "items": "/data", "cursor_path": "/next", "param": "cursor" }),
        json!({ "type": "cursor", "items": "/data", "cursor_path": "/next", "param": "/page/after",
            "in": "body" }),
        json!({ "type": "last_id", "items": "/data", "param": "starting_after",
            "has_more_path": "/has_more" }),
        json!({ "type": "page", "items": "", "param": "page", "start": 0, "limit": 5 }),
        json!({ "type": "offset", "items": "", "param": "offset", "limit_param": "count", "limit": 5 }),
        json!({ "type": "link_header", "items": "", "limit_param": "per_page", "limit": 100 }),
        json!({ "type": "next_url", "items": "/records", "cursor_path": "/next" }),
        json!({ "type": "next_url", "items": "/records", "cursor_path": "/next", "paths": ["/a/*/b", "/c/**"],
            "missing_items": "empty", "end_status": [404], "end_when": { "path": "/done", "eq": true } }),
        json!({ "type": "link_header", "items": "", "link_results": "rows" }),
    ] {
        actions([(json!({ "pagination": sound }), &[][..])]);
    }
    for (change, pointer, code) in [
        case(json!({ "type": "cursor", "items": "", "param": "c" }), "cursor_path", "pagination_incomplete"),
        case(json!({ "type": "cursor", "items": "", "cursor_path": "/c" }), "param", "pagination_incomplete"),
        case(json!({ "type": "last_id", "items": "" }), "param", "pagination_incomplete"),
        case(json!({ "type": "page", "items": "" }), "param", "pagination_incomplete"),
        case(json!({ "type": "offset", "items": "" }), "param", "pagination_incomplete"),
        case(json!({ "type": "next_url", "items": "" }), "cursor_path", "pagination_incomplete"),
        case(
            json!({ "type": "page", "items": "", "param": "p", "limit_param": "l" }),
            "limit",
            "pagination_incomplete",
        ),
        case(
            json!({ "type": "page", "items": "", "param": "p", "cursor_path": "/c" }),
            "cursor_path",
            "pagination_unused",
        ),
        case(json!({ "type": "link_header", "items": "", "param": "p" }), "param", "pagination_unused"),
        case(json!({ "type": "link_header", "items": "", "limit": 5 }), "limit", "pagination_unused"),
        case(
            json!({ "type": "last_id", "items": "", "param": "p", "start": 1 }),
            "start",
            "pagination_unused",
        ),
        case(json!({ "type": "link_header", "items": "data" }), "items", "pointer_invalid"),
        case(
            json!({ "type": "link_header", "items": "", "paths": ["a"] }),
            "paths/0",
            "path_pattern_invalid",
        ),
        case(
            json!({ "type": "link_header", "items": "", "paths": ["/a?b"] }),
            "paths/0",
            "path_pattern_invalid",
        ),
        case(
            json!({ "type": "link_header", "items": "", "paths": ["/{{input.a}}"] }),
            "paths/0",
            "path_pattern_invalid",
        ),
        case(
            json!({ "type": "link_header", "items": "", "end_when": { "eq": 1 } }),
            "end_when",
            "predicate_invalid",
        ),
        case(
            json!({ "type": "page", "items": "", "param": "p", "paths": ["/a"] }),
            "paths",
            "pagination_unused",
        ),
        case(
            json!({ "type": "page", "items": "", "param": "p", "link_results": "r" }),
            "link_results",
            "pagination_unused",
        ),
        case(
            json!({ "type": "next_url", "items": "", "cursor_path": "next" }),
            "cursor_path",
            "pointer_invalid",
        ),
        case(
            json!({ "type": "link_header", "items": "", "has_more_path": "more" }),
            "has_more_path",
            "pointer_invalid",
        ),
        case(json!({ "type": "link_header", "items": "", "max_pages": 101 }), "max_pages", "out_of_range"),
        case(
            json!({ "type": "graphql_cursor", "items": "", "cursor_path": "/c", "param": "after" }),
            "type",
            "pagination_no_place",
        ),
    ] {
        actions([(change, &[(pointer.as_str(), code)][..])]);
    }
}

#[test]
fn d6_only_a_read_goes_on_page_by_page() {
    let list = |method: &str, effect: &str| {
        json!({ "http_method": method, "effect": effect, "body_schema": [],
                "pagination": { "type": "link_header", "items": "" } })
    };
    let refused = &[("/actions/0/pagination", "pagination_of_a_write")][..];
    actions([
        (list("POST", "write"), refused),
        (list("DELETE", "delete"), refused),
        (list("PUT", "write"), refused),
        (list("POST", "read"), &[]),
        (list("GET", "read"), &[]),
    ]);
}

#[test]
fn a_page_has_its_place_and_a_list_is_json() {
    let paged = |change: Value| {
        let mut action = json!({ "pagination": { "type": "cursor", "items": "", "cursor_path": "/c",
            "param": "c", "in": "body" } });
        merge(&mut action, change);
        action
    };
    let no_place = &[("/actions/0/pagination/param", "pagination_no_place")][..];
    actions([
        (paged(json!({})), &[][..]),
        (paged(json!({ "body": { "type": "form" } })), &[]),
        (paged(json!({ "body": { "type": "form" }, "pagination": { "param": "a/b" } })), &[]),
        (paged(json!({ "body": { "type": "form" }, "pagination": { "param": "/a/b" } })), no_place),
        (paged(json!({ "http_method": "GET" })), no_place),
        (paged(json!({ "body": { "type": "multipart" } })), no_place),
        (
            paged(json!({ "response": { "type": "text" } })),
            &[("/actions/0/response/type", "response_unused")],
        ),
        (
            paged(json!({ "response": { "root": "/data" } })),
            &[("/actions/0/response/root", "response_unused")],
        ),
        (
            paged(json!({ "response": { "map": { "a": "/a" } } })),
            &[("/actions/0/response/map", "response_unused")],
        ),
        (json!({ "paginate": true }), &[("/actions/0/paginate", "unknown_reference")]),
    ]);
    let mut shared = with_action(json!({ "paginate": true, "effect": "read" }));
    shared["pagination"] = json!({ "type": "link_header", "items": "" });
    let plan = connector(&shared).actions[0].plan.clone();
    assert_eq!(plan.pagination.unwrap().kind, PaginationKind::LinkHeader);
    let graphql = with_action(json!({
        "body": { "type": "graphql", "query": "{ a }" },
        "pagination": { "type": "graphql_cursor", "items": "/a", "cursor_path": "/c", "param": "after" },
    }));
    let PaginationKind::Cursor { param, .. } =
        connector(&graphql).actions[0].plan.pagination.clone().unwrap().kind
    else {
        panic!("a cursor")
    };
    assert_eq!(param, PageParam::Body(vec!["variables".to_owned(), "after".to_owned()]));
}

#[test]
fn answers_are_read_where_pointers_point() {
    actions([
        (
            json!({ "response": { "root": "/data", "map": { "a": "/a", "b": "header:X-Id",
                "c": "status" } } }),
            &[][..],
        ),
        (json!({ "response": { "root": "data" } }), &[("/actions/0/response/root", "pointer_invalid")]),
        (json!({ "response": { "map": { "a": "b" } } }), &[("/actions/0/response/map/a", "pointer_invalid")]),
        (
            json!({ "response": { "map": { "a": "header:a b" } } }),
            &[("/actions/0/response/map/a", "pointer_invalid")],
        ),
        (
            json!({ "response": { "map": { "a": "header:Set-Cookie" } } }),
            &[("/actions/0/response/map/a", "pointer_invalid")],
        ),
        (
            json!({ "response": { "fields": [{ "name": "a", "path": "b" }] } }),
            &[("/actions/0/response/fields/0/path", "pointer_invalid")],
        ),
        (
            json!({ "response": { "type": "binary", "root": "/a" } }),
            &[("/actions/0/response/root", "response_unused")],
        ),
    ]);
}

#[test]
fn budgets_count_something_and_are_parted_by_what_is_known() {
    let own = |budget: Value| json!({ "rate_limit": [budget] });
    actions([
        (own(json!({ "requests": 5, "per_ms": 1000, "key": "{{input.Email}}" })), &[][..]),
        (own(json!({ "concurrency": 5, "scope": "org" })), &[]),
        (own(json!({})), &[("/actions/0/rate_limit/0", "budget_incomplete")]),
        (
            own(json!({ "concurrency": 5, "per_ms": 1 })),
            &[("/actions/0/rate_limit/0/per_ms", "budget_incomplete")],
        ),
        (
            own(json!({ "requests": 5, "key": "{{input.nope}}" })),
            &[("/actions/0/rate_limit/0/key", "template_unknown_variable")],
        ),
        (
            own(json!({ "requests": 5, "key": "{{input" })),
            &[("/actions/0/rate_limit/0/key", "template_invalid")],
        ),
    ]);
    changes([
        (own(json!({ "requests": 5, "key": "{{input.Email}}" })), &[][..]),
        (
            own(json!({ "requests": 5, "key": "{{input.nope}}" })),
            &[("/rate_limit/0/key", "template_unknown_variable")],
        ),
        (own(json!({ "requests": 5, "key": "{{input" })), &[("/rate_limit/0/key", "template_invalid")]),
    ]);
    let action = |id: &str, input: &str| {
        json!({ "action_id": id, "http_method": "GET", "url_template": "https://a.salesforce.com/",
            "body_schema": [{ "name": input }],
                "rate_limit": [{ "requests": 1 }] })
    };
    let document = with(json!({
        "rate_limit": [{ "requests": 5, "key": "{{input.base}}" }], "actions": [action("a", "base"),
            action("b", "x")],
    }));
    let connector = connector(&document);
    let keyed: Vec<bool> = connector.actions.iter().map(|action| action.budgets[0].key.is_some()).collect();
    assert_eq!(keyed, [true, false], "an action without the input shares the budget of the rest");
    let mut ids: Vec<&str> =
        connector.actions.iter().flat_map(|a| &a.budgets).map(|b| b.id.as_str()).collect();
    ids.dedup();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[test]
fn limits_of_an_action_come_before_the_connectors() {
    let limits = |action: Value| {
        let mut document = with_action(action);
        document["limits"] = json!({ "response_bytes": 100, "timeout_ms": 200, "connect_timeout_ms": 300 });
        let limits = connector(&document).actions[0].limits;
        (limits.response_bytes, limits.timeout_ms, limits.connect_timeout_ms)
    };
    assert_eq!(limits(json!({})), (Some(100), Some(200), Some(300)));
    assert_eq!(
        limits(json!({ "limits": { "response_bytes": 1, "timeout_ms": 2 } })),
        (Some(1), Some(2), Some(300))
    );
    assert_eq!(
        limits(json!({ "limits": { "response_bytes": 1 }, "response": { "max_bytes": 5 } })).0,
        Some(5)
    );
    assert_eq!(limits(json!({ "response": { "max_bytes": 5 } })).0, Some(5));
    changes([(json!({ "limits": { "timeout_ms": 0 } }), &[("/limits/timeout_ms", "out_of_range")][..])]);
}

#[test]
fn an_idempotency_key_arrives() {
    let key = |place: &str, name: &str, change: Value| {
        let mut action = json!({ "idempotency": { "in": place, "name": name } });
        merge(&mut action, change);
        action
    };
    let at = "/actions/0/idempotency";
    let (name, place) = (format!("{at}/name"), format!("{at}/in"));
    let fixed = json!({ "headers": { "idempotency-key": "1" } });
    let given = json!({ "headers": { "idempotency-key": "{{input.Email}}" } });
    actions([
        (key("header", "Idempotency-Key", json!({})), &[][..]),
        (key("header", "Idempotency-Key", given), &[]),
        (key("header", "Idempotency-Key", fixed), &[(name.as_str(), "duplicate_header")]),
        (key("header", "Host", json!({})), &[(name.as_str(), "header_forbidden")]),
        (key("query", "key", json!({})), &[]),
        (key("query", "key", json!({ "query": { "key": "1" } })), &[(name.as_str(), "duplicate_query")]),
        (key("body", "/request/token", json!({})), &[]),
        (key("body", "//", json!({})), &[(name.as_str(), "pointer_invalid")]),
        (key("body", "token", json!({ "body": { "type": "multipart" } })), &[]),
        (key("body", "token", json!({ "http_method": "GET" })), &[(place.as_str(), "idempotency_no_place")]),
        (
            key("body", "token", json!({ "body": { "type": "text", "template": "x" }, "body_schema": [] })),
            &[(place.as_str(), "idempotency_no_place")],
        ),
    ]);
    let rules = |change: Value| connector(&with_action(change)).actions[0].key;
    assert_eq!(rules(json!({})), None);
    let said = json!({ "idempotency": { "in": "header", "name": "K", "max_length": 64, "ttl_s": 7200 } });
    assert_eq!(rules(said), Some(KeyRules { chars_max: 64, ttl_s: Some(7200) }));
    assert_eq!(rules(key("header", "K", json!({}))), Some(KeyRules { chars_max: 255, ttl_s: None }));
}
