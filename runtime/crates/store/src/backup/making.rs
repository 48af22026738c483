//! Makes a backup: the snapshot first, then runs, then ledgers, then exports of chains, then modules.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use portcullis_core::hex;
use uuid::Uuid;

use super::format::{
    Earlier, Entry, FORMAT, HEADER, Header, KnownBackup, LOG, LogKind, LogName, LogState, MODULES, Piece,
    RECORDS, entry, export_file, is_digest,
};
use super::logs::{Frozen, FrozenFile, freeze, hold, names};
use super::pack::Pack;
use super::{BackupError, BackupParts, BackupProgress, BackupRecipient, LEDGER_EXPORTS_DIR, sealing};
use crate::backend::SnapshotReport;
use crate::backends::DATA_FORMAT;
use crate::error::StoreError;

/// What a backup came to.
#[derive(Debug, Clone)]
pub struct BackupReport {
    /// What later ones call it.
    pub id: String,
    /// The last commit in it.
    pub seq: u64,
    /// Records in it.
    pub records: u64,
    /// Ledgers, and workspaces with runs.
    pub logs: u64,
    /// Bytes of its content, before it is sealed.
    pub bytes: u64,
}

/// Where things wait until they are written. It goes with this value.
struct Spool(PathBuf);

impl Spool {
    fn make(dir: &Path) -> Result<Self, BackupError> {
        let failed = |error| BackupError::Io { what: format!("making {}", dir.display()), error };
        remove(dir).map_err(failed)?;
        for dir in [dir, &dir.join("modules"), &dir.join("log")] {
            DirBuilder::new().mode(0o700).create(dir).map_err(failed)?;
        }
        Ok(Self(dir.to_owned()))
    }

    fn records(&self) -> PathBuf {
        self.0.join("records")
    }

    fn modules(&self) -> PathBuf {
        self.0.join("modules")
    }

    fn log(&self) -> PathBuf {
        self.0.join("log")
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            tracing::warn!(%error, dir = %self.0.display(), "what a backup left could not be removed");
        }
    }
}

fn remove(dir: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Begins a backup: takes the snapshot, while commits go on. With `since` it takes only what runs and ledgers have beyond
/// that backup. One at a time for a spool.
///
/// # Errors
/// [`BackupError`].
pub async fn begin_backup(
    parts: BackupParts,
    since: Option<KnownBackup>,
) -> Result<BegunBackup, BackupError> {
    let spool = Spool::make(&parts.spool)?;
    let snapshot = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(spool.records())
        .map_err(BackupError::io("keeping the snapshot"))?;
    let (modules, held) = (parts.modules.clone(), spool.modules());
    // Why at that moment: the bytes of a module are written before its record and removed after it.
    let at = Box::new(move || hold_modules(&modules, &held));
    let taken = parts.store.snapshot_at(at, Box::new(snapshot)).await?;
    Ok(BegunBackup { parts, since, taken, spool })
}

fn hold_modules(dir: &Path, held: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| StoreError::io("keeping the modules for the backup", &error);
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let digest = name.to_str().and_then(|name| name.strip_suffix(".wasm"));
        if digest.is_some_and(is_digest) {
            hold(&dir.join(&name), &held.join(&name)).map_err(failed)?;
        }
    }
    Ok(())
}

/// A backup whose snapshot is taken.
pub struct BegunBackup {
    parts: BackupParts,
    since: Option<KnownBackup>,
    taken: SnapshotReport,
    spool: Spool,
}

impl BegunBackup {
    /// Writes it to `to`, which may block, sealed for `recipient` if there is one.
    ///
    /// # Errors
    /// [`BackupError`]; what was written until then is not a backup.
    pub async fn write(
        self,
        recipient: Option<BackupRecipient>,
        to: Box<dyn Write + Send>,
        progress: BackupProgress,
    ) -> Result<BackupReport, BackupError> {
        let written = tokio::task::spawn_blocking(move || {
            let mut to = BufWriter::with_capacity(WRITE_BYTES, to);
            let written = self.write_all(recipient.as_ref(), &mut to, progress);
            // Why before `to`: with that, another one may begin.
            drop(self);
            written
        });
        let ended = |_| BackupError::Store(StoreError::Unavailable("the backup ended early".to_owned()));
        written.await.map_err(ended)?
    }

