//! Reading a workspace's runs: what is passed on was checked, and what should be there and is not is an error.
//!
//! A read looks at the list of files, at the head, and at the headers; of the files it needs, it checks every line,
//! and that the file reaches the one that follows, or the head. Nothing is passed over.

use std::path::Path;

use portcullis_core::id::RunId;

use super::chain::{Header, Sealed};
use super::log::{Log, reaches};
use super::segment::{self, Checked, Fault, Listing, Segment};
use super::{earlier, started_ms};
use crate::error::StoreError;
use crate::head::Head;
use crate::runs::RunRecord;

/// Files may be begun and dropped during a look; only what a later look finds, too, is a fault.
const LOOKS_MAX: usize = 3;

/// Numbers without a file that are taken for missing files; with more, a name is odd.
const MISSING_MAX: u64 = 100_000;

/// A run of a workspace.
pub(super) fn get(log: &Log, run: &RunId) -> Result<Option<RunRecord>, StoreError> {
    looked(|| Ok(Look::new(log)?.find(run)?.map(|found| found.record)))
}

/// Runs after `after`, at most `limit`; `None` if there is no run `after`.
pub(super) fn list(
    log: &Log,
    after: Option<&RunId>,
    limit: usize,
) -> Result<Option<Vec<RunRecord>>, StoreError> {
    looked(|| {
        let look = Look::new(log)?;
        let start = match after {
            None => Position { file: 0, records: 0 },
            Some(run) => match look.find(run)? {
                Some(found) => found.next,
                None => return Ok(None),
            },
        };
        look.records_from(start, limit).map(Some)
    })
}

fn looked<T>(look: impl Fn() -> Result<T, Fault>) -> Result<T, StoreError> {
    let mut looks = 0_usize;
    loop {
        looks = looks.saturating_add(1);
        match look() {
            Err(_) if looks < LOOKS_MAX => {}
            other => return other.map_err(Fault::into_error),
        }
    }
}

/// A position in a workspace's runs: files of the first format count before the others.
#[derive(Clone, Copy)]
struct Position {
    file: usize,
    records: usize,
}

struct Found {
    record: RunRecord,
    next: Position,
}

/// The files of a workspace, listed and compared with the head. One that is missing is listed, and is a fault when it
/// is read, so that reads which do not need it go on.
struct Look<'a> {
    log: &'a Log,
    known: Option<Head>,
    listing: Listing,
    /// The header of each file; `None` if it cannot be read.
    headers: Vec<Option<Header>>,
}

impl<'a> Look<'a> {
    fn new(log: &'a Log) -> Result<Self, Fault> {
        // Before the list: files may be begun meanwhile, and then reach past it.
        let known = log.known();
        let mut listing = match segment::list(&log.dir)? {
            Some(listing) => listing,
            None if known.is_some_and(|known| known.link.seq > 0) => {
                return Err(Fault::Damaged(log.dir.clone(), "the directory is missing".to_owned()));
            }
            None => Listing::default(),
        };
        let cut = known.and_then(|known| known.cut);
        if cut.is_some() {
            listing.earlier.clear();
        }
        listing.segments = complete(&log.dir, &listing, known);
        let headers = headers(log, &mut listing, known)?;
        let begins = cut.map_or_else(|| log.place.genesis(), |(_, dropped)| dropped);
        if let (Some(segment), Some(Some(header))) = (listing.segments.first(), headers.first()) {
            if header.last() != Some(begins) {
                let reason = "it does not continue from where the runs begin".to_owned();
                return Err(Fault::Damaged(segment.path.clone(), reason));
            }
            if cut.is_none() {
                earlier::check_list(&log.dir, &listing.earlier, &header.earlier)?;
            }
        }
        Ok(Self { log, known, listing, headers })
    }

    fn header(&self, index: usize) -> Option<&Header> {
        self.headers.get(index).and_then(Option::as_ref)
    }

    fn seals(&self) -> Option<&[Sealed]> {
        self.header(0).map(|header| header.earlier.as_slice())
    }

    /// A file, checked, and that it reaches what follows it.
    fn checked(&self, index: usize, segment: &Segment) -> Result<Checked, Fault> {
        let look_for = self.known.map_or(0, |known| known.link.seq);
        let checked = segment::read(&self.log.place, segment, look_for)?;
        reaches(segment, &checked, self.known)?;
        let Some(next) = self.listing.segments.get(index.saturating_add(1)) else { return Ok(checked) };
        let Some(header) = self.header(index.saturating_add(1)) else {
            let reason =
                "it cannot be read, so that nobody knows whether the file before is whole".to_owned();
            return Err(Fault::Damaged(next.path.clone(), reason));
        };
        if header.last() != Some(checked.end) {
            let reason = format!("it ends at record {}, and the next file does not", checked.end.seq);
            return Err(Fault::Damaged(segment.path.clone(), reason));
        }
        Ok(checked)
    }

