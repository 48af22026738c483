//! S1: templates whose result is larger than anything that is sent.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::{definition, mapping, saved, scene, soon, validated};

/// A template of one variable with a filter so many times.
fn chain(variable: &str, filter: &str, count: usize) -> String {
    format!("{{{{{variable}{}}}}}", format!("|{filter}").repeat(count))
}

#[tokio::test]
async fn s1_a_mapping_that_doubles_a_text_for_ever_is_refused_with_place_and_limit() {
    let (world, acme) = scene().await;
    let grows = [
        chain("source.a", "replace:'a','aa'", 34),
        chain("source.a", "json", 200),
        chain("source.long", "base64|hex|urlencode", 12),
        chain("source.long", "urlencode", 200),
        format!("{}{}", chain("source.a", "replace:'a','aaaaaaaa'", 8), chain("source.a", "hex", 30)),
    ];
    for template in grows {
        let automation = saved(&acme, &mapping(json!({ "Email": template }))).await;
        let source = json!({ "a": "a\"", "long": "%".repeat(100_000) });
        let answer = soon(acme.fire(&automation, source)).await.problem(Code::InputInvalid);
        let says = answer.messages();
        assert!(says.contains("limits.rendered_bytes") && says.contains("Email"), "{says}");
        assert_eq!(answer.violations()[0].1, "mapping_failed");
    }
    let small = mapping(json!({ "Email": chain("source.a", "replace:'a','aa'", 3) }));
    let automation = saved(&acme, &small).await;
    soon(acme.fire(&automation, json!({ "a": "a" }))).await.is(200);
    let sent = world.upstream.received();
    assert!(sent.last().unwrap().text().contains("aaaaaaaa"), "{sent:?}");
}

#[tokio::test]
async fn s1_a_large_source_is_not_copied_without_end() {
    let (_world, acme) = scene().await;
    let source = json!({ "a": "x".repeat(7_000_000) });
    let list: Vec<&str> = vec!["{{source.a}}"; 400];
    for wanted in [json!({ "Email": list }), json!({ "Email": "{{source.a}}".repeat(60) })] {
        let automation = saved(&acme, &mapping(wanted)).await;
        let answer = soon(acme.fire(&automation, source.clone())).await.problem(Code::InputInvalid);
        assert!(answer.messages().contains("limits.rendered_bytes"), "{}", answer.messages());
    }
    // A few copies of a text of usual size are fine.
    let automation = saved(&acme, &mapping(json!({ "Email": "{{source.a}}{{source.a}}" }))).await;
    soon(acme.fire(&automation, json!({ "a": "x".repeat(10_000) }))).await.is(200);
}

fn action(more: &Value, input: &Value) -> Value {
    let mut action = json!({
        "body_schema": [{ "name": "a", "type": "any" }],
        "examples": [{ "name": "e", "input": { "a": input } }],
    });
    for (name, value) in more.as_object().unwrap() {
        action[name] = value.clone();
    }
    action
}

#[tokio::test]
async fn s1_examples_of_a_definition_are_bounded_together() {
    let (world, _acme) = scene().await;
    let long = json!("a".repeat(200_000));
    let references: Vec<&str> = vec!["{{input.a}}"; 3000];
    let nested: Vec<u8> = vec![1; 300_000];
    let transform = "replace:'a','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'|";
    let transformed = json!([{ "name": "a", "transform": transform.repeat(4).trim_end_matches('|') }]);
    for (more, input) in [
        (json!({ "headers": { "X-A": chain("input.a", "replace:'a','aa'", 34) } }), json!("a")),
        (json!({ "query": { "q": chain("input.a", "replace:'a','aa'", 34) } }), json!("a")),
        (
            json!({ "url_template": "https://api.salesforce.com/{{input.a|replace:'a','aaaaaaaaaaaa'|\
            replace:'a','aaaaaaaaaaaa'|replace:'a','aaaaaaaaaaaa'|replace:'a','aaaaaaaaaaaa'}}" }),
            json!("a".repeat(9000)),
        ),
        (json!({ "body": { "type": "json", "template": { "list": references } } }), long.clone()),
        (
            json!({ "body": { "type": "text", "template": "{{input.a}}".repeat(60) } }),
            json!("a".repeat(2_000_000)),
        ),
        (
            json!({ "body": { "type": "xml", "template": "<a>{{input.a}}</a>".repeat(40) } }),
            json!("'".repeat(500_000)),
        ),
        (json!({ "body_schema": transformed }), json!("a".repeat(9000))),
        // A name of 200 bytes before each of many elements.
        (
            json!({ "http_method": "GET", "body_schema": [{ "name": "a", "type": "array", "as": "n".repeat(200) }] }),
            json!(nested),
        ),
        (
            json!({ "body": { "type": "form" }, "body_schema": [{ "name": "a", "type": "array", "as": "n".repeat(200) }] }),
            json!(nested),
        ),
    ] {
        let (codes, says) = validated(&world, &definition(vec![action(&more, &input)])).await;
        let code = ("example_too_costly".to_owned(), "/actions/0/examples/0/input".to_owned());
        assert_eq!(codes, [code], "{more:.200} {says}");
        assert!(says.contains("limits.definition_check_bytes"), "{says}");
    }
    // Each is small, together they are not.
    let each = json!({ "body": { "type": "json", "template": { "list": vec!["{{input.a}}"; 10] } } });
    let (codes, says) =
        validated(&world, &definition(vec![action(&each, &json!("a".repeat(3_000))); 1200])).await;
    assert_eq!(codes[0].0, "example_too_costly", "{says}");
    let few = definition(vec![action(&each, &json!("a".repeat(3_000))); 20]);
    assert_eq!(validated(&world, &few).await.0, []);
}

