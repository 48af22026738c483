//! Pages of an org's entries, newest first, and exports, oldest first.
//!
//! Every record's own hash is checked, and that it continues the record before in its chain: what is missing, changed or
//! in another place is an error and never a shorter answer. Of the pages, only as far back as they read.

use std::collections::HashMap;
use std::ops::ControlFlow;

use deadpool_postgres::Transaction;
use portcullis_core::id::{EntryId, NodeId, OrgId};
use portcullis_store::for_backends::Link;
use portcullis_store::for_backends::ledger::{Chain, ChainsWalk, PASSED_MAX, PageBuilder, ROWS, parse};
use portcullis_store::{BadRecord, LedgerError, LedgerLine, LedgerPage, LedgerQuery, LedgerSink};
use tokio_postgres::IsolationLevel;

use super::importing::NO_NODE;
use super::walking::{Known, Reader, Record, known};
use super::{Shared, failed, signed, unsigned};

/// Reads one page, as everything is at one moment.
pub(super) async fn read(
    shared: &Shared,
    org: &OrgId,
    query: &LedgerQuery,
) -> Result<LedgerPage, LedgerError> {
    let mut page = PageBuilder::of_chains(query);
    let mut client = shared.client().await?;
    let moment =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start();
    let moment = moment.await.map_err(|error| failed(&error))?;
    let mut back = BackWalk::new(org, known(&moment, shared, org).await?, page.newest().is_some())?;
    if pass_over(&moment, org, &mut page).await?.is_break() {
        return page.finish();
    }
    let newest = page.newest().map_or(i64::MAX, |newest| signed(newest.saturating_add(1)));
    let before = page.before().map_or(i64::MAX, signed).min(newest);
    let mut reader = Reader::backward(before);
    loop {
        let records = reader.next_back(&moment, org).await?;
        if records.is_empty() {
            back.end()?;
            return page.finish();
        }
        for record in &records {
            let line = back.step(record)?;
            if page.add_at(unsigned(record.pos), line).is_break() {
                return page.finish();
            }
        }
    }
}

/// Of the records of earlier pages, whole lines of ends of attempts, and the beginnings of others.
const PASSED: &str = "\
    SELECT pos, node, seq, CASE WHEN substr(line, 1, 400) LIKE '%\"phase\":\"complete\"%' THEN line \
        ELSE substr(line, 1, 400) END \
    FROM ledger_records WHERE org = $1 AND pos >= $2 AND pos <= $3 ORDER BY pos DESC LIMIT $4";

/// The record after the last that is gone over again.
const REACH: &str = "SELECT pos FROM ledger_records WHERE org = $1 AND pos >= $2 AND pos <= $3 ORDER BY pos \
                     OFFSET $4 LIMIT 1";

/// Rows of those that are read at once.
const PASSED_ROWS: i64 = 4096;

/// Goes over the records of earlier pages for the ends of attempts that are on this one.
async fn pass_over(
    moment: &Transaction<'_>,
    org: &OrgId,
    page: &mut PageBuilder<'_>,
) -> Result<ControlFlow<()>, LedgerError> {
    let (Some(before), Some(newest)) = (page.before().map(signed), page.newest().map(signed)) else {
        return Ok(ControlFlow::Continue(()));
    };
    if newest < before {
        return Ok(ControlFlow::Continue(()));
    }
    // Those closest to this page: an attempt that ended later than those is shown as it began.
    let reach = moment.query_opt(REACH, &[&org.as_str(), &before, &newest, &signed(PASSED_MAX)]).await;
    let mut to = match reach.map_err(|error| failed(&error))? {
        Some(row) => row.try_get::<_, i64>(0).map_err(|error| failed(&error))?.saturating_sub(1),
        None => newest,
    };
    loop {
        let rows = moment.query(PASSED, &[&org.as_str(), &before, &to, &PASSED_ROWS]).await;
        let rows = rows.map_err(|error| failed(&error))?;
        for row in &rows {
            let record = Record::read(row)?;
            to = record.pos.saturating_sub(1);
            let taken = match parse(org, record.line.as_bytes()) {
                Ok(raw) => {
                    let line = LedgerLine::from_raw(&record.line, &raw);
                    page.add_at(unsigned(record.pos), line.map_err(|reason| bad(org, &record, reason))?)
                }
                Err(reason) => page.pass(&entry_of(&record.line).ok_or_else(|| bad(org, &record, reason))?),
            };
            if taken.is_break() {
                return Ok(taken);
            }
        }
        if signed(rows.len() as u64) < PASSED_ROWS {
            return Ok(ControlFlow::Continue(()));
        }
    }
}

