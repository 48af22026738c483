//! Where a request ends and what it asks for, read from its first bytes before the server's own parser is.
//!
//! Only what cannot be misread is read: HTTP/1.1, a head that is there as a whole, a body whose length is said
//! once and in digits (RFC 9112 sections 2, 3 and 6.3). For anything else the answer is nothing, and the
//! server's parser is the only one to decide.

use std::mem::MaybeUninit;

use httparse::Request;

/// Most header fields; more are for the server's parser.
const FIELDS_MAX: usize = 48;

/// A request's head.
pub(super) struct Message<'b> {
    /// The method.
    pub(super) method: &'b str,
    /// The request target as it was sent.
    pub(super) target: &'b str,
    /// `Authorization`, where there is exactly one.
    pub(super) authorization: Option<&'b str>,
    /// Head and body, bytes.
    pub(super) length: u64,
}

impl<'b> Message<'b> {
    /// The message that begins with these bytes.
    pub(super) fn of(bytes: &'b [u8]) -> Option<Self> {
        // Why: parsers pass over empty lines before a request.
        if !bytes.first()?.is_ascii_uppercase() {
            return None;
        }
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut request = Request::new(&mut []);
        let httparse::Status::Complete(head) = request.parse_with_uninit_headers(bytes, &mut fields).ok()?
        else {
            return None;
        };
        let (method, target) = (request.method?, request.path?);
        if request.version != Some(1) || method == "CONNECT" {
            return None;
        }
        let (mut authorization, mut body) = (Field::Absent, Field::Absent);
        for field in request.headers.iter() {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("authorization") {
                authorization = authorization.and(field.value);
            } else if is("content-length") {
                body = body.and(field.value);
            } else if is("transfer-encoding")
                || is("expect")
                || is("upgrade")
                || is("connection") && !field.value.eq_ignore_ascii_case(b"keep-alive")
            {
                return None;
            }
        }
        let body = match body {
            Field::Absent => 0,
            Field::Once(digits) => number(digits)?,
            Field::Repeated => return None,
        };
        let length = u64::try_from(head).ok()?.checked_add(body)?;
        Some(Self { method, target, authorization: authorization.text(), length })
    }
}

/// A field that may be there once.
enum Field<'b> {
    Absent,
    Once(&'b [u8]),
    Repeated,
}

impl<'b> Field<'b> {
    fn and(self, value: &'b [u8]) -> Self {
        if matches!(self, Self::Absent) { Self::Once(value) } else { Self::Repeated }
    }

    fn text(self) -> Option<&'b str> {
        if let Self::Once(value) = self { std::str::from_utf8(value).ok() } else { None }
    }
}

/// A number of digits alone: `parse` would take a sign.
fn number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(head: &str) -> Option<u64> {
        Message::of(head.as_bytes()).map(|message| message.length)
    }

    #[test]
    fn a_message_is_as_long_as_it_says() {
        let text =
            "POST /run/a?b=c HTTP/1.1\r\nHost: x\r\nAUTHORIZATION: Bearer t\r\ncontent-length: 5\r\n\r\n{}";
        let message = Message::of(text.as_bytes()).unwrap();
        assert_eq!((message.method, message.target), ("POST", "/run/a?b=c"));
        assert_eq!(message.authorization, Some("Bearer t"));
        assert_eq!(message.length, text.len() as u64 + 3);
        let without = "GET / HTTP/1.1\r\nConnection: Keep-Alive\r\n\r\nGET";
        assert_eq!(length(without), Some(without.len() as u64 - 3));
        let twice = "GET / HTTP/1.1\r\nauthorization: a\r\nAuthorization: a\r\n\r\n";
        assert_eq!(Message::of(twice.as_bytes()).unwrap().authorization, None);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        let with = |line: &str| length(&format!("POST / HTTP/1.1\r\nhost: x\r\n{line}\r\n\r\n"));
        assert!(with("content-length: 12").is_some() && with("connection: keep-alive").is_some());
        for line in [
            "content-length: 1\r\ncontent-length: 1",
            "content-length: 1, 1",
            "content-length: +1",
            "content-length: -1",
            "content-length:",
            "content-length: 0x10",
            "content-length: 99999999999999999999",
            "content-length: 18446744073709551615",
            "content-length: 5\r\ntransfer-encoding: chunked",
            "Transfer-Encoding: identity",
            "transfer-encoding : chunked",
            " folded: line",
            "expect: 100-continue",
            "upgrade: h2c",
            "connection: close",
            "connection: keep-alive, upgrade",
        ] {
            assert_eq!(with(line), None, "{line}");
        }
        for text in [
            "",
            "POST / HTTP/1.1\r\nhost: x\r\n",
            "\r\nPOST / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.0\r\n\r\n",
            "POST /\r\n\r\n",
            "CONNECT a:443 HTTP/1.1\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\u{16}\u{3}\u{1}",
        ] {
            assert_eq!(length(text), None, "{text}");
        }
        let many = "a: b\r\n".repeat(FIELDS_MAX + 1);
        assert_eq!(length(&format!("GET / HTTP/1.1\r\n{many}\r\n")), None);
    }
}
