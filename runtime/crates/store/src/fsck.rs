//! The check of a data directory that no process uses: everything is read, and each fault is named with its file, its
//! place and what is wrong.
//!
//! What can be told without a key is told: checksums, chains, heads, digests, the form of what is sealed. Whether what is
//! sealed opens needs the master key, and is found when it is used. Called by a command.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use portcullis_core::hex;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::audit::{AuditScope, audit_scopes, verify_audit};
use crate::backend::{SledStore, Store, examine_store};
use crate::backends::{FORMAT_FILE, LEDGER_DIR, OpenError, RUNS_DIR, STORE_DIR, check_format};
use crate::error::StoreError;
use crate::head::{HEADS, HeadFile};
use crate::ledger::{known_orgs, verify_directory};
use crate::modules::ModuleRecord;
use crate::records::Records;
use crate::runs::examine_runs;

mod records;
mod shared;

pub use shared::fsck_shared;

/// Name of the modules' directory in a data directory.
const MODULES_DIR: &str = "modules";

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FsckFinding {
    /// The file, from the data directory.
    pub file: String,
    /// Where in it, as far as that is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// What is wrong.
    pub reason: String,
}

/// What a check came to.
#[derive(Debug, Default, Serialize)]
pub struct FsckReport {
    /// Records of the store that are whole.
    pub records: u64,
    /// Records of audit logs that verify.
    pub audit_records: u64,
    /// Records of ledgers that verify.
    pub ledger_records: u64,
    /// Records of runs that are whole.
    pub run_records: u64,
    /// Modules that are whole.
    pub modules: u64,
    /// What is not.
    pub findings: Vec<FsckFinding>,
}

impl FsckReport {
    /// Whether everything is as it was written.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }

    /// Takes damage into the report; other errors go on.
    fn add_damage(&mut self, place: &str, error: StoreError) -> Result<(), StoreError> {
        match error {
            StoreError::Damaged { what, .. } => {
                self.add("records", place, what);
                Ok(())
            }
            error => Err(error),
        }
    }

    fn add(&mut self, file: impl Into<String>, place: impl Into<String>, reason: impl Into<String>) {
        self.findings.push(FsckFinding { file: file.into(), place: place.into(), reason: reason.into() });
    }
}

/// The file with the records.
const STORE_FILE: &str = "store/sled/db";

