//! From an action plan and values to a request, still without a credential.
//!
//! The order is fixed: each input passes its `transform`, then `omit_if` decides whether it is present,
//! then URL, query, body and headers are filled. The result depends on the
//! plan and the values only: the same call makes the same bytes.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::budget::{Budget, RENDERED_BYTES};
use crate::escape;
use crate::filter::parse_filters;
use crate::json::Object;
use crate::plan::{ActionPlan, BodyPlan, InputPlace, InputPlan, KeyPlace, Method, OmitIf, ResponseType};
use crate::render_error::NOT_SCALAR;
pub use crate::render_error::RenderError;
use crate::scalar::scalar_cow;
use crate::template::{Template, TemplateError};
use crate::url_template::{self, UrlTemplate};
pub use crate::values::{Values, dotted};

mod document;
mod file;
mod form;
mod json_body;
mod multipart;
mod pairs;
mod query;
mod text_body;

/// A request as the guest passes it to the gate: no credential, no host-owned header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedRequest {
    pub method: Method,
    /// Absolute `https` URL.
    pub url: String,
    /// Header names in lower case with their values.
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
}

/// A body with the content type of its shape.
struct Body {
    bytes: Vec<u8>,
    content_type: Cow<'static, str>,
}

/// Renders the request of one action.
///
/// # Errors
/// [`RenderError`] when a value is absent or cannot stand at its position.
pub fn render_request(plan: &ActionPlan, values: &Values<'_>) -> Result<RenderedRequest, RenderError> {
    // Why a guest's: the host brings a budget of its own.
    let own = Budget::guest(plan.rendered_bytes.unwrap_or(RENDERED_BYTES));
    let values = &Values { tables: &plan.tables, ..values.within(&own) };
    let settled = settled_inputs(plan, values)?;
    let values = &Values { input: settled.as_ref().map_or(values.input, |map| Object::Map(map)), ..*values };
    let mut url = match url_template::fixed(&plan.url) {
        Some(url) => url,
        None => UrlTemplate::parse(&plan.url).map_err(RenderError::plan)?.render(values)?,
    };
    query::append(plan, values, &mut url)?;
    let body = render_body(plan, values)?;
    let headers = render_headers(plan, values, body.as_ref())?;
    Ok(RenderedRequest { method: plan.method, url, headers, body: body.map(|b| b.bytes) })
}

/// The inputs after `transform` and without those that `omit_if` leaves out, so that template and plan
/// use the same value of an input. `None` if all inputs are as they were given.
fn settled_inputs<'v>(
    plan: &ActionPlan,
    values: &Values<'v>,
) -> Result<Option<Cow<'v, Map<String, Value>>>, RenderError> {
    let input = values.input;
    // Why: the usual call transforms and omits nothing, and needs no copy.
    let has_empty = input.may_have_empty();
    let changes = |field: &&InputPlan| {
        field.transform.is_some()
            || (has_empty && input.get(&field.name).is_some_and(|value| is_omitted(field, &value)))
    };
    if !plan.inputs.iter().any(|field| changes(&field)) {
        // Why: these bodies are made from all values.
        let of_pairs = matches!(plan.body, BodyPlan::Form { .. } | BodyPlan::Multipart);
        return Ok(of_pairs.then(|| input.to_map()));
    }
    let mut settled = input.to_map().into_owned();
    for field in plan.inputs.iter().filter(changes) {
        let given = settled.remove(&field.name);
        let was_null = given.as_ref().is_some_and(Value::is_null);
        let value = match &field.transform {
            Some(chain) => {
                let filters = parse_filters(chain).map_err(|e| RenderError::input(&field.name, e))?;
                let made = values.filter(given, &filters);
                let made = made.map_err(|e| RenderError::unfiltered(format!("input.{}", field.name), &e))?;
                made.or_else(|| was_null.then_some(Value::Null))
            }
            None => given,
        };
        if let Some(value) = value.filter(|value| !is_omitted(field, value)) {
            settled.insert(field.name.clone(), value);
        }
    }
    Ok(Some(Cow::Owned(settled)))
}

fn is_omitted(field: &InputPlan, value: &Value) -> bool {
    match (field.omit_if, value) {
        (OmitIf::Never, _) => false,
        (_, Value::Null) => !field.nullable,
        (OmitIf::Empty, Value::String(text)) => text.is_empty(),
        (OmitIf::Empty, Value::Array(items)) => items.is_empty(),
        (OmitIf::Empty, Value::Object(map)) => map.is_empty(),
        _ => false,
    }
}

/// The inputs for one position that have a value, in definition order.
fn inputs_at<'p, 'v: 'p>(
    plan: &'p ActionPlan,
    values: &Values<'v>,
    place: InputPlace,
) -> impl Iterator<Item = (&'p InputPlan, Cow<'v, Value>)> {
    let input = values.input;
    plan.inputs
        .iter()
        .filter(move |field| field.place == place)
        .filter_map(move |field| Some((field, input.get(&field.name)?)))
}

fn parse_text(text: &str) -> Result<Template, RenderError> {
    Template::parse_text(text).map_err(|e: TemplateError| RenderError::plan(e))
}

