//! An example of an action with `poll`: the requests of one call in order, each with its recorded answer, as a guest
//! makes and judges them. The waits between them are the host's and not checked.

use portcullis_action::Judge;
use portcullis_action::judge::Outcome;
use portcullis_action::plan::{ActionPlan, Asked};
use portcullis_action::poll::{self, POLL_FAILED, Poll, Step};
use portcullis_action::predicate::PredicateError;
use portcullis_action::render::RenderedRequest;
use portcullis_action::response::MappedResponse;

use super::super::Action;
use super::super::action::Report;
use super::Case;
use crate::definition::{ActionDef, ExampleResponseDef};

/// The plans by which the answers before a result are judged: of one with a body, and of one without.
pub(super) struct Plans {
    with_body: ActionPlan,
    without: ActionPlan,
}

/// The rules of those answers, compiled once for all examples of an action.
pub(super) struct Rules<'a> {
    with_body: Judge<'a>,
    without: Judge<'a>,
    poll: Poll<'a>,
}

/// The plans of an action that asks again and has examples of that.
pub(super) fn plans_of(action: &Action, wire: &ActionDef) -> Option<Plans> {
    let has_some = wire.examples.iter().any(|example| !example.exchanges.is_empty());
    let plan = action.plan.poll.as_ref().filter(|_| has_some).map(|_| &action.plan)?;
    Some(Plans { with_body: poll::before_result(plan, true), without: poll::before_result(plan, false) })
}

/// Compiles the rules.
pub(super) fn rules_of<'a>(
    action: &'a Action,
    plans: Option<&'a Plans>,
    report: &mut Report<'_>,
) -> Result<Option<Rules<'a>>, PredicateError> {
    let (Some(plans), Some(poll)) = (plans, &action.plan.poll) else { return Ok(None) };
    let mut compile = |value: &serde_json::Value| report.compiler.predicate(value);
    Ok(Some(Rules {
        with_body: Judge::compiled(&plans.with_body, &mut compile)?,
        without: Judge::compiled(&plans.without, &mut compile)?,
        poll: Poll::compiled(poll, &mut compile)?,
    }))
}

/// What an answer leads to.
enum Next {
    /// It is the end of the call: the result, an error, or a breach that was reported.
    End,
    /// Another request.
    Ask(Asked),
}

impl Case<'_> {
    /// Checks the exchanges; `None` if the budget ended.
    pub(super) fn check_asking(mut self, rules: &Rules<'_>, first: RenderedRequest) -> Option<()> {
        let (expected, answered) = (self.example.expect_request.is_some(), self.example.response.is_some());
        for (member, is_written) in [("/expect_request", expected), ("/response", answered)] {
            if is_written {
                let message = "stands in the exchanges, one for each request";
                self.refuse(member, "example_incomplete", message);
                return Some(());
            }
        }
        // Why without a body: no request that asks again has one.
        let own = RenderedRequest {
            method: first.method,
            url: first.url.clone(),
            headers: first.headers.clone(),
            body: None,
        };
        let (mut request, mut asked) = (first, None);
        let last = self.example.exchanges.len().saturating_sub(1);
        for (index, exchange) in self.example.exchanges.iter().enumerate() {
            let at = format!("/exchanges/{index}");
            if let Err(why) = self.budget.step(self.action.plan_json.len() as u64) {
                return self.too_costly(&at, why);
            }
            if let Some(expected) = &exchange.expect_request {
                self.check_request(&at, expected, &request);
            }
            let answer_at = format!("{at}/response");
            let before = self.errors.len();
            match self.follow(rules, &at, &exchange.response, &request, asked.as_ref()) {
                Err(why) => return self.too_costly(&answer_at, why),
                Ok(Next::End) if index < last && self.errors.len() == before => {
                    let message = "the call ends with this answer; there is no request after it";
                    self.refuse(&answer_at, "example_differs", message);
                    return Some(());
                }
                Ok(Next::End) => return Some(()),
                Ok(Next::Ask(next)) => {
                    request = poll::request(&self.action.plan, &next, own.clone());
                    asked = Some(next);
                }
            }
        }
        let message = format!("the call goes on after it, with a request to {}", request.url);
        self.refuse(&format!("/exchanges/{last}/response"), "example_differs", message);
        Some(())
    }

    fn follow(
        &mut self,
        rules: &Rules<'_>,
        at: &str,
        response: &ExampleResponseDef,
        request: &RenderedRequest,
        asked: Option<&Asked>,
    ) -> Result<Next, portcullis_action::Exceeded> {
        // Why: what is fetched in the end is an answer like any other.
        let is_result = asked.is_some_and(|asked| asked.result);
        let early = if is_result { None } else { self.early(rules, response)? };
        let Some(answer) = early else {
            return self.check_answer(at, response, request).map(|()| Next::End);
        };
        let (code, why) = match rules.poll.step_within(&request.url, &answer, asked, self.budget) {
            Ok(Step::Ask(asked)) => return Ok(Next::Ask(asked)),
            Ok(Step::Done) => return self.check_answer(at, response, request).map(|()| Next::End),
            Ok(Step::Failed) => (POLL_FAILED, "the vendor says that the work has failed".to_owned()),
            Err(poll::PollError::Exceeded(why)) => return Err(why),
            Err(error) => (error.code(), error.to_string()),
        };
        let Some(judge) = self.judge else { return Ok(Next::End) };
        let rule = judge.rule_of(&answer, self.budget)?;
        self.note(rule);
        let error = judge.failed(&answer, code, &why);
        match &self.example.expect_error {
            Some(expected) => self.check_error(expected, &error, None),
            None => {
                let message = format!("the answer is an error of class {}: {why}", error.class.as_str());
                self.refuse(&format!("{at}/response"), "example_differs", message);
            }
        }
        Ok(Next::End)
    }

    /// The answer as it is read while the work goes on; `None` if it is no success.
    fn early(
        &self,
        rules: &Rules<'_>,
        response: &ExampleResponseDef,
    ) -> Result<Option<MappedResponse>, portcullis_action::Exceeded> {
        let (headers, body) = response.as_received();
        let judge = if body.is_empty() { &rules.without } else { &rules.with_body };
        let answer = judge.answer_within(response.status, &headers, &body, self.budget)?;
        Ok(matches!(answer.outcome, Outcome::Success { .. }).then_some(answer.mapped))
    }
}
