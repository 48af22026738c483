//! `Idempotency-Key` on runs and events: the answer that had a run is kept, and given again.

use std::future::Future;

use axum::body::Body;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use portcullis_core::fault::Code;
use portcullis_engine::call::done::{Replay, replayed};
use portcullis_engine::idempotency::{Claim, Claimed, KeptAnswer, KeyedRequest, claim, fingerprint};
use portcullis_engine::jobs::{self, RunView};
use portcullis_engine::runs::{CallIdentity, EndReason};
use portcullis_engine::tenants::Tenant;
use portcullis_engine::{Error, runs};
use serde::{Deserialize, Serialize};

use crate::answer::{JSON, json};
use crate::request::Context;
use crate::v1::jobs::{accepted, location};
use crate::v1::runs::{RunAnswer, marked};
use crate::{pieces, problem};

/// That an answer is one that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// An answer that was given before.
pub(crate) enum Replayed {
    /// As it was.
    Kept(KeptAnswer),
    /// It was cut off; the run, of this path, answers for it.
    Run(RunView, String),
}

impl Replayed {
    pub(crate) fn into_response(self) -> Result<Response<Body>, Error> {
        let mut response = match self {
            Self::Kept(answer) => kept(answer),
            Self::Run(RunView::Ended(run), _) => {
                let skipped = run.skip_reason();
                marked(json(StatusCode::OK, &run.without_output())?, skipped)
            }
            Self::Run(RunView::Waiting(run), location) => accepted(&run, &location)?,
        };
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        Ok(response)
    }
}

/// What is looked for in the kept answer to a run.
#[derive(Deserialize)]
struct KeptRun {
    reason: Option<EndReason>,
}

fn kept(answer: KeptAnswer) -> Response<Body> {
    // Why read again: the header is no part of what is kept. Only of a run that was skipped is there a reason with 200.
    let skipped = match answer.status {
        200 => serde_json::from_str::<KeptRun>(&answer.body).ok().and_then(|run| run.reason),
        _ => None,
    };
    let mut response = marked(Response::new(pieces::body(answer.body)), skipped);
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.status_mut() = status;
    let media = if status.is_success() { JSON } else { problem::MEDIA };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    if let Some(location) = answer.location.as_deref().and_then(|path| HeaderValue::from_str(path).ok()) {
        headers.insert(LOCATION, location);
    }
    response
}

/// An answer that is kept for repeats of its request.
pub(crate) trait Keep: Sized {
    /// Whether a request that was cut off may be served again: it finds out by itself what it did before.
    const IS_RESUMABLE: bool;

    /// A repeat.
    fn again(replayed: Replayed) -> Self;

    /// The answer as it is kept; `None` if the request is to be served again when it comes again: with its key where it is
    /// resumable and has an answer, or as a first one.
    fn kept_form(context: &Context, answer: &Result<Self, Error>) -> Result<Option<KeptAnswer>, Error>;
}

/// Serves a request with its key: the first time by `serve`, then by what that answered. `body` is what the key is bound
/// to besides method and path.
pub(crate) async fn once<A: Keep, F: Future<Output = Result<A, Error>>>(
    context: &Context,
    tenant: &Tenant,
    key: Option<String>,
    body: &impl Serialize,
    serve: impl FnOnce(CallIdentity) -> F,
) -> Result<A, Error> {
    let Some(key) = key else { return serve(CallIdentity::default()).await };
    let claimed = match claimed(context, tenant, (&key, A::IS_RESUMABLE), body).await? {
        Claim::Repeat(answer) => {
            note_replay(context, tenant, None);
            return Ok(A::again(Replayed::Kept(answer)));
        }
        Claim::CutOff(run) => {
            note_replay(context, tenant, Some(run.as_str()));
            let view = jobs::known(context.engine(), tenant, &run).await?;
            return Ok(A::again(Replayed::Run(view, location(context, run.as_str()))));
        }
        Claim::First(claimed) => *claimed,
    };
    let answer = serve(CallIdentity { key: Some(key), run_id: Some(claimed.run_id()) }).await;
    settle(context, claimed, &answer).await;
    answer
}

