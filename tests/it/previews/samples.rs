//! Samples: what is told of them when an automation is saved and when its connector is replaced.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::{automation, connected, mapping, saved};
use crate::support::{Answer, Tenant, salesforce};

async fn save(acme: &Tenant, automation: &Value) -> Answer {
    acme.org.post("/org/acme/automation", automation).await
}

/// Pointer and code of each warning.
fn warnings(list: &Value) -> Vec<(&str, &str)> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|w| (w["pointer"].as_str().unwrap(), w["code"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_sample_is_kept_with_its_automation_and_sends_nothing() {
    let (world, acme) = connected().await;
    let sample = json!({ "email": "ada@example.org", "n": 1.50, "deep": { "a": [null] } });
    let before = world.before().await;
    let made = save(&acme, &automation(&json!({ "sample": sample }))).await.is(201);
    world.assert_nothing_looked_up(&before).await;
    assert_eq!((&made.json["sample"], made.json.get("warnings")), (&sample, None));
    let path = format!("/org/acme/automation/{}", made.json["automation_id"].as_str().unwrap());
    assert_eq!(acme.org.get(&path).await.is(200).json["sample"], sample);
    acme.org.put(&path, &automation(&json!({}))).await.is(200);
    assert_eq!(
        acme.org.get(&path).await.is(200).json.get("sample"),
        None,
        "a replacement without one has none"
    );
}

#[tokio::test]
async fn saving_an_automation_tells_what_would_go_wrong_with_its_sample() {
    let (_world, acme) = connected().await;
    let lines = json!({ "each": "source.lines", "as": "line", "value": "{{line.sku}}!" });
    for (mut written, sample, expected) in [
        (
            automation(&json!({ "entry_conditions": [{ "path": "/stage", "eq": "won" }] })),
            json!({ "email": "a@b.c", "stage": "open" }),
            ("/sample", "sample_not_fired"),
        ),
        (
            mapping(json!({ "Email": lines })),
            json!({ "lines": [{ "sku": 1 }, {}] }),
            ("/sample/lines/1/sku", "missing_source"),
        ),
        (
            mapping(json!({ "Email": "{{source.email}}" })),
            json!({ "email": ["a@b.c"] }),
            ("/destination_config/field_mapping/Email", "wrong_type"),
        ),
    ] {
        written["sample"] = sample;
        let made = save(&acme, &written).await.is(201);
        assert_eq!(warnings(&made.json["warnings"]), [expected]);
        let path = format!("/org/acme/automation/{}", made.json["automation_id"].as_str().unwrap());
        let again = acme.org.put(&path, &written).await.is(200);
        assert_eq!(warnings(&again.json["warnings"]), [expected], "and when it is replaced");
    }
}

#[tokio::test]
async fn a_sample_is_an_object_of_a_limited_size() {
    let (_world, acme) = connected().await;
    let sample = |bytes: usize| automation(&json!({ "sample": { "email": "a".repeat(bytes) } }));
    let answer = save(&acme, &sample(64 * 1024)).await.problem(Code::ValidationFailed);
    assert_eq!(answer.violations(), [("/sample", "too_long")]);
    assert!(answer.messages().contains("limits.sample_bytes"), "{}", answer.messages());
    save(&acme, &sample(60 * 1024)).await.is(201);
    for other in [json!([]), json!("text"), json!(1)] {
        let answer = save(&acme, &automation(&json!({ "sample": other }))).await;
        assert_eq!(answer.problem(Code::ValidationFailed).violations()[0].0, "/sample");
    }
}

#[tokio::test]
async fn replacing_a_connector_warns_of_samples_that_the_action_would_not_take_any_more() {
    let (world, acme) = connected().await;
    let concerned = automation(&json!({ "sample": { "email": "not an address" } }));
    let concerned = saved(&acme, &concerned).await;
    saved(&acme, &automation(&json!({ "sample": { "email": "ada@example.org" } }))).await;
    saved(&acme, &automation(&json!({}))).await;
    let mut definition = salesforce();
    let same = world.platform.put("/admin/connector/salesforce", &definition).await.is(200);
    assert_eq!(same.json["impact"], json!([]));
    definition["actions"][0]["body_schema"][0]["pattern"] = json!(".+@.+");
    let changed = world.platform.put("/admin/connector/salesforce", &definition).await.is(200);
    let impact = changed.json["impact"].as_array().unwrap();
    assert_eq!(impact.len(), 1, "{impact:?}");
    assert_eq!((&impact[0]["automation_id"], &impact[0]["action_gone"]), (&json!(concerned), &json!(false)));
    assert_eq!(impact[0]["inputs_gone"], json!([]));
    let told = warnings(&impact[0]["sample_warnings"]);
    assert_eq!(told, [("/destination_config/field_mapping/Email", "wrong_form")]);
    assert!(!changed.text.contains("not an address"), "the platform is not told what is in a sample");
}
