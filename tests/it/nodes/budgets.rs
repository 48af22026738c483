//! The budgets of a vendor are of all nodes together.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::Nodes;
use crate::support::figures::print_line;
use crate::support::{Answer, Script, Tenant, until};

const ID: &str = "saas";
const PATH: &str = "/v1/act";

/// A read with this budget.
fn definition(budget: &Value, max_wait_ms: u64) -> Value {
    json!({
        "connector_id": ID, "display_name": "Example", "auth_type": "api_key",
        "auth_schema": { "fields": [{ "name": "api_key", "type": "password", "required": true }] },
        "allowed_domains": ["*.salesforce.com"], "enabled": true,
        "actions": [{
            "action_id": "act", "http_method": "GET", "url_template": format!("https://api.salesforce.com{PATH}"),
            "retry": { "max_wait_ms": max_wait_ms }, "rate_limit": [budget],
        }],
    })
}

pub(crate) fn limits() -> Limits {
    Limits { concurrent_calls: 64, workspace_concurrent_calls: 64, ..Limits::default() }
}

async fn act(acme: &Tenant) -> Answer {
    acme.call(ID, "act", json!({})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_together_send_no_more_than_the_budget() {
    together(Nodes::of(limits(), &budgeted()).await, "a budget of three nodes").await;
}

const MOST: usize = 10;
const PER: Duration = Duration::from_secs(4);

/// A definition with the budget of [`together`].
pub(crate) fn budgeted() -> Value {
    definition(&json!({ "requests": MOST, "per_ms": PER.as_millis() }), 60_000)
}

/// Asks three nodes for three times the budget, and counts what the vendor gets.
pub(crate) async fn together(nodes: Nodes, title: &str) {
    let came = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&came);
    nodes.world.upstream.script(
        PATH,
        Script::made(move |_| {
            noted.lock().unwrap().push(Instant::now());
            Script::Json(200, "{}")
        }),
    );
    let calls: Vec<_> = (0..3 * MOST)
        .map(|number| {
            let acme = nodes.acme(number % 3);
            tokio::spawn(async move { act(&acme).await.is(200) })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let mut came = came.lock().unwrap().clone();
    came.sort_unstable();
    // Why a part of the time: a call that was granted its turn may reach the vendor late, and the next one at once.
    let most_within = |stretch: Duration| {
        let within =
            |first: &Instant| came.iter().filter(|at| **at >= *first && **at < *first + stretch).count();
        came.iter().map(within).max().unwrap()
    };
    let (measured, whole) = (most_within(PER * 3 / 4), most_within(PER));
    print_line(
        title,
        &json!({ "requests": MOST, "per_ms": PER.as_millis(), "most_within_it": whole, "most_within_3_4": measured }),
    );
    assert!(measured <= MOST, "{measured} of {MOST} within three quarters of the period");
    assert!(came[3 * MOST - 1] - came[0] >= PER * 2 * 3 / 4, "three times the budget takes two periods");
}

#[tokio::test]
async fn a_budget_that_one_node_used_up_is_used_up_for_another() {
    let nodes = Nodes::of(limits(), &definition(&json!({ "requests": 2, "per_ms": 60_000 }), 100)).await;
    act(&nodes.acme(0)).await.is(200);
    act(&nodes.acme(1)).await.is(200);
    let refused = act(&nodes.acme(2)).await.problem(Code::RateLimited);
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    // With the jitter of an answer, and what the clocks may differ by.
    assert!((55..=66).contains(&seconds), "{seconds}");
    assert_eq!(nodes.world.upstream.received_on(PATH).len(), 2);
}

#[tokio::test]
async fn no_more_requests_are_under_way_at_a_time_than_the_budget_says() {
    let nodes = Nodes::of(limits(), &definition(&json!({ "concurrency": 2 }), 20_000)).await;
    let permits = Arc::new(Semaphore::new(0));
    let held = Script::Held(Arc::clone(&permits), Box::new(Script::Json(200, "{}")));
    nodes.world.upstream.script(PATH, held);
    let calls: Vec<_> = (0..6)
        .map(|number| {
            let acme = nodes.acme(number % 3);
            tokio::spawn(async move { act(&acme).await })
        })
        .collect();
    for round in 1..=3 {
        until("two are there", async || nodes.world.upstream.received_on(PATH).len() >= 2 * round).await;
        // A call that was not delayed would have arrived by the time of the next answers.
        for node in 0..3 {
            nodes.acme(node).ledger().await;
        }
        assert_eq!(nodes.world.upstream.received_on(PATH).len(), 2 * round);
        permits.add_permits(2);
    }
    for call in calls {
        call.await.unwrap().is(200);
    }
}
