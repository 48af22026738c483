//! What every backend of jobs must do. The times are small numbers, which have all passed.

use std::sync::Arc;

use portcullis_core::id::{ActionId, ConnectorId, OrgId, RunId, WorkspaceId};
use portcullis_store::{
    Changed, JOB_INPUT_BYTES_MAX, JobCounts, JobEnd, JobName, JobState, Jobs, Leased, NewJob, OrgRecord,
    Outbox as _, OutboxKind, OutboxRecord, RecordOutbox, Records, Store, StoreError, WorkspaceRecord, Writes,
};
use serde_json::value::{RawValue, to_raw_value};

mod endings;
mod lines;

/// Jobs of the workspaces `main` and `side` of an org.
pub struct Scene {
    pub jobs: Arc<dyn Jobs>,
    pub store: Arc<dyn Store>,
    outbox: RecordOutbox,
    commit: u64,
}

pub fn name(workspace: &str, number: u64) -> JobName {
    JobName {
        org: OrgId::parse("acme").unwrap(),
        workspace: WorkspaceId::parse(workspace).unwrap(),
        run_id: RunId::parse(&format!("run_{number}")).unwrap(),
    }
}

pub fn detail(text: &str) -> Box<RawValue> {
    to_raw_value(&serde_json::json!({ "text": text })).unwrap()
}

pub fn end(state: JobState, keep_until_ms: u64) -> JobEnd {
    let document = "{\"status\":\"x\"}".to_owned();
    JobEnd { state, detail: detail("end"), document, keep_until_ms, erase_input: false, told: told(state) }
}

/// What is told of an end, with the state in the place of the status.
fn told(state: JobState) -> OutboxRecord {
    OutboxRecord {
        kind: OutboxKind::RunEnded,
        at_ms: 1,
        org: name("main", 1).org,
        workspace: name("main", 1).workspace,
        run_id: name("main", 1).run_id,
        status: format!("{state:?}"),
        code: None,
        reason: None,
        connector_id: ConnectorId::parse("crm").unwrap(),
        connection: None,
        action_id: ActionId::parse("create").unwrap(),
        automation_id: None,
        event_id: None,
    }
}

impl Scene {
    pub async fn new(store: Arc<dyn Store>, jobs: impl Fn(Arc<dyn Store>) -> Arc<dyn Jobs>) -> Self {
        let records = Records::new(Arc::clone(&store));
        let created_at = String::new();
        let name = name("main", 1);
        let org = OrgRecord { org: name.org.clone(), display_name: None, created_at: created_at.clone() };
        let mut writes = Writes::new().create(&["acme"], &org);
        for workspace in ["main", "side"] {
            let record = WorkspaceRecord {
                org: name.org.clone(),
                workspace: WorkspaceId::parse(workspace).unwrap(),
                display_name: None,
                created_at: created_at.clone(),
            };
            writes = writes.create(&["acme", workspace], &record);
        }
        let commit = records.commit(writes).await.unwrap();
        let outbox = RecordOutbox::new(Arc::clone(&store));
        Self { jobs: jobs(Arc::clone(&store)), store, outbox, commit }
    }

    pub fn names(&self) -> [(OrgId, WorkspaceId); 2] {
        ["main", "side"].map(|workspace| (name(workspace, 1).org, name(workspace, 1).workspace))
    }

    pub fn new_job(&self, workspace: &str, number: u64, due_ms: u64) -> NewJob {
        let JobName { org, workspace, run_id } = name(workspace, number);
        let (workspace_commit, detail) = (self.commit, detail("new"));
        NewJob { run_id, org, workspace, workspace_commit, due_ms, line: None, detail }
    }

    pub async fn enqueue(&self, workspace: &str, number: u64, due_ms: u64) {
        self.jobs.enqueue(&self.new_job(workspace, number, due_ms), b"input").await.unwrap();
    }

    pub async fn lease(&self, workspace: &str, until_ms: u64) -> Option<Leased> {
        let name = name(workspace, 1);
        self.jobs.lease(&name.org, &name.workspace, until_ms).await.unwrap()
    }

