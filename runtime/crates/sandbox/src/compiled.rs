//! A folder of compiled components, so that a start need not compile what an earlier one has compiled.
//!
//! Loading machine code is trusting it, and the folder is not: a file counts only with the right HMAC-SHA256
//! (RFC 2104) of its content and of what it is the code of, under a key that is derived from the master key.
//! It is read whole and checked in memory before the engine sees a byte, so nobody can exchange it in between.
//! Whatever is wrong with a file, the component is compiled anew and the file replaced.

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

use crate::engine::Sandbox;
use crate::fault::LoadError;
use crate::module::Module;

/// First bytes of a file: what it is, and the version of its form.
const MAGIC: &[u8; 16] = b"portcullis-aot 1";
/// Length of the HMAC that follows.
const TAG_BYTES: usize = 32;
/// Largest file that is read: code is a few times the component's size.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Files kept: the handler of this version and of some before, for the way back.
const FILES_MAX: usize = 8;

/// Where compiled components are kept, and the key that tells ours.
pub struct CompiledCache {
    dir: PathBuf,
    key: hmac::Key,
}

impl fmt::Debug for CompiledCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledCache").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Where a module's machine code is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The cache.
    Cache,
    /// It was compiled now.
    Compiled,
}

impl CompiledCache {
    /// A cache in `dir`, which need not exist yet, under a key of 32 bytes that nobody else uses.
    #[must_use]
    pub fn new(dir: PathBuf, key: &[u8; 32]) -> Self {
        Self { dir, key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The file of a component under an engine's settings.
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

    /// The code kept for a component; `None` unless every byte is ours.
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
            tracing::warn!("a compiled component is not as it was written; it is compiled anew");
            return None;
        }
        file.drain(..MAGIC.len() + TAG_BYTES);
        Some(file)
    }

    /// Keeps code, whole or not at all.
    fn write(&self, identity: &Identity, code: &[u8]) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let path = self.path(identity);
        let unfinished = self.dir.join(format!("{}.{}.new", identity.0, std::process::id()));
        // Why ignored: usually there is none; `create_new` follows no link that somebody put there.
        let _ = fs::remove_file(&unfinished);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let written = file
            .write_all(MAGIC)
            .and_then(|()| file.write_all(self.tag(identity, code).as_ref()))
            .and_then(|()| file.write_all(code))
            .and_then(|()| fs::rename(&unfinished, &path));
        if written.is_err() {
            // Why ignored: the error that matters is the first.
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
        let more = files.len().saturating_sub(FILES_MAX - 1);
        for (_, path) in files.iter().take(more) {
            // Why ignored: another process may have removed it, and one too many does no harm.
            let _ = fs::remove_file(path);
        }
        Ok(())
    }
}

/// A file's content, if it is a file and no larger than code can be: neither a pipe nor a device is waited for.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let kind = fs::symlink_metadata(path)?;
    if !kind.is_file() || kind.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("it is no file of code"));
    }
    let mut content = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut content)?;
    Ok(content)
}

/// What a file is the code of: the component, and everything of the engine that changes its code.
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
    /// As [`Sandbox::load`], with the machine code from `cache` where it is there.
    ///
    /// # Errors
    /// As [`Sandbox::load`]. What is wrong with the cache is no error: it is logged, and the component is
    /// compiled.
    pub fn load_cached(&self, bytes: &[u8], cache: &CompiledCache) -> Result<(Module, Origin), LoadError> {
        let identity = Identity::of(self, bytes);
        let kept = cache.read(&identity).and_then(|code| {
            let loaded = self.deserialize(&code);
            loaded.inspect_err(|error| tracing::warn!(%error, "a compiled component does not load")).ok()
        });
        if let Some(component) = kept {
            return Ok((self.module(&component)?, Origin::Cache));
        }
        let component = self.compile(bytes)?;
        let module = self.module(&component)?;
        let written = component
            .serialize()
            .map_err(|error| format!("{error:#}"))
            .and_then(|code| cache.write(&identity, &code).map_err(|error| error.to_string()));
        if let Err(error) = written {
            tracing::warn!(%error, "a compiled component cannot be kept; the next start compiles it again");
        }
        Ok((module, Origin::Compiled))
    }

    #[allow(unsafe_code, reason = "machine code of our own making; see the SAFETY comment")]
    fn deserialize(&self, code: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: `deserialize` asks for bytes that came unchanged out of `serialize`. The one caller passes
        // bytes whose HMAC under a key of this installation it has just verified, and that tag is only ever
        // made over what `serialize` gave. The engine checks its own version and settings besides.
        unsafe { Component::deserialize(&self.engine, code) }
    }
}

#[cfg(test)]
mod tests;
