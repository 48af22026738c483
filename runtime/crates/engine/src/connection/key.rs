//! The key of a connection: org, workspace and connector, and a name where a workspace has several of one connector.

use std::ops::Deref;

use portcullis_core::fault::Code;
use portcullis_core::id::{
    ConnectionName, ConnectorId, CredentialId, DEFAULT_CONNECTION, OrgId, WorkspaceId,
};
use portcullis_store::Binding;

use crate::error::Error;

/// Identifies a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    pub org: OrgId,
    pub workspace: WorkspaceId,
    pub connector: ConnectorId,
    /// None for the default connection.
    pub name: Option<ConnectionName>,
}

/// Parts of the keys of a connection's records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyParts<'k> {
    all: [&'k str; 4],
    is_named: bool,
}

impl<'k> Deref for KeyParts<'k> {
    type Target = [&'k str];

    fn deref(&self) -> &[&'k str] {
        match &self.all {
            all if self.is_named => all,
            [default @ .., _] => default,
        }
    }
}

impl ConnectionKey {
    /// Parts of the records' keys: the name is the last one, and the default connection has none.
    #[must_use]
    pub(crate) fn parts(&self) -> KeyParts<'_> {
        let name = self.name.as_ref().map_or("", ConnectionName::as_str);
        let all = [self.org.as_str(), self.workspace.as_str(), self.connector.as_str(), name];
        KeyParts { all, is_named: self.name.is_some() }
    }

    /// The connection whose records have these parts; `None` for parts that none has.
    #[must_use]
    pub(crate) fn of_parts<S: AsRef<str>>(parts: &[S]) -> Option<Self> {
        let (org, workspace, connector, name) = match parts {
            [org, workspace, connector] => (org, workspace, connector, None),
            [org, workspace, connector, name] => (org, workspace, connector, Some(name)),
            _ => return None,
        };
        let name = name.map(|name| ConnectionName::parse(name.as_ref())).transpose().ok()?;
        Some(Self {
            org: OrgId::parse(org.as_ref()).ok()?,
            workspace: WorkspaceId::parse(workspace.as_ref()).ok()?,
            connector: ConnectorId::parse(connector.as_ref()).ok()?,
            name,
        })
    }

    /// What something sealed for this connection is bound to.
    #[must_use]
    pub(crate) fn binding(&self, credential: &CredentialId, revision: u64) -> Binding {
        Binding {
            org: self.org.clone(),
            workspace: self.workspace.clone(),
            connector: self.connector.clone(),
            connection: self.name.clone(),
            credential: credential.clone(),
            revision,
        }
    }
}

/// A connection of a workspace as its caller named it.
#[derive(Debug, Clone, Copy)]
pub struct AskedConnection<'a> {
    /// Connector id as the caller wrote it.
    pub connector: &'a str,
    /// The connection's name as the caller wrote it; the default one if absent.
    pub name: Option<&'a str>,
}

impl<'a> From<&'a str> for AskedConnection<'a> {
    /// The default connection of a connector.
    fn from(connector: &'a str) -> Self {
        Self { connector, name: None }
    }
}

/// A connection's name as a caller wrote it, at this place of the request.
///
/// # Errors
/// `validation_failed` for a text that is no name, and for the reserved one.
pub(crate) fn checked_name(text: &str, pointer: &str) -> Result<ConnectionName, Error> {
    if text == DEFAULT_CONNECTION {
        let message = format!(
            "{DEFAULT_CONNECTION:?} is reserved; the default connection is meant where no name is given"
        );
        return Err(Error::violation(pointer, "reserved", message));
    }
    ConnectionName::parse(text).map_err(|error| Error::violation(pointer, "wrong_form", error.to_string()))
}

/// The name of a connection that may have one: see [`checked_name`].
///
/// # Errors
/// Those of [`checked_name`].
pub(crate) fn checked_names(text: Option<&str>, pointer: &str) -> Result<Option<ConnectionName>, Error> {
    text.map(|text| checked_name(text, pointer)).transpose()
}

/// What a word of a filter for connections asks for.
#[must_use]
pub(crate) fn is_asked(name: Option<&ConnectionName>, wanted: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| wanted == name.map_or(DEFAULT_CONNECTION, ConnectionName::as_str))
}

/// A connection that does not exist.
pub(crate) fn missing(name: &str) -> Error {
    let shown: String = name.chars().take(80).collect();
    Error::new(Code::NotFound, format!("the workspace has no connection {shown:?} of this connector"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_they_were_made_and_the_default_one_has_no_name() {
        for parts in [&["acme", "main", "crm"][..], &["acme", "main", "crm", "sales"]] {
            let key = ConnectionKey::of_parts(parts).unwrap();
            assert_eq!((&*key.parts(), key.name.is_some()), (parts, parts.len() == 4));
        }
        for bad in [
            &["acme"][..],
            &["acme", "main"],
            &["acme", "main", "crm", ""],
            &["acme", "main", "crm", "default"],
            &["acme", "main", "crm", "sales", "x"],
            &["acme", "Main", "crm"],
        ] {
            assert_eq!(ConnectionKey::of_parts(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_filter_finds_the_default_one_by_its_word() {
        let sales = ConnectionName::parse("sales").unwrap();
        for (name, wanted, is) in [
            (None, None, true),
            (Some(&sales), None, true),
            (None, Some("default"), true),
            (Some(&sales), Some("default"), false),
            (Some(&sales), Some("sales"), true),
            (None, Some("sales"), false),
        ] {
            assert_eq!(is_asked(name, wanted), is, "{name:?} {wanted:?}");
        }
    }

    #[test]
    fn a_name_that_is_none_is_told_of_and_so_is_the_reserved_one() {
        assert!(checked_name("sales", "/connection").is_ok());
        for (text, rule) in [("default", "reserved"), ("Sales", "wrong_form"), ("", "wrong_form")] {
            let error = checked_name(text, "/connection").unwrap_err();
            assert_eq!((error.violations[0].code, error.code), (rule, Code::ValidationFailed), "{text}");
        }
    }
}