    /// The states of the ends that the org is told of, in order.
    pub async fn told(&self) -> Vec<String> {
        let page = self.outbox.read(&name("main", 1).org, 0, 100).await.unwrap();
        page.entries.into_iter().map(|entry| entry.record.status).collect()
    }

    pub async fn state(&self, workspace: &str, number: u64) -> Option<JobState> {
        self.jobs.get(&name(workspace, number)).await.unwrap().map(|job| job.state)
    }
}

/// A time that does not pass while the tests run.
pub const FAR: u64 = 90_000_000_000_000;

/// Runs everything, each check on a fresh store.
pub async fn check_all(fresh: impl Fn() -> Arc<dyn Store>, jobs: impl Fn(Arc<dyn Store>) -> Arc<dyn Jobs>) {
    let scene = async || Scene::new(fresh(), &jobs).await;
    a_job_is_leased_once_and_those_due_longest_first(&scene().await).await;
    a_job_of_the_future_waits_until_its_time(&scene().await).await;
    many_that_become_due_together_are_all_found(&scene().await).await;
    a_lease_that_ran_out_is_taken_and_the_old_one_writes_nothing(&scene().await).await;
    a_renewed_lease_is_not_taken(&scene().await).await;
    a_try_that_did_not_begin_is_not_counted(&scene().await).await;
    a_workspace_with_a_backlog_is_named_once_among_the_others(&scene().await).await;
    only_one_of_many_gets_a_job(&scene().await).await;
    what_waits_is_cancelled_and_what_runs_is_told(&scene().await).await;
    what_was_told_to_end_is_due_at_once_when_it_is_put_back(&scene().await).await;
    the_dead_are_kept_and_can_be_taken_up_again(&scene().await).await;
    inputs_of_any_size_come_back_and_can_be_erased(&scene().await).await;
    names_are_taken_once_and_only_in_a_workspace_that_is_there(&scene().await).await;
    ended_jobs_are_outdated_in_order_and_erased_whole(&scene().await).await;
    endings::every_end_is_told_once_and_nothing_else_is(&scene().await).await;
    endings::a_job_that_was_taken_up_again_does_not_expire(&scene().await).await;
    endings::those_that_can_be_taken_up_again_are_listed(&scene().await).await;
    endings::what_has_not_ended_for_good_is_listed_in_both_orders(&scene().await).await;
    endings::inputs_are_counted_until_they_are_erased(&scene().await).await;
    endings::an_end_for_good_is_unrecorded_until_it_is_noted(&scene().await).await;
    endings::an_ended_job_is_kept_shorter_and_never_longer(&scene().await).await;
    lines::jobs_of_a_line_are_leased_one_after_the_other(&scene().await).await;
    lines::other_lines_workspaces_and_jobs_are_not_held(&scene().await).await;
    lines::one_that_waits_for_another_try_holds_its_line_back(&scene().await).await;
    lines::a_first_one_of_the_future_holds_those_that_are_due(&scene().await).await;
    lines::behind_a_dead_one_the_others_go_on_and_say_so(&scene().await).await;
    lines::a_dead_one_that_comes_back_before_any_other_is_in_order(&scene().await).await;
    lines::a_held_one_is_cancelled_or_erased_and_is_never_leased(&scene().await).await;
    lines::a_lease_that_ran_out_is_taken_and_the_line_stays_held(&scene().await).await;
    lines::many_join_and_end_at_once_and_none_is_lost_or_overtaken(&scene().await).await;
    lines::a_line_leaves_nothing_behind(&scene().await).await;
    lines::an_unreadable_one_does_not_hold_its_line_for_ever(&scene().await).await;
    removing_takes_one_workspace_s_jobs(&scene().await).await;
    lists_are_pages_of_an_org_or_a_workspace(&scene().await).await;
    all_are_counted_by_state_in_parts_of_any_size(&scene().await).await;
}

