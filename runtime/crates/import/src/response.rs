//! Answers: only how they are read, where nothing else than JSON is offered.

use serde_json::{Map, Value, json};

use crate::context::{Context, Dialect};
use crate::headers;
use crate::media::essence;
use crate::select::Operation;

/// What a success answers, the preferred first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    /// JSON, or what is read like it.
    Json,
    /// JSON under a name of its own, such as `application/vnd.example.v2+json`.
    JsonLike,
    /// One JSON document per line.
    Lines,
    Xml,
    Text,
    Binary,
}

impl Answer {
    fn of(name: &str) -> Self {
        let plain = essence(name);
        match plain.as_str() {
            "application/json" | "text/json" | "*/*" | "application/*" => Self::Json,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Self::Lines,
            other if other.ends_with("+json") || other.ends_with("json") => Self::JsonLike,
            other if other.ends_with("/xml") || other.ends_with("+xml") => Self::Xml,
            other if other.starts_with("text/") || other.ends_with("yaml") => Self::Text,
            _ => Self::Binary,
        }
    }
}

/// The `response` of an action; a needed `Accept` goes into `fixed`, unless a parameter has put one there.
///
/// Anything that is offered as JSON is asked for as JSON, which is the default.
pub(crate) fn carry<'a>(
    context: &Context<'a>,
    operation: &Operation<'a>,
    fixed: &mut Map<String, Value>,
) -> Option<Value> {
    let (answer, name) = offers(context, operation).into_iter().min_by_key(|(answer, _)| *answer)?;
    let response_type = match answer {
        Answer::Json => return None,
        Answer::JsonLike | Answer::Text => {
            let is_sound = name.bytes().all(|b| matches!(b, 0x20..=0x7e)) && !name.contains(['*', '{']);
            if is_sound && name.len() <= 200 {
                headers::fix("Accept", name.trim(), fixed);
            }
            return None;
        }
        Answer::Lines => "ndjson",
        Answer::Xml => "xml",
        Answer::Binary => "binary",
    };
    Some(json!({ "type": response_type }))
}

/// Media types of the successful answers.
fn offers<'a>(context: &Context<'a>, operation: &Operation<'a>) -> Vec<(Answer, &'a str)> {
    let responses = operation.object.get("responses").and_then(Value::as_object);
    let good = |status: &str| status.starts_with('2') && status != "204" && status != "205";
    let answers: Vec<&'a Value> = responses
        .into_iter()
        .flatten()
        .filter(|(status, _)| good(status))
        .filter_map(|(_, answer)| crate::refs::resolve(context.root, answer).ok())
        .collect();
    let mut offers = Vec::new();
    match context.dialect {
        Dialect::Three => {
            for content in answers.iter().filter_map(|answer| answer.get("content")?.as_object()) {
                for (name, entry) in content {
                    offers.push((name.as_str(), entry.get("schema")));
                }
            }
        }
        Dialect::Two => {
            let own = operation.object.get("produces").or(context.root.get("produces"));
            let names: Vec<&str> =
                own.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
            for schema in answers.iter().filter_map(|answer| answer.get("schema")) {
                offers.extend(names.iter().map(|name| (*name, Some(schema))));
                if names.is_empty() {
                    offers.push(("", Some(schema)));
                }
            }
        }
    }
    let answer = |(name, schema): (&'a str, Option<&'a Value>)| {
        let is_bytes = schema.is_some_and(|schema| is_bytes(context, schema));
        match Answer::of(name) {
            // Why not plain JSON in 3.x: a description that says JSON means it.
            Answer::Json if is_bytes && (context.dialect == Dialect::Two || name != "application/json") => {
                Some((Answer::Binary, name))
            }
            _ if name.is_empty() => is_bytes.then_some((Answer::Binary, name)),
            Answer::Json => Some((Answer::Json, name)),
            _ if is_bytes => Some((Answer::Binary, name)),
            other => Some((other, name)),
        }
    };
    offers.into_iter().filter_map(answer).collect()
}

/// Whether a schema describes bytes.
fn is_bytes(context: &Context<'_>, schema: &Value) -> bool {
    let Ok(schema) = crate::refs::resolve(context.root, schema) else { return false };
    let says = |name: &str, value: &str| schema.get(name).and_then(Value::as_str) == Some(value);
    says("type", "file") || says("format", "binary")
}
