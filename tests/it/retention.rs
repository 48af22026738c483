//! Retention: terms of an org and of the platform, who may set them, and what a sweep leaves.

use portcullis_core::fault::Code;
use portcullis_core::id::{OrgId, RunId, WorkspaceId};
use portcullis_engine::retention;
use portcullis_store::{
    FileRuns, RetentionChange, RetentionRecord, RetentionTerms, RunRecord, Runs as _, Writes,
};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use crate::support::World;

const KEY: &str = "sk-live-0123456789abcdef";

#[tokio::test]
async fn terms_are_set_shown_and_bounded_by_those_of_the_platform() {
    let (world, acme) = World::salesforce().await;
    let (own, all) = ("/org/acme/settings/retention", "/admin/settings/retention");
    let none = acme.org.get(own).await.is(200).json;
    assert_eq!((&none["runs_days"], &none["changes"]), (&Value::Null, &json!([])));
    assert_eq!(
        (&none["in_force"]["input_days"], &none["in_force"]["ledger_days_min"]),
        (&json!(14), &json!(30))
    );
    let set = acme.org.put(own, &json!({ "runs_days": 90, "bytes": 1_000_000_000 })).await.is(200).json;
    assert_eq!((&set["runs_days"], &set["bytes"]), (&json!(90), &json!(1_000_000_000)));
    assert_eq!(set["in_force"]["runs_days"], Value::Null, "a shorter term counts a day later");
    assert!(set["changes"][0]["token_id"].as_str().unwrap().starts_with("tok_"), "who set it is on record");
    let platform =
        world.platform.put(all, &json!({ "ledger_days": 400, "ledger_days_min": 60 })).await.is(200).json;
    assert_eq!(platform["in_force"]["ledger_days_min"], 60, "longer, at once");
    let again = acme.org.put(own, &json!({ "runs_days": null })).await.is(200).json;
    assert_eq!(
        (&again["runs_days"], &again["bytes"]),
        (&Value::Null, &Value::Null),
        "what is absent is not set"
    );
    assert_eq!(again["changes"].as_array().unwrap().len(), 2);
    assert_eq!(again["changes"][1]["terms"]["runs_days"], 90, "newest first");
    world.platform.get(all).await.is(200);
    for (bad, named) in [
        (json!({ "runs_days": 0 }), "runs_days"),
        (json!({ "ledger_days": 36_501 }), "ledger_days"),
        (json!({ "input_days": -1 }), "input_days"),
        (json!({ "bytes": 1_048_575 }), "bytes"),
        (json!({ "ledger_days_min": 1 }), "ledger_days_min"),
        (json!({ "days": 1 }), "days"),
    ] {
        let answer = acme.org.put(own, &bad).await;
        assert!((400..500).contains(&answer.status) && answer.text.contains(named), "{bad}: {}", answer.text);
    }
    assert_eq!(
        acme.org.get(own).await.is(200).json["changes"].as_array().unwrap().len(),
        2,
        "nothing was set"
    );
}

#[tokio::test]
async fn terms_are_the_org_s_or_the_platform_s_alone() {
    let (world, acme) = World::salesforce().await;
    let other = world.tenant("other", "main").await;
    let (own, all) = ("/org/acme/settings/retention", "/admin/settings/retention");
    let wish = json!({ "runs_days": 1 });
    other.org.get(own).await.problem(Code::OrgNotFound);
    other.org.put(own, &wish).await.problem(Code::OrgNotFound);
    for client in [&acme.workspace, &acme.run, &world.platform] {
        client.put(own, &wish).await.problem(Code::RoleNotAllowed);
    }
    for client in [&acme.org, &acme.workspace, &acme.run] {
        client.put(all, &wish).await.problem(Code::RoleNotAllowed);
        client.get(all).await.problem(Code::RoleNotAllowed);
    }
    assert_eq!(acme.org.get(own).await.is(200).json["changes"], json!([]));
}

#[tokio::test]
async fn a_sweep_keeps_what_is_within_its_term_and_the_ledger_verifies_before_and_after() {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    for _ in 0..3 {
        acme.create_contact().await.is(200);
    }
    acme.org.put("/org/acme/settings/retention", &json!({ "runs_days": 1, "ledger_days": 1 })).await.is(200);
    for runs in 3..5 {
        let swept = retention::sweep(&world.engine).await.unwrap();
        assert_eq!((swept.run_files, swept.ledger_segments), (0, 0), "nothing is a day old");
        let chain = acme.org.get("/org/acme/outbound/verify").await.is(200).json;
        assert_eq!((&chain["intact"], &chain["anchored"]), (&json!(true), &json!(false)));
        let listed = acme.run.get("/run/acme/main").await.is(200).json;
        assert_eq!(listed["data"].as_array().unwrap().len(), runs);
        acme.create_contact().await.is(200);
    }
}

/// A run of acme's main workspace that ended on this day.
fn old_run(n: u32, day: &str) -> RunRecord {
    let run_id = format!("run_016f5e66e8{n:02x}7abc8def0123456789ab");
    let usage = json!({
        "requests": 0, "retries": 0, "fuel": 0, "memory_peak_bytes": 0, "guest_us": 0, "upstream_us": 0,
        "total_us": 1,
    });
    let body = json!({
        "run_id": run_id, "status": "skipped", "connector_id": "salesforce", "action_id": "create-contact",
        "revision": 1, "reason": "opted_out", "decisions": [], "usage": usage,
    });
    RunRecord {
        run_id: RunId::parse(&run_id).unwrap(),
        org: OrgId::parse("acme").unwrap(),
        workspace: WorkspaceId::parse("main").unwrap(),
        created_at: format!("{day}T00:00:00.{n:06}Z"),
        body: to_raw_value(&body).unwrap(),
    }
}

#[tokio::test]
async fn a_sweep_drops_what_is_older_than_a_term_that_is_in_force_and_calls_go_on() {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    let earlier = FileRuns::open(&world.data_dir().join("runs")).unwrap();
    for n in 0..3 {
        earlier.append(&old_run(n, "2020-01-01")).await.unwrap();
    }
    drop(earlier);
    let listed = async || {
        let page = acme.run.get("/run/acme/main").await.is(200).json;
        page["data"].as_array().unwrap().len()
    };
    assert_eq!(listed().await, 3);
    assert_eq!(retention::sweep(&world.engine).await.unwrap().run_files, 0, "there is no term");
    // Set long ago, so that it counts.
    let terms = RetentionTerms { runs_days: Some(30), ..RetentionTerms::default() };
    let change = RetentionChange { terms, at: "2020-01-01T00:00:00Z".to_owned(), token_id: None };
    let record = RetentionRecord { changes: vec![change], before: None };
    world.engine.records().commit(Writes::new().put(&["org", "acme"], &record)).await.unwrap();
    let shown = acme.org.get("/org/acme/settings/retention").await.is(200).json;
    assert_eq!(shown["in_force"]["runs_days"], 30);
    assert_eq!(retention::sweep(&world.engine).await.unwrap().run_files, 1);
    assert_eq!(listed().await, 0);
    acme.create_contact().await.is(200);
    assert_eq!(retention::sweep(&world.engine).await.unwrap().run_files, 0);
    assert_eq!(listed().await, 1, "what is young stays");
    let chain = acme.org.get("/org/acme/outbound/verify").await.is(200).json;
    assert_eq!(chain["intact"], true);
}
