//! `portcullis restore`: a backup, and those that continue it, in a new data directory.
//!
//! Everything is written, read again and compared before any of it has its name. The store gets its name last: until then
//! the directory counts as one that was never initialised, and nothing serves it.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use portcullis_store::{
    LEDGER_EXPORTS_DIR, Records, RestoreReport, Vault, fsck, open_store, open_store_anchored, restore_backups,
};

use super::backup::read_identity;
use super::progress::Progress;
use super::{block_on, load, told};
use crate::config::{Config, ConfigArgs, DataDirArgs, KeyArgs};
use crate::data_dir::{DataDir, RESTORE_UNFINISHED, Refusal};
use crate::output;
use crate::private_file::sync_folder;
use crate::storage::directory_only;

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    #[command(flatten)]
    data: DataDirArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// The backup, followed by those that continue it, in their order
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// File with the age key that opens backups which are sealed
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Accept a backup that is older than what the anchor file says was acknowledged
    #[arg(long)]
    accept_older: bool,
}

/// What gets its place, the store last.
const PARTS: [&str; 6] = ["modules", LEDGER_EXPORTS_DIR, "runs", "ledger", "format.json", "store"];
/// Those of them that a backup need not have.
const OPTIONAL: [&str; 2] = ["modules", LEDGER_EXPORTS_DIR];

/// Restores into a new directory.
pub(super) fn restore(args: &RestoreArgs) -> u8 {
    let mut all = ConfigArgs::from(&args.data);
    all.key = args.key.clone();
    told(load(&all).and_then(|config| {
        directory_only(&config, "restore", "pg_restore, or psql, reads what pg_dump wrote")?;
        let _data_dir = DataDir::for_restore(&config)?;
        let fresh = config.data_dir.join(RESTORE_UNFINISHED);
        let done = block_on(read_backups(&config, args, &fresh)).and_then(|done| done);
        let done = done.and_then(|report| place(&config, &fresh).map(|()| summary(&report)));
        if done.is_err() {
            // Why ignored: the reason why nothing was restored says more.
            let _ = remove(&fresh);
        }
        let done = done.and_then(|done| forget_anchor(&config, args.accept_older).map(|()| done));
        done.map_err(Refusal::failed)
    }))
}

/// Reads the backups into a directory of their own, tries the key, and looks at everything once more.
async fn read_backups(config: &Config, args: &RestoreArgs, fresh: &Path) -> Result<RestoreReport, String> {
    let key = config.open_keys().await?;
    let identity = args.identity.as_deref().map(read_identity).transpose()?;
    // What a killed restore left.
    remove(fresh)?;
    let restored = restore_backups(args.files.clone(), identity, fresh, Progress::of_bytes("restoring"));
    let report = restored.await.map_err(|e| e.to_string())?;
    let store = fresh.join("store");
    let records = Records::new(open_store(&store).map_err(|e| e.to_string())?);
    // Why before it has its place: with a backup for another key no credential could be opened.
    Vault::open(records, key).await.map_err(|e| e.to_string())?;
    if !args.accept_older {
        open_store_anchored(&store, config.anchor_file.as_deref()).map(drop).map_err(|e| e.to_string())?;
    }
    let mut tell = Progress::of_check();
    let seen = fsck(fresh, None, &mut tell).await.map_err(|e| e.to_string())?;
    for finding in seen.findings {
        // Why no refusal: it was so when the backup was made, and what is whole beside it is needed.
        output::warning(&format!(
            "damaged in the backup already: {} {}: {}",
            finding.file, finding.place, finding.reason
        ));
    }
    Ok(report)
}

/// Gives everything its place.
fn place(config: &Config, fresh: &Path) -> Result<(), String> {
    for part in PARTS {
        let (from, to) = (fresh.join(part), config.data_dir.join(part));
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && OPTIONAL.contains(&part) => {}
            renamed => renamed.map_err(|error| format!("{}: {error}", to.display()))?,
        }
        sync_folder(&config.data_dir).map_err(|error| format!("{}: {error}", config.data_dir.display()))?;
    }
    remove(fresh)
}

/// Removes the anchor if an older store was accepted: the next start makes it anew, from that store.
fn forget_anchor(config: &Config, accepted: bool) -> Result<(), String> {
    match config.anchor_file.as_deref().filter(|path| accepted && path.exists()) {
        Some(anchor) => std::fs::remove_file(anchor).map_err(|e| format!("{}: {e}", anchor.display())),
        None => Ok(()),
    }
}

fn summary(report: &RestoreReport) -> String {
    let RestoreReport { made_at, seq, records, logs } = report;
    format!(
        "restored {records} records, as of commit {seq}, and {logs} ledgers and logs of runs; the backup was made at \
         {made_at}"
    )
}

fn remove(dir: &Path) -> Result<(), String> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(format!("{}: {e}", dir.display())),
        _ => Ok(()),
    }
}
