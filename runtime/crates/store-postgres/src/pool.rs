//! Connections to the database: opened, checked, kept and limited.
//!
//! Every session gets the product's own settings, whatever the role's or the server's defaults are. A pooler between
//! that shares one session among clients (transaction pooling) does not work with it.

use std::path::PathBuf;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use portcullis_store::StoreError;
use tokio_postgres::config::SslMode;
use tokio_postgres::{AsyncMessage, Client, Config};

use crate::dialing::Dialling;
use crate::error::{OpenPostgresError, pool_unavailable};
use crate::location::{Location, Reached};
use crate::migrations;
use crate::password::PasswordPlaces;

/// How the database is reached.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// `postgres://user@host/db?sslmode=verify-full` or `postgres:///db?host=/directory`.
    pub url: String,
    /// Certificates that the server's is verified with; without it the public roots.
    pub ca_file: Option<PathBuf>,
    pub password: PasswordPlaces,
    /// Connections of this process at once, half of them for ledgers and runs, besides a few for writers and for listening.
    pub connections_max: usize,
    /// Whether to wake other nodes after commits, and to be woken. Without it all works as well, by the clock.
    pub notify: bool,
}

impl PostgresOptions {
    /// For this address, without a password and with the usual number of connections.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ca_file: None,
            password: PasswordPlaces::default(),
            connections_max: CONNECTIONS,
            notify: true,
        }
    }

    /// Reads the address, without connecting.
    ///
    /// # Errors
    /// [`OpenPostgresError::Url`], which never repeats the address.
    pub fn check_address(&self) -> Result<(), OpenPostgresError> {
        Location::parse(&self.url).map(drop)
    }
}

/// Connections of one process unless told otherwise, half of them for records, half for ledgers and runs: with those of
/// writers, and those that listen and hold a lock, four nodes stay below PostgreSQL's usual 100.
const CONNECTIONS: usize = 16;

/// The least number of connections: of each half one that is held for long, and one for the others.
const CONNECTIONS_MIN: usize = 4;

/// Connections that only writers use, so that many readers never keep them waiting: one for each of what is written in
/// groups (records, ledgers, runs), and one to spare.
const WRITER_CONNECTIONS: usize = 4;

/// How long a connection may take to be made, or to become free. Longer, and the caller's own time is over. Where there are
/// several hosts, making one may take as long as their turns do.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Settings of every session. A statement that takes longer is stuck: none of ours reads more than a page. A
/// transaction that is left open by a node that hangs must not hold its locks.
const SESSION: &str = "-c statement_timeout=5000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=5000 \
                       -c search_path=portcullis -c default_transaction_isolation=read\\ committed \
                       -c default_transaction_read_only=off -c client_encoding=UTF8 -c timezone=UTC \
                       -c standard_conforming_strings=on";

/// How long a server that was asked may be silent: longer than a statement may take.
const SILENCE: Duration = Duration::from_secs(10);

/// Connections to one database.
#[derive(Clone)]
pub struct PostgresPool {
    /// Where records are read: what a call needs, the changes of other nodes, tokens and modules.
    /// Each of these reads is short.
    pool: Pool,
    /// Where ledgers and runs are read. A tenant decides how long that takes, so it has connections of its own.
    history: Pool,
    writers: Pool,
}

impl PostgresPool {
    /// Connects, and checks that the server keeps what it acknowledges and has the schema of this version.
    ///
    /// # Errors
    /// [`OpenPostgresError`], with what has to be done.
    pub async fn open(options: &PostgresOptions) -> Result<Self, OpenPostgresError> {
        let pool = Self::connect(options).await?;
        let client = pool.first().await?;
        migrations::check(&client).await?;
        Ok(pool)
    }

    /// The same, whatever the schema.
    pub(crate) async fn connect(options: &PostgresOptions) -> Result<Self, OpenPostgresError> {
        Self::connect_with(options, Some(SILENCE)).await
    }

    /// The same, where the server may be silent for so long, or for ever.
    pub(crate) async fn connect_with(
        options: &PostgresOptions,
        silence: Option<Duration>,
    ) -> Result<Self, OpenPostgresError> {
        let location = Location::parse(&options.url)?;
        let all = options.connections_max.max(CONNECTIONS_MIN);
        let of_history = all / 2;
        let pool = Self {
            pool: connections(&location, options, silence, all.saturating_sub(of_history))?,
            history: connections(&location, options, silence, of_history)?,
            writers: connections(&location, options, silence, WRITER_CONNECTIONS)?,
        };
        for setting in ["fsync", "full_page_writes"] {
            if pool.setting(setting).await? != "on" {
                return Err(OpenPostgresError::NotDurable { setting });
            }
        }
        Ok(pool)
    }

    /// What a setting of the server is in a session of ours.
    ///
    /// # Errors
    /// [`OpenPostgresError::Unavailable`].
    pub async fn setting(&self, name: &str) -> Result<String, OpenPostgresError> {
        let row = self.first().await?.query_one("SELECT current_setting($1)", &[&name]).await?;
        Ok(row.try_get(0)?)
    }

    /// The same connections for who reads ledgers or runs: [`Self::client`] gives those that are for that.
    pub(crate) fn for_history(&self) -> Self {
        Self { pool: self.history.clone(), ..self.clone() }
    }

