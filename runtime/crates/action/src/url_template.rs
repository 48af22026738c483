//! URL templates: `https://{{config.shop}}.example.com/v1/items/{{input.id}}?q={{input.q}}`.
//!
//! The template is split into host labels, path segments and query pairs *before* anything is
//! substituted, so a value can never move a boundary. The same split proves two things: which hosts
//! the template can lead to, and which paths the action can request.

use std::borrow::Cow;

use crate::budget::{Budget, RENDERED_BYTES};
use crate::escape::{self, EscapeError};
use crate::render_error::RenderError;
use crate::template::{Part, Template, TemplateError, Variable};
use crate::values::Values;

mod fixed;
mod parse;

pub(crate) use fixed::fixed;

/// Why a text is not a URL template. Messages do not name the member: it may be any that has a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlTemplateError {
    /// The text is not a template at all.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Not `https://…`.
    #[error("must begin with https:// (the scheme cannot be a variable)")]
    NotHttps,
    /// The host part has something other than labels, dots and a port.
    #[error("host {host:?} must be DNS labels and variables joined by dots, with an optional :port; {why}")]
    Host {
        /// The host part as written.
        host: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A character that may not stand in a URL unencoded, or a fragment.
    #[error("has {0:?} in its path or query; percent-encode it")]
    Character(char),
    /// A fixed `.` or `..` segment.
    #[error("has a `.` or `..` path segment")]
    DotSegment,
}

/// One label of the host: literals and variables that together make one DNS label.
#[derive(Debug, Clone, PartialEq)]
pub struct HostLabel {
    parts: Vec<Part>,
}

impl HostLabel {
    /// The label's parts.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The label, if it has no variable (lower case).
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }
}

/// A parsed URL template.
#[derive(Debug, Clone, PartialEq)]
pub struct UrlTemplate {
    /// Host labels from left to right, at least one.
    pub host: Vec<HostLabel>,
    /// Port, when one is written.
    pub port: Option<u16>,
    /// Path segments after the first `/`; `/` alone is one empty segment.
    pub segments: Vec<Template>,
    /// Query pairs in order; the value is absent for a bare name.
    pub query: Vec<(Template, Option<Template>)>,
}

impl UrlTemplate {
    /// Parses a URL template.
    ///
    /// # Errors
    /// [`UrlTemplateError`] naming what is wrong and the accepted form.
    pub fn parse(text: &str) -> Result<Self, UrlTemplateError> {
        let rest = text.strip_prefix("https://").ok_or(UrlTemplateError::NotHttps)?;
        let mut template = Template::parse(rest)?;
        let (authority, tail) = parse::cut_first(std::mem::take(&mut template.parts), &['/', '?', '#']);
        let (path, query) = match tail {
            None => (Vec::new(), None),
            Some(('/', rest)) => match parse::cut_first(rest, &['?', '#']) {
                (path, Some(('?', query))) => (path, Some(query)),
                (_, Some(_)) => return Err(UrlTemplateError::Character('#')),
                (path, None) => (path, None),
            },
            Some(('?', query)) => (Vec::new(), Some(query)),
            Some(_) => return Err(UrlTemplateError::Character('#')),
        };
        let (host, port) = parse::parse_authority(authority)?;
        let segments = parse::cut_all(path, '/');
        parse::check_characters(&segments)?;
        if segments.iter().any(|s| matches!(s.as_literal(), Some("." | ".."))) {
            return Err(UrlTemplateError::DotSegment);
        }
        let query = parse::parse_query(query)?;
        let parsed = Self { host, port, segments, query };
        let host_parts = parsed.host.iter().flat_map(|label| label.parts.iter());
        parse::check_multi(&parsed.segments, host_parts.chain(parsed.query_parts()))?;
        Ok(parsed)
    }

    /// The config value that is the whole host, if there is one.
    #[must_use]
    pub fn host_variable(&self) -> Option<&Variable> {
        match self.host.as_slice() {
            [HostLabel { parts }] => match parts.as_slice() {
                [Part::Variable(variable)] => Some(variable),
                _ => None,
            },
            _ => None,
        }
    }

    fn query_parts(&self) -> impl Iterator<Item = &Part> {
        self.query
            .iter()
            .flat_map(|(name, value)| name.parts.iter().chain(value.iter().flat_map(|v| v.parts.iter())))
    }

