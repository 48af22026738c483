//! The outbox of an org: what happened that others are to be told of, in the order in which it was committed.
//!
//! An entry is written by the commit that makes it true: the end of an accepted run by the batch that ends its job. Its
//! number is the sequence of that commit, so whoever has read up to a number misses none that comes later. Nothing here
//! delivers anything, and no third party's data is in it. It is bounded: what is too old or too many is dropped from
//! the oldest on, and readers are told. Implemented over any [`Store`]; the conformance suite runs over each of them.
//!
//! [`Store`]: crate::Store

use portcullis_core::id::{ActionId, AutomationId, ConnectionName, ConnectorId, OrgId, RunId, WorkspaceId};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::task::BoxFuture;

mod records;

pub use records::RecordOutbox;
#[doc(hidden)]
pub use records::entries_of;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutboxKind {
    /// An accepted run has ended, or was given up.
    #[serde(rename = "run.ended")]
    RunEnded,
}

/// What is told of the end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboxRecord {
    pub kind: OutboxKind,
    /// When it happened, milliseconds since 1970.
    pub at_ms: u64,
    pub org: OrgId,
    pub workspace: WorkspaceId,
    pub run_id: RunId,
    /// How it ended, as its record says.
    pub status: String,
    /// Why it was refused or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why it was skipped, given up or cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub connector_id: ConnectorId,
    /// Which of the workspace's connections it was made through; the default one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionName>,
    pub action_id: ActionId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automation_id: Option<AutomationId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
}

/// An entry with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Sequence of the commit that wrote it: later ones are greater, with gaps.
    pub seq: u64,
    pub record: OutboxRecord,
}

/// A page of an outbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxPage {
    /// Oldest first.
    pub entries: Vec<OutboxEntry>,
    /// Whether there are more.
    pub has_more: bool,
    /// Whether entries after the number that was asked for were dropped before they could be read.
    pub has_gap: bool,
    /// Entries that were ever dropped because they were too old or too many.
    pub dropped: u64,
}

/// What may stay in an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxCut {
    /// Entries from before this time go, milliseconds since 1970.
    pub before_ms: u64,
    /// The most entries.
    pub entries: u64,
}

/// The outboxes of all orgs.
///
/// Errors of all methods: [`StoreError::Unavailable`] if the storage cannot be used, [`StoreError::Damaged`] or
/// [`StoreError::Unreadable`] if a record is not what was written.
pub trait Outbox: Send + Sync + 'static {
    /// Entries of an org after this number, oldest first, at most `limit`; 0 is before the first.
    fn read<'a>(
        &'a self,
        org: &'a OrgId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<OutboxPage, StoreError>>;

    /// Deletes the entries up to this number, because nobody needs them any more: they do not count as dropped.
    fn remove_through<'a>(&'a self, org: &'a OrgId, seq: u64) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Drops what is too old or too many, oldest first. Returns the number of entries. After an error some may be
    /// dropped already.
    fn trim<'a>(&'a self, org: &'a OrgId, cut: OutboxCut) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// The orgs that have entries.
    fn orgs(&self) -> BoxFuture<'_, Result<Vec<OrgId>, StoreError>>;

    /// Deletes an org's outbox as a whole.
    fn remove<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Result<(), StoreError>>;
}
