//! Identifiers: one newtype each, from one macro, checked when made.
//!
//! An identifier that exists is well formed, so it can stand in a storage key, a file name or a
//! log line as it is. Nothing here draws random numbers; the caller supplies the text of a new id.
//! Called by every other crate.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest identifier, in bytes. 63 is a DNS label, so an id can become one later.
pub const ID_BYTES_MAX: usize = 63;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} must match {pattern}, got {got:?}")]
pub struct InvalidId {
    /// Which identifier was asked for, such as `connector_id`.
    pub kind: &'static str,
    /// The accepted form, as a regular expression.
    pub pattern: &'static str,
    /// The refused text, cut to 80 characters.
    pub got: String,
}

/// `^[a-z0-9][a-z0-9_-]{0,62}$`
fn is_slug(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    first
        && text.len() <= ID_BYTES_MAX
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// `^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`
fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    first
        && text.len() <= ID_BYTES_MAX
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// The word for a connection without a name, in filters; no named one has it.
pub const DEFAULT_CONNECTION: &str = "default";

/// As [`is_slug`], and not [`DEFAULT_CONNECTION`].
fn is_connection_name(text: &str) -> bool {
    is_slug(text) && text != DEFAULT_CONNECTION
}

macro_rules! identifiers {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $check:ident, $pattern:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(
            // Invariant: matches the pattern below. Shared, because a call's ids stand in many places.
            Arc<str>,
        );

        impl $name {
            /// The accepted form, as a regular expression.
            pub const PATTERN: &'static str = $pattern;

            /// Checks `text` and keeps it.
            ///
            /// # Errors
            /// [`InvalidId`] when the text does not match [`Self::PATTERN`].
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                if $check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidId {
                        kind: $kind,
                        pattern: $pattern,
                        got: text.chars().take(80).collect(),
                    })
                }
            }

            /// The identifier's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    )*};
}

// Alphabetical; append, never rename: these texts are in stored records.
identifiers! {
    /// One action of a connector, such as `create-contact`.
    ActionId, "action_id", is_name, "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";
    /// One automation of an org: `auto_` and a UUIDv7.
    AutomationId, "automation_id", is_slug, "^[a-z0-9][a-z0-9_-]{0,62}$";
    /// One of several connections of a connector in a workspace. The default one has no name.
    ConnectionName, "connection", is_connection_name, "^[a-z0-9][a-z0-9_-]{0,62}$";
    /// A connector: the durable name used in definitions, credentials and automations.
    ConnectorId, "connector_id", is_slug, "^[a-z0-9][a-z0-9_-]{0,62}$";
    /// One saved credential of one workspace: `cred_` and a UUIDv7.
    CredentialId, "credential_id", is_slug, "^[a-z0-9][a-z0-9_-]{0,62}$";
    /// One outbound attempt in the ledger: `out_` and a UUIDv7.
    EntryId, "entry_id", is_slug, "^[a-z0-9][a-z0-9_-]{0,62}$";
    /// One process of several that share a database; `--node`, else made at its start.
    NodeId, "node", is_name, "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";
    /// An organisation.
    OrgId, "org", is_slug, "^[a-z0-9][a-z0-9_-]{0,62}$";
    /// One run of one action: `run_` and a UUIDv7.
    RunId, "run_id", is_slug, "^[a-z0-9][a-z0-9_-]{0,62}$";
    /// One API token (not its secret): `tok_` and a UUIDv7.
    TokenId, "token_id", is_slug, "^[a-z0-9][a-z0-9_-]{0,62}$";
    /// One webhook of an org or of the platform.
    WebhookId, "webhook", is_slug, "^[a-z0-9][a-z0-9_-]{0,62}$";
    /// One workspace (tenant) of an org.
    WorkspaceId, "workspace", is_slug, "^[a-z0-9][a-z0-9_-]{0,62}$";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slug_accepts_its_pattern_and_refuses_its_neighbours() {
        for good in ["a", "0", "acme", "a-b_c", &"a".repeat(63)] {
            assert!(OrgId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "-a", "_a", "a/b", "a.b", "é", "a b", "a\0", &"a".repeat(64)] {
            assert!(OrgId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn action_ids_keep_case_and_dots_but_no_separators() {
        assert!(ActionId::parse("chat.postMessage").is_ok());
        for bad in ["", ".a", "a/b", "a b", "..", &"a".repeat(64)] {
            assert!(ActionId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_connection_is_named_default() {
        assert!(ConnectionName::parse("default2").is_ok() && ConnectionName::parse("sales").is_ok());
        for bad in ["default", "Sales", "", "a.b"] {
            assert!(ConnectionName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_invalid_id_does_not_deserialize() {
        assert!(serde_json::from_str::<WorkspaceId>("\"main\"").is_ok());
        let error = serde_json::from_str::<WorkspaceId>("\"../etc\"").unwrap_err();
        assert!(error.to_string().contains("workspace must match"), "{error}");
    }
}
