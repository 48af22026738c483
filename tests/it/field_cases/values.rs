//! Numbers digit for digit, null and absence, and filters that cannot read their value.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::calls::{ID, PATH, connected, definition};
use crate::support::upstream::whole;
use crate::support::{Answer, Script, Tenant, World};

/// An id that no machine type holds.
const BIG: &str = "36893488147419103232";

/// A connector with one write whose inputs are these.
async fn writing(inputs: &Value) -> (World, Tenant) {
    let action = json!({ "http_method": "POST", "body_schema": inputs });
    connected(&definition(&action, &json!({}))).await
}

/// The body of the last request.
fn sent(world: &World) -> String {
    world.upstream.received_on(PATH).last().unwrap().text().to_owned()
}

/// Saves an automation with this mapping.
async fn automation(acme: &Tenant, mapping: &Value) -> Answer {
    let body = json!({ "entity_name": "order", "event_name": "created",
        "destination_config": { "connector_id": ID, "action_id": "act", "field_mapping": mapping } });
    acme.org.post("/org/acme/automation", &body).await
}

/// Fires an automation with this mapping once.
async fn fired(acme: &Tenant, mapping: &Value, source: Value) -> Answer {
    let saved = automation(acme, mapping).await.is(201);
    acme.fire(saved.json["automation_id"].as_str().unwrap(), source).await
}

async fn post_text(acme: &Tenant, body: String) -> Answer {
    acme.run.write("POST", &format!("/run/acme/main/connector/{ID}/act"), body).await
}

#[tokio::test]
async fn c1_c2_numbers_keep_their_digits_everywhere() {
    let (world, acme) =
        writing(&json!([{ "name": "id", "type": "any" }, { "name": "whole", "type": "integer" },
        { "name": "zero", "type": "number" }]))
        .await;
    let body = format!("{{\"id\":{BIG},\"deep\":[1.50,-0,{BIG}]}}");
    world.upstream.script(PATH, Script::Kept(whole(200, &[("content-type", "application/json")], &body)));
    let answer =
        post_text(&acme, format!("{{\"input\":{{\"id\":{BIG},\"whole\":-{BIG},\"zero\":-0}}}}")).await;
    assert_eq!(sent(&world), format!("{{\"id\":{BIG},\"whole\":-{BIG},\"zero\":-0}}"));
    let output = answer.is(200).json["output"].to_string();
    assert_eq!(output, body);

    let url = json!({ "url_template": "https://api.salesforce.com/n/{{input.id}}",
        "body_schema": [{ "name": "id", "type": "any" }] });
    let (world, acme) = connected(&definition(&url, &json!({}))).await;
    post_text(&acme, format!("{{\"input\":{{\"id\":{BIG}}}}}")).await;
    assert!(world.upstream.received()[0].line().ends_with(&format!(" /n/{BIG}")));
}

#[tokio::test]
async fn c2_a_mapping_and_a_cursor_keep_the_digits() {
    let (world, acme) =
        writing(&json!([{ "name": "id", "type": "any" }, { "name": "text", "type": "string" }])).await;
    let saved =
        automation(&acme, &json!({ "id": "{{source.id}}", "text": "no. {{source.id}}" })).await.is(201);
    let path = format!("/run/acme/main/automation/{}", saved.json["automation_id"].as_str().unwrap());
    acme.run.write("POST", &path, format!("{{\"source\":{{\"id\":{BIG}}}}}")).await.is(200);
    assert_eq!(sent(&world), format!("{{\"id\":{BIG},\"text\":\"no. {BIG}\"}}"));

    let list =
        json!({ "pagination": { "type": "cursor", "items": "/data", "cursor_path": "/next", "param": "c" } });
    let (world, acme) = connected(&definition(&list, &json!({}))).await;
    let page = |next: &str| {
        let body = format!("{{\"data\":[{BIG}],\"next\":{next}}}");
        Script::Kept(whole(200, &[("content-type", "application/json")], &body))
    };
    world.upstream.script(PATH, Script::turns(vec![page(BIG), page("null")]));
    let run = acme.call(ID, "act", json!({})).await.is(200);
    assert_eq!(run.json["output"].to_string(), format!("[{BIG},{BIG}]"));
    let second = &world.upstream.received_on(PATH)[1];
    assert!(second.line().ends_with(&format!("?c={BIG}")), "{}", second.line());
}

