//! `…/settings/retention`: how long runs, ledger and inputs are kept.

use portcullis_core::id::TokenId;
use portcullis_engine::Error;
use portcullis_engine::retention::{self, Retention, RetentionTerms};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::Json;
use crate::request::{Context, NoParameters, Typed};

/// Terms of an org to set. A member that is null or absent is no limit of the org's own.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetRetention {
    /// Days that runs are kept after their end.
    #[serde(default)]
    #[schemars(range(min = 1, max = 36500))]
    runs_days: Option<u32>,
    /// Days that records of the ledger are kept; never fewer than the platform's least number.
    #[serde(default)]
    #[schemars(range(min = 1, max = 36500))]
    ledger_days: Option<u32>,
    /// Days that inputs of runs are kept after their end.
    #[serde(default)]
    #[schemars(range(min = 1, max = 36500))]
    input_days: Option<u32>,
    /// Bytes of runs and ledger together: beyond them the oldest runs go, and then what of the ledger is older than the
    /// platform's least number of days.
    #[serde(default)]
    #[schemars(range(min = 1_048_576))]
    bytes: Option<u64>,
}

/// Terms of the platform to set, which count for every org. A member that is null or absent is no limit.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetPlatformRetention {
    /// Days that runs are kept after their end.
    #[serde(default)]
    #[schemars(range(min = 1, max = 36500))]
    runs_days: Option<u32>,
    /// Days that records of the ledger are kept; never fewer than `ledger_days_min`.
    #[serde(default)]
    #[schemars(range(min = 1, max = 36500))]
    ledger_days: Option<u32>,
    /// Days that inputs of runs are kept after their end.
    #[serde(default)]
    #[schemars(range(min = 1, max = 36500))]
    input_days: Option<u32>,
    /// Bytes of runs and ledger of one org together.
    #[serde(default)]
    #[schemars(range(min = 1_048_576))]
    bytes: Option<u64>,
    /// Days that records of the ledger are kept whatever else is set; 30 if absent.
    #[serde(default)]
    #[schemars(range(min = 1, max = 36500))]
    ledger_days_min: Option<u32>,
}

/// Terms; null is no limit.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Terms {
    /// Days that runs are kept after their end.
    runs_days: Option<u32>,
    /// Days that records of the ledger are kept.
    ledger_days: Option<u32>,
    /// Days that inputs of runs are kept after their end.
    input_days: Option<u32>,
    /// Bytes of runs and ledger together.
    bytes: Option<u64>,
    /// Days that records of the ledger are kept whatever else is set; only the platform sets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    ledger_days_min: Option<u32>,
}

/// Terms that were set, and by whom.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RetentionChange {
    /// When, RFC 3339.
    at: String,
    /// The token that set them.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<TokenId>,
    terms: Terms,
}

/// The terms of an org or of the platform.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RetentionSettings {
    /// What is set.
    #[serde(flatten)]
    terms: Terms,
    /// What counts now: for an org also what the platform set. A shorter term counts 24 hours after it was set.
    in_force: Terms,
    /// The last changes, newest first.
    changes: Vec<RetentionChange>,
}

impl Terms {
    const fn of(terms: RetentionTerms) -> Self {
        let RetentionTerms { runs_days, ledger_days, input_days, bytes, ledger_days_min } = terms;
        Self { runs_days, ledger_days, input_days, bytes, ledger_days_min }
    }
}

impl RetentionSettings {
    fn of(retention: Retention) -> Json<Self> {
        let (terms, in_force) = (Terms::of(retention.terms()), Terms::of(retention.in_force));
        let changes = retention.set.changes.into_iter().rev().map(|change| RetentionChange {
            at: change.at,
            token_id: change.token_id,
            terms: Terms::of(change.terms),
        });
        Json(Self { terms, in_force, changes: changes.collect() })
    }
}

pub(crate) async fn show(
    context: Context,
    _: NoParameters,
    (): (),
) -> Result<Json<RetentionSettings>, Error> {
    let org = context.org().await?;
    retention::show(context.engine(), context.caller()?, &org).await.map(RetentionSettings::of)
}

pub(crate) async fn replace(
    context: Context,
    _: NoParameters,
    Typed(wish): Typed<SetRetention>,
) -> Result<Json<RetentionSettings>, Error> {
    let org = context.org().await?;
    let SetRetention { runs_days, ledger_days, input_days, bytes } = wish;
    let terms = RetentionTerms { runs_days, ledger_days, input_days, bytes, ledger_days_min: None };
    let set = retention::replace(context.engine(), context.caller()?, &org, terms).await?;
    Ok(RetentionSettings::of(set))
}

pub(crate) async fn show_platform(
    context: Context,
    _: NoParameters,
    (): (),
) -> Result<Json<RetentionSettings>, Error> {
    retention::show_platform(context.engine(), context.caller()?).await.map(RetentionSettings::of)
}

pub(crate) async fn replace_platform(
    context: Context,
    _: NoParameters,
    Typed(wish): Typed<SetPlatformRetention>,
) -> Result<Json<RetentionSettings>, Error> {
    let SetPlatformRetention { runs_days, ledger_days, input_days, bytes, ledger_days_min } = wish;
    let terms = RetentionTerms { runs_days, ledger_days, input_days, bytes, ledger_days_min };
    let set = retention::replace_platform(context.engine(), context.caller()?, terms).await?;
    Ok(RetentionSettings::of(set))
}
