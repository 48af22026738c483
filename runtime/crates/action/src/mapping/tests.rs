//! What mappings make of a source, and what is refused when they are read.

use super::*;
use serde_json::json;

fn run_within(mapping: &Value, source: &Value, budget: &Budget) -> Result<Value, MappingError> {
    let mapping = Mapping::parse(mapping.as_object().unwrap()).unwrap();
    mapping.resolve(source, budget).map(Value::Object)
}

fn run(mapping: Value, source: Value) -> Result<Value, MappingError> {
    run_within(&mapping, &source, &Budget::rendering(1 << 20))
}

#[test]
fn a_whole_variable_keeps_its_type_and_an_embedded_one_is_text() {
    let mapping = json!({
        "Email": "{{source.email}}", "n": "{{source.n}}", "text": "n={{source.n}}", "fixed": 7,
        "list": ["{{source.tags.0}}"],
    });
    let source = json!({ "email": "a@b.c", "n": 5, "tags": ["x"] });
    assert_eq!(
        run(mapping, source).unwrap(),
        json!({ "Email": "a@b.c", "n": 5, "text": "n=5", "fixed": 7, "list": ["x"] })
    );
}

#[test]
fn a_missing_whole_value_is_left_out_and_a_missing_part_is_an_error() {
    assert_eq!(run(json!({ "a": "{{source.a}}" }), json!({})).unwrap(), json!({}));
    let error = run(json!({ "a": "hi {{source.a}}" }), json!({})).unwrap_err();
    assert_eq!((error.input.as_str(), error.error.variable.as_str()), ("a", "source.a"));
    let with_default = json!({ "a": "hi {{source.a|default:'you'}}" });
    assert_eq!(run(with_default, json!({})).unwrap(), json!({ "a": "hi you" }));
}

#[test]
fn source_text_is_never_a_template() {
    let out = run(json!({ "a": "{{source.a}}" }), json!({ "a": "{{source.b}}", "b": "leak" }));
    assert_eq!(out.unwrap(), json!({ "a": "{{source.b}}" }));
}

#[test]
fn other_scopes_are_refused_when_checked() {
    let mapping = json!({ "a": "{{cred.api_key}}", "b": "{{source.x}}", "c": ["{{input.y}}"] });
    let problems = Mapping::parse(mapping.as_object().unwrap()).unwrap_err();
    let names: Vec<&str> = problems.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "c"]);
}

#[test]
fn c3_what_is_missing_is_left_out_at_any_depth_and_a_null_is_kept() {
    let mapping = json!({ "props": { "phone": "{{source.phone}}", "name": "{{source.name}}" },
        "list": ["{{source.phone}}", "{{source.name}}", ["{{source.phone}}"]], "top": "{{source.fax}}" });
    let source = json!({ "name": "a", "fax": null });
    let made = run(mapping.clone(), source).unwrap();
    assert_eq!(made, json!({ "props": { "name": "a" }, "list": ["a", []], "top": null }));
    assert_eq!(run(mapping, json!({ "phone": null })).unwrap()["props"], json!({ "phone": null }));
    let filtered =
        json!({ "a": ["{{source.fax|trim|upper}}", "{{source.fax|default:'none'}}", "{{source.x|trim}}"] });
    assert_eq!(run(filtered, json!({ "fax": null })).unwrap(), json!({ "a": [null, "none"] }));
}

#[test]
fn c6_a_value_that_a_filter_cannot_read_names_input_path_and_filter() {
    let mapping = json!({ "when": { "at": ["{{source.t|iso8601}}"] } });
    let error = run(mapping, json!({ "t": "yesterday" })).unwrap_err();
    assert!(error.error.unfit && !error.error.exceeded);
    let text = error.to_string();
    assert!(
        text.starts_with("field_mapping \"when\": source.t cannot be read by the filter iso8601"),
        "{text}"
    );
    assert!(!text.contains("yesterday"), "{text}");
    let kept = run(json!({ "at": "{{source.t|iso8601|default:'never'}}" }), json!({ "t": "yesterday" }));
    assert_eq!(kept.unwrap(), json!({ "at": "never" }));
}

#[test]
fn c7_a_star_takes_a_member_of_every_entry() {
    let source =
        json!({ "lines": [{ "id": 1, "tags": ["a", "b"] }, { "sku": "x" }, { "id": "c", "tags": ["d"] }] });
    let mapping = json!({ "ids": "{{source.lines.*.id}}", "tags": "{{source.lines.*.tags.*}}",
        "text": "{{source.lines.*.id|join:','}}", "none": "{{source.rows.*.id}}" });
    assert_eq!(
        run(mapping, source).unwrap(),
        json!({ "ids": [1, "c"], "tags": ["a", "b", "d"], "text": "1,c" })
    );
    assert_eq!(run(json!({ "a": "{{source.l.*}}" }), json!({ "l": { "*": 1 } })).unwrap(), json!({ "a": 1 }));
    assert_eq!(run(json!({ "a": "{{source.l.*}}" }), json!({ "l": [] })).unwrap(), json!({ "a": [] }));
}

