//! Login requests that end with a token or a session.

use http::HeaderName;
use portcullis_action::Method;
use portcullis_action::template::{Scope, Template};
use serde_json::Value;

use super::Reader;
use super::templates::Spot;
use crate::connector::place::check_pointer;
use crate::definition::{BodyTypeDef, StepDef};
use crate::injection::{HeaderFill, Injection};
use crate::reserved::is_same;
use crate::token_plan::{Capture, StepBody, TokenPlan, TokenStep};
use crate::violation::{Violation, step};

/// The scopes that a login request's templates may use.
const SCOPES: [Scope; 3] = [Scope::Cred, Scope::Config, Scope::Jwt];

impl Reader<'_> {
    pub(super) fn token_exchange(&mut self) -> Option<TokenPlan> {
        if self.auth.steps.is_empty() {
            return self.refuse("/steps", "auth_incomplete", "token_exchange needs auth.steps");
        }
        let mut obtain = Vec::new();
        for (index, wire) in self.auth.steps.clone().iter().enumerate() {
            obtain.push(self.step(wire, &format!("/steps/{index}"))?);
        }
        Some(TokenPlan { obtain, ..self.token_plan()? })
    }

    fn step(&mut self, wire: &StepDef, at: &str) -> Option<TokenStep> {
        let request = &wire.request;
        let url = self.url(&request.url, &format!("{at}/request/url"))?;
        let mut injection = Injection::default();
        let headers = self.step_headers(wire, at, &mut injection)?;
        let body = self.step_body(wire, at, &mut injection)?;
        let needs_jwt = injection.templates().flat_map(Template::variables).any(|v| v.scope == Scope::Jwt);
        if needs_jwt {
            injection.jwt = Some(self.jwt_plan(&[])?);
        }
        let expires_in_path = wire.expires_in_path.clone().unwrap_or_else(|| "/expires_in".to_owned());
        check_pointer(&expires_in_path, &format!("/auth{at}/expires_in_path"), self.errors);
        let capture = self.step_captures(wire, at)?;
        Some(TokenStep {
            method: request.method.unwrap_or(Method::Post),
            url,
            headers,
            body,
            injection,
            capture,
            config: Vec::new(),
            expires_in_path,
            expires_unit: self.auth.expires_unit.unwrap_or_default(),
            format: self.auth.token_format.unwrap_or_default(),
        })
    }

    /// Headers without a secret; those with one go to the injection.
    fn step_headers(
        &mut self,
        wire: &StepDef,
        at: &str,
        injection: &mut Injection,
    ) -> Option<Vec<(String, String)>> {
        let mut seen: Vec<HeaderName> = Vec::new();
        let mut headers = vec![("accept".to_owned(), "application/json".to_owned())];
        for (name, text) in &wire.request.headers {
            let member = format!("{at}/request/headers/{}", step(name));
            let header = self.header_name(name, &member)?;
            let value = self.secret_template(text, &member, &SCOPES)?;
            self.fixed(&value, &member, Spot::Header)?;
            if seen.iter().any(|other| is_same(other.as_str(), header.as_str())) {
                let message = format!("{name:?} is written twice, in another spelling");
                return self.refuse(&member, "auth_duplicate", message);
            }
            seen.push(header.clone());
            headers.retain(|(other, _)| other != header.as_str());
            match value.as_literal() {
                Some(literal) => headers.push((header.as_str().to_owned(), literal.to_owned())),
                None => injection.headers.push((header, HeaderFill::Text(value))),
            }
        }
        Some(headers)
    }

    /// Values captured from the answer; later steps and `value` may use them from here on.
    fn step_captures(&mut self, wire: &StepDef, at: &str) -> Option<Vec<(String, Capture)>> {
        let mut captures = Vec::new();
        for (name, place) in &wire.capture {
            let member = format!("{at}/capture/{}", step(name));
            let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            if name.len() > 63
                || !name.bytes().all(word)
                || name.bytes().next().is_none_or(|b| b.is_ascii_digit())
            {
                let message =
                    "a captured name is letters, digits and underscores, so that cred.<name> can be written";
                return self.refuse(&member, "wrong_form", message);
            }
            if self.fields.iter().any(|f| f.name == *name) || self.captured.contains(name) {
                let message = format!("{name:?} is a field, or captured before; call it something else");
                return self.refuse(&member, "duplicate_capture", message);
            }
            let capture = match place.split_once(':') {
                _ if place.starts_with('/') => Some(Capture::Body(place.clone())),
                Some(("header", header)) => {
                    let header = HeaderName::from_bytes(header.as_bytes()).ok();
                    header.map(|header| Capture::Header(header.as_str().to_owned()))
                }
                Some(("cookie", cookie)) => {
                    let sound = HeaderName::from_bytes(cookie.as_bytes()).is_ok();
                    sound.then(|| Capture::Cookie(cookie.to_owned()))
                }
                _ => None,
            };
            let Some(capture) = capture else {
                let message = format!(
                    "{place:?} is no place in an answer; write a pointer such as /token, header:<name> or \
                     cookie:<name>"
                );
                return self.refuse(&member, "pointer_invalid", message);
            };
            captures.push((name.clone(), capture));
        }
        self.captured.extend(wire.capture.keys().cloned());
        Some(captures)
    }

    /// The body, split into fixed text and secret parts.
    fn step_body(&mut self, wire: &StepDef, at: &str, injection: &mut Injection) -> Option<StepBody> {
        let request = &wire.request;
        let member = format!("{at}/request/body");
        let type_member = format!("{at}/request/body_type");
        let Some(mut document) = request.body.clone() else {
            return match request.body_type {
                None | Some(BodyTypeDef::None) => Some(StepBody::None),
                Some(_) => self.refuse(&type_member, "body_unused", "there is no body"),
            };
        };
        if request.method.is_some_and(|method| !method.has_body()) {
            return self.refuse(&member, "method_without_body", "this method has no body");
        }
        if !document.is_object() {
            return self.refuse(&member, "wrong_type", "a login request's body is an object");
        }
        self.part(&mut document, &mut Vec::new(), &member, injection)?;
        match (request.body_type.unwrap_or_default(), document) {
            (BodyTypeDef::Json, fixed) => Some(StepBody::Json(fixed)),
            (BodyTypeDef::Form, Value::Object(map)) => {
                let mut pairs = Vec::new();
                for (name, value) in map {
                    let Some(text) = portcullis_action::template::scalar_text(&value) else {
                        let message = "a form's member is text, a number or a boolean";
                        return self.refuse(&format!("{member}/{}", step(&name)), "wrong_type", message);
                    };
                    pairs.push((name, text));
                }
                Some(StepBody::Form(pairs))
            }
            _ => self.refuse(&type_member, "not_in_list", "a login request's body_type is json or form"),
        }
    }

    /// Takes texts with variables out of a document and records where they go.
    fn part(
        &mut self,
        value: &mut Value,
        path: &mut Vec<String>,
        member: &str,
        injection: &mut Injection,
    ) -> Option<()> {
        let Value::Object(map) = value else {
            return self.no_templates_in_array(value, member);
        };
        let mut secret = Vec::new();
        for (name, inner) in map.iter_mut() {
            let at = format!("{member}/{}", step(name));
            path.push(name.clone());
            if let Value::String(text) = inner {
                let template = self.secret_template(text, &at, &SCOPES)?;
                if template.as_literal().is_none() {
                    injection.body.push((path.clone(), template));
                    secret.push(name.clone());
                }
            } else {
                self.part(inner, path, &at, injection)?;
            }
            path.pop();
        }
        for name in secret {
            map.shift_remove(&name);
        }
        Some(())
    }

    fn no_templates_in_array(&mut self, value: &Value, member: &str) -> Option<()> {
        if value.to_string().contains("{{") {
            let message = "templates stand in objects here, not in arrays";
            self.errors.push(Violation::new(format!("/auth{member}"), "template_invalid", message));
            return None;
        }
        Some(())
    }
}
