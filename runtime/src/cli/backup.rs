//! `portcullis backup` and `portcullis restore`: the store as one checksummed file.
//!
//! Offline: the server must be stopped while they run. The file contains ciphertext only; the master key is
//! kept separately, and the files of ledger and runs are copied like any files.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;
use portcullis_store::{Records, SnapshotReport, Vault, open_store};

use super::{BAD_CONFIG, DONE, FAILED, bad_config, block_on};
use crate::config::{Config, ConfigArgs};
use crate::output;

/// Arguments of `backup` and `restore`.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The backup file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Writes a backup; never over an existing file.
pub(super) fn backup(args: &BackupArgs) -> u8 {
    run(args, |config, file| async move {
        let store = open_store(&config.store_dir()).map_err(|e| e.to_string())?;
        let part = file.with_extension("part");
        let to = File::create(&part).map_err(|e| format!("{}: {e}", part.display()))?;
        let handle = to.try_clone().map_err(|e| e.to_string())?;
        let report = store.snapshot(Box::new(to)).await.map_err(|e| e.to_string())?;
        handle.sync_all().map_err(|e| format!("{}: {e}", part.display()))?;
        if file.exists() {
            return Err(format!("{} exists; a backup is never overwritten", file.display()));
        }
        std::fs::rename(&part, &file).map_err(|e| format!("{}: {e}", file.display()))?;
        Ok(told("backed up", &report))
    })
}

/// Replaces the store with a backup; the old one is kept beside it.
pub(super) fn restore(args: &BackupArgs) -> u8 {
    run(args, |config, file| async move {
        let from = File::open(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let fresh = config.data_dir.join("store.restoring");
        remove(&fresh)?;
        let store = open_store(&fresh).map_err(|e| e.to_string())?;
        let report = store.restore(Box::new(from)).await.map_err(|e| e.to_string())?;
        let records = Records::new(store);
        let key = config.master_key()?;
        // Why before the exchange: with a backup for another key no credential could be opened.
        Vault::open(records, key).await.map_err(|e| e.to_string())?;
        exchange(&config, &fresh)?;
        Ok(told("restored", &report))
    })
}

fn told(what: &str, report: &SnapshotReport) -> String {
    format!("{what} {} records, as of commit {}", report.records, report.seq)
}

fn remove(dir: &Path) -> Result<(), String> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {e}", dir.display())),
        _ => Ok(()),
    }
}

/// Moves the restored store to the old one's path.
fn exchange(config: &Config, fresh: &Path) -> Result<(), String> {
    let store = config.store_dir();
    if store.exists() {
        let time = portcullis_engine::clock::now().replace([':', '.'], "-");
        let old = config.data_dir.join(format!("store.before-restore-{time}"));
        std::fs::rename(&store, &old).map_err(|e| format!("{}: {e}", store.display()))?;
        output::line(&format!("the old store is kept as {}", old.display()));
    }
    std::fs::rename(fresh, &store).map_err(|e| format!("{}: {e}", fresh.display()))
}

fn run<F>(args: &BackupArgs, work: impl FnOnce(Config, PathBuf) -> F) -> u8
where
    F: Future<Output = Result<String, String>>,
{
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(errors) => return bad_config(&errors),
    };
    if !config.data_dir.exists() {
        output::error(&format!("{} does not exist", config.data_dir.display()));
        return BAD_CONFIG;
    }
    match block_on(work(config, args.file.clone())).and_then(|done| done) {
        Ok(text) => {
            output::line(&text);
            DONE
        }
        Err(e) => {
            output::error(&e);
            FAILED
        }
    }
}
