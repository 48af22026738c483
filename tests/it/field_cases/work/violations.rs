//! S4: documents with very much that is wrong.

use portcullis_core::fault::Code;
use serde_json::{Map, Value, json};

use super::{definition, scene, soon, validated};
use crate::support::Answer;

/// Few violations are shown, the rest is counted, and the answer is small.
#[track_caller]
fn is_short(answer: &Answer) {
    assert!(answer.text.len() < 64 * 1024, "{} bytes", answer.text.len());
    let shown = answer.violations().len();
    assert!(shown <= 51, "{shown}");
    assert_eq!(answer.violations().last().unwrap().1, "more_violations", "{}", answer.messages());
    assert!(answer.messages().contains(" more were found"), "{}", answer.messages());
}

fn many(name: &str, count: usize, value: &Value) -> Map<String, Value> {
    (0..count).map(|n| (format!("{name}{n}"), value.clone())).collect()
}

#[tokio::test]
async fn s4_a_call_with_many_unknown_names_is_answered_shortly() {
    let (world, acme) = scene().await;
    let inputs: Vec<Value> =
        (0..200).map(|n| json!({ "name": format!("an_input_of_some_name_{n}") })).collect();
    world
        .platform
        .post("/admin/connector", &definition(vec![json!({ "body_schema": inputs })]))
        .await
        .is(201);
    acme.workspace.put(&acme.setting("tried"), &json!({ "enabled": true })).await;
    let given = many("an_input_of_sme_name_", 240_000, &json!(1));
    let answer = soon(acme.call("tried", "a0", given.into())).await.problem(Code::InputInvalid);
    is_short(&answer);
    assert!(answer.messages().contains("did you mean"), "the first ones have a hint");
    // One mistake is answered as ever.
    let answer = acme.call("tried", "a0", json!({ "an_input_of_sme_name_7": 1 })).await;
    assert_eq!(answer.violations().len(), 1);
    assert!(answer.messages().contains("did you mean \"an_input_of_some_name_"), "{}", answer.messages());
}

#[tokio::test]
async fn s4_many_unknown_members_of_any_route_are_answered_shortly() {
    let (world, acme) = scene().await;
    let mut token = many("rol", 600_000, &json!(1));
    token.insert("role".to_owned(), json!("platform"));
    let answer = soon(world.platform.post("/admin/token", &token.clone().into())).await;
    is_short(&answer.problem(Code::ValidationFailed));
    let mut automation = many("event_nam", 400_000, &json!(1));
    automation.extend(super::mapping(json!({ "Email": "x" })).as_object().unwrap().clone());
    is_short(
        &soon(acme.org.post("/org/acme/automation", &automation.into()))
            .await
            .problem(Code::ValidationFailed),
    );
    let config = json!({ "enabled": true, "config": many("api_ke", 400_000, &json!("x")) });
    is_short(
        &soon(acme.workspace.put(&acme.setting("salesforce"), &config)).await.problem(Code::ValidationFailed),
    );
    let mapped = super::mapping(many("Emai", 40_000, &json!("x")).into());
    is_short(&super::save(&acme, &mapped).await.problem(Code::ValidationFailed));
    let mapped = super::mapping(many("E", 20_000, &json!("{{x}}")).into());
    is_short(&super::save(&acme, &mapped).await.problem(Code::ValidationFailed));
    let large = super::mapping(json!({ "Email": "x".repeat(3_000_000) }));
    let answer = super::save(&acme, &large).await.problem(Code::ValidationFailed);
    assert!(answer.messages().contains("limits.automation_bytes"), "{}", answer.messages());
}

#[tokio::test]
async fn s4_a_list_that_is_too_long_is_refused_before_its_entries_are_judged() {
    let (_world, acme) = scene().await;
    let put = async |list: Value| {
        let body = json!({ "domain_allowlist": list, "mode": "enforce" });
        soon(acme.org.put("/org/acme/settings/integrations", &body)).await
    };
    let answer = put(json!(vec!["!"; 650_000])).await.problem(Code::ValidationFailed);
    assert_eq!(answer.violations(), [("/domain_allowlist", "too_many")]);
    assert!(answer.text.len() < 4096);
    // Entries of another type: found by the structure, which does not know the limit.
    for list in [json!(vec![1; 3_000_000]), json!(vec![json!({}); 1_000_000])] {
        let answer = put(list).await.problem(Code::ValidationFailed);
        is_short(&answer);
    }
    let answer = put(json!(vec!["!"; 900])).await.problem(Code::ValidationFailed);
    is_short(&answer);
    assert_eq!(answer.violations()[0].0, "/domain_allowlist/0");
    let hosts: Vec<String> = (0..900).map(|n| format!("h{n}.example.com")).collect();
    put(json!(hosts)).await.is(200);
}

#[tokio::test]
async fn s4_a_definition_with_much_that_is_wrong_is_answered_shortly() {
    let (world, _acme) = scene().await;
    let base = definition(vec![json!({})]);
    let with = |name: &str, value: Value| {
        let mut definition = base.clone();
        definition[name] = value;
        definition
    };
    let mut unknown = base.clone();
    unknown.as_object_mut().unwrap().extend(many("action", 150_000, &json!(1)));
    for definition in [
        unknown,
        with("default_headers", many("h", 200_000, &json!(1)).into()),
        with("allowed_domains", json!(vec!["!"; 60])),
        with("actions", json!(vec![1; 1_000_000])),
        with("actions", json!(vec![json!({ "action_idd": 1 }); 100_000])),
        definition(
            (0..1500).map(|n| json!({ "url_template": format!("https://evil{n}.example.com/") })).collect(),
        ),
    ] {
        let (codes, says) = validated(&world, &definition).await;
        assert!((50..=51).contains(&codes.len()), "{}: {says:.300}", codes.len());
        assert_eq!(codes.last().unwrap().0, "more_violations", "{says:.300}");
    }
    // Of a list that is too long only that is said.
    let long = definition((0..30_000).map(|_| json!({ "http_method": "GET" })).collect());
    let (codes, says) = validated(&world, &long).await;
    assert_eq!(codes, [("too_many".to_owned(), "/actions".to_owned())], "{says:.300}");
}
