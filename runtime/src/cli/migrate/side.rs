//! The two ends of a move: a data directory and a database, each kept away from everybody else.

use std::path::PathBuf;
use std::sync::Arc;

use portcullis_core::id::NodeId;
use portcullis_store::{Backends, KeyId, MasterKeyRing, ModuleBytes};
use portcullis_store_postgres::{PostgresOptions, PostgresPool, Presence};

use super::MigrateArgs;
use super::directory::Target;
use crate::cli::{BAD_CONFIG, load};
use crate::config::{Config, ConfigArgs, DataDirArgs, StoreArgs, StorePlace, place};
use crate::data_dir::{DataDir, Refusal};
use crate::storage::{self, Storage};

/// Where a move begins or ends, as it was named.
#[derive(Debug, Clone)]
pub(super) enum Side {
    Directory(Box<Config>),
    Database(Box<PostgresOptions>),
}

fn bad(reason: String) -> Refusal {
    Refusal { code: BAD_CONFIG, reason }
}

impl Side {
    /// Reads `sled:DIR` or an address.
    ///
    /// # Errors
    /// It is neither, or its configuration has errors.
    pub(super) fn parse(text: &str, flag: &str, args: &MigrateArgs) -> Result<Self, Refusal> {
        let StoreArgs { store_ca_file, store_password_file, .. } = &args.data.store;
        if let Some(dir) = text.strip_prefix("sled:") {
            let store = StoreArgs { store: Some("sled".to_owned()), ..StoreArgs::default() };
            let data = DataDirArgs { data_dir: Some(dir.to_owned()), store, ..args.data.clone() };
            let mut all = ConfigArgs::from(&data);
            all.key = args.key.clone();
            return load(&all).map(Box::new).map(Self::Directory);
        }
        let path = |file: &Option<String>| file.as_ref().map(PathBuf::from);
        match place(text, path(store_ca_file), path(store_password_file)).map_err(bad)? {
            StorePlace::Postgres(options) => Ok(Self::Database(options)),
            StorePlace::Directory => Err(bad(format!("{flag} {text}: write sled:DIR or postgres://…"))),
        }
    }

    /// For people, and for the note in an unfinished target.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Directory(config) => {
                let dir = &config.data_dir;
                let dir = dir.canonicalize().or_else(|_| std::path::absolute(dir));
                format!("sled:{}", dir.unwrap_or_else(|_| config.data_dir.clone()).display())
            }
            Self::Database(options) => options.url.clone(),
        }
    }
}

