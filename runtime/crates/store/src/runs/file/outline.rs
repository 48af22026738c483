//! What a run file holds, block by block, so that a read takes the part that it needs and no more.
//!
//! Each block names the record before it, so that its lines are checked without those of the blocks before. The
//! outline of the file that is written to grows with it in memory; that of a closed file is kept in its index.

use crate::head::Link;

/// A block ends with the record that reaches this length: some 60 records, read and checked in well under 1 ms.
const BLOCK_BYTES: u64 = 64 * 1024;

/// Where a block of records begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    /// Offset of its first line.
    pub(super) at: u64,
    /// Position of its first record in the file.
    pub(super) first: u64,
    /// What its first record is linked to.
    pub(super) before: Link,
    /// The latest end of the records before it in the file, microseconds since 1970.
    pub(super) latest_us: u64,
}

/// The content of a file up to a length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outline {
    pub(super) blocks: Vec<Block>,
    pub(super) bytes: u64,
    pub(super) records: u64,
    /// What a further record would be linked to.
    pub(super) end: Link,
    /// The earliest and the latest end of its records, microseconds since 1970.
    pub(super) from_us: u64,
    pub(super) to_us: u64,
}

/// A block with its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) at: u64,
    pub(super) end: u64,
    pub(super) first: u64,
    pub(super) records: u64,
    pub(super) before: Link,
    pub(super) after: Link,
    /// The latest end of the records before it in the file, and of those up to its last.
    pub(super) earlier_us: u64,
    pub(super) latest_us: u64,
}

impl Outline {
    /// A file with nothing but its header.
    pub(super) fn new(header_bytes: u64, header: Link) -> Self {
        Self { blocks: Vec::new(), bytes: header_bytes, records: 0, end: header, from_us: u64::MAX, to_us: 0 }
    }

    /// What its first record is linked to.
    pub(super) fn start(&self) -> Link {
        self.blocks.first().map_or(self.end, |block| block.before)
    }

    /// Adds the next record.
    pub(super) fn add(&mut self, line_bytes: u64, ended_us: u64, link: Link) {
        if self.blocks.last().is_none_or(|last| self.bytes.saturating_sub(last.at) >= BLOCK_BYTES) {
            let (at, first, before, latest_us) = (self.bytes, self.records, self.end, self.to_us);
            self.blocks.push(Block { at, first, before, latest_us });
        }
        self.bytes = self.bytes.saturating_add(line_bytes);
        self.records = self.records.saturating_add(1);
        self.end = link;
        self.from_us = self.from_us.min(ended_us);
        self.to_us = self.to_us.max(ended_us);
    }

    /// The blocks with their ends, in order.
    pub(super) fn parts(&self) -> impl DoubleEndedIterator<Item = Part> {
        (0..self.blocks.len()).filter_map(|index| {
            let block = self.blocks.get(index)?;
            let next = self.blocks.get(index.saturating_add(1));
            let end = next.map_or(self.bytes, |next| next.at);
            let records = next.map_or(self.records, |next| next.first).saturating_sub(block.first);
            Some(Part {
                at: block.at,
                end,
                first: block.first,
                records,
                before: block.before,
                after: next.map_or(self.end, |next| next.before),
                earlier_us: block.latest_us,
                latest_us: next.map_or(self.to_us, |next| next.latest_us),
            })
        })
    }
}
