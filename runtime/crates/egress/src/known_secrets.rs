//! The secrets that no answer may show: those opened so far in one attempt, and texts made from them. Kept by
//! the guard over redirects and pages, because a later host may echo what an earlier one was sent.

use portcullis_core::secret::SecretFields;
use zeroize::Zeroizing;

use crate::scrub::Scrubber;

/// The most texts made for single requests, such as signatures, that are kept; the oldest go first. Each is
/// good for its own request and for a short time.
const MADE_MAX: usize = 64;

/// Secret texts, wiped when dropped.
#[derive(Default)]
pub struct KnownSecrets {
    fields: Vec<Zeroizing<String>>,
    made: Vec<Zeroizing<String>>,
}

impl KnownSecrets {
    /// Adds every field of an opened credential.
    pub fn add_fields(&mut self, fields: &SecretFields) {
        for (_, value) in fields.iter() {
            self.add(value.expose());
        }
    }

    /// Adds a secret.
    pub fn add(&mut self, text: &str) {
        if !self.fields.iter().any(|own| own.as_str() == text) {
            self.fields.push(Zeroizing::new(text.to_owned()));
        }
    }

    /// Adds texts that were made for one request.
    pub(crate) fn add_made(&mut self, texts: Vec<Zeroizing<String>>) {
        for text in texts {
            if self.fields.contains(&text) || self.made.contains(&text) {
                continue;
            }
            if self.made.len() >= MADE_MAX {
                self.made.remove(0);
            }
            self.made.push(text);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.made.is_empty()
    }

    /// Removes them from a text.
    pub fn scrub(&self, text: &mut String) {
        if self.is_empty() {
            return;
        }
        let mut bytes = std::mem::take(text).into_bytes();
        self.scrubber().scrub(&mut bytes);
        *text = String::from_utf8_lossy(&bytes).into_owned();
    }

    /// A search for all of them.
    #[must_use]
    pub fn scrubber(&self) -> Scrubber<'_> {
        Scrubber::new(self.fields.iter().chain(&self.made).map(|text| text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::secret::SecretValue;

    use super::*;

    #[test]
    fn what_was_opened_is_kept_and_of_what_was_made_the_newest() {
        let mut known = KnownSecrets::default();
        assert!(known.is_empty());
        let field = |text: &str| ("key".to_owned(), SecretValue::new(text.to_owned()));
        known.add_fields(&SecretFields::new(vec![field("first-secret")]));
        known.add_fields(&SecretFields::new(vec![field("first-secret"), field("second-secret")]));
        for number in 0..100 {
            known.add_made(vec![Zeroizing::new(format!("signature-{number:03}"))]);
        }
        let scrubber = known.scrubber();
        for text in ["first-secret", "second-secret", "signature-099", "signature-036"] {
            assert!(scrubber.is_in(text.as_bytes()), "{text}");
        }
        assert!(!scrubber.is_in(b"signature-035"));
    }
}
