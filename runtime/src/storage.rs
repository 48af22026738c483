//! Opens what the configuration names as the store: a data directory, or a PostgreSQL that several nodes share. No other
//! code of the binary does.
//!
//! With PostgreSQL the data directory holds caches alone, so nothing of it is locked. "Initialised" is then a row of the
//! database, which `portcullis init` makes.

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use portcullis_core::id::NodeId;
use portcullis_store::{
    Backends, Document as _, InstallationRecord, KeyId, MasterKeyRing, ModuleBytes, ModuleFiles, OpenError,
    Records, Store, TokenRecord, VaultError, make_own_key, open_own_key, open_store_anchored,
};
use portcullis_store_postgres::{
    Migrated, OpenPostgresError, PostgresBackends, PostgresLedger, PostgresModules, PostgresOptions,
    PostgresPool, PostgresRuns, PostgresStore, Presence, ROWS_KEY, migrate,
};
use rustix::fs::Mode;
use zeroize::Zeroizing;

use crate::cli::BAD_CONFIG;
use crate::config::Config;
use crate::data_dir::{DataDir, Refusal};

mod presence;

pub(crate) use presence::serve_until_lost;

/// What keeps other processes away from what a command works on. It must outlive every use.
#[derive(Debug)]
pub(crate) enum Held {
    /// The data directory's lock.
    Directory(#[expect(dead_code, reason = "held for its locks")] DataDir),
    /// A database is shared.
    Nothing,
}

/// Takes the data directory for this process, or with PostgreSQL makes one for its caches.
///
/// # Errors
/// It is in use, was never initialised, or cannot be made.
pub(crate) fn hold(config: &Config, command: &str) -> Result<Held, Refusal> {
    if !config.store.is_shared() {
        return DataDir::open(config, command).map(Held::Directory);
    }
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    make_directory(&config.data_dir).map_err(Refusal::failed)?;
    Ok(Held::Nothing)
}

/// Makes a directory that is its owner's alone, or makes it so.
///
/// # Errors
/// A sentence naming it.
pub(crate) fn make_directory(dir: &Path) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", dir.display());
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    // An existing directory may be open to others; records and ledger must not be.
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).map_err(failed)
}

/// What is open: everything that is not a cache.
pub(crate) struct Storage {
    pub(crate) backends: Backends,
    /// The bytes of custom modules.
    pub(crate) modules: Arc<dyn ModuleBytes>,
    /// The records, where they are in a database: for what only they can do.
    pub(crate) database: Option<Arc<PostgresStore>>,
}

/// The bytes of custom modules in a data directory.
pub(crate) fn module_files(data_dir: &Path) -> Arc<dyn ModuleBytes> {
    Arc::new(ModuleFiles::new(data_dir.join("modules")))
}

/// Opens everything that was initialised with one of these keys.
///
/// # Errors
/// What does not open, and the remedy; a database that was never initialised, or that everything is being moved into.
pub(crate) async fn open(config: &Config, keys: &MasterKeyRing) -> Result<Storage, Refusal> {
    let Some(options) = config.store.postgres() else {
        let (dir, anchor) = (&config.data_dir, config.anchor_file.as_deref());
        let opened = Backends::open_anchored(dir, config.ledger_sync, anchor);
        let backends = opened.map_err(|error| Refusal::failed(error.to_string()))?;
        return Ok(Storage { backends, modules: module_files(dir), database: None });
    };
    let node = config.ledger_node().map_err(|reason| Refusal { code: BAD_CONFIG, reason })?;
    let pool = connect(options).await?;
    if let Some(from) = pool.unfinished_move().await.map_err(refused)? {
        let reason =
            format!("everything is being moved into the database {} from {from}; {FINISH}", options.url);
        return Err(Refusal::failed(reason));
    }
    // Why before it is opened: that would seal what is empty under this key, which may be a wrong one.
    if !is_initialised(&pool).await? {
        return Err(never_initialised(options));
    }
    open_database(pool, options, keys, None, node).await
}

const FINISH: &str = "run that `portcullis migrate` again until it has ended";

/// Opens the records alone, for commands that need no more.
///
/// # Errors
/// As for [`open`].
pub(crate) async fn open_records(config: &Config, keys: &MasterKeyRing) -> Result<Records, Refusal> {
    let store = match config.store.postgres() {
        Some(_) => open(config, keys).await?.backends.store,
        None => open_store_anchored(&config.store_dir(), config.anchor_file.as_deref())
            .map_err(|error| Refusal::failed(error.to_string()))?,
    };
    Ok(Records::new(store))
}

