//! Bounds of texts and numbers. What contradicts the values or examples of the description itself is left out.

use serde_json::{Map, Value, json};

use super::{At, CONSTRAINT, Said};
use crate::context::Context;
use crate::names::shown;
use crate::schema::Flat;
use crate::value::{matches, pattern};

pub(super) fn text_bounds(
    context: &mut Context<'_>,
    flat: &Flat<'_>,
    said: &Said<'_>,
    place: &At<'_>,
    attributes: &mut Map<String, Value>,
) {
    if flat.facet("minLength").and_then(Value::as_u64).is_some_and(|n| n > 0) {
        context.report.tally(place.pointer, "constraint_not_carried", CONSTRAINT);
    }
    if let Some(text) = flat.facet("pattern").and_then(Value::as_str) {
        match pattern(text, &mut context.compiler) {
            Ok(pattern) => match against(context, &pattern, flat, said, attributes) {
                None => {
                    attributes.insert("pattern".to_owned(), json!(pattern));
                }
                Some(value) => {
                    let message =
                        format!("pattern {:?} does not match {value:?}, its own value", shown(text));
                    place.add(context, "rule_contradiction", &message);
                }
            },
            Err(why) => {
                let message = format!("pattern {:?} {why}", shown(text));
                place.add(context, "pattern_not_carried", &message);
            }
        }
    }
    let longest = flat.facet("maxLength").and_then(Value::as_u64).filter(|n| *n > 0);
    let Some(longest) = longest.and_then(|n| u32::try_from(n).ok()) else { return };
    let is_longer = |text: &&str| text.chars().nth(longest as usize).is_some();
    match own_values(flat, said, attributes).into_iter().find(is_longer) {
        None => {
            attributes.insert("max_length".to_owned(), json!(longest));
        }
        Some(value) => {
            let message = format!("maxLength {longest} is less than {:?}, its own value, has", shown(value));
            place.add(context, "rule_contradiction", &message);
        }
    }
}

/// The accepted values; without them what is shown. An example may stand for the kind of text alone (`<id>`,
/// `string`), so only one that could be meant counts.
fn own_values<'v>(flat: &Flat<'v>, said: &Said<'v>, attributes: &Map<String, Value>) -> Vec<&'v str> {
    let values = match (&flat.values, attributes.contains_key("enum")) {
        (Some(values), true) => values.clone(),
        _ => said.examples(flat),
    };
    let texts = values.into_iter().filter_map(Value::as_str);
    texts.filter(|text| !text.is_empty() && !text.contains(['<', '{', '…']) && *text != "string").collect()
}

/// The first of the description's own values that a pattern does not match.
fn against(
    context: &mut Context<'_>,
    pattern: &str,
    flat: &Flat<'_>,
    said: &Said<'_>,
    attributes: &Map<String, Value>,
) -> Option<String> {
    let values = own_values(flat, said, attributes);
    let unmatched =
        values.into_iter().find(|text| !matches(pattern, text, &mut context.compiler, &context.matching));
    unmatched.map(shown)
}

pub(super) fn number_bounds(
    context: &mut Context<'_>,
    flat: &Flat<'_>,
    input_type: &str,
    place: &At<'_>,
    attributes: &mut Map<String, Value>,
) {
    let whole = input_type == "integer";
    let mut inexact = flat.facet("multipleOf").is_some();
    let mut bound = |inclusive: &str, exclusive: &str, step: i64| -> Option<Value> {
        let plain = flat.facet(inclusive).filter(|v| v.is_number());
        // 3.0 has a flag beside the bound, 3.1 a separate bound.
        let (value, is_exclusive) = match flat.facet(exclusive) {
            Some(Value::Bool(flag)) => (plain, *flag),
            Some(value @ Value::Number(_)) => (Some(value), true),
            _ => (plain, false),
        };
        match (value?, is_exclusive) {
            (value, false) => Some(value.clone()),
            (value, true) if whole && value.is_i64() => Some(json!(value.as_i64()?.checked_add(step)?)),
            (value, true) => {
                inexact = true;
                Some(value.clone())
            }
        }
    };
    let least = bound("minimum", "exclusiveMinimum", 1);
    let most = bound("maximum", "exclusiveMaximum", -1);
    if let (Some(least), Some(most)) = (&least, &most)
        && least.as_f64() > most.as_f64()
    {
        place.add(context, "bounds_not_carried", &format!("no number is from {least} to {most}"));
        return;
    }
    let outside = |value: &&serde_json::Number| {
        let below = |bound: &Option<Value>| bound.as_ref().and_then(Value::as_f64) > value.as_f64();
        let above = most.as_ref().and_then(Value::as_f64).is_some_and(|most| value.as_f64() > Some(most));
        below(&least) || above
    };
    let values = attributes.get("enum").and_then(Value::as_array).into_iter().flatten();
    let numbers: Vec<&serde_json::Number> = values
        .filter_map(|value| if let Value::Number(number) = value { Some(number) } else { None })
        .collect();
    if let Some(value) = numbers.iter().find(|number| outside(number)) {
        let message = format!("its bounds leave out {value}, its own value");
        place.add(context, "rule_contradiction", &message);
        return;
    }
    if inexact {
        context.report.tally(place.pointer, "constraint_not_carried", CONSTRAINT);
    }
    for (name, value) in [("min", least), ("max", most)] {
        if let Some(value) = value {
            attributes.insert(name.to_owned(), value);
        }
    }
}