/// What is told of a check under way: the part, and how much of it was read.
pub type FsckProgress<'a> = &'a mut (dyn FnMut(&'static str, u64) + Send);

/// Checks a data directory. Blocks for as long as reading everything takes.
///
/// # Errors
/// [`OpenError`] if a part cannot be looked at: another process has it, or it is of a later version. Damage is in the
/// report.
pub async fn fsck(
    data_dir: &Path,
    anchor: Option<&Path>,
    progress: FsckProgress<'_>,
) -> Result<FsckReport, OpenError> {
    let mut report = FsckReport::default();
    match check_format(data_dir) {
        Ok(_) => {}
        Err(OpenError::Missing { part, .. }) => report.add(part, "", "the directory is missing"),
        Err(OpenError::Format { reason, .. }) => report.add(FORMAT_FILE, "", reason),
        Err(error) => return Err(error),
    }
    check_store(data_dir, anchor, &mut report, progress).await?;
    check_ledgers(&data_dir.join(LEDGER_DIR), &mut report, progress);
    let runs = examine_runs(&data_dir.join(RUNS_DIR), &mut |records| progress("runs", records));
    report.run_records = runs.records;
    runs.bad.into_iter().for_each(|(file, reason)| report.add(file, "", reason));
    Ok(report)
}

async fn check_store(
    data_dir: &Path,
    anchor: Option<&Path>,
    report: &mut FsckReport,
    progress: FsckProgress<'_>,
) -> Result<(), OpenError> {
    let dir = data_dir.join(STORE_DIR);
    if !dir.is_dir() {
        return Ok(());
    }
    let seen = examine_store(&dir, &mut |records| progress("store", records))?;
    report.records = seen.records;
    let is_whole = seen.bad.is_empty();
    for bad in seen.bad {
        report.add(format!("{STORE_DIR}/{}", bad.file), bad.place, bad.reason);
    }
    // Why not a store that is damaged: it would not open, and what it says of others is not to be believed.
    let opened = if is_whole { Some(SledStore::open_anchored(&dir, anchor)) } else { None };
    let store: Arc<dyn Store> = match opened {
        Some(Ok(store)) => Arc::new(store),
        None => return Ok(check_modules(data_dir, None, report, progress).await?),
        Some(Err(error)) => {
            match error {
                StoreError::Damaged { what, .. } => report.add(STORE_DIR, "", what),
                StoreError::OlderThanAnchor { .. } | StoreError::Anchor { .. } => {
                    report.add(STORE_DIR, "anchor", error.to_string());
                }
                error => return Err(error.into()),
            }
            return Ok(check_modules(data_dir, None, report, progress).await?);
        }
    };
    records::check(&*store, STORE_FILE, report, progress).await?;
    let records = Records::new(store);
    for scope in audit_scopes(&records).await? {
        let chain = verify_audit(&records, &scope).await?;
        report.audit_records = report.audit_records.saturating_add(chain.records);
        progress("audit log", report.audit_records);
        if let Some(bad) = chain.bad {
            let place = format!("audit log of {}, record {}", name_of(&scope), bad.seq);
            report.add(STORE_FILE, place, bad.reason);
        }
    }
    check_modules(data_dir, Some(&records), report, progress).await?;
    Ok(())
}

fn name_of(scope: &AuditScope) -> &str {
    match scope {
        AuditScope::Org(org) => org.as_str(),
        AuditScope::Platform => "the platform",
        AuditScope::Logins => "failed logins",
    }
}

fn check_ledgers(root: &Path, report: &mut FsckReport, progress: FsckProgress<'_>) {
    for org in known_orgs(root) {
        let head = HeadFile::of(root, &[org.as_str()]);
        if let Some(reason) = head.fault() {
            report.add(format!("{LEDGER_DIR}/{HEADS}/{org}"), "", reason);
        }
        match verify_directory(&root.join(org.as_str())) {
            Ok(chain) => {
                report.ledger_records = report.ledger_records.saturating_add(chain.records);
                if let Some(bad) = chain.bad {
                    let file = if bad.segment.starts_with(LEDGER_DIR) {
                        bad.segment
                    } else {
                        format!("{LEDGER_DIR}/{org}/{}", bad.segment)
                    };
                    report.add(file, format!("line {}, record {}", bad.line, bad.seq), bad.reason);
                }
            }
            Err(error) => report.add(format!("{LEDGER_DIR}/{org}"), "", error.to_string()),
        }
        progress("ledgers", report.ledger_records);
    }
}

/// Checks the bytes of modules by their names, and that those which the records speak of are there.
async fn check_modules(
    data_dir: &Path,
    records: Option<&Records>,
    report: &mut FsckReport,
    progress: FsckProgress<'_>,
) -> Result<(), StoreError> {
    let dir = data_dir.join(MODULES_DIR);
    for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(digest) = name.strip_suffix(".wasm") else { continue };
        match digest_of(&entry.path()) {
            Ok(found) if found == digest => report.modules = report.modules.saturating_add(1),
            Ok(_) => {
                report.add(format!("{MODULES_DIR}/{name}"), "", "its content is not what it is named after")
            }
            Err(error) => {
                report.add(format!("{MODULES_DIR}/{name}"), "", format!("it cannot be read: {error}"))
            }
        }
        progress("modules", report.modules);
    }
    let Some(records) = records else { return Ok(()) };
    for (digest, _, _) in records.filter::<ModuleRecord>(&[], |_, _| true).await? {
        if !dir.join(format!("{digest}.wasm")).is_file() {
            report.add(format!("{MODULES_DIR}/{digest}.wasm"), "", "the file is missing");
        }
    }
    Ok(())
}

fn digest_of(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let (mut digest, mut block) = (Sha256::new(), vec![0_u8; 64 * 1024]);
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            return Ok(hex::encode(&digest.finalize()));
        }
        digest.update(block.get(..read).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests;
