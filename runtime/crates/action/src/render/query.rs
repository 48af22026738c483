//! The query: the URL template's pairs, then the plan's, then the query inputs.

use std::collections::BTreeSet;

use super::document::Node;
use super::pairs::{Pairs, Style};
use super::{RenderError, inputs_at, parse_text};
use crate::escape;
use crate::plan::{ActionPlan, InputPlace, KeyPlace};
use crate::values::Values;

/// Appends to a URL the pairs that its template does not have.
pub(super) fn append(plan: &ActionPlan, values: &Values<'_>, url: &mut String) -> Result<(), RenderError> {
    let key = match (&plan.idempotency, values.idempotency_key) {
        (Some(KeyPlace::Query(name)), Some(key)) => Some((name, key)),
        _ => None,
    };
    // Why once: the plan's pairs may be many, and the URL as long as its limit.
    let own = names(url);
    let mut fixed: Vec<(&str, String)> = Vec::with_capacity(plan.query.len());
    for (name, text) in &plan.query {
        let template = parse_text(text)?;
        if values.leaves_out(&template)? || has_name(&own, name) {
            continue;
        }
        let mut value = String::new();
        values.join(&template, &mut value, escape::as_is)?;
        fixed.push((name, value));
    }
    // Why: every value is encoded, so the first `?` can only come from the template.
    let first = if url.contains('?') { '&' } else { '?' };
    let mut pairs = Pairs::new(url, Some(first), Style::Query, values);
    for (name, value) in &fixed {
        pairs.pair(name, value)?;
    }
    for (field, value) in inputs_at(plan, values, InputPlace::Query) {
        pairs.value(field.wire_name(), Node::Leaf(value, Some(field)))?;
    }
    if let Some((name, key)) = key
        && !has_name(&names(url), name)
    {
        let first = if url.contains('?') { '&' } else { '?' };
        Pairs::new(url, Some(first), Style::Query, values).pair(name, key)?;
    }
    Ok(())
}

/// The names of a URL's pairs as they are written.
fn names(url: &str) -> BTreeSet<String> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split('=').next().unwrap_or_default().to_owned()).collect()
}

/// Whether the URL has a pair with that name, with brackets encoded or not.
fn has_name(names: &BTreeSet<String>, name: &str) -> bool {
    if names.is_empty() {
        return false;
    }
    let (mut literal, mut encoded) = (String::new(), String::new());
    escape::encode_name(name, &mut literal);
    escape::percent_encode(name, &mut encoded);
    [name, &literal, &encoded].into_iter().any(|name| names.contains(name))
}
