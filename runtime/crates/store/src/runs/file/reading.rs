//! A look at a workspace's runs: what is passed on was checked, and what should be there and is not is an error.
//!
//! A look lists the files and compares them with the head. Of a file that is read whole, every line is checked, and
//! that it reaches the one that follows, or the head; of a block, every line from the record before it to its last.
//! Called by lists and by the backend.

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;

use portcullis_core::id::RunId;

use super::chain::{Header, Sealed};
use super::index::Values;
use super::latest::Latest;
use super::log::{Log, reaches};
use super::outline::Outline;
use super::segment::{self, Checked, Fault, Listing, Segment};
use super::{earlier, index};
use crate::error::StoreError;
use crate::head::{Head, Link};
use crate::runs::RunRecord;
use crate::runs::query::{RunKey, started_ms};

/// Files may be begun and dropped during a look; only what a later look finds, too, is a fault.
const LOOKS_MAX: usize = 3;

/// Numbers without a file that are taken for missing files; with more, a name is odd.
const MISSING_MAX: u64 = 100_000;

/// In a list, files of the first format count before the others.
const SEGMENT_UNITS: u64 = 1 << 32;

/// A run of a workspace. For an id that no run has, nothing is read.
pub(super) fn get(log: &Log, run: &RunId) -> Result<Option<RunRecord>, StoreError> {
    if started_ms(run.as_str()).is_none() {
        return Ok(None);
    }
    looked(|| Ok(Look::new(log)?.find(run)?.map(|found| found.record)))
}

pub(super) fn looked<T>(mut look: impl FnMut() -> Result<T, Fault>) -> Result<T, StoreError> {
    let mut looks = 0_usize;
    loop {
        looks = looks.saturating_add(1);
        match look() {
            Err(_) if looks < LOOKS_MAX => {}
            other => return other.map_err(Fault::into_error),
        }
    }
}

/// A record with its place: the file, and its position there.
pub(super) struct Found {
    pub(super) record: RunRecord,
    unit: u64,
    at: u64,
}

/// A file of a workspace, by its position in the listing.
pub(super) enum Unit<'a> {
    Earlier(&'a Path),
    Segment(usize, &'a Segment),
}

/// The files of a workspace, listed and compared with the head. One that is missing is listed, and is a fault when it
/// is read, so that reads which do not need it go on.
pub(super) struct Look<'a> {
    pub(super) log: &'a Log,
    known: Option<Head>,
    /// The outline of the file that is written to, if it is open.
    tail: Option<(u64, Outline)>,
    /// That of the last file, if it is not, and the file's length.
    cold: OnceCell<(Arc<Outline>, u64)>,
    /// What is known of files that were read before.
    latest: Option<&'a Latest>,
    listing: Listing,
    /// The header of each file as soon as it was read; `None` in it if it cannot be read.
    headers: Vec<OnceCell<Option<(Header, Link)>>>,
}

impl<'a> Look<'a> {
    /// A look that reads nothing again that is known.
    pub(super) fn knowing(log: &'a Log, latest: &'a Latest) -> Result<Self, Fault> {
        Ok(Self { latest: Some(latest), ..Self::new(log)? })
    }

    pub(super) fn new(log: &'a Log) -> Result<Self, Fault> {
        // Before the list: files may be begun meanwhile, and then reach past it.
        let (known, tail) = log.now();
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
        without_unbegun(log, &mut listing, known);
        let headers = listing.segments.iter().map(|_| OnceCell::new()).collect();
        let look = Self { log, known, tail, cold: OnceCell::new(), latest: None, listing, headers };
        let begins = cut.map_or_else(|| log.place.genesis(), |(_, dropped)| dropped);
        if let (Some(segment), Some((header, _))) = (look.listing.segments.first(), look.header(0)?) {
            if header.last() != Some(begins) {
                let reason = "it does not continue from where the runs begin".to_owned();
                return Err(Fault::Damaged(segment.path.clone(), reason));
            }
            if cut.is_none() {
                earlier::check_list(&log.dir, &look.listing.earlier, &header.earlier)?;
            }
        }
        Ok(look)
    }

    /// How many files there are.
    pub(super) fn units(&self) -> usize {
        self.listing.earlier.len().saturating_add(self.listing.segments.len())
    }

