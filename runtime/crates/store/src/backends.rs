//! The backends of a process, opened together: records with the jobs in them, ledger and runs, all in one directory or all in memory.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::backend::{MemoryStore, SledStore, Store};
use crate::error::StoreError;
use crate::jobs::{Jobs, RecordJobs};
use crate::ledger::{FileLedger, Ledger, LedgerError, LedgerSync, MemoryLedger};
use crate::outbox::{Outbox, RecordOutbox};
use crate::runs::{FileRuns, MemoryRuns, Runs};

/// The storage of a process.
#[derive(Clone)]
pub struct Backends {
    pub store: Arc<dyn Store>,
    pub ledger: Arc<dyn Ledger>,
    pub runs: Arc<dyn Runs>,
    pub jobs: Arc<dyn Jobs>,
    /// Over the same storage as the jobs, whose ends are written to it.
    pub outbox: Arc<dyn Outbox>,
}

/// Why the backends cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Records or runs.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A later version of the product made the directory.
    #[error(
        "{dir} has data format {format}, made by portcullis {version}; this is portcullis {own}, which reads up to \
         format {DATA_FORMAT}: use that version or a later one",
        own = env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The directory.
        dir: String,
        /// Its format.
        format: u32,
        /// The version that made it.
        version: String,
    },
    /// A part of the directory is gone.
    #[error(
        "{part} is missing from the data directory {dir}; put it back from a backup, or make an empty directory in its \
         place to go on without what was in it"
    )]
    Missing {
        /// The directory.
        dir: String,
        /// The part of it.
        part: &'static str,
    },
    /// The file that says the format cannot be read or written.
    #[error("{file}: {reason}")]
    Format {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
}

/// Format of what a data directory holds. Counts up when an older version could no longer read it.
pub(crate) const DATA_FORMAT: u32 = 4;

/// The file that says which format a data directory has. One without it has format 1.
pub(crate) const FORMAT_FILE: &str = "format.json";

/// What the file says.
#[derive(Serialize, Deserialize)]
struct Format {
    format: u32,
    /// The version of the product that wrote it, for people.
    version: String,
}

/// What a directory has once its format is noted: from then on a part that is missing was lost.
pub(crate) const PARTS: [&str; 3] = [STORE_DIR, LEDGER_DIR, RUNS_DIR];

pub(crate) const LEDGER_DIR: &str = "ledger";
pub(crate) const RUNS_DIR: &str = "runs";

fn format_failed(path: &Path, reason: String) -> OpenError {
    OpenError::Format { file: path.display().to_string(), reason }
}

/// Refuses a directory of a later version, and one of this version that lacks a part. Returns whether it has this
/// version's format already.
pub(crate) fn check_format(data_dir: &Path) -> Result<bool, OpenError> {
    let path = data_dir.join(FORMAT_FILE);
    let failed = |reason| format_failed(&path, reason);
    match std::fs::read(&path) {
        Ok(text) => {
            let found: Format = serde_json::from_slice(&text)
                .map_err(|error| failed(format!("not what this product writes: {:?}", error.classify())))?;
            if found.format > DATA_FORMAT {
                let dir = data_dir.display().to_string();
                return Err(OpenError::Newer { dir, format: found.format, version: found.version });
            }
            if found.format < DATA_FORMAT {
                return Ok(false);
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error.to_string())),
    }
    match PARTS.into_iter().find(|part| !data_dir.join(part).is_dir()) {
        Some(part) => Err(OpenError::Missing { dir: data_dir.display().to_string(), part }),
        None => Ok(true),
    }
}

/// Written beside its place and renamed, so that it is there as a whole or not at all.
pub(crate) fn write_format(data_dir: &Path, path: &Path) -> std::io::Result<()> {
    let format = Format { format: DATA_FORMAT, version: env!("CARGO_PKG_VERSION").to_owned() };
    std::fs::create_dir_all(data_dir)?;
    let part = path.with_extension("part");
    let mut file = File::create(&part)?;
    file.write_all(&serde_json::to_vec(&format)?)?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    File::open(data_dir)?.sync_all()
}

/// Name of the records' directory in a data directory.
pub const STORE_DIR: &str = "store";

impl Backends {
    /// Opens the content of a data directory: `store/`, `ledger/` and `runs/`, created if missing.
    ///
    /// # Errors
    /// [`OpenError`], naming what another process has open or what is damaged.
    pub fn open_directory(data_dir: &Path, sync: LedgerSync) -> Result<Self, OpenError> {
        Self::open_anchored(data_dir, sync, None)
    }

