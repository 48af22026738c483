//! `portcullis init`: a data directory with master key, store and first platform token; with PostgreSQL the same in a
//! database.

use std::borrow::Cow;
use std::path::Path;

use clap::Args;
use portcullis_engine::api_token::{self, NewToken, Role};
use portcullis_engine::audit_log;
use portcullis_store::{Document as _, MasterKey, Records, TokenRecord, Vault, open_store};

use super::{DONE, block_on, load, refused};
use crate::config::{Config, ConfigArgs, DataDirArgs, FirstTokenArgs, FoundKeys, KeyArgs};
use crate::data_dir::{DataDir, Refusal, refuse_initialised};
use crate::output;
use crate::private_file::{self, sync_folder};
use crate::storage::make_directory;

mod database;

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    #[command(flatten)]
    data: DataDirArgs,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    first_token: FirstTokenArgs,
}

/// Creates the data directory.
pub(super) fn run(args: &InitArgs) -> u8 {
    match make(args) {
        Ok(()) => DONE,
        Err(refusal) => refused(&refusal),
    }
}

fn make(args: &InitArgs) -> Result<(), Refusal> {
    let mut all = ConfigArgs::from(&args.data);
    (all.key, all.first_token) = (args.key.clone(), args.first_token.clone());
    let config = load(&all)?;
    if config.store.is_shared() {
        make_directory(&config.data_dir).map_err(Refusal::failed)?;
        block_on(database::init(&config)).map_err(Refusal::failed).and_then(|done| done)?;
    } else {
        // Why twice, here and under the lock: a directory that is served says so, and is not touched.
        refuse_initialised(&config)?;
        make_directory(&config.data_dir).map_err(Refusal::failed)?;
        let _data_dir = DataDir::for_init(&config)?;
        block_on(init(&config)).and_then(|done| done).map_err(Refusal::failed)?;
    }
    output::line(&format!("next: portcullis serve{}", flags(args)));
    Ok(())
}

/// The flags by which the next command finds the same directory and key.
fn flags(args: &InitArgs) -> String {
    let config = args.data.config.as_ref().map(|file| file.to_string_lossy().into_owned());
    let given = [
        ("--config", config.as_ref()),
        ("--data-dir", args.data.data_dir.as_ref()),
        ("--store", args.data.store.store.as_ref()),
        ("--store-ca-file", args.data.store.store_ca_file.as_ref()),
        ("--store-password-file", args.data.store.store_password_file.as_ref()),
        ("--master-key-file", args.key.master_key_file.as_ref()),
    ];
    given.iter().filter_map(|(flag, value)| Some(format!(" {flag} {}", quoted((*value)?)))).collect()
}

/// A text as one word of a shell.
fn quoted(text: &str) -> Cow<'_, str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+:,@%=".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")))
}

/// Everything is created beside its final path and moved there last, so that an interrupted `init` can be run again. The
/// token is shown before that: one that nobody saw is never in force.
async fn init(config: &Config) -> Result<(), String> {
    let failed = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    let dir = &config.data_dir;
    let keys = master_keys(config)?.open().await?;
    let token = first_token(config.bootstrap_token_file.as_deref())?;
    let unfinished = dir.join("store.unfinished");
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished).map_err(|e| failed(&unfinished, e))?;
    }
    let records = Records::new(open_store(&unfinished).map_err(|e| e.to_string())?);
    Vault::initialise(records.clone(), keys.clone()).await.map_err(|e| e.to_string())?;
    let vault = Vault::open(records.clone(), keys).await.map_err(|e| e.to_string())?;
    let first = NewToken::platform(Some("first".into()));
    let (_, writes) = api_token::record(&token.text, first).map_err(|e| e.detail)?;
    let made = audit_log::commit_offline(&records, &vault, "createToken", &[TokenRecord::KIND], writes);
    made.await.map_err(|e| e.to_string())?;
    // Why both: the store is renamed, and must be closed before.
    drop((vault, records));
    show(config, &token).map_err(|e| {
        format!(
            "the first token could not be shown (standard output: {e}), so {} was not initialised; run init again",
            dir.display()
        )
    })?;
    let not_valid = |e| format!("{}; the token above is not valid, run init again", failed(&unfinished, e));
    std::fs::rename(&unfinished, config.store_dir()).map_err(not_valid)?;
    sync_folder(dir).map_err(|e| failed(dir, e))
}

/// Prints what was made.
fn show(config: &Config, token: &FirstToken) -> std::io::Result<()> {
    output::shown(&format!("data directory  {}", config.data_dir.display()))?;
    let place = match &config.master_key_command {
        Some(command) => format!("by {}", command.argv.first().map_or("", String::as_str)),
        None => config.master_key_file.display().to_string(),
    };
    if let Some(options) = config.store.postgres() {
        output::shown(&format!("database        {}", options.url))?;
    }
    output::shown(&format!(
        "master key      {place}  (keep a copy: without it no credential can be opened)"
    ))?;
    if token.brought {
        return output::shown("first platform token: the one in the bootstrap token file");
    }
    output::shown("first platform token, shown once:")?;
    output::shown(&token.text)
}

/// The existing keys, or a new one in its file.
fn master_keys(config: &Config) -> Result<FoundKeys, String> {
    if let Some((keys, _)) = config.find_master_keys()? {
        return Ok(keys);
    }
    let key = MasterKey::generate().map_err(|e| e.to_string())?;
    private_file::write(&config.master_key_file, format!("{}\n", key.to_text().as_str()))?;
    Ok(FoundKeys::Here(key.into()))
}

/// The first token, and whether the user supplied it.
struct FirstToken {
    text: String,
    brought: bool,
}

/// The token in the bootstrap file, or a new one, written there if a file was named.
fn first_token(file: Option<&Path>) -> Result<FirstToken, String> {
    if let Some(path) = file
        && path.exists()
    {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let text = text.trim().to_owned();
        let long = text.len() >= 44 && text.starts_with("pc_platform_");
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        return if long && plain {
            Ok(FirstToken { text, brought: true })
        } else {
            Err(format!(
                "{} must hold a token pc_platform_ and at least 32 letters and digits",
                path.display()
            ))
        };
    }
    let text = api_token::generate(Role::Platform).map_err(|e| e.detail)?;
    if let Some(path) = file {
        private_file::write(path, format!("{text}\n"))?;
    }
    Ok(FirstToken { text, brought: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_a_shell_is_quoted_where_it_must_be() {
        assert_eq!(quoted("/var/lib/portcullis"), "/var/lib/portcullis");
        assert_eq!(quoted("my data"), "'my data'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("~"), "'~'");
        assert_eq!(quoted(""), "''");
    }
}
