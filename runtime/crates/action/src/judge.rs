//! What an answer means: a success with its output, or an error with its class and the reaction to it.
//!
//! A success has one of the statuses, can be read as its type and satisfies the predicate. Anything else is
//! looked up in the error rules, first match wins; if no rule matches, the status decides. A rule can
//! turn an error into a success, never a success into an error.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::budget::{Budget, Exceeded};
use crate::charset::MediaType;
use crate::json;
use crate::pagination;
use crate::path::Path;
use crate::plan::{ActionPlan, ErrorAction, ErrorRule, Method, ResponseType};
use crate::predicate::{Predicate, PredicateError};
use crate::response::{
    ErrorClass, MappedResponse, Unreadable, content_type, is_json, is_success, join_headers, output, read,
    read_auto, read_json, without_mark,
};

/// Longest code or message copied from an upstream, characters.
pub const UPSTREAM_TEXT_CHARS_MAX: usize = 500;

/// Code of a success that is not what the action reads.
pub const RESPONSE_UNREADABLE: &str = "response_unreadable";

/// Code of an answer of which more would be made than it allows.
pub const RESPONSE_TOO_LARGE: &str = "response_too_large";

/// Code of a plan whose predicates cannot be parsed.
pub const PLAN_INVALID: &str = "plan_invalid";

/// An answer that was judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The answer as the caller of a run sees it.
    pub mapped: MappedResponse,
    pub outcome: Outcome,
    /// Whether no page follows this one, whatever else it says: a rule ignores it, or `end_when` holds.
    pub ends: bool,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The action succeeded; its output.
    Success { output: Value },
    /// The action failed.
    Error(UpstreamError),
}

/// An error that the upstream returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamError {
    /// Kind of failure.
    pub class: ErrorClass,
    /// Reaction to it.
    pub action: ErrorAction,
    /// Whether a rule of the definition decided; otherwise the status did.
    #[serde(default)]
    pub ruled: bool,
    /// Whether the rule says that the credential is refused for good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub r#final: bool,
    /// The upstream's code, or one of ours: [`RESPONSE_UNREADABLE`], [`RESPONSE_TOO_LARGE`],
    /// [`pagination::NO_ITEMS`].
    pub code: Option<String>,
    /// The rule's message, or the upstream's.
    pub message: Option<String>,
}

/// Judges one answer. Use [`Judge`] for several answers of one action.
///
/// A plan whose predicates cannot be parsed makes every answer an error.
#[must_use]
pub fn judge(plan: &ActionPlan, status: u16, headers: &[(String, Vec<u8>)], body: &[u8]) -> Answer {
    match Judge::new(plan) {
        Ok(judge) => judge.answer(status, headers, body),
        Err(error) => {
            let mapped = crate::response::map_response(status, headers, body);
            let error = permanent(PLAN_INVALID, Some(error.to_string()));
            Answer { mapped, outcome: Outcome::Error(error), ends: false }
        }
    }
}

/// The rules of one action, parsed once.
#[derive(Debug, Clone)]
pub struct Judge<'p> {
    plan: &'p ActionPlan,
    predicate: Option<Predicate>,
    /// Which page of a list is the last.
    end_when: Option<Predicate>,
    rules: Vec<Rule<'p>>,
}

#[derive(Debug, Clone)]
struct Rule<'p> {
    plan: &'p ErrorRule,
    body: Option<Predicate>,
    headers: Option<Predicate>,
}

impl<'p> Judge<'p> {
    /// Parses the predicates of a plan.
    ///
    /// # Errors
    /// [`PredicateError`] naming the position in the plan.
    pub fn new(plan: &'p ActionPlan) -> Result<Self, PredicateError> {
        Self::compiled(plan, &mut Predicate::parse)
    }

