//! How every form of a secret starts: a quick look that clears almost every answer, so that the forms
//! themselves need not be made and looked for one by one.

use zeroize::Zeroizing;

use super::{SECRET_BYTES_MIN, forms};

/// Starts of three ordinary secrets, of which many are the same.
const STARTS: usize = 64;

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
        // Room for a few secrets at once: growing would leave a copy behind.
        let mut starts = Zeroizing::new(Vec::with_capacity(STARTS));
        for start in secrets.flat_map(forms::starts) {
            let (word, bit) = place(start);
            let Some(word) = table.get_mut(word) else { continue };
            // Why looked for only then: most starts are new, and a new one's bit is rarely taken.
            if *word & bit == 0 || !starts.contains(&start) {
                *word |= bit;
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
