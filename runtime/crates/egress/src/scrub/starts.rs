//! The prefilter of the scrubber: the first bytes of every form. Almost every response has none of them, and
//! then the forms are neither made nor searched for.

use memchr::{memchr_iter, memchr3_iter};
use zeroize::Zeroizing;

use super::readings::{self, begins_escape};
use super::search::after_indent;
use super::{SECRET_BYTES_MIN, forms};

mod quick_look;

/// Room for the starts of three usual secrets, many of which are equal.
const STARTS: usize = 64;

/// Bits of the hash that chooses a bit of the table.
const TABLE_BITS: u32 = 12;

/// The first four bytes of every form.
pub(super) struct Starts {
    table: Zeroizing<[u64; 1 << (TABLE_BITS - 6)]>,
    starts: Zeroizing<Vec<u32>>,
    /// Every byte of a start.
    bytes: Zeroizing<Bytes>,
    /// Whether a secret begins with a space, or nearly: a form writes it as a plus sign.
    has_space: bool,
}

/// A set of bytes.
type Bytes = [u64; 4];

fn has(set: &Bytes, byte: u8) -> bool {
    set.get(usize::from(byte >> 6)).is_some_and(|word| word & (1 << (byte & 63)) != 0)
}

impl Starts {
    pub(super) fn of<'s>(secrets: impl Iterator<Item = &'s str>) -> Self {
        let mut table = Zeroizing::new([0; 1 << (TABLE_BITS - 6)]);
        // Why with room for several secrets: growing would leave a copy in freed memory.
        let mut starts = Zeroizing::new(Vec::with_capacity(STARTS));
        let mut bytes = Zeroizing::new([0; 4]);
        let mut has_space = false;
        let secrets = secrets
            .inspect(|secret| has_space |= secret.bytes().take(SECRET_BYTES_MIN).any(|byte| byte == b' '));
        for start in secrets.flat_map(forms::starts) {
            let (word, bit) = place(start);
            let Some(word) = table.get_mut(word) else { continue };
            // Why searched only if the bit is set: a new start's bit is rarely set already.
            if *word & bit == 0 || !starts.contains(&start) {
                *word |= bit;
                starts.push(start);
                for byte in start.to_le_bytes() {
                    if let Some(word) = bytes.get_mut(usize::from(byte >> 6)) {
                        *word |= 1 << (byte & 63);
                    }
                }
            }
        }
        starts.sort_unstable();
        Self { table, starts, bytes, has_space }
    }

    /// Calls `visit` with every position at which a form may begin, in any spelling; ends early when it
    /// returns true. No form begins at another position.
    pub(super) fn any(&self, text: &[u8], mut visit: impl FnMut(usize) -> bool) -> bool {
        if self.starts.is_empty() {
            return false;
        }
        let literal = text.windows(SECRET_BYTES_MIN).enumerate().any(|(at, window)| {
            window.first_chunk().is_some_and(|window| self.has(u32::from_le_bytes(*window))) && visit(at)
        });
        literal
            || memchr3_iter(b'\\', b'%', b'&', text).any(|at| self.escaped(text, at, &mut visit))
            || memchr3_iter(b'=', 0, b'\n', text).any(|at| self.escaped(text, at, &mut visit))
            || [b'\'', b'"']
                .into_iter()
                .filter(|byte| has(&self.bytes, *byte))
                .any(|byte| memchr_iter(byte, text).any(|at| self.escaped(text, at, &mut visit)))
            || self.has_space && memchr_iter(b'+', text).any(|at| self.escaped(text, at, &mut visit))
    }

    fn has(&self, start: u32) -> bool {
        let (word, bit) = place(start);
        self.table.get(word).is_some_and(|found| found & bit != 0)
            && self.starts.binary_search(&start).is_ok()
    }

    /// The positions of forms whose first escaped character is at `at`, if it is one of the first four.
    fn escaped(&self, text: &[u8], at: usize, visit: &mut impl FnMut(usize) -> bool) -> bool {
        if text.get(at) == Some(&b'\n') {
            let begin = if at > 0 && text.get(at - 1) == Some(&b'\r') { at - 1 } else { at };
            return self.broken(text, begin, after_indent(text, at + 1), visit);
        }
        if !self.may_escape(text, at) {
            return false;
        }
        let found = readings::escapes(text, at);
        found.as_slice().iter().any(|reading| match reading.bytes() {
            [] => self.broken(text, at, reading.end, visit),
            [byte, ..] => {
                matches!(byte, b'\n' | b'\r') && self.broken(text, at, after_indent(text, reading.end), visit)
                    || has(&self.bytes, *byte) && self.leading_to(text, at, 0, Some(*byte), visit)
            }
        })
    }

    /// The positions of forms that go on at `next` after something from `at` on that is not part of them.
    fn broken(&self, text: &[u8], at: usize, next: usize, visit: &mut impl FnMut(usize) -> bool) -> bool {
        let byte =
            text.get(next).copied().filter(|byte| !begins_escape(*byte) && !matches!(byte, b'\r' | b'\n'));
        self.may_go_on(text, at) && self.leading_to(text, at, 1, byte, visit)
    }

    /// The positions `least` to three bytes before `at` from which the text leads to a start with this byte at
    /// `at`, or with none.
    fn leading_to(
        &self,
        text: &[u8],
        at: usize,
        least: usize,
        byte: Option<u8>,
        visit: &mut impl FnMut(usize) -> bool,
    ) -> bool {
        (least..SECRET_BYTES_MIN).take_while(|before| *before <= at).any(|before| {
            let Some(prefix) = text.get(at - before..at) else { return false };
            let begins = |start: &u32| {
                let start = start.to_le_bytes();
                start.starts_with(prefix) && byte.is_none_or(|byte| start.get(before) == Some(&byte))
            };
            prefix.iter().all(|byte| has(&self.bytes, *byte))
                && self.starts.iter().any(begins)
                && visit(at - before)
        })
    }
}

/// Word and bit of a start in the table: the high bits of a multiplicative hash (Knuth, volume 3).
fn place(start: u32) -> (usize, u64) {
    let hash = start.wrapping_mul(0x9e37_79b1) >> (32 - TABLE_BITS);
    ((hash >> 6) as usize, 1 << (hash & 63))
}
