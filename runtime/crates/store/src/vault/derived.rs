//! What is derived from a data key: the key that encrypts fields, and the commitment.

use std::sync::LazyLock;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::KeyInit;
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use subtle::ConstantTimeEq;

use super::{KeyBytes, VaultError};

// With the number of the one block that HKDF expands each to.
const INFO_ENCRYPTION: &[u8] = b"portcullis credential v1 encryption\x01";
const INFO_COMMITMENT: &[u8] = b"portcullis credential v1 commitment\x01";

/// HKDF's salt when there is none (RFC 5869 section 2.2), as a key that is made once.
static NO_SALT: LazyLock<hmac::Key> = LazyLock::new(|| hmac::Key::new(HMAC_SHA256, &[0; 32]));

/// What HKDF makes of a data key.
pub(super) struct Derived {
    encryption: KeyBytes,
    pub(super) commitment: [u8; 32],
}

impl Derived {
    pub(super) fn from(data_key: &KeyBytes) -> Result<Self, VaultError> {
        let refused = |_| VaultError::Refused;
        // HKDF-SHA256 for one block of output each, with the library that hashes fastest: a call opens
        // a credential while somebody waits.
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
}
