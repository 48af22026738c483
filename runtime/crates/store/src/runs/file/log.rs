//! One workspace's runs, open for appending: a chain of records in numbered files.
//!
//! A write that fails leaves the file as it was, or closes it; a sync that fails closes it and has the file written
//! once more. Either is tried again by the sync thread until it succeeds. A file that is damaged is left as it is,
//! and records go on in a next one that continues from the head, so that new runs are not lost for an old fault.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use portcullis_core::sync::lock;

use super::chain::{Contents, Header, Place};
use super::outline::Outline;
use super::segment::{self, Checked, Fault, Listing, Segment};
use super::{earlier, index};
use crate::disk_sync::{ToSync, is_at, probe, rewrite, sync_directory};
use crate::error::StoreError;
use crate::head::{Head, HeadFile, Link};
use crate::runs::RunRecord;
use crate::runs::query::{ended_us, started_ms};

/// Most tries to delete a log's directory.
const REMOVALS_MAX: u32 = 10;

/// A workspace's log.
pub(super) struct Log {
    pub(super) place: Place,
    pub(super) dir: PathBuf,
    /// Where the indexes of closed files are.
    pub(super) index_dir: PathBuf,
    head: HeadFile,
    segment_bytes_max: u64,
    state: Mutex<State>,
    /// A file was closed since this was last asked.
    rolled: AtomicBool,
}

#[derive(Default)]
struct State {
    tail: Option<Tail>,
    /// How far this process wrote, also after the tail was closed.
    reached: Option<Head>,
    /// A sync failed: the file is written once more before it is used again.
    unsure: bool,
    /// The last write, sync or opening failed.
    failing: bool,
}

/// The current file.
struct Tail {
    file: Arc<File>,
    segment: Segment,
    contents: Contents,
    /// Its end is what the next record is linked to: the last record, or the header of a file without any.
    outline: Outline,
    /// The last record.
    head: Head,
    /// Whether the sync thread has been notified.
    unsynced: bool,
}

impl Log {
    pub(super) fn new(root: &Path, place: Place, segment_bytes_max: u64) -> Self {
        let names = [place.org.as_str(), place.workspace.as_str()];
        let head = HeadFile::of(root, &names);
        let below = |root: PathBuf| names.iter().fold(root, |path, name| path.join(name));
        let (dir, index_dir) = (below(root.to_owned()), below(root.join(index::INDEXES)));
        let (state, rolled) = (Mutex::default(), AtomicBool::new(false));
        Self { place, dir, index_dir, head, segment_bytes_max, state, rolled }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state().tail.is_some()
    }

    /// How far the log is known to reach, from this process or from the head, and the outline of the current file if
    /// that is open, as both are at this moment.
    pub(super) fn now(&self) -> (Option<Head>, Option<(u64, Outline)>) {
        let state = self.state();
        let tail = state.tail.as_ref().map(|tail| (tail.segment.number, tail.outline.clone()));
        (self.known_in(&state), tail)
    }

    /// Whether a file was closed since this was last asked.
    pub(super) fn take_rolled(&self) -> bool {
        // Why read first: almost every append asks, and a read alone is cheaper.
        self.rolled.load(Ordering::Relaxed) && self.rolled.swap(false, Ordering::Relaxed)
    }

    fn known_in(&self, state: &State) -> Option<Head> {
        state.reached.or_else(|| self.head.read())
    }

    /// Opens the last file for appending if it is closed. Everything in it is then on disk.
    pub(super) fn open(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.tail.is_some() {
            return Ok(());
        }
        let opened = self.open_tail(&state).map_err(Fault::into_error);
        if opened.is_ok() && state.failing {
            tracing::warn!(dir = %self.dir.display(), "records of runs are written again");
        }
        state.failing = opened.is_err();
        let tail = opened?;
        state.unsure = false;
        state.reached = Some(tail.head);
        state.tail = Some(tail);
        Ok(())
    }

