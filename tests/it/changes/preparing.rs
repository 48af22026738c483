//! Changes that are made while a call prepares: it has read what is not so any more, and sends nothing by it.

use std::sync::Arc;

use portcullis_core::fault::Code;
use portcullis_store::{ConnectorRecord, Key};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::scene::{By, PROMISED, Place, Scene, Write, Writer, definition};
use crate::support::{PUBLIC, Script, until};

/// The connector with its action on another path.
fn moved(place: &Place) -> Write {
    let mut moved = place.definition.clone();
    let url = moved["actions"][0]["url_template"].as_str().unwrap().replace("/v1/", "/v2/");
    moved["actions"][0]["url_template"] = json!(url);
    Write::of(By::Platform, "PUT", place.connector_path(), moved, 200)
}

#[tokio::test]
async fn a_call_that_read_its_connector_before_another_product_replaced_it_sends_nothing() {
    let scene = Scene::start(Writer::Other).await;
    let place = scene.place("a").await;
    scene.followed().await;
    let key = Key::of::<ConnectorRecord>(&[&place.connector]).unwrap();
    let (is_read, let_go) = scene.shared().delay_read(key);
    let call = scene.begin(&place);
    timeout(10 * PROMISED, is_read).await.expect("the call reads its connector").unwrap();
    scene.change(&place, vec![moved(&place)]).await;
    scene.followed().await;
    let_go.send(()).unwrap();
    timeout(PROMISED, call).await.unwrap().unwrap().problem(Code::PathNotGranted);
    assert!(scene.world.upstream.received().is_empty());
}

#[tokio::test]
async fn a_call_whose_host_is_being_found_out_ends_when_its_path_is_no_longer_granted() {
    let scene = Scene::start(Writer::Own).await;
    scene.world.names.tell("login.salesforce.com", &[PUBLIC]);
    let upstream = Arc::new(Semaphore::new(0));
    let found = Box::new(Script::Json(200, r#"{"dc":"api"}"#));
    scene.world.upstream.script("/metadata", Script::Held(Arc::clone(&upstream), found));
    let mut definition = definition("salesforce-a");
    definition["actions"][0]["url_template"] = json!("https://{{config.dc}}.salesforce.com/v1/salesforce-a");
    definition["config_fields"] = json!([{ "name": "dc", "automated": true }]);
    definition["discover"] = json!([{
        "request": { "action_id": "find", "http_method": "GET",
                     "url_template": "https://login.salesforce.com/metadata" },
        "capture": { "dc": "/dc" },
    }]);
    let place = scene.place_of("a", definition).await;
    let call = scene.begin(&place);
    until("the host is asked for", async || !scene.world.upstream.received().is_empty()).await;
    scene.change(&place, vec![moved(&place)]).await;
    upstream.add_permits(1);
    timeout(PROMISED, call).await.unwrap().unwrap().problem(Code::PathNotGranted);
    assert!(scene.world.upstream.received_on("/v1/salesforce-a").is_empty());
}
