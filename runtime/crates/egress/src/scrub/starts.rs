//! The prefilter of the scrubber: the first bytes of every form. Almost every response has none of them, and
//! then the forms are neither made nor searched for.

use zeroize::Zeroizing;

use super::{SECRET_BYTES_MIN, forms};

/// Room for the starts of three usual secrets, many of which are equal.
const STARTS: usize = 64;

/// Bits of the hash that chooses a bit of the table.
const TABLE_BITS: u32 = 12;

/// The first four bytes of every form.
pub(super) struct Starts {
    table: Zeroizing<[u64; 1 << (TABLE_BITS - 6)]>,
    starts: Zeroizing<Vec<u32>>,
}

impl Starts {
    pub(super) fn of<'s>(secrets: impl Iterator<Item = &'s str>) -> Self {
        let mut table = Zeroizing::new([0; 1 << (TABLE_BITS - 6)]);
        // Why with room for several secrets: growing would leave a copy in freed memory.
        let mut starts = Zeroizing::new(Vec::with_capacity(STARTS));
        for start in secrets.flat_map(forms::starts) {
            let (word, bit) = place(start);
            let Some(word) = table.get_mut(word) else { continue };
            // Why searched only if the bit is set: a new start's bit is rarely set already.
            if *word & bit == 0 || !starts.contains(&start) {
                *word |= bit;
                starts.push(start);
            }
        }
        starts.sort_unstable();
        Self { table, starts }
    }

    /// Whether a start is anywhere in `text`. It may be there without its form, but no form is there without
    /// it.
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
