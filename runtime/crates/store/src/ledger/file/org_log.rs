//! One org's chain, open for appending: writes, and starts the next segment.
//!
//! It is used under its handle's lock and has none itself. A write that fails leaves the
//! file as it was, or the log unusable.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_core::id::OrgId;

use super::checkpoint::{Anchor, HeadWriter, outside};
use super::recovery::{Checked, recover};
use super::segment::Segment;
use crate::disk_sync::{is_at, probe, rewrite, sync_directory};
use crate::ledger::error::{BadRecord, LedgerError};
use crate::ledger::line::{Link, Written, format_line};

/// Why an append failed, and whether the log is still usable.
pub(super) enum AppendError {
    /// The file contains nothing of the record.
    Refused(LedgerError),
    /// The file may contain a part of it: it must be read again first.
    Unknown(LedgerError),
}

/// An open chain.
pub(super) struct OrgLog {
    org: OrgId,
    dir: PathBuf,
    file: Arc<File>,
    segment: Segment,
    segment_bytes: u64,
    segment_bytes_max: u64,
    /// The last record.
    link: Link,
    head: Arc<HeadWriter>,
    /// The segments that this process has walked.
    pub(super) checked: Checked,
    /// Whether the sync thread has been notified.
    pub(super) unsynced: bool,
}

/// What this process knows of a chain before it opens it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// What it has walked.
    pub(super) checked: Option<Checked>,
    /// The last record that it wrote.
    pub(super) written: Option<Link>,
    /// Whether a sync failed since.
    pub(super) unsure: bool,
}

/// What the sync thread needs.
pub(super) struct Unsynced {
    file: Arc<File>,
    segment: Segment,
    head: Arc<HeadWriter>,
    /// The last record to be put on disk.
    pub(super) link: Link,
}

impl Unsynced {
    /// Puts the records on disk.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        self.file.sync_data()?;
        // Why: a directory that was moved away takes records that nobody will find.
        if is_at(&self.file, &self.segment.path) {
            return Ok(());
        }
        Err(std::io::Error::other(format!("{} was moved away or replaced", self.segment.path.display())))
    }

    pub(super) fn advance_head(&self) -> std::io::Result<()> {
        self.head.advance(self.link, self.segment.number)
    }

    /// Puts the records on disk, and a cut in both heads.
    pub(super) fn cut(&self, anchor: Anchor) -> std::io::Result<()> {
        self.sync()?;
        self.advance_head()?;
        self.head.cut(anchor, self.link, self.segment.number)
    }

    /// Number of the current segment.
    pub(super) const fn segment(&self) -> u64 {
        self.segment.number
    }
}

impl OrgLog {
    /// Opens the chain, creating the directory if there is none and never was one; everything in it is then on disk.
    pub(super) fn open(
        org: &OrgId,
        dir: &Path,
        segment_bytes_max: u64,
        known: Known,
    ) -> Result<Self, LedgerError> {
        let failed = |error: std::io::Error| LedgerError::io("opening the org's ledger", &error);
        if !dir.is_dir() {
            let before = outside(org, dir).and_then(|head| head.read()).map(|head| head.link.seq);
            let records = before.or(known.written.map(|link| link.seq)).unwrap_or_default();
            if records > 0 && !dir.exists() {
                return Err(no_directory(org, records));
            }
            std::fs::create_dir(dir).map_err(failed)?;
            dir.parent().map_or(Ok(()), sync_directory).map_err(failed)?;
        }
        let recovered = recover(org, dir, known.checked)?;
        if let Some(written) = known.written.filter(|written| written.seq > recovered.link.seq) {
            return Err(lost(org, &recovered.segment, recovered.link.seq, written.seq));
        }
        let file = open_segment(&recovered.segment).map_err(failed)?;
        if known.unsure {
            rewrite(&recovered.segment.path).map_err(failed)?;
        }
        file.sync_all().and_then(|()| sync_directory(dir)).map_err(failed)?;
        let head = HeadWriter::new(org, dir, recovered.head, recovered.cut);
        if recovered.link.seq > 0 {
            head.advance(recovered.link, recovered.segment.number).map_err(failed)?;
        }
        Ok(Self {
            org: org.clone(),
            dir: dir.to_owned(),
            file: Arc::new(file),
            segment: recovered.segment,
            segment_bytes: recovered.segment_bytes,
            segment_bytes_max,
            link: recovered.link,
            head: Arc::new(head),
            checked: recovered.checked,
            unsynced: false,
        })
    }

