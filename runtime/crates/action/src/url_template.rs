//! URL templates: `https://{{config.shop}}.example.com/v1/items/{{input.id}}?q={{input.q}}`.
//!
//! The template is cut into host labels, path segments and query pairs *before* anything is
//! substituted, so a value can never move a border. From the same cut come two proofs: which hosts
//! the template can ever name, and which paths the action may ever ask for.

use crate::escape::{self, EscapeError};
use crate::render::{RenderError, Values};
use crate::template::{Part, Template, TemplateError, Variable, scalar_text};

/// Why a text is not a URL template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlTemplateError {
    /// The text is not a template at all.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Not `https://…`.
    #[error("url_template must begin with https:// (the scheme cannot be a variable)")]
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
    #[error("url_template has {0:?} in its path or query; percent-encode it")]
    Character(char),
    /// A fixed `.` or `..` segment.
    #[error("url_template has a `.` or `..` path segment")]
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

    /// The label, when no variable is in it (lower case).
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
        let (authority, tail) = cut_first(std::mem::take(&mut template.parts), &['/', '?', '#']);
        let (path, query) = match tail {
            None => (Vec::new(), None),
            Some(('/', rest)) => match cut_first(rest, &['?', '#']) {
                (path, Some(('?', query))) => (path, Some(query)),
                (_, Some(_)) => return Err(UrlTemplateError::Character('#')),
                (path, None) => (path, None),
            },
            Some(('?', query)) => (Vec::new(), Some(query)),
            Some(_) => return Err(UrlTemplateError::Character('#')),
        };
        let (host, port) = parse_authority(authority)?;
        let segments = cut_all(path, '/');
        check_characters(&segments)?;
        if segments.iter().any(|s| matches!(s.as_literal(), Some("." | ".."))) {
            return Err(UrlTemplateError::DotSegment);
        }
        let query = parse_query(query)?;
        Ok(Self { host, port, segments, query })
    }

    /// Every variable, in order of appearance.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        let host = self.host.iter().flat_map(|label| label.parts.iter());
        let path = self.segments.iter().flat_map(|segment| segment.parts.iter());
        let query = self
            .query
            .iter()
            .flat_map(|(name, value)| name.parts.iter().chain(value.iter().flat_map(|v| v.parts.iter())));
        host.chain(path).chain(query).filter_map(|part| match part {
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

    /// The host as a person writes it, variables shown as `{{scope.name}}`.
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

    /// Renders the URL without adding inputs that the template does not name.
    ///
    /// # Errors
    /// [`RenderError`] naming the variable whose value is absent or cannot stand at its position.
    pub fn render(&self, values: &Values<'_>) -> Result<String, RenderError> {
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
        for (index, label) in self.host.iter().enumerate() {
            if index > 0 {
                out.push('.');
            }
            let start = out.len();
            for part in &label.parts {
                match part {
                    Part::Literal(text) => out.push_str(text),
                    Part::Variable(variable) => {
                        let text = required_text(variable, values)?;
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

fn required_text(variable: &Variable, values: &Values<'_>) -> Result<String, RenderError> {
    let value = values.get(variable);
    match value {
        None | Some(serde_json::Value::Null) => Err(RenderError::missing(variable)),
        Some(value) => scalar_text(&value).ok_or_else(|| RenderError::not_scalar(variable)),
    }
}

fn render_segment(segment: &Template, values: &Values<'_>, out: &mut String) -> Result<(), RenderError> {
    let start = out.len();
    let mut last = None;
    for part in &segment.parts {
        match part {
            Part::Literal(text) => out.push_str(text),
            Part::Variable(variable) => {
                let text = required_text(variable, values)?;
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

/// A pair whose value is one absent variable is left out whole: an optional filter not given.
fn render_pair(
    name: &Template,
    value: Option<&Template>,
    values: &Values<'_>,
    out: &mut String,
    first: &mut bool,
) -> Result<(), RenderError> {
    let absent = value
        .and_then(Template::as_single_variable)
        .is_some_and(|v| values.get(v).is_none_or(|found| found.is_null()));
    if absent {
        return Ok(());
    }
    out.push(if *first { '?' } else { '&' });
    *first = false;
    render_query_text(name, values, out)?;
    if let Some(value) = value {
        out.push('=');
        render_query_text(value, values, out)?;
    }
    Ok(())
}

fn render_query_text(template: &Template, values: &Values<'_>, out: &mut String) -> Result<(), RenderError> {
    for part in &template.parts {
        match part {
            Part::Literal(text) => out.push_str(text),
            Part::Variable(variable) => escape::percent_encode(&required_text(variable, values)?, out),
        }
    }
    Ok(())
}

/// Cuts a part list at the first of `stops` that stands in a literal.
fn cut_first(parts: Vec<Part>, stops: &[char]) -> (Vec<Part>, Option<(char, Vec<Part>)>) {
    let mut before = Vec::new();
    let mut parts = parts.into_iter();
    while let Some(part) = parts.next() {
        let Part::Literal(text) = &part else {
            before.push(part);
            continue;
        };
        let Some((at, stop)) = text.char_indices().find(|(_, c)| stops.contains(c)) else {
            before.push(part);
            continue;
        };
        let (left, right) = text.split_at(at);
        if !left.is_empty() {
            before.push(Part::Literal(left.to_owned()));
        }
        let right = right.get(stop.len_utf8()..).unwrap_or_default();
        let mut after = Vec::new();
        if !right.is_empty() {
            after.push(Part::Literal(right.to_owned()));
        }
        after.extend(parts);
        return (before, Some((stop, after)));
    }
    (before, None)
}

fn cut_all(parts: Vec<Part>, stop: char) -> Vec<Template> {
    let mut pieces = Vec::new();
    let mut rest = parts;
    loop {
        match cut_first(rest, &[stop]) {
            (piece, Some((_, after))) => {
                pieces.push(Template { parts: piece });
                rest = after;
            }
            (piece, None) => {
                pieces.push(Template { parts: piece });
                return pieces;
            }
        }
    }
}

fn parse_authority(parts: Vec<Part>) -> Result<(Vec<HostLabel>, Option<u16>), UrlTemplateError> {
    let shown: String = parts
        .iter()
        .map(|part| match part {
            Part::Literal(text) => text.clone(),
            Part::Variable(variable) => format!("{{{{{variable}}}}}"),
        })
        .collect();
    let wrong = |why| UrlTemplateError::Host { host: shown.clone(), why };
    let (host, port) = match cut_first(parts, &[':']) {
        (host, None) => (host, None),
        (host, Some((_, port))) => {
            let digits = match port.as_slice() {
                [Part::Literal(text)] if text.bytes().all(|b| b.is_ascii_digit()) => text.as_str(),
                _ => return Err(wrong("a port is fixed digits")),
            };
            let port = digits.parse::<u16>().ok().filter(|p| *p != 0);
            (host, Some(port.ok_or_else(|| wrong("a port is 1 to 65535"))?))
        }
    };
    let labels = cut_all(host, '.')
        .into_iter()
        .map(|label| parse_label(label).ok_or_else(|| wrong("each label is letters, digits and hyphens")))
        .collect::<Result<Vec<_>, _>>()?;
    if labels.len() < 2 {
        return Err(wrong("a host has at least two labels"));
    }
    Ok((labels, port))
}

fn parse_label(label: Template) -> Option<HostLabel> {
    if label.parts.is_empty() {
        return None;
    }
    let fixed = label.parts.len() == 1;
    let mut parts = Vec::with_capacity(label.parts.len());
    for part in label.parts {
        parts.push(match part {
            Part::Literal(text) => {
                let whole = if fixed {
                    escape::is_host_label(&text)
                } else {
                    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                };
                if !whole {
                    return None;
                }
                Part::Literal(text.to_ascii_lowercase())
            }
            variable @ Part::Variable(_) => variable,
        });
    }
    Some(HostLabel { parts })
}

fn parse_query(query: Option<Vec<Part>>) -> Result<Vec<(Template, Option<Template>)>, UrlTemplateError> {
    let Some(parts) = query else {
        return Ok(Vec::new());
    };
    let pieces = cut_all(parts, '&');
    check_characters(&pieces)?;
    Ok(pieces
        .into_iter()
        .filter(|piece| !piece.parts.is_empty())
        .map(|piece| match cut_first(piece.parts, &['=']) {
            (name, Some((_, value))) => (Template { parts: name }, Some(Template { parts: value })),
            (name, None) => (Template { parts: name }, None),
        })
        .collect())
}

/// Literals of path and query must already be URL text: printable ASCII that needs no encoding.
fn check_characters(pieces: &[Template]) -> Result<(), UrlTemplateError> {
    for piece in pieces {
        for part in &piece.parts {
            let Part::Literal(text) = part else { continue };
            let bad = text.chars().find(|c| {
                !c.is_ascii_graphic()
                    || matches!(c, '#' | '\\' | '"' | '<' | '>' | '^' | '`' | '{' | '|' | '}')
            });
            if let Some(ch) = bad {
                return Err(UrlTemplateError::Character(ch));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
