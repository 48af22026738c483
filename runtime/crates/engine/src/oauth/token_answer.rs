//! The answers of token endpoints: JSON as RFC 6749 section 5.1 wants it, and the forms and XML that others write.

use portcullis_action::response::{body_text, header_text, media_type};
use portcullis_core::definition::TokenFormatDef;
use portcullis_core::outbound::OutboundResponse;
use serde_json::{Map, Value};

/// Elements inside elements of an XML answer.
const LEVELS_MAX: usize = 16;

/// The members of an answer. What is written in a form or in XML is text.
///
/// # Errors
/// What the answer is instead: its media type, never its text.
pub(super) fn read(format: TokenFormatDef, answer: &OutboundResponse) -> Result<Value, String> {
    let content_type = answer.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let content_type = content_type.map(|(_, value)| header_text(value).into_owned()).unwrap_or_default();
    let media = media_type(&content_type);
    let text = body_text(&content_type, &answer.body);
    let text = text.as_deref().map(str::trim);
    // Why tried whatever the media type is: servers set it wrong.
    let document = text.and_then(|text| match format {
        TokenFormatDef::Json => json(text),
        TokenFormatDef::Form => form(text),
        TokenFormatDef::Xml => xml(text),
        TokenFormatDef::Auto => json(text).or_else(|| xml(text)).or_else(|| form(text)),
    });
    document.ok_or_else(|| {
        let wanted = match format {
            TokenFormatDef::Auto => "JSON, a form or XML",
            TokenFormatDef::Json => "JSON",
            TokenFormatDef::Form => "a form",
            TokenFormatDef::Xml => "XML",
        };
        let found = match media.as_str() {
            _ if answer.body.is_empty() => "an empty body".to_owned(),
            "" => "a body without a media type".to_owned(),
            media => media.to_owned(),
        };
        format!("{found}, where {wanted} is expected")
    })
}

/// A document with members: a lone text or number is no token answer.
fn json(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().filter(|value: &Value| value.is_object() || value.is_array())
}

/// `access_token=…&expires_in=3600`: names with values, and nothing else.
fn form(text: &str) -> Option<Value> {
    let is_form = !text.is_empty()
        && text.split('&').all(|pair| pair.contains('='))
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'{' | b'}' | b'"'));
    let pairs = url::form_urlencoded::parse(text.as_bytes());
    is_form.then(|| {
        pairs
            .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
            .collect::<Map<_, _>>()
            .into()
    })
}

/// The elements below the outermost; of two with the same name the first counts, as it does for its readers.
fn xml(text: &str) -> Option<Value> {
    if !text.starts_with('<') {
        return None;
    }
    // Why safe: document type declarations, and with them entities, are refused.
    let document = roxmltree::Document::parse(text).ok()?;
    let root = document.root_element();
    let is_page = root.tag_name().name().eq_ignore_ascii_case("html");
    Some(element(root, LEVELS_MAX)).filter(|value| value.is_object() && !is_page)
}

fn element(node: roxmltree::Node<'_, '_>, levels: usize) -> Value {
    let mut members = Map::new();
    for child in node.children().filter(roxmltree::Node::is_element) {
        let value = if levels == 0 { Value::Null } else { element(child, levels - 1) };
        members.entry(child.tag_name().name()).or_insert(value);
    }
    if members.is_empty() {
        return Value::String(node.text().unwrap_or_default().trim().to_owned());
    }
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(format: TokenFormatDef, content_type: &str, body: &[u8]) -> Result<Value, String> {
        let headers = vec![("Content-Type".to_owned(), content_type.as_bytes().to_vec())];
        read(format, &OutboundResponse { status: 200, headers, body: body.to_vec(), redacted: false })
    }

    #[test]
    fn e4_a_token_answer_is_read_as_it_is_written() {
        let token = json!({ "access_token": "t+1", "expires_in": "3600" });
        let form = b"access_token=t%2B1&expires_in=3600".as_slice();
        let xml = b"<?xml version=\"1.0\"?><OAuth><access_token>t+1</access_token><expires_in> 3600 </expires_in></OAuth>";
        for (content_type, body) in [
            ("application/x-www-form-urlencoded", form),
            ("text/plain;charset=utf-8", form),
            ("text/html", form),
            ("application/xml", xml),
            ("text/xml", [b"\xef\xbb\xbf", xml.as_slice()].concat().as_slice()),
            ("application/json", b"\xef\xbb\xbf{\"access_token\":\"t+1\",\"expires_in\":\"3600\"}"),
            ("text/html", b" {\"access_token\":\"t+1\",\"expires_in\":\"3600\"}\n"),
        ] {
            assert_eq!(run(TokenFormatDef::Auto, content_type, body).as_ref(), Ok(&token), "{content_type}");
        }
        assert_eq!(run(TokenFormatDef::Form, "", form), Ok(token.clone()));
        assert_eq!(run(TokenFormatDef::Xml, "", xml), Ok(token));
        let nested = run(TokenFormatDef::Auto, "", b"<r><data><token>x</token></data><token>y</token></r>");
        assert_eq!(nested.unwrap(), json!({ "data": { "token": "x" }, "token": "y" }));
    }

    #[test]
    fn what_is_none_is_told_by_its_media_type() {
        let wrong = |format, content_type: &str, body: &[u8]| run(format, content_type, body).unwrap_err();
        assert_eq!(
            wrong(
                TokenFormatDef::Auto,
                "text/html; charset=utf-8",
                b"<html><body>sign in: secret=1</body></html>"
            ),
            "text/html, where JSON, a form or XML is expected"
        );
        assert!(
            wrong(TokenFormatDef::Json, "text/plain", b"access_token=x")
                .contains("text/plain, where JSON is")
        );
        assert!(wrong(TokenFormatDef::Auto, "", b"").contains("an empty body"));
        for body in [
            b"\"token\"".as_slice(),
            b"a=1&b",
            b"hello world=1",
            b"\xff\xfe\x00",
            b"<a",
            b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        ] {
            assert!(run(TokenFormatDef::Auto, "", body).is_err(), "{body:?}");
        }
    }
}
