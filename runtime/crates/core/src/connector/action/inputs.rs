//! Inputs of an action: what is accepted, and where it goes.

use std::collections::HashSet;

use portcullis_action::plan::{ArrayFormat, OmitIf};
use portcullis_action::template::{Part, Scope, Variable, parse_filters};
use portcullis_action::{BodyPlan, InputPlace, InputPlan, Method, UrlTemplate};

use super::{Context, Report, check_header, default_place};
use crate::connector::fields::pattern;
use crate::connector::place::body_place;
use crate::definition::{ActionDef, InputDef, InputType};
use crate::input::Input;

/// Checks every input of an action.
pub(super) fn build(
    context: &Context<'_>,
    wire: &ActionDef,
    method: Method,
    named: &HashSet<String>,
    body: &BodyPlan,
    pointer: &str,
    report: &mut Report<'_>,
) -> (Vec<Input>, Vec<InputPlan>) {
    let (mut inputs, mut plans) = (Vec::new(), Vec::new());
    for (at, input) in wire.body_schema.iter().enumerate() {
        let pointer = format!("{pointer}/body_schema/{at}");
        if wire.body_schema.iter().take(at).any(|other| other.name == input.name) {
            let message = format!("input {:?} is used twice", input.name);
            report.error(format!("{pointer}/name"), "duplicate_input", message);
        }
        let place = place(input, method, named.contains(&input.name), &pointer, report);
        check_place(context, input, place, body, &pointer, report);
        check_unread(input, place, body, &pointer, report);
        inputs.push(checked(input, &pointer, report));
        plans.push(plan(context, input, place, &pointer, report));
    }
    (inputs, plans)
}

/// Where an input goes: as written, otherwise where a template uses it, otherwise by method.
fn place(
    input: &InputDef,
    method: Method,
    named: bool,
    pointer: &str,
    report: &mut Report<'_>,
) -> InputPlace {
    let written = input.r#in;
    if written == Some(InputPlace::Path) && !named {
        let message = format!("in is path, but no template names {{{{input.{}}}}}", input.name);
        report.error(format!("{pointer}/in"), "input_not_in_path", message);
    }
    written.unwrap_or_else(|| default_place(method, named))
}

fn check_place(
    context: &Context<'_>,
    input: &InputDef,
    place: InputPlace,
    body: &BodyPlan,
    pointer: &str,
    report: &mut Report<'_>,
) {
    let wire_name = input.r#as.as_deref().unwrap_or(&input.name);
    match place {
        InputPlace::Body => check_body_place(input, body, pointer, report),
        InputPlace::Query => {
            if context.takes_query(wire_name) {
                let message = format!("query pair {wire_name:?} is where the credential goes");
                report.error(format!("{pointer}/name"), "query_forbidden", message);
            }
            let nested = matches!(
                input.array_format,
                Some(ArrayFormat::Brackets | ArrayFormat::Indices | ArrayFormat::Json)
            );
            if input.r#type == InputType::Object && !nested {
                let message = "an object in the query needs array_format brackets, indices or json";
                report.error(format!("{pointer}/type"), "input_type_not_placeable", message);
            }
        }
        InputPlace::Header => {
            check_header(wire_name, &format!("{pointer}/name"), &context.injected, report);
            if matches!(input.r#type, InputType::Object | InputType::Array) {
                let message = "objects and arrays cannot stand in a header";
                report.error(format!("{pointer}/type"), "input_type_not_placeable", message);
            }
        }
        InputPlace::Path => {}
    }
    if input.r#type == InputType::File && place != InputPlace::Body {
        report.error(format!("{pointer}/type"), "input_type_not_placeable", "a file goes to the body only");
    }
}

