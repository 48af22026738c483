//! Limits of an org: who may set them, and that they count for the next call, over all its workspaces and for no other
//! org.

use std::sync::Arc;

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::support::{Answer, Script, Stage, Tenant, World, until};

const KEY: &str = "sk-live-0123456789abcdef";
const LIMITS: &str = "/admin/org/acme/limits";

/// The Salesforce example with two workspaces of one org and one of another, all connected.
async fn three() -> (World, [Tenant; 3]) {
    let (world, acme) = World::salesforce().await;
    let side = world.tenant("acme", "side").await;
    let globex = world.tenant("globex", "main").await;
    for tenant in [&acme, &side, &globex] {
        tenant.connect("salesforce", json!({ "api_key": KEY })).await;
    }
    (world, [acme, side, globex])
}

fn start(tenant: &Tenant) -> JoinHandle<Answer> {
    let run = tenant.run.clone();
    let path = format!("/run/{}/{}/connector/salesforce/create-contact", tenant.org_id, tenant.workspace_id);
    tokio::spawn(async move { run.post(&path, &json!({ "input": { "Email": "ada@example.org" } })).await })
}

async fn send_later(tenant: &Tenant, email: &str) -> Answer {
    let path = format!("/run/{}/{}/connector/salesforce/create-contact", tenant.org_id, tenant.workspace_id);
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    let body = json!({ "input": { "Email": email } }).to_string();
    tenant.run.send("POST", &path, &headers, body.into_bytes()).await
}

#[tokio::test]
async fn the_platform_sets_limits_within_its_own_and_the_org_reads_them() {
    let limits = Limits { concurrent_calls: 32, ..Limits::default() };
    let (world, acme) = World::salesforce_on(Stage { limits, ..Stage::default() }).await;
    let none = acme.org.get("/org/acme/limits").await.is(200).json;
    assert_eq!((&none["calls_in_flight"], &none["updated_at"]), (&Value::Null, &Value::Null));
    assert_eq!(none["in_force"]["calls_in_flight"], 32);
    assert_eq!((&none["used"]["calls_in_flight"], &none["used"]["calls_per_minute"]), (&json!(0), &json!(0)));
    let wish = json!({ "calls_in_flight": 32, "stored_bytes": 1_000_000_000 });
    let set = world.platform.put(LIMITS, &wish).await.is(200).json;
    assert_eq!((&set["calls_in_flight"], &set["calls_per_minute"]), (&json!(32), &Value::Null));
    assert_eq!(set["in_force"]["stored_bytes"], 1_000_000_000);
    assert!(set["updated_at"].is_string());
    assert_eq!(acme.org.get("/org/acme/limits").await.is(200).json["stored_bytes"], 1_000_000_000);
    for (bad, pointer, says) in [
        (json!({ "calls_in_flight": 33 }), "/calls_in_flight", "limits.concurrent_calls"),
        (json!({ "calls_per_minute": 6_000_001 }), "/calls_per_minute", "limits.org_calls_per_minute"),
        (json!({ "stored_bytes": 2_000_000_000_000_u64 }), "/stored_bytes", "limits.org_stored_bytes"),
    ] {
        let refused = world.platform.put(LIMITS, &bad).await.problem(Code::ValidationFailed);
        assert_eq!(refused.violations(), [(pointer, "out_of_range")], "{bad}");
        assert!(refused.text.contains(says), "{}", refused.text);
    }
    let kept = world.platform.get(LIMITS).await.is(200).json;
    assert_eq!(kept["calls_in_flight"], 32, "what was refused set nothing");
    for stranger in [&acme.org, &acme.workspace, &acme.run] {
        stranger.put(LIMITS, &json!({})).await.problem(Code::RoleNotAllowed);
        stranger.delete(LIMITS).await.problem(Code::RoleNotAllowed);
        stranger.get(LIMITS).await.problem(Code::RoleNotAllowed);
    }
    acme.run.get("/org/acme/limits").await.problem(Code::RoleNotAllowed);
    world.platform.put("/admin/org/none/limits", &json!({})).await.problem(Code::OrgNotFound);
    world.platform.delete(LIMITS).await.is(204);
    let gone = acme.org.get("/org/acme/limits").await.is(200).json;
    assert_eq!((&gone["stored_bytes"], &gone["updated_at"]), (&Value::Null, &Value::Null));
    world.platform.put(LIMITS, &wish).await.is(200);
    world.platform.delete("/admin/org/acme/workspace/main").await.is(204);
    world.platform.delete("/admin/org/acme").await.is(204);
    world.platform.post("/admin/org", &json!({ "org": "acme" })).await.is(201);
    let anew = world.platform.get(LIMITS).await.is(200).json;
    assert_eq!(anew["calls_in_flight"], Value::Null, "a later org of that name starts without");
}

