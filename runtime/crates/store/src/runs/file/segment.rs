//! Run files: their names, their order, and reading one with everything in it checked.
//!
//! Names of 10 digits are numbers, from 1 without gaps. Names of 16 digits are files of the first format (see
//! `earlier`). It changes no file. Called by the log and by reading.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use memchr::memchr_iter;

use super::chain::{Contents, Header, Place};
use super::outline::{Outline, Part};
use crate::error::StoreError;
use crate::head::Link;
use crate::runs::RunRecord;
use crate::runs::query::{ended_us, started_ms};
pub(super) use crate::segment::Segment;

/// A header is shorter: it lists at most the files of the first format.
const HEADER_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What is wrong with a file, or why it cannot be read.
#[derive(Debug)]
pub(super) enum Fault {
    Io(PathBuf, std::io::Error),
    Damaged(PathBuf, String),
}

impl Fault {
    /// What a file that is listed and cannot be opened is.
    fn opening(path: &Path, error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Damaged(path.to_owned(), "the file is missing".to_owned()),
            std::io::ErrorKind::IsADirectory => Self::Damaged(path.to_owned(), "it is not a file".to_owned()),
            _ => Self::Io(path.to_owned(), error),
        }
    }

    /// The error, with the file as it is called below the data directory.
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Io(path, error) => StoreError::io(&format!("reading {}", name(&path)), &error),
            Self::Damaged(path, reason) => StoreError::DamagedFile { file: name(&path), reason },
        }
    }
}

/// `runs/<org>/<workspace>`, and the file if it is one.
pub(super) fn name(path: &Path) -> String {
    let levels = if path.extension().is_some() { 4 } else { 3 };
    let parts: Vec<_> = path.components().rev().take(levels).map(|part| part.as_os_str()).collect();
    let parts: Vec<_> = parts.iter().rev().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

/// The files of a workspace: those of the first format, oldest first, and those of this one by number.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) earlier: Vec<PathBuf>,
    pub(super) segments: Vec<Segment>,
}

/// Lists a workspace's files; `None` if it has no directory.
pub(super) fn list(dir: &Path) -> Result<Option<Listing>, Fault> {
    let failed = |error| Fault::Io(dir.to_owned(), error);
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Listing::default();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let digits = name.strip_suffix(".ndjson").filter(|stem| stem.bytes().all(|b| b.is_ascii_digit()));
        match digits.map(|digits| (digits.len(), digits.parse::<u64>())) {
            Some((10, Ok(number))) => found.segments.push(Segment { number, path }),
            Some((16, _)) => found.earlier.push(path),
            _ => {}
        }
    }
    found.segments.sort_by_key(|segment| segment.number);
    found.earlier.sort();
    Ok(Some(found))
}

/// A file that was read and checked as a whole.
pub(super) struct Checked {
    bytes: Vec<u8>,
    /// Where each record is, in order.
    records: Vec<Range<usize>>,
    pub(super) contents: Contents,
    pub(super) outline: Outline,
    /// The last record, of this file or of the one before.
    pub(super) end: Link,
    /// The record that `read` was asked to look out for, as it is in the file.
    pub(super) met: Option<Link>,
    /// Bytes of whole lines.
    pub(super) whole_bytes: u64,
    /// Bytes after the last line end.
    pub(super) torn_bytes: u64,
}

impl Checked {
    /// The records' texts, in order.
    pub(super) fn texts(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.records.iter().map(|range| self.bytes.get(range.clone()).unwrap_or_default())
    }
}

