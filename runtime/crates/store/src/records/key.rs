//! Storage keys: made from a kind and parts, and parsed again. No I/O.

use super::Document;
use crate::error::StoreError;

/// Longest key part in bytes: enough for a SHA-256 in hex.
const PART_BYTES_MAX: usize = 80;

/// Makes storage keys, and reads them.
#[derive(Debug, Clone, Copy)]
pub struct Key;

impl Key {
    /// The key of a document: `<kind>/<part>/<part>`.
    ///
    /// # Errors
    /// [`StoreError::InvalidKey`] unless there is at least one part and every part is
    /// `[A-Za-z0-9][A-Za-z0-9._-]*` of at most 80 bytes: no part can then contain a separator.
    pub fn of<T: Document>(parts: &[&str]) -> Result<String, StoreError> {
        if parts.is_empty() {
            return Err(StoreError::InvalidKey { key: T::KIND.to_owned() });
        }
        Self::joined::<T>(parts, "")
    }

    /// The prefix of all documents below these parts: `<kind>/<part>/`. It ends with the separator,
    /// so that `acme` does not match `acme2`.
    ///
    /// # Errors
    /// [`StoreError::InvalidKey`] as for [`Key::of`]; no parts at all is fine.
    pub fn prefix<T: Document>(parts: &[&str]) -> Result<String, StoreError> {
        Self::joined::<T>(parts, "/")
    }

    /// Kind and parts of a key made by [`Key::of`]; `None` for any other text. A kind is a document's
    /// [`Document::KIND`], or one that the store uses itself.
    #[must_use]
    pub fn parse(key: &str) -> Option<(&str, Vec<&str>)> {
        let (kind, rest) = key.split_once('/')?;
        let parts: Vec<&str> = rest.split('/').collect();
        (is_part(kind) && parts.iter().all(|part| is_part(part))).then_some((kind, parts))
    }

    fn joined<T: Document>(parts: &[&str], end: &str) -> Result<String, StoreError> {
        let bytes: usize = parts.iter().map(|part| part.len() + 1).sum();
        let mut key = String::with_capacity(T::KIND.len() + bytes + end.len());
        key.push_str(T::KIND);
        for part in parts {
            if !is_part(part) {
                return Err(StoreError::InvalidKey { key: part.chars().take(80).collect() });
            }
            key.push('/');
            key.push_str(part);
        }
        key.push_str(end);
        Ok(key)
    }
}

fn is_part(part: &str) -> bool {
    part.len() <= PART_BYTES_MAX
        && part.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
