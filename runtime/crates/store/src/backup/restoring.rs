//! Brings a backup, and those that continue it, back into a new directory.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io::{Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use portcullis_core::id::OrgId;

use super::format::{
    Entry, Header, LOG, LogKind, LogName, LogState, OUTER_HEAD, export_file, is_earlier, segment_number,
};
use super::reading::{Reading, document, header};
use super::{BackupError, BackupIdentity, BackupProgress, LEDGER_EXPORTS_DIR, MODULES_DIR};
use crate::backends::{FORMAT_FILE, PARTS, STORE_DIR, write_format};
use crate::disk_sync::sync_tree;
use crate::error::StoreError;
use crate::head::HEADS;
use crate::{SledStore, Store as _};

/// What a restore came to.
#[derive(Debug, Clone)]
pub struct RestoreReport {
    /// When the last backup was made, RFC 3339.
    pub made_at: String,
    /// The last commit.
    pub seq: u64,
    /// Records in the store.
    pub records: u64,
    /// Ledgers, and workspaces with runs.
    pub logs: u64,
}

/// Restores into `dir`, which must not exist: `store`, `ledger`, `runs`, `modules`, `ledger-exports` and the format of the whole. The first
/// file is a full backup, each further one continues the one before it. Everything is on disk when this returns.
///
/// # Errors
/// [`BackupError`]; what is in `dir` then is of no use.
pub async fn restore_backups(
    files: Vec<PathBuf>,
    identity: Option<BackupIdentity>,
    dir: &Path,
    progress: BackupProgress,
) -> Result<RestoreReport, BackupError> {
    let ended = || BackupError::Store(StoreError::Unavailable("the restore ended early".to_owned()));
    let mut restoring = Restoring::new(dir, progress)?;
    let restored = tokio::task::spawn_blocking(move || {
        files.iter().try_for_each(|file| restoring.file(file, identity.as_ref()))?;
        Ok::<_, BackupError>(restoring)
    });
    let restoring = restored.await.map_err(|_| ended())??;
    let header = restoring.last.ok_or_else(|| BackupError::refused("restore", "it needs a file"))?;
    let snapshot = File::open(&restoring.snapshot).map_err(BackupError::io("reading the snapshot"))?;
    let store = SledStore::open(&dir.join(STORE_DIR))?;
    let report = store.restore(Box::new(snapshot)).await?;
    drop(store);
    if report.seq != header.seq {
        return Err(BackupError::refused(
            "restore",
            "the snapshot is not the one that the backup says it has",
        ));
    }
    let (dir, snapshot) = (dir.to_owned(), restoring.snapshot);
    let finished = tokio::task::spawn_blocking(move || {
        std::fs::remove_file(snapshot)?;
        write_format(&dir, &dir.join(FORMAT_FILE))?;
        sync_tree(&dir)
    });
    finished.await.map_err(|_| ended())?.map_err(BackupError::io("writing what is restored"))?;
    let (made_at, logs) = (header.made_at, restoring.logs.len() as u64);
    Ok(RestoreReport { made_at, seq: report.seq, records: report.records, logs })
}

/// A restore under way.
struct Restoring {
    dir: PathBuf,
    snapshot: PathBuf,
    /// The backup that was read last.
    last: Option<Header>,
    last_file: String,
    /// Logs that it has.
    logs: BTreeSet<LogName>,
    modules: BTreeSet<String>,
    /// Exports of chains that it has.
    exports: BTreeSet<OrgId>,
    /// The log whose files come now, and how far it has to reach.
    current: Option<(LogName, LogState)>,
    written: u64,
    progress: BackupProgress,
}

