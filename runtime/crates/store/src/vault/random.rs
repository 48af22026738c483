//! The source of the vault's random bytes: the operating system, or in tests a fixed stream.
//!
//! There is no other generator and no fallback.

use super::VaultError;

/// A source of random bytes.
pub(super) trait RandomSource: Send + Sync {
    /// Fills `bytes`, or fails.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), VaultError>;
}

/// The operating system's generator.
pub(super) struct OsRandom;

impl RandomSource for OsRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), VaultError> {
        getrandom::fill(bytes).map_err(|_| VaultError::Random)
    }
}

/// `N` random bytes.
pub(super) fn array<const N: usize>(random: &dyn RandomSource) -> Result<[u8; N], VaultError> {
    let mut bytes = [0_u8; N];
    random.fill(&mut bytes)?;
    Ok(bytes)
}
