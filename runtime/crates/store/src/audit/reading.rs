//! Pages of the audit log, newest first: of one chain, or of all in the order of time. A page ends after a bounded look,
//! and says where the next one begins.

use std::fmt;

use portcullis_core::id::TokenId;

use super::{AuditEntry, AuditEvent, AuditHead, AuditOrder, AuditScope, ms_back, place_of, seq_back};
use crate::error::StoreError;
use crate::records::{Document as _, Records};

/// Most entries of a page.
pub const AUDIT_PAGE_ENTRIES_MAX: usize = 100;

/// Records that are looked at for one page: what a filter passes over must not hold a request up.
const LOOKED_AT_MAX: usize = 2000;
/// Records read at a time.
const READ_AT_ONCE: usize = 200;

/// Which records are wanted. `None` matches all.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// The chain; all of them if absent.
    pub scope: Option<AuditScope>,
    /// Only of the org that there is now, not of an earlier one of that name.
    pub of_this_life: bool,
    pub action: Option<String>,
    /// A target, or the first segments of one.
    pub target: Option<String>,
    /// The actor's token.
    pub token_id: Option<TokenId>,
    /// At this time or later, milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Before this time, milliseconds since 1970.
    pub until_ms: Option<u64>,
    /// The page begins after this record.
    pub after: Option<AuditCursor>,
    /// At most [`AUDIT_PAGE_ENTRIES_MAX`].
    pub limit: usize,
}

/// The place of a record among all: `<milliseconds>.<chain>.<position>`, which is also its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditCursor {
    at_ms: u64,
    scope: AuditScope,
    seq: u64,
}

impl AuditCursor {
    /// The chain of its record.
    #[must_use]
    pub const fn scope(&self) -> &AuditScope {
        &self.scope
    }

    /// Reads its text; `None` for any other.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (at_ms, rest) = text.split_once('.')?;
        let (scope, seq) = rest.rsplit_once('.')?;
        let number = |digits: &str| {
            digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
        };
        Some(Self { at_ms: number(at_ms)?, scope: AuditScope::parse(scope)?, seq: number(seq)? })
    }
}

impl fmt::Display for AuditCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.at_ms, self.scope.part(), self.seq)
    }
}

/// A record as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    pub scope: AuditScope,
    /// Position in its chain, from 1.
    pub seq: u64,
    pub event: AuditEvent,
    /// Hash of the record, 64 hexadecimal digits.
    pub hash: String,
}

impl AuditRecord {
    /// Its place, from which a next page goes on.
    #[must_use]
    pub fn cursor(&self) -> AuditCursor {
        AuditCursor { at_ms: self.event.at_ms, scope: self.scope.clone(), seq: self.seq }
    }
}

/// A page of the audit log.
#[derive(Debug, Clone, Default)]
pub struct AuditPage {
    /// Newest first.
    pub entries: Vec<AuditRecord>,
    /// Where the next page begins.
    pub next: Option<AuditCursor>,
}

/// The event of an entry.
pub(super) fn event_of(entry: &AuditEntry) -> Result<AuditEvent, StoreError> {
    serde_json::from_str(entry.event.get()).map_err(|error| StoreError::Unreadable {
        key: entry.seq.to_string(),
        kind: AuditEntry::KIND,
        reason: format!("{:?} error at column {}", error.classify(), error.column()),
    })
}

/// Reads a page.
///
/// # Errors
/// Those of the store.
pub async fn read_audit(records: &Records, query: &AuditQuery) -> Result<AuditPage, StoreError> {
    let limit = query.limit.clamp(1, AUDIT_PAGE_ENTRIES_MAX);
    let from_seq = match &query.scope {
        Some(scope) if query.of_this_life => {
            records.get::<AuditHead>(&[scope.part()]).await?.map_or(0, |(head, _)| head.begins)
        }
        _ => 0,
    };
    let mut after = beginning(query);
    let (mut page, mut looked_at) = (AuditPage::default(), 0_usize);
    loop {
        let found = match &query.scope {
            Some(scope) => of_scope(records, scope, after.as_deref()).await?,
            None => of_all(records, after.as_deref()).await?,
        };
        let is_last = found.len() < READ_AT_ONCE;
        for Found { key, record } in found {
            looked_at = looked_at.saturating_add(1);
            after = Some(key);
            let Some(record) = record else { continue };
            if record.seq < from_seq || query.since_ms.is_some_and(|since| record.event.at_ms < since) {
                return Ok(page);
            }
            let cursor = record.cursor();
            if wants(query, &record) {
                if page.entries.len() == limit {
                    page.next = page.entries.last().map(AuditRecord::cursor);
                    return Ok(page);
                }
                page.entries.push(record);
            }
            if looked_at >= LOOKED_AT_MAX {
                page.next = Some(cursor);
                return Ok(page);
            }
        }
        if is_last {
            return Ok(page);
        }
    }
}

/// The rest of the key after which a list begins.
fn beginning(query: &AuditQuery) -> Option<String> {
    // Why without the parts after it: all keys of the time before are later than this text.
    let until = query.until_ms.map(|until| ms_back(until.saturating_sub(1)));
    let cursor = query.after.as_ref().map(|at| match query.scope {
        Some(_) => format!("{}/{}", ms_back(at.at_ms), seq_back(at.seq)),
        None => format!("{}/{}/{}", ms_back(at.at_ms), at.scope.part(), seq_back(at.seq)),
    });
    until.max(cursor)
}

/// A key after the scope or the kind, and its record; `None` for one that was dropped meanwhile.
struct Found {
    key: String,
    record: Option<AuditRecord>,
}

fn record_of(scope: &AuditScope, entry: AuditEntry) -> Result<AuditRecord, StoreError> {
    let event = event_of(&entry)?;
    Ok(AuditRecord { scope: scope.clone(), seq: entry.seq, event, hash: entry.hash })
}

async fn of_scope(
    records: &Records,
    scope: &AuditScope,
    after: Option<&str>,
) -> Result<Vec<Found>, StoreError> {
    let page = records.list::<AuditEntry>(&[scope.part()], after, READ_AT_ONCE).await?;
    let found = page.into_iter().map(|(key, entry, _)| {
        let record = record_of(scope, entry)?;
        Ok(Found { key, record: Some(record) })
    });
    found.collect()
}

async fn of_all(records: &Records, after: Option<&str>) -> Result<Vec<Found>, StoreError> {
    let after = after.map(|after| after.split('/').map(str::to_owned).collect::<Vec<_>>());
    let keys = records.keys::<AuditOrder>(&[], after.as_deref(), READ_AT_ONCE).await?;
    let mut found = Vec::with_capacity(keys.len());
    for parts in keys {
        let key = parts.join("/");
        let [ms, scope, seq] = parts.as_slice() else {
            found.push(Found { key, record: None });
            continue;
        };
        let record = match (AuditScope::parse(scope), place_of(ms, seq)) {
            (Some(chain), Some(_)) => {
                let entry = records.get::<AuditEntry>(&[scope, ms, seq]).await?;
                entry.map(|(entry, _)| record_of(&chain, entry)).transpose()?
            }
            _ => None,
        };
        found.push(Found { key, record });
    }
    Ok(found)
}

fn wants(query: &AuditQuery, record: &AuditRecord) -> bool {
    let event = &record.event;
    let is_target = |wanted: &String| {
        event.target.split(' ').any(|target| {
            target.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    query.action.as_ref().is_none_or(|action| event.action == *action)
        && query.target.as_ref().is_none_or(is_target)
        && query.token_id.as_ref().is_none_or(|token| event.actor.token_id.as_ref() == Some(token))
}