    pub(super) fn unit(&self, index: usize) -> Option<Unit<'_>> {
        let earlier = self.listing.earlier.len();
        if let Some(path) = self.listing.earlier.get(index) {
            return Some(Unit::Earlier(path));
        }
        let index = index.checked_sub(earlier)?;
        self.listing.segments.get(index).map(|segment| Unit::Segment(index, segment))
    }

    /// The number that a file has in keys.
    pub(super) fn unit_number(&self, index: usize) -> u64 {
        match self.unit(index) {
            Some(Unit::Segment(_, segment)) => SEGMENT_UNITS.saturating_add(segment.number),
            Some(Unit::Earlier(_)) | None => index as u64,
        }
    }

    /// The key of a record in a list of this workspace.
    pub(super) fn key(&self, unit: u64, record: u64) -> RunKey {
        let (org, workspace) = (self.log.place.org.clone(), self.log.place.workspace.clone());
        RunKey { us: 0, org, workspace, unit, record }
    }

    /// The key of a run in a list of this workspace; `None` if there is no such run.
    pub(super) fn key_of(&self, run: &RunId) -> Result<Option<RunKey>, Fault> {
        Ok(self.find(run)?.map(|found| self.key(found.unit, found.at)))
    }

    fn header(&self, index: usize) -> Result<Option<&(Header, Link)>, Fault> {
        let (Some(cell), Some(segment)) = (self.headers.get(index), self.listing.segments.get(index)) else {
            return Ok(None);
        };
        if cell.get().is_none() {
            let read = match segment::read_header(&self.log.place, segment) {
                Ok(header) => header,
                Err(Fault::Damaged(..)) => None,
                Err(unreadable) => return Err(unreadable),
            };
            return Ok(cell.get_or_init(|| read).as_ref());
        }
        Ok(cell.get().and_then(Option::as_ref))
    }

    fn seals(&self) -> Result<Option<&[Sealed]>, Fault> {
        Ok(self.header(0)?.map(|(header, _)| header.earlier.as_slice()))
    }

    /// The records of a file of the first format.
    pub(super) fn earlier_records(&self, path: &Path) -> Result<Vec<RunRecord>, Fault> {
        earlier::read_records(&self.log.place, path, self.seals()?)
    }

    /// Whether a file is the last one.
    pub(super) fn is_last(&self, index: usize) -> bool {
        index.saturating_add(1) >= self.listing.segments.len()
    }

    /// Whether a file is written to by this process now.
    pub(super) fn is_open(&self, segment: &Segment) -> bool {
        self.tail.as_ref().is_some_and(|(number, _)| *number == segment.number)
    }

    /// The outline of a file and, for a closed one, which values its runs have. `read` learns of the bytes of a file
    /// that had to be read for that.
    pub(super) fn outlined(
        &self,
        index: usize,
        segment: &Segment,
        read: &mut u64,
    ) -> Result<(Outline, Option<Values>), Fault> {
        if self.is_last(index) {
            return self.last_outlined(index, segment, read).map(|outline| (outline, None));
        }
        let path = index::path(&self.log.index_dir, segment.number);
        if let Some(end) = self.closed_end(index)?
            && let Some((outline, values)) = index::read(&path, &end)
            && self.header(index)?.is_some_and(|(_, start)| *start == outline.start())
        {
            return Ok((outline, Some(values)));
        }
        let checked = self.checked(index, segment)?;
        *read = read.saturating_add(checked.whole_bytes);
        let values = Values::of(checked.texts());
        keep_index(&path, &checked.outline, &values);
        Ok((checked.outline, Some(values)))
    }

    fn last_outlined(&self, index: usize, segment: &Segment, read: &mut u64) -> Result<Outline, Fault> {
        if let Some((number, outline)) = &self.tail
            && *number == segment.number
            && self.header(index)?.is_some_and(|(_, start)| *start == outline.start())
        {
            return Ok(outline.clone());
        }
        if self.cold.get().is_none() {
            let known = self.known_tail(index, segment)?;
            let cold = match known {
                Some(known) => known,
                None => {
                    let checked = self.checked(index, segment)?;
                    *read = read.saturating_add(checked.whole_bytes);
                    let cold =
                        (Arc::new(checked.outline), checked.whole_bytes.saturating_add(checked.torn_bytes));
                    if let Some(latest) = self.latest {
                        latest.keep_tail(&self.log.place, segment.number, &cold);
                    }
                    cold
                }
            };
            return Ok(Outline::clone(&self.cold.get_or_init(|| cold).0));
        }
        let begins = || Outline::new(0, self.log.place.genesis());
        Ok(self.cold.get().map_or_else(begins, |(outline, _)| Outline::clone(outline)))
    }

    /// The outline of the last file, if it was read before and is as long as it was then.
    fn known_tail(&self, index: usize, segment: &Segment) -> Result<Option<(Arc<Outline>, u64)>, Fault> {
        let tail = self.latest.and_then(|latest| latest.tail(&self.log.place, segment.number));
        let Some((outline, bytes)) = tail else { return Ok(None) };
        let is_same = std::fs::metadata(&segment.path).is_ok_and(|file| file.len() == bytes)
            && self.header(index)?.is_some_and(|(_, start)| *start == outline.start());
        // What the head knows beyond it would be missing.
        let reaches = self.known.is_none_or(|known| {
            known.segment != segment.number
                || known.link == outline.end
                || known.link.seq < outline.end.seq
                || (outline.records == 0 && known.link.seq == outline.end.seq)
        });
        Ok((is_same && reaches).then_some((outline, bytes)))
    }

    /// The length that the last file had when it was read; none if it is open.
    pub(super) fn cold_bytes(&self) -> Option<u64> {
        self.cold.get().map(|(_, bytes)| *bytes)
    }

    /// The last link of a closed file, as the next file names it.
    fn closed_end(&self, index: usize) -> Result<Option<Link>, Fault> {
        let next = self.header(index.saturating_add(1))?;
        Ok(next.and_then(|(header, _)| header.last()))
    }

    /// A file, checked, and that it reaches what follows it.
    pub(super) fn checked(&self, index: usize, segment: &Segment) -> Result<Checked, Fault> {
        let look_for = self.known.map_or(0, |known| known.link.seq);
        let checked = segment::read(&self.log.place, segment, look_for)?;
        reaches(segment, &checked, self.known)?;
        let Some(next) = self.listing.segments.get(index.saturating_add(1)) else { return Ok(checked) };
        let Some((header, _)) = self.header(index.saturating_add(1))? else {
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
        let Some(started) = started_ms(run.as_str()) else { return Ok(None) };
        let mut fault = None;
        for (file, path) in self.listing.earlier.iter().enumerate() {
            match self.find_earlier(file, path, run) {
                Ok(None) => {}
                Err(found) => fault = fault.or(Some(found)),
                found => return found,
            }
        }
        for (index, segment) in self.listing.segments.iter().enumerate() {
            let before = self.header(index.saturating_add(1))?.and_then(|(next, _)| next.before);
            if before.is_some_and(|contents| !contents.may_hold(started)) {
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
            if self.earlier_values(path)?.is_none() {
                self.earlier_records(path)?;
            }
        }
        Ok(None)
    }

    fn find_earlier(&self, file: usize, path: &Path, run: &RunId) -> Result<Option<Found>, Fault> {
        let known = self.earlier_values(path)?;
        let may_have = match &known {
            Some(values) => values.may_have_run(run),
            None => earlier::mentions(path, run)?,
        };
        if !may_have {
            return Ok(None);
        }
        let found =
            self.earlier_records(path)?.into_iter().zip(0..).find(|(record, _)| record.run_id == *run);
        Ok(found.map(|(record, at)| Found { record, unit: file as u64, at }))
    }

    /// Which runs a file of the first format has, if it is sealed and was sound; it is read once for that.
    fn earlier_values(&self, path: &Path) -> Result<Option<Values>, Fault> {
        let Some(seal) = earlier::sealed_as(path, self.seals()?) else { return Ok(None) };
        let index = earlier::index_path(&self.log.index_dir, path);
        if let Some((_, values)) = index::read(&index, &seal) {
            return Ok(Some(values));
        }
        let records = self.earlier_records(path)?;
        let texts: Vec<String> = records.iter().map(RunRecord::to_json).collect();
        let values = Values::of(texts.iter().map(String::as_bytes));
        keep_index(&index, &Outline::new(0, seal), &values);
        Ok(Some(values))
    }

    fn find_in(&self, index: usize, segment: &Segment, run: &RunId) -> Result<Option<Found>, Fault> {
        // Why not the last file: it has no index, and there is one of it.
        if !self.is_last(index) {
            let (_, values) = self.outlined(index, segment, &mut 0)?;
            if values.is_some_and(|values| !values.may_have_run(run)) {
                return Ok(None);
            }
        }
        let checked = self.checked(index, segment)?;
        let start = format!("{{\"run_id\":\"{run}\"");
        let found = checked.texts().zip(0..).find(|(text, _)| text.starts_with(start.as_bytes()));
        let Some((text, at)) = found else { return Ok(None) };
        let record = segment::parse(&self.log.place, &segment.path, text)?;
        Ok(Some(Found { record, unit: SEGMENT_UNITS.saturating_add(segment.number), at }))
    }
}

fn keep_index(path: &Path, outline: &Outline, values: &Values) {
    if let Err(error) = index::write(path, outline, values) {
        // Why go on: an index saves time and nothing else.
        tracing::warn!(%error, file = %path.display(), "the index of a file of runs could not be written");
    }
}

/// Leaves out a last file that has no header yet: it counts for nothing.
fn without_unbegun(log: &Log, listing: &mut Listing, known: Option<Head>) {
    if let Some(last) = listing.segments.last()
        && known.is_none_or(|known| known.segment < last.number)
        && matches!(segment::read_header(&log.place, last), Ok(None))
    {
        listing.segments.pop();
    }
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
