//! Values as `name=value` pairs: the query, and the form body that is written the same way.
//!
//! Every byte of a name or value outside RFC 3986 `unreserved` is percent-encoded once. The structure
//! that this module writes stays literal: `[`, `]`, `.` in names and `,` between elements.

use std::borrow::Cow;

use serde_json::Value;

use super::RenderError;
use super::document::Node;
use crate::escape;
use crate::json;
use crate::plan::{ArrayFormat, FormStyle, InputPlan};
use crate::scalar::scalar_cow;
use crate::values::Values;

/// Where the pairs go, which decides the format if the input has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// In the query: arrays repeat, objects need a format.
    Query,
    /// In a form.
    Form(FormStyle),
}

/// How the members of an object are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Members {
    Brackets,
    Dots,
    Json,
    Refused,
}

impl Style {
    const fn members(self, format: Option<ArrayFormat>) -> Members {
        match (self, format) {
            (_, Some(ArrayFormat::Json)) | (Self::Form(FormStyle::Flat), _) => Members::Json,
            (Self::Form(FormStyle::Brackets), _)
            | (Self::Query, Some(ArrayFormat::Brackets | ArrayFormat::Indices)) => Members::Brackets,
            (Self::Form(FormStyle::Dots), _) => Members::Dots,
            (Self::Query, _) => Members::Refused,
        }
    }

    fn elements(self, format: Option<ArrayFormat>, items: &[Node<'_>]) -> ArrayFormat {
        match (self, format) {
            (_, Some(format)) => format,
            (Self::Query, None) => ArrayFormat::Repeat,
            (Self::Form(FormStyle::Flat), None) => ArrayFormat::Json,
            (Self::Form(FormStyle::Dots), None) => ArrayFormat::Indices,
            // Why: `items[][price]=` does not say where one object ends and the next begins.
            (Self::Form(FormStyle::Brackets), None) if items.iter().any(Node::is_container) => {
                ArrayFormat::Indices
            }
            (Self::Form(FormStyle::Brackets), None) => ArrayFormat::Brackets,
        }
    }
}

/// Appends pairs to a text.
pub(super) struct Pairs<'o> {
    out: &'o mut String,
    separator: Option<char>,
    style: Style,
    /// Who pays: a name is written again for every element below it.
    values: &'o Values<'o>,
}

impl<'o> Pairs<'o> {
    /// Appends to `out`; the first pair is preceded by `first`.
    pub(super) const fn new(
        out: &'o mut String,
        first: Option<char>,
        style: Style,
        values: &'o Values<'o>,
    ) -> Self {
        Self { out, separator: first, style, values }
    }

    /// One pair of a definition's name and a text.
    pub(super) fn pair(&mut self, name: &str, value: &str) -> Result<(), RenderError> {
        let mut encoded = String::with_capacity(name.len());
        escape::encode_name(name, &mut encoded);
        self.write(&encoded, value)
    }

    /// The pairs of a value under a definition's name.
    pub(super) fn value(&mut self, name: &str, node: Node<'_>) -> Result<(), RenderError> {
        let mut encoded = String::with_capacity(name.len());
        escape::encode_name(name, &mut encoded);
        self.node(&mut encoded, node, None)
    }

    fn begin(&mut self, name: &str) -> Result<(), RenderError> {
        self.values.pay(|budget| budget.make(name.len().saturating_add(2)))?;
        self.out.extend(self.separator.replace('&'));
        self.out.push_str(name);
        self.out.push('=');
        Ok(())
    }

    fn write(&mut self, name: &str, value: &str) -> Result<(), RenderError> {
        self.begin(name)?;
        self.encode(value)
    }

    fn encode(&mut self, value: &str) -> Result<(), RenderError> {
        self.values.pay(|budget| budget.make(escape::percent_length(value)))?;
        escape::percent_encode(value, self.out);
        Ok(())
    }

    /// `above` is the input that gave the surrounding container, if one did.
    fn node(
        &mut self,
        name: &mut String,
        node: Node<'_>,
        above: Option<&InputPlan>,
    ) -> Result<(), RenderError> {
        let origin = node.origin().or(above);
        let members = self.style.members(origin.and_then(|o| o.array_format));
        match node.expanded() {
            Node::Leaf(value, _) => self.write(name, &scalar_or_empty(&value)),
            Node::Text(text, _) => self.write(name, &scalar_or_empty(&json::read(text))),
            Node::Array(items) => self.array(name, items, origin),
            whole @ Node::Object(_) if members == Members::Json => self.json(name, &whole),
            Node::Object(_) if members == Members::Refused => {
                Err(refused(origin, "is an object; its array_format must be brackets, indices or json"))
            }
            Node::Object(entries) => {
                for (key, value) in entries {
                    let length = name.len();
                    self.values.pay(|budget| budget.step(length as u64))?;
                    name.push(if members == Members::Dots { '.' } else { '[' });
                    escape::percent_encode(&key, name);
                    name.push_str(if members == Members::Dots { "" } else { "]" });
                    self.node(name, value, origin)?;
                    name.truncate(length);
                }
                Ok(())
            }
        }
    }

    fn array(
        &mut self,
        name: &mut String,
        items: Vec<Node<'_>>,
        origin: Option<&InputPlan>,
    ) -> Result<(), RenderError> {
        let format = self.style.elements(origin.and_then(|o| o.array_format), &items);
        match format {
            ArrayFormat::Json => self.json(name, &Node::Array(items)),
            ArrayFormat::Repeat => {
                for item in &items {
                    self.write(name, &element(item, origin)?)?;
                }
                Ok(())
            }
            ArrayFormat::Comma | ArrayFormat::Pipe => {
                let separator = if format == ArrayFormat::Comma { "," } else { "%7C" };
                for (index, item) in items.iter().enumerate() {
                    if index == 0 {
                        self.begin(name)?;
                    } else {
                        self.out.push_str(separator);
                    }
                    self.encode(&element(item, origin)?)?;
                }
                Ok(())
            }
            ArrayFormat::Brackets | ArrayFormat::Indices => {
                let dots = self.style == Style::Form(FormStyle::Dots);
                for (index, item) in items.into_iter().enumerate() {
                    let length = name.len();
                    match (format, dots) {
                        (ArrayFormat::Brackets, _) => name.push_str("[]"),
                        (_, true) => name.push_str(&format!(".{index}")),
                        (_, false) => name.push_str(&format!("[{index}]")),
                    }
                    self.node(name, item, origin)?;
                    name.truncate(length);
                }
                Ok(())
            }
        }
    }

    fn json(&mut self, name: &str, node: &Node<'_>) -> Result<(), RenderError> {
        self.write(name, &node.to_text())
    }
}

fn element<'n>(node: &'n Node<'_>, origin: Option<&InputPlan>) -> Result<Cow<'n, str>, RenderError> {
    match node {
        Node::Leaf(value, _) if !node.is_container() => Ok(scalar_or_empty(value)),
        Node::Text(text, _) if !node.is_container() => {
            Ok(Cow::Owned(scalar_or_empty(&json::read(text)).into_owned()))
        }
        _ => Err(refused(origin, "has an array or object in an array that its array_format cannot write")),
    }
}

/// The text of a scalar; null, which only gets here if it is to be sent, is the empty text.
fn scalar_or_empty(value: &Value) -> Cow<'_, str> {
    scalar_cow(value).unwrap_or_default()
}

fn refused(origin: Option<&InputPlan>, why: &str) -> RenderError {
    match origin {
        Some(field) => RenderError::input(&field.name, why),
        None => RenderError::plan(format!("the body template {why}")),
    }
}
