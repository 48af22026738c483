//! `application/x-www-form-urlencoded` bodies.

use std::borrow::Cow;

use serde_json::Value;

use super::document::Node;
use super::json_body::{from_template, put_inputs, put_key};
use super::pairs::{Pairs, Style};
use super::{Body, RenderError};
use crate::plan::{ActionPlan, FormStyle};
use crate::values::Values;

/// A form; `None` if it is empty and the method needs no body.
pub(super) fn render<'a>(
    plan: &'a ActionPlan,
    values: &Values<'a>,
    style: FormStyle,
    template: Option<&'a Value>,
) -> Result<Option<Body>, RenderError> {
    let mut document = from_template(template, values)?;
    put_inputs(&mut document, plan, values, None)?;
    put_key(&mut document, plan, values)?;
    let Node::Object(members) = document.expanded() else {
        return Err(RenderError::plan("a form template must be an object"));
    };
    if members.is_empty() && !plan.method.has_body() {
        return Ok(None);
    }
    let mut text = String::new();
    let mut pairs = Pairs::new(&mut text, None, Style::Form(style), values);
    for (name, value) in members {
        pairs.value(&name, value)?;
    }
    Ok(Some(Body {
        bytes: text.into_bytes(),
        content_type: Cow::Borrowed("application/x-www-form-urlencoded"),
    }))
}
