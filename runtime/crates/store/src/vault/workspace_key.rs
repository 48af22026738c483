//! Workspace keys: created once, stored wrapped, cached unwrapped in a bounded cache.
//!
//! After deletion of a workspace's key nothing sealed under it can be opened. The cache never outlives that: a
//! key read before a deletion is not cached after it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use portcullis_core::id::{OrgId, WorkspaceId};
use serde::{Deserialize, Serialize};

use crate::records::Document;

use super::associated::Associated;
use super::derived::DataKeys;
use super::kek::{KekProvider, KeyId};
use super::random::RandomSource;
use super::ring::Wrapping;
use super::{KeyBytes, VaultError};
use portcullis_core::sync::lock;

/// Workspaces whose keys are cached unwrapped: busy ones stay, and memory use stays small.
const CACHED_KEYS_MAX: usize = 1024;

const ID_LABEL: &str = "portcullis workspace key id v1";

/// A workspace's key, wrapped with a master key. Parts: `[org, workspace]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceKeyRecord {
    pub org: OrgId,
    pub workspace: WorkspaceId,
    /// Id of this key; sealed credentials contain it.
    pub key_id: String,
    /// Id of the master key it is wrapped with.
    pub master_key_id: String,
    /// The wrapped key, base64.
    pub wrapped: String,
}

impl Document for WorkspaceKeyRecord {
    const KIND: &'static str = "workspace_key";
}

/// An unwrapped workspace key.
pub(super) struct WorkspaceKey {
    pub(super) id: KeyId,
    pub(super) bytes: KeyBytes,
    /// Keys derived from recently unwrapped data keys.
    pub(super) data_keys: DataKeys,
    /// When it must be unwrapped again; never if absent.
    until: Option<Instant>,
}

impl WorkspaceKey {
    pub(super) fn new(bytes: KeyBytes) -> Self {
        Self { id: KeyId::derive(ID_LABEL, &*bytes), bytes, data_keys: DataKeys::default(), until: None }
    }

    /// The same, to be used for this time at most.
    pub(super) fn for_at_most(self, time: Option<Duration>) -> Self {
        Self { until: time.and_then(|time| Instant::now().checked_add(time)), ..self }
    }

    /// Whether it may be used still.
    pub(super) fn is_usable(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

/// Creates a random key for a workspace and wraps it.
pub(super) async fn generate(
    org: &OrgId,
    workspace: &WorkspaceId,
    wrapping: &Wrapping,
    random: &dyn RandomSource,
) -> Result<WorkspaceKeyRecord, VaultError> {
    let mut bytes = KeyBytes::default();
    random.fill(&mut *bytes)?;
    wrap(&WorkspaceKey::new(bytes), org, workspace, wrapping).await
}

async fn wrap(
    key: &WorkspaceKey,
    org: &OrgId,
    workspace: &WorkspaceId,
    wrapping: &Wrapping,
) -> Result<WorkspaceKeyRecord, VaultError> {
    let bound = associated(&wrapping.id, org, workspace, &key.id);
    let wrapped = wrapping.wrap(bound.as_bytes(), &key.bytes).await?;
    Ok(WorkspaceKeyRecord {
        org: org.clone(),
        workspace: workspace.clone(),
        key_id: key.id.to_string(),
        master_key_id: wrapping.id.to_string(),
        wrapped: BASE64.encode(wrapped),
    })
}

/// The same key, wrapped anew.
pub(super) async fn rewrap(
    record: &WorkspaceKeyRecord,
    org: &OrgId,
    workspace: &WorkspaceId,
    wrapping: &Wrapping,
) -> Result<WorkspaceKeyRecord, VaultError> {
    let key = unwrap(record, org, workspace, &*wrapping.provider).await?;
    wrap(&key, org, workspace, wrapping).await
}

/// Opens a stored key for the requested workspace, whatever the record says.
pub(super) async fn unwrap(
    record: &WorkspaceKeyRecord,
    org: &OrgId,
    workspace: &WorkspaceId,
    keks: &dyn KekProvider,
) -> Result<WorkspaceKey, VaultError> {
    let master = KeyId::parse(&record.master_key_id)?;
    let id = KeyId::parse(&record.key_id)?;
    let wrapped =
        BASE64.decode(&record.wrapped).map_err(|_| VaultError::Malformed("a workspace key is not base64"))?;
    let bound = associated(&master, org, workspace, &id);
    let bytes = keks.unwrap_key(&master, bound.as_bytes(), &wrapped).await?;
    let key = WorkspaceKey::new(bytes);
    if key.id == id { Ok(key.for_at_most(keks.opened_for())) } else { Err(VaultError::Refused) }
}

fn associated(master: &KeyId, org: &OrgId, workspace: &WorkspaceId, id: &KeyId) -> Associated {
    Associated::new("workspace key")
        .item(master.as_str().as_bytes())
        .item(org.as_str().as_bytes())
        .item(workspace.as_str().as_bytes())
        .item(id.as_str().as_bytes())
}

type Place = (OrgId, WorkspaceId);

/// Unwrapped keys by workspace.
#[derive(Default)]
pub(super) struct Cache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// Counts deletions, so that a key read before one is not cached after it.
    epoch: u64,
    keys: HashMap<Place, Arc<WorkspaceKey>>,
    /// Oldest first; exactly the keys of `keys`.
    order: VecDeque<Place>,
}

impl Cache {
    pub(super) fn get(&self, org: &OrgId, workspace: &WorkspaceId) -> Option<Arc<WorkspaceKey>> {
        let place = (org.clone(), workspace.clone());
        self.kept().keys.get(&place).filter(|key| key.is_usable()).cloned()
    }

