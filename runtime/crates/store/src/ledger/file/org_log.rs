//! One org's chain, open for appending: writes, starts the next segment, drops old ones.
//!
//! It is used under its handle's lock and has none itself. A write that fails leaves the
//! file as it was, or the log unusable.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_core::id::OrgId;

use super::chain_walk::ChainWalk;
use super::checkpoint::{Anchor, HeadWriter, read_anchor, sync_directory, write_anchor};
use super::recovery::recover;
use super::segment::{Segment, list};
use crate::ledger::error::LedgerError;
use crate::ledger::line::{Link, Written, format_line};
use crate::ledger::report::PruneReport;

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
    /// Whether the sync thread has been notified.
    pub(super) unsynced: bool,
}

impl OrgLog {
    /// Opens the chain, creating the directory if there is none; everything in it is then on disk.
    pub(super) fn open(org: &OrgId, dir: &Path, segment_bytes_max: u64) -> Result<Self, LedgerError> {
        let failed = |error: std::io::Error| LedgerError::io("opening the org's ledger", &error);
        if !dir.is_dir() {
            std::fs::create_dir(dir).map_err(failed)?;
            dir.parent().map_or(Ok(()), sync_directory).map_err(failed)?;
        }
        let recovered = recover(org, dir)?;
        let file = open_segment(&recovered.segment).map_err(failed)?;
        file.sync_all().and_then(|()| sync_directory(dir)).map_err(failed)?;
        let head = HeadWriter::new(dir, recovered.head);
        if recovered.link.seq > 0 {
            head.advance(recovered.link).map_err(failed)?;
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
            unsynced: false,
        })
    }

    /// The last record.
    pub(super) fn link(&self) -> Link {
        self.link
    }

    /// What the sync thread needs: the file to sync, the head to advance, and the position to record.
    pub(super) fn to_sync(&self) -> (Arc<File>, Arc<HeadWriter>, Link) {
        (Arc::clone(&self.file), Arc::clone(&self.head), self.link)
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
        let line = format_line(&link, &self.link.hash, event);
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
        written(&Written { seq: link.seq, prev, hash: link.hash, line: &line });
        Ok(link.seq)
    }

    /// Starts the next segment. The previous one is on disk first, and the head records it: a reader of
    /// the last two segments then always finds the head in them.
    fn roll(&mut self) -> std::io::Result<()> {
        self.file.sync_all()?;
        self.head.advance(self.link)?;
        let next = Segment::new(&self.dir, self.segment.number.saturating_add(1));
        let file = open_segment(&next)?;
        sync_directory(&self.dir)?;
        self.file = Arc::new(file);
        self.segment = next;
        self.segment_bytes = 0;
        Ok(())
    }

    /// Drops the oldest segments except `keep`; the current one always stays.
    pub(super) fn prune(&mut self, keep: usize) -> Result<PruneReport, LedgerError> {
        let failed = |error: std::io::Error| LedgerError::io("pruning the ledger", &error);
        let anchor = match read_anchor(&self.dir) {
            Ok(anchor) => anchor,
            Err(error) => return Err(super::chain_walk::WalkError::from(error).for_org(&self.org)),
        };
        let first = anchor.map_or(1, |anchor| anchor.first_segment);
        let mut report = PruneReport {
            segments_dropped: 0,
            dropped_to_seq: anchor.map_or(0, |anchor| anchor.dropped.seq),
        };
        let segments = list(&self.dir, first).map_err(failed)?;
        let (dropped, kept) = segments.split_at(segments.len().saturating_sub(keep.max(1)));
        let (Some(cut), Some(first_kept)) = (dropped.last(), kept.first()) else {
            return Ok(report);
        };
        self.file.sync_all().map_err(failed)?;
        self.head.advance(self.link).map_err(failed)?;
        let mut walk = ChainWalk::new(&self.org, None, None);
        let walked = walk.segment(cut, false);
        walked.map_err(|error| error.for_org(&self.org))?;
        let last = walk.link().unwrap_or_else(|| Link::genesis(&self.org));
        let anchor = Anchor { first_segment: first_kept.number, dropped: last };
        // First the anchor, then the files: if interrupted in between, opening completes it.
        write_anchor(&self.dir, &anchor).map_err(failed)?;
        for segment in dropped {
            std::fs::remove_file(&segment.path).map_err(failed)?;
        }
        sync_directory(&self.dir).map_err(failed)?;
        report.segments_dropped = dropped.len();
        report.dropped_to_seq = last.seq;
        Ok(report)
    }
}

fn open_segment(segment: &Segment) -> std::io::Result<File> {
    File::options().create(true).append(true).open(&segment.path)
}
