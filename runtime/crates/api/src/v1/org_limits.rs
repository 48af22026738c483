//! `…/org/{org}/limits`: how much an org may run and store. The platform sets it; the org reads it.

use portcullis_engine::Error;
use portcullis_engine::org_limits::{self, OrgLimits, OrgLimitsView, OrgLimitsWish};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::{Json, NoContent};
use crate::request::{Context, NoParameters, Typed};

/// Limits of an org to set. A member that is null or absent is no limit of the org's own.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetOrgLimits {
    /// Calls at once over all workspaces, of one process; at most `limits.concurrent_calls`.
    #[serde(default)]
    #[schemars(range(min = 1))]
    calls_in_flight: Option<u64>,
    /// Calls within a minute over all workspaces, of one process; at most `limits.org_calls_per_minute`.
    #[serde(default)]
    #[schemars(range(min = 1))]
    calls_per_minute: Option<u64>,
    /// Bytes of runs, ledger, inputs and kept answers; at most `limits.org_stored_bytes`. Beyond them no further run is
    /// accepted; calls that wait for their answer go on.
    #[serde(default)]
    #[schemars(range(min = 1))]
    stored_bytes: Option<u64>,
}

/// Numbers of calls and bytes.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OrgNumbers {
    /// Calls at once over all workspaces, of this process.
    calls_in_flight: u64,
    /// Calls within a minute over all workspaces, of this process.
    calls_per_minute: u64,
    /// Bytes of runs, ledger, inputs and kept answers.
    stored_bytes: u64,
}

/// The limits of an org.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OrgLimitSettings {
    /// Calls at once; null is no limit of the org's own.
    calls_in_flight: Option<u64>,
    /// Calls within a minute; null is no limit of the org's own.
    calls_per_minute: Option<u64>,
    /// Bytes that are stored; null is no limit of the org's own.
    stored_bytes: Option<u64>,
    /// When they were last set, RFC 3339; absent if they never were.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
    /// What counts: the lower one of the org's own limit and the platform's.
    in_force: OrgNumbers,
    /// What the org uses: calls that run now and those of the last minute, both of the process that answers, and bytes
    /// as they were measured within the last minute.
    used: OrgNumbers,
}

impl OrgNumbers {
    const fn of(limits: OrgLimits) -> Self {
        let OrgLimits { calls_in_flight, calls_per_minute, stored_bytes } = limits;
        Self { calls_in_flight, calls_per_minute, stored_bytes }
    }
}

impl OrgLimitSettings {
    fn of(view: OrgLimitsView) -> Json<Self> {
        let (in_force, used) = (OrgNumbers::of(view.in_force), OrgNumbers::of(view.used));
        let updated_at = view.set.as_ref().map(|set| set.updated_at.clone());
        let set = view.set.unwrap_or_default();
        Json(Self {
            calls_in_flight: set.calls_in_flight,
            calls_per_minute: set.calls_per_minute,
            stored_bytes: set.stored_bytes,
            updated_at,
            in_force,
            used,
        })
    }
}

pub(crate) async fn show(context: Context, _: NoParameters, (): ()) -> Result<Json<OrgLimitSettings>, Error> {
    let org = context.org().await?;
    org_limits::show(context.engine(), context.caller()?, &org).await.map(OrgLimitSettings::of)
}

pub(crate) async fn show_for_platform(
    context: Context,
    _: NoParameters,
    (): (),
) -> Result<Json<OrgLimitSettings>, Error> {
    let org = context.org().await?;
    org_limits::show_for_platform(context.engine(), context.caller()?, &org).await.map(OrgLimitSettings::of)
}

pub(crate) async fn replace(
    context: Context,
    _: NoParameters,
    Typed(wish): Typed<SetOrgLimits>,
) -> Result<Json<OrgLimitSettings>, Error> {
    let org = context.org().await?;
    let SetOrgLimits { calls_in_flight, calls_per_minute, stored_bytes } = wish;
    let wish = OrgLimitsWish { calls_in_flight, calls_per_minute, stored_bytes };
    org_limits::replace(context.engine(), context.caller()?, &org, wish).await.map(OrgLimitSettings::of)
}

pub(crate) async fn remove(context: Context, _: NoParameters, (): ()) -> Result<NoContent, Error> {
    let org = context.org().await?;
    org_limits::remove(context.engine(), context.caller()?, &org).await?;
    Ok(NoContent)
}