async fn all_are_counted_by_state_in_parts_of_any_size(scene: &Scene) {
    for number in 0..7 {
        scene.enqueue(if number % 2 == 0 { "main" } else { "side" }, number, 10).await;
    }
    scene.enqueue("main", 7, FAR).await;
    for state in [JobState::Dead, JobState::Skipped, JobState::Ended] {
        let leased = scene.lease("main", FAR).await.unwrap();
        scene.jobs.finish(&leased.lease, &end(state, FAR)).await.unwrap();
    }
    scene.lease("side", FAR).await.unwrap();
    let wanted = JobCounts::from([
        (JobState::Queued, 4),
        (JobState::Running, 1),
        (JobState::Dead, 1),
        (JobState::Skipped, 1),
    ]);
    for limit in [1, 2, 3, 5, 100] {
        let (mut counts, mut from) = (JobCounts::new(), None);
        loop {
            let tally = scene.jobs.tally(from.as_deref(), limit).await.unwrap();
            for (state, count) in tally.counts {
                *counts.entry(state).or_default() += count;
            }
            from = tally.next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(counts, wanted, "in parts of {limit}");
    }
}

async fn a_job_is_leased_once_and_those_due_longest_first(scene: &Scene) {
    for (number, due) in [(1, 30), (2, 10), (3, 20)] {
        scene.enqueue("main", number, due).await;
    }
    let mut order = Vec::new();
    while let Some(leased) = scene.lease("main", FAR).await {
        assert_eq!((leased.job.state, leased.job.tries, leased.interrupted), (JobState::Running, 1, false));
        order.push(leased.lease.job);
    }
    assert_eq!(order, [2, 3, 1].map(|number| name("main", number)));
    assert!(scene.jobs.due_workspaces(FAR - 1, None, 10).await.unwrap().is_empty());
}

async fn a_job_of_the_future_waits_until_its_time(scene: &Scene) {
    scene.enqueue("main", 1, FAR).await;
    assert!(scene.jobs.due_workspaces(FAR - 1, None, 10).await.unwrap().is_empty());
    assert!(scene.lease("main", FAR).await.is_none());
    assert_eq!(scene.jobs.next_due().await.unwrap(), Some(FAR));
    assert_eq!(scene.jobs.due_workspaces(FAR, None, 10).await.unwrap(), scene.names()[..1]);
    assert!(scene.lease("main", FAR).await.is_some());
}

async fn many_that_become_due_together_are_all_found(scene: &Scene) {
    for number in 0..150 {
        scene.enqueue("main", number, FAR + number % 3).await;
    }
    let mut leased = 0;
    while !scene.jobs.due_workspaces(FAR + 2, None, 10).await.unwrap().is_empty() {
        leased += u32::from(scene.lease("main", FAR + 100).await.is_some());
    }
    assert_eq!(leased, 150);
}

async fn a_lease_that_ran_out_is_taken_and_the_old_one_writes_nothing(scene: &Scene) {
    scene.enqueue("main", 1, 1).await;
    let old = scene.lease("main", 50).await.unwrap().lease;
    assert!(scene.jobs.due_workspaces(49, None, 10).await.unwrap().is_empty(), "it holds");
    assert!(scene.lease("main", FAR).await.is_none());
    // Why it may still write: nobody else has it.
    scene.jobs.note_sent(&old).await.unwrap();
    assert_eq!(scene.jobs.due_workspaces(50, None, 10).await.unwrap(), scene.names()[..1]);
    scene.jobs.note_sent(&old).await.unwrap();
    assert_eq!(scene.jobs.due_workspaces(50, None, 10).await.unwrap(), scene.names()[..1]);
    let new = scene.lease("main", FAR).await.unwrap();
    assert!(new.interrupted && new.job.sent && new.lease.fence > old.fence);
    assert_eq!(new.job.tries, 2);
    let lost = |result: Result<(), StoreError>| matches!(result, Err(StoreError::LeaseLost { .. }));
    assert!(lost(scene.jobs.renew(&old, FAR).await.map(|_| ())));
    assert!(lost(scene.jobs.note_sent(&old).await));
    assert!(lost(scene.jobs.reschedule(&old, 1, true, detail("old")).await));
    assert!(lost(scene.jobs.finish(&old, &end(JobState::Ended, FAR)).await));
    assert_eq!(scene.state("main", 1).await, Some(JobState::Running));
    scene.jobs.finish(&new.lease, &end(JobState::Ended, FAR)).await.unwrap();
    assert!(lost(scene.jobs.finish(&new.lease, &end(JobState::Dead, FAR)).await), "it has ended");
    assert_eq!(scene.state("main", 1).await, Some(JobState::Ended));
    assert!(scene.jobs.document(&new.lease.job).await.unwrap().is_some());
}

async fn a_renewed_lease_is_not_taken(scene: &Scene) {
    scene.enqueue("main", 1, 1).await;
    let lease = scene.lease("main", 50).await.unwrap().lease;
    // Also one that was found to have run out before it was renewed.
    assert_eq!(scene.jobs.due_workspaces(60, None, 10).await.unwrap().len(), 1);
    assert!(!scene.jobs.renew(&lease, FAR).await.unwrap().cancel);
    assert!(scene.jobs.due_workspaces(60, None, 10).await.unwrap().is_empty());
    assert!(scene.lease("main", FAR).await.is_none());
}

async fn a_try_that_did_not_begin_is_not_counted(scene: &Scene) {
    scene.enqueue("main", 1, 1).await;
    for (began, state, tries) in
        [(false, JobState::Queued, 0), (true, JobState::Waiting, 1), (false, JobState::Waiting, 1)]
    {
        let lease = scene.lease("main", FAR).await.unwrap().lease;
        scene.jobs.note_sent(&lease).await.unwrap();
        scene.jobs.reschedule(&lease, 2, began, detail("again")).await.unwrap();
        let job = scene.jobs.get(&lease.job).await.unwrap().unwrap();
        assert_eq!((job.state, job.tries, job.sent), (state, tries, false));
        assert_eq!(job.detail.get(), detail("again").get());
    }
}

async fn a_workspace_with_a_backlog_is_named_once_among_the_others(scene: &Scene) {
    for number in 0..150 {
        scene.enqueue("main", number, number).await;
    }
    scene.enqueue("side", 1, 200).await;
    let [main, side] = scene.names();
    let jobs = &scene.jobs;
    assert_eq!(jobs.due_workspaces(300, None, 10).await.unwrap(), [main.clone(), side.clone()]);
    assert_eq!(jobs.due_workspaces(300, None, 1).await.unwrap(), std::slice::from_ref(&main));
    assert_eq!(jobs.due_workspaces(300, Some(&main), 10).await.unwrap(), std::slice::from_ref(&side));
    assert!(jobs.due_workspaces(300, Some(&side), 10).await.unwrap().is_empty());
}

async fn only_one_of_many_gets_a_job(scene: &Scene) {
    scene.enqueue("main", 1, 1).await;
    let takers: Vec<_> = (0..8)
        .map(|_| {
            let jobs = Arc::clone(&scene.jobs);
            let (org, workspace) = (name("main", 1).org, name("main", 1).workspace);
            tokio::spawn(async move { jobs.lease(&org, &workspace, FAR).await.unwrap().is_some() })
        })
        .collect();
    let mut got = 0;
    for taker in takers {
        got += u32::from(taker.await.unwrap());
    }
    assert_eq!(got, 1);
}

async fn what_waits_is_cancelled_and_what_runs_is_told(scene: &Scene) {
    scene.enqueue("main", 1, 1).await;
    scene.enqueue("main", 2, 2).await;
    let running = scene.lease("main", FAR).await.unwrap();
    let wish = end(JobState::Cancelled, FAR);
    let told = scene.jobs.cancel(&running.lease.job, &wish).await.unwrap();
    assert!(matches!(told, Changed::Running(job) if job.cancel));
    assert!(scene.jobs.renew(&running.lease, FAR).await.unwrap().cancel);
    assert!(matches!(scene.jobs.cancel(&name("main", 2), &wish).await.unwrap(), Changed::Done(_)));
    assert_eq!(scene.state("main", 2).await, Some(JobState::Cancelled));
    assert!(scene.lease("main", FAR).await.is_none(), "it is not due any more");
    let again = scene.jobs.cancel(&name("main", 2), &wish).await.unwrap();
    assert!(matches!(again, Changed::Not(job) if job.state == JobState::Cancelled));
    assert!(matches!(scene.jobs.cancel(&name("main", 3), &wish).await.unwrap(), Changed::Missing));
}

async fn what_was_told_to_end_is_due_at_once_when_it_is_put_back(scene: &Scene) {
    for number in [1, 2] {
        scene.enqueue("main", number, number).await;
    }
    for number in [1, 2] {
        let lease = scene.lease("main", FAR).await.unwrap().lease;
        if number == 1 {
            scene.jobs.cancel(&lease.job, &end(JobState::Cancelled, FAR)).await.unwrap();
        }
        scene.jobs.reschedule(&lease, FAR, true, detail("again")).await.unwrap();
    }
    let told = scene.lease("main", FAR).await.unwrap();
    assert_eq!((&told.lease.job, told.job.cancel), (&name("main", 1), true));
    assert!(scene.lease("main", FAR).await.is_none(), "the other one waits");
}

async fn the_dead_are_kept_and_can_be_taken_up_again(scene: &Scene) {
    for (number, state) in
        (1..).zip([JobState::Dead, JobState::Skipped, JobState::Ended, JobState::Cancelled])
    {
        scene.enqueue("main", number, number).await;
        let lease = scene.lease("main", FAR).await.unwrap().lease;
        scene.jobs.finish(&lease, &end(state, FAR)).await.unwrap();
    }
    let (org, workspace) = (name("main", 1).org, name("main", 1).workspace);
    let counts = scene.jobs.count(&org, &workspace).await.unwrap();
    assert_eq!((counts.get(&JobState::Dead), counts.get(&JobState::Queued)), (Some(&1), None));
    for number in 1..=4 {
        let revived = scene.jobs.revive(&name("main", number), 5, detail("again")).await.unwrap();
        assert_eq!(matches!(revived, Changed::Done(_)), number <= 2, "{number}");
    }
    assert!(scene.jobs.document(&name("main", 1)).await.unwrap().is_none(), "it has not ended any more");
    let open = async |at_most| scene.jobs.open(&org, &workspace, at_most).await.unwrap();
    assert_eq!((open(10).await, open(1).await, open(0).await), (2, 1, 0), "those that were taken up");
    let first = scene.lease("main", FAR).await.unwrap();
    assert_eq!((first.job.tries, first.interrupted), (1, false));
    assert_eq!(scene.jobs.input(&first.lease.job).await.unwrap().unwrap(), b"input");
}

async fn inputs_of_any_size_come_back_and_can_be_erased(scene: &Scene) {
    for (number, bytes) in [(1, 0), (2, 1), (3, 60 * 1024), (4, 60 * 1024 + 1), (5, 300_000)] {
        let input: Vec<u8> = (0..bytes).map(|n| u8::try_from(n % 251).unwrap()).collect();
        scene.jobs.enqueue(&scene.new_job("main", number, number), &input).await.unwrap();
        assert_eq!(scene.jobs.input(&name("main", number)).await.unwrap().unwrap(), input);
        let lease = scene.lease("main", FAR).await.unwrap().lease;
        let end = JobEnd { erase_input: true, ..end(JobState::Dead, FAR) };
        scene.jobs.finish(&lease, &end).await.unwrap();
        assert!(scene.jobs.input(&lease.job).await.unwrap().is_none());
        let revived = scene.jobs.revive(&lease.job, 5, detail("again")).await.unwrap();
        assert!(matches!(revived, Changed::Not(job) if !job.keeps_input()));
    }
    let too_large = vec![0; JOB_INPUT_BYTES_MAX + 1];
    let refused = scene.jobs.enqueue(&scene.new_job("main", 9, 1), &too_large).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })));
    let largest = vec![7; JOB_INPUT_BYTES_MAX];
    scene.jobs.enqueue(&scene.new_job("main", 9, 1), &largest).await.unwrap();
    assert_eq!(scene.jobs.input(&name("main", 9)).await.unwrap().unwrap(), largest);
}