#[test]
fn each_makes_an_entry_for_each_and_when_leaves_out() {
    let mapping = json!({
        "items": { "each": "source.lines", "as": "line", "value": {
            "sku": "{{line.sku|upper}}", "order": "{{source.id}}", "note": "{{line.note}}",
            "taxes": { "each": "line.taxes", "as": "tax", "value": "{{tax.rate}} of {{line.sku}}" } } },
        "codes": { "each": "source.codes", "as": "code", "value": "{{code}}" },
        "gift": { "when": { "path": "/gift", "eq": true }, "value": "{{source.id}}" },
        "plain": { "each": "x", "value": "y" },
    });
    let source = json!({ "id": 7, "codes": ["a", 2], "gift": true,
        "lines": [{ "sku": "a", "taxes": [{ "rate": 5 }] }, { "sku": "b", "note": "n" }] });
    assert_eq!(
        run(mapping.clone(), source).unwrap(),
        json!({ "items": [{ "sku": "A", "order": 7, "taxes": ["5 of a"] }, { "sku": "B", "order": 7, "note": "n" }],
                "codes": ["a", 2], "gift": 7, "plain": { "each": "x", "value": "y" } })
    );
    let made = run(mapping.clone(), json!({ "gift": false, "lines": [] })).unwrap();
    assert_eq!(made, json!({ "items": [], "plain": { "each": "x", "value": "y" } }));
    let error = run(mapping, json!({ "lines": "none" })).unwrap_err();
    assert!(error.to_string().ends_with("source.lines is no list"), "{error}");
    for bad in [
        json!({ "each": "lines", "as": "line", "value": 1 }),
        json!({ "each": "source.lines", "as": "source", "value": 1 }),
        json!({ "each": "source.lines", "as": "a b", "value": 1 }),
        json!({ "each": "source.lines", "as": "line", "value": "{{row.x}}" }),
        json!({ "each": "source.lines", "as": "l", "value": { "each": "l.x", "as": "l", "value": 1 } }),
        json!({ "when": { "path": "x" }, "value": 1 }),
        json!("{{line.x}}"),
    ] {
        assert!(Mapping::parse(json!({ "a": bad }).as_object().unwrap()).is_err(), "{bad}");
    }
}

#[test]
fn an_error_inside_each_names_the_entry_of_the_document() {
    let mapping = json!({ "items": { "each": "source.lines", "as": "line", "value": {
        "sku": "{{line.sku}}!",
        "taxes": { "each": "line.taxes", "as": "tax", "value": "{{tax}}% of {{line.sku}}" },
        "more": { "each": "line.more", "as": "one", "value": "{{one.rate|number}}" },
        "order": "no. {{source.id}}" } } });
    let line = json!({ "sku": "a", "taxes": [1] });
    for (source, path) in [
        (json!({ "id": 1, "lines": [line, line, line, {}] }), "source.lines.3.sku"),
        (json!({ "id": 1, "lines": [line, { "sku": "a", "taxes": [1, null] }] }), "source.lines.1.taxes.1"),
        (json!({ "id": 1, "lines": [{ "sku": "a", "taxes": 7 }] }), "source.lines.0.taxes"),
        (
            json!({ "id": 1, "lines": [{ "sku": "a", "more": [{ "rate": "x" }] }] }),
            "source.lines.0.more.0.rate",
        ),
        (json!({ "lines": [line] }), "source.id"),
    ] {
        let error = run(mapping.clone(), source).unwrap_err();
        assert_eq!((error.error.variable.as_str(), error.input.as_str()), (path, "items"), "{error}");
        assert!(error.to_string().contains(path), "{error}");
    }
    run(mapping, json!({ "id": 1, "lines": [line] })).unwrap();
}

#[test]
fn s3_conditions_inside_each_share_their_steps() {
    let condition = json!({ "path": "/text", "contains": "b" });
    let mapping = json!({ "a": { "each": "source.lines", "as": "line",
        "value": { "when": condition, "value": "{{line}}" } } });
    let source = json!({ "text": "a".repeat(1_000_000), "lines": vec![1; 2000] });
    let error = run(mapping.clone(), source).unwrap_err();
    assert!(error.error.exceeded && error.to_string().contains("limits.matching_steps"), "{error}");
    let small = run(mapping, json!({ "text": "ab", "lines": [1, 2] })).unwrap();
    assert_eq!(small, json!({ "a": [1, 2] }));
}

#[test]
fn c8_a_template_with_one_brace_is_noticed() {
    let mapping = json!({ "a": "{source.email}", "b": "${source.x} y", "c": { "d": ["hi { source.name | upper }"] },
        "e": "{not a path}", "f": "{{source.g}}", "g": "{\"source.x\": 1", "h": "{{source.a}} {source.b}" });
    let mapping = Mapping::parse(mapping.as_object().unwrap()).unwrap();
    let found = mapping.half_templates();
    let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["a", "b", "c", "h"]);
    assert_eq!(found[0].1, "{source.email}");
}

