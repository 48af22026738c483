//! `/run/{org}/{ws}`: calls actions, fires automations, now or later, and lists records of runs.

use axum::body::Body;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use portcullis_core::id::ConnectionName;
use portcullis_engine::Error;
use portcullis_engine::jobs::{Accepted, Asynchronously, WaitingRun};
use portcullis_engine::runs::{
    self, DryRunDocument, EndReason, FireAutomation, Run, RunAction, RunDocument, StoredRun,
};
use portcullis_engine::tenants::Tenant;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::answer::{Answer, AnswerHeader, Content, JSON, LOCATION_HEADER, json};
use crate::request::{CallBody, Context, OneMember, Parameters};
use crate::v1::idempotent::{Replayed, once};
use crate::v1::jobs;

/// Input of a call.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunInput {
    /// A value for each input of the action.
    #[serde(default)]
    input: Map<String, Value>,
    /// Which of the workspace's connections it is made through; the default one if left out. Where the workspace has none
    /// of this name, the call is skipped, as where it has not configured the connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ConnectionName")]
    connection: Option<String>,
    /// Before when it is not begun, RFC 3339; only with `Prefer: respond-async`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    not_before: Option<String>,
}

impl OneMember for RunInput {
    const MEMBER: &'static str = "input";
    const EXAMPLE: &'static str = r#"{"input": {}}"#;

    fn of(input: Map<String, Value>) -> Self {
        Self { input, connection: None, not_before: None }
    }
}

/// The source of an automation.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunSource {
    /// The document that the mapping reads.
    #[serde(default)]
    source: Map<String, Value>,
    /// Before when it is not begun, RFC 3339; only with `Prefer: respond-async`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    not_before: Option<String>,
}

impl OneMember for RunSource {
    const MEMBER: &'static str = "source";
    const EXAMPLE: &'static str = r#"{"source": {}}"#;

    fn of(source: Map<String, Value>) -> Self {
        Self { source, not_before: None }
    }
}

/// Options of a run. An option that decides whether something is sent must not be ignored.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunParameters {
    /// Show the request that would be sent, with names in place of secrets, and send nothing.
    #[serde(default)]
    dry_run: bool,
    /// A key of the caller's choice: a repeat of the request with the same key is answered as the first one was, for a
    /// day. A dry run needs none.
    #[serde(rename = "Idempotency-Key", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 255), extend("x-in" = "header"))]
    idempotency_key: Option<String>,
    /// With `respond-async` the run is accepted, and executed later; a dry run is answered at once.
    #[serde(rename = "Prefer", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("x-in" = "header"))]
    prefer: Option<String>,
}

impl Parameters for RunParameters {}

/// How a run is made.
struct How {
    dry_run: bool,
    /// The caller's key.
    key: Option<String>,
    /// Executed later.
    later: Option<Asynchronously>,
}

impl RunParameters {
    fn how(self, not_before: Option<String>) -> Result<How, Error> {
        let later = asynchronously(self.prefer.as_deref(), not_before)?.filter(|_| !self.dry_run);
        let key = self.idempotency_key.filter(|_| !self.dry_run);
        Ok(How { dry_run: self.dry_run, key, later })
    }
}

/// That a run is executed later, if the caller prefers that.
pub(crate) fn asynchronously(
    prefer: Option<&str>,
    not_before: Option<String>,
) -> Result<Option<Asynchronously>, Error> {
    if prefer.is_some_and(prefers_async) {
        return Ok(Some(Asynchronously { not_before }));
    }
    match not_before {
        None => Ok(None),
        Some(_) => {
            let message = "not_before needs the header Prefer: respond-async";
            Err(Error::violation("/not_before", "needs_respond_async", message))
        }
    }
}

/// Whether a `Prefer` has `respond-async` (RFC 7240): a preference ends with a comma, and its parameters begin with a
/// semicolon.
fn prefers_async(prefer: &str) -> bool {
    let mut names = prefer.split(',').map(|one| one.split(';').next().unwrap_or_default().trim());
    names.any(|name| name.eq_ignore_ascii_case("respond-async"))
}

/// Why nothing was called: an answer of 200 is easily taken for a success.
const SKIPPED: HeaderName = HeaderName::from_static("portcullis-skipped");
pub(crate) const SKIPPED_HEADER: AnswerHeader = AnswerHeader {
    name: "Portcullis-Skipped",
    description: "Why nothing was called; only where the run was skipped",
};

/// An answer that says in a header, too, that its run was skipped.
pub(crate) fn marked(mut response: Response<Body>, reason: Option<EndReason>) -> Response<Body> {
    if let Some(reason) = reason {
        response.headers_mut().insert(SKIPPED, HeaderValue::from_static(reason.as_str()));
    }
    response
}

/// A run, what a dry run shows, or a run that was accepted.
pub(crate) enum RunAnswer {
    Now(Box<Run>),
    Later(Box<WaitingRun>, String),
    /// One that was given before.
    Again(Replayed),
}

