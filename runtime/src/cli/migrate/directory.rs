//! A data directory that everything is moved into. Its store gets its final name last: before that no command takes the
//! directory for one that was initialised.

use std::path::{Path, PathBuf};

use portcullis_store::{Backends, LEDGER_EXPORTS_DIR, LedgerSync, open_store};
use serde_json::{Value, json};

use crate::config::Config;
use crate::data_dir::{MOVING_FILE, MOVING_STORE, Refusal, is_initialised};
use crate::private_file::{self, sync_folder};
use crate::storage::make_directory;

/// The same under the name that earlier versions gave it.
const EARLIER_STORE: &str = "store.unfinished";

/// A directory on its way.
#[derive(Debug)]
pub(super) struct Target {
    dir: PathBuf,
    store: PathBuf,
}

impl Target {
    /// Makes the directory, or goes on with one that a move from the same place left.
    ///
    /// # Errors
    /// It is initialised, or holds something else.
    pub(super) fn begin(config: &Config, from: &str) -> Result<Self, Refusal> {
        let dir = config.data_dir.clone();
        let failed = |reason: &str| Refusal::failed(format!("{} {reason}", dir.display()));
        if is_initialised(&dir) {
            return Err(failed("is initialised already: everything is moved into an empty directory"));
        }
        let note = dir.join(MOVING_FILE);
        match std::fs::read(&note) {
            Ok(text) => {
                let text: Value = serde_json::from_slice(&text).unwrap_or_default();
                if text.get("from").and_then(Value::as_str) != Some(from) {
                    return Err(failed(
                        "has an unfinished move from somewhere else: finish that one, or remove it",
                    ));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let is_empty = std::fs::read_dir(&dir).map_or(true, |mut entries| entries.next().is_none());
                if !is_empty {
                    return Err(failed("is not empty: everything is moved into an empty directory"));
                }
                make_directory(&dir).map_err(Refusal::failed)?;
                let text = format!("{}\n", json!({ "from": from }));
                private_file::write(&note, text).map_err(Refusal::failed)?;
            }
            Err(error) => return Err(Refusal::failed(format!("{}: {error}", note.display()))),
        }
        Ok(Self { store: config.store_dir(), dir })
    }

    /// Opens it: the records always from the beginning, the rest as far as it came.
    ///
    /// # Errors
    /// Those of opening the parts.
    pub(super) fn open(&self, config: &Config) -> Result<Backends, Refusal> {
        let unfinished = self.dir.join(MOVING_STORE);
        remove(&unfinished)?;
        remove(&self.dir.join(EARLIER_STORE))?;
        let store = open_store(&unfinished).map_err(|error| Refusal::failed(error.to_string()))?;
        let backends = Backends::beside(store, &config.data_dir, LedgerSync::Group);
        backends.map_err(|error| Refusal::failed(error.to_string()))
    }

    /// Where exports are put.
    pub(super) fn exports(&self) -> PathBuf {
        self.dir.join(LEDGER_EXPORTS_DIR)
    }

    /// Makes it a data directory like any other.
    pub(super) fn end(self) -> Result<(), Refusal> {
        let failed =
            |error: &dyn std::fmt::Display| Refusal::failed(format!("{}: {error}", self.dir.display()));
        std::fs::rename(self.dir.join(MOVING_STORE), &self.store).map_err(|e| failed(&e))?;
        // Notes the format, and shows that it opens as `serve` will open it.
        Backends::open_directory(&self.dir, LedgerSync::Group).map_err(|e| failed(&e))?;
        std::fs::remove_file(self.dir.join(MOVING_FILE)).map_err(|e| failed(&e))?;
        sync_folder(&self.dir).map_err(|e| failed(&e))
    }
}

fn remove(dir: &Path) -> Result<(), Refusal> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Refusal::failed(format!("{}: {error}", dir.display())))
        }
        _ => Ok(()),
    }
}
