//! What a backup says of itself: the documents in it, and the names of its entries.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_core::id::{OrgId, WorkspaceId};
use serde::{Deserialize, Serialize};

use super::LEDGER_EXPORTS_DIR;

/// Version of the archive's form.
pub(super) const FORMAT: u32 = 1;

/// The first entry.
pub(super) const HEADER: &str = "backup.json";
/// The snapshot of the records.
pub(super) const RECORDS: &str = "records.snapshot";
/// Which modules there are.
pub(super) const MODULES: &str = "modules.json";
/// The last entry, by which it is known that nothing is missing.
pub(super) const END: &str = "end.json";
/// First document of each log.
pub(super) const LOG: &str = "log.json";
/// The head that stands outside a log's directory.
pub(super) const OUTER_HEAD: &str = "head";

/// The first entry of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    #[serde(rename = "portcullis_backup")]
    pub(super) format: u32,
    /// What the backup is called by those that continue it.
    pub(super) id: String,
    /// RFC 3339.
    pub(super) made_at: String,
    /// The version of the product that made it, for people.
    pub(super) version: String,
    /// Format of the data directory.
    pub(super) data_format: u32,
    /// The last commit in it.
    pub(super) seq: u64,
    /// The backup without which it is not whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) continues: Option<Earlier>,
}

/// A backup that another one continues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Earlier {
    pub(super) id: String,
    pub(super) made_at: String,
}

/// The last entry of a backup.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    /// Entries before it.
    pub(super) entries: u64,
    /// Over names and contents of all of them.
    pub(super) sha256: String,
}

/// How far a log reached, and what of it is in the backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogState {
    /// Number of the first file.
    pub(super) first: u64,
    /// Number of the last file; 0 if there is none.
    pub(super) last: u64,
    /// Bytes of the last file, and what they are.
    pub(super) bytes: u64,
    pub(super) sha256: String,
    /// Files of the first format.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) earlier: Vec<String>,
    /// Whether what the earlier backup has of it is a part of it.
    pub(super) continues: bool,
    /// Files, or their ends, that follow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) pieces: Vec<Piece>,
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Piece {
    pub(super) file: String,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// What is known of an earlier backup, for one that takes only what is new.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownBackup {
    pub(super) id: String,
    pub(super) made_at: String,
    /// By their names.
    pub(super) logs: BTreeMap<String, LogState>,
    /// Digests.
    pub(super) modules: BTreeSet<String>,
}

/// How the name of an export ends, after the org's.
const EXPORT_ENDING: &str = ".ndjson";

/// The name of an org's export in its directory.
pub(super) fn export_file(org: &OrgId) -> String {
    format!("{org}{EXPORT_ENDING}")
}

/// Which kind of log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LogKind {
    Runs,
    Ledger,
}

impl LogKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Ledger => "ledger",
        }
    }
}

/// A log by its name: an org's ledger, or the runs of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogName {
    pub(super) kind: LogKind,
    /// Org, and workspace if it is a log of runs.
    pub(super) parts: Vec<String>,
}

impl LogName {
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.kind.as_str(), self.parts.join("/"))
    }

    pub(super) fn parts(&self) -> Vec<&str> {
        self.parts.iter().map(String::as_str).collect()
    }
}

/// What an entry of an archive is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    Header,
    Records,
    Modules,
    End,
    /// A file of a log; its name is one of those that [`is_log_file`] takes.
    OfLog(LogName, &'a str),
    /// The bytes of a module, by its digest.
    Module(&'a str),
    /// Chains of an org that a move out of a database exported. Versions that do not know it refuse a backup that has one,
    /// by its name, as they refuse any name they do not know.
    Export(OrgId),
}

/// Reads an entry's name; `None` for one that no backup has.
pub(super) fn entry(name: &str) -> Option<Entry<'_>> {
    match name {
        HEADER => return Some(Entry::Header),
        RECORDS => return Some(Entry::Records),
        MODULES => return Some(Entry::Modules),
        END => return Some(Entry::End),
        _ => {}
    }
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        ["modules", file] => {
            let digest = file.strip_suffix(".wasm")?;
            is_digest(digest).then_some(Entry::Module(digest))
        }
        [LEDGER_EXPORTS_DIR, file] => OrgId::parse(file.strip_suffix(EXPORT_ENDING)?).ok().map(Entry::Export),
        ["ledger", org, file] => {
            let org = OrgId::parse(org).ok()?.as_str().to_owned();
            let name = LogName { kind: LogKind::Ledger, parts: vec![org] };
            is_log_file(LogKind::Ledger, file).then_some(Entry::OfLog(name, file))
        }
        ["runs", org, workspace, file] => {
            let org = OrgId::parse(org).ok()?.as_str().to_owned();
            let workspace = WorkspaceId::parse(workspace).ok()?.as_str().to_owned();
            let name = LogName { kind: LogKind::Runs, parts: vec![org, workspace] };
            is_log_file(LogKind::Runs, file).then_some(Entry::OfLog(name, file))
        }
        _ => None,
    }
}

/// Whether a text is a SHA-256 in lower-case hexadecimal.
pub(super) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_log_file(kind: LogKind, file: &str) -> bool {
    match file {
        LOG | OUTER_HEAD => true,
        "head.json" | "anchor.json" => kind == LogKind::Ledger,
        _ => match file.strip_suffix(".ndjson") {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.len() == 10 || (digits.len() == 16 && kind == LogKind::Runs)
            }
            _ => false,
        },
    }
}

/// The number in a file's name, if it is a segment.
pub(super) fn segment_number(file: &str) -> Option<u64> {
    let digits = file.strip_suffix(".ndjson")?;
    (digits.len() == 10 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

/// Whether a file is one of runs of the first format.
pub(super) fn is_earlier(file: &str) -> bool {
    let digits = file.strip_suffix(".ndjson").unwrap_or_default();
    digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_places_below_a_directory_and_nowhere_else() {
        let ledger = LogName { kind: LogKind::Ledger, parts: vec!["acme".to_owned()] };
        assert_eq!(entry("ledger/acme/0000000001.ndjson"), Some(Entry::OfLog(ledger, "0000000001.ndjson")));
        let runs = LogName { kind: LogKind::Runs, parts: vec!["acme".to_owned(), "main".to_owned()] };
        assert_eq!(entry("runs/acme/main/head"), Some(Entry::OfLog(runs, "head")));
        let digest = "0a".repeat(32);
        assert_eq!(entry(&format!("modules/{digest}.wasm")), Some(Entry::Module(&digest)));
        let export = Entry::Export(OrgId::parse("acme").unwrap());
        assert_eq!(entry("ledger-exports/acme.ndjson"), Some(export));
        for name in [
            "",
            "/etc/passwd",
            "../x",
            "master.key",
            "ledger/../head.json",
            "ledger/.heads/head",
            "ledger/acme/../x",
            "ledger/acme/0000000001.ndjson/x",
            "ledger/acme/0000000000000001.ndjson",
            "ledger/acme/1.ndjson",
            "runs/acme/main/anchor.json",
            "runs/acme/head",
            "runs/acme/main/000000000x.ndjson",
            "modules/x.wasm",
            "compiled/x",
            "ledger-exports/.ndjson",
            "ledger-exports/...ndjson",
            "ledger-exports/acme",
            "ledger-exports/acme/x.ndjson",
        ] {
            assert_eq!(entry(name), None, "{name}");
        }
    }
}