    fn open_tail(&self, state: &State) -> Result<Tail, Fault> {
        let known = self.known_in(state);
        let listing = match segment::list(&self.dir)? {
            Some(listing) => listing,
            None if known.is_some_and(|known| known.link.seq > 0) => {
                return Err(Fault::Damaged(self.dir.clone(), "the directory is missing".to_owned()));
            }
            None => {
                self.make_directory().map_err(|error| Fault::Io(self.dir.clone(), error))?;
                Listing::default()
            }
        };
        let last = listing.segments.last().map_or(0, |segment| segment.number);
        let expected = known.map_or(0, |known| known.segment);
        let Some(segment) = listing.segments.last().filter(|_| last >= expected) else {
            if expected > 0 {
                let missing = Segment::new(&self.dir, expected).path;
                tracing::error!(file = %missing.display(), "a file of run records is missing");
            }
            return self.begin(expected.saturating_add(1), known, None, &listing);
        };
        match self.resume(segment, known, state.unsure) {
            Ok(Some(tail)) => Ok(tail),
            // The process died between making the file and writing its header.
            Ok(None) => {
                std::fs::remove_file(&segment.path).map_err(|e| Fault::Io(segment.path.clone(), e))?;
                let before = listing.segments.iter().rev().nth(1);
                let before = before.map(|before| segment::read(&self.place, before, 0)).transpose()?;
                self.begin(segment.number, known, before, &listing)
            }
            Err(Fault::Damaged(path, reason)) => {
                tracing::error!(file = %path.display(), reason, "a file of run records is damaged");
                self.begin(last.saturating_add(1), known, None, &listing)
            }
            Err(unreadable) => Err(unreadable),
        }
    }

    /// The last file as the tail, after checking all of it; `None` if it has no header yet.
    fn resume(&self, segment: &Segment, known: Option<Head>, unsure: bool) -> Result<Option<Tail>, Fault> {
        let failed = |error| Fault::Io(segment.path.clone(), error);
        let begun = known.is_some_and(|known| known.segment >= segment.number);
        if !begun && segment::read_header(&self.place, segment)?.is_none() {
            return Ok(None);
        }
        let checked = segment::read(&self.place, segment, known.map_or(0, |known| known.link.seq))?;
        reaches(segment, &checked, known)?;
        let file = open_file(&segment.path).map_err(failed)?;
        if checked.torn_bytes > 0 {
            let (file, bytes) = (segment.path.display(), checked.torn_bytes);
            tracing::warn!(%file, bytes, "cutting away a run record that was not completely written");
        }
        file.set_len(checked.whole_bytes).map_err(failed)?;
        if unsure {
            rewrite(&segment.path).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
        let cut = known.and_then(|known| known.cut);
        let tail = Tail {
            file: Arc::new(file),
            segment: segment.clone(),
            contents: checked.contents,
            outline: checked.outline,
            head: Head { link: checked.end, segment: segment.number, cut },
            unsynced: false,
        };
        if checked.end.seq > 0 {
            self.head.write(tail.head).map_err(failed)?;
        }
        Ok(Some(tail))
    }

    /// Begins a file. `before` is the one before it, if that is sound.
    fn begin(
        &self,
        number: u64,
        known: Option<Head>,
        before: Option<Checked>,
        listing: &Listing,
    ) -> Result<Tail, Fault> {
        let known_link = known.map(|known| known.link);
        let found = before.as_ref().map(|before| before.end).or(known_link);
        let last = found.unwrap_or_else(|| self.place.genesis());
        let mut header = Header::new(&self.place, number, &last);
        header.before = before.map(|before| before.contents);
        if number == 1 {
            header.earlier = earlier::seal(&self.place, &listing.earlier)?;
        }
        let segment = Segment::new(&self.dir, number);
        let cut = known.and_then(|known| known.cut);
        self.make(segment, &header, cut)
    }

    /// Makes a file with this header; there is none if that fails.
    fn make(&self, segment: Segment, header: &Header, cut: Option<(u64, Link)>) -> Result<Tail, Fault> {
        let path = segment.path.clone();
        let made = || -> std::io::Result<Tail> {
            let (line, link) = self.place.header_line(header)?;
            let file = open_file(&path)?;
            let mut writing = &file;
            writing.write_all(line.as_bytes())?;
            file.sync_all()?;
            sync_directory(&self.dir)?;
            let last = header.last().unwrap_or(link);
            let contents = Contents { bytes: line.len() as u64, ..Contents::default() };
            let outline = Outline::new(contents.bytes, link);
            let head = Head { link: last, segment: segment.number, cut };
            Ok(Tail { file: Arc::new(file), segment, contents, outline, head, unsynced: false })
        };
        made().map_err(|error| {
            // Why ignored: one without a whole header is removed by the next opening, too.
            let _ = std::fs::remove_file(&path);
            Fault::Io(path, error)
        })
    }

    fn make_directory(&self) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        self.dir.ancestors().skip(1).take(2).try_for_each(sync_directory)
    }

