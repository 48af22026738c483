//! The audit log: what people changed, as chains of records in the store itself, so that a change and its record are one
//! batch.
//!
//! There is a chain for each org, one of the platform, and one of failed logins, which is apart so that nobody who is not
//! logged in can push a record of a change out. Each record has the hash of the one before, and a head says how far a
//! chain reached and where it was cut. The keys of records count backwards, so that lists are newest first. It stores what
//! it is given and decides nothing. Called by the engine, which says what was changed.

use portcullis_core::hex;
use portcullis_core::id::{OrgId, TokenId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::StoreError;
use crate::head::Link;
use crate::lower_hex;
use crate::records::{Document, Key, Records, Writes};

mod link;
mod reading;
mod trim;
mod verify;

pub use reading::{AUDIT_PAGE_ENTRIES_MAX, AuditCursor, AuditPage, AuditQuery, AuditRecord, read_audit};
pub use trim::{AuditCut, trim_audit};
pub use verify::{AuditBad, AuditReport, audit_scopes, verify_audit};

/// Key part of the platform's chain. No org has it: ids of orgs have no capitals.
const PLATFORM_PART: &str = "PLATFORM";
/// Key part of the chain of failed logins.
const LOGINS_PART: &str = "LOGINS";

/// Digits of milliseconds in keys, so that they sort by time until the year 5138.
const MS_DIGITS: usize = 14;
/// The latest time of an order.
const LATEST_MS: u64 = 99_999_999_999_999;
/// Digits of positions in keys.
const SEQ_DIGITS: usize = 16;
/// The last position of an order.
const LAST_SEQ: u64 = 9_999_999_999_999_999;

/// Whose chain a record belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AuditScope {
    /// Changes of an org, by itself or by the platform. It outlives the org.
    Org(OrgId),
    /// Changes of the platform.
    Platform,
    /// Failed logins.
    Logins,
}

impl AuditScope {
    /// Its part of a key.
    #[must_use]
    pub fn part(&self) -> &str {
        match self {
            Self::Org(org) => org.as_str(),
            Self::Platform => PLATFORM_PART,
            Self::Logins => LOGINS_PART,
        }
    }

    /// The scope with this part of a key.
    #[must_use]
    pub fn parse(part: &str) -> Option<Self> {
        match part {
            PLATFORM_PART => Some(Self::Platform),
            LOGINS_PART => Some(Self::Logins),
            org => OrgId::parse(org).ok().map(Self::Org),
        }
    }

    /// The org, if it is one's.
    #[must_use]
    pub const fn org(&self) -> Option<&OrgId> {
        match self {
            Self::Org(org) => Some(org),
            Self::Platform | Self::Logins => None,
        }
    }
}

/// Who did something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditActor {
    /// The API token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<TokenId>,
    /// The connect session, where a person used its link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The token's role; `connect_session` for a person who used a link, `offline` for a command at the machine itself,
    /// `none` for a request without a token.
    pub role: String,
    /// Who used the token, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditEvent {
    /// When, milliseconds since 1970; never before the record that precedes it.
    pub at_ms: u64,
    pub actor: AuditActor,
    /// Where the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    pub action: String,
    /// What it was done to; several are separated by spaces.
    pub target: String,
    /// Digest of what was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Digest of what is there now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// How often, where one record stands for several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// A record. Parts: `[scope, <time backwards>, <position backwards>]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditEntry {
    seq: u64,
    /// Hash of the record before, 64 hexadecimal digits.
    prev: String,
    /// Kept as text, because the hash covers its exact bytes.
    event: Box<RawValue>,
    hash: String,
}

impl Document for AuditEntry {
    const KIND: &'static str = "audit";
}

/// The place of a record in the order of all. Parts: `[<time backwards>, scope, <position backwards>]`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditOrder {}

impl Document for AuditOrder {
    const KIND: &'static str = "audit_order";
}

/// How far a chain reached. Parts: `[scope]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditHead {
    /// Position of the last record.
    seq: u64,
    hash: String,
    at_ms: u64,
    /// Position of the record that made the org there is: what is before it is of an earlier org of that name.
    #[serde(default)]
    begins: u64,
    /// The last record that was dropped because it was too old or one too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut: Option<AuditPlace>,
}

impl Document for AuditHead {
    const KIND: &'static str = "audit_head";
}