    /// The last record.
    pub(super) fn link(&self) -> Link {
        self.link
    }

    /// What is not on disk yet.
    pub(super) fn to_sync(&self) -> Unsynced {
        let (file, head) = (Arc::clone(&self.file), Arc::clone(&self.head));
        Unsynced { file, segment: self.segment.clone(), head, link: self.link }
    }

    /// Whether the file takes records, after a write that failed.
    pub(super) fn takes_records(&self) -> bool {
        probe(&self.file, self.segment_bytes).is_ok()
    }

    /// Appends one event; `written` receives the line before the next one can follow.
    pub(super) fn append(
        &mut self,
        event: &str,
        written: impl FnOnce(&Written<'_>),
    ) -> Result<u64, AppendError> {
        if self.segment_bytes >= self.segment_bytes_max {
            self.roll().map_err(|error| {
                AppendError::Unknown(LedgerError::io("beginning a ledger segment", &error))
            })?;
        }
        let link = self.link.next(&self.org, event);
        let line = format_line(&self.org, &link, &self.link.hash, event);
        if let Err(error) = (&*self.file).write_all(line.as_bytes()) {
            let failed = LedgerError::io("writing to the ledger", &error);
            // A part of the line may be in the file, and the next record must not follow it.
            return Err(match self.file.set_len(self.segment_bytes) {
                Ok(()) => AppendError::Refused(failed),
                Err(_) => AppendError::Unknown(failed),
            });
        }
        let bytes = u64::try_from(line.len()).unwrap_or(u64::MAX);
        self.segment_bytes = self.segment_bytes.saturating_add(bytes);
        let prev = std::mem::replace(&mut self.link, link).hash;
        written(&Written { seq: link.seq, node: None, prev, hash: link.hash, line: &line });
        Ok(link.seq)
    }

    /// Starts the next segment. The previous one is on disk first, and the head records it: a reader of
    /// the last two segments then always finds the head in them.
    fn roll(&mut self) -> std::io::Result<()> {
        self.file.sync_all()?;
        self.head.advance(self.link, self.segment.number)?;
        let next = Segment::new(&self.dir, self.segment.number.saturating_add(1));
        let file = open_segment(&next)?;
        sync_directory(&self.dir)?;
        self.file = Arc::new(file);
        self.checked = Checked { next: next.number, link: self.link };
        self.segment = next;
        self.segment_bytes = 0;
        Ok(())
    }

    /// Begins a next segment, unless the current one has no record.
    pub(super) fn close_segment(&mut self) -> std::io::Result<()> {
        if self.segment_bytes == 0 { Ok(()) } else { self.roll() }
    }
}

/// Not damage yet: it may come back, as a mount does.
fn no_directory(org: &OrgId, records: u64) -> LedgerError {
    LedgerError::Unavailable(format!(
        "ledger/{org} is missing, and {records} records were written to it; put it back, or, with the process \
         stopped, move ledger/.heads/{org} aside to start a new chain"
    ))
}

/// Records that this process wrote are not there any more.
fn lost(org: &OrgId, segment: &Segment, ends: u64, written: u64) -> LedgerError {
    let reason = format!("the log ends at {ends}, and {written} records were written");
    let bad = BadRecord { segment: segment.name(), line: 1, seq: ends.saturating_add(1), reason };
    LedgerError::Damaged { org: org.clone(), bad }
}

fn open_segment(segment: &Segment) -> std::io::Result<File> {
    File::options().create(true).append(true).open(&segment.path)
}