    /// Appends a record; returns whether the sync thread must be notified.
    pub(super) fn append(&self, record: &RunRecord, text: &str) -> Result<bool, StoreError> {
        let mut state = self.state();
        // Another append found the file in an unknown state; the next one opens it again.
        let closed = || StoreError::Unavailable("the runs' file was just closed".to_owned());
        if state.tail.as_ref().ok_or_else(closed)?.contents.bytes >= self.segment_bytes_max {
            self.roll(&mut state)?;
        }
        let tail = state.tail.as_mut().ok_or_else(closed)?;
        let (line, link) = self.place.record_line(&tail.outline.end, text);
        let mut file = &*tail.file;
        if let Err(error) = file.write_all(line.as_bytes()) {
            // A part of the line may be in the file, and the next must not follow it.
            if tail.file.set_len(tail.contents.bytes).is_err() {
                state.tail = None;
            }
            state.failing = true;
            return Err(failed("writing to a file", &error));
        }
        tail.contents.bytes = tail.contents.bytes.saturating_add(line.len() as u64);
        if let Some(started) = started_ms(record.run_id.as_str()) {
            tail.contents.add(started);
        }
        let ended = ended_us(&record.created_at, record.run_id.as_str());
        tail.outline.add(line.len() as u64, ended, link);
        tail.head.link = link;
        let first = !std::mem::replace(&mut tail.unsynced, true);
        state.reached = Some(tail.head);
        Ok(first)
    }

    /// Puts the file on disk and begins the next.
    fn roll(&self, state: &mut State) -> Result<(), StoreError> {
        let Some(tail) = &state.tail else { return Ok(()) };
        if let Err(error) = tail.file.sync_data() {
            (state.tail, state.unsure, state.failing) = (None, true, true);
            return Err(failed("syncing a file", &error));
        }
        let number = tail.segment.number.saturating_add(1);
        let mut header = Header::new(&self.place, number, &tail.head.link);
        header.before = Some(tail.contents);
        let made = self.make(Segment::new(&self.dir, number), &header, tail.head.cut);
        state.failing = made.is_err();
        state.tail = Some(made.map_err(Fault::into_error)?);
        self.rolled.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// When the first of the runs of the current file ended, if that is open and has any.
    pub(super) fn earliest_us(&self) -> Option<u64> {
        let state = self.state();
        let outline = state.tail.as_ref().map(|tail| &tail.outline);
        outline.filter(|outline| outline.records > 0).map(|outline| outline.from_us)
    }

    /// Begins a next file, unless the current one has no run.
    pub(super) fn close_file(&self) -> Result<(), Fault> {
        let failed =
            |error: StoreError| Fault::Io(self.dir.clone(), std::io::Error::other(error.to_string()));
        self.open().map_err(failed)?;
        let mut state = self.state();
        let has_runs = state.tail.as_ref().is_some_and(|tail| tail.outline.records > 0);
        if has_runs { self.roll(&mut state).map_err(failed) } else { Ok(()) }
    }

    /// Drops the oldest files except `keep`; the current one always stays. Returns how many were dropped.
    pub(super) fn prune(&self, keep: usize) -> Result<usize, StoreError> {
        let listing = segment::list(&self.dir).map_err(Fault::into_error)?.unwrap_or_default();
        let kept = listing.segments.len().saturating_sub(keep.max(1));
        match listing.segments.get(kept).filter(|_| kept > 0) {
            Some(first) => self.drop_before(first.number),
            None => Ok(0),
        }
    }

    /// Drops the files before this one; the current one always stays. Returns how many were dropped.
    pub(super) fn drop_before(&self, first: u64) -> Result<usize, StoreError> {
        self.open()?;
        let listing = segment::list(&self.dir).map_err(Fault::into_error)?.unwrap_or_default();
        let Some((file, head)) = self.cut_at(first, &listing)? else { return Ok(0) };
        // Why without the lock from here on: calls that end meanwhile must not wait for the disk.
        file.sync_data().map_err(|error| failed("syncing a file", &error))?;
        // First the cut, then the files: if interrupted in between, the files before the cut count for nothing.
        self.head.write_synced(head).map_err(|error| failed("writing the head", &error))?;
        let kept = head.cut.map_or(0, |(first, _)| first);
        let dropped: Vec<_> = listing.segments.iter().filter(|segment| segment.number < kept).collect();
        for path in listing.earlier.iter().chain(dropped.iter().map(|segment| &segment.path)) {
            std::fs::remove_file(path).map_err(|error| failed("deleting a file", &error))?;
        }
        let indexes = dropped.iter().map(|segment| index::path(&self.index_dir, segment.number));
        let earlier = listing.earlier.iter().map(|path| earlier::index_path(&self.index_dir, path));
        for path in indexes.chain(earlier) {
            // Why ignored: an index without its file is never looked at.
            let _ = std::fs::remove_file(path);
        }
        Ok(dropped.len().saturating_add(listing.earlier.len()))
    }

    /// Has the log begin with this file, or with the current one if that is before it; `None` if nothing is before it.
    fn cut_at(&self, first: u64, listing: &Listing) -> Result<Option<(Arc<File>, Head)>, StoreError> {
        let mut state = self.state();
        let Some(tail) = &mut state.tail else { return Ok(None) };
        let first = first.min(tail.segment.number);
        let nothing =
            listing.earlier.is_empty() && listing.segments.iter().all(|segment| segment.number >= first);
        let kept = listing.segments.iter().find(|segment| segment.number >= first);
        let Some(kept) = kept.filter(|_| !nothing) else { return Ok(None) };
        let header = segment::read_header(&self.place, kept).map_err(Fault::into_error)?;
        let Some(last) = header.and_then(|(header, _)| header.last()) else { return Ok(None) };
        tail.head.cut = Some((kept.number, last));
        let (file, head) = (Arc::clone(&tail.file), tail.head);
        state.reached = Some(head);
        Ok(Some((file, head)))
    }

    pub(super) fn remove(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        *state = State::default();
        let deleting = |error| failed("deleting runs", &error);
        self.head.remove().map_err(deleting)?;
        // Why ignored: an index is of no use without its file, and one may be being made.
        let _ = std::fs::remove_dir_all(&self.index_dir);
        let mut tries = 0;
        loop {
            tries += 1;
            match std::fs::remove_dir_all(&self.dir) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                // Why again: a call that ends meanwhile may begin the directory anew.
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && tries < REMOVALS_MAX => {}
                removed => return removed.map_err(deleting),
            }
        }
    }

