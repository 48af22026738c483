//! Heads: how far an append-only log reached, each in a small file outside the directory of the log it speaks of.
//!
//! A log that was cut short at its end, or that is gone altogether, still looks whole from inside. Its head shows it.
//! A head is written in place after the log itself is on disk, into two slots in turn, and is not synced: after a
//! power failure it may be older than its log, never newer. One that cannot be read counts as none, because the log
//! it speaks of is checked by itself. Used by the runs and by the ledger.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_core::hex;
use portcullis_core::sync::lock;
use serde::{Deserialize, Serialize};

use crate::lower_hex;

/// Below the directory of all logs of a kind; no org can have this name.
pub(crate) const HEADS: &str = ".heads";

/// A slot's place in the file: a disk sector each, so that writing one cannot tear the other.
const SLOT_OFFSETS: [u64; 2] = [0, 4096];

/// A slot is shorter: two names of 63 bytes, two hashes, numbers.
const SLOT_BYTES_MAX: usize = 1024;

/// A record's position in a chain, and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub seq: u64,
    pub hash: [u8; 32],
}

/// How far a log reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// The last record.
    pub(crate) link: Link,
    /// Number of its segment file.
    pub(crate) segment: u64,
    /// Number of the first segment that is kept, and the record before it, if older ones were dropped.
    pub(crate) cut: Option<(u64, Link)>,
}

/// A slot's text, after its checksum.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slot {
    log: String,
    seq: u64,
    hash: String,
    segment: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut: Option<SlotCut>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SlotCut {
    first_segment: u64,
    seq: u64,
    hash: String,
}

/// The head of one log: its file, and what was written last.
#[derive(Debug)]
pub(crate) struct HeadFile {
    path: PathBuf,
    /// Which log it speaks of, so that another log's head in its place is noticed.
    log: String,
    written: Mutex<Written>,
}

#[derive(Debug, Default)]
struct Written {
    head: Option<Head>,
    next_slot: usize,
}

impl HeadFile {
    /// The head of the log in `<root>/<parts…>`.
    pub(crate) fn of(root: &Path, parts: &[&str]) -> Self {
        let below = |dir: PathBuf| parts.iter().fold(dir, |path, part| path.join(part));
        Self { path: below(root.join(HEADS)), log: parts.join("/"), written: Mutex::default() }
    }

    /// What the file says; `None` if there is none that can be read.
    pub(crate) fn read(&self) -> Option<Head> {
        Self::newest(self.slots())
    }

    /// What a copy of the file says.
    pub(crate) fn parse_slots(&self, bytes: &[u8]) -> Option<Head> {
        let slots = SLOT_OFFSETS.map(|offset| {
            let from = bytes.get(usize::try_from(offset).ok()?..)?;
            self.parse(from.get(..SLOT_BYTES_MAX).unwrap_or(from))
        });
        Self::newest(slots)
    }

    fn newest(slots: [Option<Head>; 2]) -> Option<Head> {
        let newer = |head: &Head| (head.link.seq, head.cut.map_or(0, |(first, _)| first));
        slots.into_iter().flatten().max_by_key(newer)
    }

    fn slots(&self) -> [Option<Head>; 2] {
        let Ok(file) = File::open(&self.path) else {
            return [None, None];
        };
        SLOT_OFFSETS.map(|offset| {
            let mut bytes = [0_u8; SLOT_BYTES_MAX];
            let read = read_some(&file, &mut bytes, offset);
            self.parse(bytes.get(..read)?)
        })
    }

