//! Keys derived from a data key, and how a workspace's key caches them for the next opening.
//!
//! A key is cached, never what it opens: code that can read the cache can also read the workspace's key
//! beside it, which opens the same. The cache is dropped with that key.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::KeyInit;
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use subtle::ConstantTimeEq;

use super::{KeyBytes, VaultError};
use portcullis_core::sync::lock;

// With the number of the only block that HKDF expands each to.
const INFO_ENCRYPTION: &[u8] = b"portcullis credential v1 encryption\x01";
const INFO_COMMITMENT: &[u8] = b"portcullis credential v1 commitment\x01";

/// HKDF's salt if there is none (RFC 5869 section 2.2), as a key that is made once.
static NO_SALT: LazyLock<hmac::Key> = LazyLock::new(|| hmac::Key::new(HMAC_SHA256, &[0; 32]));

/// Cached data keys of one workspace; frequently used ones are soon cached again after they are dropped.
const KEPT_MAX: usize = 16;

/// What HKDF derives from a data key.
pub(super) struct Derived {
    encryption: KeyBytes,
    pub(super) commitment: [u8; 32],
}

impl Derived {
    pub(super) fn from(data_key: &KeyBytes) -> Result<Self, VaultError> {
        let refused = |_| VaultError::Refused;
        // HKDF-SHA256 for one block of output each, with the fastest hash library: a caller is
        // waiting while a credential is opened.
        let mut extracted = KeyBytes::default();
        hmac::sign_to_buffer(&NO_SALT, data_key.as_slice(), extracted.as_mut_slice()).map_err(refused)?;
        let key = hmac::Key::new(HMAC_SHA256, extracted.as_slice());
        let mut derived = Self { encryption: KeyBytes::default(), commitment: [0; 32] };
        hmac::sign_to_buffer(&key, INFO_ENCRYPTION, derived.encryption.as_mut_slice()).map_err(refused)?;
        hmac::sign_to_buffer(&key, INFO_COMMITMENT, &mut derived.commitment).map_err(refused)?;
        Ok(derived)
    }

    /// Whether this is the commitment that was stored; in constant time.
    pub(super) fn commits_to(&self, stored: &[u8; 32]) -> bool {
        self.commitment.ct_eq(stored).into()
    }

    pub(super) fn cipher(&self) -> Aes256Gcm {
        let key: &[u8; 32] = &self.encryption;
        Aes256Gcm::new(key.into())
    }
}

/// Keys derived from recently opened data keys.
#[derive(Default)]
pub(super) struct DataKeys(Mutex<VecDeque<Entry>>);

struct Entry {
    /// What the data key was bound to.
    bound: Vec<u8>,
    /// The data key as it is stored.
    wrapped: Vec<u8>,
    derived: Arc<Derived>,
}

impl DataKeys {
    /// The value that [`Self::keep`] stored for exactly these bytes; unwrapping would give the same.
    pub(super) fn get(&self, bound: &[u8], wrapped: &[u8]) -> Option<Arc<Derived>> {
        let kept = self.entries();
        let found = kept.iter().rev().find(|entry| entry.wrapped == wrapped && entry.bound == bound)?;
        Some(Arc::clone(&found.derived))
    }

    /// Caches what was derived from a data key that opened, and whose commitment was correct.
    pub(super) fn keep(&self, bound: &[u8], wrapped: &[u8], derived: &Arc<Derived>) {
        let (bound, wrapped) = (bound.to_vec(), wrapped.to_vec());
        let mut kept = self.entries();
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(Entry { bound, wrapped, derived: Arc::clone(derived) });
    }

    fn entries(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        // Why: after a panic an entry is complete or missing, never partial.
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use hkdf::Hkdf;
    use proptest::prelude::*;
    use sha2::Sha256;
    use zeroize::Zeroizing;

    use super::*;

    proptest! {
        #[test]
        fn what_is_derived_is_what_hkdf_says(data_key in any::<[u8; 32]>()) {
            let derived = Derived::from(&Zeroizing::new(data_key)).unwrap();
            let hkdf = Hkdf::<Sha256>::new(None, &data_key);
            let (mut encryption, mut commitment) = ([0; 32], [0; 32]);
            hkdf.expand(b"portcullis credential v1 encryption", &mut encryption).unwrap();
            hkdf.expand(b"portcullis credential v1 commitment", &mut commitment).unwrap();
            prop_assert_eq!(*derived.encryption, encryption);
            prop_assert_eq!(derived.commitment, commitment);
        }
    }

    #[test]
    fn what_is_kept_is_found_by_all_of_its_bytes_and_is_bounded() {
        let kept = DataKeys::default();
        let derived = |byte: u8| Arc::new(Derived::from(&Zeroizing::new([byte; 32])).unwrap());
        let (one, other) = (derived(1), derived(2));
        kept.keep(b"acme/main", b"w1", &one);
        kept.keep(b"acme/main", b"w2", &other);
        let found = |bound: &[u8], wrapped: &[u8]| kept.get(bound, wrapped).map(|found| found.commitment);
        assert_eq!(found(b"acme/main", b"w1"), Some(one.commitment));
        assert_eq!(found(b"acme/main", b"w2"), Some(other.commitment));
        for (bound, wrapped) in
            [(&b"acme/main"[..], &b"w3"[..]), (b"acme/other", b"w1"), (b"acme/mai", b"nw1")]
        {
            assert_eq!(found(bound, wrapped), None);
        }
        for byte in 0..u8::try_from(KEPT_MAX).unwrap() {
            kept.keep(b"acme/main", &[byte], &one);
        }
        assert_eq!(kept.entries().len(), KEPT_MAX);
        assert_eq!(found(b"acme/main", b"w2"), None);
    }
}
