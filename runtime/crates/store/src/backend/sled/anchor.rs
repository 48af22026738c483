//! The anchor: a file outside the data directory that says how far the store was acknowledged.
//!
//! An old copy of a whole store agrees with itself, its watermark included; only what is kept elsewhere shows that it
//! is old. A thread replaces the file as a whole after commits, a few times a second at most. Opened with the store.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use portcullis_core::hex;
use portcullis_core::sync::{lock, whole};
use serde::{Deserialize, Serialize};

use super::layout::Meta;
use super::watermark::Mark;
use crate::disk_sync::sync_directory;
use crate::error::StoreError;
use crate::lower_hex;

/// Between two writes of the file, and after a failed one.
const WRITE_PAUSE: Duration = Duration::from_millis(100);

/// The file's content.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnchorFile {
    /// The last commit that was acknowledged.
    seq: u64,
    /// The store's digest after it, 64 hex digits.
    digest: String,
}

/// Keeps the file up to date.
pub(super) struct Keeper {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    path: PathBuf,
    newest: Mutex<Newest>,
    changed: Condvar,
    failing: Arc<AtomicBool>,
}

#[derive(Default)]
struct Newest {
    /// What is not in the file yet.
    mark: Option<Mark>,
    stopping: bool,
}

impl Keeper {
    /// Compares the store with the file, if there is one, and keeps it from here on. `failing` tells whether it
    /// could be written.
    ///
    /// # Errors
    /// [`StoreError::OlderThanAnchor`], [`StoreError::Anchor`] for a file that cannot be read.
    pub(super) fn open(path: &Path, meta: &Meta, failing: Arc<AtomicBool>) -> Result<Self, StoreError> {
        match read(path)? {
            Some(anchored) => compare(path, anchored, meta)?,
            None if meta.seq > 0 => {
                tracing::warn!(anchor_file = %path.display(), "there is no anchor yet; it is made now");
            }
            None => {}
        }
        let state = Arc::new(State {
            path: path.to_owned(),
            newest: Mutex::default(),
            changed: Condvar::new(),
            failing,
        });
        let keeping = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("store-anchor".to_owned())
            .spawn(move || keeping.run())
            .map_err(|error| StoreError::io("starting the anchor's thread", &error))?;
        Ok(Self { state, thread: Some(thread) })
    }

    /// Tells what is acknowledged now.
    pub(super) fn tell(&self, mark: Mark) {
        lock(&self.state.newest).mark = Some(mark);
        self.state.changed.notify_one();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        lock(&self.state.newest).stopping = true;
        self.state.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the anchor's thread ended with a panic");
        }
    }
}

impl State {
    fn run(&self) {
        loop {
            let mut newest = lock(&self.newest);
            while newest.mark.is_none() && !newest.stopping {
                newest = whole(self.changed.wait(newest));
            }
            let Some(mark) = newest.mark.take() else { return };
            drop(newest);
            let written = write(&self.path, mark);
            self.failing.store(written.is_err(), Ordering::Release);
            let mut newest = lock(&self.newest);
            if let Err(error) = written {
                tracing::error!(%error, anchor_file = %self.path.display(), "the anchor could not be written");
                if newest.stopping {
                    return;
                }
                newest.mark.get_or_insert(mark);
            }
            if !newest.stopping {
                drop(whole(self.changed.wait_timeout_while(newest, WRITE_PAUSE, |newest| !newest.stopping)));
            }
        }
    }
}

fn compare(path: &Path, anchored: Mark, meta: &Meta) -> Result<(), StoreError> {
    let other = meta.seq == anchored.seq && meta.digest != anchored.digest;
    if meta.seq > anchored.seq || (meta.seq == anchored.seq && !other) {
        return Ok(());
    }
    Err(StoreError::OlderThanAnchor {
        anchor: path.display().to_string(),
        anchored: anchored.seq,
        seq: meta.seq,
        other,
    })
}

fn read(path: &Path) -> Result<Option<Mark>, StoreError> {
    let unusable = |reason: String| StoreError::Anchor { anchor: path.display().to_string(), reason };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(error.to_string())),
    };
    let found: Option<AnchorFile> = serde_json::from_slice(&bytes).ok();
    let mark = found.and_then(|file| Some(Mark { seq: file.seq, digest: lower_hex::decode(&file.digest)? }));
    mark.map(Some).ok_or_else(|| unusable("it is not what this product writes".to_owned()))
}

fn write(path: &Path, mark: Mark) -> std::io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(PathBuf::from(&temporary))?;
    let content = AnchorFile { seq: mark.seq, digest: hex::encode(&mark.digest) };
    file.write_all(&serde_json::to_vec(&content)?)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => sync_directory(dir),
        _ => sync_directory(Path::new(".")),
    }
}
