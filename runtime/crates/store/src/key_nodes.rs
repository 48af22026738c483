//! Documents of a key rotation: which process has which master keys, and how far wrapping anew has come. No key is in them.

use serde::{Deserialize, Serialize};

use crate::records::Document;

/// The processes that use a store, in one record: who promotes a key and who begins to serve change it both, so neither
/// overlooks the other. Parts: [`KeyNodes::PARTS`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyNodes {
    /// In the order of their names.
    pub nodes: Vec<KeyNode>,
}

impl Document for KeyNodes {
    const KIND: &'static str = "key_nodes";
}

impl KeyNodes {
    /// There is one such record in a store.
    pub const PARTS: [&'static str; 1] = ["all"];
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyNode {
    /// Its name, another one after each start.
    pub node: String,
    /// Ids of the master keys that it has.
    pub key_ids: Vec<String>,
    /// When it last said so, milliseconds since 1970.
    pub seen_ms: u64,
}

/// Wrapping anew what others than the current master key wrap. Parts: [`KeyRotation::PARTS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRotation {
    /// The key that was promoted.
    pub key_id: String,
    /// When, milliseconds since 1970.
    pub started_ms: u64,
    /// Keys that were wrapped anew since.
    pub rewrapped: u64,
    /// The process that works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Until when nobody else works on it, milliseconds since 1970.
    #[serde(default)]
    pub lease_ms: u64,
    /// When nothing was left, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_ms: Option<u64>,
    /// The record that could not be wrapped anew, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Document for KeyRotation {
    const KIND: &'static str = "key_rotation";
}

impl KeyRotation {
    /// There is one at a time.
    pub const PARTS: [&'static str; 1] = ["current"];

    /// One that begins.
    #[must_use]
    pub fn begun(key_id: impl Into<String>, now_ms: u64) -> Self {
        let key_id = key_id.into();
        let (rewrapped, node, lease_ms, finished_ms, problem) = (0, None, 0, None, None);
        Self { key_id, started_ms: now_ms, rewrapped, node, lease_ms, finished_ms, problem }
    }
}
