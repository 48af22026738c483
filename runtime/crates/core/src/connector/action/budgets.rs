//! Client-side budgets of an action: the connector's and its own.

use portcullis_action::template::{Scope, Template};

use super::{Context, Report, check_template, check_variable};
use crate::connector::Budget;
use crate::definition::{ActionDef, RateLimitDef};

/// The connector's budgets and the action's own.
pub(super) fn build(
    context: &Context<'_>,
    wire: &ActionDef,
    pointer: &str,
    report: &mut Report<'_>,
) -> Vec<Budget> {
    let mut budgets = Vec::new();
    for (i, written) in context.definition.rate_limit.iter().enumerate() {
        let at = format!("/rate_limit/{i}");
        let key = shared_key(context, wire, written, &format!("{at}/key"), report);
        budgets.push(budget(written, i.to_string(), key, &at, report));
    }
    for (i, written) in wire.rate_limit.iter().enumerate() {
        let at = format!("{pointer}/rate_limit/{i}");
        let key = written.key.as_ref();
        let key = key.and_then(|text| check_template(context, wire, text, &format!("{at}/key"), report));
        // Why by pointer: the test's request may have the same id as an action.
        budgets.push(budget(written, at.clone(), key, &at, report));
    }
    budgets
}

fn budget(
    written: &RateLimitDef,
    id: String,
    key: Option<Template>,
    at: &str,
    report: &mut Report<'_>,
) -> Budget {
    if written.requests.is_none() && written.concurrency.is_none() {
        report.error(at, "budget_incomplete", "needs requests or concurrency");
    }
    if written.per_ms.is_some() && written.requests.is_none() {
        report.error(
            format!("{at}/per_ms"),
            "budget_incomplete",
            "is the period of requests, which is not written",
        );
    }
    Budget {
        id,
        requests: written.requests.map(|requests| (requests, written.per_ms.unwrap_or(1000))),
        concurrency: written.concurrency,
        scope: written.scope,
        key,
    }
}

/// The key of a connector's budget for this action: an action without the input that the key names uses the
/// undivided budget, but at least one action must have the input.
fn shared_key(
    context: &Context<'_>,
    wire: &ActionDef,
    written: &RateLimitDef,
    at: &str,
    report: &mut Report<'_>,
) -> Option<Template> {
    let template = match Template::parse_text(written.key.as_ref()?) {
        Ok(template) => template,
        Err(e) => {
            report.error(at, "template_invalid", e.to_string());
            return None;
        }
    };
    let has = |action: &ActionDef, name: &str| {
        let first = name.split('.').next().unwrap_or_default();
        action.body_schema.iter().any(|input| input.name == name || input.name == first)
    };
    let mut whole = true;
    for variable in template.variables() {
        let elsewhere = variable.scope == Scope::Input
            && !has(wire, &variable.name)
            && context.definition.actions.iter().any(|action| has(action, &variable.name));
        if elsewhere {
            whole = false;
        } else {
            check_variable(context, wire, variable, at, report);
        }
    }
    whole.then_some(template)
}
