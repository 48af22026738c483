//! The machine code of the built-in handler, compiled once for all worlds of a process: compiling it takes longer than
//! most tests.
//!
//! A product uses only code that is authenticated under its own master key, so all worlds have the same one.

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, OnceLock};

use portcullis_store::MasterKey;

static MASTER_KEY: LazyLock<MasterKey> = LazyLock::new(|| MasterKey::generate().unwrap());
/// A folder with the code, once a world has compiled it.
static KEPT: OnceLock<PathBuf> = OnceLock::new();

/// The master key of every world.
pub(crate) fn master_key() -> MasterKey {
    MASTER_KEY.clone()
}

/// Puts the code where a world looks for it.
pub(crate) fn lend(compiled_dir: &Path) {
    if let Some(kept) = KEPT.get() {
        copy(kept, compiled_dir);
    }
}

/// Keeps what the first world compiled.
pub(crate) fn keep(compiled_dir: &Path) {
    KEPT.get_or_init(|| {
        let kept = tempfile::tempdir().unwrap().keep();
        copy(compiled_dir, &kept);
        kept
    });
}

/// Why copies: a test may damage its own.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
