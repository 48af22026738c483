//! H: hostile headers, methods and bodies of a guest, and what is then sent.

use portcullis_action::Method;
use portcullis_action::template::Template;
use portcullis_core::fault::Code;
use portcullis_core::injection::Injection;
use portcullis_core::limits::Limits;
use portcullis_core::outbound::OutboundRequest;

use super::harness::{Harness, Setup, URL, bearer, get, header, post, with};
use crate::support::upstream::Received;

/// Spellings of a header name that a proxy or server may read as the same name.
fn spellings(name: &str) -> Vec<String> {
    let capitals = |c: char, first: bool| if first { c.to_ascii_uppercase() } else { c };
    let mut first = true;
    let train = name
        .chars()
        .map(|c| {
            let out = capitals(c, first);
            first = c == '-';
            out
        })
        .collect();
    vec![
        name.to_owned(),
        name.to_uppercase(),
        train,
        name.replace('-', "_"),
        name.to_uppercase().replace('-', "_"),
    ]
}

/// Each name is refused in every spelling: alone, after a valid header and before one.
async fn all_refused(names: &[&str], value: &[u8]) {
    let harness = Harness::usual().await;
    for name in names.iter().flat_map(|name| spellings(name)) {
        harness.refuses(with(&[(&name, value)]), Code::HeaderForbidden).await;
        harness.refuses(with(&[("x-ok", b"1"), (&name, value)]), Code::HeaderForbidden).await;
        harness.refuses(with(&[(&name, value), ("x-ok", b"1")]), Code::HeaderForbidden).await;
    }
    harness.passes(with(&[("x-ok", b"1")])).await;
    assert_framed(&harness.last(), "GET /v1/things", None);
    assert_eq!(harness.last().header("x-ok"), ["1"]);
}

/// Asserts the host's framing: origin-form, one Host, at most one length, nothing else.
#[track_caller]
fn assert_framed(request: &Received, line: &str, length: Option<&str>) {
    assert_eq!(request.head.lines().next(), Some(format!("{line} HTTP/1.1").as_str()));
    assert_eq!(request.header("host"), ["api.example-saas.com"]);
    assert_eq!(request.header("content-length"), Vec::from_iter(length));
    let agent = concat!("Portcullis/", env!("CARGO_PKG_VERSION"));
    assert_eq!(request.header("user-agent"), [agent]);
    assert_eq!(request.header("accept-encoding"), ["gzip, deflate, br, zstd"]);
    for absent in [
        "transfer-encoding",
        "connection",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "range",
        "origin",
        "referer",
        "cookie",
        "via",
        "forwarded",
        "x-forwarded-for",
        "proxy-authorization",
        "keep-alive",
    ] {
        assert!(request.header(absent).is_empty(), "{absent}: {}", request.head);
    }
}

#[tokio::test]
async fn h1_a_second_host_is_refused_and_one_is_sent() {
    all_refused(&["host"], b"evil.com").await;
    all_refused(&["host"], b"api.example-saas.com").await;
}

#[tokio::test]
async fn h2_the_length_is_the_hosts() {
    for value in [&b"2"[..], b"50", b"+5", b"5,7", b"0", b"-1", b""] {
        all_refused(&["content-length"], value).await;
    }
    let harness = Harness::usual().await;
    harness.passes(post(URL, b"hello")).await;
    assert_framed(&harness.last(), "POST /v1/things", Some("5"));
    assert_eq!(harness.last().text(), "hello");
}

#[tokio::test]
async fn h2_a_post_of_nothing_says_that_it_is_nothing() {
    // RFC 9110 section 8.6; without a length, servers answer 411.
    let harness = Harness::usual().await;
    for method in [Method::Post, Method::Put, Method::Patch] {
        harness.passes(OutboundRequest { method, ..post(URL, b"") }).await;
        assert_framed(&harness.last(), &format!("{} /v1/things", method.as_str()), Some("0"));
        harness.passes(OutboundRequest { method, ..get(URL) }).await;
        assert_framed(&harness.last(), &format!("{} /v1/things", method.as_str()), Some("0"));
    }
}

#[tokio::test]
async fn h3_no_transfer_coding_leaves() {
    for value in [&b"chunked"[..], b"xchunked", b"identity", b"gzip, chunked", b"\x0bchunked"] {
        all_refused(&["transfer-encoding"], value).await;
    }
}

#[tokio::test]
async fn h4_connection_options_are_refused() {
    for value in [&b"x-api-key"[..], b"close", b"authorization", b"upgrade", b"keep-alive"] {
        all_refused(&["connection"], value).await;
    }
}