/// What holds a side for this process alone. It must outlive every use of what it holds.
#[derive(Debug)]
pub(super) enum Alone {
    Directory(#[expect(dead_code, reason = "held for its locks")] DataDir),
    Database(Presence),
}

impl Alone {
    /// Whether nobody else can have come meanwhile.
    pub(super) async fn is_held(&self) -> bool {
        match self {
            Self::Directory(_) => true,
            Self::Database(presence) => presence.is_held().await,
        }
    }
}

/// A side that is open.
pub(super) struct Opened {
    pub(super) backends: Backends,
    pub(super) modules: Arc<dyn ModuleBytes>,
    pub(super) alone: Alone,
    /// What notes that a target is unfinished.
    pub(super) note: Note,
}

/// Where it is noted that a target is unfinished.
pub(super) enum Note {
    Source,
    Directory(Target),
    Database(PostgresPool),
}

/// The name under which runs are written that are moved into a database.
fn mover() -> Result<NodeId, Refusal> {
    NodeId::parse(MOVER).map_err(|error| Refusal::failed(error.to_string()))
}

const MOVER: &str = "moved";

/// Opens what is to be moved; nothing of it is changed.
///
/// # Errors
/// It is in use, or was never initialised.
pub(super) async fn open_source(side: &Side, keys: &MasterKeyRing) -> Result<Opened, Refusal> {
    match side {
        Side::Directory(config) => {
            let alone = Alone::Directory(DataDir::open(config, "migrate")?);
            let Storage { backends, modules, .. } = storage::open(config, keys).await?;
            Ok(Opened { backends, modules, alone, note: Note::Source })
        }
        Side::Database(options) => {
            let pool = storage::connect(options).await?;
            let alone = Alone::Database(pool.alone().await.map_err(storage::refused)?);
            if pool.unfinished_move().await.map_err(storage::refused)?.is_some() {
                return Err(Refusal::failed("the move into this database has not ended".to_owned()));
            }
            if !storage::is_initialised(&pool).await? {
                return Err(storage::never_initialised(options));
            }
            let Storage { backends, modules, .. } =
                storage::open_database(pool, options, keys, None, mover()?).await?;
            Ok(Opened { backends, modules, alone, note: Note::Source })
        }
    }
}

/// Opens what everything is to be moved to: empty, or left unfinished by the same move. `current` is the master key that
/// wraps in the source.
///
/// # Errors
/// It is in use, is not empty, or belongs to another unfinished move.
pub(super) async fn open_target(
    side: &Side,
    from: &str,
    keys: &MasterKeyRing,
    current: &KeyId,
) -> Result<Opened, Refusal> {
    match side {
        Side::Directory(config) => {
            let target = Target::begin(config, from)?;
            let alone = Alone::Directory(DataDir::for_move(config)?);
            let backends = target.open(config)?;
            let modules = storage::module_files(&config.data_dir);
            Ok(Opened { backends, modules, alone, note: Note::Directory(target) })
        }
        Side::Database(options) => {
            let pool = storage::connect(options).await?;
            let alone = Alone::Database(pool.alone().await.map_err(storage::refused)?);
            let unfinished = pool.unfinished_move().await.map_err(storage::refused)?;
            // Why before it is opened: what is in it may be sealed under another key.
            if unfinished.is_none() && !pool.is_untouched().await.map_err(storage::refused)? {
                return Err(filled(options));
            }
            pool.begin_anew().await.map_err(storage::refused)?;
            let Storage { backends, modules, .. } =
                storage::open_database(pool.clone(), options, keys, Some(current), mover()?).await?;
            match unfinished {
                Some(own) if own == from => {}
                Some(other) => {
                    let reason = format!(
                        "an unfinished move from {other} is in this database: finish it with the same command, or drop \
                         the schema portcullis"
                    );
                    return Err(Refusal::failed(reason));
                }
                None => {
                    refuse_filled(&backends, options).await?;
                    pool.begin_move(from).await.map_err(storage::refused)?;
                }
            }
            Ok(Opened { backends, modules, alone, note: Note::Database(pool) })
        }
    }
}

/// Refuses a database that has anything in it.
async fn refuse_filled(backends: &Backends, options: &PostgresOptions) -> Result<(), Refusal> {
    let failed = |error: &dyn std::fmt::Display| Refusal::failed(error.to_string());
    let stats = backends.store.stats().await.map_err(|e| failed(&e))?;
    let ledgers = backends.ledger.orgs().await.map_err(|e| failed(&e))?;
    let has_runs = super::runs::has_any(backends.runs.as_ref()).await.map_err(|e| failed(&e))?;
    if stats.seq == 0 && stats.records == 0 && ledgers.is_empty() && !has_runs {
        return Ok(());
    }
    Err(filled(options))
}

fn filled(options: &PostgresOptions) -> Refusal {
    Refusal::failed(format!(
        "the database {} is not empty: everything is moved into an empty one",
        options.url
    ))
}

impl Note {
    /// Everything is there and verified.
    pub(super) async fn end(self) -> Result<(), Refusal> {
        match self {
            Self::Source => Ok(()),
            Self::Directory(target) => target.end(),
            Self::Database(pool) => pool.end_move().await.map_err(storage::refused),
        }
    }
}
