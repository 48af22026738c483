//! `portcullis init` where the store is PostgreSQL. The last commit makes it initialised: the token and the record of the
//! installation. An `init` that was cut off before is run again.
//!
//! Of two that run at once one finishes, and the other changes nothing and says so. The token is shown before the commit,
//! so that one that nobody saw is never in force.

use std::time::{Duration, Instant};

use portcullis_engine::api_token::{self, NewToken};
use portcullis_engine::{audit_log, clock};
use portcullis_store::{
    Document as _, InstallationRecord, MasterKeyRing, Records, StoreError, TokenRecord, Vault, Writes,
};
use portcullis_store_postgres::{OpenPostgresError, PostgresOptions, PostgresPool, Presence};

use super::{first_token, master_keys, show};
use crate::cli::BAD_CONFIG;
use crate::config::Config;
use crate::data_dir::Refusal;
use crate::storage;

/// Initialises the database of the configuration.
///
/// # Errors
/// It is initialised already, has another schema, or does not answer; the token that was shown is then not valid.
pub(super) async fn init(config: &Config) -> Result<(), Refusal> {
    let Some(options) = config.store.postgres() else {
        return Err(Refusal::failed("the store is no database".to_owned()));
    };
    if config.store_migrate {
        storage::bring_up(options, None).await?;
    }
    // Why first: without the schema, or with a database that is another's, nothing is to be made, not even a key.
    let pool = storage::connect(options).await?;
    refuse_initialised(&pool, options).await?;
    let _alone = alone(&pool).await?;
    refuse_initialised(&pool, options).await?;
    if pool.unfinished_move().await.map_err(storage::refused)?.is_some() {
        return Err(Refusal::failed(format!("everything is being moved into the database {}", options.url)));
    }
    pool.begin_anew().await.map_err(storage::refused)?;
    let is_new_key = config.find_master_keys().map_err(Refusal::failed)?.is_none();
    let keys = master_keys(config).map_err(Refusal::failed)?.open().await.map_err(Refusal::failed)?;
    let done = fill(config, pool.clone(), options, &keys).await;
    // Why the look: a commit whose answer was lost may have been made, and then this key is the only one.
    if done.is_err() && is_new_key && matches!(pool.is_untouched().await, Ok(true)) {
        // Why ignored: the reason why nothing was initialised says more.
        let _ = std::fs::remove_file(&config.master_key_file);
    }
    done
}

/// Refuses a database in which an `init` or a move has ended.
async fn refuse_initialised(pool: &PostgresPool, options: &PostgresOptions) -> Result<(), Refusal> {
    if storage::is_initialised(pool).await? { Err(initialised(options)) } else { Ok(()) }
}

/// Waits for another `init` on the same database.
async fn alone(pool: &PostgresPool) -> Result<Presence, Refusal> {
    let until = Instant::now() + ANOTHER_INIT;
    loop {
        match pool.alone().await {
            Err(OpenPostgresError::InUse) if Instant::now() < until => tokio::time::sleep(PAUSE).await,
            taken => return taken.map_err(storage::refused),
        }
    }
}

/// How long another one may take. It makes a key and a token, and waits for nobody but the database and a terminal.
const ANOTHER_INIT: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(50);

async fn fill(
    config: &Config,
    pool: PostgresPool,
    options: &PostgresOptions,
    keys: &MasterKeyRing,
) -> Result<(), Refusal> {
    let node = config.ledger_node().map_err(|reason| Refusal { code: BAD_CONFIG, reason })?;
    let opened = storage::open_database(pool, options, keys, None, node).await?;
    let records = Records::new(opened.backends.store);
    let token = first_token(config.bootstrap_token_file.as_deref()).map_err(Refusal::failed)?;
    let first = NewToken::platform(Some("first".into()));
    let (_, writes) = api_token::record(&token.text, first).map_err(|e| Refusal::failed(e.detail))?;
    Vault::initialise(records.clone(), keys.clone()).await.map_err(|e| Refusal::failed(e.to_string()))?;
    let vault = Vault::open(records.clone(), keys.clone()).await;
    let vault = vault.map_err(|e| Refusal::failed(e.to_string()))?;
    show(config, &token).map_err(|e| {
        let told = "the first token could not be shown (standard output";
        Refusal::failed(format!("{told}: {e}), so the database was not initialised; run init again"))
    })?;
    let (kinds, writes) = (&[TokenRecord::KIND], installed(writes));
    let made = audit_log::commit_offline(&records, &vault, "createToken", kinds, writes).await;
    made.map_err(|error| match error {
        StoreError::Conflict { .. } => initialised(options),
        error => Refusal::failed(format!("{error}; the token above is not valid, run init again")),
    })
}

/// The writes, with the record that only one `init` can make.
fn installed(writes: Writes) -> Writes {
    let record =
        InstallationRecord { version: env!("CARGO_PKG_VERSION").to_owned(), created_at: clock::now() };
    writes.create(&[InstallationRecord::PART], &record)
}

fn initialised(options: &PostgresOptions) -> Refusal {
    let reason = "is initialised already; every node serves from it with the master key of that init, and `portcullis \
                  token create` makes another platform token";
    Refusal { code: BAD_CONFIG, reason: format!("the database {} {reason}", options.url) }
}
