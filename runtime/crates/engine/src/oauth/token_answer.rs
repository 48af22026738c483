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
        // Why of all: a comment inside divides a text in two.
        let texts = node.children().filter(roxmltree::Node::is_text).filter_map(|text| text.text());
        return Value::String(texts.collect::<String>().trim().to_owned());
    }
    Value::Object(members)
}

/// The values of a header.
pub(super) fn header<'a>(answer: &'a OutboundResponse, name: &'a str) -> impl Iterator<Item = String> + 'a {
    answer
        .headers
        .iter()
        .filter(move |(own, _)| own.eq_ignore_ascii_case(name))
        .map(|(_, value)| header_text(value).into_owned())
}

/// The value of a cookie that the answer sets (RFC 6265 section 5.2). Of two the later: it replaces the earlier one
/// (section 5.3), and some servers clear a cookie before they set it.
pub(super) fn cookie(answer: &OutboundResponse, name: &str) -> Option<String> {
    let of = |line: String| {
        let (own, value) = line.split(';').next()?.split_once('=')?;
        (own.trim() == name).then(|| value.trim().to_owned())
    };
    header(answer, "set-cookie").filter_map(of).last()
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
    fn a_cookie_is_found_by_its_exact_name_and_the_later_counts() {
        for (lines, expected) in [
            (&["sid=abc; Path=/; HttpOnly"][..], Some("abc")),
            (&["xsid=abc"], None),
            (&["sid=; Max-Age=0", "other=x", "sid=\"a=b\"; Path=/"], Some("\"a=b\"")),
            (&["SID=abc", "sid = d"], Some("d")),
        ] {
            let headers =
                lines.iter().map(|line| ("set-cookie".to_owned(), line.as_bytes().to_vec())).collect();
            let answer = OutboundResponse { status: 200, headers, body: Vec::new(), redacted: false };
            assert_eq!(cookie(&answer, "sid").as_deref(), expected, "{lines:?}");
        }
    }

    /// Values that tokens and their companions have: of the usual letters, and what a form or XML must write otherwise.
    const VALUES: [&str; 12] = [
        "t",
        "ya29.a0AfH6SM-_~+/==",
        "eyJhbGciOiJSUzI1NiJ9.e30.c2ln",
        "a&b=c;d%20e",
        "<t> & 'q' \"w\"",
        "two words",
        "0",
        "-17",
        "true",
        "José",
        "]]>",
        "a\\u0062\\n",
    ];

    fn xml_escaped(text: &str, numeric: bool) -> String {
        let of = |ch: char| match ch {
            _ if numeric && !ch.is_ascii_alphanumeric() && ch != ' ' => format!("&#x{:x};", u32::from(ch)),
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            _ => ch.to_string(),
        };
        text.chars().map(of).collect()
    }

    /// One answer in every way that it is written, each with its content type.
    fn written(members: &[(&str, &str)]) -> Vec<(&'static str, Vec<u8>)> {
        let object: Map<String, Value> =
            members.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
        let json = Value::Object(object).to_string();
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        let form = form.extend_pairs(members).finish();
        let xml = |value: &dyn Fn(&str) -> String| {
            let inside: String =
                members.iter().map(|(name, text)| format!("<{name}>{}</{name}>\n", value(text))).collect();
            format!("<?xml version=\"1.0\"?>\n<r>{inside}</r>")
        };
        let divided = |text: &str| {
            let (head, tail) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
            format!("{}<!-- x -->{}", xml_escaped(head, false), xml_escaped(tail, false))
        };
        let section = |text: &str| format!("<![CDATA[{}]]>", text.replace("]]>", "]]]]><![CDATA[>"));
        let latin: Vec<u8> = json.chars().map(|ch| u8::try_from(ch).unwrap()).collect();
        let wide: Vec<u8> = json.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked = |text: &str| ["\u{feff}", text].concat().into_bytes();
        vec![
            ("application/json", json.clone().into_bytes()),
            ("text/html; charset=utf-8", marked(&json)),
            ("application/json; charset=ISO-8859-1", latin),
            ("application/json; charset=utf-16le", wide),
            ("", format!("\r\n {json} \n").into_bytes()),
            ("application/x-www-form-urlencoded", form.clone().into_bytes()),
            ("text/plain", marked(&form)),
            ("application/xml", xml(&|text| xml_escaped(text, false)).into_bytes()),
            ("text/xml", marked(&xml(&|text| xml_escaped(text, true)))),
            ("text/xml", xml(&section).into_bytes()),
            ("text/xml", xml(&divided).into_bytes()),
        ]
    }

    #[test]
    fn e4_whatever_an_answer_is_written_in_its_values_are_the_same() {
        for (index, token) in VALUES.iter().enumerate() {
            let refresh = VALUES[(index + 5) % VALUES.len()];
            let members = [("access_token", *token), ("refresh_token", refresh), ("expires_in", "3600")];
            let expected: Map<String, Value> =
                members.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
            for (content_type, body) in written(&members) {
                let found = run(TokenFormatDef::Auto, content_type, &body);
                let shown = String::from_utf8_lossy(&body);
                assert_eq!(found, Ok(Value::Object(expected.clone())), "{content_type} {shown}");
            }
        }
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