#[tokio::test]
async fn h5_hop_by_hop_headers_are_refused() {
    all_refused(
        &[
            "upgrade",
            "http2-settings",
            "expect",
            "te",
            "trailer",
            "keep-alive",
            "proxy-connection",
            "proxy-authorization",
            "proxy-authenticate",
            "max-forwards",
        ],
        b"100-continue",
    )
    .await;
}

#[tokio::test]
async fn h6_line_breaks_and_nul_are_refused_in_names_values_and_paths() {
    let harness = Harness::usual().await;
    for bad in ["\r", "\n", "\0", "\r\nx-b: 1", "\r\n\r\nGET / HTTP/1.1\r\nhost: evil.com"] {
        harness.refuses(with(&[(&format!("x-a{bad}"), b"1")]), Code::HeaderForbidden).await;
        harness.refuses(with(&[("x-a", format!("1{bad}").as_bytes())]), Code::HeaderForbidden).await;
        harness.refuses(with(&[("x-a", format!("{bad}1").as_bytes())]), Code::HeaderForbidden).await;
        harness.refuses(get(&format!("{URL}{bad}")), Code::UrlInvalid).await;
        assert_eq!(Method::parse(&format!("GET{bad}")), None);
    }
    for value in [&b"\x01"[..], b"\x1f", b"\x7f", b"\x0b"] {
        harness.refuses(with(&[("x-a", value)]), Code::HeaderForbidden).await;
    }
    harness.passes(with(&[("x-a", b"1\t2")])).await;
    harness.passes(get(&format!("{URL}?q=%0d%0ax-b:%201"))).await;
    assert_framed(&harness.last(), "GET /v1/things?q=%0d%0ax-b:%201", None);
    assert!(harness.last().header("x-b").is_empty());
}

#[tokio::test]
async fn h7_the_target_is_always_in_origin_form() {
    let harness = Harness::usual().await;
    for (url, line) in [
        ("https://api.example-saas.com", "GET /"),
        ("https://api.example-saas.com/", "GET /"),
        ("https://api.example-saas.com:443/v1/things", "GET /v1/things"),
        ("https://API.example-saas.com/v1/things?u=http://evil.com/p", "GET /v1/things?u=http://evil.com/p"),
        ("https://api.example-saas.com/v1/items/http:%2F%2Fevil.com", "GET /v1/items/http:%2F%2Fevil.com"),
        ("https://api.example-saas.com?q=1", "GET /?q=1"),
    ] {
        harness.passes(get(url)).await;
        assert_framed(&harness.last(), line, None);
    }
    harness.refuses(get("http://evil/p"), Code::SchemeNotHttps).await;
    harness.refuses(get("*"), Code::UrlInvalid).await;
}

#[tokio::test]
async fn h8_methods_are_a_closed_list() {
    for token in ["CONNECT", "TRACE", "TRACK", "PRI", "get", "Get", "GET ", "", "PURGE", "GET / HTTP/1.1"] {
        assert_eq!(Method::parse(token), None, "{token:?}");
    }
    let harness = Harness::usual().await;
    for method in Method::ALL {
        assert_eq!(Method::parse(method.as_str()), Some(method));
        harness.send(OutboundRequest { method, ..get(URL) }).await;
        assert_eq!(harness.last().line(), format!("{} /v1/things", method.as_str()));
        // Why: after HEAD the upstream of the tests sends a body, which is not read.
        harness.gate.drop_connections(|_| true);
    }
}

#[tokio::test]
async fn h9_the_injected_header_cannot_be_set_by_a_guest() {
    for (injection, name) in [
        (bearer(), "authorization"),
        (header("x-api-key", "{{cred.api_key}}"), "x-api-key"),
        (header("x_odd_key", "{{cred.api_key}}"), "x-odd-key"),
    ] {
        let harness =
            Setup { injection, fields: vec![("api_key", "sk-live-1")], ..Setup::default() }.start().await;
        for name in spellings(name) {
            harness.refuses(with(&[(&name, b"mine")]), Code::HeaderForbidden).await;
            harness.refuses(with(&[(&name, b"a"), (&name, b"b")]), Code::HeaderForbidden).await;
            // It is refused without the credential, too.
            let bare = OutboundRequest { credential: None, ..with(&[(&name, b"mine")]) };
            harness.refuses(bare, Code::HeaderForbidden).await;
        }
        harness.passes(with(&[("x-api-key-id", b"mine")])).await;
        let sent = [name.to_owned(), name.replace('-', "_")].map(|n| harness.last().header(&n).len());
        assert_eq!(
            sent.iter().sum::<usize>() - usize::from(sent[0] == sent[1]),
            1,
            "{}",
            harness.last().head
        );
        assert!(harness.last().head.contains("sk-live-1"));
    }
}

