//! From the bytes of an answer to text: by byte order mark, by the charset that the content type names, by what an XML
//! or HTML document says itself, else as UTF-8. Bytes that are not text in that charset stay bytes: nothing is
//! replaced.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// How far into a document its own charset is looked for, bytes (HTML, "prescan a byte stream").
const PRESCAN_BYTES: usize = 1024;

/// Media types whose content is never text, whatever its bytes are. `image/svg+xml` is one of the exceptions.
const BINARY_TYPES: [&str; 5] = ["image/", "audio/", "video/", "font/", "model/"];
/// The same for whole types.
const BINARY: [&str; 6] = [
    "application/pdf",
    "application/zip",
    "application/gzip",
    "application/x-gzip",
    "application/x-tar",
    "application/x-7z-compressed",
];

/// A content type (RFC 9110 section 8.3.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MediaType {
    /// `type/subtype` in lower case; empty if there is none.
    pub(crate) essence: String,
    /// The charset parameter.
    charset: Option<String>,
}

impl MediaType {
    /// Reads a content type. Of several that were joined the first counts.
    pub(crate) fn parse(text: &str) -> Self {
        let mut pieces = text.split([';', ',']);
        let essence = pieces.next().unwrap_or_default().trim().to_ascii_lowercase();
        let charset = pieces.find_map(|piece| {
            let (name, value) = piece.split_once('=')?;
            let value = value.trim().trim_matches(['"', '\'']);
            name.trim().eq_ignore_ascii_case("charset").then(|| value.to_owned())
        });
        Self { essence, charset }
    }

    /// Whether a body of that type is JSON, or may be.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.essence.as_str(), "" | "application/json" | "text/json")
            || self.essence.ends_with("+json")
            || self.essence.starts_with("application/x-amz-json-")
    }

    /// Whether its content is no text by its type.
    fn is_binary(&self) -> bool {
        !self.essence.ends_with("+xml")
            && (BINARY.contains(&self.essence.as_str())
                || BINARY_TYPES.iter().any(|prefix| self.essence.starts_with(prefix)))
    }

    /// Whether it names no charset, or the one of JSON.
    pub(crate) fn is_utf8(&self) -> bool {
        self.charset.as_deref().is_none_or(|charset| {
            ["utf-8", "utf8", "us-ascii"].iter().any(|own| charset.eq_ignore_ascii_case(own))
        })
    }

    /// The text of a body; `None` if it is none in its charset.
    pub(crate) fn text<'b>(&self, body: &'b [u8]) -> Option<Cow<'b, str>> {
        if let Some((encoding, mark)) = Encoding::for_bom(body) {
            return decode(encoding, body.get(mark..)?);
        }
        decode(self.encoding(body), body)
    }

    /// The same, unless its type or a control character says that it is no text.
    pub(crate) fn plain_text<'b>(&self, body: &'b [u8]) -> Option<Cow<'b, str>> {
        let is_plain =
            |ch: char| !ch.is_control() || matches!(ch, '\t' | '\n' | '\r' | '\x0c' | '\x1b' | '\u{85}');
        if self.is_binary() {
            return None;
        }
        self.text(body).filter(|text| text.chars().all(is_plain))
    }

    fn encoding(&self, body: &[u8]) -> &'static Encoding {
        if let Some(label) = self.charset.as_deref()
            && let Some(named) = named(label)
        {
            // Why not of any text: `一` begins with a zero in the usual order, too.
            let is_turned = named == UTF_16LE && body.first() == Some(&0);
            let is_open =
                !label.to_ascii_lowercase().contains("le") && matches!(body.get(1), Some(b'<' | b'{' | b'['));
            // Why of JSON: it says its byte order by where its first character's zero is (RFC 4627 section 3).
            return if is_turned && (self.is_json() || is_open) { UTF_16BE } else { named };
        }
        let head = body.get(..PRESCAN_BYTES.min(body.len())).unwrap_or_default();
        if std::str::from_utf8(body).is_err()
            && let Some(own) = own_charset(head)
        {
            return own;
        }
        UTF_8
    }
}

fn named(label: &str) -> Option<&'static Encoding> {
    Encoding::for_label(label.as_bytes())
}

fn decode<'b>(encoding: &'static Encoding, body: &'b [u8]) -> Option<Cow<'b, str>> {
    encoding.decode_without_bom_handling_and_without_replacement(body)
}

