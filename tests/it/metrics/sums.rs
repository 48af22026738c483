//! What is counted is what is recorded: calls of every end against the runs, and the ledger against its records.

use std::collections::BTreeMap;

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use super::{Client, KEY, Scraped, Script, Stage, Tenant, World, all_records, all_runs, scrape};
use crate::support::until;

/// How many runs have each end, in the words of the metric.
fn by_end(runs: &[Value]) -> BTreeMap<(String, String), f64> {
    let mut counts = BTreeMap::new();
    for run in runs {
        let word = |name: &str| run[name].as_str().map(str::to_owned);
        let code = word("code").or_else(|| word("reason")).unwrap_or_default();
        *counts.entry((word("status").unwrap(), code)).or_default() += 1.0;
    }
    counts
}

fn assert_agrees(scraped: &Scraped, runs: &[Value], records: &[Value]) {
    assert_eq!(scraped.sum("portcullis_calls_total", &[]), runs.len() as f64);
    assert_eq!(scraped.sum("portcullis_runs_recorded_total", &[]), runs.len() as f64);
    for ((status, code), count) in by_end(runs) {
        let labels = [format!("outcome=\"{status}\""), format!("code=\"{code}\"")];
        let counted = scraped.sum("portcullis_calls_total", &[&labels[0], &labels[1]]);
        assert_eq!(counted, count, "{status} {code}");
    }
    for phase in ["begin", "complete", "refused"] {
        let written = records.iter().filter(|record| record["event"]["phase"] == phase).count();
        let label = format!("phase=\"{phase}\"");
        assert_eq!(scraped.sum("portcullis_ledger_records_total", &[&label]), written as f64, "{phase}");
    }
}

/// Calls of every end that a caller can wait for, some at the same time.
async fn mixed(world: &World, main: &Tenant, side: &Tenant, rounds: usize) {
    for round in 0..rounds {
        let script = match round % 3 {
            0 => Script::json(201, &json!({ "id": "003", "success": true })),
            1 => Script::json(400, &json!({ "message": "no" })),
            _ => Script::json(401, &json!({ "message": "no" })),
        };
        world.upstream.script("/v1/contacts", script);
        let list = if round % 4 == 3 { json!([]) } else { json!(["*.salesforce.com"]) };
        main.allow(list, "enforce").await;
        let (a, b, c) = tokio::join!(main.create_contact(), main.create_contact(), side.create_contact());
        assert!(
            [a, b, c]
                .iter()
                .all(|answer| answer.json["run_id"].is_string() || answer.json["run"].is_object())
        );
    }
}

#[tokio::test]
async fn sums_agree_with_runs_and_ledger_after_calls_of_every_end() {
    let (world, main) = World::salesforce().await;
    let side = world.tenant("acme", "side").await;
    main.connect("salesforce", json!({ "api_key": KEY })).await;
    mixed(&world, &main, &side, 40).await;
    main.allow(json!(["*.salesforce.com"]), "enforce").await;
    // None of these is a run: a dry run, and an input that is wrong.
    let path = "/run/acme/main/connector/salesforce/create-contact";
    main.run.post(path, &json!({ "input": { "none": 1 } })).await.problem(Code::InputInvalid);
    let dry = json!({ "input": { "Email": "ada@example.org" } });
    main.run.post(&format!("{path}?dry_run=true"), &dry).await.is(200);
    let runs = all_runs(&world.platform).await;
    assert_eq!(runs.len(), 120);
    let scraped = scrape(&world.platform).await;
    assert_agrees(&scraped, &runs, &all_records(&main).await);
    let of_list = scraped.sum("portcullis_refusals_total", &["check=\"org_domains\""]);
    assert_eq!(of_list, 20.0, "two calls in every fourth round");
    let calls = scraped.sum("portcullis_call_seconds_count", &["phase=\"total\""]);
    assert!((80.0..=120.0).contains(&calls), "{calls}: those that were skipped may have taken no time");
}

#[tokio::test]
async fn accepted_runs_are_counted_once_at_their_end_and_their_tries_in_the_times() {
    let limits =
        Limits { concurrent_calls: 32, job_retry_base_ms: 1, job_retry_spare_ms: 1, ..Limits::default() };
    let (world, main) = World::salesforce_on(Stage { limits, ..Stage::default() }).await;
    main.connect("salesforce", json!({ "api_key": KEY })).await;
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    let body = json!({ "input": { "Email": "ada@example.org" } }).to_string();
    let path = "/run/acme/main/connector/salesforce/create-contact";
    let mut ids = Vec::new();
    for _ in 0..5 {
        let answer = main.run.send("POST", path, &headers, body.clone().into_bytes()).await.is(202);
        ids.push(answer.json["run_id"].as_str().unwrap().to_owned());
    }
    let queued = scrape(&world.platform).await;
    assert_eq!(queued.sum("portcullis_jobs", &["state=\"queued\""]), 5.0);
    assert_eq!(queued.sum("portcullis_calls_total", &[]), 0.0);
    let cancelled = format!("/run/acme/main/{}/cancel", ids[0]);
    main.run.write("POST", &cancelled, "").await.is(200);
    world.engine.start_jobs();
    for id in &ids[1..] {
        let run = main.run.get(&format!("/run/acme/main/{id}?wait=30")).await.is(200);
        assert_eq!(run.json["status"], "succeeded", "{}", run.text);
    }
    let recorded = async || all_runs(&world.platform).await.len() == 5;
    until("every run has its record", recorded).await;
    let counted = async || scrape(&world.platform).await.sum("portcullis_runs_recorded_total", &[]) == 5.0;
    until("every record is counted", counted).await;
    let scraped = scrape(&world.platform).await;
    assert_agrees(&scraped, &all_runs(&world.platform).await, &all_records(&main).await);
    assert_eq!(scraped.sum("portcullis_calls_total", &["outcome=\"cancelled\""]), 1.0);
    assert!(scraped.sum("portcullis_call_seconds_count", &["phase=\"total\""]) >= 4.0);
}

#[tokio::test]
async fn scrapes_under_load_are_whole_and_counters_only_grow() {
    let (world, main) = World::salesforce().await;
    main.connect("salesforce", json!({ "api_key": KEY })).await;
    let scraping = async {
        let mut before = BTreeMap::new();
        for _ in 0..20 {
            let scraped = scrape(&world.platform).await;
            let is_counter = |series: &str| {
                let name = series.split('{').next().unwrap();
                name.ends_with("_total") || name.ends_with("_count") || name.ends_with("_bucket")
            };
            let now: BTreeMap<String, f64> =
                scraped.samples.into_iter().filter(|(series, _)| is_counter(series)).collect();
            for (series, value) in &before {
                assert!(now[series] >= *value, "{series} fell");
            }
            before = now;
        }
    };
    let calling = async {
        for _ in 0..40 {
            main.create_contact().await.is(200);
        }
    };
    let other: &Client = &world.platform;
    let beside = async {
        for _ in 0..20 {
            other.get("/metrics").await.is(200);
        }
    };
    tokio::join!(scraping, calling, beside);
}
