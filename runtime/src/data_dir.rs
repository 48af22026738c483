//! The data directory of a command: whether it is one, and the lock that makes it this process's alone.
//!
//! Every command that writes to a data directory, or opens its store, holds the lock until it ends: `serve`, `init`,
//! `backup`, `restore`, `compact`, `fsck`, `token create`, `key rotate`, `key show`, `migrate`. Those that only read files that a server replaces as a whole or appends to run
//! beside it: `ledger verify`, `doctor`, `serve --check`. The first of them takes the lock if it is free, to look into the
//! store as well.
//!
//! The lock is the operating system's, on the directory itself: it ends with the process however that ends, it is the
//! same by every path, and it does not go when files are deleted. The file `lock` says who holds it, and is locked
//! as well for file systems that cannot lock directories.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use portcullis_store::{BACKUP_SPOOL, LEDGER_EXPORTS_DIR, STORE_DIR};
use rustix::fs::{Mode, OFlags};

use crate::cli::{BAD_CONFIG, FAILED};
use crate::config::Config;
use crate::control::SOCKET;

/// The file that says who holds the lock.
const LOCK_FILE: &str = "lock";
/// What it holds at most.
const HOLDER_BYTES_MAX: u64 = 100;
/// What the product itself, or a file system, puts into a data directory.
const OWN_NAMES: &[&str] = &[
    "store",
    "ledger",
    LEDGER_EXPORTS_DIR,
    MOVING_FILE,
    "runs",
    "modules",
    "compiled",
    "format.json",
    "master.key",
    RESTORE_UNFINISHED,
    BACKUP_SPOOL,
    SOCKET,
    LOCK_FILE,
    "lost+found",
];
/// What a restore or a move brings beside the store, so that a directory which has one of them is not a new one.
const BESIDE_STORE: &[&str] = &["ledger", "runs", "modules", LEDGER_EXPORTS_DIR];

/// Says that everything is being moved into a directory, and from where.
pub(crate) const MOVING_FILE: &str = "moving.json";
/// The records of a move until everything is verified. Why not the name that `init` uses: it removes what has that one.
pub(crate) const MOVING_STORE: &str = "store.moving";
/// The copy that a compaction makes; after the exchange, the store from before it.
pub(crate) const COMPACTING: &str = "store.compacting";
/// Where a restore writes until all of it is whole.
pub(crate) const RESTORE_UNFINISHED: &str = "restore.unfinished";

/// Why a command may not have a directory, for people, with the exit code.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: u8,
    pub(crate) reason: String,
}

impl Refusal {
    fn not_one(reason: String) -> Self {
        Self { code: BAD_CONFIG, reason }
    }

    pub(crate) fn failed(reason: String) -> Self {
        Self { code: FAILED, reason }
    }
}

/// A data directory that no other process uses while this value lives.
#[derive(Debug)]
pub(crate) struct DataDir {
    /// Held for their locks.
    _locks: [File; 2],
}

impl DataDir {
    /// A directory that `init` made. Makes no file in one that it did not make.
    ///
    /// # Errors
    /// It is none, or in use.
    pub(crate) fn open(config: &Config, command: &str) -> Result<Self, Refusal> {
        let dir = config.data_dir.as_path();
        // Why before the lock: what is no directory cannot be locked.
        if !dir.is_dir() {
            return Err(never_initialised(&config.data_dir));
        }
        let directory = lock_directory(dir)?;
        if !is_initialised(&config.data_dir) {
            return Err(never_initialised(&config.data_dir));
        }
        Self::hold(dir, directory, command)
    }

    /// A directory for `init`, which has just made it or found it.
    ///
    /// # Errors
    /// It has a store, or a part of another installation, or is in use.
    pub(crate) fn for_init(config: &Config) -> Result<Self, Refusal> {
        let directory = lock_directory(&config.data_dir)?;
        refuse_initialised(config)?;
        // Why: a new store beside what another one refers to would be served as if they belonged together.
        if let Some(half) = half_filled(&config.data_dir) {
            return Err(Refusal::not_one(half));
        }
        Self::hold(&config.data_dir, directory, "init")
    }

    /// A directory to look at, whatever its state: also one whose store is gone.
    ///
    /// # Errors
    /// It is none, or in use.
    pub(crate) fn for_fsck(config: &Config) -> Result<Self, Refusal> {
        let dir = config.data_dir.as_path();
        if !dir.is_dir() || !(is_initialised(dir) || dir.join("format.json").exists()) {
            return Err(never_initialised(dir));
        }
        Self::hold(dir, lock_directory(dir)?, "fsck")
    }

