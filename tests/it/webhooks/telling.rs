//! Who is told of what.

use serde_json::{Value, json};

use super::{KEY, Scene, body, is_signed, made, quick, url};
use crate::support::{Script, Tenant, until};

const CONTACTS: &str = "/v1/contacts";

fn types(delivered: &[crate::support::upstream::Received]) -> Vec<Value> {
    delivered.iter().map(|one| body(one)["type"].clone()).collect()
}

async fn accept(tenant: &Tenant) -> String {
    let path = "/run/acme/main/connector/salesforce/create-contact";
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    let input = json!({ "input": { "Email": "ada@example.org" } });
    let answer = tenant.run.send("POST", path, &headers, input.to_string().into_bytes()).await.is(202);
    answer.json["run_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn changes_of_a_connection_are_told_in_order_and_without_secrets() {
    let scene = Scene::working(quick()).await;
    let secret = scene.hook("one", &["connection.*"]).await;
    let setting = scene.acme.setting("salesforce");
    // Why one after the other: two of one millisecond have no order.
    scene.acme.connect("salesforce", json!({ "api_key": KEY })).await;
    scene.until_delivered(1).await;
    scene.acme.workspace.put(&setting, &json!({ "enabled": false })).await.is(200);
    scene.until_delivered(2).await;
    scene.acme.workspace.put(&setting, &json!({ "enabled": true })).await.is(200);
    scene.until_delivered(3).await;
    scene.acme.workspace.delete(&setting).await.is(204);
    let delivered = scene.until_delivered(4).await;
    let told: Vec<_> =
        delivered.iter().map(|one| (body(one)["type"].clone(), body(one)["data"]["cause"].clone())).collect();
    let expected = [
        ("connection.connected", "saved"),
        ("connection.removed", "opted_out"),
        ("connection.connected", "opted_in"),
        ("connection.removed", "forgotten"),
    ];
    assert_eq!(told, expected.map(|(kind, cause)| (json!(kind), json!(cause))));
    for one in &delivered {
        assert!(is_signed(one, &secret));
        assert!(!one.text().contains(KEY) && !one.head.contains(KEY));
        let data = &body(one)["data"];
        assert_eq!((&data["org"], &data["workspace"]), (&json!("acme"), &json!("main")));
        assert_eq!(data["connector_id"], "salesforce");
    }
    let ids: std::collections::BTreeSet<_> =
        delivered.iter().map(|one| one.header("webhook-id")[0].to_owned()).collect();
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn ends_of_accepted_runs_are_told_and_successes_only_where_named() {
    let scene = Scene::working(quick()).await;
    scene.acme.connect("salesforce", json!({ "api_key": KEY })).await;
    scene.world.engine.start_jobs();
    let early = accept(&scene.acme).await;
    let path = format!("/run/acme/main/{early}?wait=30");
    scene.acme.run.get(&path).await.is(200);
    scene.hook("some", &["run.*"]).await;
    scene.world.upstream.script(CONTACTS, Script::json(400, &json!({ "message": "third party's words" })));
    let failed = accept(&scene.acme).await;
    scene.acme.run.get(&format!("/run/acme/main/{failed}?wait=30")).await.is(200);
    scene.hook("named", &["run.failed", "run.succeeded"]).await;
    scene.world.upstream.script(CONTACTS, Script::json(201, &json!({ "id": "1" })));
    let good = accept(&scene.acme).await;
    scene.world.upstream.script(CONTACTS, Script::json(201, &json!({ "id": "1" })));
    scene.acme.run.get(&format!("/run/acme/main/{good}?wait=30")).await.is(200);
    let delivered = scene.until_delivered(1).await;
    assert_eq!(types(&delivered), ["run.succeeded"]);
    let data = &body(&delivered[0])["data"];
    assert_eq!((&data["run_id"], &data["status"]), (&json!(good), &json!("succeeded")));
    assert!(!delivered[0].text().contains("ada@example.org"));
}

#[tokio::test]
async fn refused_calls_are_counted_and_told_of_once() {
    let scene = Scene::working(quick()).await;
    scene.acme.connect("salesforce", json!({ "api_key": KEY })).await;
    scene.hook("one", &["call.refused"]).await;
    let nothing = json!({ "domain_allowlist": [] });
    scene.acme.org.put("/org/acme/settings/integrations", &nothing).await.is(200);
    for _ in 0..5 {
        scene.acme.create_contact().await.is(403);
    }
    let first = scene.until_delivered(1).await;
    let data = &body(&first[0])["data"];
    assert_eq!((&data["code"], &data["connector_id"]), (&json!("host_not_in_org"), &json!("salesforce")));
    assert!(data["count"].as_u64().unwrap() >= 1 && data["since"].is_string(), "{data}");
    scene.acme.create_contact().await.is(403);
    // What else is told comes by the same worker, after it had time for another one of this kind.
    scene
        .acme
        .org
        .put("/org/acme/webhook/one", &json!({ "url": url(), "events": ["call.refused", "policy.changed"] }))
        .await
        .is(200);
    scene.change_policy().await;
    assert_eq!(types(&scene.until_delivered(2).await), ["call.refused", "policy.changed"], "once a minute");
}

#[tokio::test]
async fn changes_of_connectors_are_told_to_all_and_drafts_to_the_platform() {
    let scene = Scene::working(quick()).await;
    scene.hook("one", &["connector.changed"]).await;
    let globex = scene.world.tenant("globex", "main").await;
    made(&globex.org, "/org/globex/webhook/one", &["*"]).await;
    made(&scene.world.platform, "/admin/webhook/one", &["connector.*"]).await;
    scene.world.platform.patch("/admin/connector/salesforce", &json!({ "enabled": false })).await.is(200);
    let delivered = scene.until_delivered(3).await;
    for one in &delivered {
        let data = &body(one)["data"];
        assert_eq!((&data["change"], &data["enabled"]), (&json!("replaced"), &json!(false)), "{data}");
        assert_eq!((&data["connector_id"], &data["revision"]), (&json!("salesforce"), &json!(2)));
    }
    let mut draft = crate::support::salesforce();
    draft["connector_id"] = json!("draft");
    draft["status"] = json!("draft");
    scene.world.platform.post("/admin/connector", &draft).await.is(201);
    let delivered = scene.until_delivered(4).await;
    assert_eq!(body(&delivered[3])["data"]["connector_id"], "draft");
}

#[tokio::test]
async fn what_happens_while_it_is_off_is_not_told() {
    let scene = Scene::working(quick()).await;
    scene.hook("one", &["policy.changed"]).await;
    let wish = |enabled: bool| json!({ "url": url(), "events": ["policy.changed"], "enabled": enabled });
    scene.acme.org.put("/org/acme/webhook/one", &wish(false)).await.is(200);
    scene.change_policy().await;
    scene.acme.org.put("/org/acme/webhook/one", &wish(true)).await.is(200);
    scene.change_policy().await;
    let delivered = scene.until_delivered(1).await;
    assert_eq!(types(&delivered), ["policy.changed"]);
    until("it is listed as delivered", async || scene.listed("one", "?state=delivered").await.len() == 1)
        .await;
}

#[tokio::test]
async fn after_a_rotation_both_secrets_sign() {
    let scene = Scene::working(quick()).await;
    let old = scene.hook("one", &["policy.changed"]).await;
    let rotated = scene.acme.org.write("POST", "/org/acme/webhook/one/rotate", "").await.is(200);
    let new = rotated.json["secret"].as_str().unwrap().to_owned();
    assert!(rotated.json["old_secret_until"].is_string() && new != old);
    scene.change_policy().await;
    let delivered = scene.until_delivered(1).await;
    assert!(is_signed(&delivered[0], &old) && is_signed(&delivered[0], &new));
    assert_eq!(delivered[0].header("webhook-signature")[0].split(' ').count(), 2);
    let third = scene.acme.org.write("POST", "/org/acme/webhook/one/rotate", "").await.is(200);
    scene.change_policy().await;
    let delivered = scene.until_delivered(2).await;
    assert!(!is_signed(&delivered[1], &old) && is_signed(&delivered[1], &new));
    assert!(is_signed(&delivered[1], third.json["secret"].as_str().unwrap()));
}
