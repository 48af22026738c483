//! Walks a chain line by line: checks sequence, previous hash, own hash, and that the head is on it.
//!
//! The only code that decides what is damage, shared by recovery and verification. It changes no file.

use portcullis_core::id::OrgId;

use super::checkpoint::{Anchor, CheckpointError, Heads};
use super::segment::{LineEnd, Lines, Segment};
use crate::ledger::error::{BadRecord, LedgerError};
use crate::ledger::line::{Link, RawLine, parse_only};

/// A walk along an org's chain.
pub(super) struct ChainWalk<'a> {
    org: &'a OrgId,
    /// The last good record; `None` until the first one, when the walk starts in the middle.
    link: Option<Link>,
    heads: Heads,
    beside_met: bool,
    outside_met: bool,
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
    pub(super) fn new(org: &'a OrgId, start: Option<Link>, heads: Heads) -> Self {
        Self {
            org,
            link: start,
            heads,
            beside_met: false,
            outside_met: false,
            records: 0,
            first_seq: None,
            at: (String::new(), 0),
        }
    }

    /// Goes on with the next record it meets, whatever was before: segments were dropped during the walk.
    pub(super) fn restart(&mut self) {
        self.link = None;
    }

    /// Begins a segment that is read by the caller.
    pub(super) fn enter(&mut self, segment: &Segment) {
        self.at = (segment.name(), 0);
    }

    /// Follows one line of the segment that was entered.
    pub(super) fn line<'b>(&mut self, line: &'b [u8]) -> Result<RawLine<'b>, WalkError> {
        self.at.1 = self.at.1.saturating_add(1);
        self.follow(line)
    }

    /// The last good record.
    pub(super) fn link(&self) -> Option<Link> {
        self.link
    }

    /// Walks one segment. Only the last one of the chain may end in the middle of a line.
    pub(super) fn segment(&mut self, segment: &Segment, last: bool) -> Result<SegmentEnd, WalkError> {
        self.enter(segment);
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
            self.meet_heads(link)?;
        }
        // The one outside may be older than where a walk in the middle began: it is not synced.
        let begun = self.first_seq.unwrap_or_default();
        let outside =
            self.heads.outside.filter(|head| !self.outside_met && head.seq.saturating_add(1) >= begun);
        let Some(head) = self.heads.beside.filter(|_| !self.beside_met).or(outside) else {
            return Ok(());
        };
        self.at.1 = self.at.1.saturating_add(1);
        Err(self.bad(&if head.seq > ended {
            format!("the log ends at {ended}, its head says {}", head.seq)
        } else {
            format!("the head says {}, which is not in the log", head.seq)
        }))
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

    fn follow<'b>(&mut self, line: &'b [u8]) -> Result<RawLine<'b>, WalkError> {
        let raw = parse_only(self.org, line).map_err(|reason| self.bad(reason))?;
        let before = self.link.unwrap_or(Link { seq: raw.seq.saturating_sub(1), hash: raw.prev });
        self.meet_heads(before)?;
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
        self.meet_heads(link)?;
        Ok(raw)
    }

    fn meet_heads(&mut self, link: Link) -> Result<(), WalkError> {
        let here = |head: Option<Link>| head.filter(|head| head.seq == link.seq);
        for head in [here(self.heads.beside), here(self.heads.outside)].into_iter().flatten() {
            if head.hash != link.hash {
                return Err(self.bad("the head has another hash for the record before"));
            }
        }
        self.beside_met |= here(self.heads.beside).is_some();
        self.outside_met |= here(self.heads.outside).is_some();
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
    /// A segment that should be there.
    pub(super) fn missing(segment: &Segment) -> Self {
        Self::Bad(BadRecord {
            segment: segment.name(),
            line: 1,
            seq: 0,
            reason: "the segment is missing".to_owned(),
        })
    }

    /// An anchor that is not to be believed.
    pub(super) fn anchor(reason: &str, anchor: Option<&Anchor>) -> Self {
        let seq = anchor.map_or(0, |anchor| anchor.dropped.seq);
        Self::Bad(BadRecord { segment: "anchor.json".to_owned(), line: 1, seq, reason: reason.to_owned() })
    }

    /// The directory of an org whose records are known.
    pub(super) fn no_directory(org: &OrgId, records: u64) -> Self {
        Self::Bad(BadRecord {
            segment: format!("ledger/{org}"),
            line: 0,
            seq: 1,
            reason: format!("the directory is missing, and {records} records were written"),
        })
    }

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
