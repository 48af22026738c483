//! What every storage backend must do: one suite for all of them, run by the backends' own tests.
//!
//! For tests only: nothing of the product depends on it. It also starts the PostgreSQL that tests need.

#![allow(missing_docs, reason = "test code: comments stand where the name does not say it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests fail by panicking and say loudly what they cannot run"
)]

pub mod cluster;
pub mod jobs;
pub mod ledger;
pub mod model;
pub mod outbox;
pub mod runs;
pub mod store;
