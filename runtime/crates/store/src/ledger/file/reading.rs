//! Reading an org's files: records newest first for pages, and oldest first for exports.
//!
//! Every record's own hash is checked, and that it continues the record before: what is missing, changed or in
//! another place is an error and never a shorter answer. Of the pages, only as far back as they read.

use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::Path;

use portcullis_core::id::{EntryId, OrgId};

use super::chain_walk::{ChainWalk, WalkError};
use super::checkpoint::{Anchor, Heads, read_anchor};
use super::recovery::start;
use super::segment::{LineEnd, Lines, Segment, list, missing};
use crate::ledger::LedgerSink;
use crate::ledger::error::{BadRecord, LedgerError};
use crate::ledger::line::{LedgerLine, Link, RawLine, parse_only};
use crate::ledger::query::{LedgerPage, LedgerQuery, PageBuilder};

/// The beginning of a record in which its sequence, its attempt and its phase stand: both numbers and the id are short.
const BEGINNING_BYTES: usize = 256;

/// Segments may be dropped while they are read; only what a later look finds, too, is damage.
const LOOKS_MAX: usize = 3;

/// Reads one page.
pub(super) fn read(org: &OrgId, dir: &Path, query: &LedgerQuery) -> Result<LedgerPage, LedgerError> {
    let mut looks = 0_usize;
    loop {
        looks = looks.saturating_add(1);
        match read_once(org, dir, query) {
            Err(LedgerError::Damaged { .. }) if looks < LOOKS_MAX => {}
            other => return other,
        }
    }
}

fn read_once(org: &OrgId, dir: &Path, query: &LedgerQuery) -> Result<LedgerPage, LedgerError> {
    let mut page = PageBuilder::new(query);
    let Some(files) = Files::list(org, dir).map_err(|error| error.for_org(org))? else {
        return page.finish();
    };
    let newest = page.newest();
    let segments = newest.map_or(Ok(files.segments.as_slice()), |seq| up_to(org, &files.segments, seq))?;
    let mut back = BackWalk { org, newer: None, heads: files.heads, goes_on: newest.is_some() };
    for segment in segments.iter().rev() {
        let bytes = std::fs::read(&segment.path).map_err(|error| unreadable(org, segment, &error))?;
        // Anything after the last line end is being written now, if this is the last segment.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let is_older = back.newer.is_some() || (back.goes_on && files.segments.last() != Some(segment));
        if whole.saturating_add(1) < bytes.len() && is_older {
            return Err(back.bad(segment, &bytes, 0, "it has no line end"));
        }
        let lines = bytes.get(..whole).unwrap_or_default();
        let lines = newest.map_or(lines, |seq| lines_up_to(lines, seq));
        if lines.is_empty() {
            continue;
        }
        for (nth, line) in lines.rsplit(|byte| *byte == b'\n').enumerate() {
            let taken = match passed(&mut page, line) {
                Some(taken) => taken,
                None => {
                    page.add(back.step(line, &page).map_err(|reason| back.bad(segment, lines, nth, reason))?)
                }
            };
            if taken.is_break() {
                return page.finish();
            }
        }
    }
    back.end(&files).map_err(|error| error.for_org(org))?;
    page.finish()
}

/// Goes over a record of an earlier page without a look at its content; `None` for those that have to be read.
fn passed(page: &mut PageBuilder<'_>, line: &[u8]) -> Option<ControlFlow<()>> {
    // Why its beginning alone: there may be many, and what is wanted of them stands there.
    let text = std::str::from_utf8(line.get(..line.len().min(BEGINNING_BYTES))?).ok()?;
    let (seq, rest) = text.strip_prefix("{\"seq\":")?.split_once(',')?;
    seq.parse().ok().filter(|seq| page.was_passed(*seq))?;
    let event = rest.split_once(",\"event\":{\"entry_id\":\"")?.1;
    let (entry, rest) = event.split_once("\",\"at\":\"")?;
    let phase = rest.split_once("\",\"phase\":\"")?.1;
    if phase.starts_with("complete\"") {
        return None;
    }
    Some(page.pass(&EntryId::parse(entry).ok()?))
}