/// Refuses members that the input's position does not read.
fn check_unread(
    input: &InputDef,
    place: InputPlace,
    body: &BodyPlan,
    pointer: &str,
    report: &mut Report<'_>,
) {
    let is_root = match body {
        BodyPlan::Json { root, .. } => root.as_ref() == Some(&input.name),
        BodyPlan::Raw { root } => *root == input.name,
        _ => false,
    };
    let in_body = place == InputPlace::Body && !is_root;
    if input.path.is_some() && (!in_body || matches!(body, BodyPlan::Multipart)) {
        let message = "path is a position in a json, form or graphql body";
        report.error(format!("{pointer}/path"), "input_not_in_body", message);
    }
    if input.r#as.is_some() && (place == InputPlace::Path || is_root) {
        let message = "as is a name on the wire; this input is placed by a template, or is the whole body";
        report.error(format!("{pointer}/as"), "input_rule_unused", message);
    }
    if input.r#as.is_some() && input.path.is_some() {
        report.error(format!("{pointer}/as"), "input_rule_unused", "path says the whole place already");
    }
    let writes_lists = place == InputPlace::Query || (in_body && matches!(body, BodyPlan::Form { .. }));
    if input.array_format.is_some() && !writes_lists {
        let message = "array_format is for queries and forms";
        report.error(format!("{pointer}/array_format"), "array_format_unused", message);
    }
}

fn check_body_place(input: &InputDef, body: &BodyPlan, pointer: &str, report: &mut Report<'_>) {
    let root = match body {
        BodyPlan::None => {
            report.error(format!("{pointer}/in"), "method_without_body", "the action has no body");
            return;
        }
        BodyPlan::Xml { .. } | BodyPlan::Text { .. } => {
            let message = "an input of a text body is named by its template";
            report.error(format!("{pointer}/in"), "input_not_in_template", message);
            return;
        }
        BodyPlan::Raw { root } => Some(root),
        BodyPlan::Json { root, .. } => root.as_ref(),
        _ => None,
    };
    if let Some(root) = root.filter(|root| **root != input.name) {
        let message = format!("input {root:?} is the whole body");
        report.error(format!("{pointer}/in"), "body_is_another_input", message);
    }
    let files = matches!(body, BodyPlan::Multipart | BodyPlan::Raw { .. });
    if input.r#type == InputType::File && !files {
        let message = "a file needs body.type multipart or raw";
        report.error(format!("{pointer}/type"), "input_type_not_placeable", message);
    }
    let whole = matches!(body, BodyPlan::Json { template: Some(template), .. } if !template.is_object());
    if whole && input.path.is_none() {
        let message = "the body's template is no object, so the input has no place in it; give it a path";
        report.error(format!("{pointer}/in"), "input_not_in_template", message);
    }
}

fn checked(wire: &InputDef, pointer: &str, report: &mut Report<'_>) -> Input {
    let at = format!("{pointer}/pattern");
    let input = Input {
        name: wire.name.clone(),
        label: wire.label.clone(),
        kind: wire.r#type,
        required: wire.required,
        nullable: wire.nullable || wire.omit_if == Some(OmitIf::Never),
        default: wire.default.clone(),
        accepted: wire.r#enum.clone(),
        pattern: wire.pattern.as_ref().and_then(|text| pattern(text, None, &at, report)),
        format: wire.format,
        min: wire.min,
        max: wire.max,
        min_length: wire.min_length,
        max_length: wire.max_length,
        sensitive: wire.sensitive,
        help: wire.help.clone(),
        example: wire.example.clone(),
    };
    for (member, value) in [("default", &input.default), ("example", &input.example)] {
        if let Some(value) = value {
            input.check(value, &format!("{pointer}/{member}"), report.budget, report.errors);
        }
    }
    check_rules(wire, &input, pointer, report);
    input
}

