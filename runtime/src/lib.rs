//! Portcullis, the runtime: the HTTP API, the invocation pipeline, the command line.
//!
//! The only place where the parts meet: sandbox (cannot name a secret or a socket), store (can open
//! secrets but not dial) and egress (can dial, but only what a grant permits). Read `invoke` first.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests fail by panicking"
    )
)]

pub mod api;
pub mod app;
pub mod attempts;
pub mod automation;
pub mod budget;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connected;
pub mod credential;
pub mod demo;
mod descriptors;
pub mod directory;
pub mod invoke;
pub mod ledger;
pub mod problem;
pub mod resolve;
pub mod run;
pub mod running;
pub mod scan;
pub mod serve;
pub mod telemetry;
pub mod tenancy;
pub mod token;
pub mod tokens;
