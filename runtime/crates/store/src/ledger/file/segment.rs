//! Segment files: their names, their order, and reading their lines with bounded memory.
//!
//! It knows nothing of chains. Called by recovery, verification and queries.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Take};
use std::path::Path;

use crate::ledger::line::LINE_BYTES_MAX;
pub(super) use crate::segment::Segment;

/// The segments of a directory from number `first` on, in order.
pub(super) fn list(dir: &Path, first: u64) -> std::io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(".ndjson"))
            .filter(|digits| digits.len() >= 10)
            .and_then(|digits| digits.parse::<u64>().ok());
        if let Some(number) = number
            && number >= first
        {
            segments.push(Segment::new(dir, number));
        }
    }
    segments.sort_by_key(|segment| segment.number);
    Ok(segments)
}

/// The number that is missing from segments which should begin with `first`.
pub(super) fn missing(segments: &[Segment], first: u64) -> Option<u64> {
    let numbers = segments.iter().map(|segment| segment.number);
    numbers.zip(first..).find(|(number, expected)| number != expected).map(|(_, expected)| expected)
}

/// How a line ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnd {
    /// With a line end.
    Whole,
    /// At the end of the file.
    Torn,
    /// Longer than the limit.
    TooLong,
}

/// The lines of a file, up to its length when it was opened.
pub(super) struct Lines {
    reader: BufReader<Take<File>>,
}

impl Lines {
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        // Up to the current length: records are appended while this reads.
        let bytes = file.metadata()?.len();
        Ok(Self { reader: BufReader::with_capacity(64 * 1024, file.take(bytes)) })
    }

    /// Reads the next line into `line`, without its end; `None` at the end of the file.
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> std::io::Result<Option<LineEnd>> {
        line.clear();
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        let read = (&mut self.reader).take(limit).read_until(b'\n', line)?;
        if read == 0 {
            return Ok(None);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            return Ok(Some(LineEnd::Whole));
        }
        Ok(Some(if read >= LINE_BYTES_MAX { LineEnd::TooLong } else { LineEnd::Torn }))
    }
}
