//! Queries of a ledger, and how a page is assembled from its records.
//!
//! A page joins `begin` and `complete` of one attempt. It does no I/O: the backends pass it the records,
//! newest first.

use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;

use portcullis_core::id::{ActionId, ConnectionName, ConnectorId, EntryId, RunId, WorkspaceId};
use portcullis_core::ledger::{LedgerEvent, LedgerPhase, LedgerVerdict};

use super::error::LedgerError;
use super::line::LedgerLine;

/// Maximum entries on one page.
pub const LEDGER_PAGE_ENTRIES_MAX: usize = 1000;

/// A place in a list of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerCursor {
    /// After this entry.
    Entry(EntryId),
    /// Where a page ended.
    At(LedgerPlace),
}

/// A place that a page ended at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerPlace {
    /// Entries whose first record has this position or a later one were passed. It is the record's sequence where an org
    /// has one chain.
    before: u64,
    /// The newest record that the next page needs: an attempt that began before may have ended after this place.
    newest: u64,
    /// The entry after which the list begins, if it was not reached yet.
    seeking: Option<EntryId>,
}

/// What the text of a place begins with. Ids of entries have no dot.
const AT: &str = "at";

impl LedgerCursor {
    /// A cursor from its text: `next` of a page, or the id of an entry.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if !text.contains('.') {
            return EntryId::parse(text).ok().map(Self::Entry);
        }
        let mut parts = text.split('.');
        let kind = parts.next()?;
        let (before, newest) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let seeking = parts.next().map(EntryId::parse).transpose().ok()?;
        let place = LedgerPlace { before, newest, seeking };
        (kind == AT && parts.next().is_none()).then_some(Self::At(place))
    }
}

impl fmt::Display for LedgerCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(entry) => f.write_str(entry.as_str()),
            Self::At(LedgerPlace { before, newest, seeking }) => {
                write!(f, "{AT}.{before}.{newest}")?;
                seeking.as_ref().map_or(Ok(()), |entry| write!(f, ".{}", entry.as_str()))
            }
        }
    }
}

/// A filter for entries; `None` matches everything.
#[derive(Debug, Clone)]
pub struct LedgerQuery {
    pub workspace: Option<WorkspaceId>,
    pub connector_id: Option<ConnectorId>,
    /// A named connection.
    pub connection: Option<ConnectionName>,
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
    /// Only entries after this place.
    pub starting_after: Option<LedgerCursor>,
    /// Maximum entries on the page, at most [`LEDGER_PAGE_ENTRIES_MAX`].
    pub limit: usize,
}

impl Default for LedgerQuery {
    fn default() -> Self {
        Self {
            workspace: None,
            connector_id: None,
            connection: None,
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
            && self.connection.as_ref().is_none_or(|wanted| event.connection.as_ref() == Some(wanted))
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
    /// Ordered by the start of the attempts, newest first, so that pages do not shift as attempts end. Fewer than the
    /// limit if a look at more would have taken too long; then `next` is there.
    pub entries: Vec<LedgerLine>,
    /// Where the next page begins; `None` at the end of the list.
    pub next: Option<LedgerCursor>,
}

/// Bytes of records that are looked at for one page: some 20 ms.
const READ_BYTES: usize = 2 * 1024 * 1024;

/// Records that a page goes over again for the ends of attempts that began before it: those of a minute in which a
/// thousand calls a second are made. Beyond that an attempt is shown as it began.
pub const PASSED_MAX: u64 = 200_000;

/// An entry's record, and its place among the records that the pages are made of.
type Placed = (u64, LedgerLine);

/// Assembles one page from records, newest first. Each has a position: its sequence where an org has one chain, and any
/// number that grows along each chain where it has several.
pub struct PageBuilder<'a> {
    query: &'a LedgerQuery,
    limit: usize,
    /// Where the page begins, if it goes on from another.
    place: Option<&'a LedgerPlace>,
    /// The entry that was not reached yet, after which the list begins.
    seeking: Option<&'a EntryId>,
    /// Whether positions are sequences, so that they count records.
    counts: bool,
    /// Ends of attempts whose `begin` is further back.
    ended: HashMap<EntryId, Placed>,
    page: LedgerPage,
    looked_at_bytes: usize,
    /// Records that an earlier page had.
    passed: u64,
}

impl<'a> PageBuilder<'a> {
    /// A page of an org's only chain.
    #[must_use]
    pub fn new(query: &'a LedgerQuery) -> Self {
        let (place, seeking) = match &query.starting_after {
            None => (None, None),
            Some(LedgerCursor::Entry(entry)) => (None, Some(entry)),
            Some(LedgerCursor::At(place)) => (Some(place), place.seeking.as_ref()),
        };
        Self {
            query,
            limit: query.limit.min(LEDGER_PAGE_ENTRIES_MAX),
            place,
            seeking,
            counts: true,
            ended: HashMap::new(),
            page: LedgerPage::default(),
            looked_at_bytes: 0,
            passed: 0,
        }
    }

