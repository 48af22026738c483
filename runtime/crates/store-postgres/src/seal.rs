//! Seals over what is stored, so that a row that the database's owner changed, moved, put back or took out is found.
//!
//! With a key that the database never sees (HMAC-SHA256). Without one the seals are of a known key: then they find
//! damage, and nobody who means it.
//!
//! | what was done to the rows | found |
//! |---|---|
//! | a record changed, or moved to another key or revision | when it is read |
//! | a record taken out, added from elsewhere, or an older one of the same key put back | by a check of the whole store |
//! | the log of changes changed, or a commit taken out of it | when a node reads it |
//! | the head changed | by the next read or commit of the head |
//! | an older state put back while a node runs | by its next read of the head, and of the log if others have written since |
//! | everything put back together to an earlier moment while no node runs | not here: it needs something outside |

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};

/// The size of a seal in bytes.
pub(crate) const SEAL_BYTES: usize = 32;

pub(crate) type Seal = [u8; SEAL_BYTES];

/// The key without a key.
const NO_KEY: &[u8; 32] = b"portcullis store without a key..";

/// Makes seals. `Debug` is not derived: it holds a key.
pub(crate) struct Sealer(Key);

impl Sealer {
    pub(crate) fn new(key: Option<&[u8; 32]>) -> Self {
        Self(Key::new(HMAC_SHA256, key.unwrap_or(NO_KEY)))
    }

    /// Of a record.
    pub(crate) fn record(&self, key: &str, revision: u64, value: &[u8]) -> Seal {
        self.over(b"record", &[key.as_bytes(), &revision.to_be_bytes(), value])
    }

    /// Of a commit's row in the log of changes; rows of earlier versions have no token.
    pub(crate) fn changes(&self, seq: u64, changes: &str, token: Option<&[u8]>) -> Seal {
        let seq = seq.to_be_bytes();
        match token {
            Some(token) => self.over(b"changes", &[&seq, changes.as_bytes(), token]),
            None => self.over(b"changes", &[&seq, changes.as_bytes()]),
        }
    }

    /// Of the head, which is given in parts.
    pub(crate) fn head(&self, parts: &[&[u8]]) -> Seal {
        self.over(b"head", parts)
    }

    /// What a record adds to the digest over all. Why not its seal: seals are stored, and of enough known ones others
    /// with the same digest can be put together.
    pub(crate) fn element(&self, seal: &Seal) -> Seal {
        self.over(b"element", &[seal])
    }

    /// What hides the digest, so that two of them do not show the elements between.
    pub(crate) fn blind(&self, nonce: &Seal) -> Seal {
        self.over(b"blind", &[nonce])
    }

    pub(crate) fn over(&self, what: &[u8], parts: &[&[u8]]) -> Seal {
        let mut context = Context::with_key(&self.0);
        context.update(b"portcullis postgres v1 ");
        for part in std::iter::once(&what).chain(parts) {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            context.update(&length.to_be_bytes());
            context.update(part);
        }
        let mut seal = [0; SEAL_BYTES];
        seal.copy_from_slice(context.sign().as_ref());
        seal
    }
}

/// Whether a seal is the one that was stored; in constant time.
pub(crate) fn is_same(computed: &Seal, stored: &[u8]) -> bool {
    verify_slices_are_equal(computed, stored).is_ok()
}

/// Adds to a digest, or takes away from it: the exclusive or.
pub(crate) fn toggle(digest: &mut Seal, element: &Seal) {
    for (byte, other) in digest.iter_mut().zip(element) {
        *byte ^= other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_things_have_the_same_seal() {
        let sealer = Sealer::new(Some(&[7; 32]));
        let mut all = vec![
            sealer.record("a", 1, b"b"),
            sealer.record("ab", 1, b""),
            sealer.record("a", 2, b"b"),
            sealer.record("a", 1, b"c"),
            sealer.changes(1, "+a", None),
            sealer.changes(1, "+a", Some(b"")),
            sealer.changes(1, "+a", Some(b"t")),
            sealer.changes(1, "+a", Some(b"u")),
            sealer.head(&[b"a", b"b"]),
            sealer.head(&[b"ab", b""]),
            sealer.element(&[1; 32]),
            sealer.blind(&[1; 32]),
            Sealer::new(Some(&[8; 32])).record("a", 1, b"b"),
            Sealer::new(None).record("a", 1, b"b"),
        ];
        assert!(is_same(&all[0], &sealer.record("a", 1, b"b")));
        assert!(!is_same(&all[0], &all[1]) && !is_same(&all[0], b"short"));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn a_digest_does_not_depend_on_the_order_and_forgets_what_is_taken_away() {
        let sealer = Sealer::new(None);
        let [a, b] = [1_u8, 2].map(|byte| sealer.element(&[byte; 32]));
        let (mut one, mut other) = ([0; 32], [0; 32]);
        for element in [&a, &b] {
            toggle(&mut one, element);
        }
        for element in [&b, &a, &b, &b] {
            toggle(&mut other, element);
        }
        assert_eq!(one, other);
        toggle(&mut one, &a);
        assert_eq!(one, b);
    }
}
