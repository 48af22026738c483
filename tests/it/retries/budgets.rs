//! The connection's own budgets: how often, how many at the same time, and who shares them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::fault::Code;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{ID, PATH, connect, connected, definition};
use crate::support::{Answer, Script, Tenant, until};

/// A read with an input and this budget; it waits a tenth of a second at most.
fn budgeted(budget: &Value) -> Value {
    let more = json!({
        "retry": { "max_wait_ms": 100 }, "rate_limit": [budget],
        "body_schema": [{ "name": "base", "label": "Base" }],
    });
    definition("GET", &more, &json!({}))
}

async fn act(tenant: &Tenant, base: &str) -> Answer {
    tenant.call(ID, "act", json!({ "base": base })).await
}

#[tokio::test]
async fn a_budget_that_is_used_up_is_429_with_the_time_to_come_back_and_nothing_is_sent() {
    let budget = json!({ "requests": 2, "per_ms": 60_000, "key": "{{input.base}}" });
    let (world, acme) = connected(&budgeted(&budget)).await;
    for _ in 0..2 {
        act(&acme, "one").await.is(200);
    }
    let before = world.before().await;
    let answer = act(&acme, "one").await.problem(Code::RateLimited);
    world.assert_nothing_left(&before).await;
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((50..=60).contains(&seconds), "{seconds}");
    let run = &answer.json["run"];
    assert_eq!((&run["status"], &run["class"]), (&json!("failed"), &json!("rate_limit")));
    let at: jiff::Timestamp = run["retry_at"].as_str().unwrap().parse().unwrap();
    let wait = at.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((50..=60).contains(&wait), "{wait}");
    act(&acme, "two").await.is(200);
    act(&acme, "two").await.is(200);
    act(&acme, "two").await.problem(Code::RateLimited);
    assert_eq!(world.upstream.received().len(), 4);
}

#[tokio::test]
async fn a_budget_is_shared_by_whom_its_scope_says() {
    for (scope, beside, elsewhere) in
        [("connection", true, true), ("org", false, true), ("connector", false, false)]
    {
        let budget = json!({ "requests": 1, "per_ms": 60_000, "scope": scope });
        let (world, acme) = connected(&budgeted(&budget)).await;
        let (neighbour, globex) =
            (world.tenant("acme", "second").await, world.tenant("globex", "main").await);
        connect(&neighbour).await;
        connect(&globex).await;
        act(&acme, "x").await.is(200);
        act(&acme, "x").await.problem(Code::RateLimited);
        for (tenant, may) in [(&neighbour, beside), (&globex, elsewhere)] {
            act(tenant, "x").await.is(if may { 200 } else { 429 });
        }
    }
}

#[tokio::test]
async fn no_stretch_of_time_sees_more_than_the_budgets_requests() {
    const PER: Duration = Duration::from_millis(700);
    let mut definition = budgeted(&json!({ "requests": 3, "per_ms": 700 }));
    definition["actions"][0]["retry"]["max_wait_ms"] = json!(20_000);
    let (world, acme) = connected(&definition).await;
    let started = Instant::now();
    let calls: Vec<_> = (0..9)
        .map(|_| {
            let run = acme.run.clone();
            tokio::spawn(async move {
                run.post("/run/acme/main/connector/saas/act", &json!({ "input": {} })).await.is(200);
                started.elapsed()
            })
        })
        .collect();
    let mut done = Vec::new();
    for call in calls {
        done.push(call.await.unwrap());
    }
    done.sort();
    // Ends follow their turns, so this can only fail for a budget that allows too much.
    assert!(done[3] >= PER && done[6] >= 2 * PER, "{done:?}");
    assert_eq!(world.upstream.received().len(), 9);
}

#[tokio::test]
async fn no_more_calls_run_at_a_time_than_the_budget_says() {
    let mut definition = budgeted(&json!({ "concurrency": 2 }));
    definition["actions"][0]["retry"]["max_wait_ms"] = json!(20_000);
    let (world, acme) = connected(&definition).await;
    let permits = Arc::new(Semaphore::new(0));
    let held = Script::Held(Arc::clone(&permits), Box::new(Script::Json(200, "{}")));
    world.upstream.script(PATH, held);
    let calls: Vec<_> = (0..6)
        .map(|_| {
            let run = acme.run.clone();
            tokio::spawn(async move {
                run.post("/run/acme/main/connector/saas/act", &json!({ "input": {} })).await
            })
        })
        .collect();
    for round in 1..=3 {
        until("two are there", async || world.upstream.received().len() >= 2 * round).await;
        // A call that was not delayed would have arrived by the time of the next answer.
        acme.ledger().await;
        assert_eq!(world.upstream.received().len(), 2 * round);
        permits.add_permits(2);
    }
    for call in calls {
        call.await.unwrap().is(200);
    }
}

#[tokio::test]
async fn a_place_that_is_not_free_in_time_is_429() {
    let (world, acme) = connected(&budgeted(&json!({ "concurrency": 1 }))).await;
    world.upstream.script(PATH, Script::Silence);
    let run = acme.run.clone();
    let first =
        tokio::spawn(
            async move { run.post("/run/acme/main/connector/saas/act", &json!({ "input": {} })).await },
        );
    until("the first is there", async || world.upstream.received().len() == 1).await;
    let answer = act(&acme, "x").await.problem(Code::RateLimited);
    assert_eq!(answer.header("retry-after"), Some("1"));
    world.platform.patch("/admin/connector/saas", &json!({ "enabled": false })).await.is(200);
    first.await.unwrap().problem(Code::ConnectorDisabled);
    world.platform.patch("/admin/connector/saas", &json!({ "enabled": true })).await.is(200);
    world.upstream.script(PATH, Script::Json(200, "{}"));
    act(&acme, "x").await.is(200);
}