    /// Learns whether an open file that failed takes records again.
    fn try_again(&self) -> bool {
        let mut state = self.state();
        if !state.failing {
            return true;
        }
        let Some(tail) = &state.tail else { return false };
        let well = probe(&tail.file, tail.contents.bytes).is_ok();
        state.failing = !well;
        well
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl ToSync for Log {
    fn sync(&self) -> bool {
        let (file, path, head) = {
            let mut state = self.state();
            let failing = state.failing;
            match &mut state.tail {
                Some(tail) => {
                    tail.unsynced = false;
                    (Arc::clone(&tail.file), tail.segment.path.clone(), tail.head)
                }
                None if !failing => return true,
                None => {
                    drop(state);
                    return self.open().is_ok();
                }
            }
        };
        let synced = file.sync_data();
        if synced.is_ok() && is_at(&file, &path) {
            return match self.head.write(head) {
                Ok(()) => self.try_again(),
                Err(error) => {
                    tracing::error!(%error, file = %path.display(), "the head of run records could not be written");
                    false
                }
            };
        }
        let reason = synced.err().map_or_else(|| "it was moved away".to_owned(), |error| error.to_string());
        tracing::error!(reason, file = %path.display(), "records of runs could not be synced");
        let mut state = self.state();
        (state.tail, state.unsure, state.failing) = (None, true, true);
        false
    }
}

/// Whether a file reaches as far as is known.
pub(super) fn reaches(segment: &Segment, checked: &Checked, known: Option<Head>) -> Result<(), Fault> {
    let Some(known) = known.filter(|known| known.segment == segment.number) else { return Ok(()) };
    let reason = match checked.met {
        Some(met) if met == known.link => return Ok(()),
        Some(_) => format!("record {} is not the one that was written", known.link.seq),
        None => format!("it ends at record {}, and {} were written", checked.end.seq, known.link.seq),
    };
    Err(Fault::Damaged(segment.path.clone(), reason))
}

fn open_file(path: &Path) -> std::io::Result<File> {
    File::options().create(true).append(true).open(path)
}

pub(super) fn failed(doing: &str, error: &std::io::Error) -> StoreError {
    StoreError::io(&format!("keeping runs: {doing}"), error)
}
