//! The engine: every use case of Portcullis as a function of typed values and a caller's identity.
//!
//! It joins the parts: sandbox (names no secret and no socket), store (opens secrets and cannot dial), egress (dials
//! what a grant permits). It knows no HTTP server and no command line; the API, the command line and tests call it.
//! Read [`call::pipeline`] first: it is the life of a call on one page.

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

pub mod api_token;
pub mod audit;
pub mod audit_log;
pub mod automations;
pub mod backup;
pub mod breaker;
mod cache;
pub mod call;
pub mod caller;
pub mod catalog;
pub mod clock;
pub mod connect;
pub mod connection;
pub mod connectors;
mod engine;
mod error;
pub mod events;
pub mod growth;
pub mod idempotency;
mod invalidation;
pub mod jobs;
pub mod master_keys;
pub mod metrics;
pub mod modules;
pub mod nodes;
pub mod oauth;
pub mod oauth_clients;
pub mod org_limits;
pub mod org_policy;
mod page;
pub mod previews;
mod rate_limit;
mod request_mark;
mod resources;
pub mod retention;
pub mod run_log;
pub mod runs;
pub mod schedules;
pub mod storage;
pub mod tenants;
pub mod webhooks;
pub mod workers;
pub mod workspace_values;

pub use caller::Caller;
pub use engine::{Engine, EngineParts, StartError, StorageHealth};
pub use error::Error;
pub use page::{Page, PageRequest};
pub use request_mark::{Changes, RequestMark};
