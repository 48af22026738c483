//! Where the master key comes from.

use std::path::{Path, PathBuf};

use portcullis_store::MasterKey;

use super::Config;

/// The variable that may hold the key itself.
pub(super) const MASTER_KEY: &str = "PORTCULLIS_MASTER_KEY";

/// Where a master key was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeySource {
    File(PathBuf),
    /// systemd's credentials, which only the service can read.
    Credentials,
    Environment,
}

impl Config {
    /// The master key.
    ///
    /// # Errors
    /// A sentence naming where it was expected.
    pub(crate) fn master_key(&self) -> Result<MasterKey, String> {
        let path = self.master_key_file.display();
        let found = self.find_master_key()?;
        found.map(|(key, _)| key).ok_or_else(|| format!("there is no master key file {path}"))
    }

    /// The master key: from the named file, otherwise systemd's credentials, the environment, or
    /// the file in the data directory. `None` if there is none anywhere.
    ///
    /// # Errors
    /// A sentence if one exists and cannot be read: it is never silently ignored.
    #[allow(clippy::disallowed_methods, reason = "configuration is where the environment is read")]
    pub(crate) fn find_master_key(&self) -> Result<Option<(MasterKey, KeySource)>, String> {
        let parse = |text: &str, source: KeySource, name: &str| {
            let key = MasterKey::from_text(text.trim());
            let key = key.map(|key| Some((key, source)));
            key.map_err(|e| format!("the master key in {name} cannot be read: {e}"))
        };
        if !self.master_key_file_named {
            if let Some(dir) = std::env::var_os("CREDENTIALS_DIRECTORY") {
                let path = Path::new(&dir).join("portcullis-master-key");
                if let Ok(text) = std::fs::read_to_string(&path) {
                    return parse(&text, KeySource::Credentials, "the system's credentials");
                }
            }
            if let Ok(text) = std::env::var(MASTER_KEY) {
                return parse(&text, KeySource::Environment, MASTER_KEY);
            }
        }
        let path = &self.master_key_file;
        match std::fs::read_to_string(path) {
            Ok(text) => parse(&text, KeySource::File(path.clone()), &path.display().to_string()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(format!("the master key file {} cannot be read: {e}", path.display())),
        }
    }
}
