//! Two products on one store: a key is promoted once both have it, and what one wraps the other opens.

use std::path::Path;
use std::time::Duration;

use portcullis_core::fault::Code;
use portcullis_store::{CommandKeys, CommandOptions, KeyNodes, KeyRotation, MasterKeyRing};
use serde_json::json;

use super::{KEY, Keys, finished, key_of, ring};
use crate::support::shared_store::SharedStore;
use crate::support::{SALESFORCE, Stage, until};

/// A service that takes as long to wrap as there is a file beside it.
const SLOW: &str = r#"
cd "$(dirname "$0")" || exit 1
read -r question
field() { printf %s "$question" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
case $(field op) in
keys) printf '{"keys":["service"]}\n' ;;
wrap)
  if [ -e slow ]; then : > waits; fi
  while [ -e slow ]; do sleep 0.05; done
  printf '{"ciphertext":"%s"}\n' "$(field plaintext)" ;;
unwrap) printf '{"plaintext":"%s"}\n' "$(field ciphertext)" ;;
esac
"#;

/// The key of every world, and behind it that of the slow service.
async fn beside_a_service(dir: &Path) -> MasterKeyRing {
    let script = dir.join("service");
    std::fs::write(&script, SLOW).unwrap();
    let options = CommandOptions {
        argv: vec!["/bin/sh".to_owned(), script.to_str().unwrap().to_owned()],
        timeout: Duration::from_secs(120),
        opened_for: Duration::from_secs(600),
    };
    MasterKeyRing::from(Keys::new().old).and(CommandKeys::open(options).await.unwrap().into())
}

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

#[tokio::test]
async fn a_node_that_waits_for_a_slow_service_still_says_that_it_is_there_and_keeps_the_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let store = SharedStore::new();
    let world = Stage { store: Some(store.clone()), ..Stage::default() }.start().await;
    world.platform.write("POST", "/admin/connector", SALESFORCE).await.is(201);
    let acme = world.tenant("acme", "main").await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    let keys = beside_a_service(dir.path()).await;
    world.engine.replace_master_keys(keys.clone()).await.unwrap();
    let (second, _) = world.life_with_keys(keys.clone(), store.another()).await;
    let promoted = keys.key_ids().remove(1);
    world.platform.post("/admin/key/rotate", &json!({ "key_id": promoted.as_str() })).await.is(200);
    std::fs::write(dir.path().join("slow"), "").unwrap();
    second.start_keys();
    until("it waits for the service", async || dir.path().join("waits").exists()).await;
    let records = world.engine.records();
    let now_ms = || u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap();
    let since_ms = now_ms();
    let (rotation, _) = records.get::<KeyRotation>(&KeyRotation::PARTS).await.unwrap().unwrap();
    let node = rotation.node.unwrap();
    // Why not the first time: that may be the one at its start. It is said every fifteen seconds.
    let is_said = async || {
        let (known, _) = records.get::<KeyNodes>(&KeyNodes::PARTS).await.unwrap().unwrap();
        known.nodes.iter().any(|one| one.node == node && one.seen_ms > since_ms + 5_000)
    };
    let said = async {
        while !is_said().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), said).await.expect("it does not say that it is there");
    let (rotation, _) = records.get::<KeyRotation>(&KeyRotation::PARTS).await.unwrap().unwrap();
    assert_eq!(rotation.node.as_ref(), Some(&node));
    assert!(rotation.lease_ms > now_ms(), "nobody else takes it up: {rotation:?}");
    assert!(dir.path().join("slow").exists() && rotation.finished_ms.is_none());
    std::fs::remove_file(dir.path().join("slow")).unwrap();
    finished(&world.platform).await;
    acme.create_contact().await.is(200);
}
