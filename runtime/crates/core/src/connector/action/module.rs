//! An action that the connector's custom module serves: its inputs and outputs, and nothing of HTTP.

use std::collections::HashSet;

use portcullis_action::Method;
use portcullis_action::plan::{ActionPlan, BodyPlan};

use super::{Context, Own, Report, inputs, whole};
use crate::connector::{Action, DEFAULT_SLOT, Effect};
use crate::definition::ActionDef;

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
    let (method, url, _) = context.runtime?.requests.first()?;
    let effect = wire.effect?;
    let plan = ActionPlan {
        action_id: wire.action_id.clone(),
        credential: context.injection.needs_credential().then(|| DEFAULT_SLOT.to_owned()),
        ..ActionPlan::default()
    };
    let (idempotent, plan_json) = (effect == Effect::Read, "{}".to_owned());
    let own = Own { effect, idempotent, method: *method, url: url.clone(), inputs, plan, plan_json };
    whole(context, wire, own, pointer, report)
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