    /// As [`Self::new`], with predicates that are compiled already, or by a [`crate::Compiler`].
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn compiled(
        plan: &'p ActionPlan,
        compile: &mut dyn FnMut(&Value) -> Result<Predicate, PredicateError>,
    ) -> Result<Self, PredicateError> {
        let mut parse = |predicate: Option<&Value>, place: &dyn Fn() -> String| {
            predicate.map(&mut *compile).transpose().map_err(|error| error.below(&place()))
        };
        let predicate = parse(plan.success.predicate.as_ref(), &|| "/success/predicate".to_owned())?;
        let end_when = plan.pagination.as_ref().and_then(|list| list.end_when.as_ref());
        let end_when = parse(end_when, &|| "/pagination/end_when".to_owned())?;
        let rules = plan.errors.iter().enumerate().map(|(i, rule)| {
            Ok(Rule {
                plan: rule,
                body: parse(rule.predicate.as_ref(), &|| format!("/errors/{i}/predicate"))?,
                headers: parse(rule.header.as_ref(), &|| format!("/errors/{i}/header"))?,
            })
        });
        let rules = rules.collect::<Result<_, PredicateError>>()?;
        Ok(Self { plan, predicate, end_when, rules })
    }

    /// Judges an answer in a guest, whose fuel bounds the steps. What is made of it is bounded by its size: an output
    /// with hundreds of copies of it is an error.
    #[must_use]
    pub fn answer(&self, status: u16, headers: &[(String, Vec<u8>)], body: &[u8]) -> Answer {
        let supplied = headers.iter().fold(body.len(), |sum, (name, value)| {
            sum.saturating_add(name.len()).saturating_add(value.len())
        });
        let judged = self.answer_within(status, headers, body, &Budget::answer(supplied as u64));
        judged.unwrap_or_else(|error| {
            let mapped = MappedResponse { status, headers: Map::new(), body: Value::Null };
            let found = format!("the output of this answer {error}");
            let outcome = Outcome::Error(permanent(RESPONSE_TOO_LARGE, Some(found)));
            Answer { mapped, outcome, ends: false }
        })
    }

    /// Judges an answer within a budget.
    ///
    /// # Errors
    /// [`Exceeded`] if reading and judging it would cost more than is left.
    pub fn answer_within(
        &self,
        status: u16,
        headers: &[(String, Vec<u8>)],
        body: &[u8],
        budget: &Budget,
    ) -> Result<Answer, Exceeded> {
        budget.step(body.len() as u64)?;
        let headers = join_headers(headers);
        let mut problem = None;
        if self.accepts(status) {
            match self.read_success(status, &headers, body) {
                Ok(value) if self.satisfied(&headers, body, &value, budget)? => {
                    let ends = self.ends(&value, budget)?;
                    problem = if ends { None } else { self.missing_items(status, &value) };
                    if problem.is_none() {
                        return self.success(MappedResponse { status, headers, body: value }, ends, budget);
                    }
                }
                Ok(_) => problem = self.unsatisfying(status, &headers, body),
                Err(unreadable) => problem = Some(self.unreadable(status, unreadable.to_string())),
            }
        }
        let body = self.read_error(&headers, body);
        let mapped = MappedResponse { status, headers, body };
        let Some(rule) = self.rule_of(&mapped, budget)?.and_then(|index| self.rules.get(index)) else {
            let error = problem.unwrap_or_else(|| unruled(status));
            return Ok(Answer { mapped, outcome: Outcome::Error(error), ends: false });
        };
        if rule.plan.action == ErrorAction::Ignore || rule.plan.class == ErrorClass::Ignored {
            return self.success(mapped, true, budget);
        }
        let outcome = Outcome::Error(rule.error(&mapped.body, budget)?);
        Ok(Answer { mapped, outcome, ends: false })
    }