fn render_body(plan: &ActionPlan, values: &Values<'_>) -> Result<Option<Body>, RenderError> {
    let of_document = matches!(
        plan.body,
        BodyPlan::Json { .. } | BodyPlan::Form { .. } | BodyPlan::Multipart | BodyPlan::Graphql { .. }
    );
    if let (Some(KeyPlace::Body(_)), Some(_), false) =
        (&plan.idempotency, values.idempotency_key, of_document)
    {
        return Err(RenderError::plan("the idempotency key has no place in a body of this type"));
    }
    match &plan.body {
        BodyPlan::None => Ok(None),
        BodyPlan::Json { wrap, template, root } => {
            json_body::render(plan, values, wrap.as_deref(), template.as_ref(), root.as_deref())
        }
        BodyPlan::Form { style, template } => form::render(plan, values, *style, template.as_ref()),
        BodyPlan::Multipart => multipart::render(plan, values),
        BodyPlan::Xml { template } => text_body::xml(template, values).map(Some),
        BodyPlan::Text { template } => text_body::text(template, values).map(Some),
        BodyPlan::Raw { root } => text_body::raw(root, values, plan.content_type.as_deref()).map(Some),
        BodyPlan::Graphql { query, variables } => {
            json_body::graphql(plan, values, query, variables).map(Some)
        }
    }
}

fn render_headers(
    plan: &ActionPlan,
    values: &Values<'_>,
    body: Option<&Body>,
) -> Result<Vec<(String, String)>, RenderError> {
    let mut headers: Vec<(String, String)> = Vec::with_capacity(plan.headers.len() + 2);
    for (name, text) in &plan.headers {
        let template = parse_text(text)?;
        if values.leaves_out(&template)? {
            continue;
        }
        let mut value = String::new();
        values.join(&template, &mut value, escape::header_value)?;
        headers.push((name.to_ascii_lowercase(), value));
    }
    for (field, value) in inputs_at(plan, values, InputPlace::Header).filter(|(_, value)| !value.is_null()) {
        let text = scalar_cow(&value).ok_or_else(|| RenderError::input(&field.name, NOT_SCALAR))?;
        values.pay(|budget| budget.make(text.len()))?;
        let mut out = String::new();
        escape::header_value(&text, &mut out).map_err(|e| RenderError::input(&field.name, e))?;
        let name = field.wire_name().to_ascii_lowercase();
        // Why: two fields with the same name are one list to the receiver (RFC 9110 section 5.3).
        headers.retain(|(other, _)| *other != name);
        headers.push((name, out));
    }
    if let (Some(KeyPlace::Header(name)), Some(key)) = (&plan.idempotency, values.idempotency_key) {
        let mut out = String::new();
        escape::header_value(key, &mut out).map_err(|e| RenderError::plan(format!("idempotency key {e}")))?;
        push_absent(&mut headers, name, out);
    }
    if let Some(body) = body {
        set_content_type(plan, body, &mut headers);
    }
    push_absent(&mut headers, "accept", accept(plan).to_owned());
    Ok(headers)
}

fn push_absent(headers: &mut Vec<(String, String)>, name: &str, value: String) {
    if !headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
        headers.push((name.to_ascii_lowercase(), value));
    }
}

/// A header of the plan wins, then the plan's content type, then the usual one of the body's shape.
fn set_content_type(plan: &ActionPlan, body: &Body, headers: &mut Vec<(String, String)>) {
    let own = body.content_type.as_ref();
    let chosen = headers.iter_mut().find(|(name, _)| name == "content-type").map(|(_, value)| value);
    // Why: without the boundary, which only the rendering knows, the receiver cannot read the parts.
    let boundary = match plan.body {
        BodyPlan::Multipart => own.split_once(';').map(|(_, boundary)| boundary),
        _ => None,
    };
    if let Some(value) = chosen {
        if let Some(boundary) = boundary {
            *value = format!("{};{boundary}", value.split(';').next().unwrap_or_default());
        }
        return;
    }
    let value = match (&plan.content_type, boundary) {
        // Why: the file has its own type; `text_body::raw` has considered the plan's already.
        (Some(_), _) if matches!(plan.body, BodyPlan::Raw { .. }) => own.to_owned(),
        (Some(given), Some(boundary)) => {
            format!("{};{boundary}", given.split(';').next().unwrap_or_default())
        }
        (Some(given), None) => given.clone(),
        (None, _) => own.to_owned(),
    };
    headers.push(("content-type".to_owned(), value));
}

/// What the answer is read as. JSON if that is not said, unless the request is text itself.
fn accept(plan: &ActionPlan) -> &'static str {
    match (plan.response.r#type, &plan.body) {
        (ResponseType::Auto, BodyPlan::Xml { .. } | BodyPlan::Text { .. }) if !plan.needs_json() => "*/*",
        (ResponseType::Auto | ResponseType::Json, _) => "application/json",
        (ResponseType::Ndjson, _) => "application/x-ndjson, application/json;q=0.5",
        (ResponseType::Xml, _) => "application/xml, text/xml, */*;q=0.5",
        (ResponseType::Text, _) => "text/plain, */*;q=0.5",
        (ResponseType::Binary | ResponseType::None, _) => "*/*",
    }
}

#[cfg(test)]
mod tests;
