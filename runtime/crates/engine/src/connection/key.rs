//! The key of a connection: org, workspace and connector.

use portcullis_core::id::{ConnectorId, CredentialId, OrgId, WorkspaceId};
use portcullis_store::Binding;

/// Identifies a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    pub org: OrgId,
    pub workspace: WorkspaceId,
    pub connector: ConnectorId,
}

impl ConnectionKey {
    /// Parts of the records' keys.
    #[must_use]
    pub(crate) fn parts(&self) -> [&str; 3] {
        [self.org.as_str(), self.workspace.as_str(), self.connector.as_str()]
    }

    /// What something sealed for this connection is bound to.
    #[must_use]
    pub(crate) fn binding(&self, credential: &CredentialId, revision: u64) -> Binding {
        Binding {
            org: self.org.clone(),
            workspace: self.workspace.clone(),
            connector: self.connector.clone(),
            credential: credential.clone(),
            revision,
        }
    }
}
