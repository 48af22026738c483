//! One of the numbered files in which ledgers and runs are kept.

use std::path::{Path, PathBuf};

/// A segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
}

impl Segment {
    pub(crate) fn new(dir: &Path, number: u64) -> Self {
        Self { number, path: dir.join(name(number)) }
    }

    pub(crate) fn name(&self) -> String {
        name(self.number)
    }
}

fn name(number: u64) -> String {
    format!("{number:010}.ndjson")
}
