//! Keys of two holders as one ring: as while an operator moves from a key file to a service, or back.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::task::BoxFuture;

use super::VaultError;
use super::kek::{KekProvider, KeyId, MasterKeyRing};

/// The keys of the first, and then those of the second. A key that both have is the first one's.
pub(super) struct Joined {
    pub(super) first: MasterKeyRing,
    pub(super) second: MasterKeyRing,
}

impl Joined {
    fn of(&self, id: &KeyId) -> &dyn KekProvider {
        let holder = if self.first.key_ids().contains(id) { &self.first } else { &self.second };
        &**holder.provider()
    }
}

impl KekProvider for Joined {
    fn key_ids(&self) -> Vec<KeyId> {
        let mut ids = self.first.key_ids();
        let more: Vec<KeyId> = self.second.key_ids().into_iter().filter(|id| !ids.contains(id)).collect();
        ids.extend(more);
        ids
    }

    fn name_of(&self, id: &KeyId) -> Option<String> {
        self.of(id).name_of(id)
    }

    fn wrap_key<'a>(
        &'a self,
        id: &'a KeyId,
        associated: &'a [u8],
        key: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Vec<u8>, VaultError>> {
        self.of(id).wrap_key(id, associated, key)
    }

    fn unwrap_key<'a>(
        &'a self,
        id: &'a KeyId,
        associated: &'a [u8],
        wrapped: &'a [u8],
    ) -> BoxFuture<'a, Result<Zeroizing<[u8; 32]>, VaultError>> {
        self.of(id).unwrap_key(id, associated, wrapped)
    }

    fn derive(&self, id: &KeyId, purpose: &str) -> Option<Zeroizing<[u8; 32]>> {
        self.of(id).derive(id, purpose)
    }

    fn opened_for(&self) -> Option<Duration> {
        let (first, second) = (self.first.provider().opened_for(), self.second.provider().opened_for());
        first.into_iter().chain(second).min()
    }
}
