//! A process that dies at the commit of a change, and several that change the same: a change is there with its record or
//! not at all, and the chain is one.

use std::sync::Arc;

use portcullis_store::{OrgLimitsRecord, SledStore};
use serde_json::{Value, json};

use super::{KEY, POLICY, newest};
use crate::support::crashing_store::{CrashPoint, CrashingStore, reopen};
use crate::support::shared_store::SharedStore;
use crate::support::{Client, Stage, World, until};

/// A change, how its effect is read afterwards, and its action.
struct Change {
    /// Part of a key that its commit writes.
    key: &'static str,
    method: &'static str,
    path: &'static str,
    body: Value,
    action: &'static str,
}

fn changes() -> Vec<Change> {
    let list = json!({ "domain_allowlist": ["*.salesforce.com"] });
    vec![
        Change {
            key: "integration_settings/acme",
            method: "PUT",
            path: POLICY,
            body: list,
            action: "setIntegrations",
        },
        Change {
            key: "setting/acme/main/salesforce",
            method: "PUT",
            path: "/workspace/acme/main/settings/connector/salesforce",
            body: json!({ "enabled": true, "config": { "api_key": KEY } }),
            action: "saveConnection",
        },
    ]
}

/// Dies at the commit of this change; then the next life has both or neither.
async fn dies(change: &Change, point: CrashPoint) {
    let dir = tempfile::tempdir().unwrap();
    let store = CrashingStore::new(SledStore::open(dir.path()).unwrap());
    let stage = Stage { store: Some(Arc::new(store.clone())), ..Stage::default() };
    let (world, acme) = World::salesforce_on(stage).await;
    let caller = if change.path.starts_with("/org/") { &acme.org } else { &acme.workspace };
    let before = newest(&acme.org, "/org/acme/audit?limit=100").await;
    let state = caller.get(change.path).await.is(200).json;
    store.crashes_at(change.key, 0, point);
    let body = change.body.to_string();
    let (caller, method, path) = (caller.clone(), change.method, change.path);
    let asking = {
        let caller = caller.clone();
        tokio::spawn(async move { caller.write(method, path, body).await })
    };
    let what = format!("{} dies {point:?}", change.action);
    until(&what, async || store.has_crashed()).await;
    asking.abort();
    let (_, address) = world.another_life(reopen(dir.path()).await).await;
    let acme = acme.at(address);
    let after = newest(&acme.org, "/org/acme/audit?limit=100").await;
    let is_changed = caller.at(address).get(path).await.is(200).json != state;
    let new: Vec<&Value> = after.iter().filter(|record| !before.contains(record)).collect();
    assert_eq!(is_changed, point == CrashPoint::After, "{what}");
    assert_eq!(new.len(), usize::from(is_changed), "{what}: {new:?}");
    assert!(new.iter().all(|record| record["action"] == change.action), "{what}: {new:?}");
    assert_eq!(acme.org.get("/org/acme/audit/verify").await.is(200).json["intact"], true, "{what}");
    // And the next change goes on from there.
    caller.at(address).write(method, path, change.body.to_string()).await.is(200);
    assert_eq!(newest(&acme.org, "/org/acme/audit?limit=100").await.len(), after.len() + 1, "{what}");
    assert_eq!(acme.org.get("/org/acme/audit/verify").await.is(200).json["intact"], true, "{what}");
}

#[tokio::test]
async fn a_death_before_or_after_the_commit_leaves_both_or_neither() {
    for change in changes() {
        dies(&change, CrashPoint::Before).await;
        dies(&change, CrashPoint::After).await;
    }
}

/// Changes by one client, one after the other.
async fn change_often(client: Client, name: &'static str, times: usize) {
    for number in 0..times {
        let list = json!({ "domain_allowlist": [format!("{name}{number}.example.com")] });
        client.put(POLICY, &list).await.is(200);
    }
}

