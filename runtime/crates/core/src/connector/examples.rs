//! Examples as proof: each is rendered and judged without a network, by the same code that the guest
//! runs, and must give exactly what it says.

use std::collections::HashSet;
use std::fmt;

use portcullis_action::budget::{Budget, Exceeded};
use portcullis_action::judge::{Judge, Outcome, UpstreamError};
use portcullis_action::plan::ErrorAction;
use portcullis_action::plan::ErrorClass;
use portcullis_action::predicate::PredicateError;
use portcullis_action::render::{RenderedRequest, render_request};
use portcullis_action::{Pages, Values};
use serde_json::{Map, Value};

use super::action::Report;
use super::document::requests;
use super::{Action, Connector, MODULE_NOT_CHECKED};
use crate::definition::{
    ActionDef, Definition, ExampleDef, ExampleErrorDef, ExampleRequestDef, ExampleResponseDef,
};
use crate::input::check_input;
use crate::violation::{Violation, Violations, step};

mod asking;
mod diff;

/// The time of every example: 2026-01-01T00:00:00Z, in milliseconds.
const NOW_MS: i64 = 1_767_225_600_000;
/// The run id of every example.
const RUN_ID: &str = "run_example";
/// The idempotency key of every example.
const KEY: &str = "example-key";

/// Which rules of the definition are covered by an example's answer.
#[derive(Default)]
struct Met {
    /// Pointers of the rules.
    rules: HashSet<String>,
}

/// Checks every example of every action, and warns of error rules that no example covers.
pub(super) fn check(definition: &Definition, connector: &Connector, report: &mut Report<'_>) {
    let mut met = Met::default();
    let test = connector.test.iter().map(|test| &test.action);
    let discover = connector.discover.iter().map(|discovery| &discovery.action);
    // The definition has no breach, so there is a built action for each written one.
    let built = connector.actions.iter().chain(test).chain(discover);
    for ((at, wire), action) in requests(definition).zip(built) {
        if action.is_module {
            if !wire.examples.is_empty() {
                let message =
                    "examples of a module run with its bytes: at upload, or with lint --module FILE";
                report.warn(format!("{at}/examples"), MODULE_NOT_CHECKED, message);
            }
            continue;
        }
        let judge = match judge_of(action, wire, report) {
            Ok(judge) => judge,
            Err(e) => {
                report.error(format!("{at}/examples"), "predicate_invalid", e.to_string());
                continue;
            }
        };
        let plans = asking::plans_of(action, wire);
        let asking = match asking::rules_of(action, plans.as_ref(), report) {
            Ok(asking) => asking,
            Err(e) => {
                report.error(format!("{at}/examples"), "predicate_invalid", e.to_string());
                continue;
            }
        };
        for (i, example) in wire.examples.iter().enumerate() {
            let pointer = format!("{at}/examples/{i}");
            let (errors, budget, judge) = (&mut *report.errors, report.budget, judge.as_ref());
            let asking = asking.as_ref();
            let case = Case {
                connector,
                action,
                wire,
                at: &at,
                example,
                judge,
                asking,
                budget,
                pointer,
                errors,
                met: &mut met,
            };
            if case.check().is_none() {
                return;
            }
        }
    }
    let has_examples = requests(definition).any(|(_, action)| !action.examples.is_empty());
    if has_examples {
        warn_of_unmet(definition, &met, report.warnings);
    }
    if definition.test.is_none() && connector.auth.injection.needs_credential() && has_examples {
        let message = "no test request: a workspace cannot try its credential";
        report.warn("/test", "no_test", message);
    }
}

/// The rules of an action whose examples have answers, compiled once for all of them.
fn judge_of<'a>(
    action: &'a Action,
    wire: &ActionDef,
    report: &mut Report<'_>,
) -> Result<Option<Judge<'a>>, PredicateError> {
    if wire.examples.iter().all(|example| example.response.is_none() && example.exchanges.is_empty()) {
        return Ok(None);
    }
    Judge::compiled(&action.plan, &mut |value| report.compiler.predicate(value)).map(Some)
}

fn warn_of_unmet(definition: &Definition, met: &Met, warnings: &mut Violations) {
    let shared = (0..definition.errors.len()).map(|at| format!("/errors/{at}"));
    let own = requests(definition)
        .flat_map(|(at, action)| (0..action.errors.len()).map(move |i| format!("{at}/errors/{i}")));
    for pointer in shared.chain(own).filter(|pointer| !met.rules.contains(pointer)) {
        let message = "no example's answer meets this rule";
        warnings.push(Violation::new(pointer, "error_rule_unproven", message));
    }
}

