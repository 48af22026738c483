//! Secret values: text that redacts itself and is wiped when dropped.
//!
//! There is no `Serialize`, no `Display`, no `Deref`, no `Clone` and no comparison: the one way to
//! the text is [`SecretValue::expose`], whose call sites the tidy test lists. Made by the API layer
//! (a credential being saved) and by the vault (a credential being opened), read by injection.

use std::fmt;

use zeroize::Zeroizing;

/// One secret text, such as an API key. Debug output is fixed; memory is zeroed on drop.
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    /// Takes ownership of the text, so that no second copy stays behind.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself. Every call site is listed in the tidy test with its reason.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Length in bytes; not secret in this design (limits are checked on it).
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the text is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// The opened fields of one credential, in definition order. Lives only between the TLS handshake
/// and the write of the request.
#[derive(Debug, Default)]
pub struct SecretFields(Vec<(String, SecretValue)>);

impl SecretFields {
    /// Collects named fields.
    #[must_use]
    pub fn new(fields: Vec<(String, SecretValue)>) -> Self {
        Self(fields)
    }

    /// The field with that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&SecretValue> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }

    /// All fields with their names, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SecretValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The fields themselves, in order.
    pub fn into_fields(self) -> impl Iterator<Item = (String, SecretValue)> {
        self.0.into_iter()
    }

    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_never_shows_the_text() {
        let value = SecretValue::new("sk_live_canary".to_owned());
        let fields = SecretFields::new(vec![("api_key".to_owned(), value)]);
        let shown = format!("{fields:?} {:#?}", fields);
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("api_key"), "{shown}");
    }
}
