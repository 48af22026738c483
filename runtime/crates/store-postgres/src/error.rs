//! Why the database cannot be used, at the start and later.

use std::path::Path;

use deadpool_postgres::PoolError;
use portcullis_store::StoreError;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// Why the database cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenPostgresError {
    /// The address is not one that can be used.
    #[error("store: {0}")]
    Url(String),
    /// A file that was named cannot be used.
    #[error("{file}: {reason}")]
    File { file: String, reason: String },
    /// The TLS library refused the configuration.
    #[error("store: TLS cannot be configured: {0}")]
    Tls(String),
    /// The database does not answer, or refuses.
    #[error("the database cannot be used: {0}")]
    Unavailable(String),
    /// Nothing was ever migrated there.
    #[error(
        "the database has no schema of portcullis yet: run `portcullis migrate` with the role that owns it"
    )]
    NotMigrated,
    /// The schema is older than this version needs.
    #[error(
        "the database has schema {found}, this version of portcullis needs {needed}: run `portcullis migrate` with the \
         role that owns it"
    )]
    SchemaOlder { found: i32, needed: i32 },
    /// The schema is of a later version.
    #[error(
        "the database has schema {found}, made by a later version; this one knows up to {known}: start that version"
    )]
    SchemaNewer { found: i32, known: i32 },
    /// The server does not keep what it acknowledges.
    #[error("the database runs with {setting} = off, so that it may lose what it acknowledged: switch it on")]
    NotDurable { setting: &'static str },
    /// A node serves.
    #[error("nodes serve from this database: stop all of them first")]
    InUse,
    /// Everything is being moved.
    #[error(
        "`portcullis migrate` moves everything into or out of this database: start again when it has ended"
    )]
    Moving,
    /// The records are not what was written, or another key was given.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenPostgresError {
    pub(crate) fn file(path: &Path, reason: impl ToString) -> Self {
        Self::File { file: path.display().to_string(), reason: reason.to_string() }
    }
}

impl From<Error> for OpenPostgresError {
    fn from(error: Error) -> Self {
        Self::Unavailable(describe(&error))
    }
}

/// What the server or the driver said, without its detail and context: these quote rows.
pub(crate) fn describe(error: &Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} ({})", db.message(), db.code().code()),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

/// The error of a store for one of the driver.
pub(crate) fn unavailable(error: &Error) -> StoreError {
    StoreError::Unavailable(describe(error))
}

/// What the operator can do about damaged rows.
const REPAIR: &str = "put the database back from its newest backup, and find out who wrote to it";

/// Rows that are not what was written.
pub(crate) fn damaged(what: impl Into<String>) -> StoreError {
    StoreError::Damaged { what: what.into(), repair: REPAIR }
}

/// The error of a store for one of the pool.
pub(crate) fn pool_unavailable(error: &PoolError) -> StoreError {
    match error {
        PoolError::Backend(error) => unavailable(error),
        PoolError::Timeout(_) => {
            StoreError::Unavailable("no connection to the database became free in time".to_owned())
        }
        other => StoreError::Unavailable(other.to_string()),
    }
}

/// Whether the transaction lost against another one and may simply be tried again.
pub(crate) fn is_retryable(error: &Error) -> bool {
    matches!(error.code(), Some(code) if *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED)
}

/// Whether nobody knows what became of the statement, because the connection or the server is gone.
pub(crate) fn is_disconnected(error: &Error) -> bool {
    if error.is_closed() {
        return true;
    }
    match error.code() {
        // Shutdowns, crashes and starts of the server, and connections that broke.
        Some(code) => code.code().starts_with("57P") || code.code().starts_with("08"),
        None => error.as_db_error().is_none(),
    }
}
