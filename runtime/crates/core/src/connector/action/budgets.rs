//! Client-side budgets of an action: the connector's and its own.

use portcullis_action::template::{Scope, Template, tables_of};

use super::{Context, Report, check_template, check_variable};
use crate::connector::Budget;
use crate::definition::{ActionDef, Definition, RateLimitDef};
use crate::tables::NOT_HERE;

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
        let template = context.shared_keys.get(i).and_then(Option::as_ref);
        let key = template.and_then(|key| shared_key(context, wire, key, &format!("{at}/key"), report));
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
    let looks_up = |key: &Template| key.variables().any(|v| tables_of(&v.filters).next().is_some());
    if key.as_ref().is_some_and(looks_up) {
        report.error(format!("{at}/key"), "lookup_misplaced", NOT_HERE);
    }
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

/// The keys of the connector's budgets.
pub(in crate::connector) fn shared_keys(
    definition: &Definition,
    report: &mut Report<'_>,
) -> Vec<Option<Template>> {
    let mut parse = |(i, written): (usize, &RateLimitDef)| match Template::parse_text(written.key.as_ref()?) {
        Ok(template) => Some(template),
        Err(e) => {
            report.error(format!("/rate_limit/{i}/key"), "template_invalid", e.to_string());
            None
        }
    };
    definition.rate_limit.iter().enumerate().map(&mut parse).collect()
}

/// The key of a connector's budget for this action: an action without the input that the key names uses the
/// undivided budget, but at least one action must have the input.
fn shared_key(
    context: &Context<'_>,
    wire: &ActionDef,
    template: &Template,
    at: &str,
    report: &mut Report<'_>,
) -> Option<Template> {
    let mut whole = true;
    for variable in template.variables() {
        let name = variable.name.as_str();
        let first = name.split('.').next().unwrap_or_default();
        let here = wire.body_schema.iter().any(|input| input.name == name || input.name == first);
        let anywhere = context.inputs.contains(name) || context.inputs.contains(first);
        if variable.scope == Scope::Input && !here && anywhere {
            whole = false;
        } else {
            check_variable(context, wire, variable, at, report);
        }
    }
    whole.then(|| template.clone())
}