/// One example being checked.
struct Case<'a> {
    connector: &'a Connector,
    action: &'a Action,
    wire: &'a ActionDef,
    at: &'a str,
    example: &'a ExampleDef,
    judge: Option<&'a Judge<'a>>,
    /// How the answers before a result are judged, where the action asks again.
    asking: Option<&'a asking::Rules<'a>>,
    /// For all examples of the definition together.
    budget: &'a Budget,
    pointer: String,
    errors: &'a mut Violations,
    met: &'a mut Met,
}

impl Case<'_> {
    fn refuse(&mut self, member: &str, code: &'static str, message: impl Into<String>) {
        self.errors.push(Violation::new(format!("{}{member}", self.pointer), code, message.into()));
    }

    /// Says that the examples together cost too much; the others are not looked at.
    fn too_costly(&mut self, member: &str, why: impl fmt::Display) -> Option<()> {
        let message =
            format!("with this example, checking the definition's examples {why}; make them smaller");
        self.refuse(member, "example_too_costly", message);
        None
    }

    /// Checks the example; `None` if the budget ended.
    fn check(mut self) -> Option<()> {
        // Why the plan: it is read for every example, however small the example is.
        if let Err(why) = self.budget.step(self.action.plan_json.len() as u64) {
            return self.too_costly("", why);
        }
        let input = match check_input(&self.action.inputs, &self.example.input, self.budget) {
            Ok(input) => input,
            Err(problems) => {
                for problem in problems {
                    self.refuse(&problem.pointer, problem.code, problem.message);
                }
                return Some(());
            }
        };
        if !self.example.exchanges.is_empty() && self.action.plan.poll.is_none() {
            let message = "exchanges are for actions that a module serves, and for those with poll";
            self.refuse("/exchanges", "module_unused", message);
        }
        self.check_config();
        if self.example.expect_output.is_some() && self.example.expect_error.is_some() {
            self.refuse(
                "/expect_error",
                "example_incomplete",
                "an answer is an output or an error, not both",
            );
        }
        let config = self.config();
        let values = Values {
            input: (&input).into(),
            config: (&config).into(),
            action_id: self.action.id.as_str(),
            run_id: RUN_ID,
            source: None,
            entries: &[],
            now_ms: NOW_MS,
            idempotency_key: Some(KEY),
            tables: &self.action.plan.tables,
            budget: Some(self.budget),
        };
        let rendered = match render_request(&self.action.plan, &values) {
            Ok(request) => request,
            Err(e) if e.exceeded => return self.too_costly("/input", e),
            Err(e) => {
                self.refuse("/input", "example_not_rendered", e.to_string());
                return Some(());
            }
        };
        let Some(request) = self.first_page(rendered) else { return Some(()) };
        if let Some(asking) = self.asking.filter(|_| !self.example.exchanges.is_empty()) {
            return self.check_asking(asking, request);
        }
        if let Some(expected) = &self.example.expect_request {
            self.check_request("", expected, &request);
        }
        match &self.example.response {
            Some(response) => {
                if let Err(why) = self.check_answer("", response, &request) {
                    return self.too_costly("/response", why);
                }
            }
            None if self.example.expect_output.is_some() || self.example.expect_error.is_some() => {
                self.refuse("/response", "example_incomplete", "what is expected of which answer?");
            }
            None => {}
        }
        Some(())
    }

    /// Config of an example names existing fields, has valid values, and has no secret.
    fn check_config(&mut self) {
        for (name, value) in &self.example.config {
            let at = format!("{}/config/{}", self.pointer, step(name));
            match (self.connector.fields.iter().find(|f| f.name == *name && !f.secret), value) {
                (Some(field), Value::String(text)) => field.check_within(text, &at, self.budget, self.errors),
                (Some(_), _) => self.errors.push(Violation::new(at, "wrong_type", "config values are texts")),
                (None, _) => {
                    let message = format!("there is no config field {name:?}");
                    self.errors.push(Violation::new(at, "unknown_reference", message));
                }
            }
        }
    }

    /// Config of the example, defaults filled in.
    fn config(&self) -> Map<String, Value> {
        let mut config = self.example.config.clone();
        for field in self.connector.fields.iter().filter(|f| !f.secret) {
            if let Some(default) = &field.default {
                config.entry(field.name.clone()).or_insert_with(|| Value::String(default.clone()));
            }
        }
        config
    }

    fn first_page(&mut self, request: RenderedRequest) -> Option<RenderedRequest> {
        let Some(plan) = &self.action.plan.pagination else { return Some(request) };
        match Pages::new(plan, &request).first(request) {
            Ok(request) => Some(request),
            Err(e) => {
                self.refuse("/input", "example_not_rendered", e.to_string());
                None
            }
        }
    }

    /// `at` is the exchange whose request it is; empty for the example's own.
    fn check_request(&mut self, at: &str, expected: &ExampleRequestDef, request: &RenderedRequest) {
        let at = format!("{at}/expect_request");
        let method = expected.method;
        if method != request.method {
            let message = format!("the action's method is {}, the example says {method}", request.method);
            self.refuse(&format!("{at}/method"), "example_differs", message);
        }
        if expected.url != request.url {
            let message =
                format!("the action's URL is {}{}", request.url, diff::of_texts(&expected.url, &request.url));
            self.refuse(&format!("{at}/url"), "example_differs", message);
        }
        for (name, value) in &expected.headers {
            let own = request.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
            if own.map(|(_, own)| own) != Some(value) {
                let found = own.map_or("absent", |(_, own)| own.as_str());
                let member = format!("{at}/headers/{}", step(name));
                let message = format!("the action's header is {found:?}, the example says {value:?}");
                self.refuse(&member, "example_differs", message);
            }
        }
        let body = body_value(request);
        if expected.body != body {
            let message = diff::of_documents("the action's body", expected.body.as_ref(), body.as_ref());
            self.refuse(&format!("{at}/body"), "example_differs", message);
        }
    }

    fn check_answer(
        &mut self,
        at: &str,
        response: &ExampleResponseDef,
        request: &RenderedRequest,
    ) -> Result<(), Exceeded> {
        let (headers, body) = response.as_received();
        let Some(judge) = self.judge else { return Ok(()) };
        let answer = judge.answer_within(response.status, &headers, &body, self.budget)?;
        let rule = judge.rule_of(&answer.mapped, self.budget)?;
        let ignores = |rule: &usize| {
            let rule = self.action.plan.errors.get(*rule);
            rule.is_some_and(|r| r.action == ErrorAction::Ignore || r.class == ErrorClass::Ignored)
        };
        // Why: a success matches no rule, unless a rule made it one.
        let is_error = matches!(answer.outcome, Outcome::Error(_));
        let rule = rule.filter(|rule| is_error || ignores(rule));
        self.note(rule);
        match (&answer.outcome, &self.example.expect_error) {
            (Outcome::Success { output }, None) => {
                let output = match &self.action.plan.pagination {
                    None => output.clone(),
                    Some(plan) => {
                        let mut pages = Pages::new(plan, request);
                        if let Err(e) = pages.next(request, &answer) {
                            self.refuse(&format!("{at}/response"), "example_differs", e.to_string());
                            return Ok(());
                        }
                        pages.finish()
                    }
                };
                if let Some(expected) = self.example.expect_output.as_ref().filter(|all| **all != output) {
                    let message = diff::of_documents("the action's output", Some(expected), Some(&output));
                    self.refuse("/expect_output", "example_differs", message);
                }
            }
            (Outcome::Success { .. }, Some(_)) => {
                self.refuse("/expect_error", "example_differs", "the answer is a success");
            }
            (Outcome::Error(error), None) => {
                let message = format!("the answer is an error of class {}", error.class.as_str());
                self.refuse(&format!("{at}/response"), "example_differs", message);
            }
            (Outcome::Error(error), Some(expected)) => {
                let wait = portcullis_action::retry::wait_of(
                    &self.action.retry,
                    &answer.mapped.headers,
                    &answer.mapped.body,
                    NOW_MS,
                );
                self.check_error(
                    expected,
                    error,
                    wait.map(|w| u64::try_from(w.as_millis()).unwrap_or(u64::MAX)),
                );
            }
        }
        Ok(())
    }

    /// The plan lists the action's rules first, then the connector's.
    fn note(&mut self, rule: Option<usize>) {
        let Some(rule) = rule else { return };
        let own = self.wire.errors.len();
        self.met.rules.insert(match rule.checked_sub(own) {
            None => format!("{}/errors/{rule}", self.at),
            Some(shared) => format!("/errors/{shared}"),
        });
    }

    fn check_error(&mut self, expected: &ExampleErrorDef, error: &UpstreamError, wait_ms: Option<u64>) {
        let class = expected.class;
        if class != error.class {
            let message = format!("the answer's class is {}", error.class.as_str());
            self.refuse("/expect_error/class", "example_differs", message);
        }
        let texts = [("code", &expected.code, &error.code), ("message", &expected.message, &error.message)];
        for (member, expected, found) in texts {
            if expected.is_some() && expected != found {
                let message = format!("the answer's {member} is {found:?}");
                self.refuse(&format!("/expect_error/{member}"), "example_differs", message);
            }
        }
        if expected.wait_ms.is_some() && expected.wait_ms != wait_ms {
            let message = format!("the answer's wait is {wait_ms:?} ms");
            self.refuse("/expect_error/wait_ms", "example_differs", message);
        }
    }
}

/// A JSON body as a document, any other as text.
fn body_value(request: &RenderedRequest) -> Option<Value> {
    let body = request.body.as_ref()?;
    let media = request.headers.iter().find(|(name, _)| name == "content-type");
    let is_json = media.is_some_and(|(_, media)| media.contains("json"));
    let text = String::from_utf8_lossy(body).into_owned();
    Some(if is_json {
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    } else {
        Value::String(text)
    })
}