    fn parse(&self, bytes: &[u8]) -> Option<Head> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (sum, text) = std::str::from_utf8(bytes.get(..end)?).ok()?.split_once(' ')?;
        let computed = digest(&SHA256, text.as_bytes());
        if lower_hex::decode::<32>(sum)?.as_slice() != computed.as_ref() {
            return None;
        }
        let slot: Slot = serde_json::from_str(text).ok()?;
        let cut = match slot.cut {
            None => None,
            Some(cut) => {
                let dropped = Link { seq: cut.seq, hash: lower_hex::decode(&cut.hash)? };
                Some((cut.first_segment, dropped))
            }
        };
        let link = Link { seq: slot.seq, hash: lower_hex::decode(&slot.hash)? };
        (slot.log == self.log).then_some(Head { link, segment: slot.segment, cut })
    }

    /// Notes that the log is on disk up to there; does nothing if that was noted already.
    pub(crate) fn write(&self, head: Head) -> std::io::Result<()> {
        self.write_and(head, |_| Ok(()))
    }

    /// The same, and waits until the note is on disk: for what is done to the log only after that.
    pub(crate) fn write_synced(&self, head: Head) -> std::io::Result<()> {
        self.write_and(head, File::sync_all)
    }

    fn write_and(&self, head: Head, then: impl FnOnce(&File) -> std::io::Result<()>) -> std::io::Result<()> {
        let mut written = lock(&self.written);
        if written.head.is_none() {
            // The first one in this process: the older of the two slots is replaced.
            let [first, second] = self.slots();
            written.next_slot = usize::from(first.is_some() && self.read() == first && first != second);
        }
        if written.head == Some(head) {
            return Ok(());
        }
        let slot = Slot {
            log: self.log.clone(),
            seq: head.link.seq,
            hash: hex::encode(&head.link.hash),
            segment: head.segment,
            cut: head.cut.map(|(first_segment, dropped)| SlotCut {
                first_segment,
                seq: dropped.seq,
                hash: hex::encode(&dropped.hash),
            }),
        };
        let text = serde_json::to_string(&slot)?;
        let sum = hex::encode(digest(&SHA256, text.as_bytes()).as_ref());
        let offset = SLOT_OFFSETS.get(written.next_slot).copied().unwrap_or_default();
        let file = self.open()?;
        file.write_all_at(format!("{sum} {text}\n").as_bytes(), offset)?;
        then(&file)?;
        written.next_slot = 1_usize.saturating_sub(written.next_slot);
        written.head = Some(head);
        Ok(())
    }

    fn open(&self) -> std::io::Result<File> {
        let open = || File::options().create(true).truncate(false).write(true).open(&self.path);
        match open() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                open()
            }
            opened => opened,
        }
    }

    /// What is wrong with the file, if there is one and it says nothing. Nothing that is read depends on it as long as the
    /// log is whole; without it a log that is cut short later looks whole, too.
    pub(crate) fn fault(&self) -> Option<String> {
        let found = std::fs::metadata(&self.path).ok()?;
        let is_read = !found.is_file() || self.read().is_some();
        (!is_read).then(|| "the head cannot be read".to_owned())
    }

    /// Forgets the log.
    pub(crate) fn remove(&self) -> std::io::Result<()> {
        let mut written = lock(&self.written);
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => {
                *written = Written::default();
                Ok(())
            }
        }
    }
}

/// Reads until the buffer is full or the file ends; how many bytes there were.
fn read_some(file: &File, bytes: &mut [u8], offset: u64) -> usize {
    let mut read = 0_usize;
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(read as u64)) {
            Ok(0) | Err(_) => break,
            Ok(more) => read = read.saturating_add(more),
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seq: u64) -> Head {
        Head { link: Link { seq, hash: [7; 32] }, segment: 1, cut: Some((1, Link { seq: 0, hash: [1; 32] })) }
    }

    #[test]
    fn a_head_comes_back_and_a_torn_one_is_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let file = HeadFile::of(dir.path(), &["acme", "main"]);
        assert_eq!(file.read(), None);
        for seq in 1..=4 {
            file.write(head(seq)).unwrap();
            assert_eq!(file.read(), Some(head(seq)));
        }
        let again = HeadFile::of(dir.path(), &["acme", "main"]);
        again.write(head(5)).unwrap();
        assert_eq!(again.read(), Some(head(5)));
        let path = dir.path().join(".heads/acme/main");
        let mut bytes = std::fs::read(&path).unwrap();
        // The fifth is in the first slot.
        bytes[80] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(again.read(), Some(head(4)));
        let other = HeadFile::of(dir.path(), &["acme", "side"]);
        std::fs::copy(&path, dir.path().join(".heads/acme/side")).unwrap();
        assert_eq!(other.read(), None, "another log's");
        again.remove().unwrap();
        again.remove().unwrap();
        assert_eq!(again.read(), None);
    }
}
