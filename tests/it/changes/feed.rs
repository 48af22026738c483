//! What a product learns from the feed: soon, late, or not at all.

use portcullis_core::fault::Code;
use serde_json::json;
use tokio::time::timeout;

use super::scene::{By, PROMISED, Place, Scene, Write, Writer, definition};

/// Calls until the answer is this one; every earlier one is of a call that was still allowed.
async fn until_answered(place: &Place, what: &str, is_it: impl Fn(&serde_json::Value) -> bool) {
    let calls = async { while !is_it(&place.create_contact().await.json) {} };
    timeout(PROMISED, calls).await.expect(what);
    assert!(is_it(&place.create_contact().await.json), "{what}");
}

#[tokio::test]
async fn new_calls_are_skipped_within_a_second_of_another_products_kill_switch() {
    let scene = Scene::start(Writer::Other).await;
    let place = scene.place("a").await;
    place.create_contact().await.is(200);
    let off = Write::of(By::Platform, "PATCH", place.connector_path(), json!({ "enabled": false }), 200);
    scene.change(&place, vec![off]).await;
    let skipped = |run: &serde_json::Value| {
        (&run["status"], &run["reason"]) == (&json!("skipped"), &json!("connector_disabled"))
    };
    until_answered(&place, "calls are skipped", skipped).await;
}

#[tokio::test]
async fn new_calls_are_refused_within_a_second_of_another_products_list() {
    let scene = Scene::start(Writer::Other).await;
    let place = scene.place("a").await;
    place.create_contact().await.is(200);
    let list = json!({ "domain_allowlist": [], "mode": "enforce" });
    let path = format!("/org/{}/settings/integrations", place.tenant.org_id);
    scene.change(&place, vec![Write::of(By::Org, "PUT", path, list, 200)]).await;
    until_answered(&place, "calls are refused", |answer| answer["code"] == "host_not_in_org").await;
}

/// What is deleted and made again.
#[derive(Debug, Clone, Copy)]
enum Again {
    Connection,
    Connector,
    Workspace,
}

impl Again {
    async fn make(self, scene: &Scene, place: &mut Place) {
        match self {
            Self::Connection => scene.forget_and_save(place).await,
            Self::Connector => scene.delete_and_upload(place).await,
            Self::Workspace => scene.delete_and_create_workspace(place).await,
        }
    }
}

/// A connector without credentials.
fn open(name: &str) -> serde_json::Value {
    let mut definition = definition(&format!("open-{name}"));
    definition["auth_type"] = json!("none");
    definition.as_object_mut().unwrap().remove("auth_schema");
    definition
}

#[tokio::test]
async fn a_deletion_that_is_told_late_does_not_end_a_call_of_what_was_made_again() {
    // Why not a workspace of another product: until the feed tells, a call is made in the one that was deleted.
    let (here, there) = (
        &[Again::Connection, Again::Connector, Again::Workspace][..],
        &[Again::Connection, Again::Connector][..],
    );
    let scenes =
        [(Scene::start(Writer::Other).await, there), (Scene::start_alone_on_a_shared_store().await, here)];
    for (scene, made_again) in scenes {
        let mut failures = Vec::new();
        for (name, again) in ["a", "b", "c"].into_iter().zip(made_again) {
            let mut place = scene.place(name).await;
            scene.followed().await;
            let feed = scene.shared().delay_feed().await;
            again.make(&scene, &mut place).await;
            let call = scene.call(&place).await;
            drop(feed);
            if let Err(why) = scene.goes_on(call).await {
                failures.push(format!("{again:?}: {why}"));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }
}

#[tokio::test]
async fn a_call_of_what_was_deleted_ends_also_when_the_same_is_there_again() {
    let scene = Scene::start(Writer::Other).await;
    let mut failures = Vec::new();
    for (name, again, definition) in [
        ("a", Again::Connection, definition("salesforce-a")),
        ("b", Again::Connector, definition("salesforce-b")),
        ("c", Again::Workspace, definition("salesforce-c")),
        ("d", Again::Workspace, open("d")),
    ] {
        let mut place = scene.place_of(name, definition).await;
        let call = scene.call(&place).await;
        let feed = scene.shared().delay_feed().await;
        again.make(&scene, &mut place).await;
        drop(feed);
        if let Err(why) = scene.ends(&place, call, Code::CallEnded).await {
            failures.push(format!("{again:?} of {name}: {why}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test]
async fn a_product_that_missed_a_shredded_key_uses_the_next_one() {
    let scene = Scene::start(Writer::Other).await;
    let mut place = scene.place("a").await;
    place.create_contact().await.is(200);
    let feed = scene.shared().delay_feed().await;
    scene.delete_and_create_workspace(&mut place).await;
    scene.shared().truncate_feed();
    drop(feed);
    scene.followed().await;
    assert_eq!(place.create_contact().await.is(200).json["status"], "succeeded");
}
