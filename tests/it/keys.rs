//! The ring of master keys: shown, promoted, wrapped anew and taken out, while calls go on and where processes end.

use portcullis_store::{MasterKey, MasterKeys};
use serde_json::{Value, json};

use crate::support::{Client, Tenant, World, handler_code, until};

mod cut_off;
mod examples;
mod nodes;
mod process;
mod rotation;
mod service;

const KEY: &str = "sk-live-0123456789abcdef";

/// The key of every world, and the one that is promoted.
pub(crate) struct Keys {
    pub(crate) old: MasterKey,
    pub(crate) new: MasterKey,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self { old: handler_code::master_key(), new: MasterKey::generate().unwrap() }
    }

    pub(crate) fn both(&self) -> MasterKeys {
        MasterKeys::new(self.old.clone()).with(self.new.clone())
    }

    pub(crate) fn promote(&self) -> Value {
        json!({ "key_id": self.new.id().as_str() })
    }
}

/// What the ring says of a key; null if it does not know it.
pub(crate) fn key_of(ring: &Value, key: &MasterKey) -> Value {
    let keys = ring["keys"].as_array().unwrap();
    keys.iter().find(|one| one["key_id"] == key.id().as_str()).cloned().unwrap_or_default()
}

pub(crate) async fn ring(platform: &Client) -> Value {
    platform.get("/admin/key").await.is(200).json
}

/// Waits for the end of a rotation; returns the ring.
pub(crate) async fn finished(platform: &Client) -> Value {
    until("all is wrapped anew", async || !ring(platform).await["rotation"]["finished_at"].is_null()).await;
    ring(platform).await
}

/// Workspaces of an org, each with a credential.
async fn workspaces(world: &World, org: &str, count: usize) -> Vec<Tenant> {
    let mut all = Vec::with_capacity(count);
    for n in 0..count {
        let tenant = world.tenant(org, &format!("w{n}")).await;
        tenant.connect("salesforce", json!({ "api_key": KEY })).await;
        all.push(tenant);
    }
    all
}
