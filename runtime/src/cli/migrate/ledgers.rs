//! Ledgers: every record as it was written, so that its chain still verifies.
//!
//! A directory has one chain for each org. Where nodes wrote chains of their own into a database, their records continue
//! the org's chain in the directory under new hashes, and what they wrote is kept beside it as an export, which
//! `portcullis ledger verify --export` checks.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::sync::Arc;

use portcullis_core::hex;
use portcullis_core::id::OrgId;
use portcullis_store::{Ledger, LedgerLine, LedgerQuery};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::progress::Progress;
use super::side::{Note, Opened};
use crate::private_file::PrivateFile;
use crate::storage::make_directory;

/// Lines that are imported at once.
const BATCH: usize = 500;

/// What was copied.
#[derive(Default)]
pub(super) struct Copied {
    pub(super) orgs: u64,
    pub(super) records: u64,
    /// SHA-256 over the digests of all orgs.
    pub(super) digest: String,
}

/// The records of an org as they were met.
#[derive(Default)]
struct Met {
    records: u64,
    /// Over the lines.
    lines: Sha256,
    /// Over what happened, without chain and hashes.
    events: Sha256,
    /// Whether a node's own chain was among them.
    of_nodes: bool,
}

impl Met {
    fn add(&mut self, line: &LedgerLine) {
        self.records = self.records.saturating_add(1);
        self.of_nodes |= line.node.is_some();
        for (hash, text) in
            [(&mut self.lines, line.as_text()), (&mut self.events, line.event.to_json().as_str())]
        {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
    }
}

/// Copies all ledgers, and compares.
///
/// # Errors
/// A sentence.
pub(super) async fn copy(from: &Opened, to: &Opened) -> Result<Copied, String> {
    let (source, target) = (&from.backends.ledger, &to.backends.ledger);
    let mut copied = Copied::default();
    let mut all = Sha256::new();
    for org in source.orgs().await.map_err(|error| error.to_string())? {
        let mut progress = Progress::of(format!("ledger of {org}"));
        intact(source.as_ref(), &org, "source").await?;
        let there = met(target, &org).await?.records;
        let here = fill(source, target, &org, there, &mut progress).await?;
        if here.of_nodes {
            let Note::Directory(dir) = &to.note else {
                return Err(format!(
                    "the ledger of {org} has chains of nodes, which only a directory takes over"
                ));
            };
            export(source, &org, &dir.exports()).await?;
        }
        intact(target.as_ref(), &org, "target").await?;
        let there = met(target, &org).await?;
        let events = here.events.finalize();
        let same_lines = here.of_nodes || here.lines.finalize() == there.lines.finalize();
        if here.records != there.records || events != there.events.finalize() || !same_lines {
            return Err(format!(
                "the ledger of {org} differs: {} records in the source, {} in the target",
                here.records, there.records
            ));
        }
        all.update(format!("{org} {}\n", hex::encode(&events)));
        copied.orgs = copied.orgs.saturating_add(1);
        copied.records = copied.records.saturating_add(progress.end());
    }
    copied.digest = hex::encode(&all.finalize());
    Ok(copied)
}

async fn intact(ledger: &dyn Ledger, org: &OrgId, side: &str) -> Result<(), String> {
    let report = ledger.verify(org).await.map_err(|error| error.to_string())?;
    match report.bad {
        None => Ok(()),
        Some(bad) => Err(format!("the ledger of {org} in the {side} is broken: {bad}")),
    }
}

/// Appends what the target does not have yet.
async fn fill(
    source: &Arc<dyn Ledger>,
    target: &Arc<dyn Ledger>,
    org: &OrgId,
    there: u64,
    progress: &mut Progress,
) -> Result<Met, String> {
    let mut lines = lines(source, org);
    let (mut met, mut batch) = (Met::default(), Vec::new());
    while let Some(line) = lines.next().await? {
        met.add(&line);
        progress.add(1);
        if met.records <= there {
            continue;
        }
        if line.node.is_none() {
            batch.push(line.as_text().to_owned());
        }
        if batch.len() >= BATCH || (line.node.is_some() && !batch.is_empty()) {
            import(target, org, &mut batch).await?;
        }
        if line.node.is_some() {
            target.append(&line.event).await.map_err(|error| error.to_string())?;
        }
    }
    if !batch.is_empty() {
        import(target, org, &mut batch).await?;
    }
    Ok(met)
}

async fn import(target: &Arc<dyn Ledger>, org: &OrgId, batch: &mut Vec<String>) -> Result<(), String> {
    target.import(org, std::mem::take(batch)).await.map_err(|error| error.to_string())
}

async fn met(ledger: &Arc<dyn Ledger>, org: &OrgId) -> Result<Met, String> {
    let (mut lines, mut met) = (lines(ledger, org), Met::default());
    while let Some(line) = lines.next().await? {
        met.add(&line);
    }
    Ok(met)
}

/// Writes the lines of an org into a file of their own; one from before is replaced.
async fn export(ledger: &Arc<dyn Ledger>, org: &OrgId, dir: &std::path::Path) -> Result<(), String> {
    make_directory(dir)?;
    let path = dir.join(format!("{org}.ndjson"));
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let file = PrivateFile::begin(&path)?;
    let mut writer = std::io::BufWriter::new(file.writer()?);
    let mut lines = lines(ledger, org);
    while let Some(line) = lines.next().await? {
        writeln!(writer, "{}", line.as_text()).map_err(failed)?;
    }
    writer.flush().map_err(failed)?;
    drop(writer);
    file.finish()
}

/// The records of an org, oldest first, as they are read.
struct Lines {
    lines: mpsc::Receiver<LedgerLine>,
    export: Option<tokio::task::JoinHandle<Result<(), String>>>,
}

fn lines(ledger: &Arc<dyn Ledger>, org: &OrgId) -> Lines {
    let (sender, lines) = mpsc::channel(BATCH);
    let (ledger, org) = (Arc::clone(ledger), org.clone());
    let export = tokio::spawn(async move {
        let sink = Box::new(move |line: &LedgerLine| match sender.blocking_send(line.clone()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        });
        let exported = ledger.export(&org, &LedgerQuery::default(), sink).await;
        exported.map(drop).map_err(|error| error.to_string())
    });
    Lines { lines, export: Some(export) }
}

impl Lines {
    /// The next record; `None` after the last.
    async fn next(&mut self) -> Result<Option<LedgerLine>, String> {
        if let Some(line) = self.lines.recv().await {
            return Ok(Some(line));
        }
        match self.export.take() {
            None => Ok(None),
            Some(export) => {
                export.await.map_err(|_| "reading a ledger ended early".to_owned())??;
                Ok(None)
            }
        }
    }
}