/// Reads a file and checks each line of it. `look_for` is the sequence of a record that the caller will compare.
pub(super) fn read(place: &Place, segment: &Segment, look_for: u64) -> Result<Checked, Fault> {
    let bytes = std::fs::read(&segment.path).map_err(|error| Fault::opening(&segment.path, error))?;
    let bad =
        |line: usize, reason: &str| Fault::Damaged(segment.path.clone(), format!("line {line}: {reason}"));
    let mut ends = memchr_iter(b'\n', &bytes);
    let head_end = ends.next().ok_or_else(|| bad(1, "it has no header"))?;
    let (header, start) =
        place.read_header(bytes.get(..head_end).unwrap_or_default()).map_err(|reason| bad(1, reason))?;
    if header.segment != segment.number {
        return Err(bad(1, &format!("it is file {} of the workspace", header.segment)));
    }
    let mut met = header.last().filter(|last| last.seq == look_for);
    let mut at = head_end.saturating_add(1);
    let mut outline = Outline::new(at as u64, start);
    let (mut records, mut contents) = (Vec::new(), Contents::default());
    for (line_end, number) in ends.zip(2_usize..) {
        let line = bytes.get(at..line_end).unwrap_or_default();
        let (record, next) = place.read_record(&outline.end, line).map_err(|reason| bad(number, reason))?;
        let begins = at.saturating_add(line.len()).saturating_sub(record.len()).saturating_sub(TAIL_BYTES);
        if let Some(started) = record_id(record).and_then(started_ms) {
            contents.add(started);
        }
        records.push(begins..begins.saturating_add(record.len()));
        met = if next.seq == look_for { Some(next) } else { met };
        outline.add((line.len() as u64).saturating_add(1), record_ended_us(record), next);
        at = line_end.saturating_add(1);
    }
    // A file without records ends where the one before did.
    let end = if records.is_empty() {
        header.last().ok_or_else(|| bad(1, "its hash is none"))?
    } else {
        outline.end
    };
    let whole_bytes = at as u64;
    contents.bytes = whole_bytes;
    let torn_bytes = (bytes.len() as u64).saturating_sub(whole_bytes);
    Ok(Checked { bytes, records, contents, outline, end, met, whole_bytes, torn_bytes })
}

/// What follows a record on its line: `,"hash":"…"}`.
const TAIL_BYTES: usize = 9 + 64 + 2;

/// The id at the beginning of a record.
pub(super) fn record_id(record: &str) -> Option<&str> {
    record.strip_prefix("{\"run_id\":\"")?.split('"').next()
}

/// When the run of a record ended.
pub(super) fn record_ended_us(record: &str) -> u64 {
    let ended = record.split_once(",\"created_at\":\"").and_then(|(_, rest)| rest.split('"').next());
    ended_us(ended.unwrap_or_default(), record_id(record).unwrap_or_default())
}

/// The texts of a block's records, checked from the record before them to the last.
pub(super) fn read_part(place: &Place, segment: &Segment, part: &Part) -> Result<Vec<String>, Fault> {
    let bad =
        |number: u64, reason: &str| Fault::Damaged(segment.path.clone(), format!("line {number}: {reason}"));
    // Line 1 is the header.
    let mut number = part.first.saturating_add(2);
    let short = || bad(part.first.saturating_add(2), "it is shorter than what was written");
    let length = usize::try_from(part.end.saturating_sub(part.at)).map_err(|_| short())?;
    let mut bytes = vec![0_u8; length];
    let file = File::open(&segment.path).map_err(|error| Fault::opening(&segment.path, error))?;
    file.read_exact_at(&mut bytes, part.at).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => short(),
        _ => Fault::Io(segment.path.clone(), error),
    })?;
    let (mut link, mut at, mut records) = (part.before, 0_usize, Vec::new());
    for line_end in memchr_iter(b'\n', &bytes) {
        let line = bytes.get(at..line_end).unwrap_or_default();
        let (record, next) = place.read_record(&link, line).map_err(|reason| bad(number, reason))?;
        records.push(record.to_owned());
        (link, at, number) = (next, line_end.saturating_add(1), number.saturating_add(1));
    }
    if at != bytes.len() || link != part.after {
        return Err(bad(number, "it is not what was written"));
    }
    Ok(records)
}

/// The header of a file with the link that its first record follows, checked by itself; `None` if the file has none
/// yet.
pub(super) fn read_header(place: &Place, segment: &Segment) -> Result<Option<(Header, Link)>, Fault> {
    let failed = |error| Fault::opening(&segment.path, error);
    let file = File::open(&segment.path).map_err(failed)?;
    let mut line = Vec::new();
    BufReader::new(file.take(HEADER_BYTES_MAX)).read_until(b'\n', &mut line).map_err(failed)?;
    if line.pop() != Some(b'\n') {
        return Ok(None);
    }
    let bad = |reason: &str| Fault::Damaged(segment.path.clone(), format!("line 1: {reason}"));
    let (header, start) = place.read_header(&line).map_err(bad)?;
    if header.segment != segment.number {
        return Err(bad(&format!("it is file {} of the workspace", header.segment)));
    }
    Ok(Some((header, start)))
}

/// A checked record, as a document of this workspace.
pub(super) fn parse(place: &Place, path: &Path, text: &[u8]) -> Result<RunRecord, Fault> {
    let damaged = |reason: &str| Fault::Damaged(path.to_owned(), reason.to_owned());
    let record: RunRecord = serde_json::from_slice(text).map_err(|_| damaged("it holds no run record"))?;
    if record.org != place.org || record.workspace != place.workspace {
        return Err(damaged("it holds a run of another workspace"));
    }
    Ok(record)
}
