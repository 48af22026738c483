//! The scopes that a draft asks for.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::scheme::flows;
use crate::context::Context;
use crate::limits::{SCOPE_CHARS_MAX, SCOPES_MAX};
use crate::names::shown;
use crate::select::Operation;

/// The scopes that the operations require, of those that the scheme declares; all declared ones if none is required.
pub(super) fn scopes<'a>(
    context: &mut Context<'a>,
    operations: &[Operation<'a>],
    name: &str,
    scheme: &Map<String, Value>,
    at: &str,
) -> Vec<String> {
    let flows = flows(context.dialect, scheme);
    let declared: Vec<&String> = flows
        .iter()
        .filter_map(|(_, flow)| flow.get("scopes")?.as_object())
        .flat_map(|scopes| scopes.keys())
        .collect();
    let known: HashSet<&str> = declared.iter().map(|s| s.as_str()).collect();
    let global = context.root.get("security");
    let mut asked: Vec<&str> = Vec::new();
    for operation in operations {
        let list = operation.object.get("security").or(global).and_then(Value::as_array);
        for requirement in list.into_iter().flatten() {
            let scopes = requirement.get(name).and_then(Value::as_array);
            let scopes = scopes.into_iter().flatten().filter_map(Value::as_str);
            asked.extend(scopes.filter(|scope| known.is_empty() || known.contains(scope)));
        }
    }
    if asked.is_empty() {
        asked = declared.iter().map(|scope| scope.as_str()).collect();
    }
    let mut scopes = words(context, &asked, at);
    if scopes.len() > SCOPES_MAX {
        let message = format!("{} scopes are asked for, the limit is {SCOPES_MAX}", scopes.len());
        context.report.add(at, "scopes_cut", message);
        scopes.truncate(SCOPES_MAX);
    }
    scopes
}

/// Single scopes, each once. Some descriptions write several in one name.
fn words(context: &mut Context<'_>, written: &[&str], at: &str) -> Vec<String> {
    // RFC 6749 section 3.3, without braces: a scope is not a template.
    let is_scope = |text: &str| {
        text.len() <= SCOPE_CHARS_MAX
            && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'{' | b'}'))
    };
    let mut seen = HashSet::new();
    let mut scopes = Vec::new();
    for text in written.iter().filter(|text| seen.insert(**text)) {
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.len() > 1 {
            let message = format!("{:?} is {} scopes", shown(text), words.len());
            context.report.add(at, "scope_split", message);
        }
        for word in words {
            if !is_scope(word) {
                let message =
                    format!("{:?} is no scope: printable ASCII without spaces and braces", shown(word));
                context.report.add(at, "scope_not_carried", message);
            } else if !scopes.iter().any(|known| known == word) {
                scopes.push(word.to_owned());
            }
        }
    }
    scopes
}
