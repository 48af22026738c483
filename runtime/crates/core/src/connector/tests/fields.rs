//! Fields of the credential form and of the config, and what a filled-in form becomes.

use super::*;
use crate::form::check_form;

fn config(field: Value) -> Value {
    json!({ "config_fields": [field] })
}

#[test]
fn field_types_have_aliases() {
    for kind in ["secret", "password", "string", "text"] {
        let fields = json!([{ "name": "api_key", "type": kind }]);
        changes([(json!({ "auth_schema": { "fields": fields } }), &[][..])]);
    }
    let fields = json!([{ "name": "api_key", "type": "pasword" }]);
    let found = checked(&with(json!({ "auth_schema": { "fields": fields } })));
    assert_eq!(codes(&found.errors)[0], ("/auth_schema/fields/0/type", "not_in_list"));
}

#[test]
fn secrets_stay_where_secrets_are() {
    let form = |field: Value| json!({ "auth_schema": { "fields": [{ "name": "api_key" }, field] } });
    changes([
        (form(json!({ "name": "a", "secret": false, "default": "x" })), &[][..]),
        (
            form(json!({ "name": "a", "default": "x" })),
            &[("/auth_schema/fields/1/default", "secret_default")],
        ),
        (
            form(json!({ "name": "a", "automated": true })),
            &[("/auth_schema/fields/1/automated", "field_automated")],
        ),
        (form(json!({ "name": "api_key" })), &[("/auth_schema/fields/1/name", "duplicate_field")]),
        (
            config(json!({ "name": "x", "secret": true })),
            &[("/config_fields/0/secret", "config_field_secret")],
        ),
        (config(json!({ "name": "api_key" })), &[("/config_fields/0/name", "duplicate_field")]),
        (config(json!({ "name": "a-b" })), &[("/config_fields/0/name", "wrong_form")]),
    ]);
}

#[test]
fn rules_of_a_field_can_be_met() {
    let at = "/config_fields/0";
    let case =
        |field: Value, member: &str, code: &'static str| (config(field), format!("{at}/{member}"), code);
    for (change, pointer, code) in [
        case(json!({ "name": "a", "type": "select" }), "enum", "select_without_enum"),
        case(json!({ "name": "a", "enum": [] }), "enum", "select_without_enum"),
        case(json!({ "name": "a", "min_length": 3, "max_length": 2 }), "min_length", "rule_contradiction"),
        case(json!({ "name": "a", "pattern_message": "x" }), "pattern_message", "rule_unused"),
        case(json!({ "name": "a", "pattern": "(" }), "pattern", "pattern_invalid"),
        case(json!({ "name": "a", "pattern": "a)|(?:b" }), "pattern", "pattern_invalid"),
        case(json!({ "name": "a", "pattern": "(a{1000}){1000}" }), "pattern", "pattern_invalid"),
        case(json!({ "name": "a", "pattern": "[0-9]+", "default": "x" }), "default", "wrong_form"),
        case(json!({ "name": "a", "enum": [{ "value": "us" }], "default": "eu" }), "default", "not_in_list"),
        case(json!({ "name": "a", "format": "hostname_label", "default": "a.b" }), "default", "wrong_form"),
        case(json!({ "name": "a", "type": "number", "default": "many" }), "default", "wrong_type"),
        case(json!({ "name": "a", "type": "boolean", "default": "yes" }), "default", "wrong_type"),
        case(json!({ "name": "a", "computed": { "from": "a" } }), "computed/from", "unknown_reference"),
        case(json!({ "name": "a", "computed": { "from": "nope" } }), "computed/from", "unknown_reference"),
        case(
            json!({ "name": "a", "visible_when": { "field": "nope", "equals": "1" } }),
            "visible_when/field",
            "unknown_reference",
        ),
        case(
            json!({ "name": "a", "visible_when": { "field": "api_key", "equals": "1" } }),
            "visible_when/field",
            "unknown_reference",
        ),
    ] {
        changes([(change, &[(pointer.as_str(), code)][..])]);
    }
    let select =
        json!({ "name": "a", "type": "select", "enum": [{ "value": "us", "label": "US" }], "default": "us" });
    let label =
        json!({ "name": "a", "format": "hostname_label", "suffix": ".example.com", "default": "acme" });
    let pattern = json!({ "name": "a", "pattern": "a|b", "pattern_message": "a or b", "default": "b" });
    changes([(config(select), &[][..]), (config(label), &[]), (config(pattern), &[])]);
    let conditional =
        |when: Value| json!({ "config_fields": [{ "name": "kind" }, { "name": "a", "visible_when": when }] });
    changes([
        (conditional(json!({ "field": "kind", "equals": "x" })), &[][..]),
        (conditional(json!({ "field": "kind", "in": ["x"] })), &[]),
        (
            conditional(json!({ "field": "kind" })),
            &[("/config_fields/1/visible_when", "visible_when_incomplete")],
        ),
    ]);
}

