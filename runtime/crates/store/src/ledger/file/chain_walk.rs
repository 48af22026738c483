//! Walks a chain line by line: checks sequence, previous hash, own hash, and that the head is on it.
//!
//! The only code that decides what is damage, shared by recovery and verification. It changes no file.

use portcullis_core::id::OrgId;

use super::checkpoint::CheckpointError;
use super::segment::{LineEnd, Lines, Segment};
use crate::ledger::error::{BadRecord, LedgerError};
use crate::ledger::line::{Link, parse};

/// A walk along an org's chain.
pub(super) struct ChainWalk<'a> {
    org: &'a OrgId,
    /// The last good record; `None` until the first one, when the walk starts in the middle.
    link: Option<Link>,
    head: Option<Link>,
    head_met: bool,
    pub(super) records: u64,
    pub(super) first_seq: Option<u64>,
    at: (String, u64),
}

/// What was found in one segment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SegmentEnd {
    /// Bytes of whole lines.
    pub(super) whole_bytes: u64,
    /// Bytes after the last line end.
    pub(super) torn_bytes: u64,
}

impl<'a> ChainWalk<'a> {
    /// A walk that starts after `start`, or in the middle with the first record it meets.
    pub(super) fn new(org: &'a OrgId, start: Option<Link>, head: Option<Link>) -> Self {
        Self { org, link: start, head, head_met: false, records: 0, first_seq: None, at: (String::new(), 0) }
    }

    /// The last good record.
    pub(super) fn link(&self) -> Option<Link> {
        self.link
    }

    /// Walks one segment. Only the last one of the chain may end in the middle of a line.
    pub(super) fn segment(&mut self, segment: &Segment, last: bool) -> Result<SegmentEnd, WalkError> {
        self.at = (segment.name(), 0);
        let mut lines = Lines::open(&segment.path)?;
        let mut line = Vec::new();
        let mut end = SegmentEnd::default();
        while let Some(how) = lines.next(&mut line)? {
            self.at.1 = self.at.1.saturating_add(1);
            let bytes = u64::try_from(line.len()).unwrap_or(u64::MAX);
            match how {
                LineEnd::Whole => {
                    self.follow(&line)?;
                    end.whole_bytes = end.whole_bytes.saturating_add(bytes).saturating_add(1);
                }
                LineEnd::Torn if last => {
                    // Not a record: the next one would begin on this line.
                    self.at.1 = self.at.1.saturating_sub(1);
                    end.torn_bytes = bytes;
                }
                LineEnd::Torn => return Err(self.bad("it has no line end")),
                LineEnd::TooLong => return Err(self.bad("it is longer than any record")),
            }
        }
        if !last && end.whole_bytes == 0 {
            return Err(self.bad("the segment is empty"));
        }
        Ok(end)
    }

    /// Compares the end of the chain with the head.
    pub(super) fn finish(&mut self) -> Result<(), WalkError> {
        let ended = self.link.map_or(0, |link| link.seq);
        if let Some(link) = self.link {
            self.meet_head(link)?;
        }
        match self.head {
            Some(head) if !self.head_met => {
                self.at.1 = self.at.1.saturating_add(1);
                Err(self.bad(&if head.seq > ended {
                    format!("the log ends at {ended}, its head says {}", head.seq)
                } else {
                    format!("the head says {}, which is not in the log", head.seq)
                }))
            }
            _ => Ok(()),
        }
    }

    /// Describes the position that the walk has reached.
    pub(super) fn bad(&self, reason: &str) -> WalkError {
        WalkError::Bad(BadRecord {
            segment: self.at.0.clone(),
            line: self.at.1,
            seq: self.link.map_or(0, |link| link.seq).saturating_add(1),
            reason: reason.to_owned(),
        })
    }

    fn follow(&mut self, line: &[u8]) -> Result<(), WalkError> {
        let raw = parse(self.org, line).map_err(|reason| self.bad(reason))?;
        let before = self.link.unwrap_or(Link { seq: raw.seq.saturating_sub(1), hash: raw.prev });
        self.meet_head(before)?;
        if raw.seq != before.seq.saturating_add(1) {
            return Err(self.bad(&format!("its seq is {}", raw.seq)));
        }
        if raw.prev != before.hash {
            return Err(self.bad("it does not continue the record before"));
        }
        let link = Link { seq: raw.seq, hash: raw.hash };
        self.link = Some(link);
        self.records = self.records.saturating_add(1);
        self.first_seq = self.first_seq.or(Some(raw.seq));
        self.meet_head(link)
    }

    fn meet_head(&mut self, link: Link) -> Result<(), WalkError> {
        if let Some(head) = self.head
            && head.seq == link.seq
        {
            if head.hash != link.hash {
                return Err(self.bad("the head has another hash for the record before"));
            }
            self.head_met = true;
        }
        Ok(())
    }
}

/// Why a walk stopped.
#[derive(Debug)]
pub(super) enum WalkError {
    Io(std::io::Error),
    Bad(BadRecord),
}

impl WalkError {
    pub(super) fn for_org(self, org: &OrgId) -> LedgerError {
        match self {
            Self::Io(error) => LedgerError::io("reading a ledger segment", &error),
            Self::Bad(bad) => LedgerError::Damaged { org: org.clone(), bad },
        }
    }
}

impl From<std::io::Error> for WalkError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<CheckpointError> for WalkError {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Io(error) => Self::Io(error),
            CheckpointError::Malformed(name) => Self::Bad(BadRecord {
                segment: name.to_owned(),
                line: 1,
                seq: 0,
                reason: "the file does not have its form".to_owned(),
            }),
        }
    }
}
