//! Integration tests of Portcullis: the product from outside, one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests fail by panicking, and talk to stand-ins on loopback"
)]

/// The same as in the product, so that memory measured here is the product's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod admission;
mod api_bad_input;
mod api_routes;
mod attack;
mod audit_log;
mod auth_types;
mod backup;
mod black_box;
mod breakers;
mod catalog;
mod changes;
mod compact;
mod connect;
mod connection_forms;
mod descriptions;
mod events;
mod field_cases;
mod fsck;
mod gate_codes;
mod golden;
mod growth;
mod health;
mod injection;
mod jobs;
mod keys;
mod ledger_chain;
mod ledger_reading;
mod main_job;
mod metrics;
mod modules;
mod named_connections;
mod narrowed_tokens;
mod netns;
mod nodes;
mod oauth;
mod org_limits;
mod org_rules;
mod papercuts;
mod postgres;
mod previews;
mod readme;
mod retention;
mod retries;
mod run_log;
mod sandbox;
mod schedules;
mod secrecy;
mod skip_reasons;
mod stopping;
mod support;
mod tenant_matrix;
mod tidy;
mod typed_api;
mod vendors;
mod webhooks;
mod while_running;
mod workspace_values;
