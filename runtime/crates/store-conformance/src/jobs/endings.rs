//! The part of the suite of jobs about what has ended: how long it is kept, and what is known of it meanwhile.

use std::sync::Arc;

use portcullis_store::{Changed, JobEnd, JobName, JobOrder, JobState};

use super::{FAR, Scene, detail, end, name};

pub(super) async fn every_end_is_told_once_and_nothing_else_is(scene: &Scene) {
    for number in 1..=4 {
        scene.enqueue("main", number, number).await;
    }
    let first = scene.lease("main", FAR).await.unwrap().lease;
    scene.jobs.note_sent(&first).await.unwrap();
    scene.jobs.reschedule(&first, FAR, true, detail("again")).await.unwrap();
    assert!(scene.told().await.is_empty());
    for state in [JobState::Ended, JobState::Dead, JobState::Skipped] {
        let lease = scene.lease("main", FAR).await.unwrap().lease;
        scene.jobs.finish(&lease, &end(state, 10)).await.unwrap();
        assert!(scene.jobs.finish(&lease, &end(state, 10)).await.is_err(), "the lease is over");
    }
    scene.jobs.cancel(&name("main", 1), &end(JobState::Cancelled, 10)).await.unwrap();
    scene.jobs.cancel(&name("main", 1), &end(JobState::Cancelled, 10)).await.unwrap();
    scene.jobs.revive(&name("main", 3), 1, detail("again")).await.unwrap();
    assert_eq!(scene.told().await, ["Ended", "Dead", "Skipped", "Cancelled"]);
    let lease = scene.lease("main", FAR).await.unwrap().lease;
    scene.jobs.finish(&lease, &end(JobState::Ended, 10)).await.unwrap();
    scene.jobs.keep_until(&name("main", 4), 5).await.unwrap();
    scene.jobs.expire(&name("main", 4), FAR).await.unwrap();
    scene.jobs.erase(&name("main", 2)).await.unwrap();
    let told = scene.told().await;
    assert_eq!(told.join(" "), "Ended Dead Skipped Cancelled Ended", "one that was taken up ends again");
}

pub(super) async fn a_job_that_was_taken_up_again_does_not_expire(scene: &Scene) {
    for (number, until) in [(1, 10), (2, 10), (3, FAR)] {
        scene.enqueue("main", number, number).await;
        let lease = scene.lease("main", FAR).await.unwrap().lease;
        scene.jobs.finish(&lease, &end(JobState::Dead, until)).await.unwrap();
    }
    scene.jobs.revive(&name("main", 1), 5, detail("again")).await.unwrap();
    let expired = async |number| scene.jobs.expire(&name("main", number), 10).await.unwrap().is_some();
    assert!(!expired(1).await, "it is open");
    assert!(!expired(3).await, "its time is not over");
    assert!(!expired(4).await, "there is none");
    assert_eq!(scene.jobs.input(&name("main", 1)).await.unwrap().unwrap(), b"input");
    assert!(expired(2).await && expired(2).await, "a second time as the first");
    let late = scene.jobs.revive(&name("main", 2), 5, detail("again")).await.unwrap();
    assert!(matches!(late, Changed::Not(job) if !job.keeps_input()));
    let outdated = scene.jobs.outdated(10, None, 10).await.unwrap();
    assert_eq!(outdated, [(10, name("main", 2))], "it is erased in its turn");
}

pub(super) async fn an_ended_job_is_kept_shorter_and_never_longer(scene: &Scene) {
    scene.enqueue("main", 1, 1).await;
    let keep = async |until_ms| scene.jobs.keep_until(&name("main", 1), until_ms).await.unwrap();
    keep(5).await;
    assert_eq!(scene.state("main", 1).await, Some(JobState::Queued), "it is open");
    let lease = scene.lease("main", FAR).await.unwrap().lease;
    scene.jobs.finish(&lease, &end(JobState::Ended, 300)).await.unwrap();
    for (until, kept) in [(400, 300), (200, 200), (250, 200)] {
        keep(until).await;
        let outdated = scene.jobs.outdated(FAR, None, 10).await.unwrap();
        assert_eq!(outdated, [(kept, name("main", 1))], "{until}");
    }
    scene.jobs.erase(&name("main", 1)).await.unwrap();
    assert!(scene.jobs.outdated(FAR, None, 10).await.unwrap().is_empty());
    keep(1).await;
}

pub(super) async fn an_end_for_good_is_unrecorded_until_it_is_noted(scene: &Scene) {
    let unrecorded = async |after| scene.jobs.unrecorded(after, 10).await.unwrap();
    for (number, state) in (1..).zip([JobState::Ended, JobState::Dead, JobState::Skipped]) {
        scene.enqueue("main", number, number).await;
        let lease = scene.lease("main", FAR).await.unwrap().lease;
        assert!(!unrecorded(None).await.contains(&lease.job), "it is open");
        scene.jobs.finish(&lease, &end(state, FAR)).await.unwrap();
    }
    scene.enqueue("main", 4, 1).await;
    scene.jobs.cancel(&name("main", 4), &end(JobState::Cancelled, FAR)).await.unwrap();
    let (first, last) = (name("main", 1), name("main", 4));
    assert_eq!(unrecorded(None).await, [first.clone(), last.clone()], "those that nothing brings back");
    assert_eq!(unrecorded(Some(&first)).await, std::slice::from_ref(&last));
    scene.jobs.note_recorded(&first).await.unwrap();
    scene.jobs.note_recorded(&first).await.unwrap();
    assert_eq!(unrecorded(None).await, std::slice::from_ref(&last));
    scene.jobs.erase(&last).await.unwrap();
    assert!(unrecorded(None).await.is_empty());
}

