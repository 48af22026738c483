//! Lines of a run file: the header that names the file's own place, and records, each linked by hash to the line
//! before.
//!
//! A hash covers the workspace and the exact bytes of the line, never bytes serialised again. For that reason lines
//! are split by position: there is one way only to write each.

use aws_lc_rs::digest::{Context, SHA256};
use portcullis_core::hex;
use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_core::json;
use serde::{Deserialize, Serialize};

use crate::head::Link;
use crate::lower_hex;
use crate::record_hash::{finish, length};

/// Bytes of a line besides its record.
const AROUND_BYTES: usize = 128;

/// Where the hash of a line begins.
const HASH: &str = ",\"hash\":\"";

/// The workspace that a chain belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) org: OrgId,
    pub(super) workspace: WorkspaceId,
}

impl Place {
    /// Where the first file of a workspace starts.
    pub(super) fn genesis(&self) -> Link {
        Link { seq: 0, hash: finish(self.hash(b"portcullis runs genesis v1")) }
    }

    fn hash(&self, domain: &[u8]) -> Context {
        let mut hash = Context::new(&SHA256);
        hash.update(domain);
        for name in [self.org.as_str(), self.workspace.as_str()] {
            hash.update(&length(name.len()));
            hash.update(name.as_bytes());
        }
        hash
    }

    fn header_hash(&self, text: &str) -> [u8; 32] {
        let mut hash = self.hash(b"portcullis runs header v1");
        hash.update(text.as_bytes());
        finish(hash)
    }

    fn record_hash(&self, seq: u64, prev: &[u8; 32], record: &str) -> [u8; 32] {
        let mut hash = self.hash(b"portcullis runs record v1");
        hash.update(&seq.to_be_bytes());
        hash.update(prev);
        hash.update(&length(record.len()));
        hash.update(record.as_bytes());
        finish(hash)
    }

    /// The line of the record that follows `last`, with its end, and its link.
    pub(super) fn record_line(&self, last: &Link, record: &str) -> (String, Link) {
        let seq = last.seq.saturating_add(1);
        let link = Link { seq, hash: self.record_hash(seq, &last.hash, record) };
        let mut line = String::with_capacity(record.len().saturating_add(AROUND_BYTES));
        line.push_str("{\"seq\":");
        json::push_number(seq, &mut line);
        line.push_str(",\"run\":");
        line.push_str(record);
        close(&mut line, &link.hash);
        (line, link)
    }

    /// The record of a line that follows `last`, and its link; or what is wrong with the line.
    pub(super) fn read_record<'a>(
        &self,
        last: &Link,
        line: &'a [u8],
    ) -> Result<(&'a str, Link), &'static str> {
        let (text, hash) = opened(line)?;
        let parts = text.strip_prefix("{\"seq\":").and_then(|rest| rest.split_once(",\"run\":"));
        let (seq, record) = parts.ok_or(NO_RECORD)?;
        let number: u64 = seq.parse().map_err(|_| NO_RECORD)?;
        if number != last.seq.saturating_add(1) || number.to_string() != seq {
            return Err("it is not the record that follows the one before");
        }
        if self.record_hash(number, &last.hash, record) != hash {
            return Err("its hash does not match its content and the record before");
        }
        Ok((record, Link { seq: number, hash }))
    }

    /// The line of a header, with its end, and the link that its first record follows.
    pub(super) fn header_line(&self, header: &Header) -> Result<(String, Link), serde_json::Error> {
        let mut text = serde_json::to_string(header)?;
        text.pop();
        let link = Link { seq: header.seq, hash: self.header_hash(&text) };
        close(&mut text, &link.hash);
        Ok((text, link))
    }

    /// A header, if the line is one of this workspace, and the link that its first record follows.
    pub(super) fn read_header(&self, line: &[u8]) -> Result<(Header, Link), &'static str> {
        let (text, hash) = opened(line).map_err(|_| NO_HEADER)?;
        let header: Header = serde_json::from_str(&format!("{text}}}")).map_err(|_| NO_HEADER)?;
        if header.format != FORMAT {
            return Err("its header has a format that this version does not know");
        }
        if header.org != self.org.as_str() || header.workspace != self.workspace.as_str() {
            return Err("it belongs to another workspace");
        }
        if self.header_hash(text) != hash {
            return Err("the hash of its header does not match");
        }
        let link = Link { seq: header.seq, hash };
        Ok((header, link))
    }
}

const NO_RECORD: &str = "it does not have the form of a record";
const NO_HEADER: &str = "its header does not have the form of one";

/// Format of a run file.
const FORMAT: u32 = 1;

/// The first line of a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    #[serde(rename = "portcullis_runs")]
    format: u32,
    org: String,
    workspace: String,
    /// Number of the file, from 1.
    pub(super) segment: u64,
    /// The last record before this file.
    pub(super) seq: u64,
    prev: String,
    /// What the file before holds; absent in the first one, and where the file before was damaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<Contents>,
    /// The files of an earlier format, sealed as they were when this one was begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) earlier: Vec<Sealed>,
}

impl Header {
    pub(super) fn new(place: &Place, segment: u64, last: &Link) -> Self {
        Self {
            format: FORMAT,
            org: place.org.as_str().to_owned(),
            workspace: place.workspace.as_str().to_owned(),
            segment,
            seq: last.seq,
            prev: hex::encode(&last.hash),
            before: None,
            earlier: Vec::new(),
        }
    }

    /// The record that this file continues.
    pub(super) fn last(&self) -> Option<Link> {
        Some(Link { seq: self.seq, hash: lower_hex::decode(&self.prev)? })
    }
}

/// What a file holds, so that a run is found by its own time, whatever the clock said when the file was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contents {
    pub(super) bytes: u64,
    /// Start of the earliest and of the latest run, milliseconds since 1970.
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
}

impl Default for Contents {
    fn default() -> Self {
        Self { bytes: 0, from_ms: u64::MAX, to_ms: 0 }
    }
}

impl Contents {
    pub(super) fn add(&mut self, started_ms: u64) {
        self.from_ms = self.from_ms.min(started_ms);
        self.to_ms = self.to_ms.max(started_ms);
    }

    pub(super) fn may_hold(&self, started_ms: u64) -> bool {
        (self.from_ms..=self.to_ms).contains(&started_ms)
    }
}

/// A file of an earlier format, which has no checksums itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sealed {
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// Text and hash of a line without its end.
fn opened(line: &[u8]) -> Result<(&str, [u8; 32]), &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not text")?;
    let parts = || {
        let rest = text.strip_suffix("\"}")?;
        let (rest, hash) = rest.split_at_checked(rest.len().checked_sub(64)?)?;
        Some((rest.strip_suffix(HASH)?, lower_hex::decode(hash)?))
    };
    parts().ok_or(NO_RECORD)
}

fn close(text: &mut String, hash: &[u8; 32]) {
    text.push_str(HASH);
    hex::push(hash, text);
    text.push_str("\"}\n");
}