#[test]
fn c9_the_sources_of_an_input_are_told() {
    let mapping = json!({ "s": "{{source.a}} {{source.b|upper}}",
        "l": { "each": "source.lines", "as": "line", "value": "{{line.x}}" } });
    let mapping = Mapping::parse(mapping.as_object().unwrap()).unwrap();
    assert_eq!(mapping.sources("s"), ["source.a", "source.b"]);
    assert_eq!(mapping.sources("l"), ["source.lines", "source.lines.*.x"]);
    assert!(mapping.sources("x").is_empty());
}

#[test]
fn s1_a_mapping_makes_no_more_than_its_budget() {
    let grow = format!("{{{{source.a{}}}}}", "|replace:'a','aa'".repeat(34));
    let many: Map<String, Value> = (0..400).map(|i| (format!("i{i}"), json!("{{source.b}}"))).collect();
    let source = json!({ "a": "a", "b": "x".repeat(7_000_000), "c": vec![vec![1; 1000]; 1000] });
    let list: Vec<&str> = vec!["{{source.c}}"; 400];
    for (mapping, input) in [
        (json!({ "n": 1, "big": grow }), "big"),
        (Value::Object(many), "i1"),
        (json!({ "list": list }), "list"),
        (json!({ "text": "{{source.b}}{{source.b}}" }), "text"),
        (json!({ "nested": format!("{{{{source.a{}}}}}", "|json".repeat(60)) }), "nested"),
        (json!({ "coded": format!("{{{{source.b{}}}}}", "|base64|hex|urlencode".repeat(9)) }), "coded"),
    ] {
        let budget = Budget::rendering(crate::budget::RENDERED_BYTES);
        let error = run_within(&mapping, &source, &budget).unwrap_err();
        assert!(error.error.exceeded && error.to_string().contains("limits.rendered_bytes"), "{error}");
        assert_eq!(error.input, input);
        assert!(budget.made() <= crate::budget::RENDERED_BYTES);
    }
    let small = json!({ "a": "{{source.a|replace:'a','aa'|replace:'a','aa'}}", "b": "{{source.b}}" });
    let out = run(small, json!({ "a": "a", "b": "x".repeat(900_000) })).unwrap();
    assert_eq!(out["a"], "aaaa");
}

#[test]
fn what_a_workspace_sets_is_used_like_the_source() {
    let mapping = json!({
        "pipeline": "{{workspace.values.pipeline_id}}",
        "owner": "{{ workspace.values.owner | default:'nobody' }}",
        "missing": "{{workspace.values.none}}",
        "place": "{{org.id}}/{{workspace.id}}",
        "lines": { "each": "source.lines", "as": "line",
            "value": { "sku": "{{line.sku}}", "list": "{{workspace.values.list-1}}" } },
        "only": { "when": { "path": "{{workspace.values.live}}", "eq": true }, "value": "{{source.a}}" },
    });
    let mapping = Mapping::parse(mapping.as_object().unwrap()).unwrap();
    let org = json!({ "id": "acme" });
    let workspace =
        json!({ "id": "main", "values": { "pipeline_id": 7, "list-1": "{{source.a}}", "live": true } });
    let source = json!({ "a": 1, "lines": [{ "sku": "x" }] });
    let given = [("org", &org), ("workspace", &workspace)];
    let budget = Budget::unlimited();
    let input = mapping.resolve_given(&source, &given, &budget).unwrap();
    assert_eq!(
        Value::Object(input),
        json!({
            "pipeline": 7,
            "owner": "nobody",
            "place": "acme/main",
            "lines": [{ "sku": "x", "list": "{{source.a}}" }],
            "only": 1,
        }),
        "a value is never read as a template"
    );
    assert_eq!(
        mapping.given(),
        [
            "org.id",
            "workspace.id",
            "workspace.values.list-1",
            "workspace.values.live",
            "workspace.values.none",
            "workspace.values.owner",
            "workspace.values.pipeline_id",
        ]
    );
    let error = mapping.resolve(&source, &budget).unwrap_err();
    assert_eq!(error.error.to_string(), "org.id has no value");
}

#[test]
fn an_unknown_name_is_refused_with_what_may_be_written() {
    for (text, says) in [
        ("{{workspace.pipeline}}", "workspace.pipeline is nothing that is given"),
        ("{{workspace.values.a.b}}", "is nothing that is given"),
        ("{{org.values.a}}", "is nothing that is given"),
        ("{{workspaces.id}}", "is not a variable"),
        ("{{input.a}}", "is not available in a mapping"),
    ] {
        let problems = Mapping::parse(json!({ "a": text }).as_object().unwrap()).unwrap_err();
        let why = &problems[0].1;
        assert!(why.contains(says) && why.contains("workspace.values.<name>"), "{text}: {why}");
    }
}

#[test]
fn the_name_of_an_entry_hides_what_is_given() {
    let mapping = json!({ "a": { "each": "source.orgs", "as": "org", "value": "{{org.name}}" } });
    let mapping = Mapping::parse(mapping.as_object().unwrap()).unwrap();
    let org = json!({ "id": "acme" });
    let source = json!({ "orgs": [{ "name": "x" }] });
    let input = mapping.resolve_given(&source, &[("org", &org)], &Budget::unlimited()).unwrap();
    assert_eq!((input["a"].clone(), mapping.given().len()), (json!(["x"]), 0));
}
