//! One workspace's runs: files named by the time at which they were started, one JSON line per run.
//!
//! A line without an end is what a power failure left of a write; opening removes it.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use memchr::{memchr_iter, memmem, memrchr};
use portcullis_core::id::RunId;

use crate::disk_sync::ToSync;
use crate::error::StoreError;
use crate::runs::RunRecord;
use portcullis_core::sync::lock;

/// How long after its start a run may be stored: longer than the longest call, and as much again for
/// clock changes.
const KEPT_WITHIN_MS: u64 = 2 * 60 * 60 * 1000;

/// A workspace's log.
pub(super) struct Log {
    dir: PathBuf,
    segment_bytes_max: u64,
    tail: Mutex<Option<Tail>>,
}

/// The current file.
struct Tail {
    file: Arc<File>,
    segment: Segment,
    bytes: u64,
    /// Whether the sync thread has been notified.
    unsynced: bool,
}

/// One file.
#[derive(Clone)]
struct Segment {
    /// When it was started, milliseconds since 1970; unique in the workspace.
    begun_ms: u64,
    path: PathBuf,
}

impl Segment {
    fn new(dir: &Path, begun_ms: u64) -> Self {
        Self { begun_ms, path: dir.join(format!("{begun_ms:016}.ndjson")) }
    }
}

impl Log {
    pub(super) fn new(dir: PathBuf, segment_bytes_max: u64) -> Self {
        Self { dir, segment_bytes_max, tail: Mutex::new(None) }
    }

    pub(super) fn is_open(&self) -> bool {
        self.tail().is_some()
    }

    /// Opens the last file for appending if it is closed.
    pub(super) fn open(&self) -> Result<(), StoreError> {
        let mut tail = self.tail();
        if tail.is_none() {
            std::fs::create_dir_all(&self.dir).map_err(|error| failed("creating a directory", &error))?;
            let last = self.segments()?.pop().unwrap_or_else(|| Segment::new(&self.dir, now_ms()));
            *tail = Some(Tail::open(last)?);
        }
        Ok(())
    }

    /// Appends a line; returns whether the sync thread must be notified.
    pub(super) fn append(&self, line: &[u8]) -> Result<bool, StoreError> {
        let mut state = self.tail();
        // Another append found the file in an unknown state; the next one opens it again.
        let closed = || StoreError::Unavailable("the runs' file was just closed".to_owned());
        let tail = state.as_mut().ok_or_else(closed)?;
        if tail.bytes >= self.segment_bytes_max {
            tail.file.sync_data().map_err(|error| failed("syncing a file", &error))?;
            let begun = now_ms().max(tail.segment.begun_ms.saturating_add(1));
            *tail = Tail::open(Segment::new(&self.dir, begun))?;
        }
        if let Err(error) = (&*tail.file).write_all(line) {
            // A part of the line may be in the file, and the next must not follow it.
            if tail.file.set_len(tail.bytes).is_err() {
                *state = None;
            }
            return Err(failed("writing to a file", &error));
        }
        tail.bytes = tail.bytes.saturating_add(line.len() as u64);
        Ok(!std::mem::replace(&mut tail.unsynced, true))
    }

    pub(super) fn get(&self, run: &RunId) -> Result<Option<RunRecord>, StoreError> {
        Ok(self.find(run)?.and_then(|found| found.record))
    }

    pub(super) fn list(
        &self,
        after: Option<&RunId>,
        limit: usize,
    ) -> Result<Option<Vec<RunRecord>>, StoreError> {
        let start = match after {
            None => Place::default(),
            Some(run) => match self.find(run)? {
                Some(found) => found.next,
                None => return Ok(None),
            },
        };
        let mut records = Vec::new();
        for segment in self.segments()? {
            if segment.begun_ms < start.begun_ms || records.len() >= limit {
                continue;
            }
            let text = read(&segment)?;
            let from = if segment.begun_ms == start.begun_ms { start.at } else { 0 };
            let lines = lines(text.get(from..).unwrap_or_default());
            let wanted = lines.filter_map(|(_, line)| parse(line)).take(limit - records.len());
            records.extend(wanted);
        }
        Ok(Some(records))
    }

