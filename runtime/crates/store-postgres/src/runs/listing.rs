//! Lists of runs, and single ones. A list reads bounded parts of an index, so that a filter that matches little ends a page
//! early and goes on from there.

use portcullis_core::id::{OrgId, RunId, WorkspaceId};
use portcullis_store::for_backends::runs::RunKey;
use portcullis_store::{
    RunCursor, RunFilter, RunOrder, RunPage, RunPlace, RunQuery, RunRecord, RunScope, StoreError,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Row, Transaction};

use super::continuity::{Continuity, ENDS};
use super::row::{Checked, term};
use super::{Shared, column};
use crate::error::unavailable;
use crate::position::first_at;

/// Rows that one page looks at for a filter: some 50 ms.
const WINDOW_ROWS: i64 = 20_000;

/// Most runs of a page, so that it fits into memory.
const PAGE_RUNS_MAX: usize = 1000;

/// Terms with an index of their own, the one that fewest runs have in common first.
const INDEXED: [&str; 6] = ["event_id", "automation_id", "code", "class", "status", "connector_id"];

pub(super) const COLUMNS: &str = "pos, org, workspace, node, seq, ended_us, run_id, status, class, code, connector_id, connection, \
                       action_id, automation_id, event_id, record, prev, hash";

/// A run of a workspace.
pub(super) async fn get(
    shared: &Shared,
    org: &OrgId,
    workspace: &WorkspaceId,
    run: &RunId,
) -> Result<Option<RunRecord>, StoreError> {
    let client = shared.pool.client().await?;
    let sql = format!(
        "SELECT {COLUMNS} FROM runs WHERE org = $1 AND workspace = $2 AND run_id = $3 ORDER BY pos LIMIT 1"
    );
    let statement = client.prepare_cached(&sql).await.map_err(|error| unavailable(&error))?;
    let row = client.query_opt(&statement, &[&org.as_str(), &workspace.as_str(), &run.as_str()]).await;
    let row = row.map_err(|error| unavailable(&error))?;
    row.map(|row| Ok(Checked::read(&row, &shared.sealer)?.record)).transpose()
}

/// One page, as everything is at one moment; `None` if its cursor is none of this list.
pub(super) async fn page(shared: &Shared, query: &RunQuery) -> Result<Option<RunPage>, StoreError> {
    let mut client = shared.pool.client().await?;
    let moment =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start();
    let moment = moment.await.map_err(|error| unavailable(&error))?;
    let Some(start) = start(&moment, query).await? else { return Ok(None) };
    let limit = query.limit.min(PAGE_RUNS_MAX);
    let wanted = Wanted { query, start, limit, bound: until_bound(&moment, query).await? };
    let (rows, looked_to) = wanted.rows(&moment).await?;
    let mut checked =
        rows.iter().map(|row| Checked::read(row, &shared.sealer)).collect::<Result<Vec<_>, _>>()?;
    let has_more = checked.len() > limit;
    if let RunScope::Workspace(org, workspace) = &query.scope
        && is_unfiltered(&query.filter)
    {
        let ends = moment.query(ENDS, &[&org.as_str(), &workspace.as_str()]).await;
        let ends = ends.map_err(|error| unavailable(&error))?;
        let own = (org.as_str(), workspace.as_str());
        let mut walk = Continuity::new(own, query.order, wanted.start.is_none(), &ends, &shared.sealer)?;
        checked.iter().try_for_each(|row| walk.meet(row))?;
        if !has_more {
            walk.end()?;
        }
    }
    checked.truncate(limit);
    let next = if has_more {
        let last = checked.last().map(|last| wanted.cursor(last));
        Some(last.or_else(|| query.after.clone()).unwrap_or(RunCursor::Start))
    } else {
        looked_to
    };
    // What a column holds the beginning of only is compared as a whole.
    let is_match = |row: &Checked| query.filter.matches_record(row.text.as_bytes());
    let records = checked.into_iter().filter(is_match).map(|row| row.record).collect();
    Ok(Some(RunPage { records, next }))
}

fn is_unfiltered(filter: &RunFilter) -> bool {
    filter.terms().next().is_none() && filter.since_us.is_none() && filter.until_us.is_none()
}

