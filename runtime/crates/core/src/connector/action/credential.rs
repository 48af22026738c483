//! The credential's position in an action: it exists, once, and nothing else can be written there.

use http::HeaderName;
use portcullis_action::plan::{ActionPlan, FormStyle, KeyPlace, PageParam};
use portcullis_action::{BodyPlan, InputPlace};
use serde_json::Value;

use super::rules::page_params;
use super::{Context, Report};
use crate::connector::place::overlap;
use crate::definition::ActionDef;
use crate::signing::{SignedPart, Signing};

/// Checks the credential's positions in the body, and that what is signed is sent.
pub(super) fn check(
    context: &Context<'_>,
    wire: &ActionDef,
    plan: &ActionPlan,
    pointer: &str,
    report: &mut Report<'_>,
) {
    if !context.injection.body.is_empty() {
        check_body(wire, plan, pointer, report);
        check_content_type(wire, plan, pointer, report);
    }
    for (place, _) in &context.injection.body {
        check_place(place, plan, pointer, report);
    }
    check_signed(context, wire, plan, pointer, report);
}

/// Checks that there always is a body with members.
fn check_body(wire: &ActionDef, plan: &ActionPlan, pointer: &str, report: &mut Report<'_>) {
    let always = plan.method.has_body();
    let why = match &plan.body {
        BodyPlan::Json { root: Some(_), .. } => "this body is an input whole",
        BodyPlan::Json { template, .. } => match template {
            Some(Value::Object(_)) => return,
            None if always => return,
            Some(_) => "this body is no object",
            None => "this body is left out when there is nothing in it",
        },
        BodyPlan::Form { .. } if always => return,
        BodyPlan::Graphql { .. } => return,
        BodyPlan::Form { .. } => "this body is left out when there is nothing in it",
        BodyPlan::None => "this action has no body",
        _ => "a body of this type has no members",
    };
    let member = if wire.body.is_some() { "body" } else { "http_method" };
    let message =
        format!("the credential goes to the body, and {why}; it needs a json object, a form or graphql");
    report.error(format!("{pointer}/{member}"), "credential_no_place", message);
}

/// The credential is written into the body according to its content type.
fn check_content_type(wire: &ActionDef, plan: &ActionPlan, pointer: &str, report: &mut Report<'_>) {
    let header = plan.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let Some(written) = header.map(|(_, text)| text).or(plan.content_type.as_ref()) else { return };
    let media = written.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let fits = match plan.body {
        BodyPlan::Form { .. } => media == "application/x-www-form-urlencoded",
        _ => media == "application/json" || media.ends_with("+json"),
    };
    if !fits {
        let own = wire.body.as_ref().is_some_and(|body| body.content_type.is_some());
        let member = if own { "body/content_type" } else { "headers" };
        let message = format!("the credential goes to the body, which {media:?} does not describe");
        report.error(format!("{pointer}/{member}"), "credential_no_place", message);
    }
}

/// Checks that nothing else is written to the credential's position.
fn check_place(place: &[String], plan: &ActionPlan, pointer: &str, report: &mut Report<'_>) {
    for (index, input) in plan.inputs.iter().enumerate().filter(|(_, i)| i.place == InputPlace::Body) {
        let mut own = container(&plan.body);
        match input.path.as_slice() {
            [] => own.push(input.wire_name().to_owned()),
            path => own.extend(path.iter().cloned()),
        }
        if overlap(&own, place) {
            let message = format!("/{} is where the credential goes", place.join("/"));
            report.error(format!("{pointer}/body_schema/{index}/name"), "body_forbidden", message);
        }
    }
    if let Some(KeyPlace::Body(own)) = &plan.idempotency
        && overlap(own, place)
    {
        report.error(format!("{pointer}/idempotency/name"), "body_forbidden", "is where the credential goes");
    }
    for (member, param) in plan.pagination.iter().flat_map(page_params) {
        if matches!(param, PageParam::Body(own) if overlap(own, place)) {
            let at = format!("{pointer}/pagination/{member}");
            report.error(at, "body_forbidden", "is where the credential goes");
        }
    }
    let taken = match &plan.body {
        BodyPlan::Json { wrap: Some(wrap), .. } if [wrap.clone()] == place => true,
        BodyPlan::Json { template: Some(template), .. } | BodyPlan::Form { template: Some(template), .. } => {
            place.strip_prefix(container(&plan.body).as_slice()).is_some_and(|rest| stands(template, rest))
        }
        BodyPlan::Graphql { variables, .. } => match place {
            [first] => first == "query" || first == "variables",
            [first, rest @ ..] if first == "variables" => stands(&Value::Object(variables.clone()), rest),
            [first, ..] => first == "query",
            [] => true,
        },
        BodyPlan::Form { style, .. } => place.len() > 1 && *style != FormStyle::Brackets,
        _ => false,
    };
    if taken {
        let message = format!("/{} is where the credential goes; it cannot stand there", place.join("/"));
        report.error(format!("{pointer}/body"), "body_forbidden", message);
    }
}

/// Steps to the object that the inputs are merged into.
fn container(body: &BodyPlan) -> Vec<String> {
    match body {
        BodyPlan::Json { wrap, .. } => wrap.iter().cloned().collect(),
        BodyPlan::Graphql { .. } => vec!["variables".to_owned()],
        _ => Vec::new(),
    }
}

/// Whether a document has a value at these steps, or a value before their end that has no members.
fn stands(document: &Value, steps: &[String]) -> bool {
    let Some((first, rest)) = steps.split_first() else { return true };
    match document {
        Value::Object(map) => map.get(first).is_some_and(|inner| stands(inner, rest)),
        _ => true,
    }
}

/// A signature over a header that is not sent cannot be made.
fn check_signed(
    context: &Context<'_>,
    wire: &ActionDef,
    plan: &ActionPlan,
    pointer: &str,
    report: &mut Report<'_>,
) {
    let Some(Signing::Hmac(hmac)) = &context.injection.signing else { return };
    for (index, part) in hmac.parts.iter().enumerate() {
        let SignedPart::Header(name) = part else { continue };
        let made = [hmac.timestamp_header.as_ref(), hmac.nonce_header.as_ref()].contains(&Some(name));
        if !made && !is_sent(name, wire, plan) {
            let message = format!("{name} is signed, and the request at {pointer} does not always have it");
            report.error(format!("/auth/string_to_sign/{index}"), "unknown_reference", message);
        }
    }
}

fn is_sent(name: &HeaderName, wire: &ActionDef, plan: &ActionPlan) -> bool {
    let is = |other: &str| other.eq_ignore_ascii_case(name.as_str());
    let required = |input: &&str| {
        wire.body_schema.iter().any(|i| i.name == **input && (i.required || i.default.is_some()))
    };
    let has_body = !matches!(plan.body, BodyPlan::None) && plan.method.has_body();
    matches!(name.as_str(), "host" | "accept")
        || (name == http::header::CONTENT_TYPE && has_body)
        || plan.headers.iter().any(|(other, _)| is(other))
        || plan
            .inputs
            .iter()
            .any(|i| i.place == InputPlace::Header && is(i.wire_name()) && required(&i.name.as_str()))
}
