//! Inserts a page's value into a rendered request: into the query, the JSON body or a form.

use serde_json::{Map, Value};

use super::{PageError, scalar_text};
use crate::escape::append_pair;
use crate::plan::PageParam;
use crate::render::RenderedRequest;

/// Sets one value; replaces an earlier one.
pub(super) fn set(request: &mut RenderedRequest, param: &PageParam, value: &Value) -> Result<(), PageError> {
    match param {
        PageParam::Query(name) => {
            let (base, query) = request.url.split_once('?').unwrap_or((&request.url, ""));
            request.url = format!("{base}?{}", set_pair(query, name, &scalar_text(value)));
            Ok(())
        }
        PageParam::Body(steps) => {
            let no_place = || PageError::NoPlace(steps.join("/"));
            request.body = Some(set_body(request, steps, value).ok_or_else(no_place)?);
            if !request.headers.iter().any(|(name, _)| name == "content-type") {
                request.headers.push(("content-type".to_owned(), "application/json".to_owned()));
            }
            Ok(())
        }
    }
}

fn set_body(request: &RenderedRequest, steps: &[String], value: &Value) -> Option<Vec<u8>> {
    let body = request.body.as_deref().unwrap_or_default();
    let form = request.headers.iter().any(|(name, value)| {
        name == "content-type" && value.starts_with("application/x-www-form-urlencoded")
    });
    if form {
        let [name] = steps else { return None };
        return Some(set_pair(std::str::from_utf8(body).ok()?, name, &scalar_text(value)).into_bytes());
    }
    let mut document =
        if body.is_empty() { Value::Null } else { serde_json::from_slice::<Value>(body).ok()? };
    place(&mut document, steps, value)?;
    serde_json::to_vec(&document).ok()
}

/// Creates missing objects along the path; fails at a scalar or a missing array element.
fn place(document: &mut Value, steps: &[String], value: &Value) -> Option<()> {
    let Some((step, rest)) = steps.split_first() else {
        *document = value.clone();
        return Some(());
    };
    if document.is_null() {
        *document = Value::Object(Map::new());
    }
    let below = match document {
        Value::Object(map) => map.entry(step.as_str()).or_insert(Value::Null),
        Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?)?,
        _ => return None,
    };
    place(below, rest, value)
}

/// Replaces the first pair with this name, or appends it. The other pairs keep
/// their spelling.
fn set_pair(pairs: &str, name: &str, value: &str) -> String {
    let mut pair = String::new();
    append_pair(name, value, &mut pair);
    let mut pair = Some(pair);
    let mut out: Vec<String> = Vec::new();
    for old in pairs.split('&').filter(|old| !old.is_empty()) {
        let old_name = old.split_once('=').map_or(old, |(name, _)| name);
        if decode(old_name) == name.as_bytes() {
            out.extend(pair.take());
        } else {
            out.push(old.to_owned());
        }
    }
    out.extend(pair);
    out.join("&")
}

/// The name of a query or form pair, percent-decoded, as bytes.
fn decode(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let hex = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match (byte, hex(ahead.next()), hex(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                out.extend(u8::try_from(high * 16 + low).ok());
                bytes = ahead;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Method;
    use serde_json::json;

    fn request(url: &str, content_type: Option<&str>, body: Option<&str>) -> RenderedRequest {
        RenderedRequest {
            method: Method::Post,
            url: url.to_owned(),
            headers: content_type.map(|t| ("content-type".to_owned(), t.to_owned())).into_iter().collect(),
            body: body.map(|text| text.as_bytes().to_vec()),
        }
    }

    #[test]
    fn a_pair_replaces_those_of_its_name_however_they_are_written() {
        for (url, name, value, expected) in [
            ("https://h/p", "cursor", json!("a b&c"), "https://h/p?cursor=a%20b%26c"),
            ("https://h/p?", "page", json!(2), "https://h/p?page=2"),
            ("https://h/p?a=1&page=1&b=%2F+x", "page", json!(2), "https://h/p?a=1&page=2&b=%2F+x"),
            ("https://h/p?page%5Bafter%5D=x", "page[after]", json!("y"), "https://h/p?page%5Bafter%5D=y"),
            ("https://h/p?page[after]=x&z", "page[after]", json!("y"), "https://h/p?page%5Bafter%5D=y&z"),
            ("https://h/p?p=1&q=2&p=3", "p", json!(4), "https://h/p?p=4&q=2"),
            ("https://h/p?my+name=1", "my name", json!(2), "https://h/p?my%20name=2"),
            ("https://h/p?pp=1&%p=2&%70=3", "p", json!(4), "https://h/p?pp=1&%p=2&p=4"),
        ] {
            let mut request = request(url, None, None);
            set(&mut request, &PageParam::Query(name.to_owned()), &value).unwrap();
            assert_eq!(request.url, expected);
        }
    }

    #[test]
    fn a_body_place_is_made_on_the_way_and_keeps_its_type() {
        let json_type = Some("application/json");
        let form = Some("application/x-www-form-urlencoded; charset=utf-8");
        for (content_type, body, steps, value, expected) in [
            (
                json_type,
                Some(r#"{"q":1}"#),
                "start_cursor",
                json!("x"),
                Some(r#"{"q":1,"start_cursor":"x"}"#),
            ),
            (json_type, Some(r#"{"v":{"a":1}}"#), "v/after", json!(5), Some(r#"{"v":{"a":1,"after":5}}"#)),
            (json_type, Some(r#"{"v":null}"#), "v/after", json!(5), Some(r#"{"v":{"after":5}}"#)),
            (json_type, Some(r#"[{"a":1}]"#), "0/a", json!(2), Some(r#"[{"a":2}]"#)),
            (json_type, Some("[]"), "0/a", json!(2), None),
            (json_type, Some(r#"{"v":1}"#), "v/after", json!(5), None),
            (json_type, Some("{"), "v", json!(5), None),
            (None, None, "cursor", json!("x"), Some(r#"{"cursor":"x"}"#)),
            (form, Some("a=1&cursor=x"), "cursor", json!("y z"), Some("a=1&cursor=y%20z")),
            (form, Some("a=1"), "v/cursor", json!("y"), None),
        ] {
            let mut request = request("https://h/p", content_type, body);
            let param = PageParam::Body(steps.split('/').map(str::to_owned).collect());
            let done = set(&mut request, &param, &value);
            assert_eq!(done.is_ok(), expected.is_some(), "{body:?} {steps}");
            if let Some(expected) = expected {
                assert_eq!(request.body.as_deref(), Some(expected.as_bytes()));
                assert_eq!(request.headers[0].1, content_type.unwrap_or("application/json"));
            }
        }
    }
}
