//! What a look at all runs found. Made by the backends; read by checks and before a move.

use super::query::{RunFilter, RunOrder, RunQuery, RunScope};
use super::{Runs, RunsProgress};
use crate::error::StoreError;

/// Records of one page of a look: at 64 KiB each, what memory has room for.
const PAGE: usize = 500;

/// What a look at all runs found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunsReport {
    /// Records that are as they were written.
    pub records: u64,
    /// What is not, or is missing.
    pub bad: Vec<RunsFault>,
}

/// Runs that are not what was written, or are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunsFault {
    /// The file or the row.
    pub place: String,
    /// What is wrong there.
    pub reason: String,
}

impl RunsReport {
    /// Takes damage into the report.
    ///
    /// # Errors
    /// Other errors go on.
    pub fn note(&mut self, error: StoreError) -> Result<(), StoreError> {
        let (place, reason) = match error {
            StoreError::DamagedFile { file, reason } => (file, reason),
            StoreError::DamagedRow { row, reason } => (row, reason),
            StoreError::Damaged { what, .. } => (String::new(), what),
            error => return Err(error),
        };
        self.bad.push(RunsFault { place, reason });
        Ok(())
    }
}

/// Reads all runs as lists do, up to the first that is damaged.
pub(super) async fn verify_pages<R: Runs + ?Sized>(
    runs: &R,
    each: RunsProgress<'_>,
) -> Result<RunsReport, StoreError> {
    let mut report = RunsReport::default();
    let mut query = RunQuery {
        scope: RunScope::All,
        filter: RunFilter::default(),
        order: RunOrder::OldestFirst,
        after: None,
        limit: PAGE,
    };
    loop {
        let page = match runs.query(&query).await {
            Ok(Some(page)) => page,
            Ok(None) => {
                let reason = "a page of runs cannot be gone on from".to_owned();
                return Err(StoreError::Unavailable(reason));
            }
            Err(error) => {
                report.note(error)?;
                return Ok(report);
            }
        };
        report.records = report.records.saturating_add(page.records.len() as u64);
        each(report.records);
        if page.next.is_none() {
            return Ok(report);
        }
        query.after = page.next;
    }
}
