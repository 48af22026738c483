//! How many requests a vendor gets that is down: a fifth more than there are runs, whichever of them fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use portcullis_core::limits::Limits;
use serde_json::json;

use super::{PATH, Scene, accept, ended, keyed, quick, until_status};
use crate::support::figures::{count, print_line};
use crate::support::{Script, until};

const BUSY: Script = Script::Json(503, "{}");
const DONE: Script = Script::Json(200, "{}");

/// Limits without spare tries: only the share counts here, however long it takes.
/// Why without breakers: they would keep requests back before the budget does. Why more places than runs are executed at
/// once: some are left for those who ask for further ones.
fn sharing() -> Limits {
    Limits {
        job_retry_spare_ms: 3_600_000,
        workspace_jobs: 32,
        concurrent_calls: 64,
        breaker_failures: 10_000,
        ..quick()
    }
}

/// Shows the ratio of requests to runs, and asserts it.
fn judge(what: &str, runs: usize, requests: usize) {
    let line = json!({ "runs": runs, "requests": requests, "ratio": requests as f64 / runs as f64 });
    print_line(what, &line);
    assert!(requests >= runs, "each run was tried: {line}");
    assert!(requests * 10 <= runs * 12, "at most 1.2 requests for each run: {line}");
}

#[tokio::test]
async fn runs_of_which_half_have_a_dead_vendor_make_a_fifth_more_requests_at_most() {
    let runs = count("PORTCULLIS_DEAD_RUNS", 100);
    let scene = Scene::new(sharing(), &keyed()).await;
    let by_note = Script::made(|request| if request.text().contains("dead") { BUSY } else { DONE });
    scene.world.upstream.script(PATH, by_note);
    let mut accepted = Vec::new();
    for n in 0..runs {
        let is_dead = n % 2 == 0;
        let note = format!("{}-{n}", if is_dead { "dead" } else { "well" });
        accepted.push((is_dead, accept(&scene.acme, &note).await));
    }
    scene.world.engine.start_jobs();
    for (is_dead, run) in &accepted {
        if *is_dead {
            until_status(&scene.acme, run, "waiting").await;
        } else {
            assert_eq!(ended(&scene.acme, run).await["status"], "succeeded");
        }
    }
    until("some are tried again", async || scene.world.upstream.received_on(PATH).len() > runs).await;
    judge("a dead vendor for half of the runs", runs, scene.world.upstream.received_on(PATH).len());
}

#[tokio::test]
async fn a_vendor_that_comes_back_gets_a_fifth_more_requests_at_most() {
    let runs = count("PORTCULLIS_DEAD_RUNS", 100);
    let scene = Scene::new(sharing(), &keyed()).await;
    let is_down = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&is_down);
    let script = Script::made(move |_| if state.load(Ordering::SeqCst) { BUSY } else { DONE });
    scene.world.upstream.script(PATH, script);
    scene.world.engine.start_jobs();
    let mut first = Vec::new();
    for n in 0..runs / 2 {
        first.push(accept(&scene.acme, &format!("before-{n}")).await);
    }
    for run in &first {
        until_status(&scene.acme, run, "waiting").await;
    }
    let down = scene.world.upstream.received_on(PATH).len();
    judge("a vendor that is down", first.len(), down);
    is_down.store(false, Ordering::SeqCst);
    let mut second = Vec::new();
    for n in 0..runs / 2 {
        second.push(accept(&scene.acme, &format!("after-{n}")).await);
    }
    for run in &second {
        assert_eq!(ended(&scene.acme, run).await["status"], "succeeded");
    }
    judge("a vendor that comes back", runs / 2 * 2, scene.world.upstream.received_on(PATH).len());
}
