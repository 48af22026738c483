//! Runs that are executed later keep the connection that they were accepted for.

use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use super::{ID, Scene, automation, body, names, save};
use crate::support::{Tenant, until};

fn quick() -> Limits {
    Limits { concurrent_calls: 32, job_retry_base_ms: 1, job_retry_spare_ms: 1, ..Limits::default() }
}

const LATER: [(&str, &str); 2] = [("prefer", "respond-async"), ("content-type", "application/json")];

/// Has a call through a connection accepted.
async fn accept(tenant: &Tenant, name: Option<&str>) -> Value {
    let path = format!("/run/acme/main/connector/{ID}/act");
    tenant.run.send("POST", &path, &LATER, body(name).to_string().into_bytes()).await.is(202).json
}

/// The run when it has this status.
async fn until_status(tenant: &Tenant, run: &Value, status: &str) -> Value {
    let path = format!("/run/acme/main/{}", run["run_id"].as_str().unwrap());
    let read = async || tenant.run.get(&path).await.is(200).json;
    until(&format!("the run is {status}"), async || read().await["status"] == status).await;
    read().await
}

#[tokio::test]
async fn an_accepted_run_a_rerun_and_a_redriven_one_use_the_connection_of_the_first() {
    let scene = Scene::with(quick(), &json!({})).await;
    let acme = &scene.acme;
    let waiting = accept(acme, Some("sales")).await;
    assert_eq!((&waiting["status"], &waiting["connection"]), (&json!("queued"), &json!("sales")));
    let queued = acme.run.get("/run/acme/main?status=queued&connection=sales").await.is(200).json;
    assert_eq!(names(&queued), ["sales"]);
    let queued = acme.run.get("/run/acme/main?status=queued&connection=support").await.is(200).json;
    assert!(names(&queued).is_empty());
    let missing = accept(acme, Some("brand")).await;
    scene.world.engine.start_jobs();
    assert_eq!(until_status(acme, &waiting, "succeeded").await["connection"], "sales");
    let skipped = until_status(acme, &missing, "skipped").await;
    assert_eq!((&skipped["reason"], &skipped["connection"]), (&json!("unconfigured"), &json!("brand")));
    assert!(skipped["message"].as_str().unwrap().contains("\"brand\""), "{skipped}");
    // Run again: through the same one.
    let path = format!("/run/acme/main/{}/rerun", waiting["run_id"].as_str().unwrap());
    let again = acme.run.post(&path, &json!({ "definition": "same" })).await.is(202).json;
    assert_eq!(again["connection"], "sales");
    until_status(acme, &again, "succeeded").await;
    // Taken up again once the connection is there, and no other run is.
    save(acme, "brand").await.is(200);
    let redrive = async |name: &str| {
        let wish = json!({ "status": "skipped", "connection": name });
        acme.org.post("/org/acme/run/redrive", &wish).await.is(200).json["count"].clone()
    };
    assert_eq!(redrive("default").await, 0);
    assert_eq!(redrive("brand").await, 1);
    assert_eq!(until_status(acme, &missing, "succeeded").await["connection"], "brand");
    assert_eq!(scene.came(), ["sales", "sales", "brand"]);
    let feed = acme.org.get("/org/acme/run/feed").await.is(200).json;
    assert!(names(&feed).iter().all(|name| ["sales", "brand"].contains(name)), "{feed}");
}

#[tokio::test]
async fn runs_of_one_key_through_different_connections_stand_in_lines_of_their_own() {
    let scene = Scene::with(quick(), &json!({})).await;
    let acme = &scene.acme;
    let mut ordered = automation(Some("sales"));
    ordered["order_by"] = json!("{{source.id}}");
    let made = acme.org.post("/org/acme/automation", &ordered).await.is(201).json;
    let path = format!("/org/acme/automation/{}", made["automation_id"].as_str().unwrap());
    let fire = async || {
        let path = format!("/run/acme/main/automation/{}", made["automation_id"].as_str().unwrap());
        let source = json!({ "source": { "id": 7 } });
        acme.run.send("POST", &path, &LATER, source.to_string().into_bytes()).await.is(202).json
    };
    let first = fire().await;
    assert!(first["next_try_at"].is_string(), "{first}");
    assert!(fire().await.get("next_try_at").is_none(), "it waits for the first");
    let mut other = ordered.clone();
    other["destination_config"]["connection"] = json!("support");
    acme.org.put(&path, &other).await.is(200);
    assert!(fire().await["next_try_at"].is_string(), "another target waits for nobody");
    scene.world.engine.start_jobs();
    until("all are made", async || scene.came().len() == 3).await;
}
