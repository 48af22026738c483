//! `/org/{org}/settings/integrations`: where the org's calls may go, and which entries of its list were used.

use portcullis_core::violation::Violation;
use portcullis_engine::org_policy::{self, AllowlistMode, IntegrationSettings};
use portcullis_engine::{Error, audit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::Json;
use crate::request::{Context, NoParameters, Typed};

/// An org's allowlist to set.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["domain_allowlist"]))]
pub(crate) struct SetIntegrations {
    /// Null for no restriction, `[]` to forbid everything, or a list of hosts and `*.host` patterns.
    domain_allowlist: Option<Vec<String>>,
    /// What happens to a call outside the list.
    #[serde(default = "enforce")]
    mode: AllowlistMode,
}

const fn enforce() -> AllowlistMode {
    AllowlistMode::Enforce
}

/// An org's allowlist.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Integrations {
    /// Null for no restriction, `[]` to forbid everything, or a list of hosts and `*.host` patterns.
    domain_allowlist: Option<Vec<String>>,
    /// What happens to a call outside the list.
    mode: AllowlistMode,
    /// When it was last changed, RFC 3339; absent if it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
    /// Entries that an admin should look at, after a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Vec<Violation>>,
}

impl Integrations {
    fn of(settings: Option<IntegrationSettings>, warnings: Option<Vec<Violation>>) -> Self {
        match settings {
            None => Self { domain_allowlist: None, mode: enforce(), updated_at: None, warnings },
            Some(IntegrationSettings { domain_allowlist, mode, updated_at }) => {
                Self { domain_allowlist, mode, updated_at: Some(updated_at), warnings }
            }
        }
    }
}

/// How the org's allowlist was used.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AllowlistUsage {
    /// Each entry of the list.
    entries: Vec<EntryUse>,
    /// Origins outside the list that connectors allow: what enforcing would refuse.
    outside: Vec<OutsideUse>,
}

/// How often an entry was matched.
#[derive(Serialize, JsonSchema)]
pub(crate) struct EntryUse {
    entry: String,
    hits: u64,
    /// Time of the last match, RFC 3339; null if never.
    last_at: Option<String>,
}

/// How often an origin outside the list was requested.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OutsideUse {
    origin: String,
    attempts: u64,
    /// Time of the last request, RFC 3339.
    last_at: Option<String>,
}

pub(crate) async fn show(context: Context, _: NoParameters, (): ()) -> Result<Json<Integrations>, Error> {
    let org = context.org().await?;
    let settings = org_policy::show(context.engine(), context.caller()?, &org).await?;
    Ok(Json(Integrations::of(settings, None)))
}

pub(crate) async fn replace(
    context: Context,
    _: NoParameters,
    Typed(wish): Typed<SetIntegrations>,
) -> Result<Json<Integrations>, Error> {
    let org = context.org().await?;
    let SetIntegrations { domain_allowlist, mode } = wish;
    let (engine, caller) = (context.engine(), context.caller()?);
    let (settings, warnings) = org_policy::replace(engine, caller, &org, domain_allowlist, mode).await?;
    Ok(Json(Integrations::of(Some(settings), Some(warnings))))
}

pub(crate) async fn usage(context: Context, _: NoParameters, (): ()) -> Result<Json<AllowlistUsage>, Error> {
    let org = context.org().await?;
    let usage = audit::allowlist_usage(context.engine(), context.caller()?, &org).await?;
    let entries = usage.entries.into_iter();
    let entries = entries.map(|u| EntryUse { entry: u.name, hits: u.count, last_at: u.last_at });
    let outside = usage.outside.into_iter();
    let outside = outside.map(|u| OutsideUse { origin: u.name, attempts: u.count, last_at: u.last_at });
    Ok(Json(AllowlistUsage { entries: entries.collect(), outside: outside.collect() }))
}
