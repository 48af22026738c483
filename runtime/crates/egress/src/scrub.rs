//! Removing an echoed credential from a response. This is an additional defence, not a boundary. Called by
//! the response reader.
//!
//! Each secret is searched for as it is and in the forms in which services echo it (`scrub/forms.rs`). Any
//! other form (reversed, encrypted, split) is not found; the documentation says so.

use std::cell::OnceCell;

use memchr::memmem;
use zeroize::Zeroizing;

use self::starts::Starts;

mod forms;
mod starts;

/// Replaces a secret.
const MARK: &[u8] = b"[redacted]";
/// Rounds of replacement before the whole text is withheld. One is enough unless a secret resembles the mark.
const ROUNDS_MAX: usize = 4;
/// Shorter texts would match ordinary bytes everywhere.
const SECRET_BYTES_MIN: usize = 4;

/// Searches for the secrets of one call.
pub struct Scrubber<'s> {
    secrets: Vec<&'s str>,
    starts: Starts,
    /// Made once one of the starts was found; the longest first.
    forms: OnceCell<Vec<Zeroizing<Vec<u8>>>>,
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
        Self { secrets, starts, forms: OnceCell::new() }
    }

    fn forms(&self) -> &[Zeroizing<Vec<u8>>] {
        self.forms.get_or_init(|| {
            let mut forms: Vec<Zeroizing<Vec<u8>>> = Vec::new();
            for form in self.secrets.iter().flat_map(|secret| forms::wholes(secret)) {
                if form.len() >= SECRET_BYTES_MIN && !forms.contains(&form) {
                    forms.push(form);
                }
            }
            forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
            forms
        })
    }

    /// Replaces every form in `text`; returns whether there was one. None is left afterwards: where the mark
    /// and the bytes around it still spell a secret, the whole text is removed.
    pub fn scrub(&self, text: &mut Vec<u8>) -> bool {
        for round in 0..ROUNDS_MAX {
            if !self.pass(text) {
                return round > 0;
            }
        }
        text.clear();
        true
    }

    fn pass(&self, text: &mut Vec<u8>) -> bool {
        let mut found = false;
        if self.starts.may_be_in(text) {
            for form in self.forms() {
                if memmem::find(text, form).is_some() {
                    found = true;
                    *text = replace(text, form);
                }
            }
        }
        found
    }

    /// Whether `text` has a secret in any form.
    #[must_use]
    pub fn is_in(&self, text: &[u8]) -> bool {
        self.starts.may_be_in(text) && self.forms().iter().any(|form| memmem::find(text, form).is_some())
    }
}

fn replace(text: &[u8], form: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    for at in memmem::find_iter(text, form) {
        out.extend_from_slice(text.get(from..at).unwrap_or_default());
        out.extend_from_slice(MARK);
        from = at + form.len();
    }
    out.extend_from_slice(text.get(from..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests;
