//! What is read, what is left to the server, and that hyper reads the same. Every case of a table is also compared
//! with hyper.

use std::cell::Cell;

use proptest::test_runner::{Config, TestRunner};

use super::*;

mod compare;
pub(crate) mod generate;

fn length(text: &str) -> Option<u64> {
    let head = RequestHead::of(text.as_bytes());
    assert_eq!(compare::agree(text.as_bytes()), head.is_some());
    head.map(|head| head.length)
}

/// A head that is read, with this target and this field.
fn with(target: &str, field: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nhost: x\r\n{field}\r\n\r\n")
}

#[test]
fn a_request_is_as_long_as_its_head_says() {
    let text =
        "POST /run/a?b=c HTTP/1.1\r\nHost: x\r\nAUTHORIZATION: Bearer t\r\ncontent-length: 5\r\n\r\n{}";
    let head = RequestHead::of(text.as_bytes()).unwrap();
    assert_eq!((head.method, head.target), ("POST", "/run/a?b=c"));
    assert_eq!(head.authorization, Some("Bearer t"));
    assert_eq!(head.length, text.len() as u64 + 3);
    let without = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Keep-Alive\r\n\r\nGET";
    assert_eq!(length(without), Some(without.len() as u64 - 3));
    let twice = "GET / HTTP/1.1\r\nhost: x\r\nauthorization: a\r\nAuthorization: a\r\n\r\n";
    assert_eq!(RequestHead::of(twice.as_bytes()).unwrap().authorization, None);
    let id = |fields: &str| {
        let text = format!("GET / HTTP/1.1\r\nhost: x\r\n{fields}\r\n");
        RequestHead::of(text.as_bytes()).unwrap().request_id.map(|(id, more)| (id.to_vec(), more))
    };
    assert_eq!(id(""), None);
    assert_eq!(id("X-Request-ID: a b\r\n"), Some((b"a b".to_vec(), false)));
    assert_eq!(id("x-request-id: a\r\nx-request-id: b\r\n"), Some((b"a".to_vec(), true)));
}

#[test]
fn what_could_be_read_in_two_ways_is_not_read() {
    let of = |field: &str| length(&with("/", field));
    assert!(of("content-length: 12").is_some() && of("connection: keep-alive").is_some());
    for field in [
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
        "host: x",
        "HOST: y",
        "host:",
    ] {
        assert_eq!(of(field), None, "{field}");
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
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: u@x\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\n\n",
        "GET / HTTP/1.1\r\nhost: x\n\r\n",
        "GET / HTTP/1.1\nhost: x\n\n",
    ] {
        assert_eq!(length(text), None, "{text}");
    }
    let many = "a: b\r\n".repeat(FIELDS_MAX);
    assert_eq!(length(&format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n")), None);
}

#[test]
fn a_target_that_hyper_refuses_or_shortens_is_not_read() {
    let of = |target: &str| length(&with(target, "a: b"));
    for target in ["/", "//", "/a//b", "/?", "/a?b?c/d", "/%zz", "/-._~!$&'()*+,;=:@%/?", "/..", "/AZaz09"] {
        assert!(of(target).is_some(), "{target}");
    }
    for target in [
        // The part after `#` does not reach the service.
        "/#",
        "/a#b",
        "/a?b#c",
        // Answered with 400.
        "/<a>",
        "/a?<>",
        "/`",
        "/\\",
        "/^",
        "?a",
        "a",
        "\u{e9}",
        "http:///x",
        // Changed by hyper: a scheme in lower case, a path that was absent.
        "HTTP://a.example/",
        "http://a.example",
        // Read the same by hyper, but outside of RFC 3986 or not in origin form.
        "http://a.example/b",
        "a.example:443",
        "*",
        "/{}",
        "/\"",
        "/|",
        "/[",
        "/\u{e9}",
    ] {
        assert_eq!(of(target), None, "{target}");
    }
}

#[test]
fn an_authorization_that_is_no_text_to_hyper_is_not_read() {
    let of = |value: &[u8]| {
        let bytes = [b"GET / HTTP/1.1\r\nhost: x\r\nauthorization:", value, b"\r\n\r\n"].concat();
        let head = RequestHead::of(&bytes);
        assert_eq!(compare::agree(&bytes), head.is_some());
        head.map(|head| head.authorization.unwrap().to_owned())
    };
    assert_eq!(of(b" \t Bearer ~ \t"), Some("Bearer ~".to_owned()));
    assert_eq!(of(b"a\tb"), Some("a\tb".to_owned()));
    assert_eq!(of(b""), Some(String::new()));
    for value in [b"Bearer \xff".as_slice(), "Bearer \u{e9}".as_bytes(), b"a\x7f", b"a\0", b"a\r\n b"] {
        assert_eq!(of(value), None, "{value:?}");
    }
}

#[test]
fn a_head_of_more_than_16_kib_is_not_read() {
    let rest = with("/", "a: b").len();
    let of = |bytes: usize| length(&with(&format!("/{}", "a".repeat(bytes - rest)), "a: b"));
    assert_eq!(of(HEAD_BYTES_MAX), Some(HEAD_BYTES_MAX as u64));
    assert_eq!(of(HEAD_BYTES_MAX + 1), None);
    assert_eq!(of(70_000), None, "hyper answers a target like this with 414");
}

#[test]
fn what_looks_odd_and_has_one_meaning_is_read() {
    for (request, next) in [
        ("GET / HTTP/1.1\r\nhost:x\r\n\r\n", "next"),
        ("GET / HTTP/1.1\r\na:\r\nHOST: \t[::1]:80 \r\n\r\n", ""),
        ("GET / HTTP/1.1\r\nhost: x\r\nContent_Length: 5\r\n\r\n", "12345"),
        ("GET / HTTP/1.1\r\nhost: x\r\nhttp2-settings: x\r\n\r\n", ""),
        ("GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 007\r\n\r\n1234567", "GET"),
        ("GET / HTTP/1.1\r\nhost: x\r\ncontent-length:\t3 \t\r\n\r\n\r\n\r", "\n"),
        ("GET / HTTP/1.1\r\nhost: x\r\nconnection: keep-alive\r\nCONNECTION: KEEP-ALIVE\r\n\r\n", "\r\n"),
        ("Post / HTTP/1.1\r\nhost: x\r\n\r\n", ""),
        ("X!#$%&'*+-.^_`|~9 / HTTP/1.1\r\nhost: x\r\n\r\n", ""),
        ("PRI / HTTP/1.1\r\nhost: x\r\n\r\n", "SM\r\n\r\n"),
    ] {
        assert_eq!(length(&format!("{request}{next}")), Some(request.len() as u64), "{request:?}");
    }
    let most = u64::MAX - 2;
    let long = with("/", &format!("content-length: {}", most - 70));
    assert_eq!(length(&long), Some(most - 70 + long.len() as u64));
}

#[test]
fn hyper_reads_what_is_read_here() {
    let read = Cell::new(0);
    let config = Config { failure_persistence: None, ..Config::default() };
    let cases = config.cases;
    let outcome = TestRunner::new(config).run(&generate::request(), |bytes| {
        read.set(read.get() + u32::from(compare::agree(&bytes)));
        Ok(())
    });
    outcome.unwrap();
    // Guards the test: a comparison of heads that are never read would pass, too.
    assert!(read.get() > cases / 6, "{} of {cases} were read", read.get());
}
