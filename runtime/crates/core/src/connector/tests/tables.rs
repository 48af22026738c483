//! Tables and the filter that looks into them: where it is available, and what each part of a connector keeps.

use portcullis_action::render::{Values, render_request};

use super::*;
use crate::form::check_form;

fn tables() -> Value {
    json!({ "status": { "open": "1", "closed": 2 }, "region": { "eu": "fra1" } })
}

fn with_tables(mut change: Value) -> Value {
    change["tables"] = tables();
    change
}

/// The action with this text in its query, and both tables in use.
fn in_query(text: &str) -> Value {
    let used = "{{input.Email | lookup:'region' | default:''}}{{input.Email | lookup:'status' | default:''}}";
    let mut document = with(with_tables(json!({ "default_headers": { "x-used": used } })));
    document["actions"][0]["query"] = json!({ "q": text });
    document
}

#[test]
fn a_lookup_names_a_table_that_is_there() {
    for (text, breaches) in [
        ("{{input.Email | lookup:'status'}}", &[][..]),
        ("{{input.Email | trim | lookup:'region' | upper}}", &[][..]),
        ("{{input.Email | lookup:'state'}}", &[("/actions/0/query/q", "unknown_reference")][..]),
        ("{{input.Email | lookup:'Status'}}", &[("/actions/0/query/q", "unknown_reference")][..]),
    ] {
        expect([(in_query(text), breaches)]);
    }
    let document = in_query("{{input.Email | lookup:'state'}}");
    assert!(checked(&document).errors[0].message.contains("did you mean"), "{:?}", checked(&document).errors);
    let transform = |filters: &str| {
        let mut document = in_query("x");
        document["actions"][0]["body_schema"][0]["transform"] = json!(filters);
        document
    };
    let at = "/actions/0/body_schema/0/transform";
    expect([
        (transform("lookup:'status'"), &[][..]),
        (transform("lookup:'none'"), &[(at, "unknown_reference")][..]),
    ]);
}

#[test]
fn what_a_request_may_reach_depends_on_no_table() {
    let config = json!({ "config_fields": [{ "name": "region", "required": true }],
        "allowed_domains": ["*.salesforce.com"] });
    let url = |text: &str| {
        let mut document = in_query("x");
        merge(&mut document, config.clone());
        document["actions"][0]["url_template"] = json!(text);
        document
    };
    let misplaced = [("/actions/0/url_template", "lookup_misplaced")];
    expect([
        (url("https://api.salesforce.com/{{input.Email | lookup:'status'}}"), &[][..]),
        (url("https://api.salesforce.com/x?r={{config.region | lookup:'region'}}"), &[][..]),
        (url("https://api.salesforce.com/{{config.region | lookup:'region'}}"), &misplaced[..]),
        (url("https://{{config.region | lookup:'region'}}.salesforce.com/"), &misplaced[..]),
    ]);
    let mut budget = in_query("x");
    budget["rate_limit"] = json!([{ "requests": 1, "key": "{{input.Email | lookup:'status'}}" }]);
    expect([(budget, &[("/rate_limit/0/key", "lookup_misplaced")][..])]);
    let mut base = in_query("x");
    merge(&mut base, config);
    base["base_url"] = json!("https://{{config.region | lookup:'region'}}.salesforce.com");
    let found = checked(&base).errors;
    assert!(codes(&found).contains(&("/base_url", "lookup_misplaced")), "{found:?}");
}

#[test]
fn a_plan_has_the_tables_that_it_uses_and_no_others() {
    let mut document = with(with_tables(json!({})));
    document["actions"][0]["query"] = json!({ "q": "{{input.Email | lookup:'status'}}" });
    let mut other = document["actions"][0].clone();
    other["action_id"] = json!("other");
    other["query"] = json!({ "q": "plain" });
    document["actions"].as_array_mut().unwrap().push(other);
    warns(&document, &[("/tables/region", "table_unused")]);
    let connector = connector(&document);
    let plan = &connector.action("create-contact").unwrap().plan;
    assert_eq!(plan.tables.keys().collect::<Vec<_>>(), ["status"]);
    assert!(!connector.action("other").unwrap().plan_json.contains("tables"));
    let text = &connector.action("create-contact").unwrap().plan_json;
    assert_eq!(portcullis_action::ActionPlan::read(text).as_ref(), Some(plan), "as a guest reads it");

    let rendered = |email: &str| {
        let input = json!({ "Email": email }).as_object().unwrap().clone();
        let none = serde_json::Map::new();
        let values = Values { input: (&input).into(), ..Values::config_only(&none) };
        render_request(plan, &values).map(|request| request.url).map_err(|error| error.to_string())
    };
    assert_eq!(rendered("open").unwrap(), "https://api.salesforce.com/v1/contacts?q=1");
    assert_eq!(rendered("closed").unwrap(), "https://api.salesforce.com/v1/contacts?q=2");
    let error = rendered("lost").unwrap_err();
    assert!(error.contains("input.Email") && error.contains("lookup"), "{error}");
}

#[test]
fn a_computed_field_looks_its_host_up() {
    let config = json!({ "config_fields": [
        { "name": "region", "type": "text", "required": true },
        { "name": "host", "computed": { "from": "region", "filter": "lower | lookup:'region'" } } ] });
    let mut document = with(with_tables(config));
    document["actions"][0]["query"] = json!({ "s": "{{input.Email | lookup:'status'}}" });
    document["actions"][0]["url_template"] = json!("https://{{config.host}}.salesforce.com/v1");
    let connector = connector(&document);
    let given = |region: &str| {
        let given = json!({ "api_key": "k", "region": region }).as_object().unwrap().clone();
        check_form(&connector.fields, given, 1000)
    };
    assert_eq!(given("EU").unwrap().config["host"], "fra1");
    assert_eq!(given("mars").unwrap_err()[0].code, "not_computable");
    let mut secret = document;
    secret["config_fields"][1]["computed"]["from"] = json!("api_key");
    expect([(secret, &[("/config_fields/1/computed/filter", "computed_from_secret")][..])]);
}

#[test]
fn tables_are_checked_as_a_whole() {
    let used = "{{input.Email | lookup:'t'}}";
    let with_table = |table: Value| {
        let mut document = with(json!({ "tables": { "t": table } }));
        document["actions"][0]["query"] = json!({ "q": used });
        document
    };
    expect([
        (with_table(json!({})), &[][..]),
        (with_table(json!({ "a": [1] })), &[("/tables/t/a", "table_invalid")][..]),
        (with_table(json!({ "a": {} })), &[("/tables/t/a", "table_invalid")][..]),
        (
            with_table(json!([])),
            &[("/tables/t", "wrong_type"), ("/actions/0/query/q", "unknown_reference")][..],
        ),
    ]);
}