/// What the document itself says: `<?xml encoding="…"?>`, `<meta charset="…">`, or the same in an `http-equiv`.
fn own_charset(head: &[u8]) -> Option<&'static Encoding> {
    // Why lossless enough: a label is ASCII in every charset that can be named there.
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let after = |name: &str| {
        let at = head.find(name)? + name.len();
        let rest = head.get(at..)?.trim_start().strip_prefix('=')?.trim_start();
        let rest = rest.trim_start_matches(['"', '\'']);
        let end = rest.find(['"', '\'', ';', '>', ' ', '?', '/']).unwrap_or(rest.len());
        rest.get(..end)
    };
    let is_markup = head.trim_start().starts_with('<');
    let label =
        after("encoding").filter(|_| head.trim_start().starts_with("<?xml")).or_else(|| after("charset"));
    label.filter(|_| is_markup).and_then(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content_type: &str, body: &[u8]) -> Option<String> {
        MediaType::parse(content_type).text(body).map(Cow::into_owned)
    }

    #[test]
    fn a_text_is_read_by_mark_then_label_then_what_it_says_itself() {
        let utf16 = |big: bool, mark: bool| -> Vec<u8> {
            let text = if mark { "\u{feff}{\"é\":1}" } else { "{\"é\":1}" };
            text.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
        };
        for (content_type, body, expected) in [
            (
                "application/json; charset=ISO-8859-1",
                b"{\"n\":\"Jos\xe9\"}".to_vec(),
                Some("{\"n\":\"Jos\u{e9}\"}"),
            ),
            ("application/json;CHARSET=\"latin1\"", b"Jos\xe9".to_vec(), Some("Jos\u{e9}")),
            ("text/plain; charset=windows-1251", b"\xcf\xf0\xe8".to_vec(), Some("\u{41f}\u{440}\u{438}")),
            ("text/plain; charset=shift_jis", b"\x93\xfa".to_vec(), Some("\u{65e5}")),
            ("application/json", utf16(false, true), Some("{\"é\":1}")),
            ("application/json; charset=utf-8", utf16(true, true), Some("{\"é\":1}")),
            ("application/json; charset=utf-16", utf16(true, false), Some("{\"é\":1}")),
            ("application/json; charset=utf-16", utf16(false, false), Some("{\"é\":1}")),
            ("application/json", b"\xef\xbb\xbf{}".to_vec(), Some("{}")),
            (
                "application/xml",
                b"<?xml version='1.0' encoding='windows-1252'?><a>\xe9</a>".to_vec(),
                Some("<?xml version='1.0' encoding='windows-1252'?><a>\u{e9}</a>"),
            ),
            (
                "text/html",
                b"<html><meta charset=\"windows-1250\">\xb3".to_vec(),
                Some("<html><meta charset=\"windows-1250\">\u{142}"),
            ),
            (
                "text/html",
                b"<meta http-equiv=x content=\"text/html; charset=koi8-r\">\xc1".to_vec(),
                Some("<meta http-equiv=x content=\"text/html; charset=koi8-r\">\u{430}"),
            ),
            // What is UTF-8 stays so, whatever an old document says.
            (
                "text/html",
                "<meta charset=windows-1252>é".as_bytes().to_vec(),
                Some("<meta charset=windows-1252>é"),
            ),
            ("application/json", b"{\"n\":\"Jos\xe9\"}".to_vec(), None),
            ("application/json; charset=utf-8", b"\xff".to_vec(), None),
            ("application/json; charset=nonsense", "é".as_bytes().to_vec(), Some("é")),
        ] {
            assert_eq!(text(content_type, &body).as_deref(), expected, "{content_type} {body:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_not_taken_for_one() {
        for (content_type, body) in [
            ("application/octet-stream", b"\x89PNG\r\n\x1a\n\xff\xfe\0\x80".as_slice()),
            ("application/octet-stream", b"a\0b"),
            ("application/pdf", b"%PDF-1.4 all of it ASCII"),
            ("image/gif", b"GIF89a"),
            ("text/plain", b"\xe9"),
        ] {
            assert!(MediaType::parse(content_type).plain_text(body).is_none(), "{content_type}");
        }
        for (content_type, body) in [
            ("application/octet-stream", b"id,name\r\n1,a\t\x0c".as_slice()),
            ("image/svg+xml", b"<svg/>"),
            ("", b"x"),
        ] {
            assert!(MediaType::parse(content_type).plain_text(body).is_some(), "{content_type}");
        }
    }
}
