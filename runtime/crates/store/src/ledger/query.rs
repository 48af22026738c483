//! Queries of a ledger, and how a page is assembled from its records.
//!
//! A page joins `begin` and `complete` of one attempt. It does no I/O: the backends pass it the records,
//! newest first.

use std::collections::HashMap;
use std::ops::ControlFlow;

use portcullis_core::id::{ActionId, ConnectorId, EntryId, RunId, WorkspaceId};
use portcullis_core::ledger::{LedgerEvent, LedgerPhase, LedgerVerdict};

use super::error::LedgerError;
use super::line::LedgerLine;

/// Maximum entries on one page.
pub const LEDGER_PAGE_ENTRIES_MAX: usize = 1000;

/// A filter for entries; `None` matches everything.
#[derive(Debug, Clone)]
pub struct LedgerQuery {
    pub workspace: Option<WorkspaceId>,
    pub connector_id: Option<ConnectorId>,
    pub action_id: Option<ActionId>,
    pub run_id: Option<RunId>,
    /// Host without port, in any case.
    pub host: Option<String>,
    /// How the attempt ended.
    pub verdict: Option<LedgerVerdict>,
    /// Code of the record.
    pub code: Option<String>,
    /// At this time or later; RFC 3339 in UTC, compared as text.
    pub since: Option<String>,
    /// Before this time; RFC 3339 in UTC, compared as text.
    pub until: Option<String>,
    /// The look ends at the first record that is older than this, even if others of that time follow: RFC 3339 in UTC,
    /// compared as text. For a look that must not read all that there is.
    pub back_to: Option<String>,
    /// Only entries older than this one.
    pub starting_after: Option<EntryId>,
    /// Maximum entries on the page, at most [`LEDGER_PAGE_ENTRIES_MAX`].
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
            back_to: None,
            starting_after: None,
            limit: 50,
        }
    }
}

impl LedgerQuery {
    /// Whether an event matches; cursor and limit are ignored.
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
    /// One record per attempt: its `complete` or `refused`, or its `begin` if it has not ended.
    /// Ordered by the start of the attempts, newest first, so that pages do not shift as attempts end.
    pub entries: Vec<LedgerLine>,
    /// Whether there are older ones; the next page starts after this page's last entry.
    pub has_more: bool,
}

/// Assembles one page.
pub(super) struct PageBuilder<'a> {
    query: &'a LedgerQuery,
    limit: usize,
    /// Whether the cursor's entry has not been reached yet.
    skipping: bool,
    /// Ends of attempts whose `begin` is further back.
    ended: HashMap<EntryId, LedgerLine>,
    page: LedgerPage,
}

impl<'a> PageBuilder<'a> {
    pub(super) fn new(query: &'a LedgerQuery) -> Self {
        Self {
            query,
            limit: query.limit.min(LEDGER_PAGE_ENTRIES_MAX),
            skipping: query.starting_after.is_some(),
            ended: HashMap::new(),
            page: LedgerPage::default(),
        }
    }

    /// Takes the next older record; breaks when the page is full.
    pub(super) fn add(&mut self, line: LedgerLine) -> ControlFlow<()> {
        if self.query.back_to.as_ref().is_some_and(|back_to| line.event.at < *back_to) {
            return ControlFlow::Break(());
        }
        let entry = match line.event.phase {
            LedgerPhase::Complete => {
                self.ended.entry(line.event.entry_id.clone()).or_insert(line);
                return ControlFlow::Continue(());
            }
            LedgerPhase::Begin => self.ended.remove(&line.event.entry_id).unwrap_or(line),
            LedgerPhase::Refused => line,
        };
        self.add_entry(entry)
    }

    /// The page, when it is full or there are no more records.
    pub(super) fn finish(mut self) -> Result<LedgerPage, LedgerError> {
        if self.page.has_more {
            return Ok(self.page);
        }
        // Their `begin` was dropped with old segments.
        let mut orphans: Vec<LedgerLine> = std::mem::take(&mut self.ended).into_values().collect();
        orphans.sort_by_key(|line| std::cmp::Reverse(line.seq));
        for orphan in orphans {
            if self.add_entry(orphan).is_break() {
                break;
            }
        }
        if self.skipping { Err(LedgerError::UnknownCursor) } else { Ok(self.page) }
    }

    fn add_entry(&mut self, entry: LedgerLine) -> ControlFlow<()> {
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
