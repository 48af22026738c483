//! From an action plan and values to a request, still without a credential.

use serde_json::{Map, Value};

use crate::escape;
use crate::plan::{ActionPlan, BodyPlan, InputPlace, Method};
use crate::template::{Part, Scope, Template, Variable, apply_filters, scalar_text};
use crate::url_template::UrlTemplate;

/// Everything a template may ask for. A credential is not among it.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// The action's validated input.
    pub input: &'a Map<String, Value>,
    /// Non-secret values of the workspace's connection.
    pub config: &'a Map<String, Value>,
    /// `{{action.id}}`.
    pub action_id: &'a str,
    /// `{{run.id}}`.
    pub run_id: &'a str,
    /// `{{source.…}}`: only an automation has one.
    pub source: Option<&'a Value>,
}

impl Values<'_> {
    /// Looks a variable up and applies its filters; `None` when absent.
    #[must_use]
    pub fn get(&self, variable: &Variable) -> Option<Value> {
        let found = match variable.scope {
            Scope::Input => self.input.get(&variable.name).cloned(),
            Scope::Config => self.config.get(&variable.name).cloned(),
            Scope::Action => Some(Value::String(self.action_id.to_owned())),
            Scope::Run => Some(Value::String(self.run_id.to_owned())),
            Scope::Source => self.source.and_then(|s| dotted(s, &variable.name)).cloned(),
            // Why: a secret has no value here by construction; injection happens behind the gate.
            Scope::Cred => None,
        };
        apply_filters(found, &variable.filters)
    }
}

/// Walks `a.b.0.c` through objects and arrays.
#[must_use]
pub fn dotted<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |value, step| match value {
        Value::Object(map) => map.get(step),
        Value::Array(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
        _ => None,
    })
}

/// Why a request cannot be rendered. The message names the variable, never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {why}")]
pub struct RenderError {
    /// The variable, as `input.id`; empty for an error of the plan itself.
    pub variable: String,
    /// What is wrong with its value.
    pub why: String,
}

impl RenderError {
    pub(crate) fn new(variable: String, why: String) -> Self {
        Self { variable, why }
    }
    pub(crate) fn at(variable: &Variable, error: &escape::EscapeError) -> Self {
        Self::new(variable.to_string(), error.to_string())
    }
    pub(crate) fn missing(variable: &Variable) -> Self {
        Self::new(variable.to_string(), "has no value".to_owned())
    }
    pub(crate) fn not_scalar(variable: &Variable) -> Self {
        Self::new(variable.to_string(), "must be text, a number or a boolean here".to_owned())
    }
}

/// A request as the guest hands it to the gate: no credential, no host-owned header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedRequest {
    /// HTTP method.
    pub method: Method,
    /// Absolute `https` URL.
    pub url: String,
    /// Header names in lower case with their values.
    pub headers: Vec<(String, String)>,
    /// Body bytes, when the action has a body.
    pub body: Option<Vec<u8>>,
}

/// Renders the request of one action.
///
/// # Errors
/// [`RenderError`] when a value is absent or cannot stand at its position.
pub fn render_request(plan: &ActionPlan, values: &Values<'_>) -> Result<RenderedRequest, RenderError> {
    let template =
        UrlTemplate::parse(&plan.url).map_err(|e| RenderError::new(String::new(), e.to_string()))?;
    let mut url = template.render(values)?;
    append_query_inputs(plan, values.input, &mut url, !template.query.is_empty())?;
    let mut headers = Vec::with_capacity(plan.headers.len() + 2);
    for (name, text) in &plan.headers {
        if let Some(value) = render_header(text, values)? {
            headers.push((name.to_ascii_lowercase(), value));
        }
    }
    for input in plan.inputs.iter().filter(|i| i.place == InputPlace::Header) {
        let Some(value) = values.input.get(&input.name).filter(|v| !v.is_null()) else {
            continue;
        };
        let text = scalar_text(value)
            .ok_or_else(|| input_error(&input.name, "must be text, a number or a boolean here"))?;
        let mut out = String::new();
        escape::header_value(&text, &mut out).map_err(|e| input_error(&input.name, &e.to_string()))?;
        headers.push((input.wire_name().to_ascii_lowercase(), out));
    }
    let body = match plan.body {
        BodyPlan::None => None,
        BodyPlan::Json => Some(json_body(plan, values.input)),
    };
    if body.is_some() && !headers.iter().any(|(name, _)| name == "content-type") {
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
    }
    if !headers.iter().any(|(name, _)| name == "accept") {
        headers.push(("accept".to_owned(), "application/json".to_owned()));
    }
    Ok(RenderedRequest { method: plan.method, url, headers, body })
}

fn input_error(name: &str, why: &str) -> RenderError {
    RenderError::new(format!("input.{name}"), why.to_owned())
}