/// Where a list starts: a position, and whether the run there belongs to it.
type Start = Option<(i64, bool)>;

/// `None` for a cursor of another list.
async fn start(moment: &Transaction<'_>, query: &RunQuery) -> Result<Option<Start>, StoreError> {
    let is_timed = !matches!(query.scope, RunScope::Workspace(..));
    match (&query.after, &query.scope) {
        (None | Some(RunCursor::Start), _) => Ok(Some(None)),
        (Some(RunCursor::At(place)), scope) => {
            let is_own = match scope {
                RunScope::Workspace(org, workspace) => {
                    *org == place.key.org && *workspace == place.key.workspace
                }
                RunScope::Org(_) | RunScope::All => true,
            };
            let pos = i64::try_from(place.key.record).unwrap_or(i64::MAX);
            Ok((is_own && place.timed == is_timed).then_some(Some((pos, place.inclusive))))
        }
        (Some(RunCursor::Run(run)), RunScope::Workspace(org, workspace)) => {
            let sql = "SELECT min(pos) FROM runs WHERE org = $1 AND workspace = $2 AND run_id = $3";
            let row = moment.query_one(sql, &[&org.as_str(), &workspace.as_str(), &run.as_str()]).await;
            let pos = row.and_then(|row| row.try_get::<_, Option<i64>>(0));
            Ok(pos.map_err(|error| unavailable(&error))?.map(|pos| Some((pos, false))))
        }
        (Some(RunCursor::Run(_)), _) => Ok(None),
    }
}

/// The position behind which no run ended before `until`: that time, and what positions are ahead of ends.
async fn until_bound(moment: &Transaction<'_>, query: &RunQuery) -> Result<Option<i64>, StoreError> {
    let Some(until) = query.filter.until_us else { return Ok(None) };
    let (org, workspace) = names(&query.scope);
    let sql = "SELECT coalesce(max(shift_us), 0) FROM run_heads \
               WHERE ($1::text IS NULL OR org = $1) AND ($2::text IS NULL OR workspace = $2)";
    let row = moment.query_one(sql, &[&org, &workspace]).await.map_err(|error| unavailable(&error))?;
    let shift: i64 = row.try_get(0).map_err(|error| unavailable(&error))?;
    Ok(Some(first_at(until.saturating_add(u64::try_from(shift).unwrap_or_default()).saturating_add(1))))
}

fn names(scope: &RunScope) -> (Option<&str>, Option<&str>) {
    match scope {
        RunScope::Workspace(org, workspace) => (Some(org.as_str()), Some(workspace.as_str())),
        RunScope::Org(org) => (Some(org.as_str()), None),
        RunScope::All => (None, None),
    }
}

/// A query that is being put together.
struct Wanted<'a> {
    query: &'a RunQuery,
    start: Start,
    limit: usize,
    /// Positions from here on are not wanted.
    bound: Option<i64>,
}

/// Conditions of a statement with their values.
#[derive(Default)]
struct Conditions {
    texts: Vec<String>,
    values: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Conditions {
    /// A condition with `?` for its value.
    fn add(&mut self, condition: &str, value: impl ToSql + Sync + Send + 'static) {
        self.values.push(Box::new(value));
        self.texts.push(condition.replace('?', &format!("${}", self.values.len())));
    }

    fn joined(&self) -> String {
        if self.texts.is_empty() { "true".to_owned() } else { self.texts.join(" AND ") }
    }

    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
    }
}