    fn write_all(
        &self,
        recipient: Option<&BackupRecipient>,
        to: &mut dyn Write,
        progress: BackupProgress,
    ) -> Result<BackupReport, BackupError> {
        let report = match recipient {
            None => self.pack(to, progress)?,
            Some(recipient) => {
                let mut sealed = sealing::seal(&mut *to, recipient)?;
                let report = self.pack(&mut sealed, progress)?;
                sealed.finish().map_err(BackupError::Output)?;
                report
            }
        };
        to.flush().map_err(BackupError::Output)?;
        Ok(report)
    }

    fn pack(&self, to: &mut dyn Write, progress: BackupProgress) -> Result<BackupReport, BackupError> {
        let (id, now) = (Uuid::now_v7().simple().to_string(), Timestamp::now());
        let mut pack = Pack::new(to, u64::try_from(now.as_second()).unwrap_or_default(), progress);
        let header = Header {
            format: FORMAT,
            id: id.clone(),
            made_at: format!("{now:.3}"),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            data_format: DATA_FORMAT,
            seq: self.taken.seq,
            continues: self
                .since
                .as_ref()
                .map(|since| Earlier { id: since.id.clone(), made_at: since.made_at.clone() }),
        };
        pack.add_json(HEADER, &header)?;
        let (mut snapshot, bytes) = open(&self.spool.records())?;
        pack.add(RECORDS, bytes, &mut snapshot)?;
        let mut logs = 0_u64;
        for (kind, root) in [(LogKind::Runs, &self.parts.runs), (LogKind::Ledger, &self.parts.ledger)] {
            for name in names(kind, root) {
                let failed = |error| BackupError::Io { what: format!("reading {}", name.path()), error };
                if let Some(frozen) = freeze(&name, root, &self.spool.log()).map_err(failed)? {
                    self.pack_log(&mut pack, &name, &frozen)?;
                    logs = logs.saturating_add(1);
                }
            }
        }
        self.pack_exports(&mut pack)?;
        self.pack_modules(&mut pack)?;
        let bytes = pack.bytes();
        pack.finish()?;
        Ok(BackupReport { id, seq: self.taken.seq, records: self.taken.records, logs, bytes })
    }

    fn pack_log(
        &self,
        pack: &mut Pack<&mut dyn Write>,
        name: &LogName,
        frozen: &Frozen,
    ) -> Result<(), BackupError> {
        let path = name.path();
        let failed = |error| BackupError::Io { what: format!("reading {path}"), error };
        let known = self.since.as_ref().and_then(|since| since.logs.get(&path));
        let state = state(frozen, known).map_err(failed)?;
        pack.add_json(&format!("{path}/{LOG}"), &state)?;
        for (file, bytes) in &frozen.small {
            pack.add_bytes(&format!("{path}/{file}"), bytes)?;
        }
        for piece in &state.pieces {
            let Some(file) = frozen.files.iter().find(|file| file.name == piece.file) else { continue };
            let mut from = part(file, piece.from).map_err(failed)?;
            pack.add(&format!("{path}/{}", piece.file), piece.to.saturating_sub(piece.from), &mut from)?;
        }
        Ok(())
    }

    /// Always whole, also in a backup that continues another one: there are few, and none of them grows.
    fn pack_exports(&self, pack: &mut Pack<&mut dyn Write>) -> Result<(), BackupError> {
        let dir = self.parts.exports();
        let failed = |error| BackupError::Io { what: format!("reading {}", dir.display()), error };
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = BTreeSet::new();
        for found in entries {
            let found = found.map_err(failed)?;
            let name = format!("{LEDGER_EXPORTS_DIR}/{}", found.file_name().to_string_lossy());
            // What the product did not put there is not its to take along.
            if let Some(Entry::Export(org)) = entry(&name)
                && found.file_type().map_err(failed)?.is_file()
            {
                names.insert(export_file(&org));
            }
        }
        for name in names {
            let (mut from, bytes) = open(&dir.join(&name))?;
            pack.add(&format!("{LEDGER_EXPORTS_DIR}/{name}"), bytes, &mut from)?;
        }
        Ok(())
    }

