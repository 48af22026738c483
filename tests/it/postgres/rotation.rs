//! The master key of nodes that share a database: added everywhere, promoted, and the old one taken out, with nodes that are
//! killed meanwhile.

use std::fs;

use portcullis_store::MasterKey;
use portcullis_store_conformance::cluster::Cluster;
use serde_json::{Value, json};

use super::installation::{Installation, until};
use crate::field_cases::damage::kills::print_line;
use crate::field_cases::damage::product::{Product, Reply, prepare, refused_call};
use crate::support::binary::run;
use crate::support::figures::{Random, count, seed};

const SLOWLY: [&str; 2] = ["--limit", "key_rewraps_per_second=20"];
const NAMES: [&str; 2] = ["one", "two"];

/// Ids of the keys in the file.
fn ids(installed: &Installation) -> Vec<String> {
    let text = fs::read_to_string(installed.key()).unwrap();
    text.lines().map(|line| MasterKey::from_text(line).unwrap().id().to_string()).collect()
}

#[tokio::test]
async fn a_rotation_on_several_nodes_survives_kills_and_the_old_line_can_then_be_taken_out() {
    let Some(cluster) = Cluster::shared() else { return };
    let installed = Installation::new(cluster);
    let (seed, kills) = (seed(), count("PORTCULLIS_ROTATION_KILLS", 2));
    let mut random = Random(seed);
    let mut nodes: Vec<_> = NAMES.map(|name| installed.try_node(name, &SLOWLY).unwrap()).into();
    let tokens = prepare(&nodes[0], &installed.platform).await;
    for number in 0..60 {
        let body = json!({ "workspace": format!("w{number}") });
        nodes[0].ask(&tokens.platform, "POST", "/admin/org/acme/workspace", &body).await.is(201);
    }
    let key = installed.key();
    installed.run(&["key", "show"]).exits(1);
    run(installed.dir.path(), &["key", "new", "--append", key.to_str().unwrap()]).exits(0);
    let [old, new] = ids(&installed).try_into().unwrap();
    nodes[0].signal("HUP");
    let wish = json!({ "key_id": new });
    until(&nodes[0], &tokens.platform, ("POST", "/admin/key/rotate", &wish), |reply| {
        reply.json()["code"] == "key_not_everywhere"
    })
    .await;
    nodes[1].signal("HUP");
    until(&nodes[0], &tokens.platform, ("POST", "/admin/key/rotate", &wish), |reply| reply.status == 200)
        .await;
    let mut done = 0;
    for _ in 0..kills {
        let some = random.below(10) as u64 + 1;
        let rotation = |reply: &Reply| reply.json()["rotation"].clone();
        until(&nodes[0], &tokens.platform, ("GET", "/admin/key", &Value::Null), |reply| {
            let rotation = rotation(reply);
            rotation["rewrapped"].as_u64().unwrap_or(0) >= done + some || !rotation["finished_at"].is_null()
        })
        .await;
        done = nodes[0].get(&tokens.platform, "/admin/key").await.json()["rotation"]["rewrapped"]
            .as_u64()
            .unwrap();
        let killed = random.below(2);
        nodes.remove(killed).kill();
        nodes.insert(killed, installed.try_node(NAMES[killed], &SLOWLY).unwrap());
    }
    until(&nodes[0], &tokens.platform, ("GET", "/admin/key", &Value::Null), |reply| {
        !reply.json()["rotation"]["finished_at"].is_null()
    })
    .await;
    let after = nodes[1].get(&tokens.platform, "/admin/key").await.json();
    let wrapped = |id: &str| {
        let keys = after["keys"].as_array().unwrap();
        keys.iter().find(|key| key["key_id"] == id).unwrap()["wrapped"].clone()
    };
    assert_eq!(wrapped(&old), 0, "seed {seed}: {after}");
    refused_call(&nodes[1], &tokens, 1).await;
    nodes.into_iter().for_each(Product::kill);
    let text = fs::read_to_string(&key).unwrap();
    let (first, second) = text.split_once('\n').unwrap();
    fs::write(&key, second).unwrap();
    // The key of the database's own seals is wrapped anew, too: else nothing would open.
    let node = installed.node("one");
    refused_call(&node, &tokens, 1).await;
    node.kill();
    fs::write(&key, format!("{first}\n")).unwrap();
    let refused = installed.try_node("one", &[]).map(drop).unwrap_err();
    assert!(refused.contains(&new), "the missing key is named: {refused}");
    let line = json!({ "kills": kills, "nodes": 2, "seed": seed });
    print_line("rotations on several nodes killed", &line);
}