/// The attempt of a record of which only the beginning was read, and which is no end.
fn entry_of(beginning: &str) -> Option<EntryId> {
    let (_, event) = beginning.split_once(",\"event\":{\"entry_id\":\"")?;
    let (entry, rest) = event.split_once("\",\"at\":\"")?;
    let (_, phase) = rest.split_once("\",\"phase\":\"")?;
    EntryId::parse(entry).ok().filter(|_| !phase.starts_with("complete\""))
}

fn bad(org: &OrgId, record: &Record, reason: &str) -> LedgerError {
    let segment = rows_of(&record.node);
    let bad = BadRecord { segment, line: record.seq, seq: record.seq, reason: reason.to_owned() };
    LedgerError::Damaged { org: org.clone(), bad }
}

/// What the records of a chain are in, for messages.
fn rows_of(node: &str) -> String {
    if node == NO_NODE { ROWS.to_owned() } else { format!("{ROWS} of node {node}") }
}

/// A walk from the newest record of each chain to older ones.
struct BackWalk<'a> {
    org: &'a OrgId,
    known: Vec<Known>,
    /// Sequence and previous hash of the record of each chain that was met last.
    newer: HashMap<String, (u64, [u8; 32])>,
    /// Whether it begins where an earlier page ended, and not at the newest records.
    goes_on: bool,
}

impl<'a> BackWalk<'a> {
    fn new(org: &'a OrgId, known: Vec<Known>, goes_on: bool) -> Result<Self, LedgerError> {
        let walk = Self { org, known, newer: HashMap::new(), goes_on };
        for chain in &walk.known {
            if let Some(reason) = &chain.bad {
                return Err(walk.bad(chain, chain.ends.head.seq, reason));
            }
        }
        Ok(walk)
    }

    fn step(&mut self, record: &Record) -> Result<LedgerLine, LedgerError> {
        let damaged = |reason: &str| bad(self.org, record, reason);
        let raw = parse(self.org, record.line.as_bytes()).map_err(damaged)?;
        if raw.node.as_ref().map_or(NO_NODE, NodeId::as_str) != record.node || raw.seq != record.seq {
            return Err(damaged("its row says another node or sequence than its line"));
        }
        let chain = self.known.iter().find(|chain| chain.name() == record.node);
        let chain = chain.ok_or_else(|| damaged("no head knows its chain"))?;
        match self.newer.get(&record.node) {
            None if !self.goes_on && raw.link() != chain.ends.head => {
                return Err(damaged(&format!("its chain ends here, its head says {}", chain.ends.head.seq)));
            }
            Some((seq, prev)) if raw.seq.saturating_add(1) != *seq || raw.hash != *prev => {
                return Err(damaged("the record that follows does not continue it"));
            }
            _ => {}
        }
        let line = LedgerLine::from_raw(&record.line, &raw).map_err(damaged)?;
        self.newer.insert(record.node.clone(), (raw.seq, raw.prev));
        Ok(line)
    }

