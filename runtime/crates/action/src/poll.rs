//! Work that a vendor does later: from an answer that is not finished yet to the request that asks again.
//!
//! Pure, like pagination: a guest neither waits nor asks on its own. It says where to ask, and the host waits and makes
//! another attempt. The URL must stay on the host and port of the first request.

use serde_json::{Map, Value};

use crate::budget::{Budget, Exceeded};
use crate::pagination::next_url::{self, Origin};
use crate::pagination::{PageError, beginning};
use crate::plan::{ActionPlan, Asked, KeyPlace, PollPlace, PollPlan, ResponsePlan, ResponseType};
use crate::predicate::{Predicate, PredicateError};
use crate::render::RenderedRequest;
use crate::response::MappedResponse;
use crate::{InputPlace, Method};

/// The status of an answer whose work goes on (RFC 9110 section 15.3.3).
const ACCEPTED: u16 = 202;

/// Code of a failure: the vendor says that the work has failed.
pub const POLL_FAILED: &str = "poll_failed";

/// Why an unfinished answer cannot be asked for again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PollError {
    /// The answer does not say where.
    #[error("the work goes on, but the answer has no URL at {0} to ask again")]
    NoPlace(String),
    /// The finished answer does not say where the result is.
    #[error("the work is done, but the answer has no URL of the result at {0:?}")]
    NoResult(String),
    /// The URL leads away from the first request.
    #[error("the URL to ask again, {0:?}, leaves the scheme, host or port of the first request")]
    Foreign(String),
    /// The URL is in no accepted form.
    #[error("the URL to ask again, {url:?}, {why}")]
    NotAUrl {
        /// Its beginning.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Reading the answer costs more than is left.
    #[error("{0}")]
    Exceeded(Exceeded),
}

impl PollError {
    /// Stable code, `snake_case`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoPlace(_) | Self::NoResult(_) => "poll_no_place",
            Self::Foreign(_) | Self::NotAUrl { .. } => "poll_url_refused",
            Self::Exceeded(_) => "poll_answer_too_large",
        }
    }
}

/// What follows an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is the result.
    Done,
    /// Another request.
    Ask(Asked),
    /// The vendor says that the work has failed.
    Failed,
}

/// The rules of one action, parsed once.
#[derive(Debug, Clone)]
pub struct Poll<'p> {
    plan: &'p PollPlan,
    done: Option<Predicate>,
    failed: Option<Predicate>,
}

impl<'p> Poll<'p> {
    /// Parses the predicates of a plan.
    ///
    /// # Errors
    /// [`PredicateError`] naming the position in the plan.
    pub fn new(plan: &'p PollPlan) -> Result<Self, PredicateError> {
        Self::compiled(plan, &mut Predicate::parse)
    }

    /// As [`Self::new`], with predicates that are compiled by a [`crate::Compiler`].
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn compiled(
        plan: &'p PollPlan,
        compile: &mut dyn FnMut(&Value) -> Result<Predicate, PredicateError>,
    ) -> Result<Self, PredicateError> {
        let mut parse = |predicate: Option<&Value>, name: &str| {
            let parsed = predicate.map(&mut *compile).transpose();
            parsed.map_err(|error| error.below(&format!("/poll/{name}")))
        };
        Ok(Self {
            plan,
            done: parse(plan.done.as_ref(), "done")?,
            failed: parse(plan.failed.as_ref(), "failed")?,
        })
    }

    /// What follows the answer to the request with this URL.
    ///
    /// # Errors
    /// [`PollError`] if the answer is not finished and cannot be asked for again.
    pub fn step(&self, url: &str, answer: &MappedResponse) -> Result<Step, PollError> {
        self.step_within(url, answer, self.plan.asked.as_ref(), &Budget::unlimited())
    }

    /// As [`Self::step`] after the request that `asked` describes, within a budget.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn step_within(
        &self,
        url: &str,
        answer: &MappedResponse,
        asked: Option<&Asked>,
        budget: &Budget,
    ) -> Result<Step, PollError> {
        let holds =
            |predicate: &Predicate| predicate.holds(&answer.body, budget).map_err(PollError::Exceeded);
        if self.failed.as_ref().map(holds).transpose()? == Some(true) {
            return Ok(Step::Failed);
        }
        let is_done = self.done.as_ref().map(holds).transpose()?.unwrap_or(answer.status != ACCEPTED);
        if is_done {
            let Some(pointer) = &self.plan.result_url else { return Ok(Step::Done) };
            let found = text_at(&answer.body, pointer).ok_or_else(|| PollError::NoResult(pointer.clone()))?;
            return Ok(Step::Ask(Asked { url: resolve(url, found)?, result: true }));
        }
        let (found, place) = match &self.plan.place {
            PollPlace::Header(name) => (text_of(answer.headers.get(name)), format!("header {name:?}")),
            PollPlace::Body(pointer) => (text_at(&answer.body, pointer), format!("{pointer:?}")),
        };
        let next = match (found, asked) {
            (Some(found), _) => resolve(url, found)?,
            // Why: many vendors say it only once.
            (None, Some(asked)) => asked.url.clone(),
            (None, None) => return Err(PollError::NoPlace(place)),
        };
        Ok(Step::Ask(Asked { url: next, result: false }))
    }
}

fn text_of(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn text_at<'b>(body: &'b Value, pointer: &str) -> Option<&'b str> {
    text_of(body.pointer(pointer))
}

fn resolve(last: &str, found: &str) -> Result<String, PollError> {
    next_url::resolve(Origin::of(last).as_ref(), last, found).map_err(|error| match error {
        PageError::NotAUrl { link, why } => PollError::NotAUrl { url: link, why },
        _ => PollError::Foreign(beginning(found)),
    })
}

/// The plan by which the answers before the result are judged. Why not the action's own: how the result is read says
/// nothing of them.
#[must_use]
pub fn before_result(plan: &ActionPlan, has_body: bool) -> ActionPlan {
    let is_json = plan.response.r#type == ResponseType::Json && has_body;
    let r#type = if is_json { ResponseType::Json } else { ResponseType::Auto };
    ActionPlan { response: ResponsePlan { r#type, ..ResponsePlan::default() }, ..plan.clone() }
}

/// How long the vendor asks to wait, seconds: `Retry-After` as a number (RFC 9110 section 10.2.3).
#[must_use]
pub fn asked_wait_s(headers: &Map<String, Value>) -> Option<u32> {
    headers.get("retry-after").and_then(Value::as_str).and_then(|text| text.trim().parse().ok())
}

/// The request that asks again, made of the action's own: a GET without its body, its query and its key.
#[must_use]
pub fn request(plan: &ActionPlan, asked: &Asked, own: RenderedRequest) -> RenderedRequest {
    let of_body = |name: &str| name.eq_ignore_ascii_case("content-type");
    let of_key = |name: &str| matches!(&plan.idempotency, Some(KeyPlace::Header(key)) if key.eq_ignore_ascii_case(name));
    let of_input = |name: &str| {
        let mut inputs = plan.inputs.iter().filter(|input| input.place == InputPlace::Header);
        inputs.any(|input| input.wire_name().eq_ignore_ascii_case(name))
    };
    let headers = own.headers.into_iter();
    let headers = headers.filter(|(name, _)| !of_body(name) && !of_key(name) && !of_input(name)).collect();
    RenderedRequest { method: Method::Get, url: asked.url.clone(), headers, body: None }
}

#[cfg(test)]
mod tests;
