//! Backups of everything, made while calls go on.
//!
//! By the API a backup leaves only sealed for a key that the configuration names: who steals a platform token gets nothing
//! that it could read, and nothing at all where no key is named. The operator at the machine, who can read the data
//! directory anyway, gets it as it is. Each has a record in the audit log before it begins.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_core::fault::Code;
pub use portcullis_store::{BackupError, BackupProgress, BackupRecipient, BackupReport, KnownBackup};
use portcullis_store::{BackupParts, BegunBackup, begin_backup};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::audit_log::{acts, note_operator};
use crate::caller::Caller;
use crate::engine::Engine;
use crate::error::Error;

/// What the record of a backup names.
const TARGET: &str = "backup";

/// Where backups are made, and for whom.
#[derive(Debug, Clone)]
pub struct BackupPlace {
    /// The age key that backups by the API are sealed for.
    pub recipient: Option<BackupRecipient>,
    /// Directory of the snapshot until it is written: in the data directory, and for backups alone.
    pub spool: PathBuf,
}

/// Directories of a backup.
struct Directories {
    place: BackupPlace,
    ledger: PathBuf,
    runs: PathBuf,
    modules: PathBuf,
}

/// What makes the backups of a process.
pub(crate) struct BackupDesk {
    directories: Option<Directories>,
    /// One at a time: each holds files on disk, and reads everything.
    one: Arc<Mutex<()>>,
}

impl BackupDesk {
    pub(crate) fn new(place: Option<BackupPlace>, [ledger, runs, modules]: [Option<&Path>; 3]) -> Self {
        let directories = place.zip(ledger).zip(runs.zip(modules));
        let directories = directories.map(|((place, ledger), (runs, modules))| Directories {
            place,
            ledger: ledger.to_owned(),
            runs: runs.to_owned(),
            modules: modules.to_owned(),
        });
        Self { directories, one: Arc::default() }
    }
}

/// A backup whose snapshot is taken.
pub struct Backup {
    begun: BegunBackup,
    recipient: Option<BackupRecipient>,
    _alone: OwnedMutexGuard<()>,
}

impl Backup {
    /// Writes it. `to` may block.
    ///
    /// # Errors
    /// [`BackupError`]; what was written until then is not a backup.
    pub async fn write(
        self,
        to: Box<dyn Write + Send>,
        progress: BackupProgress,
    ) -> Result<BackupReport, BackupError> {
        let Self { begun, recipient, _alone } = self;
        // Why not another one before the thread has ended: it would take away what this one reads.
        let to = Held { to, _alone };
        begun.write(recipient, Box::new(to), progress).await
    }
}

/// Holds the turn as long as something is written.
struct Held {
    to: Box<dyn Write + Send>,
    _alone: OwnedMutexGuard<()>,
}

impl Write for Held {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

/// Begins a backup that only the configured recipient can read.
///
/// # Errors
/// `role_not_allowed`, `backup_not_configured`, `in_use` while another one is made, `store_unavailable`.
pub async fn sealed(engine: &Engine, caller: &Caller) -> Result<Backup, Error> {
    caller.platform()?;
    let place = engine.backups.directories.as_ref().map(|directories| &directories.place);
    let Some(recipient) = place.and_then(|place| place.recipient.clone()) else {
        let detail = "set backup.recipient to an age public key, whose private key is not on this machine; the \
                      operator at the machine makes backups with `portcullis backup`";
        return Err(Error::new(Code::BackupNotConfigured, detail));
    };
    let alone = turn(engine)?;
    engine.resources.record_act_of_platform(TARGET).await?;
    begin(engine, None, Some(recipient), alone).await
}

/// Begins a backup as it is, or what is new since another one: for the operator at the machine alone.
///
/// # Errors
/// `role_not_allowed` if the caller has a token, `in_use` while another backup is made, `store_unavailable`.
pub async fn plain(engine: &Engine, caller: &Caller, since: Option<KnownBackup>) -> Result<Backup, Error> {
    caller.platform()?;
    if !caller.is_operator() {
        return Err(Error::new(Code::RoleNotAllowed, "this is for the operator at the machine"));
    }
    let alone = turn(engine)?;
    note_operator(engine, acts::BACKUP, TARGET).await?;
    begin(engine, since, None, alone).await
}

fn turn(engine: &Engine) -> Result<OwnedMutexGuard<()>, Error> {
    let turn = Arc::clone(&engine.backups.one).try_lock_owned();
    turn.map_err(|_| Error::new(Code::InUse, "a backup is being made; wait for its end"))
}

async fn begin(
    engine: &Engine,
    since: Option<KnownBackup>,
    recipient: Option<BackupRecipient>,
    alone: OwnedMutexGuard<()>,
) -> Result<Backup, Error> {
    let Some(directories) = &engine.backups.directories else {
        return Err(Error::new(Code::BackupNotConfigured, "the storage is not in a directory"));
    };
    let parts = BackupParts {
        store: Arc::clone(engine.resources.records.store()),
        ledger: directories.ledger.clone(),
        runs: directories.runs.clone(),
        modules: directories.modules.clone(),
        spool: directories.place.spool.clone(),
    };
    let begun = begin_backup(parts, since).await.map_err(|error| match error {
        BackupError::Store(error) => Error::from(error),
        other => {
            tracing::error!(error = %other, "a backup could not be begun");
            Error::plain(Code::StoreUnavailable)
        }
    })?;
    Ok(Backup { begun, recipient, _alone: alone })
}
