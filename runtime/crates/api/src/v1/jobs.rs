//! `/run/{org}/{ws}/{run_id}` and `/org/{org}/run/redrive`: runs that were accepted to be executed later are read, waited
//! for, cancelled, run again and taken up again.

use axum::body::Body;
use http::header::LOCATION;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use portcullis_core::id::ConnectionName;
use portcullis_engine::Error;
use portcullis_engine::jobs::{self, Accepted, JobStatus, Redrive, RerunDefinition, RunView, WaitingRun};
use portcullis_engine::runs::{EndReason, RunDocument, StoredRun};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, AnswerHeader, Content, JSON, Json, LOCATION_HEADER, json};
use crate::request::{Context, NoParameters, Parameters, Typed};
use crate::v1::runs::{RunAnswer, SKIPPED_HEADER};

/// That the caller's preference was followed (RFC 7240).
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The path of a run of the request's workspace.
pub(crate) fn location(context: &Context, run: &str) -> String {
    format!("/run/{}/{}/{run}", context.path("org"), context.path("ws"))
}

/// 202 with a run that was accepted.
pub(crate) fn accepted(run: &WaitingRun, location: &str) -> Result<Response<Body>, Error> {
    let mut response = json(StatusCode::ACCEPTED, run)?;
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(location) {
        headers.insert(LOCATION, location);
    }
    headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
    Ok(response)
}

/// A run before or after its end.
pub(crate) struct View(RunView);

impl Answer for View {
    fn content(generator: &mut SchemaGenerator) -> Content {
        let ended = generator.subschema_for::<StoredRun>();
        let waiting = generator.subschema_for::<WaitingRun>();
        vec![(JSON, Some(schemars::json_schema!({ "anyOf": [ended, waiting] })))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        json(StatusCode::OK, &self.0)
    }
}

/// How a run is read.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShowParameters {
    /// Answer when the run has ended, at most after this many seconds.
    #[serde(default)]
    #[schemars(range(max = 60))]
    wait: u64,
}

impl Parameters for ShowParameters {}

pub(crate) async fn show(context: Context, how: ShowParameters, (): ()) -> Result<View, Error> {
    let tenant = context.tenant().await?;
    let id = context.path("run_id");
    jobs::show(context.engine(), context.caller()?, &tenant, id, how.wait).await.map(View)
}

pub(crate) async fn cancel(context: Context, _: NoParameters, (): ()) -> Result<View, Error> {
    let tenant = context.tenant().await?;
    jobs::cancel(context.engine(), context.caller()?, &tenant, context.path("run_id")).await.map(View)
}

/// Which definition a run is made again with.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum DefinitionChoice {
    /// The input as it was made then, for the action as it was in the revision of the definition that the run was made
    /// with. What the call may do is decided by the definition in force.
    #[default]
    Same,
    /// The definition in force; the source of an automation's run is mapped again by the automation of now.
    Newest,
}

/// How a run is run again. It may do the same a second time: it has a key of its own.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rerun {
    /// Which definition it is made with.
    #[serde(default)]
    definition: DefinitionChoice,
}

/// A run that was accepted, or one that has ended because there was nothing to do.
pub(crate) struct Reaccepted(RunAnswer);

impl Answer for Reaccepted {
    const STATUS: StatusCode = StatusCode::ACCEPTED;
    const OTHER_STATUSES: &'static [StatusCode] = &[StatusCode::OK];
    const HEADERS: &'static [AnswerHeader] = &[LOCATION_HEADER, SKIPPED_HEADER];

    fn content(generator: &mut SchemaGenerator) -> Content {
        let waiting = generator.subschema_for::<WaitingRun>();
        let run = generator.subschema_for::<RunDocument<'static>>();
        vec![(JSON, Some(schemars::json_schema!({ "anyOf": [waiting, run] })))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        self.0.into_response()
    }
}

pub(crate) async fn rerun(
    context: Context,
    _: NoParameters,
    Typed(Rerun { definition }): Typed<Rerun>,
) -> Result<Reaccepted, Error> {
    let tenant = context.tenant().await?;
    let definition = match definition {
        DefinitionChoice::Same => RerunDefinition::Same,
        DefinitionChoice::Newest => RerunDefinition::Newest,
    };
    let (engine, caller) = (context.engine(), context.caller()?);
    let accepted: Accepted = jobs::rerun(engine, caller, &tenant, context.path("run_id"), definition).await?;
    Ok(Reaccepted(RunAnswer::of(accepted, &context)))
}

/// States from which runs can be taken up again.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum GivenUp {
    /// It did not succeed in time, or cannot be tried again.
    Dead,
    /// Nothing could be called.
    Skipped,
}

/// Which runs are taken up again: those that all members match.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedriveRuns {
    /// The workspace; all of the org by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    workspace: Option<String>,
    /// How they ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "GivenUp")]
    status: Option<GivenUp>,
    /// Code of the last try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    code: Option<String>,
    /// The connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    connector_id: Option<String>,
    /// The name of a connection; `default` for those without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ConnectionName")]
    connection: Option<String>,
    /// The action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    action_id: Option<String>,
    /// The automation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    automation_id: Option<String>,
    /// Ended at this time or later, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    since: Option<String>,
    /// Ended before this time, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    until: Option<String>,
    /// Why they were given up or skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "EndReason")]
    reason: Option<EndReason>,
    /// Send the vendor another key than before: it may do again what it has done.
    #[serde(default)]
    new_key: bool,
}

impl From<RedriveRuns> for Redrive {
    fn from(wish: RedriveRuns) -> Self {
        let status = wish.status.map(|status| match status {
            GivenUp::Dead => JobStatus::Dead,
            GivenUp::Skipped => JobStatus::Skipped,
        });
        Self {
            workspace: wish.workspace,
            status,
            code: wish.code,
            connector_id: wish.connector_id,
            connection: wish.connection,
            action_id: wish.action_id,
            automation_id: wish.automation_id,
            reason: wish.reason,
            since: wish.since,
            until: wish.until,
            new_key: wish.new_key,
        }
    }
}

/// How many runs were taken up again.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Redriven {
    /// Their number; ask again until it is 0.
    count: u64,
    /// Runs that match and were left as they are, as far as they were met: they may have been carried out, and a repeat
    /// with the key that they had may do harm. `new_key` makes them again all the same.
    #[serde(skip_serializing_if = "is_zero")]
    not_repeatable: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

pub(crate) async fn redrive(
    context: Context,
    _: NoParameters,
    Typed(wish): Typed<RedriveRuns>,
) -> Result<Json<Redriven>, Error> {
    let org = context.org().await?;
    let done = jobs::redrive(context.engine(), context.caller()?, &org, &wish.into()).await?;
    Ok(Json(Redriven { count: done.count, not_repeatable: done.not_repeatable }))
}
