//! Waits between attempts: as long as the upstream asks, never longer than the definition allows, and ended
//! at once when the call is.

use std::time::{Duration, Instant};

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use super::{ID, PATH, connected, connected_on, definition};
use crate::support::token_server::answer_with;
use crate::support::{Script, Stage, Tenant, until};

fn start(acme: &Tenant) -> tokio::task::JoinHandle<crate::support::Answer> {
    let run = acme.run.clone();
    tokio::spawn(async move { run.post("/run/acme/main/connector/saas/act", &json!({ "input": {} })).await })
}

/// Seconds from now until the run's `retry_at`.
fn seconds_to(run: &Value) -> f64 {
    let at: jiff::Timestamp = run["retry_at"].as_str().expect("retry_at").parse().unwrap();
    at.duration_since(jiff::Timestamp::now()).as_secs_f64()
}

#[tokio::test]
async fn a_wait_is_as_long_as_the_upstream_asks() {
    let (world, acme) = connected(&definition("GET", &json!({}), &json!({}))).await;
    let busy = answer_with(429, &[("retry-after", "1")], "{}");
    world.upstream.script(PATH, Script::turns(vec![busy, Script::Json(200, "{}")]));
    let started = Instant::now();
    acme.call(ID, "act", json!({})).await.is(200);
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_wait_longer_than_the_definitions_is_not_waited_but_told() {
    let later = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3600)).as_second().to_string();
    for (header, value, retry) in [
        ("retry-after", "3600", json!({ "max_wait_ms": 1000 })),
        (
            "x-ratelimit-reset",
            later.as_str(),
            json!({ "headers": [
            { "name": "X-RateLimit-Reset", "kind": "epoch_s",
              "when_remaining_zero": "X-RateLimit-Remaining" },
        ] }),
        ),
    ] {
        let (world, acme) = connected(&definition("GET", &json!({ "retry": retry }), &json!({}))).await;
        let headers = [(header, value), ("x-ratelimit-remaining", "0")];
        world.upstream.script(PATH, answer_with(429, &headers, "{}"));
        let answer = acme.call(ID, "act", json!({})).await.problem(Code::UpstreamStatus);
        let run = &answer.json["run"];
        assert_eq!(world.upstream.received().len(), 1, "no repeat");
        let wait = seconds_to(run);
        assert!((3500.0..=3600.0).contains(&wait), "{wait}");
        assert_eq!((&run["retryable"], &run["class"]), (&json!(true), &json!("rate_limit")));
        let kept = format!("/run/acme/main/{}", run["run_id"].as_str().unwrap());
        assert_eq!(acme.run.get(&kept).await.is(200).json["retry_at"], run["retry_at"]);
    }
}

#[tokio::test]
async fn a_wait_that_ends_after_the_call_is_not_begun() {
    let stage = Stage { limits: Limits { call_ms: 2000, ..Stage::default().limits }, ..Stage::default() };
    let (world, acme) = connected_on(stage, &definition("GET", &json!({}), &json!({}))).await;
    world.upstream.script(PATH, answer_with(503, &[("retry-after", "20")], "{}"));
    let started = Instant::now();
    let answer = acme.call(ID, "act", json!({})).await.problem(Code::UpstreamStatus);
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(seconds_to(&answer.json["run"]) > 15.0);
    assert_eq!(world.upstream.received().len(), 1);
}

#[tokio::test]
async fn a_wait_is_ended_within_a_second_by_all_who_may_end_the_call() {
    for (ends, code) in
        [("kill", Code::ConnectorDisabled), ("opt_out", Code::CallEnded), ("org_list", Code::HostNotInOrg)]
    {
        let (world, acme) = connected(&definition("GET", &json!({}), &json!({}))).await;
        world.upstream.script(PATH, answer_with(503, &[("retry-after", "25")], "{}"));
        let call = start(&acme);
        until("the first try is over", async || {
            let entries = acme.ledger().await;
            entries.first().is_some_and(|entry| entry["status"] == 503)
        })
        .await;
        let off = json!({ "enabled": false });
        let started = Instant::now();
        match ends {
            "kill" => {
                world.platform.patch("/admin/connector/saas", &off).await.is(200);
            }
            "opt_out" => {
                acme.workspace.put(&acme.setting(ID), &off).await.is(200);
            }
            _ => acme.allow(json!(["api.hubapi.com"]), "enforce").await,
        }
        call.await.unwrap().problem(code);
        assert!(started.elapsed() < Duration::from_secs(1), "{ends}: {:?}", started.elapsed());
        assert_eq!(world.upstream.received().len(), 1, "{ends}");
    }
}
