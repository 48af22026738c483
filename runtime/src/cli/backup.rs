//! `portcullis backup` and `portcullis restore`: the store as one checksummed file.
//!
//! Offline: the server must be stopped while they run. The file contains ciphertext only; the master key is
//! kept separately, and the files of ledger and runs are copied like any files.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use portcullis_store::{Records, SnapshotReport, Vault, open_store, open_store_anchored};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{block_on, load, told};
use crate::config::{Config, ConfigArgs, DataDirArgs, KeyArgs};
use crate::data_dir::{DataDir, Refusal};
use crate::output;
use crate::private_file::{PrivateFile, sync_folder};
use crate::storage::directory_only;

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    #[command(flatten)]
    data: DataDirArgs,
    /// The backup file, which must not exist yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    #[command(flatten)]
    data: DataDirArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// The backup file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Accept a backup that is older than what the anchor file says was acknowledged
    #[arg(long)]
    accept_older: bool,
}

/// Writes a backup; never over an existing file.
pub(super) fn backup(args: &BackupArgs) -> u8 {
    told(load(&ConfigArgs::from(&args.data)).and_then(|config| {
        directory_only(&config, "backup", "pg_dump is the backup of a database")?;
        let _data_dir = DataDir::open(&config, "backup")?;
        let made = block_on(write_backup(&config, &args.file)).and_then(|made| made);
        made.map_err(Refusal::failed)
    }))
}

async fn write_backup(config: &Config, path: &Path) -> Result<String, String> {
    let file = PrivateFile::begin(path)?;
    let store =
        open_store_anchored(&config.store_dir(), config.anchor_file.as_deref()).map_err(|e| e.to_string())?;
    let report = store.snapshot(Box::new(file.writer()?)).await.map_err(|e| e.to_string())?;
    file.finish()?;
    Ok(summary("backed up", &report))
}

/// Replaces the store with a backup; the old one is kept beside it.
pub(super) fn restore(args: &RestoreArgs) -> u8 {
    let mut all = ConfigArgs::from(&args.data);
    all.key = args.key.clone();
    told(load(&all).and_then(|config| {
        directory_only(&config, "restore", "pg_restore, or psql, reads what pg_dump wrote")?;
        let _data_dir = DataDir::for_restore(&config)?;
        let fresh = config.data_dir.join("store.restoring");
        let done = block_on(read_backup(&config, args, &fresh)).and_then(|done| done);
        let done = done.and_then(|report| exchange(&config, &fresh).map(|()| summary("restored", &report)));
        if done.is_err() {
            // Why ignored: the reason why nothing was restored says more.
            let _ = remove(&fresh);
        }
        let done = done.and_then(|done| forget_anchor(&config, args.accept_older).map(|()| done));
        done.map_err(Refusal::failed)
    }))
}

/// Reads a backup into a store of its own, and tries the key.
async fn read_backup(config: &Config, args: &RestoreArgs, fresh: &Path) -> Result<SnapshotReport, String> {
    let from = File::open(&args.file).map_err(|e| format!("{}: {e}", args.file.display()))?;
    let key = config.master_key()?;
    // What a killed restore left.
    remove(fresh)?;
    let store = open_store(fresh).map_err(|e| e.to_string())?;
    let report = store.restore(Box::new(from)).await.map_err(|e| e.to_string())?;
    let records = Records::new(store);
    // Why before the exchange: with a backup for another key no credential could be opened.
    Vault::open(records, key).await.map_err(|e| e.to_string())?;
    if !args.accept_older {
        open_store_anchored(fresh, config.anchor_file.as_deref()).map(drop).map_err(|e| e.to_string())?;
    }
    Ok(report)
}

/// Removes the anchor if an older store was accepted: the next start makes it anew, from that store.
fn forget_anchor(config: &Config, accepted: bool) -> Result<(), String> {
    match config.anchor_file.as_deref().filter(|path| accepted && path.exists()) {
        Some(anchor) => std::fs::remove_file(anchor).map_err(|e| format!("{}: {e}", anchor.display())),
        None => Ok(()),
    }
}

fn summary(what: &str, report: &SnapshotReport) -> String {
    format!("{what} {} records, as of commit {}", report.records, report.seq)
}

fn remove(dir: &Path) -> Result<(), String> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(format!("{}: {e}", dir.display())),
        _ => Ok(()),
    }
}

/// Moves the restored store to the old one's path.
fn exchange(config: &Config, fresh: &Path) -> Result<(), String> {
    let store = config.store_dir();
    let failed = |e: io::Error| format!("{}: {e}", store.display());
    if store.exists() {
        let time = portcullis_engine::clock::now().replace([':', '.'], "-");
        let old = config.data_dir.join(format!("store.before-restore-{time}"));
        swap(fresh, &store, &old).map_err(failed)?;
        output::line(&format!("the old store is kept as {}", old.display()));
    } else {
        std::fs::rename(fresh, &store).map_err(failed)?;
    }
    sync_folder(&config.data_dir).map_err(failed)
}

/// Puts `fresh` in the place of `store`, which becomes `old`, in one step where the file system can: a process killed
/// between two would leave a directory without a store.
fn swap(fresh: &Path, store: &Path, old: &Path) -> io::Result<()> {
    std::fs::rename(fresh, old)?;
    match renameat_with(CWD, old, CWD, store, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            std::fs::rename(old, fresh)?;
            std::fs::rename(store, old)?;
            std::fs::rename(fresh, store)
        }
        Err(error) => {
            // Why ignored: the first error is returned.
            let _ = std::fs::rename(old, fresh);
            Err(error.into())
        }
    }
}
