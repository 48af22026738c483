//! A page of runs from the files of one workspace or of many.
//!
//! Each log is a source of blocks in its own order, which never changes; the sources are merged by their keys. A
//! block is read when nothing before it is left, and files and blocks that cannot hold what is wanted are passed
//! over. A look that took enough ends the page early, at a place that the next page goes on from. Called by the
//! backend, on a thread that may block.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use super::latest::Latest;
use super::log::Log;
use super::outline::{Outline, Part};
use super::reading::{Look, Unit};
use super::segment::{self, Fault, Segment};
use crate::runs::query::{RunKey, RunPlace, Start, ended_us};
use crate::runs::{RunCursor, RunFilter, RunOrder, RunPage, RunQuery, RunRecord, RunScope};

/// Bytes of records that are read for one page, unless it takes more to get on at all: some 10 ms.
const READ_BYTES: u64 = 2 * 1024 * 1024;

/// Files whose index is looked at for one page: some 20 ms.
const FILES_MAX: u64 = 250;

/// What a page has cost so far.
#[derive(Debug, Default)]
pub(super) struct Spent {
    pub(super) bytes: u64,
    files: u64,
}

impl Spent {
    pub(super) fn is_enough(&self) -> bool {
        self.bytes >= READ_BYTES || self.files >= FILES_MAX
    }
}

/// One page; `None` if its cursor is none of these runs.
pub(super) fn page(logs: &[Arc<Log>], latest: &Latest, query: &RunQuery) -> Result<Option<RunPage>, Fault> {
    let timed = !matches!(query.scope, RunScope::Workspace(..));
    let looks = logs.iter().map(|log| Look::knowing(log, latest)).collect::<Result<Vec<_>, _>>()?;
    let Some(place) = start(&looks, query, timed)? else { return Ok(None) };
    let start = Start { order: query.order, place };
    let mut spent = Spent::default();
    let mut sources = Vec::with_capacity(looks.len());
    for look in looks {
        let before = if timed { latest.before_each(&look, &mut spent)? } else { Vec::new() };
        if timed && spent.bytes >= READ_BYTES {
            // What was learnt is kept, so that the same request gets further.
            let next = query.after.clone().unwrap_or(RunCursor::Start);
            return Ok(Some(RunPage { records: Vec::new(), next: Some(next) }));
        }
        let units = (0..look.units()).collect();
        sources.push(Source {
            look,
            before,
            start: &start,
            filter: &query.filter,
            units,
            open: None,
            queue: VecDeque::new(),
        });
    }
    merged(&mut sources, &start, query, spent, timed).map(Some)
}

/// Where a page starts; `None` if its cursor is none of these runs.
fn start(looks: &[Look<'_>], query: &RunQuery, timed: bool) -> Result<Option<Option<RunPlace>>, Fault> {
    let key = match &query.after {
        None | Some(RunCursor::Start) => return Ok(Some(None)),
        Some(RunCursor::At(place)) if place.timed == timed => {
            let own = |look: &Look<'_>| {
                let log = &look.log.place;
                log.org == place.key.org && log.workspace == place.key.workspace
            };
            return Ok((timed || looks.iter().any(own)).then(|| Some(place.clone())));
        }
        Some(RunCursor::Run(run)) if !timed => match looks.first() {
            Some(look) => look.key_of(run)?,
            None => None,
        },
        Some(_) => None,
    };
    Ok(key.map(|key| Some(RunPlace { key, inclusive: false, timed: false })))
}

