//! How lists and objects of the query are written.

use serde_json::Value;

use super::{Parameter, content};
use crate::context::Dialect;
use crate::media::essence;

/// How an array or object of the query is written, or why it cannot be.
pub(super) fn array_format(
    dialect: Dialect,
    parameter: &Parameter<'_>,
    input_type: &str,
) -> Result<Option<&'static str>, String> {
    if let Some((media, _)) = content(parameter) {
        return match input_type {
            "array" | "object" | "any" if parameter.is_required() && essence(media).ends_with("json") => {
                Ok(Some("json"))
            }
            "array" | "object" | "any" => Err("its value is a separate document (`content`)".to_owned()),
            _ => Ok(None),
        };
    }
    let style = parameter.text("style");
    if style == "deepObject" {
        return Ok(matches!(input_type, "array" | "object" | "any").then_some("brackets"));
    }
    match input_type {
        "object" => Err(format!("an object in style {:?}", if style.is_empty() { "form" } else { style })),
        "array" if dialect == Dialect::Two => collection_format(parameter.text("collectionFormat")).map(Some),
        "array" => {
            let explode = parameter.object.get("explode").and_then(Value::as_bool);
            match (style, explode.unwrap_or(style.is_empty() || style == "form")) {
                ("" | "form", true) | ("pipeDelimited", true) | ("spaceDelimited", true) => {
                    Ok(Some("repeat"))
                }
                ("" | "form", false) => Ok(Some("comma")),
                ("pipeDelimited", false) => Ok(Some("pipe")),
                (other, _) => Err(format!("an array in style {other:?}")),
            }
        }
        _ => Ok(None),
    }
}

/// 2.0's `collectionFormat`.
pub(crate) fn collection_format(name: &str) -> Result<&'static str, String> {
    match name {
        "" | "csv" => Ok("comma"),
        "pipes" => Ok("pipe"),
        "multi" => Ok("repeat"),
        other => Err(format!("an array in collectionFormat {other:?}")),
    }
}