#[tokio::test]
async fn s1_a_guest_says_which_limit_a_template_would_exceed() {
    let (world, acme) = scene().await;
    let actions = vec![
        json!({ "headers": { "X-A": chain("input.a", "replace:'a','aa'", 34) }, "body_schema": [{ "name": "a" }] }),
        json!({ "body": { "type": "text", "template": "{{input.a}}{{input.a}}" }, "body_schema": [{ "name": "a" }] }),
    ];
    world.platform.post("/admin/connector", &definition(actions)).await.is(201);
    acme.workspace.put(&acme.setting("tried"), &json!({ "enabled": true })).await;
    let answer = soon(acme.call("tried", "a0", json!({ "a": "a" }))).await;
    assert!(answer.text.contains("limits.rendered_bytes"), "{}", answer.text);
    assert!(world.upstream.received().is_empty(), "nothing was sent");
    soon(acme.call("tried", "a1", json!({ "a": "a" }))).await.is(200);
    assert_eq!(world.upstream.received().last().unwrap().text(), "aa");
}

#[tokio::test]
async fn s1_a_computed_field_is_not_made_of_more_than_it_may() {
    let (world, acme) = scene().await;
    let filter = "replace:'a','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'|".repeat(4);
    let mut connector = definition(vec![json!({})]);
    let computed = |filter: &str| {
        json!([{ "name": "from", "type": "text" },
               { "name": "made", "type": "text", "required": true, "computed": { "from": "from", "filter": filter } }])
    };
    connector["config_fields"] = computed(filter.trim_end_matches('|'));
    world.platform.post("/admin/connector", &connector).await.is(201);
    let setting = |from: &str| json!({ "enabled": true, "config": { "from": from } });
    let answer = soon(acme.workspace.put(&acme.setting("tried"), &setting(&"a".repeat(9000)))).await;
    assert_eq!(answer.status, 422, "{:.300}", answer.text);
    assert!(answer.messages().contains("limits.rendered_bytes"), "{}", answer.messages());
    connector["config_fields"] = computed("replace:'a','aa'|upper");
    world.platform.put("/admin/connector/tried", &connector).await.is(200);
    let shown = soon(acme.workspace.put(&acme.setting("tried"), &setting("abc"))).await.is(200);
    assert_eq!(shown.json["fields"]["made"]["set"], true, "{}", shown.text);
}

#[tokio::test]
async fn s1_a_date_format_has_a_bounded_result() {
    let (_world, acme) = scene().await;
    for format in ["%255d".repeat(1500), "%A".repeat(2000)] {
        let automation = mapping(json!({ "Email": format!("{{{{source.t|date:'{format}'}}}}") }));
        let answer = super::save(&acme, &automation).await.problem(Code::ValidationFailed);
        assert!(answer.messages().contains("1024 bytes"), "{}", answer.messages());
    }
    let automation = saved(&acme, &mapping(json!({ "Email": "{{source.t|date:'%A, %d %B %Y'}}" }))).await;
    soon(acme.fire(&automation, json!({ "t": "2026-11-22" }))).await.is(200);
}