    fn pack_modules(&self, pack: &mut Pack<&mut dyn Write>) -> Result<(), BackupError> {
        let failed = |error| BackupError::Io { what: "reading the modules".to_owned(), error };
        let mut modules = BTreeSet::new();
        for entry in std::fs::read_dir(self.spool.modules()).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let digest = name.to_str().and_then(|name| name.strip_suffix(".wasm"));
            modules.extend(digest.map(str::to_owned));
        }
        pack.add_json(MODULES, &modules)?;
        for digest in &modules {
            if self.since.as_ref().is_some_and(|since| since.modules.contains(digest)) {
                continue;
            }
            let name = format!("{digest}.wasm");
            let (mut from, bytes) = open(&self.spool.modules().join(&name))?;
            pack.add(&format!("modules/{name}"), bytes, &mut from)?;
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<(BufReader<File>, u64), BackupError> {
    let open = || {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok((BufReader::with_capacity(READ_BYTES, file), bytes))
    };
    open().map_err(|error| BackupError::Io { what: format!("reading {}", path.display()), error })
}

/// Bytes that are read of a file at a time.
const READ_BYTES: usize = 256 * 1024;
/// Bytes that are written at a time.
const WRITE_BYTES: usize = 64 * 1024;

/// A file from here on.
fn part(file: &FrozenFile, from: u64) -> std::io::Result<BufReader<File>> {
    use std::io::Seek as _;
    let mut opened = File::open(&file.path)?;
    opened.seek(std::io::SeekFrom::Start(from))?;
    Ok(BufReader::with_capacity(READ_BYTES, opened))
}

/// The SHA-256 of a file's beginning.
fn digest_of(file: &FrozenFile, bytes: u64) -> std::io::Result<String> {
    let (mut digest, mut from) = (Context::new(&SHA256), part(file, 0)?.take(bytes));
    let mut block = vec![0_u8; READ_BYTES];
    loop {
        let read = from.read(&mut block)?;
        if read == 0 {
            return Ok(hex::encode(digest.finish().as_ref()));
        }
        digest.update(block.get(..read).unwrap_or_default());
    }
}

/// How far a log reaches, and what of it is new.
fn state(frozen: &Frozen, known: Option<&LogState>) -> std::io::Result<LogState> {
    let last = frozen.files.iter().rev().find(|file| file.number.is_some());
    let earlier = frozen.files.iter().filter(|file| file.number.is_none());
    let mut state = LogState {
        first: frozen.first,
        last: last.and_then(|file| file.number).unwrap_or_default(),
        bytes: last.map_or(0, |file| file.bytes),
        sha256: last.map(|file| digest_of(file, file.bytes)).transpose()?.unwrap_or_default(),
        earlier: earlier.map(|file| file.name.clone()).collect(),
        continues: false,
        pieces: Vec::new(),
    };
    let known = match known {
        Some(known) if continues(frozen, &state, known)? => Some(known),
        _ => None,
    };
    state.continues = known.is_some();
    for file in &frozen.files {
        let from = match (file.number, known) {
            (_, None) => 0,
            (None, Some(_)) => continue,
            (Some(number), Some(known)) if number < known.last => continue,
            (Some(number), Some(known)) if number == known.last => known.bytes,
            (Some(_), Some(_)) => 0,
        };
        if from < file.bytes || from == 0 {
            state.pieces.push(Piece { file: file.name.clone(), from, to: file.bytes });
        }
    }
    Ok(state)
}

/// Whether the log is the one that is known, further on. Another one may have begun under its name.
fn continues(frozen: &Frozen, now: &LogState, known: &LogState) -> std::io::Result<bool> {
    let same = frozen.files.iter().find(|file| file.number == Some(known.last));
    let Some(same) = same.filter(|same| same.bytes >= known.bytes && now.first >= known.first) else {
        return Ok(false);
    };
    let earlier = now.earlier.iter().all(|name| known.earlier.contains(name));
    Ok(earlier && digest_of(same, known.bytes)? == known.sha256)
}