#[tokio::test]
async fn an_org_has_only_so_many_calls_at_once_and_no_workspace_keeps_its_sibling_out() {
    let (world, [acme, side, globex]) = three().await;
    world.platform.put(LIMITS, &json!({ "calls_in_flight": 2 })).await.is(200);
    let held = Arc::new(Semaphore::new(0));
    let answer = Box::new(Script::Json(200, "{}"));
    world.upstream.script("/v1/contacts", Script::Held(Arc::clone(&held), answer));
    let mut running = vec![start(&acme), start(&acme)];
    until("both wait for their upstream", async || world.upstream.received().len() == 2).await;
    assert_eq!(acme.org.get("/org/acme/limits").await.is(200).json["used"]["calls_in_flight"], 2);
    let refused = side.create_contact().await.problem(Code::OrgBusy);
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    assert!(refused.json["run"].is_null() && refused.text.contains("calls_in_flight"), "{}", refused.text);
    running.push(start(&globex));
    until("the other org's call arrives", async || world.upstream.received().len() == 3).await;
    let mut left = 3;
    while world.engine.scheduler().calls_of_org("acme") == 2 {
        held.add_permits(1);
        left -= 1;
        until("one has ended", async || world.engine.scheduler().calls() == left).await;
    }
    // The place that became free is for the workspace that was refused.
    acme.create_contact().await.problem(Code::OrgBusy);
    running.push(start(&side));
    until("the sibling's call arrives", async || world.upstream.received().len() == 4).await;
    world.platform.put(LIMITS, &json!({ "calls_in_flight": 5 })).await.is(200);
    running.push(start(&acme));
    until("a raised limit counts at once", async || world.upstream.received().len() == 5).await;
    held.add_permits(10);
    for call in running {
        call.await.unwrap().is(200);
    }
    assert_eq!(world.engine.scheduler().calls(), 0);
}

#[tokio::test]
async fn an_org_makes_only_so_many_calls_within_a_minute() {
    let (world, [acme, side, globex]) = three().await;
    world.platform.put(LIMITS, &json!({ "calls_per_minute": 2 })).await.is(200);
    acme.create_contact().await.is(200);
    let dry = "/run/acme/main/connector/salesforce/create-contact?dry_run=true";
    let input = json!({ "input": { "Email": "ada@example.org" } });
    acme.run.post(dry, &input).await.is(200);
    side.create_contact().await.is(200);
    let before = world.before().await;
    for tenant in [&acme, &side] {
        let refused = tenant.create_contact().await.problem(Code::OrgRateLimited);
        let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=91).contains(&seconds), "{seconds}");
        assert!(refused.json["run"].is_null(), "nothing ran");
    }
    world.assert_untouched(&before).await;
    acme.run.post(dry, &input).await.is(200);
    globex.create_contact().await.is(200);
    assert_eq!(acme.org.get("/org/acme/limits").await.is(200).json["used"]["calls_per_minute"], 2);
    // An accepted run is put off, and that is no try.
    let accepted = send_later(&acme, "ada@example.org").await.is(202).json;
    let path = format!("/run/acme/main/{}", accepted["run_id"].as_str().unwrap());
    world.engine.start_jobs();
    let read = async || acme.run.get(&path).await.is(200).json;
    until("it was put off", async || read().await["next_try_at"] != accepted["next_try_at"]).await;
    until("it waits", async || read().await["status"] == "queued").await;
    assert_eq!(read().await["tries"], 0);
    assert_eq!(world.upstream.received().len(), 3, "two of the org, one of the other");
    world.platform.put(LIMITS, &json!({ "calls_per_minute": 3 })).await.is(200);
    acme.create_contact().await.is(200);
}

#[tokio::test]
async fn an_org_that_stores_too_much_has_no_further_run_accepted_and_its_calls_go_on() {
    let (world, [acme, side, globex]) = three().await;
    let used = acme.org.get("/org/acme/limits").await.is(200).json["used"]["stored_bytes"].as_u64().unwrap();
    world.platform.put(LIMITS, &json!({ "stored_bytes": used + 6000 })).await.is(200);
    let long = format!("{}@example.org", "x".repeat(4000));
    let first = send_later(&acme, &long).await.is(202).json;
    let refused = send_later(&side, &long).await.problem(Code::OrgStorageFull);
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("60")));
    assert!(refused.text.contains("stored_bytes"), "{}", refused.text);
    send_later(&globex, &long).await.is(202);
    side.create_contact().await.is(200);
    let run = format!("/run/acme/main/{}", first["run_id"].as_str().unwrap());
    acme.run.get(&run).await.is(200);
    world.platform.put(LIMITS, &json!({})).await.is(200);
    send_later(&side, &long).await.is(202);
}
