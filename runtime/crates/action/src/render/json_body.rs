//! JSON bodies and GraphQL: a document of templates with the body inputs merged into it.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::document::{Conflict, Node};
use super::{Body, RenderError, parse_text};
use crate::escape;
use crate::plan::{ActionPlan, InputPlace, InputPlan, KeyPlace};
use crate::template::Scope;
use crate::values::Values;

/// A JSON body; `None` if it is empty and the method needs no body.
pub(super) fn render<'a>(
    plan: &'a ActionPlan,
    values: &Values<'a>,
    wrap: Option<&'a str>,
    template: Option<&'a Value>,
    root: Option<&str>,
) -> Result<Option<Body>, RenderError> {
    let whole = |name| Node::given(values.input, name, plan.inputs.iter().find(|field| field.name == name));
    let mut document = match root.and_then(whole) {
        Some(whole) => whole,
        None => from_template(template, values)?,
    };
    put_inputs(&mut document, plan, values, root)?;
    let has_key = values.idempotency_key.is_some() && matches!(plan.idempotency, Some(KeyPlace::Body(_)));
    if document.is_empty_object() && template.is_none() && !has_key && !plan.method.has_body() {
        return Ok(None);
    }
    if let Some(name) = wrap {
        document = Node::Object(vec![(Cow::Borrowed(name), document)]);
    }
    put_key(&mut document, plan, values)?;
    Ok(Some(to_body(&document)))
}

/// GraphQL over HTTP. The operation is sent as it is; values go into `variables` only.
pub(super) fn graphql<'a>(
    plan: &'a ActionPlan,
    values: &Values<'a>,
    query: &'a str,
    variables: &'a Map<String, Value>,
) -> Result<Body, RenderError> {
    let mut variables = members(variables, values)?;
    put_inputs(&mut variables, plan, values, None)?;
    let mut document = Node::Object(vec![
        (Cow::Borrowed("query"), Node::text(query)),
        (Cow::Borrowed("variables"), variables),
    ]);
    put_key(&mut document, plan, values)?;
    Ok(to_body(&document))
}

/// The document of a template; an empty object if there is none.
pub(super) fn from_template<'a>(
    template: Option<&'a Value>,
    values: &Values<'a>,
) -> Result<Node<'a>, RenderError> {
    let document = template.map(|template| resolve(template, values)).transpose()?;
    Ok(document.flatten().unwrap_or_else(Node::empty))
}

/// Puts every body input at its position, except the one that is the whole body.
pub(super) fn put_inputs<'a>(
    document: &mut Node<'a>,
    plan: &'a ActionPlan,
    values: &Values<'a>,
    root: Option<&str>,
) -> Result<(), RenderError> {
    let of_body = |field: &&InputPlan| field.place == InputPlace::Body && root != Some(field.name.as_str());
    for field in plan.inputs.iter().filter(of_body) {
        if let Some(node) = Node::given(values.input, &field.name, Some(field)) {
            put_input(document, field, node)?;
        }
    }
    Ok(())
}

/// Puts the idempotency key at the plan's position, unless the caller set a value there.
pub(super) fn put_key<'a>(
    document: &mut Node<'a>,
    plan: &'a ActionPlan,
    values: &Values<'a>,
) -> Result<(), RenderError> {
    let (Some(KeyPlace::Body(steps)), Some(key)) = (&plan.idempotency, values.idempotency_key) else {
        return Ok(());
    };
    if document.has(steps) {
        return Ok(());
    }
    document
        .place(steps, Node::text(key))
        .map_err(|conflict| RenderError::plan(format!("the idempotency key {conflict}")))
}

fn put_input<'a>(document: &mut Node<'a>, field: &'a InputPlan, node: Node<'a>) -> Result<(), RenderError> {
    let steps = match field.path.as_slice() {
        [] => std::slice::from_ref(field.wire.as_ref().unwrap_or(&field.name)),
        steps => steps,
    };
    document.place(steps, node).map_err(|conflict: Conflict| RenderError::input(&field.name, conflict))
}

fn to_body(document: &Node<'_>) -> Body {
    let bytes = document.to_text().into_bytes();
    Body { bytes, content_type: Cow::Borrowed("application/json") }
}

/// A template value; `None` if it is one variable without a value.
fn resolve<'a>(template: &'a Value, values: &Values<'a>) -> Result<Option<Node<'a>>, RenderError> {
    Ok(match template {
        Value::String(text) => resolve_text(template, text, values)?,
        Value::Array(items) => {
            let items = items.iter().filter_map(|item| resolve(item, values).transpose());
            Some(Node::Array(items.collect::<Result<_, _>>()?))
        }
        Value::Object(map) => Some(members(map, values)?),
        _ => Some(Node::Leaf(Cow::Borrowed(template), None)),
    })
}

fn members<'a>(map: &'a Map<String, Value>, values: &Values<'a>) -> Result<Node<'a>, RenderError> {
    let mut members = Vec::with_capacity(map.len());
    for (name, item) in map {
        if let Some(value) = resolve(item, values)? {
            members.push((Cow::Borrowed(name.as_str()), value));
        }
    }
    Ok(Node::Object(members))
}

fn resolve_text<'a>(
    whole: &'a Value,
    text: &str,
    values: &Values<'a>,
) -> Result<Option<Node<'a>>, RenderError> {
    let template = parse_text(text)?;
    if template.as_literal().is_some() {
        return Ok(Some(Node::Leaf(Cow::Borrowed(whole), None)));
    }
    if let Some(variable) = template.as_single_variable() {
        // Why: an input that is null here is one whose plan says that null is sent.
        let found = values.find(variable)?.filter(|v| variable.scope == Scope::Input || !v.is_null());
        if let Some(found) = &found {
            // Why now: what stands in several places is written in each of them.
            values.pay(|budget| budget.copy(found)).map_err(|e| RenderError::exceeded(variable, e))?;
        }
        return Ok(found.map(|value| Node::Leaf(value, None)));
    }
    let mut out = String::new();
    values.join(&template, &mut out, escape::as_is)?;
    Ok(Some(Node::Leaf(Cow::Owned(Value::String(out)), None)))
}
