//! An action that the connector's custom module serves: its inputs and outputs, and nothing of HTTP.

use std::collections::HashSet;

use portcullis_action::plan::{ActionPlan, BodyPlan};
use portcullis_action::{Method, UrlTemplate};

use super::{Context, Report, behaviour, budgets, inputs, retry};
use crate::connector::{Action, DEFAULT_SLOT, Effect};
use crate::definition::ActionDef;
use crate::id::ActionId;

/// Checks one action; `None` after an error that leaves nothing to build.
pub(super) fn build(
    context: &Context<'_>,
    pointer: &str,
    wire: &ActionDef,
    report: &mut Report<'_>,
) -> Option<Action> {
    check_unread(wire, pointer, report);
    if wire.effect.is_none() {
        let message = "a module's action says what it does: read, write or delete";
        report.error(format!("{pointer}/effect"), "missing_field", message);
    }
    // Why as a body: where an input goes is the module's own business.
    let body = BodyPlan::Json { wrap: None, template: None, root: None };
    let (inputs, _) = inputs::build(context, wire, Method::Post, &HashSet::new(), &body, pointer, report);
    let first: Option<&(Method, UrlTemplate, String)> = context.runtime?.requests.first();
    let (method, url, _) = first?;
    let effect = wire.effect?;
    Some(Action {
        id: ActionId::parse(&wire.action_id).ok()?,
        name: wire.name.clone(),
        description: wire.description.clone(),
        docs_url: wire.docs_url.clone(),
        deprecated: wire.deprecated.is_some(),
        hidden: wire.hidden,
        effect,
        idempotent: wire.idempotent.unwrap_or(effect == Effect::Read),
        method: *method,
        url: url.clone(),
        page_urls: Vec::new(),
        poll: None,
        is_module: true,
        inputs,
        outputs: wire.response.iter().flat_map(|r| r.fields.iter().cloned()).collect(),
        requires_scopes: wire.requires_scopes.clone(),
        retry: retry::build(context.definition, wire, pointer, report),
        budgets: budgets::build(context, wire, pointer, report),
        limits: behaviour::limits(context.definition, wire),
        key: None,
        plan: ActionPlan {
            action_id: wire.action_id.clone(),
            credential: context.injection.needs_credential().then(|| DEFAULT_SLOT.to_owned()),
            ..ActionPlan::default()
        },
        plan_json: "{}".to_owned(),
    })
}

/// Refuses what only the product's own handler reads: it would go unnoticed.
fn check_unread(wire: &ActionDef, pointer: &str, report: &mut Report<'_>) {
    let response = wire.response.as_ref();
    for (member, is_written) in [
        ("http_method", wire.http_method.is_some()),
        ("url_template", wire.url_template.is_some()),
        ("headers", !wire.headers.is_empty()),
        ("query", !wire.query.is_empty()),
        ("body", wire.body.is_some()),
        ("success", wire.success.is_some()),
        ("errors", !wire.errors.is_empty()),
        ("pagination", wire.pagination.is_some()),
        ("paginate", wire.paginate),
        ("poll", wire.poll.is_some()),
        ("idempotency", wire.idempotency.is_some()),
        ("response/root", response.is_some_and(|response| response.root.is_some())),
        ("response/map", response.is_some_and(|response| !response.map.is_empty())),
    ] {
        if is_written {
            let message = "is not read where a module makes the requests";
            report.error(format!("{pointer}/{member}"), "module_unused", message);
        }
    }
}
