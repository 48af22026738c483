//! Records, vault and outbound ledger: everything Portcullis stores, and the only code that holds keys.
//!
//! It stores, seals and opens; it does not dial, parse definitions or decide policy, and
//! apart from identifiers in the ledger it never interprets what it stores. Called by the engine,
//! which alone joins it with egress and the sandbox.

#![allow(missing_docs, reason = "an internal crate: comments stand where the name does not say it")]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests fail by panicking"
    )
)]

mod audit;
mod automations;
mod backend;
mod backends;
mod backup;
mod connect;
mod connection;
mod connectors;
mod disk_sync;
mod duties;
mod error;
mod events;
#[doc(hidden)]
pub mod for_backends;
mod fsck;
mod head;
mod health;
mod host_clock;
mod idempotency;
mod installation;
mod jobs;
mod key_nodes;
mod ledger;
mod lower_hex;
#[cfg(test)]
mod many;
mod modules;
mod oauth_clients;
mod orgs;
mod outbox;
mod rates;
#[doc(hidden)]
mod record_hash;
mod records;
mod retention;
mod runs;
mod schedules;
mod segment;
mod settings;
mod task;
mod tokens;
mod vault;
mod webhooks;

pub use audit::{
    AUDIT_PAGE_ENTRIES_MAX, AuditActor, AuditBad, AuditChain, AuditCursor, AuditCut, AuditEvent, AuditPage,
    AuditQuery, AuditRecord, AuditReport, AuditScope, audit_scopes, read_audit, trim_audit, verify_audit,
};
pub use automations::AutomationRecord;
pub use backend::{
    AtSnapshot, BATCH_OPERATIONS_MAX, Batch, CHANGES_RETAINED_COMMITS, Change, CompactStep, Compacted,
    KEY_BYTES_MAX, LIST_ENTRIES_MAX, MemoryStore, Precondition, SledStore, SnapshotReport, Store, StoreBad,
    StoreSeen, StoreStats, VALUE_BYTES_MAX, Versioned, compact_store, examine_store,
};
pub use backends::{Backends, OpenError, STORE_DIR, open_store, open_store_anchored};
pub use backup::{
    BACKUP_SPOOL, BackupError, BackupIdentity, BackupParts, BackupProgress, BackupRecipient, BackupReport,
    BegunBackup, KnownBackup, LEDGER_EXPORTS_DIR, RestoreReport, begin_backup, read_known, restore_backups,
};
pub use connect::{
    ConnectClaim, ConnectEnd, ConnectLink, ConnectSession, ConnectSettings, ConnectStatus, ConnectWindow,
};
pub use connection::{DiscoveredConfig, PendingConsent, TokenFailure, TokenLease, TokenState};
pub use connectors::{ConnectorRecord, ConnectorRevision};
pub use duties::DutyRecord;
pub use error::{REPAIR_RESTORE, StoreError};
pub use events::{EventLease, EventOrder, EventRecord, FiredAutomation, FiringProblem};
pub use fsck::{FsckFinding, FsckProgress, FsckReport, fsck, fsck_shared};
pub use health::{
    AttentionCause, ConnectionHealth, HEALTH_CHANGES_MAX, HealthAttention, HealthChange, HealthChangeKind,
};
pub use host_clock::HostInstant;
pub use idempotency::{IdempotencyOrder, IdempotencyPart, IdempotencyRecord};
pub use installation::InstallationRecord;
pub use jobs::{
    Changed, JOB_INPUT_BYTES_MAX, Job, JobCounts, JobEnd, JobName, JobOrder, JobState, JobTally, Jobs, Lease,
    Leased, LineName, LinePlace, NewJob, RecordJobs,
};
pub use key_nodes::{KeyNode, KeyNodes, KeyRotation};
pub use ledger::{
    BadRecord, ChainReport, FileLedger, LEDGER_PAGE_ENTRIES_MAX, Ledger, LedgerCursor, LedgerCut,
    LedgerError, LedgerLeft, LedgerLine, LedgerPage, LedgerPlace, LedgerQuery, LedgerSink, LedgerSync,
    MemoryLedger, PruneReport, VerifyReport, known_orgs, verify_directory, verify_export,
};
pub use modules::{ModuleBytes, ModuleFiles, ModuleRecord, module_with_digest};
pub use oauth_clients::{ClientOwner, NotedClient, OAuthClientRecord};
pub use orgs::{OrgLimitsRecord, OrgRecord, WorkspaceRecord, WorkspaceValuesRecord};
pub use outbox::{Outbox, OutboxCut, OutboxEntry, OutboxKind, OutboxPage, OutboxRecord, RecordOutbox};
pub use rates::{RateRecord, SlotsRecord};
pub use records::{Document, Key, Listed, Records, Writes, sweep_blobs};
pub use retention::{RetentionChange, RetentionRecord, RetentionTerms};
pub use runs::{
    FileRuns, MemoryRuns, RunCursor, RunCut, RunFilter, RunOrder, RunPage, RunPlace, RunQuery, RunRecord,
    RunScope, Runs, RunsFault, RunsLeft, RunsProgress, RunsReport,
};
pub use schedules::{MissedTimes, ScheduleFiring, ScheduleOrder, ScheduleOutcome, ScheduleRecord};
pub use settings::{
    ActionRule, AllowlistMode, ConnectorSetting, ConnectorSettingValue, ConnectorsMode, ConnectorsRule,
    CredentialFieldState, CredentialState, IntegrationSettings, RuleVerdict, SettingGroup,
};
pub use task::BoxFuture;
pub use tokens::{Role, TokenGrants, TokenIndex, TokenRecord, TokenUse};
pub use vault::{
    Binding, CommandKeys, CommandOptions, ContentBinding, KekProvider, KeyCheckRecord, KeyId, KeyMark,
    KeyRingRecord, MasterKey, MasterKeyRing, MasterKeys, OwnedBinding, RewrapPlace, RewrapStep,
    SEALED_CONTENT_BYTES, SEALED_TEXT_BYTES_MAX, ScopeBinding, ScopeKeyRecord, ScopeSecret, Sealed,
    SecretPayload, StoredKeyRecord, Vault, VaultError, WorkspaceKeyRecord, make_own_key, open_own_key,
};
pub use webhooks::{
    DeliveryOutcome, EventBroadcast, KeptDelivery, PLATFORM_SCOPE, PendingDelivery, RefusalsTold, RunsTold,
    WebhookDelivery, WebhookDue, WebhookEndpoint, WebhookSecret, WebhookTurn, Webhooks, ms_of_part, ms_part,
    secret_binding,
};
