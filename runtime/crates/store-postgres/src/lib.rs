//! Everything Portcullis stores, in PostgreSQL, so that several nodes can share it.
//!
//! The only crate that knows the driver. It implements the traits of `portcullis-store` and passes the same suites
//! as the engines there. It decides nothing about what is stored, and holds no key that opens a credential.

#![allow(missing_docs, reason = "an internal crate: comments stand where the name does not say it")]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests fail by panicking"
    )
)]

mod backends;
mod beginning;
mod dialing;
mod error;
mod head;
mod health;
mod ledger;
mod location;
#[cfg(test)]
mod measure;
mod migrations;
mod modules;
mod moving;
mod password;
mod pause;
mod pool;
mod position;
mod presence;
mod records;
mod runs;
mod seal;
#[cfg(test)]
mod test_database;
mod tls;
mod wrapped_keys;

pub use backends::PostgresBackends;
pub use error::OpenPostgresError;
pub use ledger::PostgresLedger;
pub use migrations::{Migrated, SCHEMA_VERSION, migrate};
pub use modules::PostgresModules;
pub use password::PasswordPlaces;
pub use pool::{PostgresOptions, PostgresPool};
pub use presence::Presence;
pub use records::{PostgresStore, RecordsReport};
pub use runs::PostgresRuns;
pub use wrapped_keys::ROWS_KEY;
