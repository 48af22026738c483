//! The check of the whole store: every seal, the digest over all, and what the log says of each key.

use std::collections::HashMap;

use deadpool_postgres::Object;
use portcullis_store::StoreError;

use crate::error::unavailable;
use crate::head::{Head, column, number};

use super::Shared;
use super::archive::{begin_reading, page_after};
use super::feed::Commit;
use super::reading::Record;

/// Findings that a report names; a store that was replaced has as many as it has records.
const FINDINGS_MAX: usize = 100;

/// Commits that are read with one statement.
const PAGE_COMMITS: i64 = 500;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordsReport {
    /// Records that were read.
    pub records: u64,
    /// The last commit.
    pub seq: u64,
    /// What is wrong, a sentence each; empty if nothing is.
    pub findings: Vec<String>,
}

impl RecordsReport {
    fn note(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    /// Takes what is damaged into the report; other errors go on.
    fn noting<T>(&mut self, result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(StoreError::Damaged { what, .. }) => {
                self.note(what);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// What the log of changes says last of a key.
struct Last {
    seq: u64,
    deleted: bool,
}

pub(super) async fn verify(shared: &Shared) -> Result<RecordsReport, StoreError> {
    let client = shared.pool.client().await?;
    let report = on(shared, &client).await;
    // Its transaction ends with it.
    drop(Object::take(client));
    report
}

async fn on(shared: &Shared, client: &Object) -> Result<RecordsReport, StoreError> {
    let mut report = RecordsReport::default();
    let head = begin_reading(shared, client).await;
    let Some(head) = report.noting(head)? else { return Ok(report) };
    report.seq = head.seq;
    let mut last = log(shared, client, &head, &mut report).await?;
    let mut found = Head::default();
    let mut after = String::new();
    loop {
        let rows = page_after(client, &after).await?;
        let Some(end) = rows.last() else { break };
        after = column(end, 0)?;
        for row in &rows {
            report.records = report.records.saturating_add(1);
            let key: String = column(row, 0)?;
            let said = last.remove(&key);
            let Some(record) = report.noting(Record::read(row, &shared.sealer))? else { continue };
            found.add(&shared.sealer, &record.seal);
            let revision = record.found.revision;
            match said {
                Some(Last { deleted: true, seq }) => {
                    report.note(format!("record {key} is there, and commit {seq} deleted it"));
                }
                Some(Last { seq, .. }) if seq != revision => {
                    report.note(format!(
                        "record {key} is of commit {revision}, and commit {seq} wrote it last"
                    ));
                }
                None if revision > head.floor => {
                    report.note(format!("record {key} is of commit {revision}, whose log does not name it"));
                }
                _ => {}
            }
        }
    }
    for (key, said) in last {
        if !said.deleted {
            report.note(format!("record {key} is missing; commit {} wrote it", said.seq));
        }
    }
    if report.findings.is_empty() && !found.has_records_of(&head) {
        report.note("records are missing, were added, or are older ones than were written".to_owned());
    }
    Ok(report)
}

/// Reads the whole log of changes.
async fn log(
    shared: &Shared,
    client: &Object,
    head: &Head,
    report: &mut RecordsReport,
) -> Result<HashMap<String, Last>, StoreError> {
    let mut last = HashMap::new();
    let mut before = head.floor;
    loop {
        let query = "SELECT seq, changes, seal, token FROM change_log WHERE seq > $1 ORDER BY seq LIMIT $2";
        let rows = client.query(query, &[&number(before), &PAGE_COMMITS]).await;
        let rows = rows.map_err(|error| unavailable(&error))?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            let seq = u64::try_from(column::<i64>(row, 0)?).unwrap_or(0);
            if seq != before.saturating_add(1) {
                report.note(format!(
                    "the commits from {} to {} are missing from the log",
                    before + 1,
                    seq - 1
                ));
            }
            before = seq;
            if let Some(commit) = report.noting(Commit::read(row, 0, &shared.sealer))? {
                for change in commit.changes {
                    last.insert(change.key, Last { seq, deleted: change.deleted });
                }
            }
        }
    }
    if before < head.seq {
        report.note(format!("the commits from {} to {} are missing from the log", before + 1, head.seq));
    } else if before > head.seq {
        report.note(format!("the log goes on to commit {before}, and the last one is {}", head.seq));
    }
    Ok(last)
}
