//! Verifies the chains of all workspaces from what is stored: those of one workspace at one moment, a page of rows at a time.
//!
//! What a chain's head says is under a seal, so that rows which are missing at its end are missed, and so is every row
//! between. Its anchor is under none: rows that were taken out from its start on are not missed by somebody who moved the
//! anchor behind them.

use std::collections::BTreeSet;

use deadpool_postgres::Transaction;
use portcullis_store::{RunOrder, RunsProgress, RunsReport, StoreError};
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Row};

use super::continuity::{Continuity, ENDS};
use super::listing::COLUMNS;
use super::row::Checked;
use super::{Shared, column};
use crate::error::unavailable;

/// Rows that are read at once: at 64 KiB each, what memory has room for.
pub(super) const PAGE_ROWS: usize = 500;

/// Findings after which nothing more is looked at: a table that was replaced has as many as it has rows.
const FAULTS_MAX: usize = 100;

/// The next workspace that has a chain, or rows without one.
const NEXT: &str = "\
    (SELECT org, workspace FROM run_heads WHERE (org, workspace) > ($1, $2) ORDER BY org, workspace LIMIT 1) \
    UNION ALL \
    (SELECT org, workspace FROM runs WHERE (org, workspace) > ($1, $2) ORDER BY org, workspace LIMIT 1) \
    ORDER BY org, workspace LIMIT 1";

/// Damage is in the report. The moment of a workspace is kept by a transaction, whose statements are short.
pub(super) async fn verify(
    shared: &Shared,
    page_rows: usize,
    each: RunsProgress<'_>,
) -> Result<RunsReport, StoreError> {
    let mut client = shared.pool.client().await?;
    let mut report = RunsReport::default();
    let mut at = (String::new(), String::new());
    while report.bad.len() < FAULTS_MAX {
        let next = client.query_opt(NEXT, &[&at.0, &at.1]).await.map_err(|error| unavailable(&error))?;
        let Some(next) = next else { break };
        at = (column(&next, "org")?, column(&next, "workspace")?);
        let moment =
            client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
        let moment = moment.start().await.map_err(|error| unavailable(&error))?;
        let own = Workspace { shared, moment: &moment, org: &at.0, name: &at.1 };
        own.verify(page_rows, &mut report, each).await?;
        moment.commit().await.map_err(|error| unavailable(&error))?;
    }
    Ok(report)
}

/// A workspace at one moment.
struct Workspace<'a> {
    shared: &'a Shared,
    moment: &'a Transaction<'a>,
    org: &'a str,
    name: &'a str,
}

impl Workspace<'_> {
    /// Follows each chain from its anchor to its head. Of a chain that is damaged the first fault is reported.
    async fn verify(
        &self,
        page_rows: usize,
        report: &mut RunsReport,
        each: RunsProgress<'_>,
    ) -> Result<(), StoreError> {
        let sealer = &self.shared.sealer;
        let ends = self.query(ENDS, &[&self.org, &self.name]).await?;
        let mut walk = Continuity::new((self.org, self.name), RunOrder::OldestFirst, true, &ends, sealer)?;
        let sql = format!(
            "SELECT {COLUMNS} FROM runs WHERE org = $1 AND workspace = $2 AND pos > $3 ORDER BY pos LIMIT $4"
        );
        let limit = i64::try_from(page_rows).unwrap_or(i64::MAX);
        let mut condemned = BTreeSet::new();
        let mut after = i64::MIN;
        loop {
            let rows = self.query(&sql, &[&self.org, &self.name, &after, &limit]).await?;
            for row in &rows {
                after = column(row, "pos")?;
                let node: String = column(row, "node")?;
                if condemned.contains(&node) {
                    continue;
                }
                match Checked::read(row, sealer).and_then(|row| walk.meet(&row)) {
                    Ok(()) => report.records = report.records.saturating_add(1),
                    Err(error) => {
                        report.note(error)?;
                        condemned.insert(node);
                    }
                }
                if report.bad.len() >= FAULTS_MAX {
                    return Ok(());
                }
            }
            each(report.records);
            if rows.len() < page_rows {
                break;
            }
        }
        for (_, error) in walk.faults().filter(|(node, _)| !condemned.contains(*node)) {
            report.note(error)?;
        }
        Ok(())
    }

    async fn query(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StoreError> {
        let statement = self.moment.prepare_cached(sql).await.map_err(|error| unavailable(&error))?;
        self.moment.query(&statement, values).await.map_err(|error| unavailable(&error))
    }
}