    /// A connection; it goes back when it is dropped.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(crate) async fn client(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(|error| pool_unavailable(&error))
    }

    /// A connection for a writer.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(crate) async fn writer(&self) -> Result<Object, StoreError> {
        self.writers.get().await.map_err(|error| pool_unavailable(&error))
    }

    /// A connection while opening.
    pub(crate) async fn first(&self) -> Result<Object, OpenPostgresError> {
        self.pool.get().await.map_err(|error| {
            OpenPostgresError::Unavailable(match error {
                deadpool_postgres::PoolError::Backend(error) => crate::error::describe(&error),
                other => other.to_string(),
            })
        })
    }
}

fn connections(
    location: &Location,
    options: &PostgresOptions,
    silence: Option<Duration>,
    at_most: usize,
) -> Result<Pool, OpenPostgresError> {
    let config = config(location, &options.password)?;
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let dialling = Dialling::new(location, options.ca_file.as_deref(), silence)?;
    let making = CONNECT_TIMEOUT.max(dialling.time());
    let manager = Manager::from_connect(config, dialling, recycling);
    Pool::builder(manager)
        .max_size(at_most)
        .runtime(Runtime::Tokio1)
        .create_timeout(Some(making))
        .wait_timeout(Some(CONNECT_TIMEOUT))
        .recycle_timeout(Some(CONNECT_TIMEOUT))
        .post_create(Hook::async_fn(|client, _| {
            Box::pin(async move { prepare_session(client).await.map_err(HookError::Backend) })
        }))
        .build()
        .map_err(|error| OpenPostgresError::Unavailable(error.to_string()))
}

/// Runs a statement on a connection of its own, and hands on what the server says until the connection ends.
///
/// # Errors
/// [`OpenPostgresError::Unavailable`], and those of the configuration.
pub(crate) async fn listen_to(
    options: &PostgresOptions,
    statement: &str,
    on_message: impl FnMut(AsyncMessage) + Send,
) -> Result<(), OpenPostgresError> {
    let location = Location::parse(&options.url)?;
    let config = config(&location, &options.password)?;
    let dialling = Dialling::new(&location, options.ca_file.as_deref(), Some(SILENCE))?;
    let (client, session) = dialling.session(&config).await?;
    let mut messages = std::pin::pin!(session.drive(on_message));
    tokio::select! {
        ended = &mut messages => return Ok(ended?),
        sent = client.batch_execute(statement) => sent?,
    }
    Ok(messages.await?)
}

/// What the driver is told.
fn config(location: &Location, password: &PasswordPlaces) -> Result<Config, OpenPostgresError> {
    let mut config = Config::new();
    match &location.reached {
        Reached::Socket(dir) => {
            config.host_path(dir).ssl_mode(SslMode::Disable);
        }
        Reached::Hosts(hosts) => {
            for host in hosts {
                config.host(host);
            }
            config.ssl_mode(SslMode::Require);
        }
    }
    config
        .port(location.port)
        .dbname(&location.database)
        .application_name("portcullis")
        .options(SESSION)
        .connect_timeout(CONNECT_TIMEOUT);
    if let Some(user) = &location.user {
        config.user(user);
    }
    if let Some(password) = password.password(location)? {
        config.password(password.as_bytes());
    }
    Ok(config)
}

/// What cannot be said while connecting: a commit that does not wait for the disk is never taken, and one that waits
/// for more stays as it is.
async fn prepare_session(client: &Client) -> Result<(), tokio_postgres::Error> {
    let wait = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";
    client.batch_execute(wait).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portcullis_core::id::WorkspaceId;
    use portcullis_core::ledger::LedgerPhase;
    use portcullis_store::{Batch, Ledger as _, Runs as _, Store as _};
    use portcullis_store_conformance::cluster::Cluster;
    use portcullis_store_conformance::ledger::{event, org};
    use portcullis_store_conformance::runs::generated;
    use tokio::time::timeout;

    use super::*;
    use crate::test_database::{Database, SERVER, node};
    use crate::{PostgresLedger, PostgresRuns, PostgresStore};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn readers_of_ledgers_and_runs_keep_neither_writers_nor_readers_of_records_waiting() {
        let Some(cluster) = Cluster::shared() else { return };
        let database = Database::new(cluster).await;
        let pool = database.pool().await;
        let options = PostgresOptions::new(cluster.url(&database.name, SERVER));
        let store = PostgresStore::over(pool.clone(), &options, None).await.unwrap();
        let ledger = Arc::new(PostgresLedger::open(pool.clone(), node("a"), None).await.unwrap());
        let runs = PostgresRuns::open(pool.clone(), node("a"), None).await.unwrap();
        // As many checks of long ledgers as find a connection.
        let history = pool.for_history();
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS / 2 {
            held.push(history.client().await.unwrap());
        }
        let (reader, acme) = (Arc::clone(&ledger), org("acme"));
        let waits = tokio::spawn(async move { reader.verify(&acme).await });
        assert!(timeout(Duration::from_millis(100), history.client()).await.is_err(), "none is left");
        ledger.append(&event("acme", "out_1", LedgerPhase::Begin)).await.unwrap();
        let workspace = WorkspaceId::parse("main").unwrap();
        runs.append(&generated(&org("acme"), &workspace, 1)).await.unwrap();
        let seq = store.commit(Batch::new().put("a", b"1".to_vec())).await.unwrap();
        assert!(store.get("a").await.unwrap().is_some());
        assert_eq!(store.changes(0, 10).await.unwrap().len(), 1);
        assert_eq!((store.stats().await.unwrap().seq, store.is_well(), ledger.is_well()), (seq, true, true));
        drop(held);
        assert!(waits.await.unwrap().unwrap().is_intact(), "who waited goes on");
    }
}
