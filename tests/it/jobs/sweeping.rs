//! Erasing what need not be kept any more: whole, once, and nothing that somebody still wants.

use std::sync::Arc;

use portcullis_core::id::{ActionId, ConnectorId, OrgId, RunId, WorkspaceId};
use portcullis_core::limits::Limits;
use portcullis_engine::retention;
use portcullis_store::{
    Job, JobEnd, JobName, JobState, Jobs, Lease, OutboxKind, OutboxRecord, RecordJobs, RetentionChange,
    RetentionRecord, RetentionTerms, Writes,
};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::{Scene, accept, definition, ended, quick};
use crate::support::until;

pub(super) fn jobs(scene: &Scene) -> RecordJobs {
    RecordJobs::new(Arc::clone(&scene.store))
}

pub(super) fn name(run: &str) -> JobName {
    JobName {
        org: OrgId::parse("acme").unwrap(),
        workspace: WorkspaceId::parse("main").unwrap(),
        run_id: RunId::parse(run).unwrap(),
    }
}

/// Leases a workspace's only due job, as a worker does.
pub(super) async fn lease(jobs: &RecordJobs) -> (Job, Lease) {
    let JobName { org, workspace, .. } = name("run_1");
    let leased = jobs.lease(&org, &workspace, 90_000_000_000_000).await.unwrap().unwrap();
    (leased.job, leased.lease)
}

/// A run that a worker gave up, kept until this time.
pub(super) async fn given_up(scene: &Scene, note: &str, keep_until_ms: u64, detail: &Value) -> String {
    left(scene, note, JobState::Dead, keep_until_ms, detail).await
}

/// A run that was ended by a worker that did nothing more.
async fn left(scene: &Scene, note: &str, state: JobState, keep_until_ms: u64, detail: &Value) -> String {
    let run = accept(&scene.acme, note).await;
    let jobs = jobs(scene);
    let (job, lease) = lease(&jobs).await;
    let mut own: Value = serde_json::from_str(job.detail.get()).unwrap();
    crate::support::lay(&mut own, detail);
    let usage = json!({
        "requests": 0, "retries": 0, "fuel": 0, "memory_peak_bytes": 0, "guest_us": 0, "upstream_us": 0,
        "total_us": 1,
    });
    let status = if state == JobState::Dead { "dead" } else { "cancelled" };
    let document = json!({
        "run_id": run, "status": status, "connector_id": super::ID, "action_id": "act", "revision": 1,
        "reason": "deadline", "decisions": [], "usage": usage, "created_at": "2026-01-01T00:00:00.000000Z",
    });
    let end = JobEnd {
        state,
        detail: to_raw_value(&own).unwrap(),
        document: document.to_string(),
        keep_until_ms,
        erase_input: false,
        told: told(&name(&run), status),
    };
    jobs.finish(&lease, &end).await.unwrap();
    run
}

/// What the org is told of such an end.
fn told(job: &JobName, status: &str) -> OutboxRecord {
    OutboxRecord {
        kind: OutboxKind::RunEnded,
        at_ms: 1,
        org: job.org.clone(),
        workspace: job.workspace.clone(),
        run_id: job.run_id.clone(),
        status: status.to_owned(),
        code: None,
        reason: None,
        connector_id: ConnectorId::parse(super::ID).unwrap(),
        connection: None,
        action_id: ActionId::parse("act").unwrap(),
        automation_id: None,
        event_id: None,
    }
}

async fn is_gone(scene: &Scene, run: &str) -> bool {
    jobs(scene).get(&name(run)).await.unwrap().is_none()
}

#[tokio::test]
async fn a_run_that_was_given_up_is_erased_after_its_time_and_has_one_record() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    let over = given_up(&scene, "over", 1, &json!({})).await;
    let kept = given_up(&scene, "kept", 90_000_000_000_000, &json!({})).await;
    scene.world.engine.start_jobs();
    until("its job is erased", async || is_gone(&scene, &over).await).await;
    assert!(!is_gone(&scene, &kept).await);
    let listed = scene.acme.run.get("/run/acme/main").await.is(200).json;
    let listed: Vec<_> = listed["data"].as_array().unwrap().iter().map(|run| &run["run_id"]).collect();
    assert_eq!(listed, [&json!(over)]);
    let read = scene.acme.run.get(&super::path(&scene.acme, &over)).await.is(200);
    assert_eq!(read.json["status"], "dead");
}

