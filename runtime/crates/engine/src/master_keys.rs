//! The ring of master keys: what it is, and the promotion of a key. What a rotation leaves to be done, `worker` does.
//!
//! ```text
//! a key is added     on every node, behind the others; each says so in one record (nodes.rs)
//! it is promoted     by one commit, under the condition that no node came or went meanwhile
//! wrapping anew      by one process at a time, a few records at a time, each by compare-and-set (worker.rs)
//! the old one wraps nothing any more: it can be taken out
//! ```
//!
//! **What a master key wraps**: keys of workspaces, of orgs and of the platform, secrets of webhooks, and the keys for other
//! purposes (digests of the audit log, code that was compiled). Nothing else is made of it. What those keys seal stays as
//! it is, so no call notices a rotation.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_core::fault::Code;
use portcullis_store::{
    KeyId, KeyNode, KeyNodes, KeyRotation, MasterKeyRing, StoreError, Vault, VaultError, Writes,
};

use crate::caller::Caller;
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;

mod desk;
mod nodes;
mod offline;
mod worker;

pub(crate) use desk::KeyDesk;
pub(crate) use nodes::join;
pub use offline::{OfflineStep, rotate_offline};

/// Attempts of a promotion beside nodes that say what they have.
const ATTEMPTS_MAX: u32 = 20;

/// What a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It wraps what is new.
    Current,
    /// It opens what it wrapped. If that is nothing, it can be taken out.
    DecryptOnly,
    /// Something is wrapped with it, and this node does not have it.
    Missing,
}

/// A master key, by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyView {
    pub key_id: String,
    /// What the service that has it calls it.
    pub name: Option<String>,
    pub state: KeyState,
    /// Keys that it wraps.
    pub wrapped: u64,
}

/// A process that uses the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    pub node: String,
    pub key_ids: Vec<String>,
    /// When it last said so, RFC 3339.
    pub seen_at: String,
}

/// How far wrapping anew has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationView {
    pub key_id: String,
    /// RFC 3339.
    pub started_at: String,
    /// Keys that were wrapped anew.
    pub rewrapped: u64,
    /// Keys that are still to be.
    pub remaining: u64,
    /// When nothing was left, RFC 3339.
    pub finished_at: Option<String>,
    /// The record that cannot be wrapped anew, and why.
    pub problem: Option<String>,
}

/// The ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRing {
    pub keys: Vec<KeyView>,
    pub nodes: Vec<NodeView>,
    /// The last rotation, if there was one.
    pub rotation: Option<RotationView>,
}

/// The keys that a vault knows of: those that it has, and those that wrap something.
///
/// # Errors
/// Those of the vault.
pub async fn keys_of(vault: &Vault) -> Result<Vec<KeyView>, VaultError> {
    let current = vault.current_key().await?;
    let held = vault.key_ids();
    let wrapped: BTreeMap<String, u64> = vault.wrapped_by().await?;
    let missing = wrapped.keys().filter_map(|id| KeyId::parse(id).ok()).filter(|id| !held.contains(id));
    let missing: BTreeSet<KeyId> =
        missing.chain((!held.contains(&current)).then(|| current.clone())).collect();
    let view = |id: &KeyId, is_held: bool| KeyView {
        key_id: id.to_string(),
        name: vault.key_name(id),
        state: match (is_held, *id == current) {
            (false, _) => KeyState::Missing,
            (true, true) => KeyState::Current,
            (true, false) => KeyState::DecryptOnly,
        },
        wrapped: wrapped.get(id.as_str()).copied().unwrap_or_default(),
    };
    let there = held.iter().map(|id| view(id, true));
    Ok(there.chain(missing.iter().map(|id| view(id, false))).collect())
}

/// Reads the ring.
///
/// # Errors
/// `role_not_allowed`, `store_unavailable`.
pub async fn show(engine: &Engine, caller: &Caller) -> Result<KeyRing, Error> {
    caller.platform()?;
    let resources = &engine.resources;
    let keys = keys_of(&resources.vault).await?;
    let (known, _) = nodes::load(&resources.records).await?;
    let nodes = known.nodes.into_iter().filter(|node| nodes::is_live(node, clock::now_ms()));
    let nodes = nodes.map(|KeyNode { node, key_ids, seen_ms }| NodeView {
        node,
        key_ids,
        seen_at: clock::of_ms(seen_ms),
    });
    let rotation = resources.records.get::<KeyRotation>(&KeyRotation::PARTS).await?;
    let rotation = rotation.map(|(rotation, _)| {
        let others = keys.iter().filter(|key| key.key_id != rotation.key_id);
        RotationView {
            remaining: others.map(|key| key.wrapped).sum(),
            key_id: rotation.key_id,
            started_at: clock::of_ms(rotation.started_ms),
            rewrapped: rotation.rewrapped,
            finished_at: rotation.finished_ms.map(clock::of_ms),
            problem: rotation.problem,
        }
    });
    Ok(KeyRing { nodes: nodes.collect(), keys, rotation })
}

