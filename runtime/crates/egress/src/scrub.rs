//! Removing an echoed credential from an answer: extra defence, not the boundary.
//!
//! Every secret text is looked for as it is and in the forms that services echo it in. A form that
//! nobody enumerated (reversed, encrypted, cut in pieces by the upstream) passes; that is stated in
//! the documentation.

use std::cell::OnceCell;

use memchr::memmem;
use zeroize::Zeroizing;

use self::starts::Starts;

mod forms;
mod starts;

/// What stands where a secret stood.
const MARK: &[u8] = b"[redacted]";
/// Rounds of replacing before the text is withheld whole. One is enough unless a secret looks like
/// the mark.
const ROUNDS_MAX: usize = 4;
/// Shorter texts would hit innocent bytes everywhere and protect nothing.
const SECRET_BYTES_MIN: usize = 4;

/// The byte forms of one call's secrets.
pub struct Scrubber<'s> {
    secrets: Vec<&'s str>,
    starts: Starts,
    /// Made when one of the starts was seen: longest first.
    forms: OnceCell<Vec<Zeroizing<Vec<u8>>>>,
}

impl<'s> Scrubber<'s> {
    /// Prepares the forms of these secrets.
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

    /// Replaces every form in `text`; says whether there was one. Afterwards none is left: where the
    /// mark and its surroundings go on spelling a secret, the whole text is withheld.
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

    /// Whether `text` holds a form.
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