/// Reports rules that no value of the type can satisfy, or that do not apply to the type.
fn check_rules(wire: &InputDef, input: &Input, pointer: &str, report: &mut Report<'_>) {
    use InputType::{Any, Array, Date, Datetime, File, Integer, Number};
    let texts = &[InputType::String, Date, Datetime, File, Any][..];
    for (member, written, read_by) in [
        ("pattern", wire.pattern.is_some(), texts),
        ("format", wire.format.is_some(), texts),
        ("min", wire.min.is_some(), &[Number, Integer, Any]),
        ("max", wire.max.is_some(), &[Number, Integer, Any]),
        ("min_length", wire.min_length.is_some(), &[InputType::String, Array, Date, Datetime, File, Any]),
        ("max_length", wire.max_length.is_some(), &[InputType::String, Array, Date, Datetime, File, Any]),
    ] {
        if written && !read_by.contains(&wire.r#type) {
            let message = format!("is not read for type {}", crate::input::type_name(wire.r#type));
            report.error(format!("{pointer}/{member}"), "input_rule_unused", message);
        }
    }
    let none = "is more than the maximum: no value is possible";
    if wire.min.zip(wire.max).is_some_and(|(min, max)| min > max) {
        report.error(format!("{pointer}/min"), "rule_contradiction", none);
    }
    if wire.min_length.zip(wire.max_length).is_some_and(|(min, max)| min > max) {
        report.error(format!("{pointer}/min_length"), "rule_contradiction", none);
    }
    // Why without the others: only what an entry is checked against is read.
    let open = Input {
        name: input.name.clone(),
        kind: input.kind,
        pattern: input.pattern.clone(),
        format: input.format,
        min: input.min,
        max: input.max,
        min_length: input.min_length,
        max_length: input.max_length,
        ..Input::default()
    };
    for (index, value) in wire.r#enum.iter().flatten().enumerate() {
        open.check(value, &format!("{pointer}/enum/{index}"), report.budget, report.errors);
    }
    if wire.r#enum.as_ref().is_some_and(Vec::is_empty) {
        report.error(format!("{pointer}/enum"), "rule_contradiction", "is empty: no value is possible");
    }
}

fn plan(
    context: &Context<'_>,
    wire: &InputDef,
    place: InputPlace,
    pointer: &str,
    report: &mut Report<'_>,
) -> InputPlan {
    let at = format!("{pointer}/transform");
    match wire.transform.as_deref().map(parse_filters) {
        Some(Ok(filters)) => report.lookups(&filters, context.tables, &at),
        Some(Err(e)) => report.error(at, "template_invalid", e.to_string()),
        None => {}
    }
    InputPlan {
        name: wire.name.clone(),
        wire: wire.r#as.clone(),
        place,
        path: wire
            .path
            .as_deref()
            .map(|path| body_place(path, &format!("{pointer}/path"), report.errors))
            .unwrap_or_default(),
        array_format: wire.array_format,
        transform: wire.transform.clone(),
        omit_if: wire.omit_if.unwrap_or_default(),
        nullable: wire.nullable,
        file: wire.r#type == InputType::File,
    }
}

/// What is legal in a URL but unwise: an input that chooses the host, a path variable that may have no value.
pub(super) fn check_url_inputs(
    context: &Context<'_>,
    url: Option<&UrlTemplate>,
    inputs: &[Input],
    pointer: &str,
    report: &mut Report<'_>,
) {
    let pointer = format!("{pointer}/url_template");
    let is_input = |variable: &Variable| variable.scope == Scope::Input;
    let parts = url.iter().flat_map(|url| url.host.iter()).flat_map(|label| label.parts());
    let chosen = parts.into_iter().any(|part| matches!(part, Part::Variable(v) if is_input(v)));
    if chosen && context.injection.needs_credential() {
        let message = "an input chooses the host that receives the credential; a config field would pin it";
        report.warn(&pointer, "host_chosen_by_input", message);
    }
    for variable in url.iter().flat_map(|url| url.required_variables()).filter(|v| is_input(v)) {
        let optional = inputs
            .iter()
            .any(|input| input.name == variable.name && !input.required && input.default.is_none());
        if optional {
            let message =
                format!("{variable} is in the path but its input is optional; a call without it fails");
            report.warn(&pointer, "path_input_optional", message);
        }
    }
}