#[tokio::test]
async fn c3_c4_c5_what_is_missing_is_left_out_and_a_null_is_sent_where_it_may_be() {
    let (world, acme) = writing(&json!([
        { "name": "props", "type": "object" }, { "name": "list", "type": "array" },
        { "name": "never", "omit_if": "never" }, { "name": "nullable", "nullable": true }, { "name": "usual" },
    ]))
    .await;
    let mapping = json!({ "props": { "phone": "{{source.phone}}", "name": "{{source.name}}" },
        "list": ["{{source.phone}}", "{{source.name}}"],
        "never": "{{source.none}}", "nullable": "{{source.none}}", "usual": "{{source.none}}" });
    fired(&acme, &mapping, json!({ "name": "a", "none": null })).await.is(200);
    let expected = json!({ "props": { "name": "a" }, "list": ["a"], "never": null, "nullable": null });
    assert_eq!(sent(&world), expected.to_string());
    fired(&acme, &mapping, json!({ "name": "a" })).await.is(200);
    assert_eq!(sent(&world), json!({ "props": { "name": "a" }, "list": ["a"] }).to_string());
    acme.call(ID, "act", json!({ "nullable": null, "usual": null })).await.is(200);
    assert_eq!(sent(&world), json!({ "nullable": null }).to_string());
}

#[tokio::test]
async fn c6_a_filter_that_cannot_read_its_value_ends_the_run() {
    let (world, acme) = writing(&json!([{ "name": "t" }, { "name": "n", "type": "any" }])).await;
    for (template, value, says) in [
        ("{{source.t|iso8601}}", json!(1_773_099_000), "unix_seconds reads those"),
        ("{{source.t|iso8601}}", json!("2026-03-10T14:30:00"), "datetime:'<zone>' reads those"),
        ("{{source.t|iso8601}}", json!("yesterday"), "is text that is no time"),
        ("{{source.t|number}}", json!("1.234,50"), "is text that is no number"),
        ("at {{source.t|date:'%F'}}", json!("soon"), "is text that is no time"),
    ] {
        let refused = fired(&acme, &json!({ "n": template }), json!({ "t": value })).await;
        let refused = refused.problem(Code::InputInvalid);
        assert_eq!(refused.violations(), [("/source/t", "mapping_failed")], "{template}");
        let message = refused.messages();
        assert!(message.contains("field_mapping \"n\": source.t cannot be read by the filter"), "{message}");
        assert!(message.contains(says), "{message}");
    }
    assert!(world.upstream.received_on(PATH).is_empty());
    for (template, value, expected) in [
        ("{{source.t|unix_seconds}}", json!(1_773_099_000), "2026-03-09T23:30:00Z"),
        ("{{source.t|datetime:'Europe/Berlin'}}", json!("2026-03-10T14:30:00"), "2026-03-10T13:30:00Z"),
        ("{{source.t|iso8601|default:'never'}}", json!("yesterday"), "never"),
    ] {
        fired(&acme, &json!({ "t": template }), json!({ "t": value })).await.is(200);
        assert_eq!(sent(&world), json!({ "t": expected }).to_string());
    }
    let action = json!({ "http_method": "POST", "body_schema": [{ "name": "n", "transform": "number" }] });
    let (world, acme) = connected(&definition(&action, &json!({}))).await;
    let refused = acme.call(ID, "act", json!({ "n": "1.234,50" })).await.problem(Code::InputInvalid);
    assert!(refused.json.to_string().contains("cannot be read by the filter number"), "{refused:?}");
    assert!(world.upstream.received_on(PATH).is_empty());
}

