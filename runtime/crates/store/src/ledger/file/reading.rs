//! Reading an org's ledger: filtered pages newest first, and streams oldest first.
//!
//! A page merges `begin` and `complete` of one attempt; a stream gives records as they are. Every
//! record's own hash is checked on the way, its place in the chain is not (`verify` does that).

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use portcullis_core::id::{ActionId, ConnectorId, EntryId, OrgId, RunId, WorkspaceId};
use portcullis_core::ledger::{LedgerEvent, LedgerPhase, LedgerVerdict};

use super::chain_walk::WalkError;
use super::checkpoint::read_anchor;
use super::segment::{LineEnd, Lines, Segment, list};
use crate::ledger::error::{BadRecord, LedgerError};
use crate::ledger::line::{LedgerLine, parse};

/// Most entries on one page.
pub const LEDGER_PAGE_ENTRIES_MAX: usize = 1000;

/// Which entries are wanted; what is `None` does not matter.
#[derive(Debug, Clone)]
pub struct LedgerQuery {
    /// Of this workspace.
    pub workspace: Option<WorkspaceId>,
    /// Through this connector.
    pub connector_id: Option<ConnectorId>,
    /// Of this action.
    pub action_id: Option<ActionId>,
    /// Of this run.
    pub run_id: Option<RunId>,
    /// To this host, without port, in any case.
    pub host: Option<String>,
    /// That ended so.
    pub verdict: Option<LedgerVerdict>,
    /// With this code.
    pub code: Option<String>,
    /// At this time or later; RFC 3339 in UTC, compared as text.
    pub since: Option<String>,
    /// Before this time; RFC 3339 in UTC, compared as text.
    pub until: Option<String>,
    /// Only entries older than this one.
    pub starting_after: Option<EntryId>,
    /// Most entries on the page, at most [`LEDGER_PAGE_ENTRIES_MAX`].
    pub limit: usize,
}

impl Default for LedgerQuery {
    fn default() -> Self {
        Self {
            workspace: None,
            connector_id: None,
            action_id: None,
            run_id: None,
            host: None,
            verdict: None,
            code: None,
            since: None,
            until: None,
            starting_after: None,
            limit: 50,
        }
    }
}

impl LedgerQuery {
    /// Whether an event is wanted; cursor and limit are not looked at.
    #[must_use]
    pub fn matches(&self, event: &LedgerEvent) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, found: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == found)
        }
        is(self.workspace.as_ref(), &event.workspace)
            && is(self.connector_id.as_ref(), &event.connector_id)
            && is(self.action_id.as_ref(), &event.action_id)
            && is(self.run_id.as_ref(), &event.run_id)
            && is(self.verdict.as_ref(), &event.verdict)
            && self.code.as_ref().is_none_or(|code| event.code.as_ref() == Some(code))
            && self.since.as_ref().is_none_or(|since| event.at >= *since)
            && self.until.as_ref().is_none_or(|until| event.at < *until)
            && self.host.as_ref().is_none_or(|host| host_of(&event.origin).eq_ignore_ascii_case(host))
    }
}

/// The host of `https://host[:port]`, an IPv6 address with its brackets.
fn host_of(origin: &str) -> &str {
    let rest = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    match rest.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => rest,
    }
}

/// One page.
#[derive(Debug, Clone, Default)]
pub struct LedgerPage {
    /// One record per attempt: its `complete` or `refused`, or its `begin` when it has not ended.
    /// Ordered by when the attempts began, newest first, so that pages do not shift as they end.
    pub entries: Vec<LedgerLine>,
    /// Whether there are older ones; the next page starts after this page's last entry.
    pub has_more: bool,
}