    /// A fault in a file that does not hold the run is none of this run's; without the run it is the answer.
    fn find(&self, run: &RunId) -> Result<Option<Found>, Fault> {
        let mut fault = None;
        for (file, path) in self.listing.earlier.iter().enumerate() {
            match self.find_earlier(file, path, run) {
                Ok(None) => {}
                Err(found) => fault = fault.or(Some(found)),
                found => return found,
            }
        }
        let started = started_ms(run.as_str());
        for (index, segment) in self.listing.segments.iter().enumerate() {
            let before = self.header(index.saturating_add(1)).and_then(|next| next.before);
            if before.zip(started).is_some_and(|(contents, ms)| !contents.may_hold(ms)) {
                continue;
            }
            match self.find_in(index, segment, run) {
                Ok(None) => {}
                Err(found) => fault = fault.or(Some(found)),
                found => return found,
            }
        }
        if let Some(fault) = fault {
            return Err(fault);
        }
        // Before a run is said not to be there: in files of the first format only a full look shows damage.
        for path in &self.listing.earlier {
            earlier::read_records(&self.log.place, path, self.seals())?;
        }
        Ok(None)
    }

    fn find_earlier(&self, file: usize, path: &Path, run: &RunId) -> Result<Option<Found>, Fault> {
        if !earlier::mentions(path, run)? {
            return Ok(None);
        }
        let records = earlier::read_records(&self.log.place, path, self.seals())?;
        let found = records.into_iter().enumerate().find(|(_, record)| record.run_id == *run);
        Ok(found.map(|(at, record)| Found { record, next: Position { file, records: at.saturating_add(1) } }))
    }

    fn find_in(&self, index: usize, segment: &Segment, run: &RunId) -> Result<Option<Found>, Fault> {
        let checked = self.checked(index, segment)?;
        let start = format!("{{\"run_id\":\"{run}\"");
        let mut texts = checked.texts().enumerate();
        let Some((at, text)) = texts.find(|(_, text)| text.starts_with(start.as_bytes())) else {
            return Ok(None);
        };
        let record = segment::parse(&self.log.place, &segment.path, text)?;
        let file = self.listing.earlier.len().saturating_add(index);
        Ok(Some(Found { record, next: Position { file, records: at.saturating_add(1) } }))
    }

    fn records_from(&self, start: Position, limit: usize) -> Result<Vec<RunRecord>, Fault> {
        let mut records = Vec::new();
        let skipped = |file: usize| if file == start.file { start.records } else { 0 };
        for (file, path) in self.listing.earlier.iter().enumerate().skip(start.file) {
            if records.len() >= limit {
                return Ok(records);
            }
            let found = earlier::read_records(&self.log.place, path, self.seals())?;
            let wanted = limit.saturating_sub(records.len());
            records.extend(found.into_iter().skip(skipped(file)).take(wanted));
        }
        let earlier = self.listing.earlier.len();
        for (index, segment) in self.listing.segments.iter().enumerate() {
            let file = earlier.saturating_add(index);
            if file < start.file {
                continue;
            }
            if records.len() >= limit {
                break;
            }
            let checked = self.checked(index, segment)?;
            let wanted = limit.saturating_sub(records.len());
            for text in checked.texts().skip(skipped(file)).take(wanted) {
                records.push(segment::parse(&self.log.place, &segment.path, text)?);
            }
        }
        Ok(records)
    }
}

/// The headers of all files. The last file may have none yet, and then counts for nothing.
fn headers(log: &Log, listing: &mut Listing, known: Option<Head>) -> Result<Vec<Option<Header>>, Fault> {
    let mut found = Vec::with_capacity(listing.segments.len());
    for segment in &listing.segments {
        match segment::read_header(&log.place, segment) {
            Ok(header) => found.push(header),
            Err(Fault::Damaged(..)) => found.push(None),
            Err(unreadable) => return Err(unreadable),
        }
    }
    if let Some(last) = listing.segments.last()
        && known.is_none_or(|known| known.segment < last.number)
        && matches!(segment::read_header(&log.place, last), Ok(None))
    {
        listing.segments.pop();
        found.pop();
    }
    Ok(found)
}

/// The files from the first that is kept to the last that is known, those that are missing included.
fn complete(dir: &Path, listing: &Listing, known: Option<Head>) -> Vec<Segment> {
    let first = known.and_then(|known| known.cut).map_or(1, |(segment, _)| segment);
    let written = known.filter(|known| known.link.seq > 0).map_or(0, |known| known.segment);
    let last = listing.segments.last().map_or(0, |segment| segment.number).max(written);
    let kept: Vec<_> = listing.segments.iter().filter(|segment| segment.number >= first).cloned().collect();
    // Why bounded: a number in a name is not a reason to look for millions of files.
    if last.saturating_sub(first) > MISSING_MAX.saturating_add(kept.len() as u64) {
        return kept;
    }
    (first..=last).map(|number| Segment::new(dir, number)).collect()
}
