//! `/org/{org}/automation/…/preview`: what an automation would do with a source.

use axum::body::Body;
use http::{Response, StatusCode};
use portcullis_core::fault::Code;
use portcullis_core::verdict::Decision;
use portcullis_core::violation::Violation;
use portcullis_engine::Error;
use portcullis_engine::automations::AutomationDefinition;
use portcullis_engine::previews::{self, JudgedCondition, Preview, PreviewWish};
use portcullis_engine::runs::{DryRequest, SkipReason};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::answer::{Answer, Content, JSON, json};
use crate::request::{Context, NoParameters, Typed};

/// What a preview is made with.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PreviewBody {
    /// The document that conditions and mapping read.
    source: Map<String, Value>,
    /// The workspace whose connection is used. Without it, what a workspace gives is shown by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workspace: Option<String>,
}

/// An automation that is not saved, and what its preview is made with.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DraftPreviewBody {
    /// The automation, as it would be saved.
    automation: AutomationDefinition,
    /// The document that conditions and mapping read.
    source: Map<String, Value>,
    /// The workspace whose connection is used. Without it, what a workspace gives is shown by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workspace: Option<String>,
}

/// What an automation would do. Nothing was sent.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Preview")]
struct PreviewDocument<'p> {
    /// Each entry condition by itself.
    conditions: &'p [JudgedCondition],
    /// Whether it would fire: it is switched on, and its conditions hold together.
    fires: bool,
    /// What the mapping makes of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Map<String, Value>")]
    input: Option<&'p Map<String, Value>>,
    /// The request as it would be sent; absent if there would be none.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<DryRequest<'p>>,
    /// Hash of the request before its credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_hash: Option<&'p str>,
    /// The checks of the request, in order.
    decisions: &'p [Decision],
    /// When its schedule would fire next, RFC 3339.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    next_times: &'p [String],
    /// Why the call would be skipped, whatever the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<SkipReason>,
    /// What is wrong with the source, the mapping or the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<PreviewProblem<'p>>,
}

/// Why there would be no request, or why the automation would not fire.
#[derive(Serialize, JsonSchema)]
struct PreviewProblem<'p> {
    code: Code,
    /// The reason as a sentence for people.
    message: &'p str,
    /// Every violation.
    #[serde(skip_serializing_if = "<[Violation]>::is_empty")]
    errors: &'p [Violation],
}

impl<'p> PreviewDocument<'p> {
    fn of(preview: &'p Preview) -> Self {
        let progress = preview.run.as_ref().map(|run| &run.progress);
        let shown = progress.and_then(|progress| progress.dry_run.as_ref());
        Self {
            conditions: &preview.conditions,
            fires: preview.fires,
            input: preview.input.as_ref(),
            request: shown.map(DryRequest::of),
            request_hash: shown.map(|shown| shown.hash.as_str()),
            decisions: progress.map_or(&[], |progress| &progress.decisions),
            next_times: &preview.next_times,
            reason: preview.reason,
            problem: preview.problem.as_ref().map(|error| PreviewProblem {
                code: error.code,
                message: &error.detail,
                errors: &error.violations,
            }),
        }
    }
}

/// The answer to a preview.
pub(crate) struct PreviewAnswer(Preview);

impl Answer for PreviewAnswer {
    fn content(generator: &mut SchemaGenerator) -> Content {
        vec![(JSON, Some(generator.subschema_for::<PreviewDocument<'static>>()))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        json(StatusCode::OK, &PreviewDocument::of(&self.0))
    }
}

pub(crate) async fn stored(
    context: Context,
    _: NoParameters,
    Typed(body): Typed<PreviewBody>,
) -> Result<PreviewAnswer, Error> {
    let org = context.org().await?;
    let PreviewBody { source, workspace } = body;
    let wish = PreviewWish { source, workspace, commitment: context.commitment.clone() };
    let (engine, caller, id) = (context.engine(), context.caller()?, context.path("id"));
    previews::of_stored(engine, caller, &org, id, wish).await.map(PreviewAnswer)
}

pub(crate) async fn draft(
    context: Context,
    _: NoParameters,
    Typed(body): Typed<DraftPreviewBody>,
) -> Result<PreviewAnswer, Error> {
    let org = context.org().await?;
    let DraftPreviewBody { automation, source, workspace } = body;
    let wish = PreviewWish { source, workspace, commitment: context.commitment.clone() };
    previews::of_draft(context.engine(), context.caller()?, &org, &automation, wish).await.map(PreviewAnswer)
}
