//! The part of the suite of jobs about lines: jobs that are executed one after the other.

use std::sync::Arc;

use portcullis_store::{Batch, Changed, Job, JobState, Leased, LineName, NewJob, StoreError};

use super::{FAR, Scene, detail, end, name};

fn line(number: u8) -> LineName {
    LineName::of([number; 16])
}

impl Scene {
    async fn join(&self, workspace: &str, number: u64, line: LineName) -> Job {
        let job = NewJob { line: Some(line), ..self.new_job(workspace, number, number) };
        self.jobs.enqueue(&job, b"input").await.unwrap()
    }

    /// The number of the next job that a worker gets, with its lease.
    async fn next(&self, workspace: &str) -> Option<(u64, Leased)> {
        let leased = self.lease(workspace, FAR).await?;
        let run = leased.lease.job.run_id.as_str();
        Some((run.trim_start_matches("run_").parse().unwrap(), leased))
    }

    /// Ends the next job in this state; returns its number, and whether it was out of order.
    async fn end_next(&self, state: JobState) -> Option<(u64, bool)> {
        let (number, leased) = self.next("main").await?;
        self.jobs.finish(&leased.lease, &end(state, FAR)).await.unwrap();
        Some((number, leased.job.is_out_of_order()))
    }

    async fn is_held(&self, number: u64) -> bool {
        self.jobs.get(&name("main", number)).await.unwrap().unwrap().is_held()
    }
}

pub(super) async fn jobs_of_a_line_are_leased_one_after_the_other(scene: &Scene) {
    // Why the last first: due is what was stored first, whatever the times say.
    for number in [3, 2, 1] {
        let job = scene.join("main", number, line(1)).await;
        assert_eq!((job.is_held(), job.state), (number != 3, JobState::Queued));
    }
    let mut order = Vec::new();
    while let Some((number, leased)) = scene.next("main").await {
        order.push(number);
        assert!(scene.next("main").await.is_none(), "the next one is held while {number} is executed");
        assert!(!leased.job.is_out_of_order());
        scene.jobs.finish(&leased.lease, &end(JobState::Ended, FAR)).await.unwrap();
    }
    assert_eq!(order, [3, 2, 1]);
}

pub(super) async fn other_lines_workspaces_and_jobs_are_not_held(scene: &Scene) {
    for number in 1..=50 {
        scene.join("main", number, line(1)).await;
    }
    scene.join("main", 51, line(2)).await;
    scene.join("side", 52, line(1)).await;
    scene.enqueue("main", 53, 53).await;
    let mut got = Vec::new();
    for workspace in ["main", "main", "main", "side"] {
        got.push(scene.next(workspace).await.unwrap().0);
    }
    assert_eq!(got, [1, 51, 53, 52]);
    for workspace in ["main", "side"] {
        assert!(scene.next(workspace).await.is_none());
    }
    assert!(
        scene.jobs.due_workspaces(FAR - 1, None, 10).await.unwrap().is_empty(),
        "nobody looks at the held"
    );
    let open = scene.jobs.open(&name("main", 1).org, &name("main", 1).workspace, 100).await.unwrap();
    assert_eq!(open, 52, "they are open all the same");
}

pub(super) async fn one_that_waits_for_another_try_holds_its_line_back(scene: &Scene) {
    scene.join("main", 1, line(1)).await;
    scene.join("main", 2, line(1)).await;
    let (_, first) = scene.next("main").await.unwrap();
    scene.jobs.reschedule(&first.lease, FAR, true, detail("again")).await.unwrap();
    assert!(scene.next("main").await.is_none());
    assert_eq!(scene.jobs.due_workspaces(FAR, None, 10).await.unwrap(), scene.names()[..1]);
    let again = scene.end_next(JobState::Ended).await;
    assert_eq!((again, scene.end_next(JobState::Ended).await), (Some((1, false)), Some((2, false))));
}

