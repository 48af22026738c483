//! Where the master keys come from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_core::limits::Limits;
use portcullis_store::{CommandKeys, CommandOptions, MasterKeyRing, MasterKeys};
use zeroize::Zeroizing;

use super::Config;
use super::file::File;

/// The variable that may hold the keys themselves.
pub(super) const MASTER_KEY: &str = "PORTCULLIS_MASTER_KEY";
/// The name of the file with the keys among systemd's credentials.
const CREDENTIAL: &str = "portcullis-master-key";

/// Where master keys were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeySource {
    File(PathBuf),
    /// systemd's credentials, which only the service can read.
    Credentials,
    Environment,
    /// A service, which a program asks.
    Command,
}

/// Master keys that were found, before a service is asked for them.
#[derive(Clone)]
pub(crate) enum FoundKeys {
    Here(MasterKeys),
    /// A service's, and behind them those of a file that is named, too: as while one moves to the service.
    Command(CommandOptions, Option<MasterKeys>),
}

impl FoundKeys {
    /// The keys, to be used.
    ///
    /// # Errors
    /// A sentence of what the service, or the program that asks it, does not do.
    pub(crate) async fn open(self) -> Result<MasterKeyRing, String> {
        let (options, file) = match self {
            Self::Here(keys) => return Ok(keys.into()),
            Self::Command(options, file) => (options, file),
        };
        let keys: MasterKeyRing = CommandKeys::open(options).await.map_err(|error| error.to_string())?.into();
        Ok(match file {
            Some(file) => keys.and(file.into()),
            None => keys,
        })
    }
}

/// How the program is used that asks a service, if one is named.
pub(super) fn master_key_command(
    file: &File,
    limits: &Limits,
    errors: &mut Vec<String>,
) -> Option<CommandOptions> {
    if !file.has("master_key_command") {
        return None;
    }
    let argv = file.list("master_key_command");
    if argv.first().is_none_or(String::is_empty) {
        let form = r#"["/path/of/a/program", "argument"]"#;
        errors.push(format!("master_key_command names no program; write {form}"));
    }
    Some(CommandOptions {
        argv,
        timeout: Duration::from_millis(limits.key_command_ms),
        opened_for: Duration::from_secs(limits.key_cache_s),
    })
}

impl Config {
    /// The master keys.
    ///
    /// # Errors
    /// A sentence naming where they were expected.
    pub(crate) fn master_keys(&self) -> Result<FoundKeys, String> {
        let path = self.master_key_file.display();
        let found = self.find_master_keys()?;
        found.map(|(keys, _)| keys).ok_or_else(|| format!("there is no master key file {path}"))
    }

    /// The master keys, to be used.
    ///
    /// # Errors
    /// Those of [`Self::master_keys`] and of [`FoundKeys::open`].
    pub(crate) async fn open_keys(&self) -> Result<MasterKeyRing, String> {
        self.master_keys()?.open().await
    }

    /// The master keys: from the command or the file that is named, otherwise systemd's credentials, the environment, or
    /// the file in the data directory. `None` if there are none anywhere.
    ///
    /// # Errors
    /// A sentence if they exist and cannot be read: they are never silently ignored.
    #[allow(clippy::disallowed_methods, reason = "configuration is where the environment is read")]
    pub(crate) fn find_master_keys(&self) -> Result<Option<(FoundKeys, KeySource)>, String> {
        let parse = |text: String, source: KeySource, name: &str| {
            let keys = MasterKeys::from_text(&Zeroizing::new(text));
            let keys = keys.map(|keys| Some((FoundKeys::Here(keys), source)));
            keys.map_err(|e| format!("the master key in {name} cannot be read: {e}"))
        };
        if let Some(command) = &self.master_key_command {
            let file = if self.master_key_file_named { Some(self.required_file()?) } else { None };
            return Ok(Some((FoundKeys::Command(command.clone(), file), KeySource::Command)));
        }
        if !self.master_key_file_named {
            if let Some(dir) = std::env::var_os("CREDENTIALS_DIRECTORY") {
                let path = Path::new(&dir).join(CREDENTIAL);
                match std::fs::read_to_string(&path) {
                    Ok(text) => return parse(text, KeySource::Credentials, "the system's credentials"),
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                    Err(e) => {
                        return Err(format!("the system's credential {CREDENTIAL} cannot be read: {e}"));
                    }
                }
            }
            if let Ok(text) = std::env::var(MASTER_KEY) {
                return parse(text, KeySource::Environment, MASTER_KEY);
            }
        }
        let keys = self.keys_in_file()?;
        Ok(keys.map(|keys| (FoundKeys::Here(keys), KeySource::File(self.master_key_file.clone()))))
    }

    /// The keys of the file that is named.
    fn required_file(&self) -> Result<MasterKeys, String> {
        let path = self.master_key_file.display();
        self.keys_in_file()?.ok_or_else(|| format!("there is no master key file {path}"))
    }

    fn keys_in_file(&self) -> Result<Option<MasterKeys>, String> {
        let path = self.master_key_file.display();
        match std::fs::read_to_string(&self.master_key_file) {
            Ok(text) => {
                let keys = MasterKeys::from_text(&Zeroizing::new(text));
                keys.map(Some).map_err(|e| format!("the master key in {path} cannot be read: {e}"))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(format!("the master key file {path} cannot be read: {e}")),
        }
    }
}
