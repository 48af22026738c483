//! Splits a URL template into host, path and query before anything is substituted.

use super::{HostLabel, UrlTemplateError};
use crate::escape;
use crate::template::{Part, Scope, Template, TemplateError, Variable};

/// Splits a part list at the first of `stops` that occurs in a literal.
pub(super) fn cut_first(parts: Vec<Part>, stops: &[char]) -> (Vec<Part>, Option<(char, Vec<Part>)>) {
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

pub(super) fn cut_all(parts: Vec<Part>, stop: char) -> Vec<Template> {
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

pub(super) fn parse_authority(parts: Vec<Part>) -> Result<(Vec<HostLabel>, Option<u16>), UrlTemplateError> {
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
    if let [Part::Variable(variable)] = host.as_slice()
        && variable.scope == Scope::Config
    {
        return Ok((vec![HostLabel { parts: host }], port));
    }
    let labels = cut_all(host, '.')
        .into_iter()
        .map(|label| parse_label(label).ok_or_else(|| wrong("each label is letters, digits and hyphens")))
        .collect::<Result<Vec<_>, _>>()?;
    if labels.len() < 2 {
        return Err(wrong(
            "a host has at least two labels, or is one {{config.x}} that is chosen from a list",
        ));
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

pub(super) fn parse_query(
    query: Option<Vec<Part>>,
) -> Result<Vec<(Template, Option<Template>)>, UrlTemplateError> {
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
pub(super) fn check_characters(pieces: &[Template]) -> Result<(), UrlTemplateError> {
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

/// `{{+…}}` fills a path segment alone: beside a literal or in host and query it has no meaning.
pub(super) fn check_multi<'t>(
    segments: &'t [Template],
    elsewhere: impl Iterator<Item = &'t Part>,
) -> Result<(), TemplateError> {
    let misplaced = |v: &Variable| TemplateError::MultiMisplaced(v.to_string());
    let mixed = segments.iter().filter(|s| s.as_single_variable().is_none());
    for part in mixed.flat_map(|s| s.parts.iter()).chain(elsewhere) {
        if let Part::Variable(variable) = part
            && variable.multi
        {
            return Err(misplaced(variable));
        }
    }
    Ok(())
}