pub(super) async fn a_first_one_of_the_future_holds_those_that_are_due(scene: &Scene) {
    let future = NewJob { line: Some(line(1)), ..scene.new_job("main", 1, FAR) };
    scene.jobs.enqueue(&future, b"input").await.unwrap();
    scene.join("main", 2, line(1)).await;
    assert!(scene.next("main").await.is_none());
    scene.jobs.cancel(&name("main", 1), &end(JobState::Cancelled, FAR)).await.unwrap();
    assert_eq!(scene.end_next(JobState::Ended).await, Some((2, false)), "a cancelled one has ended");
}

pub(super) async fn behind_a_dead_one_the_others_go_on_and_say_so(scene: &Scene) {
    for number in 1..=4 {
        scene.join("main", number, line(1)).await;
    }
    assert_eq!(scene.end_next(JobState::Dead).await, Some((1, false)));
    assert_eq!(scene.end_next(JobState::Ended).await, Some((2, true)));
    scene.join("main", 5, line(1)).await;
    let revived = scene.jobs.revive(&name("main", 1), 5, detail("again")).await.unwrap();
    assert!(matches!(&revived, Changed::Done(job) if job.is_held()), "{revived:?}");
    assert_eq!(scene.end_next(JobState::Ended).await, Some((3, true)), "it was first already");
    assert_eq!(scene.end_next(JobState::Ended).await, Some((1, true)), "after later ones");
    assert_eq!(scene.end_next(JobState::Ended).await, Some((4, false)), "all ahead of it have ended");
    assert_eq!(scene.end_next(JobState::Ended).await, Some((5, false)));
    assert_eq!(scene.end_next(JobState::Ended).await, None);
}

pub(super) async fn a_dead_one_that_comes_back_before_any_other_is_in_order(scene: &Scene) {
    scene.join("main", 1, line(1)).await;
    assert_eq!(scene.end_next(JobState::Dead).await, Some((1, false)));
    scene.jobs.revive(&name("main", 1), 5, detail("again")).await.unwrap();
    scene.join("main", 2, line(1)).await;
    assert_eq!(scene.end_next(JobState::Skipped).await, Some((1, false)));
    assert_eq!(scene.end_next(JobState::Ended).await, Some((2, false)), "a skipped one has ended");
    scene.jobs.revive(&name("main", 1), 5, detail("again")).await.unwrap();
    assert_eq!(scene.end_next(JobState::Dead).await, Some((1, true)), "a later one was first");
    scene.join("main", 3, line(1)).await;
    assert_eq!(scene.end_next(JobState::Dead).await, Some((3, true)), "also with nobody in between");
    for number in [1, 3] {
        scene.jobs.erase(&name("main", number)).await.unwrap();
    }
    scene.join("main", 4, line(1)).await;
    assert_eq!(scene.end_next(JobState::Ended).await, Some((4, false)), "nothing is known of them any more");
}

pub(super) async fn a_held_one_is_cancelled_or_erased_and_is_never_leased(scene: &Scene) {
    for number in 1..=5 {
        scene.join("main", number, line(1)).await;
    }
    assert!(scene.is_held(2).await && scene.is_held(3).await);
    let cancelled = scene.jobs.cancel(&name("main", 2), &end(JobState::Cancelled, FAR)).await.unwrap();
    assert!(matches!(cancelled, Changed::Done(job) if job.state == JobState::Cancelled));
    scene.jobs.erase(&name("main", 3)).await.unwrap();
    scene.jobs.erase(&name("main", 1)).await.unwrap();
    assert!(!scene.is_held(4).await, "the one that was first is erased");
    assert_eq!(scene.end_next(JobState::Ended).await, Some((4, false)));
    assert_eq!(scene.end_next(JobState::Ended).await, Some((5, false)));
    assert_eq!(scene.end_next(JobState::Ended).await, None);
}