pub(super) async fn those_that_can_be_taken_up_again_are_listed(scene: &Scene) {
    let states = [JobState::Dead, JobState::Skipped, JobState::Ended, JobState::Dead, JobState::Dead];
    for (number, state) in (1..).zip(states) {
        let workspace = if number == 5 { "side" } else { "main" };
        scene.enqueue(workspace, number, number).await;
        let lease = scene.lease(workspace, FAR).await.unwrap().lease;
        let end = JobEnd { erase_input: number == 4, ..end(state, 1) };
        scene.jobs.finish(&lease, &end).await.unwrap();
    }
    scene.enqueue("main", 6, 1).await;
    let [(org, main), _] = scene.names();
    let given_up = async |workspace, after| scene.jobs.given_up(&org, workspace, after, 10).await.unwrap();
    let [first, second, other] = [name("main", 1), name("main", 2), name("side", 5)];
    assert_eq!(given_up(Some(&main), None).await, [first.clone(), second.clone()]);
    assert_eq!(given_up(None, Some(&first)).await, [second.clone(), other.clone()]);
    scene.jobs.revive(&first, 5, detail("again")).await.unwrap();
    scene.jobs.expire(&second, 5).await.unwrap();
    assert_eq!(given_up(None, None).await, std::slice::from_ref(&other));
    scene.jobs.erase(&other).await.unwrap();
    assert!(given_up(None, None).await.is_empty());
}

pub(super) async fn inputs_are_counted_until_they_are_erased(scene: &Scene) {
    let [(org, main), (_, side)] = scene.names();
    let bytes = async |workspace| scene.jobs.input_bytes(&org, workspace).await.unwrap();
    let storing: Vec<_> = (0..40)
        .map(|number| {
            let (jobs, job) = (Arc::clone(&scene.jobs), scene.new_job("main", number, number));
            tokio::spawn(async move { jobs.enqueue(&job, &[7; 1000]).await.unwrap() })
        })
        .collect();
    for one in storing {
        one.await.unwrap();
    }
    scene.enqueue("side", 1, 1).await;
    assert_eq!((bytes(&main).await, bytes(&side).await), (40_000, 5));
    assert_eq!(scene.jobs.input_bytes_of_org(&org).await.unwrap(), 40_005);
    scene.jobs.enqueue(&scene.new_job("main", 1, 1), b"again").await.unwrap_err();
    assert_eq!(bytes(&main).await, 40_000, "what is refused is not counted");
    for (state, erase_input, left) in
        [(JobState::Ended, true, 39_000), (JobState::Ended, false, 39_000), (JobState::Dead, false, 39_000)]
    {
        let lease = scene.lease("main", FAR).await.unwrap().lease;
        scene.jobs.finish(&lease, &JobEnd { erase_input, ..end(state, 1) }).await.unwrap();
        assert_eq!(bytes(&main).await, left);
    }
    scene.jobs.expire(&name("main", 2), 5).await.unwrap();
    assert_eq!(bytes(&main).await, 38_000, "it was given up");
    for number in [0, 1, 2, 0] {
        scene.jobs.erase(&name("main", number)).await.unwrap();
    }
    assert_eq!(bytes(&main).await, 37_000, "those whose inputs were erased count nothing");
    scene.jobs.remove(&org, &main).await.unwrap();
    assert_eq!((bytes(&main).await, bytes(&side).await), (0, 5));
}

pub(super) async fn what_has_not_ended_for_good_is_listed_in_both_orders(scene: &Scene) {
    let states = [JobState::Dead, JobState::Ended, JobState::Skipped, JobState::Dead];
    for (number, state) in (1..).zip(states) {
        scene.enqueue("main", number, number).await;
        let lease = scene.lease("main", FAR).await.unwrap().lease;
        scene.jobs.finish(&lease, &end(state, 1)).await.unwrap();
    }
    scene.enqueue("side", 5, 1).await;
    let [(org, _), _] = scene.names();
    let listed = async |order, after: Option<&(u64, JobName)>| {
        let found = scene.jobs.listed(Some(&org), order, after, 10).await.unwrap();
        assert_eq!(scene.jobs.listed(None, order, after, 10).await.unwrap(), found, "there is no other org");
        found
    };
    let oldest = listed(JobOrder::OldestFirst, None).await;
    let names: Vec<_> = oldest.iter().map(|(_, name)| name.clone()).collect();
    // Why sorted: several may be stored within a millisecond.
    let mut all = names.clone();
    all.sort();
    assert_eq!(all, [name("main", 1), name("main", 3), name("main", 4), name("side", 5)]);
    assert!(oldest.is_sorted_by_key(|(stored_ms, _)| *stored_ms));
    assert_eq!(listed(JobOrder::OldestFirst, oldest.first()).await, oldest[1..]);
    let newest = listed(JobOrder::NewestFirst, None).await;
    assert!(newest.len() == 4 && newest.is_sorted_by_key(|(stored_ms, _)| u64::MAX - stored_ms));
    assert_eq!(listed(JobOrder::NewestFirst, newest.first()).await, newest[1..]);
    scene.jobs.revive(&name("main", 1), 5, detail("again")).await.unwrap();
    scene.jobs.revive(&name("main", 3), 5, detail("again")).await.unwrap();
    assert_eq!(listed(JobOrder::OldestFirst, None).await.len(), 4, "they are open again");
    for (workspace, number) in [("main", 1), ("main", 3), ("main", 4), ("side", 5)] {
        scene.jobs.erase(&name(workspace, number)).await.unwrap();
    }
    for order in [JobOrder::NewestFirst, JobOrder::OldestFirst] {
        assert!(listed(order, None).await.is_empty());
    }
}