/// A record's place, and its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditPlace {
    seq: u64,
    hash: String,
    at_ms: u64,
}

/// A time as a part of keys that are in the order of later ones first.
fn ms_back(ms: u64) -> String {
    format!("{:0width$}", LATEST_MS.saturating_sub(ms.min(LATEST_MS)), width = MS_DIGITS)
}

/// A position as a part of keys that are in the order of later ones first.
fn seq_back(seq: u64) -> String {
    format!("{:0width$}", LAST_SEQ.saturating_sub(seq.min(LAST_SEQ)), width = SEQ_DIGITS)
}

fn number_of(part: &str, digits: usize, last: u64) -> Option<u64> {
    let number: u64 = part.parse().ok().filter(|_| part.len() == digits)?;
    last.checked_sub(number)
}

/// Time and position of the last two parts of a record's key.
fn place_of(ms: &str, seq: &str) -> Option<(u64, u64)> {
    Some((number_of(ms, MS_DIGITS, LATEST_MS)?, number_of(seq, SEQ_DIGITS, LAST_SEQ)?))
}

/// A chain as it was read, to which records are added.
#[derive(Debug)]
pub struct AuditChain {
    scope: AuditScope,
    head: AuditHead,
    /// The commit that wrote the head; `None` if there is no record yet.
    commit: Option<u64>,
}

impl AuditChain {
    /// Reads where a chain ends.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn load(records: &Records, scope: AuditScope) -> Result<Self, StoreError> {
        let found = records.get::<AuditHead>(&[scope.part()]).await?;
        let (head, commit) = match found {
            Some((head, commit)) => (head, Some(commit)),
            None => {
                let hash = hex::encode(&link::genesis(&scope).hash);
                (AuditHead { seq: 0, hash, at_ms: 0, begins: 0, cut: None }, None)
            }
        };
        Ok(Self { scope, head, commit })
    }

    /// Key of its head, on which a commit of [`Self::append`] depends.
    ///
    /// # Errors
    /// [`StoreError::InvalidKey`].
    pub fn head_key(&self) -> Result<String, StoreError> {
        Key::of::<AuditHead>(&[self.scope.part()])
    }

    /// Whose chain it is.
    #[must_use]
    pub const fn scope(&self) -> &AuditScope {
        &self.scope
    }

    /// Records that it has.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.head.seq.saturating_sub(self.head.cut.as_ref().map_or(0, |cut| cut.seq))
    }

    /// Adds these records to writes, under the condition that the chain ends where it did. `begins` says that the first
    /// of them makes a new org.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the head is not what was written, [`StoreError::Unreadable`] for an event that is no
    /// JSON.
    pub fn append(
        &self,
        mut writes: Writes,
        events: Vec<AuditEvent>,
        begins: bool,
    ) -> Result<Writes, StoreError> {
        let mut head = self.head.clone();
        let damaged = || StoreError::damaged(format!("the head of the audit log of {}", self.scope.part()));
        if begins {
            head.begins = head.seq.saturating_add(1);
        }
        for mut event in events {
            event.at_ms = event.at_ms.max(head.at_ms).min(LATEST_MS);
            let last = Link { seq: head.seq, hash: lower_hex::decode(&head.hash).ok_or_else(damaged)? };
            let unreadable = |error: serde_json::Error| StoreError::Unreadable {
                key: self.scope.part().to_owned(),
                kind: AuditEntry::KIND,
                reason: format!("{:?} error", error.classify()),
            };
            let text = serde_json::value::to_raw_value(&event).map_err(unreadable)?;
            let next = link::next(&self.scope, &last, text.get());
            let hash = hex::encode(&next.hash);
            let entry = AuditEntry { seq: next.seq, prev: head.hash, event: text, hash: hash.clone() };
            let (scope, ms, seq) = (self.scope.part(), ms_back(event.at_ms), seq_back(next.seq));
            writes = writes
                .create(&[scope, &ms, &seq], &entry)
                .create(&[&ms, scope, &seq], &AuditOrder::default());
            (head.seq, head.hash, head.at_ms) = (next.seq, hash, event.at_ms);
        }
        let parts = [self.scope.part()];
        Ok(match self.commit {
            Some(commit) => writes.replace(&parts, &head, commit),
            None => writes.create(&parts, &head),
        })
    }
}

#[cfg(test)]
mod tests;