/// A database with the schema of this version, initialised or not. One that holds nothing has a key for its seals from
/// then on, wrapped with the master key `first`, or else with the first there is.
///
/// # Errors
/// It does not answer, has another schema, or was written to under another key.
pub(crate) async fn open_database(
    pool: PostgresPool,
    options: &PostgresOptions,
    keys: &MasterKeyRing,
    first: Option<&KeyId>,
    node: NodeId,
) -> Result<Storage, Refusal> {
    let failed = |error: OpenError| Refusal::failed(error.to_string());
    let integrity = integrity_key(&pool, options, keys, first).await?;
    let integrity = Some(&*integrity);
    let opened = PostgresBackends::over(pool, options, integrity).await.map_err(refused)?;
    let PostgresBackends { records, jobs, outbox, pool } = opened;
    let ledger = PostgresLedger::open(pool.clone(), node.clone(), integrity).await.map_err(failed)?;
    let runs = PostgresRuns::open(pool.clone(), node, integrity).await.map_err(failed)?;
    let modules = Arc::new(PostgresModules::new(pool));
    let store: Arc<dyn Store> = Arc::clone(&records) as Arc<dyn Store>;
    let backends = Backends { store, ledger: Arc::new(ledger), runs: Arc::new(runs), jobs, outbox };
    Ok(Storage { backends, modules, database: Some(records) })
}

/// The key by which rows of the database are recognised as this product's.
async fn integrity_key(
    pool: &PostgresPool,
    options: &PostgresOptions,
    keys: &MasterKeyRing,
    first: Option<&KeyId>,
) -> Result<Zeroizing<[u8; 32]>, Refusal> {
    let failed = |error: VaultError| Refusal::failed(error.to_string());
    let wrapped = match pool.wrapped_key(ROWS_KEY).await.map_err(refused)? {
        Some(wrapped) => wrapped,
        None if pool.is_untouched().await.map_err(refused)? => {
            let (_, wrapped) = make_own_key(keys, first).await.map_err(failed)?;
            pool.keep_wrapped_key(ROWS_KEY, &wrapped).await.map_err(refused)?
        }
        None => {
            let reason =
                format!("the database {} has records, and the key of their seals is gone", options.url);
            return Err(Refusal::failed(reason));
        }
    };
    open_own_key(keys, &wrapped).await.map_err(failed)
}

/// Whether `init` or a move has finished in this database: each ends with the first token.
///
/// # Errors
/// It does not answer.
pub(crate) async fn is_initialised(pool: &PostgresPool) -> Result<bool, Refusal> {
    for kind in [InstallationRecord::KIND, TokenRecord::KIND] {
        if pool.has_record_below(&format!("{kind}/")).await.map_err(refused)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Brings the database's schema to this version.
///
/// # Errors
/// It does not answer, or is of a later version.
pub(crate) async fn bring_up(
    options: &PostgresOptions,
    serving_role: Option<&str>,
) -> Result<Migrated, Refusal> {
    migrate(options, serving_role).await.map_err(refused)
}

/// Keeps every node away from a database while the value lives.
///
/// # Errors
/// A node serves from it, or it does not answer.
pub(crate) async fn alone(options: &PostgresOptions) -> Result<Presence, Refusal> {
    connect(options).await?.alone().await.map_err(refused)
}

/// Connections to the database, whatever is in it.
///
/// # Errors
/// It does not answer, or has another schema.
pub(crate) async fn connect(options: &PostgresOptions) -> Result<PostgresPool, Refusal> {
    PostgresPool::open(options).await.map_err(refused)
}

pub(crate) fn never_initialised(options: &PostgresOptions) -> Refusal {
    let reason = format!(
        "the database {} was never initialised; run portcullis init with the same store, once for all nodes, or check \
         store",
        options.url
    );
    Refusal { code: BAD_CONFIG, reason }
}

/// A refusal of the database; what the configuration says wrongly is an error of the configuration.
pub(crate) fn refused(error: OpenPostgresError) -> Refusal {
    let code = match error {
        OpenPostgresError::Url(_) | OpenPostgresError::File { .. } | OpenPostgresError::Tls(_) => BAD_CONFIG,
        _ => crate::cli::FAILED,
    };
    Refusal { code, reason: error.to_string() }
}

/// Refuses a command that works on the files of a data directory.
///
/// # Errors
/// The store is a database: what to use instead.
pub(crate) fn directory_only(config: &Config, command: &str, instead: &str) -> Result<(), Refusal> {
    if !config.store.is_shared() {
        return Ok(());
    }
    let reason =
        format!("portcullis {command} works on a data directory, and store is PostgreSQL: {instead}");
    Err(Refusal { code: BAD_CONFIG, reason })
}
