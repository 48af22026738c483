//! The processes that use the store, and the master keys that each of them has. All are in one record.

use portcullis_store::{KeyNode, KeyNodes, Records, StoreError, VaultError, Writes};

use super::ATTEMPTS_MAX;
use crate::clock;
use crate::engine::Engine;

/// How often a process says that it is there, milliseconds.
pub(super) const EVERY_MS: u64 = 15_000;
/// After what silence it counts as ended, milliseconds: one that was late twice is still there. Clocks of nodes may differ
/// by what is left.
pub(super) const LIVE_MS: u64 = 60_000;

/// Whether a process is there still.
pub(super) const fn is_live(node: &KeyNode, now_ms: u64) -> bool {
    node.seen_ms.saturating_add(LIVE_MS) > now_ms
}

/// The processes, and the commit that wrote them; 0 if none did.
pub(super) async fn load(records: &Records) -> Result<(KeyNodes, u64), StoreError> {
    Ok(records.get::<KeyNodes>(&KeyNodes::PARTS).await?.unwrap_or_default())
}

/// Says that this process is there, and which keys it has. Those that have ended go.
///
/// # Errors
/// Those of the store.
pub(super) async fn note(engine: &Engine) -> Result<(), StoreError> {
    let resources = &engine.resources;
    // Why: a store that one process has to itself was left by every process before this one.
    let is_shared = resources.records.store().is_shared();
    let node = engine.keys.node();
    for _ in 0..ATTEMPTS_MAX {
        let (mut known, commit) = load(&resources.records).await?;
        let now_ms = clock::now_ms();
        known.nodes.retain(|other| other.node != node && is_shared && is_live(other, now_ms));
        let key_ids = resources.vault.key_ids().iter().map(ToString::to_string).collect();
        known.nodes.push(KeyNode { node: node.to_owned(), key_ids, seen_ms: now_ms });
        known.nodes.sort_by(|a, b| a.node.cmp(&b.node));
        let writes = match commit {
            0 => Writes::new().create(&KeyNodes::PARTS, &known),
            commit => Writes::new().replace(&KeyNodes::PARTS, &known, commit),
        };
        // Why not by the engine's own way: it is no change of anybody's, also where a request has it made.
        match resources.records.commit(writes).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Unavailable("the list of nodes is changed by too many at once".to_owned()))
}

/// Says that this process is there before it serves, and then looks again whether it has the keys that it needs: a key that
/// is promoted in between is found by one of the two.
///
/// # Errors
/// Those of the vault. Where nobody else can have the store open, that the record cannot be written is only logged.
pub(crate) async fn join(engine: &Engine) -> Result<(), VaultError> {
    match note(engine).await {
        Err(error) if engine.resources.records.store().is_shared() => return Err(error.into()),
        Err(error) => tracing::error!(%error, "the master keys of this node cannot be noted"),
        Ok(()) => {}
    }
    engine.resources.vault.check_keys().await
}

/// Notes whether this process has the key that wraps, and tells if not: it stayed away for longer than others waited.
pub(super) async fn look(engine: &Engine) -> Result<(), VaultError> {
    let vault = &engine.resources.vault;
    let current = vault.current_key().await?;
    let is_held = vault.key_ids().contains(&current);
    engine.keys.note_current(is_held);
    if !is_held {
        tracing::error!(
            key_id = current.as_str(),
            "this node does not have the master key that wraps: add its line to the master key file and send SIGHUP"
        );
    }
    Ok(())
}