/// The segments that have the record with this sequence and older ones.
fn up_to<'s>(org: &OrgId, segments: &'s [Segment], newest: u64) -> Result<&'s [Segment], LedgerError> {
    let (mut low, mut high) = (0, segments.len());
    while low < high {
        let middle = low.midpoint(high);
        let Some(segment) = segments.get(middle) else { break };
        match first_seq(org, segment)? {
            Some(first) if first <= newest => low = middle.saturating_add(1),
            _ => high = middle,
        }
    }
    Ok(segments.get(..low).unwrap_or_default())
}

/// The sequence of a segment's first record; `None` if it has no record yet.
fn first_seq(org: &OrgId, segment: &Segment) -> Result<Option<u64>, LedgerError> {
    let failed = |error: std::io::Error| unreadable(org, segment, &error);
    let mut beginning = Vec::with_capacity(BEGINNING_BYTES);
    let file = std::fs::File::open(&segment.path).map_err(failed)?;
    file.take(BEGINNING_BYTES as u64).read_to_end(&mut beginning).map_err(failed)?;
    match seq_of(&beginning) {
        Some(seq) => Ok(Some(seq)),
        None if beginning.is_empty() => Ok(None),
        None => Err(damaged(org, segment, 1, 0, "it does not have the form of a record")),
    }
}

fn seq_of(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(b"{\"seq\":")?;
    let end = rest.iter().position(|byte| *byte == b',')?;
    std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
}

/// The lines up to this sequence, without the last line end. What is no record counts as one of them: it is found to be
/// damage when it is read.
fn lines_up_to(lines: &[u8], newest: u64) -> &[u8] {
    // Both are the beginnings of lines: those before `low` are wanted, those from `high` on are not.
    let (mut low, mut high) = (0, lines.len());
    while low < high {
        let middle = low.midpoint(high);
        let before = lines.get(low..middle).unwrap_or_default();
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(low, |at| low + at + 1);
        let after = lines.get(middle..high).unwrap_or_default();
        let end = after.iter().position(|byte| *byte == b'\n').map_or(high, |at| middle + at + 1);
        match lines.get(start..end).and_then(seq_of) {
            Some(seq) if seq > newest => high = start,
            _ => low = end,
        }
    }
    let wanted = lines.get(..low).unwrap_or_default();
    wanted.strip_suffix(b"\n").unwrap_or(wanted)
}

/// A walk from the newest record to older ones.
struct BackWalk<'a> {
    org: &'a OrgId,
    /// Sequence and previous hash of the record that was met last.
    newer: Option<(u64, [u8; 32])>,
    heads: Heads,
    /// Whether it begins where an earlier page ended, and not at the newest record.
    goes_on: bool,
}

impl BackWalk<'_> {
    fn step(&mut self, line: &[u8], page: &PageBuilder<'_>) -> Result<LedgerLine, &'static str> {
        let raw = parse_only(self.org, line)?;
        if page.was_passed(raw.seq) {
            // Why alone: what is around it was not read.
            return record(line, &raw);
        }
        match self.newer {
            None if !self.goes_on && raw.seq < self.heads.records() => {
                return Err("the log ends here, its head says more");
            }
            Some((seq, prev)) if raw.seq.saturating_add(1) != seq || raw.hash != prev => {
                return Err("the record that follows does not continue it");
            }
            _ => {}
        }
        self.newer = Some((raw.seq, raw.prev));
        record(line, &raw)
    }

    /// Whether the oldest record is the one that the chain starts with.
    fn end(&self, files: &Files) -> Result<(), WalkError> {
        let start = start(self.org, files.anchor.as_ref());
        let reached = match self.newer {
            Some((seq, prev)) => Link { seq: seq.saturating_sub(1), hash: prev },
            // What was there is dropped.
            None if self.goes_on => start,
            None if self.heads.records() > start.seq => Link { seq: u64::MAX, hash: [0; 32] },
            None => start,
        };
        if reached == start { Ok(()) } else { Err(files.bad("records before it are missing")) }
    }

    fn bad(&self, segment: &Segment, lines: &[u8], back: usize, reason: &str) -> LedgerError {
        let total = lines.split(|byte| *byte == b'\n').count();
        let seq = self.newer.map_or(0, |(seq, _)| seq.saturating_sub(1));
        damaged(self.org, segment, total.saturating_sub(back), seq, reason)
    }
}

