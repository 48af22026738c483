//! A rotation whose process ends in the middle: whoever comes next completes it.

use std::sync::Arc;

use portcullis_core::limits::Limits;
use portcullis_store::{SledStore, Vault};
use serde_json::json;

use super::{Keys, finished, key_of, workspaces};
use crate::support::crashing_store::{CrashPoint, CrashingStore, reopen};
use crate::support::figures::{Random, count, print_line, seed};
use crate::support::{SALESFORCE, Stage, until};

const WORKSPACES: usize = 12;

#[tokio::test]
async fn a_rotation_that_a_crash_cut_off_is_completed_by_the_next_life() {
    let seed = seed();
    let mut random = Random(seed);
    let kills = count("PORTCULLIS_ROTATION_KILLS", 4);
    for kill in 0..kills {
        let point = if kill % 2 == 0 { CrashPoint::Before } else { CrashPoint::After };
        let at = random.below(WORKSPACES);
        let dir = tempfile::tempdir().unwrap();
        let store = CrashingStore::new(SledStore::open(dir.path()).unwrap());
        // Why few calls: a life that was cut off keeps its memory to the end of this process.
        let limits = Limits { key_rewraps_per_second: 100_000, concurrent_calls: 32, ..Limits::default() };
        let stage = Stage { limits, store: Some(Arc::new(store.clone())), ..Stage::default() };
        let world = stage.start().await;
        world.platform.write("POST", "/admin/connector", SALESFORCE).await.is(201);
        let tenants = workspaces(&world, "acme", WORKSPACES).await;
        let keys = Keys::new();
        world.engine.replace_master_keys(keys.both().into()).await.unwrap();
        world.platform.post("/admin/key/rotate", &keys.promote()).await.is(200);
        store.crashes_at("workspace_key/", at, point);
        world.engine.start_keys();
        until("it died between two keys", async || store.has_crashed()).await;

        let (engine, address) = world.life_with_keys(keys.both(), reopen(dir.path()).await).await;
        let told = format!("seed {seed}, kill {kill}, {at} {point:?}");
        let half = engine.vault().wrapped_by().await.unwrap();
        assert!(half.contains_key(keys.old.id().as_str()), "{told}: {half:?}");
        let refused = Vault::open(engine.records().clone(), keys.new.clone()).await.unwrap_err().to_string();
        assert!(refused.contains(keys.old.id().as_str()), "{told}: {refused}");
        // Calls go on while it is half done.
        for tenant in &tenants {
            tenant.at(address).create_contact().await.is(200);
        }
        engine.start_keys();
        let after = finished(&world.platform.at(address)).await;
        assert_eq!(key_of(&after, &keys.old)["wrapped"], 0, "{told}: {after}");
        engine.replace_master_keys(keys.new.clone().into()).await.unwrap();
        engine.records_changed().await;
        for tenant in &tenants {
            tenant.at(address).create_contact().await.is(200);
        }
    }
    print_line("rotations cut off", &json!({ "kills": kills, "completed": kills, "seed": seed }));
}
