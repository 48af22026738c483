//! Tests of the index of bound automations.

use portcullis_store::{MemoryStore, Writes};
use serde_json::json;

use super::*;

struct Scene {
    records: Records,
    bindings: Bindings,
    org: OrgId,
}

impl Scene {
    fn new() -> Self {
        let records = Records::new(Arc::new(MemoryStore::new()));
        Self { records, bindings: Bindings::default(), org: OrgId::parse("acme").unwrap() }
    }

    /// Writes an automation, and notes it as a commit does.
    async fn write(&self, id: &str, definition: Value) {
        let record = AutomationRecord {
            automation_id: AutomationId::parse(id).unwrap(),
            org: self.org.clone(),
            definition,
            revision: 1,
            created_at: String::new(),
            updated_at: String::new(),
        };
        self.records.commit(Writes::new().put(&["acme", id], &record)).await.unwrap();
        self.bindings.changed("acme", id);
    }

    async fn delete(&self, id: &str) {
        self.records.commit(Writes::new().delete::<AutomationRecord>(&["acme", id])).await.unwrap();
        self.bindings.changed("acme", id);
    }

    async fn bound(&self, occasion: &Occasion) -> Vec<String> {
        let found = self.bindings.bound(&self.records, &self.org, occasion, 100).await.unwrap();
        found.iter().map(|id| id.as_str().to_owned()).collect()
    }
}

fn occasion(event: &str) -> Occasion {
    Occasion::of(&json!({ "entity_name": "contact", "event_name": event })).unwrap()
}

#[tokio::test]
async fn an_automation_is_bound_to_its_entity_event_stage_and_operation_and_to_nothing_else() {
    let scene = Scene::new();
    scene.write("a1", json!({ "entity_name": "contact", "event_name": "made" })).await;
    let other = json!({ "entity_name": "contact", "event_name": "made", "event_stage": "before" });
    scene.write("a2", other).await;
    let other = json!({ "entity_name": "contact", "event_name": "made", "event_optype": "delete" });
    scene.write("a3", other).await;
    scene.write("a4", json!({ "entity_name": "deal", "event_name": "made" })).await;
    scene.write("a5", json!({ "entity_name": "contact", "event_name": "left" })).await;
    let made = occasion("made");
    assert_eq!((made.stage, made.optype), (EventStage::After, EventOptype::Create), "the defaults");
    assert_eq!(scene.bound(&made).await, ["a1"]);
    assert_eq!(scene.bound(&Occasion { stage: EventStage::Before, ..made.clone() }).await, ["a2"]);
    assert_eq!(scene.bound(&Occasion { optype: EventOptype::Delete, ..made.clone() }).await, ["a3"]);
    assert_eq!(scene.bound(&Occasion { optype: EventOptype::Update, ..made.clone() }).await, [""; 0]);
    assert_eq!(scene.bound(&Occasion { entity_name: "deal".to_owned(), ..made }).await, ["a4"]);
    assert_eq!(scene.bound(&occasion("nothing")).await, [""; 0]);
}

#[tokio::test]
async fn the_index_follows_what_is_written_and_deleted_after_it_was_made() {
    let scene = Scene::new();
    let made = json!({ "entity_name": "contact", "event_name": "made" });
    scene.write("a2", made.clone()).await;
    assert_eq!(scene.bound(&occasion("made")).await, ["a2"]);
    scene.write("a1", made.clone()).await;
    assert_eq!(scene.bound(&occasion("made")).await, ["a1", "a2"]);
    scene.write("a2", json!({ "entity_name": "contact", "event_name": "left" })).await;
    assert_eq!(scene.bound(&occasion("made")).await, ["a1"]);
    assert_eq!(scene.bound(&occasion("left")).await, ["a2"]);
    scene.delete("a1").await;
    scene.delete("never").await;
    assert_eq!(scene.bound(&occasion("made")).await, [""; 0]);
    scene.write("a3", made).await;
    scene.bindings.forget_all();
    assert_eq!(scene.bound(&occasion("made")).await, ["a3"], "made again");
}

#[tokio::test]
async fn more_automations_than_a_page_are_bound_and_no_more_are_told_than_asked_for() {
    let scene = Scene::new();
    for n in 0..READ_AT_ONCE * 2 + 5 {
        scene.write(&format!("a{n:04}"), json!({ "entity_name": "contact", "event_name": "made" })).await;
    }
    let found = scene.bindings.bound(&scene.records, &scene.org, &occasion("made"), 1000).await.unwrap();
    assert_eq!(found.len(), READ_AT_ONCE * 2 + 5);
    assert_eq!(scene.bound(&occasion("made")).await.len(), 101);
    let other = OrgId::parse("acme2").unwrap();
    let none = scene.bindings.bound(&scene.records, &other, &occasion("made"), 10).await.unwrap();
    assert!(none.is_empty(), "of another org");
}

#[tokio::test]
async fn a_look_that_is_given_up_loses_no_change() {
    let scene = Scene::new();
    let made = json!({ "entity_name": "contact", "event_name": "made" });
    assert_eq!(scene.bound(&occasion("made")).await, [""; 0]);
    scene.write("a1", made).await;
    let known = Arc::clone(&scene.bindings.orgs.lock().unwrap()["acme"]);
    let mut index = known.index.lock().await;
    index.stale.append(&mut lock(&known.changed));
    drop(index);
    assert_eq!(scene.bound(&occasion("made")).await, ["a1"]);
}
