//! A rotation in one process, under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use portcullis_store::MasterKey;
use serde_json::json;

use super::{Keys, finished, key_of, ring, workspaces};
use crate::support::figures::{count, print_line};
use crate::support::{PUBLIC, SALESFORCE, Stage, Tenant, World};

/// One that takes some seconds, so that calls are made in all of it.
async fn slow_world() -> World {
    let limits = Limits { key_rewraps_per_second: 20, ..Limits::default() };
    let world = Stage { limits, ..Stage::default() }.start().await;
    world.platform.write("POST", "/admin/connector", SALESFORCE).await.is(201);
    world
}

#[tokio::test]
async fn a_key_is_promoted_and_the_old_one_taken_out_without_a_failed_call() {
    let world = slow_world().await;
    let count = count("PORTCULLIS_ROTATION_WORKSPACES", 40);
    let tenants: Vec<Arc<Tenant>> =
        workspaces(&world, "acme", count).await.into_iter().map(Arc::new).collect();
    world.names.tell("hooks.example.com", &[PUBLIC]);
    let hook = json!({ "url": "https://hooks.example.com/in", "events": ["*"], "enabled": false });
    tenants[0].org.put("/org/acme/webhook/one", &hook).await;
    let keys = Keys::new();
    world.engine.start_keys();
    let before = ring(&world.platform).await;
    let wrapped = key_of(&before, &keys.old)["wrapped"].as_u64().unwrap();
    assert!(wrapped >= count as u64 + 3, "workspaces, a webhook and keys for other purposes: {before}");
    assert_eq!(key_of(&before, &keys.old)["state"], "current");
    assert!(before["rotation"].is_null() && before["nodes"].as_array().unwrap().len() == 1, "{before}");
    world.platform.post("/admin/key/rotate", &keys.promote()).await.problem(Code::NotFound);
    world.engine.replace_master_keys(keys.both().into()).await.unwrap();
    assert_eq!(key_of(&ring(&world.platform).await, &keys.new)["state"], "decrypt_only");

    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|first| {
            let (tenants, stop, calls) = (tenants.clone(), Arc::clone(&stop), Arc::clone(&calls));
            tokio::spawn(async move {
                for tenant in tenants.iter().cycle().skip(first * 7) {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let answer = tenant.create_contact().await.is(200);
                    assert_eq!(answer.json["status"], "succeeded", "{}", answer.text);
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let promoted = world.platform.post("/admin/key/rotate", &keys.promote()).await.is(200).json;
    assert_eq!(promoted["rotation"]["key_id"], keys.new.id().as_str());
    // What is made meanwhile is wrapped with the promoted key.
    let late = workspaces(&world, "globex", 1).await.remove(0);
    let after = finished(&world.platform).await;
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    let made = calls.load(Ordering::SeqCst);
    assert!(made > 0);
    print_line(
        "rotation under load",
        &json!({ "calls": made, "failed": 0, "rewrapped": after["rotation"]["rewrapped"] }),
    );
    assert_eq!(
        (&after["rotation"]["remaining"], &key_of(&after, &keys.old)["wrapped"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(after["rotation"]["rewrapped"], wrapped);
    assert_eq!(key_of(&after, &keys.new)["wrapped"], wrapped + 1);

    world.engine.replace_master_keys(keys.new.clone().into()).await.unwrap();
    world.engine.records_changed().await;
    for tenant in tenants.iter().map(Arc::as_ref).chain([&late]) {
        tenant.create_contact().await.is(200);
    }
    let alone = ring(&world.platform).await;
    assert!(key_of(&alone, &keys.old).is_null(), "{alone}");
    let audit = world.platform.get("/admin/audit?action=rotateMasterKey").await.is(200).json;
    assert_eq!(audit["data"].as_array().unwrap().len(), 1, "the refused one left nothing: {audit}");
    let verified = world.platform.get("/admin/audit/verify").await.is(200).json;
    assert_eq!(verified["intact"], true);
}

#[tokio::test]
async fn a_key_that_wraps_something_is_not_taken_out_and_is_named() {
    let world = slow_world().await;
    workspaces(&world, "acme", 3).await;
    let keys = Keys::new();
    world.engine.replace_master_keys(keys.both().into()).await.unwrap();
    // Nothing is wrapped anew, because nobody works on it.
    world.platform.post("/admin/key/rotate", &keys.promote()).await.is(200);
    for (alone, missing) in [(&keys.new, &keys.old), (&keys.old, &keys.new)] {
        let refused = world.engine.replace_master_keys(alone.clone().into()).await.unwrap_err().to_string();
        assert!(refused.contains(&format!("master key {} is needed", missing.id())), "{refused}");
    }
    let stranger = MasterKey::generate().unwrap();
    let refused = world.engine.replace_master_keys(stranger.into()).await.unwrap_err().to_string();
    assert!(refused.contains("wrong master key"), "{refused}");
    world.platform.get("/readyz").await.is(200);
    // The neighbour: with both it is taken, and the rotation is completed.
    world.engine.start_keys();
    finished(&world.platform).await;
    world.engine.replace_master_keys(keys.new.clone().into()).await.unwrap();
}

#[tokio::test]
async fn what_is_no_key_id_is_refused_and_only_the_platform_sees_the_ring() {
    let world = World::start().await;
    let tenant = world.tenant("acme", "main").await;
    for client in [&tenant.org, &tenant.workspace, &tenant.run] {
        client.get("/admin/key").await.problem(Code::RoleNotAllowed);
        client.post("/admin/key/rotate", &Keys::new().promote()).await.problem(Code::RoleNotAllowed);
    }
    for wrong in ["", "0123456789ABCDEF", "0123"] {
        let answer = world.platform.post("/admin/key/rotate", &json!({ "key_id": wrong })).await;
        answer.problem(Code::ValidationFailed);
    }
    let shown = world.platform.get("/admin/key").await.is(200).text;
    let key = Keys::new().old.to_text();
    assert!(!shown.contains(&key[6..]), "no key is shown");
}
