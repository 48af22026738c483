//! `/org/{org}/settings/integrations`: where the org's calls may go, what they may do, and which entries of its list
//! were used.

use portcullis_core::violation::Violation;
use portcullis_engine::org_policy::{
    self, ActionRule, AllowlistMode, ConnectorsRule, IntegrationSettings, PolicyWish,
};
use portcullis_engine::{Error, audit};
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::Json;
use crate::request::{Context, MergePatch, NoParameters, Typed};

/// Where an org's calls may go, which connectors it uses, and what their actions may do.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Integrations {
    /// Null for no restriction, `[]` to forbid everything, or a list of hosts and `*.host` patterns.
    domain_allowlist: Option<Vec<String>>,
    /// What happens to a call to a host outside the list.
    mode: AllowlistMode,
    /// The connectors that the org uses.
    connectors: ConnectorsRule,
    /// What actions may do; the first rule that matches counts.
    action_rules: Vec<ActionRule>,
    /// When it was last changed, RFC 3339; absent if it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
    /// Entries that an admin should look at, after a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Vec<Violation>>,
}

impl Integrations {
    fn of(settings: Option<IntegrationSettings>, warnings: Option<Vec<Violation>>) -> Self {
        let updated_at = settings.as_ref().map(|settings| settings.updated_at.clone());
        let PolicyWish { domain_allowlist, mode, connectors, action_rules } =
            settings.map_or_else(PolicyWish::default, PolicyWish::from);
        let connectors = connectors.unwrap_or_default();
        Self { domain_allowlist, mode, connectors, action_rules, updated_at, warnings }
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
    Typed(wish): Typed<PolicyWish>,
) -> Result<Json<Integrations>, Error> {
    let org = context.org().await?;
    let (engine, caller) = (context.engine(), context.caller()?);
    let (settings, warnings) = org_policy::replace(engine, caller, &org, wish).await?;
    Ok(Json(Integrations::of(Some(settings), Some(warnings))))
}

pub(crate) async fn patch(
    context: Context,
    _: NoParameters,
    MergePatch(patch): MergePatch,
) -> Result<Json<Integrations>, Error> {
    let org = context.org().await?;
    let (engine, caller) = (context.engine(), context.caller()?);
    let (settings, warnings) = org_policy::patch(engine, caller, &org, &patch).await?;
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