/// Promotes a key: from now on it wraps what is new, and what others wrap is wrapped anew. Of one that is promoted already
/// it only says how far that is.
///
/// # Errors
/// `role_not_allowed`, `validation_failed` for what is no id, `not_found` if no node has the key, `key_not_everywhere` if
/// some node does not, `key_unavailable`, `store_unavailable`.
pub async fn rotate(engine: &Engine, caller: &Caller, key_id: &str) -> Result<KeyRing, Error> {
    caller.platform()?;
    let id = KeyId::parse(key_id).map_err(|_| {
        Error::violation(
            "/key_id",
            "pattern",
            "a key id is 16 lower-case hexadecimal digits; GET /admin/key lists them",
        )
    })?;
    let resources = &engine.resources;
    for _ in 0..ATTEMPTS_MAX {
        nodes::note(engine).await?;
        let (known, commit) = nodes::load(&resources.records).await?;
        everywhere(&known, &id)?;
        let now_ms = clock::now_ms();
        let Some(writes) = resources.vault.promotion(&id, now_ms).await? else {
            engine.keys.wake();
            return show(engine, caller).await;
        };
        let writes = writes
            .put(&KeyRotation::PARTS, &KeyRotation::begun(key_id, now_ms))
            // Why: a node that came in between may not have the key.
            .require_revision::<KeyNodes>(&KeyNodes::PARTS, commit);
        match resources.commit(writes).await {
            Ok(_) => {
                tracing::info!(key_id, "a master key was promoted; the others' keys are wrapped anew");
                engine.keys.wake();
                return show(engine, caller).await;
            }
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::plain(Code::Overloaded))
}

/// Fails unless every live node has the key.
fn everywhere(known: &KeyNodes, id: &KeyId) -> Result<(), Error> {
    let now_ms = clock::now_ms();
    let live = known.nodes.iter().filter(|node| nodes::is_live(node, now_ms));
    let (having, lacking): (Vec<_>, Vec<_>) =
        live.partition(|node| node.key_ids.iter().any(|own| own == id.as_str()));
    if lacking.is_empty() {
        return Ok(());
    }
    if having.is_empty() {
        let detail = format!(
            "no node has master key {id}: add its line to the master key file of every node and send each SIGHUP"
        );
        return Err(Error::new(Code::NotFound, detail));
    }
    let ago = |node: &&KeyNode| {
        format!("{} (heard of {} s ago)", node.node, now_ms.saturating_sub(node.seen_ms) / 1000)
    };
    let names: Vec<String> = lacking.iter().map(ago).collect();
    let detail = format!(
        "master key {id} is not on every node yet: {} of {} do not have it: {}; one that has ended counts for {} s",
        lacking.len(),
        lacking.len().saturating_add(having.len()),
        names.join(", "),
        nodes::LIVE_MS / 1000
    );
    Err(Error::new(Code::KeyNotEverywhere, detail))
}

impl Engine {
    /// Takes other master keys from now on, as those of a file that was changed, and says so to the other nodes.
    ///
    /// # Errors
    /// Those of [`Vault::replace_keys`], such as a key that is missing and that wraps something: those before stay. And
    /// those of the store.
    pub async fn replace_master_keys(&self, keys: MasterKeyRing) -> Result<(), VaultError> {
        self.resources.vault.replace_keys(keys).await?;
        nodes::note(self).await?;
        // Why after it: a key that was promoted meanwhile, before this node said what it has, is found here.
        nodes::look(self).await?;
        self.keys.wake();
        Ok(())
    }
}

/// The writes that promote a key where no other process can be.
///
/// # Errors
/// Those of [`Vault::promotion`].
async fn promotion_alone(vault: &Vault, id: &KeyId) -> Result<Option<Writes>, VaultError> {
    let now_ms = clock::now_ms();
    let writes = vault.promotion(id, now_ms).await?;
    Ok(writes.map(|writes| writes.put(&KeyRotation::PARTS, &KeyRotation::begun(id.as_str(), now_ms))))
}