async fn names_are_taken_once_and_only_in_a_workspace_that_is_there(scene: &Scene) {
    scene.enqueue("main", 1, 1).await;
    let refused = |result| matches!(result, Err(StoreError::Conflict { .. }));
    assert!(refused(scene.jobs.enqueue(&scene.new_job("main", 1, 1), b"other").await));
    assert!(refused(scene.jobs.enqueue(&scene.new_job("elsewhere", 1, 1), b"x").await));
    let other = NewJob { workspace_commit: scene.commit + 1, ..scene.new_job("main", 2, 1) };
    assert!(refused(scene.jobs.enqueue(&other, b"x").await), "of an earlier workspace of that name");
    assert_eq!(scene.jobs.input(&name("main", 1)).await.unwrap().unwrap(), b"input");
}

async fn ended_jobs_are_outdated_in_order_and_erased_whole(scene: &Scene) {
    for (number, until) in [(1, 300), (2, 100), (3, 200)] {
        scene.enqueue("main", number, number).await;
        let lease = scene.lease("main", FAR).await.unwrap().lease;
        scene.jobs.finish(&lease, &end(JobState::Ended, until)).await.unwrap();
    }
    let outdated = async |now, limit| -> Vec<JobName> {
        let found = scene.jobs.outdated(now, None, limit).await.unwrap();
        found.into_iter().map(|(_, name)| name).collect()
    };
    assert!(outdated(99, 10).await.is_empty());
    assert_eq!(outdated(200, 10).await, [name("main", 2), name("main", 3)]);
    assert_eq!(outdated(300, 1).await, [name("main", 2)]);
    let after = (200, name("main", 3));
    assert_eq!(scene.jobs.outdated(300, Some(&after), 9).await.unwrap(), [(300, name("main", 1))]);
    let open = scene.jobs.open(&name("main", 1).org, &name("main", 1).workspace, 10).await.unwrap();
    assert_eq!(open, 0);
    scene.jobs.erase(&name("main", 2)).await.unwrap();
    scene.jobs.erase(&name("main", 2)).await.unwrap();
    assert_eq!(outdated(300, 10).await, [name("main", 3), name("main", 1)]);
    assert!(scene.jobs.get(&name("main", 2)).await.unwrap().is_none());
    assert!(scene.jobs.document(&name("main", 2)).await.unwrap().is_none());
    scene.enqueue("main", 2, 1).await;
}