#[tokio::test]
async fn two_processes_and_several_tasks_make_one_chain() {
    let store = SharedStore::new();
    let stage = Stage { store: Some(Arc::clone(&store) as _), ..Stage::default() };
    let (world, acme) = World::salesforce_on(stage).await;
    let (_other, address) = world.another_life(store.another()).await;
    let before = newest(&acme.org, "/org/acme/audit?limit=100").await.len();
    let there = acme.org.at(address);
    let clients = [(acme.org.clone(), "a"), (acme.org.clone(), "b"), (there.clone(), "c"), (there, "d")];
    let tasks: Vec<_> =
        clients.into_iter().map(|(client, name)| tokio::spawn(change_often(client, name, 5))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    let all = newest(&acme.org, "/org/acme/audit?limit=100").await;
    assert_eq!(all.len(), before + 20);
    let changes = all.iter().filter(|record| record["action"] == "setIntegrations");
    let digests: Vec<(&Value, &Value)> =
        changes.map(|record| (&record["before"], &record["after"])).collect();
    assert!(digests.windows(2).all(|pair| pair[0].0 == pair[1].1), "each says what it replaced: {digests:?}");
    let checked = acme.org.get("/org/acme/audit/verify").await.is(200).json;
    assert_eq!(checked["intact"], true, "{checked}");
}

/// Deletions that find nothing and one that does, beside somebody who makes it again and again: whatever is there in the end
/// is what the newest record says.
#[tokio::test]
async fn a_deletion_beside_another_change_is_not_made_without_a_record() {
    let (world, acme) = World::salesforce().await;
    for round in 0..60 {
        let path = "/admin/org/acme/limits";
        let platform = world.platform.clone();
        let made =
            tokio::spawn(async move { platform.put(path, &json!({ "calls_per_minute": 60 })).await.is(200) });
        let mut deleted = Vec::new();
        for _ in 0..3 {
            let platform = world.platform.clone();
            deleted.push(tokio::spawn(async move { platform.delete(path).await }));
        }
        made.await.unwrap();
        for one in deleted {
            assert!([204, 404].contains(&one.await.unwrap().status));
        }
        let records = newest(&world.platform, "/admin/audit?target=limits/acme&limit=1").await;
        let is_there = world.engine.records().get::<OrgLimitsRecord>(&["acme"]).await.unwrap().is_some();
        assert_eq!(records[0]["after"].is_string(), is_there, "round {round}: {records:?}");
    }
    drop(acme);
}

/// An org is deleted and made again at the same moment.
#[tokio::test]
async fn an_org_that_is_made_while_the_one_before_is_deleted_sees_nothing_of_it() {
    let (world, _acme) = World::salesforce().await;
    for round in 0..40 {
        world.platform.post("/admin/org", &json!({ "org": "twice" })).await.is(201);
        let (first, second) = (world.platform.clone(), world.platform.clone());
        let gone = tokio::spawn(async move { first.delete("/admin/org/twice").await.is(204) });
        let made = tokio::spawn(async move { second.post("/admin/org", &json!({ "org": "twice" })).await });
        gone.await.unwrap();
        if made.await.unwrap().status == 201 {
            let spec = json!({ "role": "org", "org": "twice" });
            let org = world.platform.with_token(world.token(&spec).await);
            let own = newest(&org, "/org/twice/audit?limit=100").await;
            assert!(own.iter().all(|record| record["action"] != "deleteOrg"), "round {round}: {own:?}");
            assert!(own.iter().all(|record| record["action"] != "createOrg" || record["before"].is_null()));
            world.platform.delete("/admin/org/twice").await.is(204);
        }
    }
}

#[tokio::test]
async fn a_chain_is_intact_while_it_grows() {
    let (world, acme) = World::salesforce().await;
    let writers: Vec<_> = (0..2)
        .map(|n| {
            let org = acme.org.clone();
            tokio::spawn(async move {
                for round in 0..40 {
                    let list = json!({ "domain_allowlist": [format!("h{n}-{round}.example.com")] });
                    org.put("/org/acme/settings/integrations", &list).await.is(200);
                }
            })
        })
        .collect();
    let mut checks = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let checked = acme.org.get("/org/acme/audit/verify").await.is(200).json;
        assert_eq!(checked["intact"], true, "{checked}");
        checks += 1;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(checks > 3, "{checks}");
    assert_eq!(world.platform.get("/admin/audit/verify?org=acme").await.is(200).json["intact"], true);
}
