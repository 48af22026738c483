//! The head of a request, read before the HTTP server reads it: what it asks for and where the request ends.
//!
//! It reads only what is unambiguous: HTTP/1.1, a complete head whose lines end with CR LF, one `Host`, an origin-form
//! target of URI characters, a body whose length is given once and in digits (RFC 9112 sections 2, 3 and 6.3). For anything else the answer is `None`, and the
//! server's parser alone decides. It makes no decision. Called by the API's load shedding; a property test and the fuzz
//! target `request_head` compare it with hyper's reading of the same bytes.

use std::mem::MaybeUninit;

use httparse::Request;
use memchr::memchr_iter;

use crate::framing::{is_host, number};

/// Maximum header fields; a head with more is left to the server's parser.
const FIELDS_MAX: usize = 48;

/// Longest head, bytes. Why: hyper has limits for targets, names of fields and heads, all of them higher.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHead<'b> {
    /// The method as sent, such as `POST`.
    pub method: &'b str,
    /// The request target as sent: a path, and a query if there is one.
    pub target: &'b str,
    /// `Authorization`, if there is exactly one.
    pub authorization: Option<&'b str>,
    /// `X-Request-Id`: the first of them, and whether there are more.
    pub request_id: Option<(&'b [u8], bool)>,
    /// Length of head and body together, bytes.
    pub length: u64,
}

impl<'b> RequestHead<'b> {
    /// The head of the request that begins with these bytes; `None` if it is not certain.
    #[must_use]
    pub fn of(bytes: &'b [u8]) -> Option<Self> {
        // Why: a server may skip empty lines before a request.
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
        if request.version != Some(1) || method == "CONNECT" || !is_path(target) || head > HEAD_BYTES_MAX {
            return None;
        }
        if !ends_lines_with_cr_lf(bytes.get(..head)?) {
            return None;
        }
        let (mut authorization, mut body, mut host) = (Field::Absent, Field::Absent, Field::Absent);
        let mut request_id = None;
        for field in request.headers.iter() {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("authorization") {
                authorization = authorization.and(field.value);
            } else if is("content-length") {
                body = body.and(field.value);
            } else if is("host") {
                host = host.and(field.value);
            } else if is("x-request-id") {
                request_id = Some(request_id.map_or((field.value, false), |(first, _)| (first, true)));
            } else if is("transfer-encoding")
                || is("expect")
                || is("upgrade")
                || is("connection") && !field.value.eq_ignore_ascii_case(b"keep-alive")
            {
                return None;
            }
        }
        // Why: the API refuses any other.
        if !matches!(host, Field::Once(name) if is_host(name)) {
            return None;
        }
        let body = match body {
            Field::Absent => 0,
            Field::Once(digits) => number(digits)?,
            Field::Repeated => return None,
        };
        let authorization = match authorization {
            Field::Once(value) => Some(visible(value)?),
            Field::Absent | Field::Repeated => None,
        };
        let length = u64::try_from(head).ok()?.checked_add(body)?;
        Some(Self { method, target, authorization, request_id, length })
    }
}

/// A field that may occur once.
enum Field<'b> {
    Absent,
    Once(&'b [u8]),
    Repeated,
}

impl<'b> Field<'b> {
    fn and(self, value: &'b [u8]) -> Self {
        if matches!(self, Self::Absent) { Self::Once(value) } else { Self::Repeated }
    }
}

/// Whether a target is in origin form with characters of RFC 3986 only. Why no others: servers refuse some of them,
/// and cut a target off at `#`.
fn is_path(target: &str) -> bool {
    let is_allowed = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%' | b'/' | b'?' | b':' | b'@')
            || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
    };
    target.starts_with('/') && target.bytes().all(is_allowed)
}

/// A value that every reader decodes to the same text: ASCII without control characters, except tabs.
fn visible(value: &[u8]) -> Option<&str> {
    let is_visible = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    is_visible.then(|| std::str::from_utf8(value).ok())?
}

/// Whether no line feed stands alone.
fn ends_lines_with_cr_lf(head: &[u8]) -> bool {
    memchr_iter(b'\n', head).all(|at| at.checked_sub(1).and_then(|before| head.get(before)) == Some(&b'\r'))
}

#[cfg(test)]
pub(crate) mod tests;
