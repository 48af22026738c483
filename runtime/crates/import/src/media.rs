//! Which of a body's media types is carried.

use serde_json::Value;

use crate::context::Context;
use crate::names::shown;
use crate::schema::{Flat, Kind};

/// A body that the format can say, the preferred first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Media {
    /// `application/json`.
    Json,
    /// `application/*+json`.
    JsonLike,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data`.
    Multipart,
    /// `text/plain` and other texts.
    Text,
    /// Bytes of any other type.
    Raw,
    /// `*/*` and `application/*`, which JSON is one of.
    Any,
}

impl Media {
    fn of(name: &str) -> Option<Self> {
        let plain = essence(name);
        let is_sound = plain.len() <= 200
            && plain.split('/').count() == 2
            && !plain.split('/').any(str::is_empty)
            && plain.bytes().all(|b| b.is_ascii_graphic() && !b"{}\"".contains(&b));
        Some(match plain.as_str() {
            "application/json" | "text/json" => Self::Json,
            "application/x-www-form-urlencoded" => Self::Form,
            "multipart/form-data" => Self::Multipart,
            "*/*" | "application/*" => Self::Any,
            _ if !is_sound => return None,
            other if other.ends_with("+json") && !other.contains('*') => Self::JsonLike,
            // An XML document would have to be written from the schema; other multiparts have parts without names.
            other if other.ends_with("/xml") || other.ends_with("+xml") => return None,
            other if other.starts_with("multipart/") => return None,
            other if other.starts_with("text/") => Self::Text,
            _ => Self::Raw,
        })
    }
}

/// A media type without parameters, in lower case.
pub(crate) fn essence(name: &str) -> String {
    name.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The content type that an action must say, because it is not the usual one of its body.
pub(crate) fn content_type(media: Media, name: &str) -> Option<String> {
    let own = |parameter: &&str| {
        let key = parameter.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
        !key.is_empty() && !matches!(key.as_str(), "charset" | "boundary" | "q")
    };
    let plain = essence(name);
    let parameters: Vec<&str> = name.split(';').skip(1).map(str::trim).filter(own).collect();
    let is_usual = match media {
        Media::Json => true,
        Media::Text => plain == "text/plain",
        Media::JsonLike => false,
        Media::Raw => plain.contains('*') || plain == "application/octet-stream",
        Media::Form | Media::Multipart | Media::Any => return None,
    };
    if is_usual && (parameters.is_empty() || plain.contains('*')) {
        return None;
    }
    let whole = [vec![plain.as_str()], parameters].concat().join("; ");
    let is_sound =
        whole.len() <= 200 && whole.bytes().all(|b| matches!(b, 0x20..=0x7e)) && !whole.contains("{{");
    Some(if is_sound { whole } else { plain })
}

/// Whether a schema describes bytes.
fn is_binary(flat: &Flat<'_>) -> bool {
    let format = flat.facet("format").and_then(Value::as_str);
    flat.kind == Kind::File || (matches!(flat.kind, Kind::String | Kind::Unknown) && format == Some("binary"))
}

/// Whether a body of that schema can be written in that type.
fn fits(media: Media, name: &str, flat: &Flat<'_>) -> bool {
    let is = |kinds: &[Kind]| matches!(flat.kind, Kind::Unknown | Kind::Mixed) || kinds.contains(&flat.kind);
    match media {
        // RFC 6902 and RFC 7396: a list of changes, and an object that is merged.
        Media::JsonLike if is_json_patch(name) => is(&[Kind::Array]),
        Media::JsonLike if essence(name).contains("merge-patch") => is(&[Kind::Object]),
        Media::Json | Media::JsonLike => !is_binary(flat),
        Media::Form | Media::Multipart => is(&[Kind::Object]) && !is_binary(flat),
        Media::Text => is(&[Kind::String]) && !is_binary(flat),
        Media::Raw => is(&[Kind::String, Kind::File]),
        Media::Any => true,
    }
}

fn is_json_patch(name: &str) -> bool {
    essence(name) == "application/json-patch+json"
}

/// Chooses among media types, each with the schema of its body, and reports those that are not imported.
pub(crate) fn choose<'a>(
    context: &mut Context<'a>,
    method: &str,
    offers: Vec<(&'a str, Option<&'a Value>)>,
    at: &str,
) -> Option<(Media, &'a str)> {
    let count = offers.len();
    let names: Vec<&str> = offers.iter().map(|(name, _)| *name).collect();
    let mut best = None;
    for (name, schema) in offers {
        let Some(mut media) = Media::of(name) else { continue };
        let flat = schema.map(|schema| context.flatten(schema, at, false)).unwrap_or_default();
        if media == Media::Any && is_binary(&flat) {
            media = Media::Raw;
        }
        let is_fit = fits(media, name, &flat);
        // Why for PATCH alone: elsewhere a list is a list of things, and here a list of changes.
        let is_patch = is_json_patch(name);
        let is_list = method == "patch" && is_patch && flat.kind == Kind::Array;
        let is_plain = essence(name) == "text/plain";
        let rank = (!is_fit, !is_list, media, is_patch, !is_plain);
        if best.as_ref().is_none_or(|(known, _, _)| rank < *known) {
            best = Some((rank, media, name));
        }
    }
    let (rank, media, name) = best?;
    if rank.0 {
        let message = format!("{:?} was taken, although its schema does not fit it", shown(name));
        context.report.add(at, "media_type_mismatch", message);
    }
    if media == Media::Any {
        let message = format!("{:?} is taken as application/json", shown(name));
        context.report.add(at, "media_type_assumed", message);
    }
    if count > 1 {
        let others: Vec<String> =
            names.into_iter().filter(|other| *other != name).take(10).map(shown).collect();
        let message = format!("{:?} was taken, not {}", shown(name), others.join(", "));
        context.report.add(at, "media_type_alternatives", message);
    }
    Some((media, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn chosen(names: &[&str], schema: Value, method: &str) -> Option<String> {
        let root = json!({ "openapi": "3.0.0", "names": names, "x": schema });
        let mut context = Context::new(&root).unwrap();
        let names = root["names"].as_array().unwrap().iter();
        let offers = names.map(|name| (name.as_str().unwrap(), Some(&root["x"]))).collect();
        choose(&mut context, method, offers, "/x").map(|(_, name)| name.to_owned())
    }

    #[test]
    fn json_is_preferred_then_forms_then_text() {
        for (list, expected) in [
            (
                &["multipart/form-data", "application/json; charset=utf-8"][..],
                "application/json; charset=utf-8",
            ),
            (&["application/vnd.api+json", "application/json"], "application/json"),
            (
                &["application/x-www-form-urlencoded", "application/merge-patch+json"],
                "application/merge-patch+json",
            ),
            (
                &["multipart/form-data", "application/x-www-form-urlencoded"],
                "application/x-www-form-urlencoded",
            ),
            (&["text/x-markdown", "text/plain"], "text/plain"),
            (&["application/xml", "*/*"], "*/*"),
            (&["application/octet-stream", "text/csv"], "text/csv"),
        ] {
            assert_eq!(chosen(list, json!({}), "post").as_deref(), Some(expected), "{list:?}");
        }
        assert_eq!(chosen(&["application/xml", "multipart/mixed", "text/xml"], json!({}), "post"), None);
    }

    #[test]
    fn content_types_keep_what_a_version_says() {
        for (media, name, expected) in [
            (Media::Json, "application/json; charset=utf-8", None),
            (Media::Json, "application/json;version=3", Some("application/json; version=3")),
            (Media::JsonLike, "application/VND.api+json", Some("application/vnd.api+json")),
            (Media::Text, "text/plain", None),
            (Media::Text, "text/csv;charset=utf-8", Some("text/csv")),
            (Media::Raw, "application/octet-stream", None),
            (Media::Raw, "image/*", None),
            (Media::Raw, "image/png", Some("image/png")),
            (Media::Form, "application/x-www-form-urlencoded", None),
        ] {
            assert_eq!(content_type(media, name).as_deref(), expected, "{name}");
        }
    }
}
