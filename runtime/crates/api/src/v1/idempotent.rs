//! `Idempotency-Key` on runs: the answer that had a run is kept, and given again.

use std::future::Future;

use axum::body::Body;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use portcullis_core::fault::Code;
use portcullis_engine::idempotency::{Claim, Claimed, KeptAnswer, claim, fingerprint};
use portcullis_engine::jobs::{self, RunView};
use portcullis_engine::runs::CallIdentity;
use portcullis_engine::tenants::Tenant;
use portcullis_engine::{Error, runs};
use serde::Serialize;

use crate::answer::{JSON, json};
use crate::request::Context;
use crate::v1::jobs::location;
use crate::v1::runs::RunAnswer;
use crate::{pieces, problem};

/// That an answer is one that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// An answer that was given before.
pub(crate) enum Replayed {
    /// As it was.
    Kept(KeptAnswer),
    /// It was cut off; the run answers for it.
    Run(RunView),
}

/// A run with the note that its output is not kept.
#[derive(Serialize)]
struct WithoutOutput<'v> {
    #[serde(flatten)]
    run: &'v RunView,
    output_kept: bool,
}

impl Replayed {
    pub(crate) fn into_response(self) -> Result<Response<Body>, Error> {
        let mut response = match self {
            Self::Kept(answer) => kept(answer),
            Self::Run(run) => json(StatusCode::OK, &WithoutOutput { run: &run, output_kept: false })?,
        };
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        Ok(response)
    }
}

fn kept(answer: KeptAnswer) -> Response<Body> {
    let mut response = Response::new(pieces::body(answer.body));
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

/// Serves a request with its key: the first time by `serve`, then by what that answered. `body` is what the key is bound
/// to besides method and path.
pub(crate) async fn once<F: Future<Output = Result<RunAnswer, Error>>>(
    context: &Context,
    tenant: &Tenant,
    key: Option<String>,
    body: &impl Serialize,
    serve: impl FnOnce(CallIdentity) -> F,
) -> Result<RunAnswer, Error> {
    let Some(key) = key else { return serve(CallIdentity::default()).await };
    let (engine, caller) = (context.engine(), context.caller()?);
    let text = serde_json::to_vec(body).map_err(|_| Error::plain(Code::Internal))?;
    let request = fingerprint("POST", &called_path(context), &text);
    match claim(engine, caller, tenant, &key, &request, &context.commitment).await? {
        Claim::Repeat(answer) => Ok(RunAnswer::Again(Replayed::Kept(answer))),
        Claim::CutOff(run) => {
            let view = jobs::known(engine, tenant, &run).await?;
            Ok(RunAnswer::Again(Replayed::Run(view)))
        }
        Claim::First(claimed) => {
            let identity = CallIdentity { key: Some(key), run_id: Some(claimed.run_id()) };
            let answer = serve(identity).await;
            settle(context, *claimed, &answer).await;
            answer
        }
    }
}

/// What a request calls.
fn called_path(context: &Context) -> String {
    ["org", "ws", "id", "action"].map(|name| context.path(name)).join("/")
}

/// Keeps an answer that had a run, and gives the key of any other back.
async fn settle(context: &Context, claimed: Claimed, answer: &Result<RunAnswer, Error>) {
    let kept = match kept_form(context, answer) {
        Ok(Some(kept)) => claimed.keep(&kept).await,
        Ok(None) => claimed.release().await,
        Err(error) => Err(error),
    };
    if let Err(error) = kept {
        // Why only logged: the call was made, and an error would invite a repeat.
        tracing::error!(code = %error.code, "an answer could not be kept for repeats of its request");
    }
}

/// An answer as it is kept; `None` if there was no run.
fn kept_form(context: &Context, answer: &Result<RunAnswer, Error>) -> Result<Option<KeptAnswer>, Error> {
    let internal = |_| Error::plain(Code::Internal);
    let at_most = usize::try_from(context.engine().limits().idempotency_answer_bytes).unwrap_or(usize::MAX);
    let (status, location, body, run) = match answer {
        Ok(RunAnswer::Now(run)) => {
            (200, None, serde_json::to_string(&run.document()).map_err(internal)?, Some(run))
        }
        Ok(RunAnswer::Later(run, _)) => {
            let body = serde_json::to_string(run).map_err(internal)?;
            (202, Some(location(context, run.run_id.as_str())), body, None)
        }
        Ok(RunAnswer::Again(_)) => return Ok(None),
        Err(error) => match &error.run {
            Some(run) => (error.code.status(), None, problem::text(error, context.request_id()), Some(run)),
            None => return Ok(None),
        },
    };
    let body = match run {
        Some(run) if body.len() > at_most => shortened(context, answer, run)?,
        _ => body,
    };
    Ok(Some(KeptAnswer { status, location, body }))
}

/// An answer whose run has no output.
fn shortened(context: &Context, answer: &Result<RunAnswer, Error>, run: &runs::Run) -> Result<String, Error> {
    let short = run.without_output()?;
    let internal = |_| Error::plain(Code::Internal);
    let Err(error) = answer else { return serde_json::to_string(&short).map_err(internal) };
    let bare = Error { run: None, ..error.clone() };
    let mut document: serde_json::Value =
        serde_json::from_str(&problem::text(&bare, context.request_id())).map_err(internal)?;
    if let serde_json::Value::Object(members) = &mut document {
        members.insert("run".to_owned(), short);
    }
    serde_json::to_string(&document).map_err(internal)
}
