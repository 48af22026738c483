//! The first version of the API, one file per resource: what is read, which function of the engine is called, and
//! the JSON form of its result.

pub(crate) mod all_connections;
pub(crate) mod api_tokens;
pub(crate) mod audit_log;
pub(crate) mod automations;
pub(crate) mod backups;
pub(crate) mod breakers;
pub(crate) mod catalog;
pub(crate) mod connect;
pub(crate) mod connections;
pub(crate) mod connectors;
pub(crate) mod events;
pub(crate) mod idempotent;
pub(crate) mod jobs;
pub(crate) mod master_keys;
pub(crate) mod metrics;
pub(crate) mod modules;
pub(crate) mod named_connections;
pub(crate) mod oauth;
pub(crate) mod oauth_clients;
pub(crate) mod org_limits;
pub(crate) mod org_policy;
pub(crate) mod outbound;
pub(crate) mod previews;
pub(crate) mod retention;
pub(crate) mod run_feed;
pub(crate) mod run_log;
pub(crate) mod runs;
pub(crate) mod status;
pub(crate) mod storage;
mod stream_body;
pub(crate) mod tenants;
pub(crate) mod webhooks;
pub(crate) mod workspace_values;