/// Reads one page.
pub(super) fn read(org: &OrgId, dir: &Path, query: &LedgerQuery) -> Result<LedgerPage, LedgerError> {
    let mut page = PageBuilder {
        query,
        limit: query.limit.min(LEDGER_PAGE_ENTRIES_MAX),
        skipping: query.starting_after.is_some(),
        page: LedgerPage::default(),
    };
    // Ends of attempts whose beginnings are further back.
    let mut ended: HashMap<EntryId, LedgerLine> = HashMap::new();
    for segment in segments(org, dir)?.iter().rev() {
        let bytes = match std::fs::read(&segment.path) {
            Ok(bytes) => bytes,
            // Dropped since it was listed, and everything older with it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
            Err(error) => return Err(LedgerError::io("reading a ledger segment", &error)),
        };
        // Whatever follows the last line end is being written now.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let lines = bytes.get(..whole).unwrap_or_default();
        if lines.is_empty() {
            continue;
        }
        for (back, line) in lines.rsplit(|byte| *byte == b'\n').enumerate() {
            let line = checked(org, segment, line, || {
                let total = lines.split(|byte| *byte == b'\n').count();
                total.saturating_sub(back)
            })?;
            let entry = match line.event.phase {
                LedgerPhase::Complete => {
                    ended.entry(line.event.entry_id.clone()).or_insert(line);
                    continue;
                }
                LedgerPhase::Begin => ended.remove(&line.event.entry_id).unwrap_or(line),
                LedgerPhase::Refused => line,
            };
            if page.add(entry).is_break() {
                return Ok(page.page);
            }
        }
    }
    // Their beginnings were dropped with old segments.
    let mut orphans: Vec<LedgerLine> = ended.into_values().collect();
    orphans.sort_by_key(|line| std::cmp::Reverse(line.seq));
    for orphan in orphans {
        if page.add(orphan).is_break() {
            return Ok(page.page);
        }
    }
    if page.skipping {
        return Err(LedgerError::UnknownCursor);
    }
    Ok(page.page)
}

struct PageBuilder<'a> {
    query: &'a LedgerQuery,
    limit: usize,
    /// Whether the cursor's entry is still to come.
    skipping: bool,
    page: LedgerPage,
}

impl PageBuilder<'_> {
    fn add(&mut self, entry: LedgerLine) -> ControlFlow<()> {
        if self.skipping {
            self.skipping = self.query.starting_after.as_ref() != Some(&entry.event.entry_id);
            return ControlFlow::Continue(());
        }
        if !self.query.matches(&entry.event) {
            return ControlFlow::Continue(());
        }
        if self.page.entries.len() >= self.limit {
            self.page.has_more = true;
            return ControlFlow::Break(());
        }
        self.page.entries.push(entry);
        ControlFlow::Continue(())
    }
}

/// Gives matching records to `sink`, oldest first.
pub(super) fn export(
    org: &OrgId,
    dir: &Path,
    query: &LedgerQuery,
    mut sink: impl FnMut(&LedgerLine) -> ControlFlow<()>,
) -> Result<u64, LedgerError> {
    let failed = |error: std::io::Error| LedgerError::io("reading a ledger segment", &error);
    let mut given = 0_u64;
    let mut line = Vec::new();
    for segment in segments(org, dir)? {
        let mut lines = match Lines::open(&segment.path) {
            Ok(lines) => lines,
            // Dropped since it was listed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        let mut number = 0_usize;
        while let Some(end) = lines.next(&mut line).map_err(failed)? {
            if end == LineEnd::Torn {
                break;
            }
            number = number.saturating_add(1);
            let line = checked(org, &segment, &line, || number)?;
            if query.matches(&line.event) {
                given = given.saturating_add(1);
                if sink(&line).is_break() {
                    return Ok(given);
                }
            }
        }
    }
    Ok(given)
}

fn segments(org: &OrgId, dir: &Path) -> Result<Vec<Segment>, LedgerError> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let anchor = read_anchor(dir).map_err(|error| WalkError::from(error).for_org(org))?;
    list(dir, anchor.map_or(1, |anchor| anchor.first_segment))
        .map_err(|error| LedgerError::io("listing ledger segments", &error))
}

fn checked(
    org: &OrgId,
    segment: &Segment,
    line: &[u8],
    number: impl FnOnce() -> usize,
) -> Result<LedgerLine, LedgerError> {
    let judged = parse(org, line).and_then(|raw| {
        let text = std::str::from_utf8(line).map_err(|_| "it is not text")?;
        LedgerLine::from_raw(text, &raw)
    });
    judged.map_err(|reason| LedgerError::Damaged {
        org: org.clone(),
        bad: BadRecord {
            segment: segment.name(),
            line: u64::try_from(number()).unwrap_or(u64::MAX),
            seq: 0,
            reason: reason.to_owned(),
        },
    })
}
