//! Two products on one store: a key is promoted once both have it, and what one wraps the other opens.

use portcullis_core::fault::Code;
use serde_json::json;

use super::{KEY, Keys, finished, key_of, ring};
use crate::support::shared_store::SharedStore;
use crate::support::{SALESFORCE, Stage};

#[tokio::test]
async fn a_key_is_promoted_once_every_node_has_it() {
    let store = SharedStore::new();
    let world = Stage { store: Some(store.clone()), ..Stage::default() }.start().await;
    world.platform.write("POST", "/admin/connector", SALESFORCE).await.is(201);
    let acme = world.tenant("acme", "main").await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    let keys = Keys::new();
    let (second, address) = world.life_with_keys(keys.old.clone(), store.another()).await;
    world.engine.start_keys();
    second.start_keys();
    let elsewhere = acme.at(address);
    elsewhere.create_contact().await.is(200);

    world.platform.post("/admin/key/rotate", &keys.promote()).await.problem(Code::NotFound);
    world.engine.replace_master_keys(keys.both().into()).await.unwrap();
    let shown = ring(&world.platform.at(address)).await;
    assert_eq!(shown["nodes"].as_array().unwrap().len(), 2, "{shown}");
    // From either node: one of them lacks it, and is named.
    let lacking = |node: &&serde_json::Value| {
        !node["key_ids"].as_array().unwrap().contains(&json!(keys.new.id().as_str()))
    };
    let name = shown["nodes"].as_array().unwrap().iter().find(lacking).unwrap()["node"].clone();
    for platform in [&world.platform, &world.platform.at(address)] {
        let refused =
            platform.post("/admin/key/rotate", &keys.promote()).await.problem(Code::KeyNotEverywhere);
        assert!(refused.text.contains(name.as_str().unwrap()), "{}", refused.text);
    }
    assert_eq!(key_of(&ring(&world.platform).await, &keys.old)["state"], "current");

    second.replace_master_keys(keys.both().into()).await.unwrap();
    world.platform.post("/admin/key/rotate", &keys.promote()).await.is(200);
    let after = finished(&world.platform).await;
    assert_eq!(key_of(&after, &keys.old)["wrapped"], 0);
    // What the other node wraps now, it wraps with the promoted key.
    world
        .platform
        .at(address)
        .post("/admin/org/acme/workspace", &json!({ "workspace": "side" }))
        .await
        .is(201);
    assert_eq!(key_of(&ring(&world.platform).await, &keys.old)["wrapped"], 0);
    for engine in [&world.engine, &second] {
        engine.replace_master_keys(keys.new.clone().into()).await.unwrap();
        engine.records_changed().await;
    }
    acme.create_contact().await.is(200);
    elsewhere.create_contact().await.is(200);
}

#[tokio::test]
async fn a_node_without_the_key_that_wraps_does_not_start() {
    let store = SharedStore::new();
    let world = Stage { store: Some(store.clone()), ..Stage::default() }.start().await;
    let keys = Keys::new();
    world.engine.replace_master_keys(keys.both().into()).await.unwrap();
    world.platform.post("/admin/key/rotate", &keys.promote()).await.is(200);
    let refused = portcullis_store::Vault::open(world.engine.records().clone(), keys.old.clone()).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains(&format!("master key {} is needed", keys.new.id())), "{text}");
    // The neighbour, which has both.
    world.life_with_keys(keys.both(), store.another()).await;
}
