//! The log of changes: one row for each commit, without a gap up to the head.

use portcullis_store::{Change, LIST_ENTRIES_MAX, StoreError};
use tokio_postgres::Row;

use crate::error::damaged;
use crate::head::{HEAD_COLUMNS, Head, column, number};
use crate::seal::{Seal, Sealer, is_same};

use super::Shared;
use super::reading::rows;

/// Commits that one query reads.
const PAGE_COMMITS: usize = 500;

/// The timeline of the server: a number that a promotion changes.
const TIMELINE: &str = "left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)";

/// Adds a line to the changes of a commit: a sign and the key. Keys have no control characters.
pub(super) fn add_change(changes: &mut String, key: &str, deleted: bool) {
    changes.push(if deleted { '-' } else { '+' });
    changes.push_str(key);
    changes.push('\n');
}

/// What tells a commit from every other one, also from one with the same number and the same changes: its seal, which
/// covers the token of its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) seq: u64,
    pub(super) seal: Seal,
}

/// One row of the log.
pub(super) struct Commit {
    pub(super) mark: Mark,
    pub(super) changes: Vec<Change>,
}

impl Commit {
    /// Reads sequence, changes, seal and token from these columns on.
    pub(super) fn read(row: &Row, from: usize, sealer: &Sealer) -> Result<Self, StoreError> {
        let number: i64 = column(row, from)?;
        let text: &str = column(row, from.saturating_add(1))?;
        let seal: &[u8] = column(row, from.saturating_add(2))?;
        let token: Option<&[u8]> = column(row, from.saturating_add(3))?;
        let wrong = || damaged(format!("commit {number} in the log of changes is not what was written"));
        let seq = u64::try_from(number).map_err(|_| wrong())?;
        let computed = sealer.changes(seq, text, token);
        if !is_same(&computed, seal) {
            return Err(wrong());
        }
        let line = |line: &str| {
            let (sign, key) = line.split_at_checked(1)?;
            Some(Change { seq, key: key.to_owned(), deleted: sign == "-" })
        };
        let changes = text.lines().map(line).collect::<Option<_>>().ok_or_else(wrong)?;
        Ok(Self { mark: Mark { seq, seal: computed }, changes })
    }
}

/// Changes of the commits after `since`, as the trait says.
pub(super) async fn changes(shared: &Shared, since: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
    let limit = limit.min(LIST_ENTRIES_MAX);
    let (mut found, mut after) = (Vec::new(), since);
    loop {
        let page = page(shared, after).await?;
        if since < page.floor {
            return Err(StoreError::ChangesTruncated { since, floor: page.floor });
        }
        for commit in page.commits {
            if found.len() >= limit {
                return Ok(found);
            }
            after = commit.mark.seq;
            found.extend(commit.changes);
        }
        if after >= page.seq {
            return Ok(found);
        }
    }
}

/// A part of the log.
struct Page {
    /// The last commit of the store.
    seq: u64,
    /// Who has not read until here reads everything again.
    floor: u64,
    commits: Vec<Commit>,
}

/// The next commits after this one. It is read as well, because it has to be the one that was read before.
async fn page(shared: &Shared, after: u64) -> Result<Page, StoreError> {
    let query = format!(
        "SELECT {HEAD_COLUMNS}, c.seq, c.changes, c.seal, c.token, {TIMELINE} FROM store_head h LEFT JOIN LATERAL
         (SELECT * FROM change_log WHERE seq >= $1 ORDER BY seq LIMIT $2) c ON true ORDER BY c.seq"
    );
    let history = &shared.history;
    let seen = history.seen();
    let from = number(after);
    let limit = i64::try_from(PAGE_COMMITS.saturating_add(1)).unwrap_or(i64::MAX);
    let rows = rows(shared, &query, &[&from, &limit]).await?;
    let first = rows.first().ok_or_else(|| damaged("the head of the records is gone"))?;
    let head = Head::read(first, &shared.sealer)?;
    history.see(head.seq, seen)?;
    let (mut commits, mut known) = (Vec::new(), None);
    let mut before = after;
    for row in &rows {
        if column::<Option<i64>>(row, 6)?.is_none() {
            break;
        }
        let commit = Commit::read(row, 6, &shared.sealer)?;
        if commit.mark.seq == after {
            known = Some(commit.mark);
            continue;
        }
        if commit.mark.seq != before.saturating_add(1) && after >= head.floor {
            return Err(missing(before));
        }
        before = commit.mark.seq;
        commits.push(commit);
    }
    if commits.len() < PAGE_COMMITS && before < head.seq && after >= head.floor {
        return Err(missing(before));
    }
    if known.is_none() && after > head.floor && after <= head.seq {
        return Err(missing(after.saturating_sub(1)));
    }
    for mark in known.into_iter().chain(commits.iter().map(|commit| commit.mark)) {
        history.note_read(mark)?;
    }
    history.note_seen(head.seq);
    let read_again = history.read_again_until(column(first, 10)?, head.seq);
    Ok(Page { seq: head.seq, floor: head.floor.max(read_again), commits })
}

fn missing(after: u64) -> StoreError {
    damaged(format!("the commit after {after} is missing from the log of changes"))
}
