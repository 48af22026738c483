//! `portcullis init`: a data directory with master key, store and first platform token.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use clap::Args;
use portcullis_engine::api_token::{self, NewToken, Role};
use portcullis_store::{MasterKey, Records, Vault, open_store};

use super::{BAD_CONFIG, DONE, FAILED, bad_config, block_on};
use crate::config::{Config, ConfigArgs};
use crate::output;

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Creates the data directory.
pub(super) fn run(args: &InitArgs) -> u8 {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(errors) => return bad_config(&errors),
    };
    if config.store_dir().exists() {
        output::error(&format!(
            "{} is initialised already; `portcullis serve` uses it",
            config.data_dir.display()
        ));
        return BAD_CONFIG;
    }
    match block_on(init(&config)).and_then(|done| done) {
        Ok(token) => {
            output::line(&format!("data directory  {}", config.data_dir.display()));
            output::line(&format!(
                "master key      {}  (keep a copy: without it no credential can be opened)",
                config.master_key_file.display()
            ));
            if token.brought {
                output::line("first platform token: the one in the bootstrap token file");
            } else {
                output::line("first platform token, shown once:");
                output::line(&token.text);
            }
            output::line("next: portcullis serve");
            DONE
        }
        Err(e) => {
            output::error(&e);
            FAILED
        }
    }
}

/// Everything is created beside its final path and moved there last, so that an interrupted `init` can be run again.
async fn init(config: &Config) -> Result<FirstToken, String> {
    let failed = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    let dir = &config.data_dir;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| failed(dir, e))?;
    // An existing directory may be open to others; records and ledger must not be.
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).map_err(|e| failed(dir, e))?;
    let key = master_key(config)?;
    let token = first_token(config.bootstrap_token_file.as_deref())?;
    let unfinished = dir.join("store.unfinished");
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished).map_err(|e| failed(&unfinished, e))?;
    }
    let records = Records::new(open_store(&unfinished).map_err(|e| e.to_string())?);
    Vault::initialise(records.clone(), key).await.map_err(|e| e.to_string())?;
    let first = NewToken::platform(Some("first".into()));
    let (_, writes) = api_token::record(&token.text, first).map_err(|e| e.detail)?;
    records.commit(writes).await.map_err(|e| e.to_string())?;
    drop(records);
    std::fs::rename(&unfinished, config.store_dir()).map_err(|e| failed(&unfinished, e))?;
    Ok(token)
}

/// The existing key, or a new one in its file.
fn master_key(config: &Config) -> Result<MasterKey, String> {
    if let Some(key) = config.find_master_key()? {
        return Ok(key);
    }
    let key = MasterKey::generate().map_err(|e| e.to_string())?;
    write_private(&config.master_key_file, &format!("{}\n", key.to_text().as_str()))?;
    Ok(key)
}

fn write_private(path: &Path, text: &str) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)
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
        write_private(path, &format!("{text}\n"))?;
    }
    Ok(FirstToken { text, brought: false })
}