    pub(super) fn remove(&self) -> Result<(), StoreError> {
        let mut tail = self.tail();
        *tail = None;
        match std::fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(failed("deleting runs", &error))
            }
            _ => Ok(()),
        }
    }

    fn find(&self, run: &RunId) -> Result<Option<Found>, StoreError> {
        let begun = begun_ms(run);
        let segments = self.segments()?;
        let ends = segments.iter().skip(1).map(|next| next.begun_ms).chain([u64::MAX]);
        let start = format!("{{\"run_id\":\"{run}\"");
        for (segment, end) in segments.iter().zip(ends) {
            let apart = begun.is_some_and(|begun| {
                end.saturating_add(KEPT_WITHIN_MS) < begun
                    || segment.begun_ms > begun.saturating_add(KEPT_WITHIN_MS)
            });
            if apart {
                continue;
            }
            let text = read(segment)?;
            if memmem::find(&text, start.as_bytes()).is_none() {
                continue;
            }
            let found = lines(&text).find(|(_, line)| line.starts_with(start.as_bytes()));
            if let Some((at, line)) = found {
                let next = Place { begun_ms: segment.begun_ms, at: at + line.len() + 1 };
                return Ok(Some(Found { record: parse(line), next }));
            }
        }
        Ok(None)
    }

    /// The files, oldest first.
    fn segments(&self) -> Result<Vec<Segment>, StoreError> {
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("listing files", &error)),
        };
        let mut segments = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| failed("listing files", &error))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Some(begun_ms) = name.strip_suffix(".ndjson").and_then(|stem| stem.parse().ok()) {
                segments.push(Segment { begun_ms, path });
            }
        }
        segments.sort_by_key(|segment| segment.begun_ms);
        Ok(segments)
    }

    fn tail(&self) -> MutexGuard<'_, Option<Tail>> {
        lock(&self.tail)
    }
}

impl ToSync for Log {
    fn sync(&self) {
        let file = match &mut *self.tail() {
            Some(tail) => {
                tail.unsynced = false;
                Arc::clone(&tail.file)
            }
            None => return,
        };
        if let Err(error) = file.sync_data() {
            tracing::error!(%error, "records of runs could not be synced");
        }
    }
}

impl Tail {
    /// Opens a file for appending; removes a line without an end.
    fn open(segment: Segment) -> Result<Self, StoreError> {
        let opening = |error| failed("opening a file", &error);
        let fresh = !segment.path.exists();
        let file = File::options().create(true).append(true).open(&segment.path).map_err(opening)?;
        let mut bytes = 0;
        if fresh {
            let dir = segment.path.parent().map(File::open).transpose().map_err(opening)?;
            dir.map_or(Ok(()), |dir| dir.sync_all()).map_err(opening)?;
        } else {
            let text = read(&segment)?;
            let whole = memrchr(b'\n', &text).map_or(0, |at| at + 1);
            bytes = whole as u64;
            if whole < text.len() {
                file.set_len(bytes).map_err(opening)?;
            }
        }
        Ok(Self { file: Arc::new(file), segment, bytes, unsynced: false })
    }
}

/// The position of a listing.
#[derive(Default)]
struct Place {
    begun_ms: u64,
    at: usize,
}

struct Found {
    record: Option<RunRecord>,
    next: Place,
}

/// Complete lines without their ends, and where each begins.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut begin = 0;
    memchr_iter(b'\n', text).map(move |end| {
        let at = std::mem::replace(&mut begin, end + 1);
        (at, text.get(at..end).unwrap_or_default())
    })
}

/// A line's record. An invalid line was damaged on disk, and must not hide the others.
fn parse(line: &[u8]) -> Option<RunRecord> {
    let parsed = serde_json::from_slice(line);
    if parsed.is_err() {
        tracing::error!("a record of a run cannot be read");
    }
    parsed.ok()
}

fn read(segment: &Segment) -> Result<Vec<u8>, StoreError> {
    std::fs::read(&segment.path).map_err(|error| failed("reading a file", &error))
}

/// When a run started: the first 48 bits of its UUIDv7 (RFC 9562 section 5.7).
fn begun_ms(run: &RunId) -> Option<u64> {
    let (_, uuid) = run.as_str().split_once('_')?;
    u64::from_str_radix(uuid.get(..12)?, 16).ok()
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn failed(doing: &str, error: &std::io::Error) -> StoreError {
    StoreError::io(&format!("keeping runs: {doing}"), error)
}