pub(super) async fn a_lease_that_ran_out_is_taken_and_the_line_stays_held(scene: &Scene) {
    scene.join("main", 1, line(1)).await;
    scene.join("main", 2, line(1)).await;
    let old = scene.lease("main", 50).await.unwrap().lease;
    assert_eq!(scene.jobs.due_workspaces(50, None, 10).await.unwrap(), scene.names()[..1]);
    let (number, new) = scene.next("main").await.unwrap();
    assert!(number == 1 && new.interrupted);
    let lost = scene.jobs.finish(&old, &end(JobState::Ended, FAR)).await;
    assert!(matches!(lost, Err(StoreError::LeaseLost { .. })));
    assert!(scene.next("main").await.is_none(), "the one who lost it lets nobody through");
    scene.jobs.finish(&new.lease, &end(JobState::Ended, FAR)).await.unwrap();
    assert_eq!(scene.end_next(JobState::Ended).await, Some((2, false)));
}

pub(super) async fn many_join_and_end_at_once_and_none_is_lost_or_overtaken(scene: &Scene) {
    let joining: Vec<_> = (1..=60)
        .map(|number| {
            let job = NewJob {
                line: Some(line(u8::try_from(number % 3).unwrap())),
                ..scene.new_job("main", number, 1)
            };
            let jobs = Arc::clone(&scene.jobs);
            tokio::spawn(async move { jobs.enqueue(&job, b"input").await.unwrap() })
        })
        .collect();
    let mut turns = std::collections::HashMap::new();
    let mut expected: [Vec<(u64, String)>; 3] = Default::default();
    for (number, one) in (1..=60_usize).zip(joining) {
        let job = one.await.unwrap();
        let place = job.line.unwrap();
        expected[number % 3].push((place.turn, job.run_id.as_str().to_owned()));
        turns.insert(job.run_id, number % 3);
    }
    let mut ended: [Vec<String>; 3] = Default::default();
    let mut leased = Vec::new();
    for _ in 0..60 {
        while let Some((_, one)) = scene.next("main").await {
            leased.push(one);
        }
        assert!((1..=3).contains(&leased.len()), "one of each line");
        // Ends as workers of several processes do, at the same time.
        let ending: Vec<_> = leased
            .drain(..)
            .map(|one| {
                let jobs = Arc::clone(&scene.jobs);
                tokio::spawn(async move {
                    jobs.finish(&one.lease, &end(JobState::Ended, FAR)).await.unwrap();
                    one.lease.job.run_id
                })
            })
            .collect();
        for one in ending {
            let run = one.await.unwrap();
            ended[turns[&run]].push(run.as_str().to_owned());
        }
        if ended.iter().map(Vec::len).sum::<usize>() == 60 {
            break;
        }
    }
    for (mut expected, ended) in expected.into_iter().zip(ended) {
        expected.sort();
        let expected: Vec<_> = expected.into_iter().map(|(_, run)| run).collect();
        assert_eq!(ended, expected);
    }
}

pub(super) async fn a_line_leaves_nothing_behind(scene: &Scene) {
    for number in 1..=3 {
        scene.join("main", number, line(1)).await;
    }
    while scene.end_next(JobState::Ended).await.is_some() {}
    let job = scene.join("main", 9, line(1)).await;
    assert_eq!(job.line.unwrap().turn, 0, "it begins anew");
    let [(org, main), _] = scene.names();
    scene.join("main", 10, line(1)).await;
    scene.jobs.remove(&org, &main).await.unwrap();
    let job = scene.join("main", 11, line(1)).await;
    assert_eq!((job.line.as_ref().unwrap().turn, job.is_held()), (0, false));
}

pub(super) async fn an_unreadable_one_does_not_hold_its_line_for_ever(scene: &Scene) {
    for number in 1..=3 {
        scene.join("main", number, line(1)).await;
    }
    let broken = Batch::new().put("job/acme/main/run_2", b"{".to_vec());
    scene.store.commit(broken).await.unwrap();
    assert_eq!(scene.end_next(JobState::Ended).await, Some((1, false)));
    assert_eq!(scene.end_next(JobState::Ended).await, Some((3, false)));
}
