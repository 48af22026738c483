//! Accepted runs of a vendor that does not work: they wait until it does, and cost it next to nothing.

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use super::{FAILURES, ID, PATH, act, connected, definition, fail, listed, long, short, world};
use crate::support::{Script, Tenant, until};

async fn accept(tenant: &Tenant) -> String {
    let path = format!("/run/{}/{}/connector/{ID}/act", tenant.org_id, tenant.workspace_id);
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    let answer = tenant.run.send("POST", &path, &headers, br#"{"input":{}}"#.to_vec()).await.is(202);
    answer.json["run_id"].as_str().unwrap().to_owned()
}

async fn read(tenant: &Tenant, run: &str, wait: &str) -> Value {
    let path = format!("/run/{}/{}/{run}{wait}", tenant.org_id, tenant.workspace_id);
    tenant.run.get(&path).await.is(200).json
}

#[tokio::test]
async fn runs_wait_for_a_dead_vendor_and_are_executed_when_it_works_again() {
    const RUNS: usize = 100;
    let limits = Limits {
        breaker_open_ms: 20,
        breaker_open_max_ms: 100,
        job_retry_base_ms: 1,
        job_retry_spare_ms: 100,
        ..short()
    };
    let world = world(limits).await;
    // Why: an action that is tried once is tried once here, too.
    let mut tried = definition(ID);
    tried["actions"][0]["retry"] = json!({ "base_ms": 1 });
    world.platform.put("/admin/connector/saas", &tried).await.is(200);
    let acme = connected(&world, "acme").await;
    world.upstream.script(PATH, Script::Json(503, "{}"));
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(accept(&acme).await);
    }
    world.engine.start_jobs();
    until("it is open", async || !listed(&world).await.is_empty()).await;
    let at_first = world.upstream.received_on(PATH).len();
    until("it was probed", async || world.upstream.received_on(PATH).len() >= at_first + 2).await;
    world.upstream.script(PATH, Script::Json(200, "{}"));
    for run in &runs {
        let end = read(&acme, run, "?wait=30").await;
        assert_eq!(end["status"], "succeeded", "{end}");
    }
    let received = world.upstream.received_on(PATH).len();
    assert!((RUNS + 1..=RUNS * 12 / 10).contains(&received), "{received} requests for {RUNS} runs");
}

#[tokio::test]
async fn a_run_that_waits_was_not_tried_and_says_why() {
    let world = world(long()).await;
    let acme = connected(&world, "acme").await;
    world.upstream.script(PATH, Script::Json(503, "{}"));
    fail(&acme, FAILURES).await;
    act(&acme).await.problem(Code::CircuitOpen);
    world.engine.start_jobs();
    let run = accept(&acme).await;
    until("it was put off", async || read(&acme, &run, "").await["code"] == "circuit_open").await;
    let waiting = read(&acme, &run, "").await;
    assert_eq!((&waiting["status"], &waiting["tries"]), (&json!("queued"), &json!(0)), "{waiting}");
    assert!(!portcullis_engine::clock::has_passed(waiting["next_try_at"].as_str().unwrap()), "{waiting}");
    assert_eq!(world.upstream.received_on(PATH).len(), FAILURES);
}