impl Restoring {
    fn new(dir: &Path, progress: BackupProgress) -> Result<Self, BackupError> {
        for dir in std::iter::once(dir.to_owned()).chain(PARTS.map(|part| dir.join(part))) {
            make(&dir).map_err(BackupError::io(format!("making {}", dir.display())))?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            snapshot: dir.join("records.snapshot"),
            last: None,
            last_file: String::new(),
            logs: BTreeSet::new(),
            modules: BTreeSet::new(),
            exports: BTreeSet::new(),
            current: None,
            written: 0,
            progress,
        })
    }

    fn file(&mut self, path: &Path, identity: Option<&BackupIdentity>) -> Result<(), BackupError> {
        let reading = Reading::open(path, identity)?;
        let file = reading.file.clone();
        let before = std::mem::take(&mut self.logs);
        let exports_before = std::mem::take(&mut self.exports);
        reading.each(&mut |entry, name, bytes, from| self.entry(&file, (entry, name, bytes), from))?;
        self.end_log(&file)?;
        let writing =
            |error| BackupError::Io { what: "removing what a later backup does not have".to_owned(), error };
        for gone in before.difference(&self.logs) {
            self.clear(gone).map_err(writing)?;
        }
        for gone in exports_before.difference(&self.exports) {
            std::fs::remove_file(self.export(gone)).map_err(writing)?;
        }
        self.last_file = file;
        self.remove_modules().map_err(writing)
    }

    fn entry(
        &mut self,
        file: &str,
        (entry, name, bytes): (Entry<'_>, &str, u64),
        from: &mut dyn Read,
    ) -> Result<(), BackupError> {
        match entry {
            Entry::Header => {
                let header = header(file, bytes, from)?;
                self.check_order(file, &header)?;
                self.last = Some(header);
                Ok(())
            }
            Entry::Records => {
                let snapshot = self.snapshot.clone();
                self.write(&snapshot, 0, from)
            }
            Entry::Modules => {
                self.end_log(file)?;
                self.modules = document(file, name, bytes, from)?;
                Ok(())
            }
            Entry::Module(digest) => {
                let dir = self.dir.join(MODULES_DIR);
                make(&dir).map_err(BackupError::io("writing the modules"))?;
                self.write(&dir.join(format!("{digest}.wasm")), 0, from)
            }
            Entry::Export(org) => {
                self.end_log(file)?;
                let path = self.export(&org);
                if let Some(dir) = path.parent() {
                    make(dir).map_err(BackupError::io("writing the exports of ledgers"))?;
                }
                self.exports.insert(org);
                self.write(&path, 0, from)
            }
            Entry::OfLog(log, LOG) => {
                self.end_log(file)?;
                let state = document(file, name, bytes, from)?;
                self.begin_log(file, log, state)
            }
            Entry::OfLog(log, part) => self.of_log(file, &log, (part, bytes), from),
            Entry::End => Ok(()),
        }
    }

    /// Names a file that stands in the wrong place.
    fn check_order(&self, file: &str, header: &Header) -> Result<(), BackupError> {
        let reason = match (&self.last, &header.continues) {
            (None, None) => return Ok(()),
            (Some(last), Some(earlier)) if earlier.id == last.id => return Ok(()),
            (None, Some(earlier)) => format!(
                "it continues the backup of {} (id {}), which must come before it",
                earlier.made_at, earlier.id
            ),
            (Some(last), Some(earlier)) => format!(
                "it continues the backup of {} (id {}), and {} before it is that of {} (id {}): one is missing, or the \
                 order is wrong",
                earlier.made_at, earlier.id, self.last_file, last.made_at, last.id
            ),
            (Some(_), None) => {
                format!(
                    "it is a full backup and continues none; restore it alone, without {}",
                    self.last_file
                )
            }
        };
        Err(BackupError::refused(file, reason))
    }

    fn log_dir(&self, log: &LogName) -> PathBuf {
        log.parts.iter().fold(self.dir.join(log.kind.as_str()), |path, part| path.join(part))
    }

    fn outer_head(&self, log: &LogName) -> PathBuf {
        log.parts.iter().fold(self.dir.join(log.kind.as_str()).join(HEADS), |path, part| path.join(part))
    }

    fn export(&self, org: &OrgId) -> PathBuf {
        self.dir.join(LEDGER_EXPORTS_DIR).join(export_file(org))
    }

    /// Removes what is there of a log.
    fn clear(&self, log: &LogName) -> std::io::Result<()> {
        for path in [self.log_dir(log), self.outer_head(log)] {
            let removed =
                if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn begin_log(&mut self, file: &str, log: LogName, state: LogState) -> Result<(), BackupError> {
        let failed = |error| BackupError::Io { what: format!("writing {}", log.path()), error };
        let dir = self.log_dir(&log);
        if state.continues {
            self.drop_old(&dir, &state).map_err(failed)?;
        } else {
            self.clear(&log).map_err(failed)?;
        }
        make(&dir).map_err(failed)?;
        if let Some(parent) = self.outer_head(&log).parent() {
            make(parent).map_err(failed)?;
        }
        if !self.logs.insert(log.clone()) {
            return Err(BackupError::refused(file, format!("it has {} twice", log.path())));
        }
        self.current = Some((log, state));
        Ok(())
    }

    /// Removes what the log has not any more.
    fn drop_old(&self, dir: &Path, state: &LogState) -> std::io::Result<()> {
        for entry in std::fs::read_dir(dir)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let is_old = match segment_number(&name) {
                Some(number) => number < state.first,
                None => !is_earlier(&name) || !state.earlier.contains(&name),
            };
            if is_old {
                std::fs::remove_file(dir.join(&name))?;
            }
        }
        Ok(())
    }

    fn of_log(
        &mut self,
        file: &str,
        log: &LogName,
        (part, bytes): (&str, u64),
        from: &mut dyn Read,
    ) -> Result<(), BackupError> {
        let bad = |reason: &str| BackupError::refused(file, format!("{}/{part}: {reason}", log.path()));
        let Some((_, state)) = self.current.as_ref().filter(|(current, _)| current == log) else {
            return Err(bad("it does not stand with its log"));
        };
        if part == OUTER_HEAD {
            return self.write(&self.outer_head(log), 0, from);
        }
        let path = self.log_dir(log).join(part);
        if log.kind == LogKind::Ledger && segment_number(part).is_none() {
            return self.write(&path, 0, from);
        }
        let piece = state.pieces.iter().find(|piece| piece.file == part);
        let piece = piece.filter(|piece| piece.to.saturating_sub(piece.from) == bytes);
        let at = piece.ok_or_else(|| bad("it is not what its log says"))?.from;
        let before = std::fs::metadata(&path).map_or(0, |found| found.len());
        if before != at {
            return Err(bad("it does not continue what the backup before has of it"));
        }
        self.write(&path, at, from)
    }

    /// Compares the log that was written last with what it should be.
    fn end_log(&mut self, file: &str) -> Result<(), BackupError> {
        let Some((log, state)) = self.current.take() else { return Ok(()) };
        if state.last == 0 {
            return Ok(());
        }
        let last = self.log_dir(&log).join(format!("{:010}.ndjson", state.last));
        let bytes = std::fs::metadata(&last).map_or(0, |found| found.len());
        if bytes == state.bytes {
            return Ok(());
        }
        Err(BackupError::refused(file, format!("{} does not reach as far as it should", log.path())))
    }

    fn remove_modules(&self) -> std::io::Result<()> {
        let dir = self.dir.join(MODULES_DIR);
        for entry in std::fs::read_dir(&dir).into_iter().flatten() {
            let name = entry?.file_name();
            let digest = name.to_str().and_then(|name| name.strip_suffix(".wasm")).unwrap_or_default();
            if !self.modules.contains(digest) {
                std::fs::remove_file(dir.join(&name))?;
            }
        }
        Ok(())
    }

    /// Writes a file from here on; at its beginning it replaces what is there.
    fn write(&mut self, path: &Path, at: u64, from: &mut dyn Read) -> Result<(), BackupError> {
        let failed = |error| BackupError::Io { what: format!("writing {}", path.display()), error };
        let mut options = File::options();
        let options = if at == 0 { options.write(true).truncate(true) } else { options.append(true) };
        let mut to = options.create(true).mode(0o600).open(path).map_err(failed)?;
        let written = std::io::copy(from, &mut to).map_err(failed)?;
        to.flush().map_err(failed)?;
        self.written = self.written.saturating_add(written);
        (self.progress)(self.written);
        Ok(())
    }
}

fn make(dir: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}
