//! `/run/{org}/{ws}`: calls actions, fires automations, reads records of runs.

use axum::body::Body;
use http::{Response, StatusCode};
use portcullis_core::fault::Code;
use portcullis_engine::Error;
use portcullis_engine::runs::{self, DryRunDocument, FireAutomation, Run, RunAction, RunDocument, StoredRun};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::answer::{Answer, Content, JSON, Json, json};
use crate::request::{CallBody, Context, NoParameters, OneMember, Parameters};

/// Input of a call.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunInput {
    /// A value for each input of the action.
    #[serde(default)]
    input: Map<String, Value>,
}

impl OneMember for RunInput {
    const MEMBER: &'static str = "input";

    fn of(input: Map<String, Value>) -> Self {
        Self { input }
    }
}

/// The source of an automation.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunSource {
    /// The document that the mapping reads.
    #[serde(default)]
    source: Map<String, Value>,
}

impl OneMember for RunSource {
    const MEMBER: &'static str = "source";

    fn of(source: Map<String, Value>) -> Self {
        Self { source }
    }
}

/// Options of a run. An option that decides whether something is sent must not be ignored.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunParameters {
    /// Show the request that would be sent, with names in place of secrets, and send nothing.
    #[serde(default)]
    dry_run: bool,
    /// Not implemented in this version: a request with it is refused.
    #[serde(rename = "Idempotency-Key", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 255), extend("x-in" = "header"))]
    idempotency_key: Option<String>,
    /// `respond-async` is not implemented in this version: a request with it is refused.
    #[serde(rename = "Prefer", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("x-in" = "header"))]
    prefer: Option<String>,
}

impl Parameters for RunParameters {}

impl RunParameters {
    fn dry_run(self) -> Result<bool, Error> {
        if self.prefer.is_some_and(|prefer| prefer.contains("respond-async")) {
            let detail = "Prefer: respond-async is not implemented in this version";
            return Err(Error::new(Code::BadRequest, detail));
        }
        if self.idempotency_key.is_some() {
            let detail = "Idempotency-Key is not implemented on runs in this version";
            return Err(Error::new(Code::BadRequest, detail));
        }
        Ok(self.dry_run)
    }
}

/// A run, or what a dry run shows.
pub(crate) struct RunAnswer(Run);

impl Answer for RunAnswer {
    fn content(generator: &mut SchemaGenerator) -> Content {
        let run = generator.subschema_for::<RunDocument<'static>>();
        let dry_run = generator.subschema_for::<DryRunDocument<'static>>();
        vec![(JSON, Some(schemars::json_schema!({ "anyOf": [run, dry_run] })))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        match self.0.dry_run_document() {
            Some(dry_run) => json(StatusCode::OK, &dry_run),
            None => json(StatusCode::OK, &self.0.document()),
        }
    }
}

pub(crate) async fn run_action(
    context: Context,
    how: RunParameters,
    CallBody(RunInput { input }): CallBody<RunInput>,
) -> Result<RunAnswer, Error> {
    let tenant = context.tenant().await?;
    let wish = RunAction {
        connector_id: context.path("id").to_owned(),
        action_id: context.path("action").to_owned(),
        input,
        dry_run: how.dry_run()?,
        commitment: context.commitment.clone(),
    };
    runs::run_action(context.engine(), context.caller()?, &tenant, wish).await.map(RunAnswer)
}

pub(crate) async fn fire_automation(
    context: Context,
    how: RunParameters,
    CallBody(RunSource { source }): CallBody<RunSource>,
) -> Result<RunAnswer, Error> {
    let tenant = context.tenant().await?;
    let wish = FireAutomation {
        automation_id: context.path("id").to_owned(),
        source,
        dry_run: how.dry_run()?,
        commitment: context.commitment.clone(),
    };
    runs::fire_automation(context.engine(), context.caller()?, &tenant, wish).await.map(RunAnswer)
}

pub(crate) async fn show(context: Context, _: NoParameters, (): ()) -> Result<Json<StoredRun>, Error> {
    let tenant = context.tenant().await?;
    runs::show(context.engine(), context.caller()?, &tenant, context.path("run_id")).await.map(Json)
}