    /// The error of a success that does not satisfy the predicate because it does not have what that looks at: a page of
    /// HTML instead of a document. `None` if it has.
    fn unsatisfying(&self, status: u16, headers: &Map<String, Value>, body: &[u8]) -> Option<UpstreamError> {
        let is_of_members = self.predicate.as_ref().is_some_and(Predicate::reads_members);
        if self.plan.response.r#type != ResponseType::Auto || !is_of_members {
            return None;
        }
        let found = read(ResponseType::Json, content_type(headers), body, true).err()?;
        Some(self.unreadable(status, found.to_string()))
    }

    /// Whether the definition says that this is a list's last page.
    fn ends(&self, body: &Value, budget: &Budget) -> Result<bool, Exceeded> {
        self.end_when.as_ref().map_or(Ok(false), |predicate| predicate.holds(body, budget))
    }

    /// The error of a page without a list. Why here: it may be what a rule is about.
    fn missing_items(&self, status: u16, body: &Value) -> Option<UpstreamError> {
        let list = self.plan.pagination.as_ref()?;
        let no_content = matches!(status, 204 | 205);
        let error = pagination::items(list, body, no_content).err()?;
        Some(permanent(error.code(), Some(error.to_string())))
    }

    /// The error of a success that cannot be read. A read may be repeated; anything else has been done.
    fn unreadable(&self, status: u16, found: String) -> UpstreamError {
        if self.plan.only_reads() {
            let (class, action) = (ErrorClass::Transient, ErrorAction::Retry);
            return UpstreamError { class, action, ..permanent(RESPONSE_UNREADABLE, Some(found)) };
        }
        let done = format!("{found}; the request was answered with {status} and must not be repeated");
        permanent(RESPONSE_UNREADABLE, Some(done))
    }

    /// The body of an answer that needs no judging, as compact JSON: it is a success, and its output is its
    /// body. `None` if [`Judge::answer`] must look at it.
    #[must_use]
    pub fn as_it_is<'b>(
        &self,
        status: u16,
        headers: &[(String, Vec<u8>)],
        body: &'b [u8],
    ) -> Option<Cow<'b, str>> {
        let plan = &self.plan.response;
        let is_whole = self.predicate.is_none() && plan.root.is_none() && plan.map.is_empty();
        if !is_whole || !self.accepts(status) {
            return None;
        }
        let mut types = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let content_type = types.next().map_or(b"".as_slice(), |(_, value)| value);
        let content_type = std::str::from_utf8(content_type).ok()?;
        let is_json = types.next().is_none()
            && match plan.r#type {
                ResponseType::Json => MediaType::parse(content_type).is_utf8(),
                ResponseType::Auto => is_json(content_type),
                _ => false,
            };
        if is_json { json::compact(without_mark(body)) } else { None }
    }

    /// The index of the first rule that matches an error answer.
    ///
    /// # Errors
    /// [`Exceeded`] if finding it would cost more than is left.
    pub fn rule_of(&self, answer: &MappedResponse, budget: &Budget) -> Result<Option<usize>, Exceeded> {
        for (index, rule) in self.rules.iter().enumerate() {
            if rule.matches(answer, budget)? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// The error of an answer that is a success by its status and yet says that the work has failed: what a rule says
    /// of it, or else that.
    #[must_use]
    pub fn failed(&self, answer: &MappedResponse, code: &str, message: &str) -> UpstreamError {
        let budget = Budget::unlimited();
        let rule = self.rule_of(answer, &budget).ok().flatten().and_then(|index| self.rules.get(index));
        let ruled = rule.and_then(|rule| rule.error(&answer.body, &budget).ok());
        ruled.unwrap_or_else(|| permanent(code, Some(message.to_owned())))
    }

    fn success(&self, mapped: MappedResponse, ends: bool, budget: &Budget) -> Result<Answer, Exceeded> {
        // Why nothing for a list: its output is the items of all pages.
        let output = match self.plan.pagination {
            Some(_) => Value::Null,
            None => output(&self.plan.response, &mapped, budget)?,
        };
        Ok(Answer { mapped, outcome: Outcome::Success { output }, ends })
    }

    fn accepts(&self, status: u16) -> bool {
        let listed = &self.plan.success.status;
        if listed.is_empty() { is_success(status) } else { listed.contains(&status) }
    }

    fn read_success(
        &self,
        status: u16,
        headers: &Map<String, Value>,
        body: &[u8],
    ) -> Result<Value, Unreadable> {
        // Why: such answers have no content by definition (RFC 9110 sections 9.3.2, 15.3.5, 15.3.6), and 202 often none.
        let may_be_empty = self.plan.method == Method::Head
            || matches!(status, 204 | 205 | 304)
            || status == 202 && self.plan.response.r#type == ResponseType::Auto;
        if body.is_empty() && may_be_empty {
            return Ok(Value::Null);
        }
        read(self.plan.response.r#type, content_type(headers), body, self.plan.needs_json())
    }

    fn satisfied(
        &self,
        headers: &Map<String, Value>,
        body: &[u8],
        value: &Value,
        budget: &Budget,
    ) -> Result<bool, Exceeded> {
        let Some(predicate) = &self.predicate else {
            return Ok(true);
        };
        match self.plan.response.r#type {
            // Why: a body that is not kept can still contain `"ok": false`.
            ResponseType::None | ResponseType::Binary => {
                predicate.holds(&read_auto(content_type(headers), body), budget)
            }
            _ => predicate.holds(value, budget),
        }
    }

    /// Errors are read by content type: an image API's error is often JSON, a JSON API's often HTML.
    fn read_error(&self, headers: &Map<String, Value>, body: &[u8]) -> Value {
        let is_json = self.plan.response.r#type == ResponseType::Json || self.plan.needs_json();
        let forced = if is_json { read_json(&MediaType::parse(content_type(headers)), body) } else { None };
        forced.unwrap_or_else(|| read_auto(content_type(headers), body))
    }
}

impl Rule<'_> {
    fn matches(&self, answer: &MappedResponse, budget: &Budget) -> Result<bool, Exceeded> {
        if !self.plan.status.is_empty() && !self.plan.status.contains(&answer.status) {
            return Ok(false);
        }
        let body = self.body.as_ref().map(|predicate| predicate.holds(&answer.body, budget));
        if body.transpose()? == Some(false) {
            return Ok(false);
        }
        let headers = self.headers.as_ref().map(|p| p.holds_for_members(&answer.headers, budget));
        Ok(headers.transpose()? != Some(false))
    }

    fn error(&self, body: &Value, budget: &Budget) -> Result<UpstreamError, Exceeded> {
        let text = |pointer: Option<&String>| {
            let Some(path) = pointer.and_then(|pointer| Path::parse(pointer)) else { return Ok(None) };
            Ok(match path.find(body, budget)? {
                Some(Value::String(text)) => Some(text.chars().take(UPSTREAM_TEXT_CHARS_MAX).collect()),
                Some(found @ (Value::Number(_) | Value::Bool(_))) => Some(found.to_string()),
                _ => None,
            })
        };
        let message = match &self.plan.message {
            Some(message) => Some(message.clone()),
            None => text(self.plan.message_path.as_ref())?,
        };
        Ok(UpstreamError {
            class: self.plan.class,
            action: self.plan.action,
            ruled: true,
            r#final: self.plan.r#final,
            code: text(self.plan.code_path.as_ref())?,
            message,
        })
    }
}

/// The class from the status alone; a 2xx that is not a success is permanent.
fn unruled(status: u16) -> UpstreamError {
    let class = ErrorClass::of_status(status);
    let action = class.default_action();
    UpstreamError { class, action, ruled: false, r#final: false, code: None, message: None }
}

fn permanent(code: &str, message: Option<String>) -> UpstreamError {
    let class = ErrorClass::Permanent;
    let (action, code) = (ErrorAction::Fail, Some(code.to_owned()));
    UpstreamError { class, action, ruled: false, r#final: false, code, message }
}

#[cfg(test)]
mod tests;
