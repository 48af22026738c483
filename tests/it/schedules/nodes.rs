//! Schedules beside another node: what one saved, the other does not undo, however old is what it remembers.

use std::net::SocketAddr;
use std::sync::Arc;

use portcullis_core::limits::Limits;
use portcullis_engine::Engine;
use portcullis_store::{AutomationRecord, ScheduleRecord, Writes};
use serde_json::json;

use super::{NEXT_MONDAY, NINE, Scene, mondays, quick, replace, saved};
use crate::support::shared_store::SharedStore;
use crate::support::until;

/// Half past eight in Berlin, before the first nine o'clock.
const EARLIER: &str = "2026-11-30T07:30:00Z";

/// A node that saves, and another one that fires.
struct Two {
    scene: Scene,
    store: Arc<SharedStore>,
    fires: Arc<Engine>,
    address: SocketAddr,
}

impl Two {
    async fn new() -> Self {
        // Why so long: a feed that a test delays must not end what the node remembers.
        let limits = Limits { changes_unread_ms: 60_000, ..quick() };
        let own = SharedStore::new();
        let scene = Scene::still(limits, own.clone()).await;
        scene.world.engine.start_jobs();
        let store = own.another();
        let (fires, address) = scene.world.another_life(store.clone()).await;
        fires.start_schedules();
        Self { scene, store, fires, address }
    }

    fn set(&self, time: &str) {
        self.scene.clock.set(&self.fires, time);
    }

    /// Has the node that fires remember the automation as it is now.
    async fn remembers(&self, id: &str) {
        self.store.followed().await;
        let run = self.scene.acme.at(self.address).run;
        let path = format!("/run/acme/main/automation/{id}");
        let parts = ["acme", id];
        until("it is remembered", async || {
            run.post(&path, &json!({})).await;
            self.fires.records().kept::<AutomationRecord>(&parts).is_some()
        })
        .await;
    }

    async fn record(&self, id: &str) -> Option<ScheduleRecord> {
        self.fires.records().get::<ScheduleRecord>(&["acme", id]).await.unwrap().map(|(record, _)| record)
    }
}

#[tokio::test]
async fn new_times_that_another_node_saved_are_not_undone_by_one_that_remembers_the_old_ones() {
    for old in [json!({}), json!({ "enabled": false })] {
        let two = Two::new().await;
        let id = saved(&two.scene.acme, &mondays(&old)).await;
        two.remembers(&id).await;
        let late = two.store.delay_feed().await;
        replace(&two.scene.acme, &id, &mondays(&json!({ "schedule": { "cron": "30 8 * * MON" } }))).await;
        two.set(EARLIER);
        two.scene.until_next(&id, "2026-12-07T07:30:00Z").await;
        drop(late);
        let runs = two.scene.runs(&id, EARLIER, 1).await;
        assert_eq!(runs[0]["status"], "succeeded", "it fired as it is saved now: {runs:?}");
    }
}

#[tokio::test]
async fn a_first_schedule_that_another_node_saved_is_not_forgotten_by_one_that_remembers_none() {
    let two = Two::new().await;
    let none = json!({ "entity_name": "contact", "event_name": "made", "schedule": null });
    let id = saved(&two.scene.acme, &mondays(&none)).await;
    two.remembers(&id).await;
    let late = two.store.delay_feed().await;
    replace(&two.scene.acme, &id, &mondays(&json!({}))).await;
    two.set(NINE);
    two.scene.until_next(&id, NEXT_MONDAY).await;
    drop(late);
    two.scene.runs(&id, NINE, 1).await;
}

/// The neighbour: what somebody wrote past the product is put right.
#[tokio::test]
async fn a_schedule_that_differs_from_its_automation_is_put_right_and_one_without_an_automation_goes() {
    let two = Two::new().await;
    let (kept, gone) = (
        saved(&two.scene.acme, &mondays(&json!({}))).await,
        saved(&two.scene.acme, &mondays(&json!({}))).await,
    );
    let records = two.fires.records().clone();
    let (mut automation, commit) = records.get::<AutomationRecord>(&["acme", &kept]).await.unwrap().unwrap();
    automation.definition["schedule"]["cron"] = json!("30 9 * * MON");
    let writes = Writes::new().replace(&["acme", &kept], &automation, commit);
    records.commit(writes.delete::<AutomationRecord>(&["acme", &gone])).await.unwrap();
    two.set(NINE);
    two.scene.until_next(&kept, "2026-11-30T08:30:00Z").await;
    until("the other one is forgotten", async || two.record(&gone).await.is_none()).await;
    assert_eq!(two.record(&kept).await.unwrap().cron, "30 9 * * MON");
}