/// The line of a repeat. Why without the run where an answer was kept: that is sealed text, and may be of an event.
fn note_replay(context: &Context, tenant: &Tenant, run_id: Option<&str>) {
    let path = |name| Some(context.path(name)).filter(|text| !text.is_empty());
    let action = path("action");
    // Why by the action: an automation's path has an id and no action.
    let (connector, automation_id) = if action.is_some() { (path("id"), None) } else { (None, path("id")) };
    replayed(tenant, &Replay { run_id, connector, action, automation_id, event_id: None });
}

/// Claims a key for a request.
async fn claimed(
    context: &Context,
    tenant: &Tenant,
    (key, is_resumable): (&str, bool),
    body: &impl Serialize,
) -> Result<Claim, Error> {
    let (engine, caller) = (context.engine(), context.caller()?);
    let text = serde_json::to_vec(body).map_err(|_| Error::plain(Code::Internal))?;
    let bound = fingerprint("POST", &called_path(context), &text);
    let commitment = &context.commitment;
    claim(engine, caller, tenant, KeyedRequest { key, fingerprint: &bound, commitment, is_resumable }).await
}

/// What a request calls.
fn called_path(context: &Context) -> String {
    ["org", "ws", "id", "action"].map(|name| context.path(name)).join("/")
}

/// Keeps an answer that had a run, and gives the key of any other back.
async fn settle<A: Keep>(context: &Context, claimed: Claimed, answer: &Result<A, Error>) {
    let kept = match A::kept_form(context, answer) {
        Ok(Some(kept)) => claimed.keep(&kept).await,
        Ok(None) if A::IS_RESUMABLE && answer.is_ok() => claimed.leave_open().await,
        Ok(None) => claimed.release().await,
        Err(error) => Err(error),
    };
    if let Err(error) = kept {
        // Why only logged: the call was made, and an error would invite a repeat.
        tracing::error!(code = %error.code, "an answer could not be kept for repeats of its request");
    }
}

impl Keep for RunAnswer {
    // Why not: whether its run was carried out, only a person can find out.
    const IS_RESUMABLE: bool = false;

    fn again(replayed: Replayed) -> Self {
        Self::Again(replayed)
    }

    fn kept_form(context: &Context, answer: &Result<Self, Error>) -> Result<Option<KeptAnswer>, Error> {
        let internal = |_| Error::plain(Code::Internal);
        let (status, run, body) = match answer {
            Ok(Self::Later(run, location)) => {
                let body = serde_json::to_string(run).map_err(internal)?;
                return Ok(Some(KeptAnswer { status: 202, location: Some(location.clone()), body }));
            }
            Ok(Self::Again(_)) => return Ok(None),
            Ok(Self::Now(run)) => (200, run, serde_json::to_string(&run.document()).map_err(internal)?),
            // Why not kept: nothing was sent, and a repeat is to be made once the third party works again.
            Err(error) if error.code == Code::CircuitOpen => return Ok(None),
            Err(error) => match &error.run {
                Some(run) => (error.code.status(), run, problem::text(error, context.request_id())),
                None => return Ok(None),
            },
        };
        let at_most = context.engine().limits().idempotency_answer_bytes;
        let body = if body.len() as u64 > at_most { shortened(context, answer, run)? } else { body };
        Ok(Some(KeptAnswer { status, location: None, body }))
    }
}

/// An answer whose run has no output.
fn shortened(context: &Context, answer: &Result<RunAnswer, Error>, run: &runs::Run) -> Result<String, Error> {
    let short = run.document_without_output();
    match answer {
        Err(error) => Ok(problem::text_with(error, context.request_id(), short)),
        Ok(_) => serde_json::to_string(&short).map_err(|_| Error::plain(Code::Internal)),
    }
}