#[tokio::test]
async fn one_that_cannot_be_erased_keeps_no_other_from_it() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    let broken = given_up(&scene, "broken", 1, &json!({ "accepted_at": 7 })).await;
    let sound = given_up(&scene, "sound", 2, &json!({})).await;
    scene.world.engine.start_jobs();
    until("the sound one is erased", async || is_gone(&scene, &sound).await).await;
    assert!(!is_gone(&scene, &broken).await, "it is not lost without a record");
}

#[tokio::test]
async fn a_sweep_goes_on_until_nothing_is_left() {
    let limits = Limits { workspace_open_jobs: 1000, ..quick() };
    let scene = Scene::new(limits, &definition(&json!({}))).await;
    let mut runs = Vec::new();
    for number in 0..250 {
        runs.push(given_up(&scene, &number.to_string(), 1, &json!({})).await);
    }
    scene.world.engine.start_jobs();
    for run in &runs {
        until("all are erased", async || is_gone(&scene, run).await).await;
    }
}

/// Sets acme's terms long ago, so that they count.
async fn set_terms(scene: &Scene, terms: RetentionTerms) {
    let change = RetentionChange { terms, at: "2020-01-01T00:00:00Z".to_owned(), token_id: None };
    let record = RetentionRecord { changes: vec![change], before: None };
    scene.world.engine.records().commit(Writes::new().put(&["org", "acme"], &record)).await.unwrap();
}

/// Days from now until a run's job is erased, rounded.
async fn days_kept(scene: &Scene, run: &str) -> i64 {
    let job = jobs(scene).get(&name(run)).await.unwrap().unwrap();
    let ms = i64::try_from(job.at_ms).unwrap() - jiff::Timestamp::now().as_millisecond();
    (ms + 43_200_000).div_euclid(86_400_000)
}

#[tokio::test]
async fn an_input_is_kept_as_long_as_the_org_s_terms_say_also_if_they_came_after_the_end() {
    let scene = Scene::working(quick(), &definition(&json!({}))).await;
    let before = accept(&scene.acme, "before").await;
    ended(&scene.acme, &before).await;
    assert_eq!(days_kept(&scene, &before).await, 14);
    for (terms, days, days_before) in [
        (RetentionTerms { input_days: Some(5), ..RetentionTerms::default() }, 5, 5),
        (RetentionTerms { input_days: Some(5), runs_days: Some(3), ..RetentionTerms::default() }, 3, 3),
        (RetentionTerms { input_days: Some(300), ..RetentionTerms::default() }, 14, 3),
    ] {
        set_terms(&scene, terms).await;
        let run = accept(&scene.acme, "with").await;
        ended(&scene.acme, &run).await;
        assert_eq!(days_kept(&scene, &run).await, days);
        retention::sweep(&scene.world.engine).await.unwrap();
        assert_eq!(days_kept(&scene, &before).await, days_before, "never longer");
    }
}

#[tokio::test]
async fn a_run_that_retention_dropped_does_not_come_back_when_its_job_is_erased() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    set_terms(&scene, RetentionTerms { runs_days: Some(7), ..RetentionTerms::default() }).await;
    let old = given_up(&scene, "old", 1, &json!({ "ended_at": "2020-01-01T00:00:00.000000Z" })).await;
    let now = portcullis_engine::clock::now();
    let young = given_up(&scene, "young", 2, &json!({ "ended_at": now })).await;
    scene.world.engine.start_jobs();
    until("both are erased", async || is_gone(&scene, &old).await && is_gone(&scene, &young).await).await;
    let listed = scene.acme.run.get("/run/acme/main").await.is(200).json;
    let listed: Vec<_> = listed["data"].as_array().unwrap().iter().map(|run| &run["run_id"]).collect();
    assert_eq!(listed, [&json!(young)]);
}

#[tokio::test]
async fn a_run_whose_process_died_before_its_record_was_stored_is_listed_all_the_same() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    let run = left(&scene, "cut", JobState::Cancelled, 90_000_000_000_000, &json!({})).await;
    let listed = async || -> Vec<Value> {
        let page = scene.acme.run.get("/run/acme/main").await.is(200).json;
        page["data"].as_array().unwrap().iter().map(|run| run["run_id"].clone()).collect()
    };
    assert!(listed().await.is_empty());
    scene.world.engine.start_jobs();
    until("nothing is missing", async || jobs(&scene).unrecorded(None, 9).await.unwrap().is_empty()).await;
    assert_eq!(listed().await, [json!(run)]);
    let next = accept(&scene.acme, "next").await;
    ended(&scene.acme, &next).await;
    until("its record is noted", async || jobs(&scene).unrecorded(None, 9).await.unwrap().is_empty()).await;
    assert_eq!(listed().await, [json!(next), json!(run)], "each once");
}
