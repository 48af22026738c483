//! How every form of a secret starts: a quick look that clears almost every answer, so that the forms
//! themselves need not be made and looked for one by one.

use zeroize::Zeroizing;

use super::{SECRET_BYTES_MIN, forms_of};

/// Bytes of an ASCII secret from which the first bytes of each of its forms follow: every form encodes from
/// the left, and the worst, base64 one byte into a group, needs four bytes of the secret for four of its own.
const START_BYTES: usize = 4;

/// Bits of the table, and of the hash that chooses one.
const TABLE_BITS: u32 = 12;

/// The first four bytes of every form.
pub(super) struct Starts {
    table: Zeroizing<[u64; 1 << (TABLE_BITS - 6)]>,
    starts: Zeroizing<Vec<u32>>,
}

impl Starts {
    pub(super) fn of<'s>(secrets: impl Iterator<Item = &'s str>) -> Self {
        let mut table = Zeroizing::new([0; 1 << (TABLE_BITS - 6)]);
        let mut starts = Zeroizing::new(Vec::new());
        for secret in secrets {
            // Why ASCII alone: elsewhere the case of a letter may depend on what follows it.
            let start = secret.get(..START_BYTES).filter(|_| secret.is_ascii());
            for form in forms_of(start.unwrap_or(secret)) {
                let Some(first) = form.first_chunk::<SECRET_BYTES_MIN>() else { continue };
                let start = u32::from_le_bytes(*first);
                let (word, bit) = place(start);
                if let Some(word) = table.get_mut(word) {
                    *word |= bit;
                }
                starts.push(start);
            }
        }
        starts.sort_unstable();
        Self { table, starts }
    }

    /// Whether a form starts anywhere in `text`. Sometimes yes when none goes on; never no when one does.
    pub(super) fn may_be_in(&self, text: &[u8]) -> bool {
        text.windows(SECRET_BYTES_MIN).filter_map(<[u8]>::first_chunk).any(|window| {
            let start = u32::from_le_bytes(*window);
            let (word, bit) = place(start);
            self.table.get(word).is_some_and(|found| found & bit != 0)
                && self.starts.binary_search(&start).is_ok()
        })
    }
}

/// Word and bit of a start in the table: the high bits of a multiplicative hash (Knuth, volume 3).
fn place(start: u32) -> (usize, u64) {
    let hash = start.wrapping_mul(0x9e37_79b1) >> (32 - TABLE_BITS);
    ((hash >> 6) as usize, 1 << (hash & 63))
}
