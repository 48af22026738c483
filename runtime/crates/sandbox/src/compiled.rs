//! A folder of compiled components, so that a start does not compile what an earlier start compiled. Called
//! when the handler is loaded.
//!
//! The folder is not trusted. A file is used only if it has the right HMAC-SHA256 (RFC 2104) of its content
//! and of the component's identity, under a key that is derived from the master key. The file is read whole
//! and checked in memory before the engine gets it, so it cannot be exchanged after the check. If anything is
//! wrong with a file, the component is compiled again and the file replaced.

use std::fmt;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use portcullis_core::hex;
use wasmtime::component::Component;

use crate::compiler::Compiled;
use crate::engine::Sandbox;
use crate::fault::LoadError;
use crate::module::Module;

/// First bytes of a file: kind and version of the format.
const MAGIC: &[u8; 16] = b"portcullis-aot 1";
/// Length of the HMAC after it.
const TAG_BYTES: usize = 32;
/// Largest file that is read; machine code is a few times larger than the component.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Files kept: the handler of this version and of a few earlier ones, for a downgrade.
const FILES_MAX: usize = 8;

/// The folder of compiled components, and the key that authenticates them.
pub struct CompiledCache {
    dir: PathBuf,
    key: hmac::Key,
    /// Files kept.
    files_max: usize,
}

impl fmt::Debug for CompiledCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledCache").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Where the machine code of a module came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Cache,
    Compiled,
}

impl CompiledCache {
    /// A cache in `dir`, which need not exist yet, under a key of 32 bytes that has no other use.
    #[must_use]
    pub fn new(dir: PathBuf, key: &[u8; 32]) -> Self {
        Self { dir, key: hmac::Key::new(hmac::HMAC_SHA256, key), files_max: FILES_MAX }
    }

    /// The same for another number of files.
    #[must_use]
    pub fn keeping(self, files_max: usize) -> Self {
        Self { files_max, ..self }
    }

    fn path(&self, identity: &Identity) -> PathBuf {
        self.dir.join(format!("{}.cwasm", identity.0))
    }

    fn tag(&self, identity: &Identity, code: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(MAGIC);
        context.update(identity.0.as_bytes());
        context.update(code);
        context.sign()
    }

    /// The code kept for a component; `None` unless its HMAC is right.
    fn read(&self, identity: &Identity) -> Option<Vec<u8>> {
        let mut file = match read_file(&self.path(identity)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, "a compiled component cannot be read");
                return None;
            }
        };
        let sound = file.strip_prefix(MAGIC).and_then(|rest| rest.split_at_checked(TAG_BYTES)).is_some_and(
            |(tag, code)| verify_slices_are_equal(self.tag(identity, code).as_ref(), tag).is_ok(),
        );
        if !sound {
            tracing::warn!("a compiled component was changed after it was written; it is compiled again");
            return None;
        }
        file.drain(..MAGIC.len() + TAG_BYTES);
        Some(file)
    }

    /// Writes a file completely or not at all.
    fn write(&self, identity: &Identity, code: &[u8]) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let path = self.path(identity);
        let unfinished = self.dir.join(format!("{}.{}.new", identity.0, std::process::id()));
        // Why ignored: usually there is none, and `create_new` follows no link.
        let _ = fs::remove_file(&unfinished);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let written = file
            .write_all(MAGIC)
            .and_then(|()| file.write_all(self.tag(identity, code).as_ref()))
            .and_then(|()| file.write_all(code))
            .and_then(|()| fs::rename(&unfinished, &path));
        if written.is_err() {
            // Why ignored: the first error is returned.
            let _ = fs::remove_file(&unfinished);
        }
        written?;
        self.forget_oldest(&path)
    }

    /// Removes all but the newest files.
    fn forget_oldest(&self, newest: &Path) -> io::Result<()> {
        let mut files: Vec<_> = fs::read_dir(&self.dir)?
            .filter_map(Result::ok)
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .filter(|(_, path)| path != newest && path.extension().is_some_and(|e| e == "cwasm"))
            .collect();
        files.sort();
        let more = files.len().saturating_sub(self.files_max.saturating_sub(1));
        for (_, path) in files.iter().take(more) {
            // Why ignored: another process may have removed it, and an extra file does no harm.
            let _ = fs::remove_file(path);
        }
        Ok(())
    }
}