    /// A page of several chains, by positions that do not count records. The caller does not pass more than
    /// [`PASSED_MAX`] records of earlier pages.
    #[must_use]
    pub fn of_chains(query: &'a LedgerQuery) -> Self {
        Self { counts: false, ..Self::new(query) }
    }

    /// The newest record that the page needs; `None` for the newest of all.
    #[must_use]
    pub fn newest(&self) -> Option<u64> {
        self.place.map(|place| place.newest)
    }

    /// Entries that begin here or later belong to earlier pages; `None` if there are none.
    #[must_use]
    pub fn before(&self) -> Option<u64> {
        self.place.map(|place| place.before)
    }

    /// Whether a record belongs to an earlier page: only the ends of attempts are wanted of those.
    #[must_use]
    pub fn was_passed(&self, position: u64) -> bool {
        self.place.is_some_and(|place| position >= place.before)
    }

    /// Goes over a record of an earlier page that is no end of an attempt.
    pub fn pass(&mut self, entry: &EntryId) -> ControlFlow<()> {
        self.ended.remove(entry);
        self.count_passed()
    }

    /// Breaks at a place that no page ended at.
    fn count_passed(&mut self) -> ControlFlow<()> {
        self.passed = self.passed.saturating_add(1);
        if self.passed > PASSED_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Takes the next older record of an org's only chain; breaks when the page is full, or cost enough.
    pub fn add(&mut self, line: LedgerLine) -> ControlFlow<()> {
        self.add_at(line.seq, line)
    }

    /// The same for a record with this position.
    pub fn add_at(&mut self, position: u64, line: LedgerLine) -> ControlFlow<()> {
        if self.was_passed(position) {
            let entry = line.event.entry_id.clone();
            if line.event.phase != LedgerPhase::Complete {
                return self.pass(&entry);
            }
            self.ended.entry(entry).or_insert((position, line));
            return self.count_passed();
        }
        if self.query.back_to.as_ref().is_some_and(|back_to| line.event.at < *back_to) {
            return ControlFlow::Break(());
        }
        self.looked_at_bytes = self.looked_at_bytes.saturating_add(line.as_text().len());
        let (placed, entry) = match line.event.phase {
            LedgerPhase::Complete => {
                self.ended.entry(line.event.entry_id.clone()).or_insert((position, line));
                return self.unless_enough(position);
            }
            LedgerPhase::Begin => self.ended.remove(&line.event.entry_id).unwrap_or((position, line)),
            LedgerPhase::Refused => (position, line),
        };
        if self.is_beyond(&entry) {
            let newest = self.newest_pending(position).max(placed);
            return self.ends_before(position.saturating_add(1), newest);
        }
        self.take(entry);
        self.unless_enough(position)
    }

    /// Ends the page if it cost enough.
    fn unless_enough(&mut self, position: u64) -> ControlFlow<()> {
        if self.looked_at_bytes < READ_BYTES {
            return ControlFlow::Continue(());
        }
        let newest = self.newest_pending(position.saturating_sub(1));
        self.ends_before(position, newest)
    }

    /// The newest end of an attempt whose `begin` is further back.
    fn newest_pending(&self, or: u64) -> u64 {
        self.ended.values().map(|(position, _)| *position).fold(or, u64::max)
    }

    fn ends_before(&mut self, before: u64, newest: u64) -> ControlFlow<()> {
        let seeking = self.seeking.cloned();
        let reach = if self.counts { before.saturating_add(PASSED_MAX).saturating_sub(1) } else { u64::MAX };
        let newest = newest.min(reach);
        self.page.next = Some(LedgerCursor::At(LedgerPlace { before, newest, seeking }));
        ControlFlow::Break(())
    }

    /// The page, when it is full or there are no more records.
    ///
    /// # Errors
    /// [`LedgerError::UnknownCursor`].
    pub fn finish(mut self) -> Result<LedgerPage, LedgerError> {
        if self.page.next.is_some() {
            return Ok(self.page);
        }
        if self.passed > PASSED_MAX {
            return Err(LedgerError::UnknownCursor);
        }
        // Their `begin` was dropped with old segments.
        let mut orphans: Vec<Placed> = std::mem::take(&mut self.ended).into_values().collect();
        orphans.sort_by_key(|(position, _)| std::cmp::Reverse(*position));
        for (position, orphan) in orphans {
            if self.is_beyond(&orphan) {
                // Why before everything: what has a `begin` was passed.
                self.page.next =
                    Some(LedgerCursor::At(LedgerPlace { before: 0, newest: position, seeking: None }));
                break;
            }
            self.take(orphan);
        }
        if self.seeking.is_some() { Err(LedgerError::UnknownCursor) } else { Ok(self.page) }
    }

    /// Whether an entry belongs to the next page.
    fn is_beyond(&self, entry: &LedgerLine) -> bool {
        self.seeking.is_none() && self.page.entries.len() >= self.limit && self.query.matches(&entry.event)
    }

    fn take(&mut self, entry: LedgerLine) {
        match self.seeking {
            Some(seeking) if *seeking == entry.event.entry_id => self.seeking = None,
            Some(_) => {}
            None if self.query.matches(&entry.event) => self.page.entries.push(entry),
            None => {}
        }
    }
}
