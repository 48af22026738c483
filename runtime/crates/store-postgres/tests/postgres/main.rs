//! The backends in PostgreSQL against a real server, which these tests start themselves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "tests fail by panicking, and say what they counted"
)]

mod attacks;
mod conformance;
mod crashes;
mod failover;
mod jobs;
mod nodes;
mod opening;
mod scene;