fn merged(
    sources: &mut [Source<'_>],
    start: &Start,
    query: &RunQuery,
    mut spent: Spent,
    timed: bool,
) -> Result<RunPage, Fault> {
    let at = |key: RunKey, inclusive| Some(RunCursor::At(RunPlace { key, inclusive, timed }));
    let mut heap = BinaryHeap::new();
    for (index, source) in sources.iter().enumerate() {
        heap.extend(source.next_key().map(|key| Ranked { key, index, order: start.order }));
    }
    let first = heap.peek().map(|ranked| ranked.key.clone());
    let (mut records, mut last) = (Vec::new(), None);
    while let Some(ranked) = heap.pop() {
        // Why compared with the first: a page that ends where it began would never get further.
        if spent.is_enough() && first.as_ref() != Some(&ranked.key) {
            return Ok(RunPage { records, next: at(ranked.key, true) });
        }
        let Some(source) = sources.get_mut(ranked.index) else { continue };
        match source.queue.pop_front() {
            // One more than the page has shows that there is another page.
            Some(_) if records.len() >= query.limit => {
                let next =
                    last.map_or_else(|| query.after.clone().or(Some(RunCursor::Start)), |key| at(key, false));
                return Ok(RunPage { records, next });
            }
            Some((key, record)) => {
                records.push(record);
                last = Some(key);
            }
            None => source.go_on(&mut spent)?,
        }
        heap.extend(source.next_key().map(|key| Ranked { key, ..ranked }));
    }
    Ok(RunPage { records, next: None })
}

/// A source by the key that it goes on with.
struct Ranked {
    key: RunKey,
    index: usize,
    order: RunOrder,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        match self.order {
            RunOrder::NewestFirst => self.key.cmp(&other.key),
            RunOrder::OldestFirst => other.key.cmp(&self.key),
        }
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

/// One log: files not looked at yet, blocks of the file that is looked at, and runs of the block that was read.
struct Source<'a> {
    look: Look<'a>,
    /// The latest end before each file; empty in a list of one workspace.
    before: Vec<u64>,
    start: &'a Start,
    filter: &'a RunFilter,
    units: VecDeque<usize>,
    open: Option<Open>,
    queue: VecDeque<(RunKey, RunRecord)>,
}

struct Open {
    unit: usize,
    segment: Segment,
    parts: VecDeque<Part>,
}

impl Source<'_> {
    fn newest_first(&self) -> bool {
        self.start.order == RunOrder::NewestFirst
    }

    /// The latest end before a file, also at the end of the list; zero where times do not count.
    fn before(&self, unit: usize) -> u64 {
        self.before.get(unit).copied().unwrap_or_default()
    }

    fn key(&self, us: u64, unit: usize, record: u64) -> RunKey {
        let us = if self.before.is_empty() { 0 } else { us };
        RunKey { us, ..self.look.key(self.look.unit_number(unit), record) }
    }

    /// The lowest and the highest key that a record of a file may have.
    fn unit_keys(&self, unit: usize) -> (RunKey, RunKey) {
        let after = self.before(unit.saturating_add(1));
        (self.key(self.before(unit), unit, 0), self.key(after, unit, u64::MAX))
    }

    fn part_keys(&self, unit: usize, part: &Part) -> (RunKey, RunKey) {
        let before = self.before(unit);
        let last = part.first.saturating_add(part.records.saturating_sub(1));
        let low = self.key(before.max(part.earlier_us), unit, part.first);
        (low, self.key(before.max(part.latest_us), unit, last))
    }

    /// A key that nothing that is left comes before, in the list's order; `None` at the end.
    fn next_key(&self) -> Option<RunKey> {
        if let Some((key, _)) = self.queue.front() {
            return Some(key.clone());
        }
        let open = self.open.as_ref().and_then(|open| Some((open.unit, self.next_of(&open.parts)?)));
        let (low, high) = match open {
            Some((unit, part)) => self.part_keys(unit, part),
            None => self.unit_keys(*self.next_of(&self.units)?),
        };
        Some(self.start.clip(if self.newest_first() { high } else { low }))
    }

    fn next_of<'q, T>(&self, queue: &'q VecDeque<T>) -> Option<&'q T> {
        if self.newest_first() { queue.back() } else { queue.front() }
    }

    /// Reads the next block, or looks at the next file.
    fn go_on(&mut self, spent: &mut Spent) -> Result<(), Fault> {
        let newest_first = self.newest_first();
        let take =
            |parts: &mut VecDeque<Part>| if newest_first { parts.pop_back() } else { parts.pop_front() };
        if let Some(open) = &mut self.open {
            if let Some(part) = take(&mut open.parts) {
                let (unit, segment) = (open.unit, open.segment.clone());
                return self.read(unit, &segment, &part, spent);
            }
            self.open = None;
        }
        let next = if newest_first { self.units.pop_back() } else { self.units.pop_front() };
        next.map_or(Ok(()), |unit| self.look_at(unit, spent))
    }

    fn look_at(&mut self, unit: usize, spent: &mut Spent) -> Result<(), Fault> {
        let (low, high) = self.unit_keys(unit);
        if !self.start.allows_between(&low, &high) {
            return Ok(());
        }
        // Nothing in this log ended later before this place.
        if !self.before.is_empty() && self.filter.since_us.is_some_and(|since| high.us < since) {
            if self.newest_first() {
                self.units.clear();
            }
            return Ok(());
        }
        match self.look.unit(unit) {
            None => Ok(()),
            Some(Unit::Earlier(path)) => {
                spent.bytes =
                    spent.bytes.saturating_add(std::fs::metadata(path).map_or(0, |file| file.len()));
                let records = self.look.earlier_records(path)?;
                self.take_earlier(unit, records);
                Ok(())
            }
            Some(Unit::Segment(index, segment)) => {
                spent.files = spent.files.saturating_add(1);
                let segment = segment.clone();
                let (outline, values) = self.look.outlined(index, &segment, &mut spent.bytes)?;
                let may_match = values.is_none_or(|values| values.may_match(self.filter));
                if may_match && self.filter.overlaps(outline.from_us, outline.to_us) {
                    self.open = Some(Open { unit, segment, parts: self.parts(unit, &outline) });
                }
                Ok(())
            }
        }
    }

    /// The blocks of a file that may have something after the start.
    fn parts(&self, unit: usize, outline: &Outline) -> VecDeque<Part> {
        let wanted = |part: &Part| {
            let (low, high) = self.part_keys(unit, part);
            self.start.allows_between(&low, &high)
        };
        outline.parts().filter(wanted).collect()
    }

    fn read(&mut self, unit: usize, segment: &Segment, part: &Part, spent: &mut Spent) -> Result<(), Fault> {
        spent.bytes = spent.bytes.saturating_add(part.end.saturating_sub(part.at));
        let place = &self.look.log.place;
        let texts = segment::read_part(place, segment, part)?;
        let mut latest = self.before(unit).max(part.earlier_us);
        let mut found = VecDeque::new();
        for (text, record) in texts.iter().zip(part.first..) {
            let ended = segment::record_ended_us(text);
            latest = latest.max(ended);
            let key = self.key(latest, unit, record);
            if self.start.allows(&key)
                && self.filter.matches_time(ended)
                && self.filter.matches_record(text.as_bytes())
            {
                found.push_back((key, segment::parse(place, &segment.path, text.as_bytes())?));
            }
        }
        self.queue_all(found);
        Ok(())
    }

    fn take_earlier(&mut self, unit: usize, records: Vec<RunRecord>) {
        let mut latest = self.before(unit);
        let mut found = VecDeque::new();
        for (record, at) in records.into_iter().zip(0..) {
            let ended = ended_us(&record.created_at, record.run_id.as_str());
            latest = latest.max(ended);
            let key = self.key(latest, unit, at);
            if self.start.allows(&key)
                && self.filter.matches_time(ended)
                && self.filter.matches_body(record.body.get())
            {
                found.push_back((key, record));
            }
        }
        self.queue_all(found);
    }

    /// The queue is empty: what was read is all of it, in the list's order.
    fn queue_all(&mut self, found: VecDeque<(RunKey, RunRecord)>) {
        self.queue = if self.newest_first() { found.into_iter().rev().collect() } else { found };
    }
}