async fn removing_takes_one_workspace_s_jobs(scene: &Scene) {
    for number in 0..120 {
        scene.enqueue("main", number, number).await;
    }
    scene.enqueue("side", 1, 1).await;
    let lease = scene.lease("main", FAR).await.unwrap().lease;
    scene.jobs.remove(&lease.job.org, &lease.job.workspace).await.unwrap();
    assert!(scene.state("main", 7).await.is_none() && scene.state("side", 1).await.is_some());
    assert_eq!(scene.jobs.due_workspaces(FAR, None, 10).await.unwrap(), scene.names()[1..]);
    let lost = scene.jobs.finish(&lease, &end(JobState::Ended, FAR)).await;
    assert!(matches!(lost, Err(StoreError::LeaseLost { .. })));
    scene.jobs.remove(&lease.job.org, &lease.job.workspace).await.unwrap();
}

async fn lists_are_pages_of_an_org_or_a_workspace(scene: &Scene) {
    for number in 1..=5 {
        scene.enqueue("main", number, 1).await;
    }
    scene.enqueue("side", 1, 1).await;
    let [(org, main), (_, side)] = scene.names();
    let listed = async |workspace, after: Option<&(WorkspaceId, RunId)>, limit| -> Vec<String> {
        let found = scene.jobs.list(&org, workspace, after, limit).await.unwrap();
        found.iter().map(|job| format!("{}/{}", job.workspace, job.run_id)).collect()
    };
    assert_eq!(listed(Some(&main), None, 2).await, ["main/run_1", "main/run_2"]);
    let after = (main.clone(), name("main", 4).run_id);
    assert_eq!(listed(Some(&main), Some(&after), 9).await, ["main/run_5"]);
    assert_eq!(listed(None, Some(&after), 9).await, ["main/run_5", "side/run_1"]);
    assert_eq!(listed(Some(&side), None, 9).await, ["side/run_1"]);
}