/// Passes matching records to `sink`, oldest first. Nothing is passed on if the segments are not complete.
pub(super) fn export(
    org: &OrgId,
    dir: &Path,
    query: &LedgerQuery,
    mut sink: LedgerSink,
) -> Result<u64, LedgerError> {
    let mut given = 0_u64;
    export_files(org, dir, &mut |line| {
        if !query.matches(&line.event) {
            return false;
        }
        given = given.saturating_add(1);
        sink(&line).is_break()
    })
    .map_err(|error| error.for_org(org))?;
    Ok(given)
}

/// Passes all records to `each`, until it says to stop.
fn export_files(org: &OrgId, dir: &Path, each: &mut dyn FnMut(LedgerLine) -> bool) -> Result<(), WalkError> {
    let Some(files) = Files::list(org, dir)? else { return Ok(()) };
    let mut walk = ChainWalk::new(org, Some(start(org, files.anchor.as_ref())), files.heads);
    let mut line = Vec::new();
    for segment in &files.segments {
        walk.enter(segment);
        let mut lines = match Lines::open(&segment.path) {
            Ok(lines) => lines,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if read_anchor(dir)?.is_none_or(|anchor| anchor.first_segment <= segment.number) {
                    return Err(WalkError::missing(segment));
                }
                // Dropped since it was listed.
                walk.restart();
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        while let Some(end) = lines.next(&mut line)? {
            if end == LineEnd::Torn && files.segments.last() == Some(segment) {
                break;
            }
            if end != LineEnd::Whole {
                return Err(walk.bad("it has no line end"));
            }
            let raw = walk.line(&line)?;
            let record = record(&line, &raw).map_err(|reason| walk.bad(reason))?;
            if each(record) {
                return Ok(());
            }
        }
    }
    walk.finish()
}

/// The segments of an org, complete, and the heads as they were before the segments were listed.
struct Files {
    anchor: Option<Anchor>,
    heads: Heads,
    segments: Vec<Segment>,
}

impl Files {
    /// `None` if there is no directory, and never was one.
    fn list(org: &OrgId, dir: &Path) -> Result<Option<Self>, WalkError> {
        let heads = Heads::read(org, dir)?;
        if !dir.try_exists()? {
            return match heads.records() {
                0 => Ok(None),
                records => Err(WalkError::no_directory(org, records)),
            };
        }
        let anchor = read_anchor(dir)?;
        let first = anchor.map_or(1, |anchor| anchor.first_segment);
        let segments = list(dir, first)?;
        match missing(&segments, first) {
            Some(number) => Err(WalkError::missing(&Segment::new(dir, number))),
            None => Ok(Some(Self { anchor, heads, segments })),
        }
    }

    fn bad(&self, reason: &str) -> WalkError {
        WalkError::Bad(BadRecord {
            segment: self.segments.first().map(Segment::name).unwrap_or_default(),
            line: 1,
            seq: 0,
            reason: reason.to_owned(),
        })
    }
}

fn record(line: &[u8], raw: &RawLine<'_>) -> Result<LedgerLine, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not text")?;
    LedgerLine::from_raw(text, raw)
}

fn unreadable(org: &OrgId, segment: &Segment, error: &std::io::Error) -> LedgerError {
    match error.kind() {
        std::io::ErrorKind::NotFound => damaged(org, segment, 1, 0, "the segment is missing"),
        _ => LedgerError::io("reading a ledger segment", error),
    }
}

fn damaged(org: &OrgId, segment: &Segment, line: usize, seq: u64, reason: &str) -> LedgerError {
    let line = u64::try_from(line).unwrap_or(u64::MAX);
    let bad = BadRecord { segment: segment.name(), line, seq, reason: reason.to_owned() };
    LedgerError::Damaged { org: org.clone(), bad }
}