impl Wanted<'_> {
    /// The rows of the page and one more, and where the look ended, if it was before the list's end.
    async fn rows(&self, moment: &Transaction<'_>) -> Result<(Vec<Row>, Option<RunCursor>), StoreError> {
        let filter = &self.query.filter;
        let order = match self.query.order {
            RunOrder::NewestFirst => "DESC",
            RunOrder::OldestFirst => "ASC",
        };
        let mut conditions = self.range();
        let is_org = !matches!(self.query.scope, RunScope::All);
        let indexed = INDEXED.iter().find(|name| is_org && filter.terms().any(|(own, _)| own == **name));
        for (name, value) in filter.terms().filter(|(name, _)| indexed == Some(name)) {
            conditions.add(&format!("{name} = ?"), term(value));
            if name == "status" && value != "succeeded" {
                // Said, so that the index of those is used.
                conditions.texts.push("status <> 'succeeded'".to_owned());
            }
        }
        let inner = conditions.joined();
        let (rest_from, inner_values) = (conditions.texts.len(), conditions.values.len());
        for (name, value) in filter.terms().filter(|(name, _)| indexed != Some(name)) {
            conditions.add(&format!("{name} = ?"), term(value));
        }
        if let Some(since) = filter.since_us {
            conditions.add("ended_us >= ?", i64::try_from(since).unwrap_or(i64::MAX));
        }
        if let Some(until) = filter.until_us {
            conditions.add("ended_us < ?", i64::try_from(until).unwrap_or(i64::MAX));
        }
        let rest = conditions.texts.get(rest_from..).unwrap_or_default();
        let wanted_rows = self.limit.saturating_add(1);
        let (window, outer) = match rest {
            [] => (i64::try_from(wanted_rows).unwrap_or(i64::MAX), "true".to_owned()),
            rest => (WINDOW_ROWS, rest.join(" AND ")),
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM (SELECT {COLUMNS} FROM runs WHERE {inner} ORDER BY pos {order} LIMIT {window}) w \
             WHERE {outer} ORDER BY pos {order} LIMIT {wanted_rows}"
        );
        let rows =
            moment.query(sql.as_str(), &conditions.values()).await.map_err(|error| unavailable(&error))?;
        if rest.is_empty() || rows.len() >= wanted_rows {
            return Ok((rows, None));
        }
        // Why once more: the rows of the window that did not match are not here.
        let sql = format!(
            "SELECT pos, org, workspace FROM runs WHERE {inner} ORDER BY pos {order} OFFSET {} LIMIT 1",
            window.saturating_sub(1)
        );
        let values = conditions.values();
        let last = moment.query_opt(sql.as_str(), values.get(..inner_values).unwrap_or_default()).await;
        let last = last.map_err(|error| unavailable(&error))?;
        let looked_to = last.map(|row| self.cursor_of(&row)).transpose()?;
        Ok((rows, looked_to))
    }

    /// Whose runs, from where on.
    fn range(&self) -> Conditions {
        let mut conditions = Conditions::default();
        let (org, workspace) = names(&self.query.scope);
        if let Some(org) = org {
            conditions.add("org = ?", org.to_owned());
        }
        if let Some(workspace) = workspace {
            conditions.add("workspace = ?", workspace.to_owned());
        }
        if let Some((pos, inclusive)) = self.start {
            let comparison = match (self.query.order, inclusive) {
                (RunOrder::NewestFirst, false) => "pos < ?",
                (RunOrder::NewestFirst, true) => "pos <= ?",
                (RunOrder::OldestFirst, false) => "pos > ?",
                (RunOrder::OldestFirst, true) => "pos >= ?",
            };
            conditions.add(comparison, pos);
        }
        if let Some(since) = self.query.filter.since_us {
            // No position is before the end of its run.
            conditions.add("pos >= ?", first_at(since));
        }
        if let Some(bound) = self.bound {
            conditions.add("pos < ?", bound);
        }
        conditions
    }

    fn cursor(&self, row: &Checked) -> RunCursor {
        self.place(row.record.org.clone(), row.record.workspace.clone(), row.pos)
    }

    fn cursor_of(&self, row: &Row) -> Result<RunCursor, StoreError> {
        let (org, workspace): (String, String) = (column(row, "org")?, column(row, "workspace")?);
        let bad = |error: portcullis_core::id::InvalidId| StoreError::Unavailable(error.to_string());
        let (org, workspace) =
            (OrgId::parse(&org).map_err(bad)?, WorkspaceId::parse(&workspace).map_err(bad)?);
        Ok(self.place(org, workspace, column(row, "pos")?))
    }

    fn place(&self, org: OrgId, workspace: WorkspaceId, pos: i64) -> RunCursor {
        let timed = !matches!(self.query.scope, RunScope::Workspace(..));
        let record = u64::try_from(pos).unwrap_or_default();
        let us = if timed { record >> 11 } else { 0 };
        let key = RunKey { us, org, workspace, unit: 0, record };
        RunCursor::At(RunPlace { key, inclusive: false, timed })
    }
}
