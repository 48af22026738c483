//! The pure domain of Portcullis: what a connector is, where it may go, and why not.
//!
//! No I/O, no clock, no randomness, no async runtime: everything here is a function of its
//! arguments, so every rule of the gate can be tested with a table. Egress acts on these decisions,
//! the sandbox carries these requests, the store keeps these documents.

#![allow(missing_docs, reason = "an internal crate: comments stand where the name does not say it")]
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

pub mod client_address;
pub mod connector;
pub mod cron;
pub mod definition;
pub mod fault;
pub mod form;
pub mod form_schema;
pub mod format;
pub mod grant;
pub mod header_rules;
pub mod hex;
pub mod host_pattern;
pub mod id;
pub mod injection;
pub mod input;
pub mod ip_class;
pub mod json;
pub mod json_position;
pub mod json_reader;
pub mod ledger;
pub mod limits;
pub mod offload;
pub mod org_rules;
pub mod outbound;
pub mod reserved;
pub mod secret;
pub mod signing;
pub mod structure;
pub mod sync;
pub mod tables;
pub mod target;
pub mod token_plan;
pub mod verdict;
pub mod violation;

pub use portcullis_action::escape::percent_encode;
