//! Which of a body's media types is carried.

use serde_json::{Map, Value};

use crate::context::Context;
use crate::names::shown;

/// A body that the format can say.
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
    /// `text/plain`.
    Text,
    /// `*/*` and `application/*`, which JSON is one of.
    Any,
}

impl Media {
    fn of(name: &str) -> Option<Self> {
        let plain = essence(name);
        Some(match plain.as_str() {
            "application/json" | "text/json" => Self::Json,
            "application/x-www-form-urlencoded" => Self::Form,
            "multipart/form-data" => Self::Multipart,
            "text/plain" => Self::Text,
            "*/*" | "application/*" => Self::Any,
            other if other.ends_with("+json") && other.len() <= 200 && !other.contains('*') => Self::JsonLike,
            _ => return None,
        })
    }

    pub(crate) const fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::JsonLike | Self::Any)
    }
}

/// A media type without parameters, in lower case.
pub(crate) fn essence(name: &str) -> String {
    name.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The best of a list of media types, by preference; the first one if several are equally good.
pub(crate) fn best<'n>(names: impl Iterator<Item = &'n str>) -> Option<(Media, &'n str)> {
    names.filter_map(|name| Some((Media::of(name)?, name))).min_by_key(|(media, _)| *media)
}

/// Chooses from a `content` object and reports the media types that are not imported.
pub(crate) fn choose<'a>(
    context: &mut Context<'a>,
    content: &'a Map<String, Value>,
    at: &str,
) -> Option<(Media, &'a str, &'a Value)> {
    let (media, name) = best(content.keys().map(String::as_str))?;
    if media == Media::Any {
        let message = format!("{:?} is taken as application/json", shown(name));
        context.report.add(at, "media_type_assumed", message);
    }
    if content.len() > 1 {
        let others: Vec<String> =
            content.keys().filter(|other| *other != name).take(10).map(|other| shown(other)).collect();
        let message = format!("{:?} was taken, not {}", shown(name), others.join(", "));
        context.report.add(at, "media_type_alternatives", message);
    }
    Some((media, name, content.get(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_preferred_then_forms_then_text() {
        let best = |list: &[&'static str]| best(list.iter().copied()).map(|(_, name)| name);
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
        ] {
            assert_eq!(best(list), Some(expected), "{list:?}");
        }
        assert_eq!(best(&["application/xml", "application/octet-stream", "image/*"]), None);
    }
}
