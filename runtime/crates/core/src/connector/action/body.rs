//! The body of an action: its shape and its templates.

use portcullis_action::{BodyPlan, Method};
use serde_json::Value;

use super::{Context, Report, check_template};
use crate::definition::{ActionDef, BodyDef, BodyTypeDef, InputType};
use crate::violation::step;

/// The body's plan and its content type, where one is written.
pub(super) fn build(
    context: &Context<'_>,
    wire: &ActionDef,
    method: Method,
    pointer: &str,
    report: &mut Report<'_>,
) -> (BodyPlan, Option<String>) {
    let pointer = format!("{pointer}/body");
    let Some(body) = &wire.body else {
        let plan = if method.has_body() { json(&BodyDef::default()) } else { BodyPlan::None };
        return (plan, None);
    };
    // Why GET and DELETE too: some APIs read a body there, although it has no general meaning (RFC 9110 sections 9.3.1
    // and 9.3.5).
    let may_have = method.has_body() || matches!(method, Method::Get | Method::Delete);
    if body.r#type != BodyTypeDef::None && !may_have {
        report.error(&pointer, "method_without_body", format!("{method} has no body"));
    }
    check_unread(body, &pointer, report);
    if let Some(content_type) = &body.content_type {
        check_content_type(wire, content_type, &pointer, report);
    }
    let plan = match body.r#type {
        BodyTypeDef::None => BodyPlan::None,
        BodyTypeDef::Json => json(body),
        BodyTypeDef::Form => {
            BodyPlan::Form { style: body.form_style.unwrap_or_default(), template: body.template.clone() }
        }
        BodyTypeDef::Multipart => BodyPlan::Multipart,
        BodyTypeDef::Xml => BodyPlan::Xml { template: text_template(body, &pointer, report) },
        BodyTypeDef::Text => match &body.root {
            Some(root) => BodyPlan::Text { template: format!("{{{{input.{root}}}}}") },
            None => BodyPlan::Text { template: text_template(body, &pointer, report) },
        },
        BodyTypeDef::Raw => match &body.root {
            Some(root) => BodyPlan::Raw { root: root.clone() },
            None => {
                report.error(format!("{pointer}/root"), "body_incomplete", "raw needs root, a file input");
                BodyPlan::None
            }
        },
        BodyTypeDef::Graphql => graphql(body, &pointer, report),
    };
    check_root(wire, body, &pointer, report);
    check_texts(context, wire, body, &pointer, report);
    (plan, body.content_type.clone())
}

fn json(body: &BodyDef) -> BodyPlan {
    BodyPlan::Json { wrap: body.wrap.clone(), template: body.template.clone(), root: body.root.clone() }
}

fn graphql(body: &BodyDef, pointer: &str, report: &mut Report<'_>) -> BodyPlan {
    let Some(query) = &body.query else {
        report.error(format!("{pointer}/query"), "body_incomplete", "graphql needs query");
        return BodyPlan::None;
    };
    // Why any: GraphQL itself never has two opening braces in a row.
    if query.contains("{{") {
        let message = "a GraphQL operation is no template; values go into variables";
        report.error(format!("{pointer}/query"), "template_in_graphql", message);
    }
    BodyPlan::Graphql { query: query.clone(), variables: body.variables.clone().unwrap_or_default() }
}

fn text_template(body: &BodyDef, pointer: &str, report: &mut Report<'_>) -> String {
    match &body.template {
        Some(Value::String(text)) => text.clone(),
        _ => {
            report.error(
                format!("{pointer}/template"),
                "body_incomplete",
                "this body needs template, a text",
            );
            String::new()
        }
    }
}