    /// The same, with an anchor outside the data directory: a store that is older than the anchor says is refused.
    ///
    /// # Errors
    /// As for [`Self::open_directory`].
    pub fn open_anchored(
        data_dir: &Path,
        sync: LedgerSync,
        anchor: Option<&Path>,
    ) -> Result<Self, OpenError> {
        let noted = check_format(data_dir)?;
        let store = open_store_anchored(&data_dir.join(STORE_DIR), anchor)?;
        let backends = Self::beside(store, data_dir, sync)?;
        if !noted {
            let path = data_dir.join(FORMAT_FILE);
            write_format(data_dir, &path).map_err(|error| format_failed(&path, error.to_string()))?;
        }
        Ok(backends)
    }

    /// This store, with the ledger and the runs of a data directory.
    ///
    /// # Errors
    /// As for [`Self::open_directory`].
    pub fn beside(store: Arc<dyn Store>, data_dir: &Path, sync: LedgerSync) -> Result<Self, OpenError> {
        let ledger = Arc::new(FileLedger::open(&data_dir.join(LEDGER_DIR), sync)?);
        let runs = Arc::new(FileRuns::open(&data_dir.join(RUNS_DIR))?);
        let jobs = Arc::new(RecordJobs::new(Arc::clone(&store)));
        let outbox = Arc::new(RecordOutbox::new(Arc::clone(&store)));
        Ok(Self { store, ledger, runs, jobs, outbox })
    }

    /// Everything in memory, lost with the process: for tests.
    #[must_use]
    pub fn in_memory() -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        Self {
            jobs: Arc::new(RecordJobs::new(Arc::clone(&store))),
            outbox: Arc::new(RecordOutbox::new(Arc::clone(&store))),
            store,
            ledger: Arc::new(MemoryLedger::new()),
            runs: Arc::new(MemoryRuns::new()),
        }
    }
}

/// Opens the records in a directory, creating it if there is none.
///
/// # Errors
/// Those of the store.
pub fn open_store(dir: &Path) -> Result<Arc<dyn Store>, StoreError> {
    open_store_anchored(dir, None)
}

/// The same, compared with an anchor outside it, which is then kept up to date.
///
/// # Errors
/// Those of the store.
pub fn open_store_anchored(dir: &Path, anchor: Option<&Path>) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(SledStore::open_anchored(dir, anchor)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_a_later_version_is_refused_by_name_and_nothing_in_it_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FORMAT_FILE);
        std::fs::write(&file, r#"{"format":5,"version":"9.1.0"}"#).unwrap();
        let refused = Backends::open_directory(dir.path(), LedgerSync::Group).map(drop).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("format 5") && text.contains("portcullis 9.1.0"), "{text}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was made");
        std::fs::write(&file, r#"{"format":1,"version":"9.1.0"}"#).unwrap();
        Backends::open_directory(dir.path(), LedgerSync::Group).map(drop).unwrap();
    }

    #[test]
    fn a_part_that_is_gone_is_named_and_not_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        Backends::open_directory(dir.path(), LedgerSync::Group).map(drop).unwrap();
        for part in PARTS {
            let (there, aside) = (dir.path().join(part), dir.path().join("aside"));
            std::fs::rename(&there, &aside).unwrap();
            let refused = Backends::open_directory(dir.path(), LedgerSync::Group).map(drop).unwrap_err();
            assert!(refused.to_string().starts_with(&format!("{part} is missing")), "{refused}");
            assert!(!there.exists());
            std::fs::rename(&aside, &there).unwrap();
            Backends::open_directory(dir.path(), LedgerSync::Group).map(drop).unwrap();
        }
    }

    #[test]
    fn a_directory_without_a_format_is_of_the_first_and_says_so_from_then_on() {
        let dir = tempfile::tempdir().unwrap();
        Backends::open_directory(dir.path(), LedgerSync::Group).map(drop).unwrap();
        let said: Format =
            serde_json::from_slice(&std::fs::read(dir.path().join(FORMAT_FILE)).unwrap()).unwrap();
        assert_eq!(said.format, DATA_FORMAT);
        std::fs::write(dir.path().join(FORMAT_FILE), "{").unwrap();
        let refused = Backends::open_directory(dir.path(), LedgerSync::Group).map(drop).unwrap_err();
        assert!(refused.to_string().contains(FORMAT_FILE), "{refused}");
    }
}
