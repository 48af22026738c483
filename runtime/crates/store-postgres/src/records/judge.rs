//! What a group of batches changes: each is judged in turn, as if the ones before it were committed already.

use std::collections::HashMap;

use portcullis_store::{Batch, StoreError};

use crate::head::{Head, number};
use crate::seal::{Seal, Sealer};

use super::feed::{self, Mark};

/// What is there under a key.
#[derive(Clone, Copy)]
pub(super) struct There {
    pub(super) revision: u64,
    pub(super) seal: Seal,
}

/// What becomes of a key.
#[derive(Default)]
struct Entry<'a> {
    there: Option<There>,
    /// `None`: it stays as it is.
    becomes: Option<Becomes<'a>>,
}

enum Becomes<'a> {
    Put { value: &'a [u8], appended: bool },
    Deleted,
}

/// The state of the store while batches are judged.
pub(super) struct Judged<'a> {
    sealer: &'a Sealer,
    token: Token,
    pub(super) head: Head,
    entries: HashMap<String, Entry<'a>>,
    pub(super) log: Log,
}

/// Random bytes of one transaction.
pub(super) type Token = [u8; TOKEN_BYTES];

/// Enough that no two transactions have the same.
const TOKEN_BYTES: usize = 16;

/// A new token.
pub(super) fn token() -> Result<Token, StoreError> {
    let mut token = Token::default();
    getrandom::fill(&mut token)
        .map_err(|error| StoreError::Unavailable(format!("the system has no random bytes: {error}")))?;
    Ok(token)
}

/// Rows of the log of changes, by column.
#[derive(Default)]
pub(super) struct Log {
    /// The first of them, by which they are found again.
    pub(super) first: Option<Mark>,
    pub(super) seqs: Vec<i64>,
    pub(super) changes: Vec<String>,
    pub(super) seals: Vec<Vec<u8>>,
}

/// Rows of records, by column.
#[derive(Default)]
pub(super) struct Columns<'a> {
    pub(super) keys: Vec<&'a str>,
    pub(super) values: Vec<&'a [u8]>,
    pub(super) revisions: Vec<i64>,
    pub(super) seals: Vec<&'a [u8]>,
}

/// What is written in the end.
#[derive(Default)]
pub(super) struct Rows<'a> {
    pub(super) puts: Columns<'a>,
    /// Rows whose keys have a sequence in them, so that there is none yet.
    pub(super) appends: Columns<'a>,
    pub(super) deletes: Vec<&'a str>,
}

impl<'a> Judged<'a> {
    pub(super) fn new(sealer: &'a Sealer, token: Token, head: Head, there: HashMap<String, There>) -> Self {
        let entry = |there| Entry { there: Some(there), becomes: None };
        let entries = there.into_iter().map(|(key, there)| (key, entry(there))).collect();
        Self { sealer, token, head, entries, log: Log::default() }
    }

    /// The sequence of a batch, or why it is refused; it has then changed nothing.
    pub(super) fn judge(&mut self, batch: &'a Batch) -> Result<u64, StoreError> {
        for (key, precondition) in batch.preconditions() {
            let there = self.entries.get(key).and_then(|entry| entry.there);
            if !precondition.holds(there.map(|there| there.revision)) {
                return Err(StoreError::Conflict { key: key.clone() });
            }
        }
        if batch.writes_nothing() {
            return Ok(self.head.seq);
        }
        let seq = self.head.seq.saturating_add(1);
        self.head.seq = seq;
        let mut changes = String::new();
        let plain = batch.writes().iter().map(|(key, value)| (key.clone(), value.as_deref(), false));
        let appended = batch.appends().iter();
        let appended =
            appended.map(|(prefix, value)| (Batch::appended_key(prefix, seq), Some(&**value), true));
        for (key, value, is_append) in plain.chain(appended) {
            let entry = self.entries.entry(key.clone()).or_default();
            let before = entry.there.take();
            if let Some(before) = &before {
                self.head.take_away(self.sealer, &before.seal);
            }
            match value {
                Some(value) => {
                    let seal = self.sealer.record(&key, seq, value);
                    self.head.add(self.sealer, &seal);
                    entry.there = Some(There { revision: seq, seal });
                    entry.becomes = Some(Becomes::Put { value, appended: is_append });
                    feed::add_change(&mut changes, &key, false);
                }
                None if before.is_some() => {
                    entry.becomes = Some(Becomes::Deleted);
                    feed::add_change(&mut changes, &key, true);
                }
                None => {}
            }
        }
        let seal = self.sealer.changes(seq, &changes, Some(&self.token));
        self.log.first.get_or_insert(Mark { seq, seal });
        self.log.seals.push(seal.to_vec());
        self.log.seqs.push(number(seq));
        self.log.changes.push(changes);
        Ok(seq)
    }

    /// The token of all rows of the log.
    pub(super) fn token(&self) -> &[u8] {
        &self.token
    }

    /// What is written in the end.
    pub(super) fn rows(&self) -> Rows<'_> {
        let mut rows = Rows::default();
        for (key, entry) in &self.entries {
            match (&entry.becomes, &entry.there) {
                (Some(Becomes::Put { value, appended }), Some(there)) => {
                    let columns = if *appended { &mut rows.appends } else { &mut rows.puts };
                    columns.keys.push(key);
                    columns.values.push(value);
                    columns.revisions.push(number(there.revision));
                    columns.seals.push(&there.seal);
                }
                (Some(Becomes::Deleted), _) => rows.deletes.push(key),
                _ => {}
            }
        }
        rows
    }
}
