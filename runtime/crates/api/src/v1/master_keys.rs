//! `/admin/key`: the ring of master keys and its rotation. Ids and counts; no key is ever in it.

use portcullis_engine::Error;
use portcullis_engine::master_keys::{self, KeyRing, KeyState, KeyView, NodeView, RotationView};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::Json;
use crate::request::{Context, NoParameters, Typed};

/// The key to promote.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateMasterKey {
    /// Its id, as `GET /admin/key` lists it.
    #[schemars(regex(pattern = "^[0-9a-f]{16}$"))]
    key_id: String,
}

/// What a master key is for this store.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MasterKeyState {
    /// It wraps what is new.
    Current,
    /// It opens what it wrapped. Once `wrapped` is 0 it can be taken out of the ring.
    DecryptOnly,
    /// Something is wrapped with it, and this node does not have it.
    Missing,
}

/// A master key, by its id.
#[derive(Serialize, JsonSchema)]
pub(crate) struct MasterKeyDocument {
    /// Made of the key, and reveals nothing of it.
    key_id: String,
    /// What the service that has it calls it, where it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    state: MasterKeyState,
    /// Keys that it wraps: of workspaces, of orgs and of the platform, of webhooks, and those for other purposes.
    wrapped: u64,
}

/// A process that uses the store.
#[derive(Serialize, JsonSchema)]
pub(crate) struct KeyNodeDocument {
    /// Its name, another one after each start.
    node: String,
    /// Ids of the master keys that it has.
    key_ids: Vec<String>,
    /// When it last said so, RFC 3339. One that was silent for a minute is not listed.
    seen_at: String,
}

/// How far a rotation has come.
#[derive(Serialize, JsonSchema)]
pub(crate) struct KeyRotationDocument {
    /// The key that was promoted.
    key_id: String,
    /// When, RFC 3339.
    started_at: String,
    /// Keys that were wrapped anew since.
    rewrapped: u64,
    /// Keys that others wrap still.
    remaining: u64,
    /// When nothing was left, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    /// The record whose key cannot be wrapped anew, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// The ring of master keys.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyRing")]
pub(crate) struct KeyRingDocument {
    keys: Vec<MasterKeyDocument>,
    nodes: Vec<KeyNodeDocument>,
    /// The last rotation; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation: Option<KeyRotationDocument>,
}

impl From<KeyView> for MasterKeyDocument {
    fn from(key: KeyView) -> Self {
        let KeyView { key_id, name, state, wrapped } = key;
        let state = match state {
            KeyState::Current => MasterKeyState::Current,
            KeyState::DecryptOnly => MasterKeyState::DecryptOnly,
            KeyState::Missing => MasterKeyState::Missing,
        };
        Self { key_id, name, state, wrapped }
    }
}

impl From<NodeView> for KeyNodeDocument {
    fn from(node: NodeView) -> Self {
        let NodeView { node, key_ids, seen_at } = node;
        Self { node, key_ids, seen_at }
    }
}

impl From<RotationView> for KeyRotationDocument {
    fn from(rotation: RotationView) -> Self {
        let RotationView { key_id, started_at, rewrapped, remaining, finished_at, problem } = rotation;
        Self { key_id, started_at, rewrapped, remaining, finished_at, problem }
    }
}

impl KeyRingDocument {
    fn of(ring: KeyRing) -> Json<Self> {
        Json(Self {
            keys: ring.keys.into_iter().map(MasterKeyDocument::from).collect(),
            nodes: ring.nodes.into_iter().map(KeyNodeDocument::from).collect(),
            rotation: ring.rotation.map(KeyRotationDocument::from),
        })
    }
}

pub(crate) async fn show(context: Context, _: NoParameters, (): ()) -> Result<Json<KeyRingDocument>, Error> {
    master_keys::show(context.engine(), context.caller()?).await.map(KeyRingDocument::of)
}

pub(crate) async fn rotate(
    context: Context,
    _: NoParameters,
    Typed(wanted): Typed<RotateMasterKey>,
) -> Result<Json<KeyRingDocument>, Error> {
    let ring = master_keys::rotate(context.engine(), context.caller()?, &wanted.key_id).await?;
    Ok(KeyRingDocument::of(ring))
}