    /// Whether the oldest record of each chain is the one that it starts with.
    fn end(&self) -> Result<(), LedgerError> {
        for chain in &self.known {
            let genesis = Chain { org: self.org, node: chain.node.as_ref() }.genesis();
            let start = chain.ends.anchor.unwrap_or(genesis);
            let reached = match self.newer.get(chain.name()) {
                Some((seq, prev)) => Link { seq: seq.saturating_sub(1), hash: *prev },
                // What this chain has was on earlier pages.
                None if self.goes_on => start,
                None => chain.ends.head,
            };
            if reached != start {
                return Err(self.bad(chain, reached.seq, "this record is missing, or others before it"));
            }
        }
        Ok(())
    }

    fn bad(&self, chain: &Known, seq: u64, reason: &str) -> LedgerError {
        let segment = rows_of(chain.name());
        let bad = BadRecord { segment, line: seq, seq, reason: reason.to_owned() };
        LedgerError::Damaged { org: self.org.clone(), bad }
    }
}

/// Passes matching records to `sink`, oldest first: what was written when it began.
pub(super) async fn export(
    shared: &Shared,
    org: &OrgId,
    query: &LedgerQuery,
    mut sink: LedgerSink,
) -> Result<u64, LedgerError> {
    // Why no transaction: the sink may take long, and the database's memory of a moment is not for that. All that is
    // before the heads is there from now on, so that each chain is whole up to its head.
    let chains = known(&shared.client().await?, shared, org).await?;
    BackWalk::new(org, chains.clone(), false)?;
    let mut walk = ChainsWalk::new(org, ROWS);
    for chain in &chains {
        walk.expect(chain.node.clone(), chain.ends);
    }
    let last = chains.iter().map(|chain| chain.pos).max().unwrap_or(0);
    let mut reader = Reader::forward(last);
    let mut given = 0_u64;
    loop {
        let records = reader.next(&shared.client().await?, org).await?;
        if records.is_empty() {
            let report = walk.finish(0);
            let bad = report.bad.map(|bad| LedgerError::Damaged { org: org.clone(), bad });
            return match bad {
                Some(bad) => Err(unless_cut(shared, org, &chains, bad).await),
                None => Ok(given),
            };
        }
        let mut lines = Vec::new();
        for record in &records {
            let Some(chain) = chains.iter().find(|chain| chain.name() == record.node) else { continue };
            if record.pos > chain.pos {
                // Written since.
                continue;
            }
            let Some(raw) = walk.line(record.line.as_bytes(), Some((chain.node.as_ref(), record.seq))) else {
                continue;
            };
            let line = LedgerLine::from_raw(&record.line, &raw).map_err(|reason| bad(org, record, reason))?;
            if query.matches(&line.event) {
                lines.push(line);
            }
        }
        let damage = walk.first_bad().cloned();
        let passed = tokio::task::spawn_blocking(move || {
            let mut count = 0_u64;
            let ended = lines.iter().any(|line| {
                count = count.saturating_add(1);
                sink(line).is_break()
            });
            (sink, count, ended)
        });
        let ended = || LedgerError::Unavailable("an export ended early".to_owned());
        let (back, count, is_over) = passed.await.map_err(|_| ended())?;
        sink = back;
        given = given.saturating_add(count);
        if is_over {
            return Ok(given);
        }
        if let Some(bad) = damage {
            let bad = LedgerError::Damaged { org: org.clone(), bad };
            return Err(unless_cut(shared, org, &chains, bad).await);
        }
    }
}

/// The damage that an export met, unless old records were dropped meanwhile.
async fn unless_cut(shared: &Shared, org: &OrgId, chains: &[Known], bad: LedgerError) -> LedgerError {
    let now = async { known(&shared.client().await?, shared, org).await }.await;
    let anchors =
        |chains: &[Known]| -> Vec<Option<Link>> { chains.iter().map(|chain| chain.ends.anchor).collect() };
    match now {
        Ok(now) if anchors(&now) != anchors(chains) => LedgerError::Unavailable(
            "old records were dropped while they were exported; export again".to_owned(),
        ),
        _ => bad,
    }
}
