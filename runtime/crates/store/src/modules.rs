//! Custom modules: their bytes, here as content-addressed files, and what is known of each as a record.
//!
//! A file is written under another name, flushed and renamed, so that it is whole or absent, and is believed only if
//! its content has the digest that it is named after.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_core::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::records::Document;
use crate::task::{BoxFuture, blocking};

/// What is known of a module. Parts: `[digest without its prefix]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleRecord {
    /// `sha256:` and the digest, hexadecimal.
    pub digest: String,
    /// The report of its admission.
    pub report: serde_json::Value,
    /// When it was admitted, RFC 3339.
    pub created_at: String,
}

impl Document for ModuleRecord {
    const KIND: &'static str = "module";
}

/// The bytes of modules, by digest: hexadecimal, without a prefix.
pub trait ModuleBytes: Send + Sync + 'static {
    /// Stores a module completely or not at all; it may be there already.
    ///
    /// # Errors
    /// Those of the storage.
    fn write<'a>(&'a self, hex: &'a str, bytes: Arc<[u8]>) -> BoxFuture<'a, io::Result<()>>;

    /// The bytes of a module; `None` if it is not there.
    ///
    /// # Errors
    /// Those of the storage, and `InvalidData` if what is there does not have that digest.
    fn read<'a>(&'a self, hex: &'a str) -> BoxFuture<'a, io::Result<Option<Vec<u8>>>>;

    /// Removes a module, if it is there.
    ///
    /// # Errors
    /// Those of the storage.
    fn remove<'a>(&'a self, hex: &'a str) -> BoxFuture<'a, io::Result<()>>;

    /// The folder they are in, if they are files.
    fn directory(&self) -> Option<&Path> {
        None
    }
}

/// The bytes, if they have this digest.
///
/// # Errors
/// `InvalidData`.
pub fn module_with_digest(hex: &str, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    if hex::encode(&Sha256::digest(&bytes)) == hex {
        return Ok(bytes);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "its content was changed"))
}

/// Files that this process began to write.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// The folder with the bytes of modules.
#[derive(Debug, Clone)]
pub struct ModuleFiles {
    dir: PathBuf,
}

impl ModuleFiles {
    /// Modules in `dir`, which need not exist yet.
    #[must_use]
    pub const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    fn path(&self, hex: &str) -> PathBuf {
        self.dir.join(format!("{hex}.wasm"))
    }

    pub(crate) fn write_file(&self, hex: &str, bytes: &[u8]) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        // Why a number: two uploads of the same bytes write at the same time.
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.dir.join(format!("{hex}.{}.{number}.new", std::process::id()));
        // Why ignored: usually there is none, and `create_new` follows no link.
        let _ = fs::remove_file(&unfinished);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let written = file
            .write_all(bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&unfinished, self.path(hex)))
            .and_then(|()| fs::File::open(&self.dir)?.sync_all());
        if written.is_err() {
            // Why ignored: the first error is returned.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    fn read_file(&self, hex: &str) -> io::Result<Option<Vec<u8>>> {
        let bytes = match fs::read(self.path(hex)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        module_with_digest(hex, bytes).map(Some)
    }

    pub(crate) fn remove_file(&self, hex: &str) -> io::Result<()> {
        match fs::remove_file(self.path(hex)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl ModuleBytes for ModuleFiles {
    fn write<'a>(&'a self, hex: &'a str, bytes: Arc<[u8]>) -> BoxFuture<'a, io::Result<()>> {
        let (files, hex) = (self.clone(), hex.to_owned());
        Box::pin(blocking(ended, move || files.write_file(&hex, &bytes)))
    }

    fn read<'a>(&'a self, hex: &'a str) -> BoxFuture<'a, io::Result<Option<Vec<u8>>>> {
        let (files, hex) = (self.clone(), hex.to_owned());
        Box::pin(blocking(ended, move || files.read_file(&hex)))
    }

    fn remove<'a>(&'a self, hex: &'a str) -> BoxFuture<'a, io::Result<()>> {
        let (files, hex) = (self.clone(), hex.to_owned());
        Box::pin(blocking(ended, move || files.remove_file(&hex)))
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.dir)
    }
}

fn ended() -> io::Error {
    io::Error::other("a task for a module's file ended early")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_whole_and_believed_only_by_its_digest() {
        let dir = tempfile::tempdir().unwrap();
        let files = ModuleFiles::new(dir.path().join("modules"));
        let hex = hex::encode(&Sha256::digest(b"bytes"));
        let bytes: Arc<[u8]> = Arc::from(b"bytes".as_slice());
        assert!(files.read(&hex).await.unwrap().is_none());
        files.write(&hex, bytes.clone()).await.unwrap();
        files.write(&hex, bytes.clone()).await.unwrap();
        assert_eq!(files.read(&hex).await.unwrap().as_deref(), Some(b"bytes".as_slice()));
        assert_eq!(fs::read_dir(dir.path().join("modules")).unwrap().count(), 1);
        fs::write(files.path(&hex), b"other").unwrap();
        assert_eq!(files.read(&hex).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        files.remove(&hex).await.unwrap();
        files.remove(&hex).await.unwrap();
        assert!(files.read(&hex).await.unwrap().is_none());
    }
}