/// Query inputs that the template does not place itself, in definition order.
fn append_query_inputs(
    plan: &ActionPlan,
    input: &Map<String, Value>,
    url: &mut String,
    had_query: bool,
) -> Result<(), RenderError> {
    let mut separator = if had_query && url.contains('?') { '&' } else { '?' };
    for field in plan.inputs.iter().filter(|i| i.place == InputPlace::Query) {
        let Some(value) = input.get(&field.name).filter(|v| !v.is_null()) else {
            continue;
        };
        let text = scalar_text(value)
            .ok_or_else(|| input_error(&field.name, "must be text, a number or a boolean here"))?;
        url.push(separator);
        separator = '&';
        escape::percent_encode(field.wire_name(), url);
        url.push('=');
        escape::percent_encode(&text, url);
    }
    Ok(())
}

/// A header that is one absent variable is left out; otherwise every variable must have a value.
fn render_header(text: &str, values: &Values<'_>) -> Result<Option<String>, RenderError> {
    let template = Template::parse(text).map_err(|e| RenderError::new(String::new(), e.to_string()))?;
    let single = template.as_single_variable();
    if single.is_some_and(|v| values.get(v).is_none_or(|found| found.is_null())) {
        return Ok(None);
    }
    let mut out = String::new();
    for part in &template.parts {
        match part {
            Part::Literal(text) => out.push_str(text),
            Part::Variable(variable) => {
                let value = values.get(variable).ok_or_else(|| RenderError::missing(variable))?;
                let text = scalar_text(&value).ok_or_else(|| RenderError::not_scalar(variable))?;
                escape::header_value(&text, &mut out).map_err(|e| RenderError::at(variable, &e))?;
            }
        }
    }
    Ok(Some(out))
}

/// Body inputs in definition order; absent and null inputs are left out.
fn json_body(plan: &ActionPlan, input: &Map<String, Value>) -> Vec<u8> {
    let mut body = Map::new();
    for field in plan.inputs.iter().filter(|i| i.place == InputPlace::Body) {
        if let Some(value) = input.get(&field.name).filter(|v| !v.is_null()) {
            body.insert(field.wire_name().to_owned(), value.clone());
        }
    }
    Value::Object(body).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::InputPlan;
    use serde_json::json;

    fn plan() -> ActionPlan {
        let input = |name: &str, wire: Option<&str>, place| InputPlan {
            name: name.to_owned(),
            wire: wire.map(str::to_owned),
            place,
        };
        ActionPlan {
            action_id: "create".to_owned(),
            method: Method::Post,
            url: "https://api.example.com/v1/{{input.id}}".to_owned(),
            headers: vec![("X-Version".to_owned(), "{{config.version}}".to_owned())],
            inputs: vec![
                input("id", None, InputPlace::Path),
                input("Email", None, InputPlace::Body),
                input("name", Some("full_name"), InputPlace::Body),
                input("dry", None, InputPlace::Query),
                input("trace", Some("X-Trace"), InputPlace::Header),
            ],
            body: BodyPlan::Json,
            credential: None,
        }
    }

    fn run(input: &Value) -> Result<RenderedRequest, RenderError> {
        let input = input.as_object().cloned().unwrap_or_default();
        let config = json!({ "version": "2" }).as_object().cloned().unwrap_or_default();
        let values =
            Values { input: &input, config: &config, action_id: "create", run_id: "r", source: None };
        render_request(&plan(), &values)
    }

    #[test]
    fn each_input_goes_to_its_place_with_its_type() {
        let request =
            run(&json!({ "id": "7", "name": {"a": 1}, "Email": "x", "dry": true, "trace": 5 })).unwrap();
        assert_eq!(request.url, "https://api.example.com/v1/7?dry=true");
        assert_eq!(request.body.as_deref(), Some(br#"{"Email":"x","full_name":{"a":1}}"#.as_slice()));
        let names: Vec<&str> = request.headers.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["x-version", "x-trace", "content-type", "accept"]);
    }

    #[test]
    fn absent_inputs_leave_no_trace() {
        let request = run(&json!({ "id": "7", "Email": null })).unwrap();
        assert_eq!(request.url, "https://api.example.com/v1/7");
        assert_eq!(request.body.as_deref(), Some(b"{}".as_slice()));
    }

    #[test]
    fn a_header_input_cannot_break_its_line() {
        let error = run(&json!({ "id": "7", "trace": "a\r\nx-evil: 1" })).unwrap_err();
        assert_eq!(error.variable, "input.trace");
        assert!(!error.to_string().contains("evil"));
    }

    #[test]
    fn dotted_paths_walk_objects_and_arrays() {
        let doc = json!({ "a": [{ "b": 1 }] });
        assert_eq!(dotted(&doc, "a.0.b"), Some(&json!(1)));
        assert_eq!(dotted(&doc, "a.1.b"), None);
        assert_eq!(dotted(&doc, "a.x"), None);
    }
}
