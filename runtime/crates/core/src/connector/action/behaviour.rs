//! What an action's answer means, how the vendor recognizes a repeat, and the action's limits.

use http::HeaderName;
use portcullis_action::plan::{ErrorClass, ErrorRule, KeyPlace, ResponsePlan, ResponseType, SuccessPlan};
use serde_json::Value;

use super::{Context, Report};
use crate::connector::place::{body_place, check_pointer};
use crate::connector::{KeyRules, RequestLimits};
use crate::definition::{ActionDef, BodyTypeDef, Definition, ErrorRuleDef, IdempotencyIn, ResponseDef};
use crate::header_rules::is_visible_to_guest;
use crate::violation::step;

/// Default for the longest idempotency key, characters: the most common limit.
const KEY_CHARS: u16 = 255;

pub(super) fn predicate(value: Option<&Value>, pointer: &str, report: &mut Report<'_>) -> Option<Value> {
    if let Some(Err(e)) = value.map(|value| report.compiler.predicate(value)) {
        report.error(format!("{pointer}{}", e.pointer), "predicate_invalid", e.message);
    }
    value.cloned()
}

pub(super) fn success(wire: &ActionDef, pointer: &str, report: &mut Report<'_>) -> SuccessPlan {
    let written = wire.success.clone().unwrap_or_default();
    let at = format!("{pointer}/success/predicate");
    let is_graphql = wire.body.as_ref().is_some_and(|body| body.r#type == BodyTypeDef::Graphql);
    if is_graphql && written.predicate.is_none() {
        let message = "GraphQL reports errors with status 200, so every answer counts as a success; write a predicate \
                       such as {\"path\": \"/errors\", \"exists\": false}";
        report.warn(&at, "graphql_without_success", message);
    }
    SuccessPlan { status: written.status, predicate: predicate(written.predicate.as_ref(), &at, report) }
}

pub(super) fn response(wire: &ActionDef, pointer: &str, report: &mut Report<'_>) -> ResponsePlan {
    let written = wire.response.clone().unwrap_or_default();
    let at = format!("{pointer}/response");
    if let Some(root) = &written.root {
        check_pointer(root, &format!("{at}/root"), report.errors);
    }
    for (name, place) in &written.map {
        let at = format!("{at}/map/{}", step(name));
        match place.strip_prefix("header:") {
            Some(header) if !is_readable(header) => {
                let message = format!("{header:?} is not the name of a header that a guest can see");
                report.error(at, "pointer_invalid", message);
            }
            None if place != "status" => check_pointer(place, &at, report.errors),
            _ => {}
        }
    }
    for (index, field) in written.fields.iter().enumerate() {
        if let Some(path) = &field.path {
            check_pointer(path, &format!("{at}/fields/{index}/path"), report.errors);
        }
    }
    check_unread(&written, &at, report);
    ResponsePlan {
        r#type: written.r#type,
        root: written.root.clone(),
        map: written.map.into_iter().collect(),
    }
}

pub(super) fn is_readable(header: &str) -> bool {
    HeaderName::from_bytes(header.as_bytes()).is_ok_and(|name| is_visible_to_guest(name.as_str()))
}

/// Refuses members that the answer's type does not read.
fn check_unread(written: &ResponseDef, at: &str, report: &mut Report<'_>) {
    let has_members =
        matches!(written.r#type, ResponseType::Auto | ResponseType::Json | ResponseType::Ndjson);
    if written.root.is_some() && !has_members {
        report.error(format!("{at}/root"), "response_unused", "an answer of this type has no members");
    }
}

/// The error rules: the action's before the connector's.
pub(super) fn errors(
    context: &Context<'_>,
    wire: &ActionDef,
    pointer: &str,
    report: &mut Report<'_>,
) -> Vec<ErrorRule> {
    let own = wire.errors.iter().enumerate();
    let own = own.map(|(i, rule)| error_rule(rule, &format!("{pointer}/errors/{i}"), report));
    let mut rules: Vec<ErrorRule> = own.collect();
    rules.extend(context.shared_errors.iter().cloned());
    rules
}

/// The connector's error rules.
pub(in crate::connector) fn shared_errors(
    definition: &Definition,
    report: &mut Report<'_>,
) -> Vec<ErrorRule> {
    let shared = definition.errors.iter().enumerate();
    shared.map(|(i, rule)| error_rule(rule, &format!("/errors/{i}"), report)).collect()
}

fn error_rule(wire: &ErrorRuleDef, at: &str, report: &mut Report<'_>) -> ErrorRule {
    let is_empty = wire.when.status.is_empty() && wire.when.predicate.is_none() && wire.when.header.is_none();
    if is_empty && !report.is_broken_in(&format!("{at}/when")) {
        report.error(format!("{at}/when"), "rule_without_condition", "needs status, predicate or header");
    }
    for (member, path) in [("code_path", &wire.code_path), ("message_path", &wire.message_path)] {
        if let Some(path) = path {
            check_pointer(path, &format!("{at}/{member}"), report.errors);
        }
    }
    if wire.r#final && wire.class != ErrorClass::Auth {
        let message = "says that the credential is refused, which only an error of class auth does";
        report.error(format!("{at}/final"), "final_without_auth", message);
    }
    ErrorRule {
        status: wire.when.status.clone(),
        predicate: predicate(wire.when.predicate.as_ref(), &format!("{at}/when/predicate"), report),
        header: predicate(wire.when.header.as_ref(), &format!("{at}/when/header"), report),
        class: wire.class,
        action: wire.action.unwrap_or_else(|| wire.class.default_action()),
        code_path: wire.code_path.clone(),
        message_path: wire.message_path.clone(),
        message: wire.message.clone(),
        r#final: wire.r#final,
    }
}

pub(super) fn idempotency(wire: &ActionDef, pointer: &str, report: &mut Report<'_>) -> Option<KeyPlace> {
    let written = wire.idempotency.as_ref()?;
    Some(match written.r#in {
        IdempotencyIn::Header => KeyPlace::Header(written.name.clone()),
        IdempotencyIn::Query => KeyPlace::Query(written.name.clone()),
        IdempotencyIn::Body => {
            let at = format!("{pointer}/idempotency/name");
            KeyPlace::Body(body_place(&written.name, &at, report.errors))
        }
    })
}

/// The vendor's rules for idempotency keys.
pub(super) fn key_rules(wire: &ActionDef) -> Option<KeyRules> {
    let written = wire.idempotency.as_ref()?;
    Some(KeyRules { chars_max: written.max_length.unwrap_or(KEY_CHARS), ttl_s: written.ttl_s })
}

/// The action's limits take precedence over the connector's.
pub(super) fn limits(definition: &Definition, wire: &ActionDef) -> RequestLimits {
    let own = wire.limits.unwrap_or_default();
    let shared = definition.limits;
    let max_bytes = wire.response.as_ref().and_then(|response| response.max_bytes);
    RequestLimits {
        response_bytes: max_bytes.or(own.response_bytes).or(shared.response_bytes),
        timeout_ms: own.timeout_ms.or(shared.timeout_ms),
        connect_timeout_ms: own.connect_timeout_ms.or(shared.connect_timeout_ms),
    }
}
