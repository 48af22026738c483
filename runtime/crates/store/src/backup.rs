//! Backups: one file of everything that a data directory holds, made while it is written to, and brought back elsewhere.
//!
//! The file is a tar archive. Records come as a snapshot of one commit; after that, each log of runs and each ledger as it
//! is when its turn comes, which is later. So nothing that a record refers to is missing: a run is stored before the commit
//! that says so, and what a run sent is in the ledger before the run is stored. Runs come before ledgers for the same
//! reason. What is in the logs beyond the snapshot's moment did happen, and stays. A log's heads are read before its
//! files, so that the files reach as far as the heads say, and every chain verifies after a restore. Exports of chains that
//! a move out of a database left are in it as they are: they are the only proof of what nodes wrote.
//!
//! Never in it: the master key, the anchor, compiled code, indexes. Called by the engine and by commands.

use std::path::PathBuf;
use std::sync::Arc;

use crate::backend::Store;
use crate::error::StoreError;

mod format;
mod logs;
mod making;
mod pack;
mod reading;
mod restoring;
mod sealing;
#[cfg(test)]
mod tests;

pub use format::KnownBackup;
pub use making::{BackupReport, BegunBackup, begin_backup};
pub use reading::read_known;
pub use restoring::{RestoreReport, restore_backups};
pub use sealing::{BackupIdentity, BackupRecipient};

/// What is told of a backup or a restore under way: bytes that were written.
pub type BackupProgress = Box<dyn FnMut(u64) + Send>;

/// What a backup is made of.
#[derive(Clone)]
pub struct BackupParts {
    pub store: Arc<dyn Store>,
    /// Directory of the ledgers.
    pub ledger: PathBuf,
    /// Directory of the runs.
    pub runs: PathBuf,
    /// Directory of the modules' bytes; there may be none.
    pub modules: PathBuf,
    /// Where the snapshot and links to files wait until they are written, on the same file system. Whatever is there is
    /// removed first: one backup at a time.
    pub spool: PathBuf,
}

/// Name of the spool in a data directory.
pub const BACKUP_SPOOL: &str = "backup.unfinished";

/// Name of the directory, beside the ledgers, of chains that a directory cannot hold: those that nodes wrote into the
/// database which everything was moved from, a file for each org. Nobody changes them.
pub const LEDGER_EXPORTS_DIR: &str = "ledger-exports";

/// Name of the modules' directory in a data directory.
const MODULES_DIR: &str = "modules";

impl BackupParts {
    /// Everything in a data directory whose store is open.
    #[must_use]
    pub fn of_directory(store: Arc<dyn Store>, data_dir: &std::path::Path) -> Self {
        Self {
            store,
            ledger: data_dir.join(crate::backends::LEDGER_DIR),
            runs: data_dir.join(crate::backends::RUNS_DIR),
            modules: data_dir.join(MODULES_DIR),
            spool: data_dir.join(BACKUP_SPOOL),
        }
    }

    /// Directory of exported chains; there may be none.
    fn exports(&self) -> PathBuf {
        self.ledger.with_file_name(LEDGER_EXPORTS_DIR)
    }
}

/// Why a backup cannot be made or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The records.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be read or written.
    #[error("{what}: {error}")]
    Io {
        /// What was being done, with the file.
        what: String,
        error: std::io::Error,
    },
    /// What takes the backup took no more.
    #[error("the backup cannot be written: {0}")]
    Output(std::io::Error),
    /// A file is not a backup, not a whole one, or not the one that comes next.
    #[error("{file}: {reason}")]
    Refused {
        /// The file.
        file: String,
        reason: String,
    },
}

impl BackupError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::Io { what: what.into(), error }
    }

    fn refused(file: &str, reason: impl Into<String>) -> Self {
        Self::Refused { file: file.to_owned(), reason: reason.into() }
    }
}