impl Answer for RunAnswer {
    const OTHER_STATUSES: &'static [StatusCode] = &[StatusCode::ACCEPTED];
    const HEADERS: &'static [AnswerHeader] = &[LOCATION_HEADER, SKIPPED_HEADER];

    fn content(generator: &mut SchemaGenerator) -> Content {
        let run = generator.subschema_for::<RunDocument<'static>>();
        let dry_run = generator.subschema_for::<DryRunDocument<'static>>();
        let waiting = generator.subschema_for::<WaitingRun>();
        let stored = generator.subschema_for::<StoredRun>();
        vec![(JSON, Some(schemars::json_schema!({ "anyOf": [run, dry_run, waiting, stored] })))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        let run = match self {
            Self::Now(run) => run,
            Self::Later(run, location) => return jobs::accepted(&run, &location),
            Self::Again(replayed) => return replayed.into_response(),
        };
        match run.dry_run_document() {
            Some(dry_run) => json(StatusCode::OK, &dry_run),
            None => {
                Ok(marked(json(StatusCode::OK, &run.document())?, run.skip_reason().map(EndReason::from)))
            }
        }
    }
}

impl RunAnswer {
    pub(crate) fn of(accepted: Accepted, context: &Context) -> Self {
        match accepted {
            Accepted::Queued(run) => {
                let location = jobs::location(context, run.run_id.as_str());
                Self::Later(run, location)
            }
            Accepted::Ended(run) => Self::Now(run),
        }
    }
}

pub(crate) async fn run_action(
    context: Context,
    how: RunParameters,
    CallBody(RunInput { input, connection, not_before }): CallBody<RunInput>,
) -> Result<RunAnswer, Error> {
    let tenant = context.tenant().await?;
    runs::check_action(context.caller()?, &tenant, context.path("id"), context.path("action"))?;
    let How { dry_run, key, later } = how.how(not_before.clone())?;
    let bound = key.as_ref().map(|_| Bound::of((input.clone(), not_before), connection.clone()));
    let (at, of) = (&context, &tenant);
    once(at, of, key, &bound, |identity| async move {
        let wish = RunAction {
            connector_id: at.path("id").to_owned(),
            connection,
            action_id: at.path("action").to_owned(),
            input,
            dry_run,
            identity,
            commitment: at.commitment.clone(),
        };
        call(at, of, wish, later).await
    })
    .await
}

/// What a key is bound to. Why two forms: without a connection it is what it was before there were names, so that a key
/// that is known goes on being known.
#[derive(Serialize)]
#[serde(untagged)]
enum Bound<B> {
    Default(B),
    Named(B, String),
}

impl<B> Bound<B> {
    fn of(body: B, connection: Option<String>) -> Self {
        match connection {
            None => Self::Default(body),
            Some(connection) => Self::Named(body, connection),
        }
    }
}

/// Calls an action, now or later.
async fn call(
    at: &Context,
    of: &Tenant,
    wish: RunAction,
    later: Option<Asynchronously>,
) -> Result<RunAnswer, Error> {
    let (engine, caller) = (at.engine(), at.caller()?);
    match later {
        Some(how) => {
            let accepted = runs::run_action_later(engine, caller, of, wish, how).await?;
            Ok(RunAnswer::of(accepted, at))
        }
        None => Ok(RunAnswer::Now(Box::new(runs::run_action(engine, caller, of, wish).await?))),
    }
}

pub(crate) async fn fire_automation(
    context: Context,
    how: RunParameters,
    CallBody(RunSource { source, not_before }): CallBody<RunSource>,
) -> Result<RunAnswer, Error> {
    let tenant = context.tenant().await?;
    runs::check_automation(context.engine(), context.caller()?, &tenant, context.path("id")).await?;
    let How { dry_run, key, later } = how.how(not_before.clone())?;
    let bound = key.as_ref().map(|_| (source.clone(), not_before));
    let (at, of) = (&context, &tenant);
    once(at, of, key, &bound, |identity| async move {
        let wish = FireAutomation {
            automation_id: at.path("id").to_owned(),
            source,
            dry_run,
            identity,
            commitment: at.commitment.clone(),
        };
        fire(at, of, wish, later).await
    })
    .await
}

/// Fires an automation, whose call is made now or later.
async fn fire(
    at: &Context,
    of: &Tenant,
    wish: FireAutomation,
    later: Option<Asynchronously>,
) -> Result<RunAnswer, Error> {
    let (engine, caller) = (at.engine(), at.caller()?);
    match later {
        Some(how) => {
            let accepted = runs::fire_automation_later(engine, caller, of, wish, how).await?;
            Ok(RunAnswer::of(accepted, at))
        }
        None => Ok(RunAnswer::Now(Box::new(runs::fire_automation(engine, caller, of, wish).await?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn respond_async_is_found_among_other_preferences() {
        for wanted in
            ["respond-async", "Respond-Async", "wait=10, respond-async", "return=minimal, respond-async; x=1"]
        {
            assert!(prefers_async(wanted), "{wanted}");
        }
        for other in ["", "return=minimal", "respond-asynchronously", "x=respond-async", "respond-async=1"] {
            assert!(!prefers_async(other), "{other}");
        }
    }
}
