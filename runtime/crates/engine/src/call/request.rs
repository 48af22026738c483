//! What is to be called: authorised and bounded, not yet looked up.

use aws_lc_rs::digest::{Context, SHA256};
use portcullis_core::hex;
use portcullis_core::id::{AutomationId, ConnectionName, OrgId, RunId, TokenId, WorkspaceId};
use serde_json::{Map, Value};

use super::commitment::Commitment;
use super::run::SkipReason;

/// A requested call.
#[derive(Debug, Clone)]
pub struct CallRequest {
    pub org: OrgId,
    pub workspace: WorkspaceId,
    /// The commit that made the workspace.
    pub workspace_commit: u64,
    /// The version of the state in which the caller was authenticated: what changed since may forbid the call.
    pub seen: u64,
    /// Connector id as the caller wrote it.
    pub connector_id: String,
    /// Which of the workspace's connections it is made through; the default one if absent.
    pub connection: Option<ConnectionName>,
    /// Action id as the caller wrote it.
    pub action_id: String,
    /// The id of its run; a new one if there is none yet.
    pub run_id: Option<RunId>,
    /// Input as given.
    pub input: Map<String, Value>,
    /// The automation that fired.
    pub automation_id: Option<AutomationId>,
    /// The event that fired it.
    pub event_id: Option<String>,
    /// The API token of the caller, who waits for the answer: the call ends when it is revoked.
    pub token_id: Option<TokenId>,
    /// Why it is skipped; decided before anything is looked up.
    pub skip: Option<SkipReason>,
    /// Whether to show the request instead of sending it.
    pub dry_run: bool,
    /// The caller's key for this call, the same when the call is repeated.
    pub key: Option<String>,
    /// Shared with the connection that waits for it.
    pub commitment: Commitment,
}

impl CallRequest {
    /// The key by which upstreams recognize a repeat: the same for every attempt of a run, and for every
    /// run with the same key from the caller. `pc_` and hexadecimal digits, at most `chars_max` characters; 16
    /// of them are enough to be unique.
    #[must_use]
    pub(crate) fn idempotency_key(&self, run: &RunId, chars_max: u16) -> String {
        let name = self.key.as_deref().unwrap_or(run.as_str());
        let automation = self.automation_id.as_ref().map_or("", AutomationId::as_str);
        let mut hash = Context::new(&SHA256);
        let parts = [
            self.org.as_str(),
            self.workspace.as_str(),
            &self.connector_id,
            &self.action_id,
            automation,
            name,
        ];
        // Why only of a named one: keys that vendors know already stay the same.
        let connection = self.connection.as_ref().map(ConnectionName::as_str);
        for part in parts.into_iter().chain(connection) {
            hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let mut key = format!("pc_{}", hex::encode(hash.finish().as_ref()));
        key.truncate(usize::from(chars_max));
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_named_connection_is_another_and_that_of_the_default_one_stays_as_it_was() {
        let default = CallRequest {
            org: OrgId::parse("acme").unwrap(),
            workspace: WorkspaceId::parse("main").unwrap(),
            workspace_commit: 1,
            seen: 0,
            connector_id: "crm".to_owned(),
            connection: None,
            action_id: "act".to_owned(),
            run_id: None,
            input: Map::new(),
            automation_id: None,
            event_id: None,
            token_id: None,
            skip: None,
            dry_run: false,
            key: None,
            commitment: Commitment::default(),
        };
        let named = CallRequest { connection: ConnectionName::parse("sales").ok(), ..default.clone() };
        let run = RunId::parse("run_1").unwrap();
        for (call, key) in [
            (default, "pc_cddf67c2b9e6a310e63f4938fab5ad638c70a2d7aff60cffdc59c1e40683bf4d"),
            (named, "pc_a69f1982b12a68f6b5b3ed262528493fde8409f690e3aa298073446501446826"),
        ] {
            assert_eq!(call.idempotency_key(&run, 128), key);
        }
    }
}
