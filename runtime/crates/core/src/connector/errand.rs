//! Requests that Portcullis makes without a caller's input: the credential check, and those that fill
//! automated config fields.

use std::collections::HashSet;

use portcullis_action::ActionPlan;

use super::action::{self, Context, Report};
use super::place::{check_pointer, names_secret};
use super::{Action, Discovery, Effect, Test};
use crate::definition::ActionDef;
use crate::violation::step;

/// The credential check.
pub(super) fn test(context: &Context<'_>, report: &mut Report<'_>) -> Option<Test> {
    let wire = context.definition.test.as_ref()?;
    if let Some(label) = &wire.label {
        check_pointer(label, "/test/label", report.errors);
    }
    let action = request(context, "/test/request", &wire.request, report)?;
    Some(Test { action, label: wire.label.clone() })
}

/// The requests that fill automated config fields.
pub(super) fn discoveries(context: &Context<'_>, report: &mut Report<'_>) -> Vec<Discovery> {
    let mut discoveries: Vec<Discovery> = Vec::new();
    let mut taken: HashSet<&str> = HashSet::new();
    for (index, wire) in context.definition.discover.iter().enumerate() {
        let at = format!("/discover/{index}");
        for (name, pointer) in &wire.capture {
            let at = format!("{at}/capture/{}", step(name));
            if !context.fields.iter().any(|f| f.name == *name && f.automated) {
                let message = format!("there is no config field {name:?} marked automated");
                report.error(&at, "unknown_reference", message);
            }
            if !taken.insert(name) {
                report.error(&at, "duplicate_capture", format!("{name:?} is captured before"));
            }
            check_pointer(pointer, &at, report.errors);
            if names_secret(pointer) {
                let message =
                    format!("{pointer:?} is a secret by its name; what is captured is visible to guests");
                report.error(&at, "capture_of_secret", message);
            }
        }
        let action = request(context, &format!("{at}/request"), &wire.request, report);
        let capture = wire.capture.clone().into_iter().collect();
        discoveries.extend(action.map(|action| Discovery { action, capture }));
    }
    discoveries
}

/// An action like any other that reads, and whose inputs all have defaults.
fn request(context: &Context<'_>, at: &str, wire: &ActionDef, report: &mut Report<'_>) -> Option<Action> {
    for (index, input) in wire.body_schema.iter().enumerate() {
        if input.default.is_none() {
            let message = format!("this request has no caller to give {:?}; write a default", input.name);
            report.error(format!("{at}/body_schema/{index}/default"), "input_nobody_gives", message);
        }
    }
    let action = action::build(context, at, wire, report)?;
    if action.effect != Effect::Read {
        let message = format!("{} changes something; a request made unasked must read", action.method);
        let hint = "; write effect: read if it does";
        report.error(format!("{at}/effect"), "errand_not_a_read", format!("{message}{hint}"));
    }
    let ActionPlan { pagination, poll, .. } = &action.plan;
    if pagination.is_some() {
        let message = "one answer is read here, no list of pages";
        report.error(format!("{at}/pagination"), "pagination_unused", message);
    }
    if poll.is_some() {
        report.error(format!("{at}/poll"), "poll_unused", "one answer is read here, nothing is asked again");
    }
    Some(action)
}