    /// A directory to restore into: new, with nothing but the product's key and lock, or what the configuration names.
    ///
    /// # Errors
    /// It is missing, has something in it, or is in use.
    pub(crate) fn for_restore(config: &Config) -> Result<Self, Refusal> {
        let dir = &config.data_dir;
        if !dir.is_dir() {
            let reason = "is no directory; to restore into a new one, make it first (mkdir -m 700)";
            return Err(Refusal::not_one(format!("{} {reason}", dir.display())));
        }
        let directory = lock_directory(dir)?;
        let is_moving = || dir.join(MOVING_FILE).exists().then_some(MOVING_FILE);
        let has = if is_initialised(dir) { Some("store") } else { is_moving().or_else(|| filled(dir)) };
        if let Some(has) = has {
            return Err(Refusal::failed(format!(
                "{} has data in it ({has}), and a restore goes over nothing: {ASIDE}, and restore there",
                dir.display()
            )));
        }
        if let Some(stranger) = stranger(config) {
            let reason = "was never initialised, and it holds other things";
            return Err(Refusal::not_one(format!(
                "{} {reason} ({stranger}); restore into an empty directory, or check --data-dir",
                dir.display()
            )));
        }
        Self::hold(dir, directory, "restore")
    }

    /// A directory that everything is moved into.
    ///
    /// # Errors
    /// It is in use.
    pub(crate) fn for_move(config: &Config) -> Result<Self, Refusal> {
        let directory = lock_directory(&config.data_dir)?;
        Self::hold(&config.data_dir, directory, "migrate")
    }

    /// Notes who holds the lock. From here on whatever the process makes is its owner's alone: the store's own files
    /// are made by a library that does not ask for a mode.
    fn hold(dir: &Path, directory: File, command: &str) -> Result<Self, Refusal> {
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
        let path = dir.join(LOCK_FILE);
        let failed = |error: std::io::Error| Refusal::failed(format!("{}: {error}", path.display()));
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(no_follow())
            .open(&path)
            .map_err(failed)?;
        try_lock(&file, dir)?;
        let holder = format!("{} {command}\n", std::process::id());
        file.set_len(0).and_then(|()| file.write_all(holder.as_bytes())).map_err(failed)?;
        Ok(Self { _locks: [directory, file] })
    }
}

fn no_follow() -> i32 {
    i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default()
}

fn lock_directory(dir: &Path) -> Result<File, Refusal> {
    let directory =
        File::open(dir).map_err(|error| Refusal::failed(format!("{}: {error}", dir.display())))?;
    try_lock(&directory, dir)?;
    Ok(directory)
}

fn try_lock(file: &File, dir: &Path) -> Result<(), Refusal> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Refusal::failed(in_use(dir))),
        // Why: some network file systems lock files that are open for writing and no others; the file is locked, too.
        Err(TryLockError::Error(_)) if file.metadata().is_ok_and(|metadata| metadata.is_dir()) => Ok(()),
        Err(TryLockError::Error(error)) => {
            Err(Refusal::failed(format!("{} cannot be locked: {error}", dir.join(LOCK_FILE).display())))
        }
    }
}

fn in_use(dir: &Path) -> String {
    let holder = holder(dir).unwrap_or_else(|| "another process".to_owned());
    format!("{} is in use by {holder}: wait for its end, or stop it first", dir.display())
}

/// Who holds the lock, by its own word.
fn holder(dir: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::options().read(true).custom_flags(no_follow()).open(dir.join(LOCK_FILE)).ok()?;
    file.take(HOLDER_BYTES_MAX).read_to_string(&mut text).ok()?;
    let (process, command) = text.trim().split_once(' ')?;
    let process: u32 = process.parse().ok()?;
    let plain = command.bytes().all(|b| b.is_ascii_lowercase() || b == b' ');
    plain.then(|| format!("`portcullis {command}` (process {process})"))
}

/// Whether `init` finished here once. What is inside may be damaged; that is the store's to say.
pub(crate) fn is_initialised(data_dir: &Path) -> bool {
    let store = data_dir.join(STORE_DIR);
    ["watermark", "sled", "lock"].iter().any(|name| store.join(name).exists())
}

