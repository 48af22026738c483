//! The order of a move, from both locks to the last check.

use portcullis_store::{Records, Vault};

use super::MigrateArgs;
use super::copying::copy;
use super::side::{Opened, Side, open_source, open_target};
use crate::cli::{BAD_CONFIG, block_on};
use crate::config::FoundKeys;
use crate::data_dir::Refusal;

/// Moves everything; returns what there is to tell.
pub(super) fn run(args: &MigrateArgs, from: &str, to: &str) -> Result<String, Refusal> {
    let bad = |reason: String| Refusal { code: BAD_CONFIG, reason };
    let (source, target) = (Side::parse(from, "--from", args)?, Side::parse(to, "--to", args)?);
    let keys = match (&source, &target) {
        (Side::Directory(config), Side::Database(_)) | (Side::Database(_), Side::Directory(config)) => {
            config.master_keys().map_err(|error| bad(format!("{error}; name it with --master-key-file")))?
        }
        (Side::Directory(_), Side::Directory(_)) => {
            return Err(bad("both are directories: portcullis backup and restore copy one".to_owned()));
        }
        (Side::Database(_), Side::Database(_)) => {
            return Err(bad("both are databases: pg_dump and pg_restore copy one".to_owned()));
        }
    };
    block_on(moved(&source, &target, keys)).map_err(Refusal::failed)?
}

async fn moved(source: &Side, target: &Side, keys: FoundKeys) -> Result<String, Refusal> {
    let failed = |error: &dyn std::fmt::Display| Refusal::failed(error.to_string());
    let keys = keys.open().await.map_err(Refusal::failed)?;
    let from = open_source(source, &keys).await?;
    // Why before the target is touched: with another key nothing in the target could be opened.
    let records = Records::new(std::sync::Arc::clone(&from.backends.store));
    let vault = Vault::open(records.clone(), keys.clone()).await.map_err(|e| failed(&e))?;
    let current = vault.current_key().await.map_err(|e| failed(&e))?;
    drop(vault);
    let seq = from.backends.store.stats().await.map_err(|e| failed(&e))?.seq;
    let to = open_target(target, &source.name(), &keys, &current).await?;
    let told = copy(&records, &from, &to).await.map_err(Refusal::failed)?;
    unchanged(&from, seq).await?;
    unheld(&to).await?;
    let Opened { backends, note, alone, .. } = to;
    // Why: the directory's store is renamed, and opened again under its name.
    drop(backends);
    note.end().await?;
    drop(alone);
    Ok(format!(
        "{told}\nmoved from {} to {}; the source is as it was: do not serve from both",
        source.name(),
        target.name()
    ))
}

/// Refuses a source that was written to meanwhile.
async fn unchanged(from: &Opened, seq: u64) -> Result<(), Refusal> {
    let now = from.backends.store.stats().await.map_err(|error| Refusal::failed(error.to_string()))?.seq;
    if now == seq && from.alone.is_held().await {
        return Ok(());
    }
    Err(Refusal::failed(
        "the source was used meanwhile: stop every server of it and run the command again".to_owned(),
    ))
}

/// Refuses a target of which the lock was lost.
async fn unheld(to: &Opened) -> Result<(), Refusal> {
    if to.alone.is_held().await {
        return Ok(());
    }
    Err(Refusal::failed(
        "the connection that keeps others from the target was lost: run the command again".to_owned(),
    ))
}
