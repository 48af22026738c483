//! Files that are their owner's alone, and are there whole or not at all.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use tempfile::NamedTempFile;

/// A new file on its way, under a name that nothing else has (made with `O_EXCL`, mode 0600) in the folder of its path.
/// It goes away if it is not finished, unless the process is killed.
pub(crate) struct PrivateFile<'p> {
    path: &'p Path,
    unfinished: NamedTempFile,
}

impl<'p> PrivateFile<'p> {
    /// Begins a file that does not exist yet.
    ///
    /// # Errors
    /// A sentence naming the path: something is there already, or its folder takes no file.
    pub(crate) fn begin(path: &'p Path) -> Result<Self, String> {
        if std::fs::symlink_metadata(path).is_ok() {
            return Err(exists(path));
        }
        let unfinished = tempfile::Builder::new()
            .prefix(".portcullis-unfinished-")
            .tempfile_in(folder(path))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path, unfinished })
    }

    /// A handle to write to.
    ///
    /// # Errors
    /// Those of the operating system: no descriptor is available.
    pub(crate) fn writer(&self) -> Result<File, String> {
        self.unfinished.as_file().try_clone().map_err(|error| format!("{}: {error}", self.path.display()))
    }

    /// Puts it on disk and in its place, without replacing anything that came there meanwhile.
    ///
    /// # Errors
    /// A sentence naming the path.
    pub(crate) fn finish(self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.path.display());
        self.unfinished.as_file().sync_all().map_err(failed)?;
        self.unfinished.persist_noclobber(self.path).map_err(|error| match error.error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(self.path),
            _ => format!("{}: {}", self.path.display(), error.error),
        })?;
        sync_folder(folder(self.path)).map_err(failed)
    }
}

/// Writes a small new file.
///
/// # Errors
/// As for [`PrivateFile`].
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), String> {
    let file = PrivateFile::begin(path)?;
    file.writer()?.write_all(content.as_ref()).map_err(|error| format!("{}: {error}", path.display()))?;
    file.finish()
}

/// Replaces a small file as a whole: readers see it as it was, or as it is then. Its mode becomes 0600. A link is followed, so
/// that it stays one.
///
/// # Errors
/// A sentence naming the path; the file is then as it was.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let path = path.canonicalize().map_err(failed)?;
    let unfinished = tempfile::Builder::new().prefix(".portcullis-unfinished-").tempfile_in(folder(&path));
    let mut unfinished = unfinished.map_err(failed)?;
    unfinished.write_all(content).and_then(|()| unfinished.as_file().sync_all()).map_err(failed)?;
    unfinished.persist(&path).map_err(|error| failed(error.error))?;
    sync_folder(folder(&path)).map_err(failed)
}

/// Puts the names in a folder on disk.
///
/// # Errors
/// Those of the operating system.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

fn exists(path: &Path) -> String {
    format!("{} exists, and is never overwritten", path.display())
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_there_whole_or_not_at_all_and_goes_over_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let begun = PrivateFile::begin(&path).unwrap();
        begun.writer().unwrap().write_all(b"half").unwrap();
        assert!(!path.exists());
        drop(begun);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left");
        let late = PrivateFile::begin(&path).unwrap();
        write(&path, "first").unwrap();
        assert!(late.finish().unwrap_err().contains("is never overwritten"));
        assert!(write(&path, "second").unwrap_err().contains("is never overwritten"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