#[tokio::test]
async fn c7_c10_lists_line_items_and_booleans_can_be_said() {
    let (world, acme) =
        writing(&json!([{ "name": "ids", "type": "array" }, { "name": "lines", "type": "array" }, { "name": "vip", "type": "boolean" }]))
            .await;
    let mapping = json!({ "ids": "{{source.lines.*.id}}", "vip": "{{source.vip|boolean}}",
        "lines": { "each": "source.lines", "as": "line", "value": { "sku": "{{line.sku}}", "n": "{{line.n|number}}" } } });
    let source =
        json!({ "vip": "true", "lines": [{ "id": 1, "sku": "a", "n": "2" }, { "id": 2, "sku": "b" }] });
    fired(&acme, &mapping, source).await.is(200);
    let expected = json!({ "ids": [1, 2], "lines": [{ "sku": "a", "n": 2 }, { "sku": "b" }], "vip": true });
    assert_eq!(serde_json::from_str::<Value>(&sent(&world)).unwrap(), expected);
}

#[tokio::test]
async fn c8_c9_what_looks_wrong_in_a_mapping_is_told() {
    let (_world, acme) = writing(&json!([{ "name": "s", "required": true }])).await;
    let saved = automation(&acme, &json!({ "s": "{source.email}" })).await.is(201);
    let warning = &saved.json["warnings"][0];
    assert_eq!(
        (warning["pointer"].as_str(), warning["code"].as_str()),
        (Some("/destination_config/field_mapping/s"), Some("template_in_one_brace"))
    );
    assert!(warning["message"].as_str().unwrap().contains("{{source.email}}"), "{warning}");
    let saved = automation(&acme, &json!({ "s": "{{source.contact.email}}" })).await.is(201);
    assert!(saved.json.get("warnings").is_none());
    let refused = acme.fire(saved.json["automation_id"].as_str().unwrap(), json!({})).await;
    let refused = refused.problem(Code::InputInvalid);
    assert_eq!(refused.violations(), [("/input/s", "missing_input")]);
    let message = refused.messages();
    assert!(message.contains("field_mapping \"s\" makes it of source.contact.email"), "{message}");
}

#[tokio::test]
async fn a_value_is_looked_up_in_a_table_of_the_definition_and_of_the_automation() {
    let action = json!({ "http_method": "POST",
        "body_schema": [{ "name": "status", "transform": "lower | lookup:'status'" }] });
    let tables = json!({ "tables": { "status": { "open": "1", "closed": 2 } } });
    let (world, acme) = connected(&definition(&action, &tables)).await;
    acme.call(ID, "act", json!({ "status": "Closed" })).await.is(200);
    assert_eq!(sent(&world), r#"{"status":2}"#);
    let answer = acme.call(ID, "act", json!({ "status": "lost" })).await.problem(Code::InputInvalid);
    assert!(answer.text.contains("lookup") && !answer.text.contains("lost"), "{}", answer.text);

    let body = |table: &str| {
        json!({ "entity_name": "order", "event_name": "created",
        "tables": { "stages": { "new": "open", "won": "closed" } },
        "destination_config": { "connector_id": ID, "action_id": "act", "field_mapping":
            { "status": format!("{{{{source.stage | lookup:'{table}' | default:'open'}}}}") } } })
    };
    let saved = acme.org.post("/org/acme/automation", &body("stages")).await.is(201);
    assert_eq!(saved.json["tables"]["stages"]["won"], "closed");
    let id = saved.json["automation_id"].as_str().unwrap();
    for (stage, status) in [("won", "2"), ("new", "\"1\""), ("elsewhere", "\"1\"")] {
        acme.fire(id, json!({ "stage": stage })).await.is(200);
        assert_eq!(sent(&world), format!("{{\"status\":{status}}}"), "{stage}");
    }
    let refused =
        acme.org.post("/org/acme/automation", &body("status")).await.problem(Code::ValidationFailed);
    assert_eq!(refused.json["errors"][0]["pointer"], "/destination_config/field_mapping/status");
    assert!(refused.text.contains("no table"), "{}", refused.text);
}