    /// Read it before the record, and pass it to [`Cache::keep`].
    pub(super) fn epoch(&self) -> u64 {
        self.kept().epoch
    }

    pub(super) fn keep(&self, org: &OrgId, workspace: &WorkspaceId, key: Arc<WorkspaceKey>, epoch: u64) {
        let mut kept = self.kept();
        if kept.epoch != epoch {
            return;
        }
        let place = (org.clone(), workspace.clone());
        if kept.keys.insert(place.clone(), key).is_none() {
            kept.order.push_back(place);
        }
        if kept.order.len() > CACHED_KEYS_MAX
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.keys.remove(&oldest);
        }
    }

    pub(super) fn forget(&self, org: &OrgId, workspace: &WorkspaceId) {
        let mut kept = self.kept();
        kept.epoch = kept.epoch.wrapping_add(1);
        let place = (org.clone(), workspace.clone());
        kept.keys.remove(&place);
        kept.order.retain(|other| *other != place);
    }

    pub(super) fn forget_all(&self) {
        let mut kept = self.kept();
        *kept = Kept { epoch: kept.epoch.wrapping_add(1), ..Kept::default() };
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Why: at worst an entry is listed twice after a panic, which costs a second unwrapping.
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded_and_keeps_nothing_read_before_a_deletion() {
        let cache = Cache::default();
        let org = OrgId::parse("acme").unwrap();
        let name = |i: usize| WorkspaceId::parse(&format!("w{i}")).unwrap();
        let key = || Arc::new(WorkspaceKey::new(KeyBytes::default()));
        for i in 0..CACHED_KEYS_MAX + 10 {
            cache.keep(&org, &name(i), key(), 0);
        }
        assert_eq!(cache.kept().keys.len(), CACHED_KEYS_MAX);
        assert_eq!(cache.kept().order.len(), CACHED_KEYS_MAX);
        assert!(cache.get(&org, &name(0)).is_none());
        assert!(cache.get(&org, &name(CACHED_KEYS_MAX)).is_some());
        let before = cache.epoch();
        cache.forget(&org, &name(500));
        assert!(cache.get(&org, &name(500)).is_none());
        cache.keep(&org, &name(500), key(), before);
        assert!(cache.get(&org, &name(500)).is_none());
        cache.keep(&org, &name(500), key(), cache.epoch());
        assert!(cache.get(&org, &name(500)).is_some());
        let before = cache.epoch();
        cache.forget_all();
        cache.keep(&org, &name(500), key(), before);
        assert!(cache.kept().keys.is_empty() && cache.kept().order.is_empty());
    }
}