/// Removes what a backup or a compaction left that was killed: keys that were destroyed and data that was deleted since are
/// in it. For a process that has the directory, once its store has opened: until then the copy may be the better one.
/// Returns what it removed, and a sentence for what cannot be removed.
pub(crate) fn remove_left(data_dir: &Path) -> Vec<Result<&'static str, String>> {
    let remove = |name: &'static str| {
        let path = data_dir.join(name);
        match std::fs::remove_dir_all(&path) {
            Ok(()) => Some(Ok(name)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(format!("{}: {error}", path.display()))),
        }
    };
    [BACKUP_SPOOL, COMPACTING].into_iter().filter_map(remove).collect()
}

/// The refusal of a directory without a store: what brings it one.
pub(crate) fn never_initialised(data_dir: &Path) -> Refusal {
    let dir = data_dir.display();
    let new =
        || format!("{dir} was never initialised; run: portcullis init --data-dir {dir}, or check --data-dir");
    Refusal::not_one(half_filled(data_dir).unwrap_or_else(new))
}

/// What a restore into a place that is taken needs first.
const ASIDE: &str =
    "move the directory aside, make a new one in its place (mkdir -m 700), put the master key into it";

/// What lies in a directory without a store that is a part of some installation, and how to go on.
fn half_filled(data_dir: &Path) -> Option<String> {
    let dir = data_dir.display();
    if data_dir.join(MOVING_FILE).exists() {
        let from = moved_from(data_dir).unwrap_or_else(|| "postgres://…".to_owned());
        return Some(format!(
            "{dir} holds a move into it that has not ended ({MOVING_FILE}); run it again: portcullis migrate --from \
             '{from}' --to sled:{dir}"
        ));
    }
    let is_restoring = data_dir.join(RESTORE_UNFINISHED).exists();
    match (is_restoring, filled(data_dir)) {
        (true, None) => Some(format!(
            "{dir} holds a restore into it that has not ended ({RESTORE_UNFINISHED}); run it again: portcullis restore \
             --data-dir {dir} FILE…"
        )),
        (true, Some(part)) => Some(format!(
            "{dir} holds a restore into it that has not ended ({RESTORE_UNFINISHED}, and {part} is in its place already): \
             {ASIDE}, and run there: portcullis restore --data-dir {dir} FILE…"
        )),
        (false, Some(part)) => Some(format!(
            "{dir} has no store, and holds a part of an installation ({part}): put its store back, or {ASIDE}, and run \
             there: portcullis restore --data-dir {dir} FILE…"
        )),
        (false, None) => None,
    }
}

/// The first part besides the store that has something in it.
fn filled(data_dir: &Path) -> Option<&'static str> {
    let has_any = |name: &&&str| {
        std::fs::read_dir(data_dir.join(name)).is_ok_and(|mut entries| entries.next().is_some())
    };
    BESIDE_STORE.iter().find(has_any).copied()
}

/// Where everything is moved from into a directory, by the note in it.
fn moved_from(data_dir: &Path) -> Option<String> {
    let text = std::fs::read(data_dir.join(MOVING_FILE)).ok()?;
    let note: serde_json::Value = serde_json::from_slice(&text).ok()?;
    note.get("from")?.as_str().map(str::to_owned)
}

/// Refuses a directory that `init` must not touch.
///
/// # Errors
/// It has a store, or something else in the store's place.
pub(crate) fn refuse_initialised(config: &Config) -> Result<(), Refusal> {
    let dir = config.data_dir.display();
    if is_initialised(&config.data_dir) {
        let reason = "is initialised already; `portcullis serve` uses it, and `portcullis token create` makes another \
                      platform token";
        return Err(Refusal::not_one(format!("{dir} {reason}")));
    }
    if std::fs::symlink_metadata(config.store_dir()).is_ok() {
        let reason = "holds something else under the name store; move it away, or use another directory";
        return Err(Refusal::not_one(format!("{dir} {reason}")));
    }
    Ok(())
}

/// An entry that is neither the product's nor named by the configuration.
fn stranger(config: &Config) -> Option<String> {
    let ours = |name: &str| OWN_NAMES.contains(&name) || name.starts_with("store.");
    let named = [Some(&config.master_key_file), config.file.as_ref(), config.bootstrap_token_file.as_ref()];
    let same = |path: &Path| {
        let path = path.canonicalize().ok();
        path.is_some() && named.iter().flatten().any(|other| other.canonicalize().ok() == path)
    };
    let mut entries = std::fs::read_dir(&config.data_dir).ok()?.filter_map(Result::ok);
    let filled = |path: &Path| std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_some());
    // Why a filled `store` counts: `is_initialised` has just found that it is not the product's.
    let strange = entries.find(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "store" { filled(&entry.path()) } else { !(ours(&name) || same(&entry.path())) }
    });
    strange.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
