//! `portcullis backup`: everything in one file. A server that has the data directory is asked for it; without one, the
//! directory is read.
//!
//! The file holds ciphertext of what is secret, and everything else as it is. The master key is kept separately.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use clap::Args;
use portcullis_store::{
    BackupIdentity, BackupParts, BackupReport, KnownBackup, begin_backup, open_store_anchored, read_known,
};

use super::progress::{Progress, mib};
use super::{block_on, load, told};
use crate::config::{Config, ConfigArgs, DataDirArgs};
use crate::control::{Kind, Made, Request, connect, receive, send};
use crate::data_dir::{DataDir, Refusal};
use crate::private_file::PrivateFile;
use crate::storage::directory_only;

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    #[command(flatten)]
    data: DataDirArgs,
    /// The backup file, which must not exist yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// An earlier backup: of ledgers and runs only what is new since then is taken
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    /// File with the age key that opens the earlier backup, if it is sealed
    #[arg(long, value_name = "FILE", requires = "since")]
    identity: Option<PathBuf>,
}

/// Writes a backup; never over an existing file.
pub(super) fn backup(args: &BackupArgs) -> u8 {
    told(load(&ConfigArgs::from(&args.data)).and_then(|config| {
        directory_only(&config, "backup", "pg_dump is the backup of a database")?;
        let server = connect(&config.data_dir)
            .map_err(|error| Refusal::failed(format!("{}: {error}", config.data_dir.display())))?;
        let locked = if server.is_none() { Some(DataDir::open(&config, "backup")?) } else { None };
        let made = write(&config, args, server).map_err(Refusal::failed);
        drop(locked);
        made
    }))
}

fn write(config: &Config, args: &BackupArgs, server: Option<UnixStream>) -> Result<String, String> {
    let file = PrivateFile::begin(&args.file)?;
    let identity = args.identity.as_deref().map(read_identity).transpose()?;
    let since = args.since.as_deref().map(|since| read_known(since, identity.as_ref()));
    let since = since.transpose().map_err(|error| error.to_string())?;
    let made = match server {
        Some(server) => ask(server, since, &file)?,
        None => block_on(read(config, since, &file)).and_then(|made| made)?,
    };
    file.finish()?;
    let Made { seq, records, logs, bytes } = made;
    Ok(format!(
        "backed up {records} records, as of commit {seq}, and {logs} ledgers and logs of runs ({} MiB)",
        mib(bytes)
    ))
}

/// The keys in an identity file.
///
/// # Errors
/// A sentence naming the file.
pub(super) fn read_identity(path: &Path) -> Result<BackupIdentity, String> {
    let failed = |reason: String| format!("{}: {reason}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    BackupIdentity::parse(&text).map_err(failed)
}

/// Reads the directory, which this process has alone.
async fn read(config: &Config, since: Option<KnownBackup>, file: &PrivateFile<'_>) -> Result<Made, String> {
    let store =
        open_store_anchored(&config.store_dir(), config.anchor_file.as_deref()).map_err(|e| e.to_string())?;
    let parts = BackupParts::of_directory(store, &config.data_dir);
    let begun = begin_backup(parts, since).await.map_err(|e| e.to_string())?;
    let to = Box::new(file.writer()?);
    let report = begun.write(None, to, Progress::of_bytes("backing up")).await.map_err(|e| e.to_string())?;
    let BackupReport { seq, records, logs, bytes, .. } = report;
    Ok(Made { seq, records, logs, bytes })
}

/// Asks the server.
fn ask(mut server: UnixStream, since: Option<KnownBackup>, file: &PrivateFile<'_>) -> Result<Made, String> {
    let gone = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "the server ended before the backup was whole".to_owned(),
        _ => format!("asking the server: {error}"),
    };
    let request = Request::Backup { since: since.map(Box::new) };
    let request = serde_json::to_vec(&request).map_err(|error| error.to_string())?;
    send(&mut server, Kind::Request, &request).map_err(gone)?;
    let (mut to, mut progress) = (file.writer()?, Progress::of_bytes("backing up"));
    let mut written = 0_u64;
    loop {
        let (kind, bytes) = receive(&mut server).map_err(gone)?;
        match kind {
            Kind::Data => {
                to.write_all(&bytes).map_err(|error| format!("writing the backup: {error}"))?;
                written = written.saturating_add(bytes.len() as u64);
                progress(written);
            }
            Kind::Done => {
                return serde_json::from_slice(&bytes)
                    .map_err(|_| "the server is of another version".to_owned());
            }
            Kind::Failed => return Err(String::from_utf8_lossy(&bytes).into_owned()),
            Kind::Request => return Err("the server is of another version".to_owned()),
        }
    }
}
