//! The watermark: a small file outside sled that records which commit was last acknowledged.
//!
//! Two slots are written alternately, so that a torn write leaves the other intact. It is written after sled
//! is on disk and before anything is acknowledged: sled may be ahead of it, never behind. Called by
//! the writer thread and at open.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::StoreError;

const MAGIC: &[u8; 8] = b"PCMARK01";
const SLOT_BYTES: usize = 8 + 8 + 32 + 32;
/// A disk sector each, so that writing one slot cannot tear the other.
const SLOT_OFFSETS: [u64; 2] = [0, 4096];

/// What was last acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Sequence of the commit.
    pub(super) seq: u64,
    /// The store's digest after it.
    pub(super) digest: [u8; 32],
}

/// The open file.
pub(super) struct Watermark {
    file: File,
    next_slot: usize,
    last: Option<Mark>,
}

impl Watermark {
    /// Opens or creates the file and reads the newest intact slot. The mark is `None` if the file
    /// was missing.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<Mark>), StoreError> {
        let failed = |error: &std::io::Error| StoreError::io(&format!("opening {}", path.display()), error);
        let existed = path.try_exists().map_err(|error| failed(&error))?;
        if existed && !path.is_file() {
            return Err(StoreError::damaged(format!("{} is not a file", path.display())));
        }
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(|error| failed(&error))?;
        let length = file.metadata().map_err(|error| failed(&error))?.len();
        if !existed || length == 0 {
            let watermark = Self { file, next_slot: 0, last: None };
            return Ok((watermark, None));
        }
        let slots = SLOT_OFFSETS.map(|offset| read_slot(&file, offset));
        let newest = match slots {
            [Some(first), Some(second)] if second.seq > first.seq => Some((second, 1)),
            [Some(first), _] => Some((first, 0)),
            [None, Some(second)] => Some((second, 1)),
            [None, None] => None,
        };
        let (mark, slot) =
            newest.ok_or_else(|| StoreError::damaged("the store's watermark file is damaged"))?;
        let watermark = Self { file, next_slot: 1_usize.saturating_sub(slot), last: Some(mark) };
        Ok((watermark, Some(mark)))
    }

    /// What was written last.
    pub(super) fn last(&self) -> Option<Mark> {
        self.last
    }

    /// Writes the mark and waits until it is on disk.
    pub(super) fn write(&mut self, mark: Mark) -> std::io::Result<()> {
        if self.last == Some(mark) {
            return Ok(());
        }
        let mut slot = Vec::with_capacity(SLOT_BYTES);
        slot.extend_from_slice(MAGIC);
        slot.extend_from_slice(&mark.seq.to_be_bytes());
        slot.extend_from_slice(&mark.digest);
        let sum = Sha256::digest(&slot);
        slot.extend_from_slice(&sum);
        let offset = SLOT_OFFSETS.get(self.next_slot).copied().unwrap_or_default();
        self.file.write_all_at(&slot, offset)?;
        self.file.sync_data()?;
        self.next_slot = 1_usize.saturating_sub(self.next_slot);
        self.last = Some(mark);
        Ok(())
    }
}

/// `None` if the slot was never written, or is torn.
fn read_slot(file: &File, offset: u64) -> Option<Mark> {
    let mut slot = [0_u8; SLOT_BYTES];
    file.read_exact_at(&mut slot, offset).ok()?;
    let (body, sum) = slot.split_last_chunk::<32>()?;
    let computed: [u8; 32] = Sha256::digest(body).into();
    let rest = body.strip_prefix(MAGIC)?;
    let (seq, digest) = rest.split_first_chunk::<8>()?;
    (computed == *sum).then_some(Mark { seq: u64::from_be_bytes(*seq), digest: *digest.first_chunk::<32>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_slot_falls_back_to_the_other_and_two_are_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watermark");
        let (mut watermark, none) = Watermark::open(&path).unwrap();
        assert_eq!(none, None);
        for seq in 1..=4 {
            watermark.write(Mark { seq, digest: [7; 32] }).unwrap();
        }
        assert_eq!(Watermark::open(&path).unwrap().1.unwrap().seq, 4);
        // Commit 4 is in the second slot.
        watermark.file.write_all_at(b"torn", SLOT_OFFSETS[1] + 10).unwrap();
        let (mut reopened, mark) = Watermark::open(&path).unwrap();
        assert_eq!(mark.unwrap().seq, 3);
        reopened.write(Mark { seq: 5, digest: [7; 32] }).unwrap();
        assert_eq!(Watermark::open(&path).unwrap().1.unwrap().seq, 5);
        watermark.file.write_all_at(b"torn", SLOT_OFFSETS[0] + 10).unwrap();
        watermark.file.write_all_at(b"torn", SLOT_OFFSETS[1] + 10).unwrap();
        assert!(matches!(Watermark::open(&path), Err(StoreError::Damaged { .. })));
    }
}
