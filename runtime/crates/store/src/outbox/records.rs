//! Outboxes as records of a [`Store`]: `outbox/<org>/<number>` is an entry, `outbox_dropped/<org>` says what is gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use portcullis_core::id::OrgId;
use portcullis_core::sync::lock;
use serde::{Deserialize, Serialize};

use super::{Outbox, OutboxCut, OutboxEntry, OutboxPage, OutboxRecord};
use crate::backend::{Batch, LIST_ENTRIES_MAX, Precondition, Store, Versioned};
use crate::error::StoreError;
use crate::task::BoxFuture;

/// Entries deleted in one batch.
const DELETED_AT_ONCE: usize = 100;
/// How often a deletion is tried again when another was faster.
const STEPS_MAX: usize = 32;
/// Orgs whose number of entries is remembered.
const COUNTED_MAX: usize = 10_000;
/// After every digit.
const AFTER_ALL: char = '~';

const ALL: &str = "outbox/";

/// Prefix of an org's entries.
#[must_use]
pub fn entries_of(org: &OrgId) -> String {
    format!("{ALL}{org}/")
}

fn key_of(org: &OrgId, seq: u64) -> String {
    Batch::appended_key(&entries_of(org), seq)
}

fn dropped_key(org: &OrgId) -> String {
    format!("outbox_dropped/{org}")
}

/// What is gone of an outbox.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dropped {
    /// Entries that were too old or too many.
    count: u64,
    /// The last number that is gone, for whatever reason.
    through: u64,
}

/// How many entries an org has, as far as they were counted.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    entries: u64,
    through: u64,
}

/// Outboxes in a store.
pub struct RecordOutbox {
    store: Arc<dyn Store>,
    /// Why remembered: an org may have a hundred thousand, and only new ones have to be counted.
    counted: Mutex<HashMap<OrgId, Counted>>,
}

fn unreadable(key: &str, reason: String) -> StoreError {
    StoreError::Unreadable { key: key.to_owned(), kind: "outbox", reason }
}

fn parse<'v, T: Deserialize<'v>>(key: &str, value: &'v [u8]) -> Result<T, StoreError> {
    // Why not serde's text: it quotes what it did not expect.
    serde_json::from_slice(value).map_err(|error| {
        unreadable(key, format!("{:?} error at column {}", error.classify(), error.column()))
    })
}

fn seq_of(key: &str) -> Result<u64, StoreError> {
    let seq = key.rsplit('/').next().and_then(|digits| digits.parse().ok());
    seq.ok_or_else(|| unreadable(key, "its key ends with no number".to_owned()))
}

impl RecordOutbox {
    /// The outboxes in that store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, counted: Mutex::default() }
    }

    async fn list(
        &self,
        org: &OrgId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(String, Versioned)>, StoreError> {
        self.store.list(&entries_of(org), Some(&key_of(org, after)), limit).await
    }

    async fn dropped(&self, org: &OrgId) -> Result<(Dropped, Precondition), StoreError> {
        let key = dropped_key(org);
        Ok(match self.store.get(&key).await? {
            Some(found) => (parse(&key, &found.value)?, Precondition::Revision(found.revision)),
            None => (Dropped::default(), Precondition::Absent),
        })
    }

    /// Deletes these entries of an org, which are its oldest, and notes that they are gone.
    async fn delete(&self, org: &OrgId, keys: &[String], counts: bool) -> Result<(), StoreError> {
        let Some(last) = keys.last() else { return Ok(()) };
        let through = seq_of(last)?;
        for _ in 0..STEPS_MAX {
            let (before, unchanged) = self.dropped(org).await?;
            let more = if counts { keys.len() as u64 } else { 0 };
            let after =
                Dropped { count: before.count.saturating_add(more), through: before.through.max(through) };
            let key = dropped_key(org);
            let text = serde_json::to_vec(&after).map_err(|error| unreadable(&key, error.to_string()))?;
            let batch = Batch::new().require(key.clone(), unchanged).put(key, text);
            let batch = keys.iter().fold(batch, |batch, key| batch.delete(key.clone()));
            match self.store.commit(batch).await {
                // Why again: another process dropped some, and the number must be right.
                Err(StoreError::Conflict { .. }) => {}
                done => {
                    done?;
                    if let Some(counted) = lock(&self.counted).get_mut(org) {
                        counted.entries = counted.entries.saturating_sub(keys.len() as u64);
                    }
                    return Ok(());
                }
            }
        }
        Err(StoreError::Conflict { key: dropped_key(org) })
    }

    /// Drops entries from before a time, until one is younger.
    async fn drop_old(&self, org: &OrgId, before_ms: u64) -> Result<(), StoreError> {
        loop {
            let page = self.list(org, 0, DELETED_AT_ONCE).await?;
            let mut old = Vec::new();
            for (key, found) in &page {
                if parse::<OutboxRecord>(key, &found.value)?.at_ms >= before_ms {
                    break;
                }
                old.push(key.clone());
            }
            self.delete(org, &old, true).await?;
            if old.len() < DELETED_AT_ONCE {
                return Ok(());
            }
        }
    }

    /// Counts an org's entries on from what is known.
    async fn count(&self, org: &OrgId, from: Counted) -> Result<Counted, StoreError> {
        let mut counted = from;
        loop {
            let page = self.list(org, counted.through, LIST_ENTRIES_MAX).await?;
            counted.entries = counted.entries.saturating_add(page.len() as u64);
            if let Some((last, _)) = page.last() {
                counted.through = seq_of(last)?;
            }
            if page.len() < LIST_ENTRIES_MAX {
                break;
            }
        }
        let mut known = lock(&self.counted);
        if known.len() >= COUNTED_MAX {
            known.clear();
        }
        known.insert(org.clone(), counted);
        Ok(counted)
    }

    async fn trimmed(&self, org: &OrgId, cut: OutboxCut) -> Result<u64, StoreError> {
        self.drop_old(org, cut.before_ms).await?;
        let known = lock(&self.counted).get(org).copied().unwrap_or_default();
        let mut entries = self.count(org, known).await?.entries;
        if entries > cut.entries {
            // Why from the beginning: another process may have dropped some of those that were counted.
            entries = self.count(org, Counted::default()).await?.entries;
        }
        while entries > cut.entries {
            let wanted = usize::try_from(entries - cut.entries).unwrap_or(DELETED_AT_ONCE);
            let page = self.list(org, 0, wanted.min(DELETED_AT_ONCE)).await?;
            if page.is_empty() {
                return Ok(0);
            }
            let keys: Vec<String> = page.into_iter().map(|(key, _)| key).collect();
            self.delete(org, &keys, true).await?;
            entries = entries.saturating_sub(keys.len() as u64);
        }
        Ok(entries)
    }
}