    /// Every variable, in order of appearance.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        let host = self.host.iter().flat_map(|label| label.parts.iter());
        let path = self.segments.iter().flat_map(|segment| segment.parts.iter());
        host.chain(path).chain(self.query_parts()).filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Literal(_) => None,
        })
    }

    /// The variables that must have a value: those in host and path.
    pub fn required_variables(&self) -> impl Iterator<Item = &Variable> {
        let host = self.host.iter().flat_map(|label| label.parts.iter());
        let path = self.segments.iter().flat_map(|segment| segment.parts.iter());
        host.chain(path).filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Literal(_) => None,
        })
    }

    /// The host for people, variables shown as `{{scope.name}}`.
    #[must_use]
    pub fn host_text(&self) -> String {
        let labels: Vec<String> = self
            .host
            .iter()
            .map(|label| {
                label
                    .parts
                    .iter()
                    .map(|part| match part {
                        Part::Literal(text) => text.clone(),
                        Part::Variable(variable) => format!("{{{{{variable}}}}}"),
                    })
                    .collect()
            })
            .collect();
        labels.join(".")
    }

    /// Renders the URL without adding inputs that the template does not use.
    ///
    /// # Errors
    /// [`RenderError`] naming the variable whose value is absent or cannot stand at its position.
    pub fn render(&self, values: &Values<'_>) -> Result<String, RenderError> {
        let own = Budget::rendering(RENDERED_BYTES);
        let values = &values.within(&own);
        let mut out = String::from("https://");
        self.render_host(values, &mut out)?;
        if let Some(port) = self.port {
            out.push(':');
            out.push_str(&port.to_string());
        }
        for segment in &self.segments {
            out.push('/');
            render_segment(segment, values, &mut out)?;
        }
        if self.segments.is_empty() {
            out.push('/');
        }
        let mut first = true;
        for (name, value) in &self.query {
            render_pair(name, value.as_ref(), values, &mut out, &mut first)?;
        }
        Ok(out)
    }

    fn render_host(&self, values: &Values<'_>, out: &mut String) -> Result<(), RenderError> {
        if let Some(variable) = self.host_variable() {
            let text = values.text(variable)?;
            return escape::host(&text, out).map_err(|e| RenderError::at(variable, &e));
        }
        for (index, label) in self.host.iter().enumerate() {
            if index > 0 {
                out.push('.');
            }
            let start = out.len();
            for part in &label.parts {
                match part {
                    Part::Literal(text) => out.push_str(text),
                    Part::Variable(variable) => {
                        let text = values.text(variable)?;
                        escape::host_label(&text, out).map_err(|e| RenderError::at(variable, &e))?;
                    }
                }
            }
            let whole = out.get(start..).unwrap_or_default();
            if !escape::is_host_label(whole) {
                let variable = label.parts.iter().find_map(|p| match p {
                    Part::Variable(v) => Some(v.to_string()),
                    Part::Literal(_) => None,
                });
                return Err(RenderError::new(
                    variable.unwrap_or_default(),
                    EscapeError::NotALabel.to_string(),
                ));
            }
        }
        Ok(())
    }
}

/// The text of a variable of the path, paid for as it is encoded.
fn text_of<'v>(variable: &Variable, values: &Values<'v>) -> Result<Cow<'v, str>, RenderError> {
    let text = values.text(variable)?;
    values
        .pay(|budget| budget.make(escape::percent_length(&text)))
        .map_err(|e| RenderError::exceeded(variable, e))?;
    Ok(text)
}

fn render_segment(segment: &Template, values: &Values<'_>, out: &mut String) -> Result<(), RenderError> {
    let start = out.len();
    let mut last = None;
    for part in &segment.parts {
        match part {
            Part::Literal(text) => out.push_str(text),
            Part::Variable(variable) if variable.multi => {
                let text = text_of(variable, values)?;
                return escape::path_segments(&text, out).map_err(|e| RenderError::at(variable, &e));
            }
            Part::Variable(variable) => {
                let text = text_of(variable, values)?;
                if text.is_empty() {
                    return Err(RenderError::at(variable, &EscapeError::EmptySegment));
                }
                escape::percent_encode(&text, out);
                last = Some(variable);
            }
        }
    }
    match (out.get(start..), last) {
        (Some("." | ".."), Some(variable)) => Err(RenderError::at(variable, &EscapeError::DotSegment)),
        _ => Ok(()),
    }
}

/// A pair whose value is one absent variable is left out: an optional filter that was not given.
fn render_pair(
    name: &Template,
    value: Option<&Template>,
    values: &Values<'_>,
    out: &mut String,
    first: &mut bool,
) -> Result<(), RenderError> {
    if let Some(template) = value
        && values.leaves_out(template)?
    {
        return Ok(());
    }
    out.push(if *first { '?' } else { '&' });
    *first = false;
    values.join(name, out, escape::encode_value)?;
    if let Some(value) = value {
        out.push('=');
        values.join(value, out, escape::encode_value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