#[tokio::test]
async fn h9_the_injected_query_pair_cannot_be_set_by_a_guest() {
    let injection = Injection {
        query: vec![("key".to_owned(), Template::parse("{{cred.api_key}}").unwrap())],
        ..Injection::default()
    };
    let harness =
        Setup { injection, fields: vec![("api_key", "sk-live-1")], ..Setup::default() }.start().await;
    for query in ["key=mine", "a=1&KEY=mine", "%6bey=mine", "key"] {
        harness.refuses(get(&format!("{URL}?{query}")), Code::QueryForbidden).await;
    }
    harness.passes(get(&format!("{URL}?keys=1"))).await;
    assert!(
        harness.last().head.starts_with("GET /v1/things?keys=1&key=sk-live-1 "),
        "{}",
        harness.last().head
    );
}

#[tokio::test]
async fn h10_headers_that_claim_another_origin_or_method_are_refused() {
    all_refused(
        &[
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-forwarded-port",
            "forwarded",
            "x-real-ip",
            "x-original-url",
            "x-rewrite-url",
            "x-http-method-override",
            "x-http-method",
            "x-method-override",
            "via",
            "cf-connecting-ip",
            "cf-ray",
            "true-client-ip",
            "x-client-ip",
            "x-host",
        ],
        b"127.0.0.1",
    )
    .await;
}

#[tokio::test]
async fn h11_headers_that_would_blind_the_scrubber_are_refused() {
    all_refused(&["accept-encoding", "range", "if-range"], b"bytes=0-7").await;
}

#[tokio::test]
async fn h12_too_many_or_too_long_headers_are_refused_at_their_border() {
    let limits = Limits::default();
    let count = usize::try_from(limits.request_header_count).unwrap();
    let bytes = usize::try_from(limits.request_header_bytes).unwrap();
    let harness = Harness::usual().await;
    let many = |n: usize| OutboundRequest { headers: vec![("x".to_owned(), b"1".to_vec()); n], ..get(URL) };
    harness.refuses(many(count + 1), Code::RequestTooLarge).await;
    harness.refuses(many(10_000), Code::RequestTooLarge).await;
    harness.passes(many(count)).await;
    assert_eq!(harness.last().header("x").len(), count);
    let long = |n: usize| with(&[("x", &vec![b'1'; n - 1])]);
    harness.refuses(long(bytes + 1), Code::RequestTooLarge).await;
    harness.refuses(long(1024 * 1024), Code::RequestTooLarge).await;
    harness.passes(long(bytes)).await;
}

#[tokio::test]
async fn h13_keys_to_metadata_services_are_refused() {
    all_refused(
        &["metadata", "metadata-flavor", "x-aws-ec2-metadata-token", "x-aws-ec2-metadata-token-ttl-seconds"],
        b"true",
    )
    .await;
}

#[tokio::test]
async fn h14_a_name_is_a_token() {
    let harness = Harness::usual().await;
    for name in [
        "",
        ":authority",
        ":path",
        ":method",
        ":scheme",
        "x a",
        " x",
        "x ",
        "x:",
        "x\t",
        "x(",
        "x/y",
        "\u{e9}",
        "x\u{ff0d}y",
        "\u{212a}ey",
    ] {
        harness.refuses(with(&[(name, b"1")]), Code::HeaderForbidden).await;
    }
    harness.passes(with(&[("x-!#$%&'*+.^`|~9", b"1")])).await;
}

#[tokio::test]
async fn h15_bytes_over_ascii_are_sent_as_they_are_and_never_in_a_credential() {
    let harness = Harness::usual().await;
    harness.passes(with(&[("x-a", b"caf\xe9 \xff")])).await;
    // Read as text, each of these bytes would become a replacement character.
    assert_eq!(harness.last().header("x-a"), ["caf\u{fffd} \u{fffd}"]);
    for secret in ["clé", "key\u{a0}", "key\n", "key\0", "\u{ff4b}ey"] {
        let harness = Setup { fields: vec![("api_key", secret)], ..Setup::default() }.start().await;
        let sent = harness.send(get(URL)).await;
        assert_eq!(sent.report.failure, Some(Code::CredentialMissing), "{secret:?}");
        assert!(harness.upstream.received().is_empty(), "{secret:?}");
    }
}

#[tokio::test]
async fn what_the_log_cannot_record_does_not_leave() {
    let harness = Harness::usual().await;
    harness.log.break_down(true);
    for url in [URL, "https://evil.com/"] {
        let sent = harness.send(get(url)).await;
        assert_eq!(sent.report.failure, Some(Code::LedgerUnavailable), "{url}");
    }
    assert!(harness.names.asked().is_empty() && harness.dialer.dialed().is_empty());
    assert_eq!(harness.opens(), 0);
    harness.log.break_down(false);
    harness.passes(get(URL)).await;
}