/// The content of a regular file within the size limit. Pipes and devices are refused, since reading could
/// block.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let kind = fs::symlink_metadata(path)?;
    if !kind.is_file() || kind.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("it is not a regular file, or too large"));
    }
    let mut content = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut content)?;
    Ok(content)
}

/// The identity of compiled code: the component, and all engine settings that change the code.
struct Identity(String);

impl Identity {
    fn of(sandbox: &Sandbox, component: &[u8]) -> Self {
        let mut settings = DefaultHasher::new();
        sandbox.engine.precompile_compatibility_hash().hash(&mut settings);
        let component = hex::encode(digest(&SHA256, component).as_ref());
        Self(format!("{:016x}-{component}", settings.finish()))
    }
}

impl Sandbox {
    /// As [`Sandbox::load`], with the machine code from `cache` if it is there.
    ///
    /// # Errors
    /// As [`Sandbox::load`]. Problems of the cache are logged, and the component is compiled.
    pub fn load_cached(&self, bytes: &[u8], cache: &CompiledCache) -> Result<(Module, Origin), LoadError> {
        if let Some(module) = self.kept(bytes, cache) {
            return Ok((module, Origin::Cache));
        }
        let component = self.compile(bytes)?;
        let module = self.module(&component)?;
        self.keep(bytes, component.serialize(), cache);
        Ok((module, Origin::Compiled))
    }

    /// Keeps machine code; that it cannot be kept is logged.
    fn keep(&self, bytes: &[u8], code: wasmtime::Result<impl AsRef<[u8]>>, cache: &CompiledCache) {
        let written = code.map_err(|error| format!("{error:#}")).and_then(|code| {
            cache.write(&Identity::of(self, bytes), code.as_ref()).map_err(|error| error.to_string())
        });
        if let Err(error) = written {
            tracing::warn!(%error, "a compiled component cannot be kept; the next start compiles it again");
        }
    }

    /// The module whose machine code was kept, if it is there and unchanged.
    #[must_use]
    pub fn kept(&self, bytes: &[u8], cache: &CompiledCache) -> Option<Module> {
        let code = cache.read(&Identity::of(self, bytes))?;
        let component = self.deserialize(&code);
        let component = component
            .inspect_err(|error| tracing::warn!(%error, "a compiled component does not load"))
            .ok()?;
        self.module(&component).ok()
    }

    /// A module from the machine code that the compiler of this process made of these bytes a moment ago; keeps it.
    ///
    /// # Errors
    /// [`LoadError`] for a forbidden import, or for code of another engine.
    pub fn adopt(&self, bytes: &[u8], made: &Compiled, cache: &CompiledCache) -> Result<Module, LoadError> {
        let component = self.deserialize(&made.code).map_err(|e| LoadError::Invalid(format!("{e:#}")))?;
        let module = self.module(&component)?;
        self.keep(bytes, Ok(&made.code), cache);
        Ok(module)
    }

    #[allow(unsafe_code, reason = "machine code that this installation made; see the SAFETY comment")]
    fn deserialize(&self, code: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: `deserialize` requires bytes that `serialize` or `precompile_component` returned, unchanged. The
        // callers pass bytes whose HMAC under a key of this installation they have just verified, and that HMAC is
        // made only over such bytes; or what a compiler that this process started has just returned through a pipe
        // ([`Compiled`] has no other maker). The engine also checks its version and settings.
        unsafe { Component::deserialize(&self.engine, code) }
    }
}

#[cfg(test)]
mod tests;
