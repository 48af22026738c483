//! Removing an echoed secret from a response. This is an additional defence, not a boundary. Called by the
//! response reader, and for what is kept of an answer.
//!
//! Each secret is searched for as it is and in the codings in which services echo it (`scrub/forms.rs`), each
//! of their characters plain or in the escapes of the usual languages, also in escapes of escapes
//! (`scrub/readings.rs`), and inside base64 and arrays of bytes (`scrub/coded.rs`). Any other form (reversed,
//! encrypted, split) is not found; the documentation says so.

use std::cell::OnceCell;
use std::ops::Range;

use memchr::memmem;

use self::forms::Needle;
use self::search::{Search, TooLong};
use self::starts::Starts;

mod coded;
mod forms;
mod memo;
mod readings;
mod search;
mod starts;

/// Replaces a secret.
const MARK: &[u8] = b"[redacted]";
/// Rounds of replacement before the whole text is withheld. One is enough unless a secret resembles the mark.
const ROUNDS_MAX: usize = 4;
/// Shorter texts would match ordinary bytes everywhere.
const SECRET_BYTES_MIN: usize = 4;
/// A shorter part of a secret says little about it.
const PART_BYTES_MIN: usize = 8;

/// Searches for the secrets of one call.
pub struct Scrubber<'s> {
    secrets: Vec<&'s str>,
    starts: Starts,
    /// Made once one of the starts was found.
    needles: OnceCell<Vec<Needle>>,
}

impl<'s> Scrubber<'s> {
    /// A scrubber for these secrets.
    #[must_use]
    pub fn new(all: impl Iterator<Item = &'s str>) -> Self {
        let mut secrets: Vec<&str> = Vec::with_capacity(4);
        for secret in all.filter(|secret| secret.len() >= SECRET_BYTES_MIN) {
            if !secrets.contains(&secret) {
                secrets.push(secret);
            }
        }
        let starts = Starts::of(secrets.iter().copied());
        Self { secrets, starts, needles: OnceCell::new() }
    }

    fn needles(&self) -> &[Needle] {
        self.needles.get_or_init(|| {
            let mut needles: Vec<Needle> = Vec::new();
            for needle in self.secrets.iter().flat_map(|secret| forms::wholes(secret)) {
                let known = |own: &Needle| own.bytes == needle.bytes && own.in_lines == needle.in_lines;
                if needle.bytes.len() >= SECRET_BYTES_MIN && !needles.iter().any(known) {
                    needles.push(needle);
                }
            }
            needles
        })
    }

    /// The places of secrets in a text.
    fn places(&self, text: &[u8], once: bool) -> Result<Vec<Range<usize>>, TooLong> {
        if self.secrets.is_empty() {
            return Ok(Vec::new());
        }
        Search::new(&self.starts, || self.needles(), search::steps(text), once).places(text)
    }

    /// Replaces every form in `text`; returns whether there was one. None is left afterwards: where the mark
    /// and the bytes around it still spell a secret, or the text is made so that a search would take too long,
    /// the whole text is removed.
    pub fn scrub(&self, text: &mut Vec<u8>) -> bool {
        for round in 0..ROUNDS_MAX {
            match self.places(text, false) {
                Ok(places) if places.is_empty() => return round > 0,
                Ok(places) => *text = replace(text, places),
                Err(TooLong) => break,
            }
        }
        text.clear();
        true
    }

    /// Whether `text` has a secret in any form.
    #[must_use]
    pub fn is_in(&self, text: &[u8]) -> bool {
        self.places(text, true).map_or(true, |places| !places.is_empty())
    }

    /// Whether `text` has more than half of a secret, or the mark of one that was removed.
    #[must_use]
    pub fn has_part_in(&self, text: &[u8]) -> bool {
        let has_part = |secret: &&str| {
            let length = (secret.len() / 2 + 1).max(PART_BYTES_MIN);
            length <= text.len()
                && secret.as_bytes().windows(length).any(|part| memmem::find(text, part).is_some())
        };
        memmem::find(text, MARK).is_some() || self.secrets.iter().any(has_part)
    }
}

fn replace(text: &[u8], mut places: Vec<Range<usize>>) -> Vec<u8> {
    places.sort_unstable_by_key(|place| (place.start, place.end));
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    for place in places {
        // Why not marked again: this place overlaps the one before it.
        if place.start >= from {
            out.extend_from_slice(text.get(from..place.start).unwrap_or_default());
            out.extend_from_slice(MARK);
        }
        from = from.max(place.end);
    }
    out.extend_from_slice(text.get(from..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests;