/// Members that the body's type does not read are refused: they are mistakes that would go unnoticed.
fn check_unread(body: &BodyDef, pointer: &str, report: &mut Report<'_>) {
    use BodyTypeDef::{Form, Graphql, Json, Multipart, Raw, Text, Xml};
    for (name, is_written, read_by) in [
        ("wrap", body.wrap.is_some(), &[Json][..]),
        ("template", body.template.is_some(), &[Json, Form, Xml, Text]),
        ("root", body.root.is_some(), &[Json, Text, Raw]),
        ("form_style", body.form_style.is_some(), &[Form]),
        ("query", body.query.is_some(), &[Graphql]),
        ("variables", body.variables.is_some(), &[Graphql]),
        ("content_type", body.content_type.is_some(), &[Json, Form, Multipart, Xml, Text, Raw, Graphql]),
    ] {
        if is_written && !read_by.contains(&body.r#type) {
            let message = format!("is not read by a body of type {}", type_name(body.r#type));
            report.error(format!("{pointer}/{name}"), "body_unused", message);
        }
    }
    if body.root.is_some() && (body.wrap.is_some() || body.template.is_some()) {
        report.error(
            format!("{pointer}/root"),
            "body_unused",
            "root is the whole body: no wrap, no template",
        );
    }
}

const fn type_name(wire: BodyTypeDef) -> &'static str {
    match wire {
        BodyTypeDef::None => "none",
        BodyTypeDef::Json => "json",
        BodyTypeDef::Form => "form",
        BodyTypeDef::Multipart => "multipart",
        BodyTypeDef::Xml => "xml",
        BodyTypeDef::Text => "text",
        BodyTypeDef::Raw => "raw",
        BodyTypeDef::Graphql => "graphql",
    }
}

/// The content type is fixed text, and only allowed where no header sets one.
fn check_content_type(wire: &ActionDef, text: &str, pointer: &str, report: &mut Report<'_>) {
    let at = format!("{pointer}/content_type");
    let sound = text.bytes().all(|b| (0x20..=0x7e).contains(&b)) && !text.contains("{{");
    let media = text.split(';').next().unwrap_or_default().trim();
    if !sound || media.split('/').count() != 2 || media.split('/').any(str::is_empty) {
        report.error(
            &at,
            "wrong_form",
            "must be a media type, such as application/vnd.api+json; no template",
        );
    }
    if wire.headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
        report.error(&at, "body_unused", "headers has a content-type, which would be sent instead");
    }
}

fn check_root(wire: &ActionDef, body: &BodyDef, pointer: &str, report: &mut Report<'_>) {
    let Some(root) = &body.root else { return };
    let at = format!("{pointer}/root");
    match wire.body_schema.iter().find(|input| input.name == *root) {
        None => {
            report.error(at, "unknown_reference", format!("body_schema has no input {root:?}"));
        }
        Some(input) if body.r#type == BodyTypeDef::Raw && input.r#type != InputType::File => {
            report.error(at, "wrong_type", format!("input {root:?} must be of type file"));
        }
        Some(_) => {}
    }
}

fn check_texts(
    context: &Context<'_>,
    wire: &ActionDef,
    body: &BodyDef,
    pointer: &str,
    report: &mut Report<'_>,
) {
    let at = format!("{pointer}/template");
    match (&body.template, body.r#type) {
        (Some(Value::Object(_)) | None, _) | (_, BodyTypeDef::Xml | BodyTypeDef::Text) => {}
        (Some(_), BodyTypeDef::Form) => report.error(&at, "wrong_type", "a form's template is an object"),
        (Some(_), _) if body.wrap.is_some() => {
            report.error(&at, "wrong_type", "what is put under wrap is an object");
        }
        (Some(_), _) => {}
    }
    if let Some(template) = &body.template {
        walk(context, wire, template, &at, report);
    }
    for (name, value) in body.variables.iter().flatten() {
        walk(context, wire, value, &format!("{pointer}/variables/{}", step(name)), report);
    }
}

/// Texts of a document are templates; member names are not.
fn walk(context: &Context<'_>, wire: &ActionDef, value: &Value, pointer: &str, report: &mut Report<'_>) {
    match value {
        Value::String(text) => {
            check_template(context, wire, text, pointer, report);
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(context, wire, item, &format!("{pointer}/{index}"), report);
            }
        }
        Value::Object(map) => {
            for (name, item) in map {
                let at = format!("{pointer}/{}", step(name));
                if name.contains("{{") {
                    let message = "a member's name is no template; an input with a path makes members";
                    report.error(&at, "template_invalid", message);
                }
                walk(context, wire, item, &at, report);
            }
        }
        _ => {}
    }
}

/// Every text of a body that is a template.
pub(super) fn texts(body: &BodyPlan) -> Vec<&str> {
    fn collect<'v>(value: &'v Value, out: &mut Vec<&'v str>) {
        match value {
            Value::String(text) => out.push(text),
            Value::Array(items) => items.iter().for_each(|item| collect(item, out)),
            Value::Object(map) => map.values().for_each(|item| collect(item, out)),
            _ => {}
        }
    }
    let mut out = Vec::new();
    match body {
        BodyPlan::Json { template: Some(template), .. } | BodyPlan::Form { template: Some(template), .. } => {
            collect(template, &mut out);
        }
        BodyPlan::Xml { template } | BodyPlan::Text { template } => out.push(template),
        BodyPlan::Graphql { variables, .. } => variables.values().for_each(|v| collect(v, &mut out)),
        _ => {}
    }
    out
}