impl Outbox for RecordOutbox {
    fn read<'a>(
        &'a self,
        org: &'a OrgId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<OutboxPage, StoreError>> {
        Box::pin(async move {
            let limit = limit.min(LIST_ENTRIES_MAX - 1);
            let mut found = self.list(org, after, limit.saturating_add(1)).await?;
            // Why after the entries: what is dropped before they are read is then known to be gone.
            let (dropped, _) = self.dropped(org).await?;
            let has_more = found.len() > limit;
            found.truncate(limit);
            let mut entries = Vec::with_capacity(found.len());
            for (key, value) in &found {
                entries.push(OutboxEntry { seq: seq_of(key)?, record: parse(key, &value.value)? });
            }
            let has_gap = after > 0 && after < dropped.through;
            Ok(OutboxPage { entries, has_more, has_gap, dropped: dropped.count })
        })
    }

    fn remove_through<'a>(&'a self, org: &'a OrgId, seq: u64) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            loop {
                let page = self.list(org, 0, DELETED_AT_ONCE).await?;
                let mut keys = Vec::with_capacity(page.len());
                for (key, _) in page {
                    if seq_of(&key)? > seq {
                        break;
                    }
                    keys.push(key);
                }
                self.delete(org, &keys, false).await?;
                if keys.len() < DELETED_AT_ONCE {
                    return Ok(());
                }
            }
        })
    }

    fn trim<'a>(&'a self, org: &'a OrgId, cut: OutboxCut) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(self.trimmed(org, cut))
    }

    fn orgs(&self) -> BoxFuture<'_, Result<Vec<OrgId>, StoreError>> {
        Box::pin(async move {
            let (mut orgs, mut after) = (Vec::new(), None::<String>);
            loop {
                let next = self.store.list(ALL, after.as_deref(), 1).await?;
                let Some((key, _)) = next.first() else { return Ok(orgs) };
                match key.split('/').nth(1).and_then(|org| OrgId::parse(org).ok()) {
                    Some(org) => {
                        after = Some(format!("{}{AFTER_ALL}", entries_of(&org)));
                        orgs.push(org);
                    }
                    None => after = Some(key.clone()),
                }
            }
        })
    }

    fn remove<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            loop {
                let page = self.list(org, 0, DELETED_AT_ONCE).await?;
                let batch = page.iter().fold(Batch::new(), |batch, (key, _)| batch.delete(key.clone()));
                if page.len() < DELETED_AT_ONCE {
                    self.store.commit(batch.delete(dropped_key(org))).await?;
                    lock(&self.counted).remove(org);
                    return Ok(());
                }
                self.store.commit(batch).await?;
            }
        })
    }
}