#[test]
fn a_secret_is_never_copied_into_visible_config() {
    let made = |filter: Option<&str>| {
        let computed = match filter {
            Some(filter) => json!({ "from": "api_key", "filter": filter }),
            None => json!({ "from": "api_key" }),
        };
        config(json!({ "name": "dc", "computed": computed }))
    };
    for sound in ["after_last:'-'", "before_first:'-'", "md5", "sha1", "sha256", "after_last:'-' | sha256"] {
        changes([(made(Some(sound)), &[][..])]);
    }
    for whole in [
        "lower",
        "upper",
        "trim",
        "base64",
        "base64url",
        "hex",
        "urlencode",
        "json",
        "string",
        "number",
        "replace:'a','b'",
        "default:'x'",
        "join:','",
        "after_last:'-' | lower",
        "md5 | default:'x'",
    ] {
        changes([(made(Some(whole)), &[("/config_fields/0/computed/filter", "computed_from_secret")][..])]);
    }
    changes([(made(None), &[("/config_fields/0/computed/filter", "computed_from_secret")][..])]);
    changes([(made(Some("nope")), &[("/config_fields/0/computed/filter", "template_invalid")][..])]);
    let plain = json!({ "config_fields": [{ "name": "a" }, { "name": "b", "computed": { "from": "a" } }] });
    changes([(plain, &[][..])]);
    let later = json!({ "config_fields": [
        { "name": "a", "automated": true }, { "name": "b", "computed": { "from": "a" } },
    ], "auth_type": "none" });
    changes([(later, &[("/config_fields/1/computed/from", "unknown_reference")][..])]);
}

/// A cut whose separator is not in the secret gives the whole secret, or nearly all of it.
#[test]
fn a_cut_that_would_show_a_secret_gives_nothing() {
    let made = |filter: &str, key: &str| {
        let computed = json!({ "from": "api_key", "filter": filter });
        let document = with(config(json!({ "name": "dc", "required": true, "computed": computed })));
        let given = json!({ "api_key": key }).as_object().cloned().unwrap();
        check_form(&connector(&document).fields, given, 100)
    };
    assert_eq!(made("after_last:'-'", "0123456789abcdef-us6").unwrap().config["dc"], "us6");
    assert_eq!(made("before_first:'-'", "us6-0123456789abcdef").unwrap().config["dc"], "us6");
    for (filter, key) in
        [("before_first:'~'", "sk_live_1"), ("after_last:'s'", "sk_live_1"), ("after_last:'~'", "sk_live_1")]
    {
        let problems = made(filter, key).unwrap_err();
        assert_eq!(codes(&problems), [("/config/api_key", "not_computable")], "{filter}");
        assert!(!format!("{problems:?}").contains("live_1"));
    }
    assert_eq!(made("md5", "k").unwrap().config["dc"].as_str().unwrap().len(), 32);
}

#[test]
fn a_pasted_value_is_tidied_before_it_is_checked() {
    let document = with(config(json!({
        "name": "shop", "format": "hostname_label", "suffix": ".example.com", "required": true,
    })));
    let fields = connector(&document).fields;
    let saved = |shop: &str| {
        let given = json!({ "api_key": "k", "shop": shop }).as_object().cloned().unwrap();
        check_form(&fields, given, 100).map(|values| values.config["shop"].clone())
    };
    for pasted in ["acme", " acme ", "acme.example.com", "https://acme.example.com/admin?x=1"] {
        assert_eq!(saved(pasted).unwrap(), "acme", "{pasted}");
    }
    for refused in ["a.b", "acme@evil.com", "acme:8443", "https://evil.com", "a\\b", "a%2eb", "-a"] {
        assert_eq!(codes(&saved(refused).unwrap_err()), [("/config/shop", "wrong_form")], "{refused}");
    }
    assert_eq!(codes(&saved("").unwrap_err()), [("/config/shop", "missing_field")]);
}

#[test]
fn white_space_is_kept_where_the_field_says_so() {
    for (trim, kept) in [(true, "k"), (false, " k ")] {
        let fields = json!([{ "name": "api_key", "trim": trim }]);
        let fields = connector(&with(json!({ "auth_schema": { "fields": fields } }))).fields;
        let given = json!({ "api_key": " k " }).as_object().cloned().unwrap();
        assert_eq!(check_form(&fields, given, 100).unwrap().secrets[0].1.expose(), kept);
    }
}

#[test]
fn what_is_hidden_is_not_required_and_defaults_count() {
    let fields = connector(&with(json!({ "config_fields": [
        { "name": "kind", "default": "cloud" },
        { "name": "site", "required": true, "visible_when": { "field": "kind", "equals": "cloud" } },
        { "name": "host", "required": true, "visible_when": { "field": "kind", "in": ["server", "dc"] } },
    ] })))
    .fields;
    let missing = |given: Value| {
        let problems =
            check_form(&fields, given.as_object().cloned().unwrap(), 100).err().unwrap_or_default();
        problems.into_iter().map(|p| p.pointer).collect::<Vec<_>>()
    };
    assert_eq!(missing(json!({ "api_key": "k" })), ["/config/site"]);
    assert_eq!(missing(json!({ "api_key": "k", "kind": " server " })), ["/config/host"]);
    assert!(missing(json!({ "api_key": "k", "kind": "other" })).is_empty());
    assert!(missing(json!({ "api_key": "k", "site": "s" })).is_empty());
}

#[test]
fn what_fills_itself_is_nobodys_to_give() {
    let document = with(json!({
        "config_fields": [{ "name": "dc", "automated": true, "required": true }],
        "discover": [{ "request": { "action_id": "d", "http_method": "GET",
            "url_template": "https://a.salesforce.com/" },
                       "capture": { "dc": "/dc" } }],
    }));
    let fields = connector(&document).fields;
    let given = |given: Value| check_form(&fields, given.as_object().cloned().unwrap(), 100);
    assert!(given(json!({ "api_key": "k" })).is_ok());
    assert_eq!(
        codes(&given(json!({ "api_key": "k", "dc": "us1" })).unwrap_err()),
        [("/config/dc", "field_automated")]
    );
    let unfilled = with(config(json!({ "name": "dc", "automated": true })));
    warns(&unfilled, &[("/config_fields/0/automated", "field_never_filled")]);
}
