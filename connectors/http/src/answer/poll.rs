//! Work that the vendor does later: judges whether an answer is the result, and tells the host where to ask again.

use portcullis_action::judge::PLAN_INVALID;
use portcullis_action::plan::{Asked, PollPlan};
use portcullis_action::poll::{self, POLL_FAILED, Poll, PollError, Step};
use portcullis_action::response::MappedResponse;
use portcullis_action::{ActionPlan, Judge, RenderedRequest, UpstreamError};
use portcullis_guest::{Failure, GateError, Request, Response};
use serde::Serialize;
use serde_json::Value;

use super::{Document, Upstream, failure, request, succeeded, text, upstream_failure};

/// What the host has to ask for next.
#[derive(Serialize)]
pub(super) struct Ask {
    url: String,
    result: bool,
    /// How long the vendor asks to wait, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    after_s: Option<u32>,
}

/// Sends the request and returns the result, or what to ask for next.
pub(super) fn complete(
    plan: &ActionPlan,
    poll: &PollPlan,
    judge: &Judge<'_>,
    rendered: RenderedRequest,
    mut send: impl FnMut(&Request) -> Result<Response, GateError>,
) -> Result<String, Failure> {
    let rules = Poll::new(poll).map_err(|e| Failure::permanent(PLAN_INVALID, e.to_string()))?;
    let url = rendered.url.clone();
    let response = send(&request(plan, rendered)).map_err(Failure::from)?;
    let unread = poll::before_result(plan, !response.body.is_empty());
    let early = Judge::new(&unread).map_err(|e| Failure::permanent(PLAN_INVALID, e.to_string()))?;
    let answer = early.answer(response.status, &response.headers, &response.body);
    succeeded(&answer)?;
    match rules.step(&url, &answer.mapped) {
        Ok(Step::Done) => {
            let answer = judge.answer(response.status, &response.headers, &response.body);
            let output = succeeded(&answer)?;
            let upstream = Upstream::of(&answer.mapped);
            text(&Document { output, upstream, pages: None, truncated: None, ask: None })
        }
        Ok(Step::Ask(Asked { url, result })) => {
            let ask = Some(Ask { url, result, after_s: poll::asked_wait_s(&answer.mapped.headers) });
            let upstream = Upstream::of(&answer.mapped);
            text(&Document { output: &Value::Null, upstream, pages: None, truncated: None, ask })
        }
        Ok(Step::Failed) => {
            let error = judge.failed(&answer.mapped, POLL_FAILED, "the vendor says that the work has failed");
            Err(named_failure(POLL_FAILED, &answer.mapped, &error))
        }
        Err(error) => Err(unaskable(judge, &answer.mapped, &error)),
    }
}

/// A rule of the definition keeps its own words; else the failure has our code.
fn named_failure(code: &str, answer: &MappedResponse, error: &UpstreamError) -> Failure {
    if error.ruled {
        return upstream_failure(answer, error);
    }
    failure(code, error.message.clone().unwrap_or_default(), answer, error)
}

fn unaskable(judge: &Judge<'_>, answer: &MappedResponse, error: &PollError) -> Failure {
    let found = judge.failed(answer, error.code(), &error.to_string());
    named_failure(error.code(), answer, &found)
}
