//! The schema: numbered plain SQL, applied in order under a lock, and compared with what this version knows.
//!
//! Everything is in the schema `portcullis`. The role that migrates owns it; the role that serves, if it is another,
//! gets what it needs and no more.

use tokio_postgres::{Client, GenericClient, Transaction};

use crate::error::OpenPostgresError;
use crate::pool::{PostgresOptions, PostgresPool};

/// Plain SQL, and what the serving role may do afterwards (`{role}` is its name, quoted).
struct Migration {
    version: i32,
    sql: &'static str,
    grants: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        sql: include_str!("../migrations/0001_records.sql"),
        grants: "GRANT SELECT, INSERT, UPDATE, DELETE ON records TO {role};
             GRANT SELECT, INSERT, UPDATE ON store_head TO {role};
             GRANT SELECT, INSERT, DELETE ON change_log TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON wrapped_keys TO {role};",
    },
    Migration {
        version: 2,
        sql: include_str!("../migrations/0002_ledger.sql"),
        // Why only reading: it appends, closes and cuts by the functions, which let nobody change a record, or delete one
        // before its time.
        grants: "GRANT SELECT ON ledger_records, ledger_heads, ledger_segments, ledger_anchors TO {role};
             GRANT USAGE ON SEQUENCE writers TO {role};
             GRANT EXECUTE ON FUNCTION ledger_append, ledger_close, ledger_cut, ledger_partitions TO {role};",
    },
    Migration {
        version: 3,
        sql: include_str!("../migrations/0003_runs.sql"),
        grants: "GRANT SELECT, INSERT, DELETE ON runs TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON run_heads TO {role};
             GRANT EXECUTE ON FUNCTION runs_append TO {role};",
    },
    Migration {
        version: 4,
        sql: include_str!("../migrations/0004_modules.sql"),
        grants: "GRANT SELECT, INSERT, UPDATE, DELETE ON modules TO {role};",
    },
    Migration {
        version: 5,
        sql: include_str!("../migrations/0005_moving.sql"),
        // Why also to delete a head, which it may change anyway: see `beginning.rs`.
        grants: "GRANT SELECT ON moving TO {role};
             GRANT DELETE ON store_head TO {role};",
    },
    Migration {
        version: 6,
        sql: include_str!("../migrations/0006_change_tokens.sql"),
        // Why nothing: what holds for the log holds for the column.
        grants: "",
    },
    Migration {
        version: 7,
        sql: include_str!("../migrations/0007_ledger_age.sql"),
        grants: "GRANT EXECUTE ON FUNCTION ledger_cut_before TO {role};",
    },
];

/// The schema that this version needs.
pub const SCHEMA_VERSION: i32 = match MIGRATIONS.last() {
    Some(last) => last.version,
    None => 0,
};

/// Any number that nobody else takes for an advisory lock; "portcull" as bytes.
const LOCK: i64 = 0x706f_7274_6375_6c6c;

/// What migrating did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The schema before; 0: none.
    pub from: i32,
    /// The schema now.
    pub to: i32,
}

/// Brings the schema to this version, in one transaction. `serving_role` is the role of the nodes, if it is not the one
/// that migrates; it must exist.
///
/// # Errors
/// [`OpenPostgresError`]; the schema is then as it was.
pub async fn migrate(
    options: &PostgresOptions,
    serving_role: Option<&str>,
) -> Result<Migrated, OpenPostgresError> {
    // Why without an end: another node that migrates is waited for, and a step may take long.
    let pool = PostgresPool::connect_with(options, None).await?;
    let mut client = pool.first().await?;
    let transaction = client.transaction().await?;
    // Several nodes may start at once; a migration may take longer than other statements.
    transaction.batch_execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0").await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let from = match version(&*transaction).await? {
        Some(version) => version,
        None => begin(&transaction).await?,
    };
    if from > SCHEMA_VERSION {
        return Err(OpenPostgresError::SchemaNewer { found: from, known: SCHEMA_VERSION });
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > from) {
        transaction.batch_execute(migration.sql).await?;
        let note = "INSERT INTO schema_version (version) VALUES ($1)";
        transaction.execute(note, &[&migration.version]).await?;
    }
    if let Some(role) = serving_role {
        grant(&transaction, role).await?;
    }
    transaction.commit().await?;
    Ok(Migrated { from, to: SCHEMA_VERSION })
}

/// Refuses a schema that is not this version's.
///
/// # Errors
/// [`OpenPostgresError`], with what has to be done.
pub(crate) async fn check(client: &Client) -> Result<(), OpenPostgresError> {
    let known = SCHEMA_VERSION;
    match version(client).await? {
        None | Some(0) => Err(OpenPostgresError::NotMigrated),
        Some(found) if found < known => Err(OpenPostgresError::SchemaOlder { found, needed: known }),
        Some(found) if found > known => Err(OpenPostgresError::SchemaNewer { found, known }),
        Some(_) => Ok(()),
    }
}

/// The schema there; `None` without one.
async fn version(client: &impl GenericClient) -> Result<Option<i32>, OpenPostgresError> {
    let there = "SELECT to_regclass('portcullis.schema_version') IS NOT NULL";
    if !client.query_one(there, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let found = client.query_one("SELECT max(version) FROM portcullis.schema_version", &[]).await?;
    Ok(Some(found.try_get::<_, Option<i32>>(0)?.unwrap_or(0)))
}

async fn begin(transaction: &Transaction<'_>) -> Result<i32, OpenPostgresError> {
    let sql = "CREATE SCHEMA IF NOT EXISTS portcullis;
               CREATE TABLE portcullis.schema_version (
                   version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());";
    transaction.batch_execute(sql).await?;
    Ok(0)
}

async fn grant(transaction: &Transaction<'_>, role: &str) -> Result<(), OpenPostgresError> {
    let quoted = format!("\"{}\"", role.replace('"', "\"\""));
    let base = "GRANT USAGE ON SCHEMA portcullis TO {role}; GRANT SELECT ON schema_version TO {role};";
    for grants in std::iter::once(base).chain(MIGRATIONS.iter().map(|migration| migration.grants)) {
        transaction.batch_execute(&grants.replace("{role}", &quoted)).await?;
    }
    Ok(())
}
