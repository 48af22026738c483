//! Tests of the record of a schedule beside its automation.

use std::sync::Arc;

use portcullis_store::{MemoryStore, ScheduleFiring};

use super::*;
use crate::schedules::{Missed, ScheduleWorkspaces};

const NINE: u64 = 1_796_029_200_000;
const HOUR: u64 = 3_600_000;

struct Scene {
    records: Records,
    org: OrgId,
    id: AutomationId,
}

fn scene() -> Scene {
    Scene {
        records: Records::new(Arc::new(MemoryStore::new())),
        org: OrgId::parse("acme").unwrap(),
        id: AutomationId::parse("auto_1").unwrap(),
    }
}

fn schedule(cron: &str) -> Schedule {
    Schedule {
        cron: cron.to_owned(),
        timezone: "UTC".to_owned(),
        workspaces: ScheduleWorkspaces::All,
        missed: Missed::Skip,
    }
}

impl Scene {
    async fn change(&self, schedule: Option<&Schedule>, enabled: bool, now_ms: u64) -> ScheduleChange {
        ScheduleChange::of(&self.records, &self.org, &self.id, schedule, enabled, now_ms).await.unwrap()
    }

    async fn save(&self, schedule: Option<&Schedule>, enabled: bool, now_ms: u64) {
        let change = self.change(schedule, enabled, now_ms).await;
        self.records.commit(change.add_to(Writes::new())).await.unwrap();
        self.is_sound().await;
    }

    async fn record(&self) -> Option<(ScheduleRecord, u64)> {
        self.records.get(&[self.org.as_str(), self.id.as_str()]).await.unwrap()
    }

    /// There is a place in the order for what is due, and no other.
    async fn is_sound(&self) {
        let places = self.records.keys::<ScheduleOrder>(&[], None, 10).await.unwrap();
        let due = self.record().await.and_then(|(record, _)| record.due_ms);
        let wanted = due.map(|ms| vec![ScheduleOrder::part(ms), "acme".to_owned(), "auto_1".to_owned()]);
        assert_eq!(places, wanted.into_iter().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn the_next_time_is_known_from_when_it_is_saved() {
    let scene = scene();
    scene.save(Some(&schedule("0 * * * *")), true, NINE).await;
    assert_eq!(scene.record().await.unwrap().0.next_at_ms, Some(NINE + HOUR));
    scene.save(None, true, NINE).await;
    assert_eq!(scene.record().await, None);
    scene.save(None, true, NINE).await;
}

#[tokio::test]
async fn another_expression_counts_from_now_and_the_same_goes_on() {
    let scene = scene();
    scene.save(Some(&schedule("0 * * * *")), true, NINE).await;
    let later = Schedule { missed: Missed::Once, ..schedule("0 * * * *") };
    scene.save(Some(&later), true, NINE + 2 * HOUR).await;
    let (record, _) = scene.record().await.unwrap();
    assert_eq!(record.next_at_ms, Some(NINE + HOUR), "what is due stays due");
    scene.save(Some(&schedule("30 * * * *")), true, NINE + 2 * HOUR).await;
    let (record, _) = scene.record().await.unwrap();
    assert_eq!((record.next_at_ms, record.since_ms), (Some(NINE + 2 * HOUR + HOUR / 2), NINE + 2 * HOUR));
    let zone = Schedule { timezone: "Asia/Kathmandu".to_owned(), ..schedule("30 * * * *") };
    scene.save(Some(&zone), true, NINE).await;
    assert_eq!(scene.record().await.unwrap().0.next_at_ms, Some(NINE + HOUR * 3 / 4));
}

#[tokio::test]
async fn what_is_switched_off_misses_nothing() {
    let scene = scene();
    scene.save(Some(&schedule("0 * * * *")), true, NINE).await;
    scene.save(Some(&schedule("0 * * * *")), false, NINE + 10).await;
    let (off, _) = scene.record().await.unwrap();
    assert_eq!((off.next_at_ms, off.due_ms), (None, None));
    scene.save(Some(&schedule("0 * * * *")), true, NINE + 5 * HOUR + 10).await;
    assert_eq!(scene.record().await.unwrap().0.next_at_ms, Some(NINE + 6 * HOUR));
}

#[tokio::test]
async fn a_firing_that_has_begun_goes_on_after_a_change_and_ends_when_it_is_switched_off() {
    let scene = scene();
    scene.save(Some(&schedule("0 * * * *")), true, NINE).await;
    let (before, commit) = scene.record().await.unwrap();
    let firing = ScheduleFiring {
        at_ms: NINE + HOUR,
        previous_at_ms: None,
        begun_ms: NINE + HOUR,
        after: None,
        runs: 3,
        held: true,
    };
    let due_ms = Some(NINE + HOUR + 15_000);
    let after = ScheduleRecord { firing: Some(firing.clone()), due_ms, ..before.clone() };
    let step = ScheduleChange::to(before.clone(), commit, after);
    scene.records.commit(step.add_to(Writes::new())).await.unwrap();
    scene.is_sound().await;
    assert!(
        matches!(scene.records.commit(step.add_to(Writes::new())).await, Err(StoreError::Conflict { .. })),
        "of two processes one takes the step"
    );
    scene.save(Some(&schedule("30 * * * *")), true, NINE + HOUR).await;
    let (changed, _) = scene.record().await.unwrap();
    assert_eq!((changed.firing, changed.due_ms), (Some(firing), due_ms));
    scene.save(Some(&schedule("30 * * * *")), false, NINE + HOUR).await;
    let (off, _) = scene.record().await.unwrap();
    assert_eq!((off.firing, off.due_ms), (None, None));
}

#[tokio::test]
async fn a_change_that_was_decided_before_a_step_is_decided_again() {
    let scene = scene();
    scene.save(Some(&schedule("0 * * * *")), true, NINE).await;
    let change = scene.change(Some(&schedule("5 * * * *")), true, NINE).await;
    let (before, commit) = scene.record().await.unwrap();
    let after = ScheduleRecord { next_at_ms: Some(1), due_ms: Some(1), ..before.clone() };
    let step = ScheduleChange::to(before, commit, after);
    scene.records.commit(step.add_to(Writes::new())).await.unwrap();
    let refused = scene.records.commit(change.add_to(Writes::new())).await;
    assert!(matches!(refused, Err(StoreError::Conflict { key }) if key.starts_with("schedule/")));
    scene.save(None, true, NINE).await;
}
