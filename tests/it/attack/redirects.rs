//! R: hostile redirects: where they lead, and what the next request carries.

use portcullis_core::definition::RedirectFollow::{AllowedHosts, None as Nowhere, SameHost};
use portcullis_core::fault::Code;
use portcullis_core::outbound::OutboundRequest;

use super::harness::{Harness, OTHER, Setup, URL, follow, get, post, values, with};
use crate::support::fake_network::DialManner;
use crate::support::{PRIVATE, Script};

/// A response with this status and these header lines, on a connection that is kept.
fn answer(status: u16, lines: &str, body: &str) -> Script {
    let text = format!("HTTP/1.1 {status} X\r\n{lines}content-length: {}\r\n\r\n{body}", body.len());
    Script::Kept(text.into_bytes())
}

fn to(status: u16, location: &str) -> Script {
    answer(status, &format!("location: {location}\r\n"), "")
}

async fn following(policy: portcullis_core::definition::RedirectFollow) -> Harness {
    Setup { redirects: follow(policy, 3), ports: vec![8443], ..Setup::default() }.start().await
}

/// Asserts that a redirect there ends with this code and that only the first request was sent.
async fn is_not_followed(harness: &Harness, location: &str, code: Code) {
    harness.upstream.script("/v1/things", to(302, location));
    let before = (harness.upstream.received().len(), harness.opens());
    harness.ends_with(get(URL), code).await;
    let after = (harness.upstream.received().len(), harness.opens());
    assert_eq!(after, (before.0 + 1, before.1 + 1), "{location}");
}

/// Asserts where a hop went, and whether it had the credential and the guest's header.
#[track_caller]
fn assert_hop(harness: &Harness, line: &str, host: &str, whole: bool) {
    let request = harness.last();
    assert_eq!(request.line(), line);
    assert_eq!(request.header("host"), [host]);
    assert_eq!(request.header("authorization").len(), usize::from(whole), "{}", request.head);
    assert_eq!(request.header("x-guest").len(), usize::from(whole), "{}", request.head);
    assert_eq!(request.head.contains("sk-Live"), whole, "{}", request.head);
}

fn guest() -> OutboundRequest {
    with(&[("x-guest", b"token"), ("accept", b"application/json")])
}

#[tokio::test]
async fn r1_inwards_downwards_and_other_schemes_are_not_followed() {
    for policy in [SameHost, AllowedHosts] {
        let harness = following(policy).await;
        for (location, code) in [
            ("https://169.254.169.254/latest/meta-data/", Code::IpLiteral),
            ("https://10.0.0.1/", Code::IpLiteral),
            ("https://[::1]/", Code::IpLiteral),
            ("http://169.254.169.254/latest/meta-data/", Code::SchemeNotHttps),
            ("http://api.example-saas.com/v1/other", Code::SchemeNotHttps),
            ("file:///etc/passwd", Code::SchemeNotHttps),
            ("gopher://api.example-saas.com/", Code::SchemeNotHttps),
            ("https://evil.com/", Code::HostNotInConnector),
        ] {
            is_not_followed(&harness, location, code).await;
        }
        assert_eq!(harness.dialer.dialed().len(), 1, "one connection, to the first host");
        harness.upstream.script("/v1/things", to(302, "https://api.example-saas.com/v1/other"));
        assert_eq!(harness.passes(get(URL)).await.status, 201);
    }
    let harness = following(AllowedHosts).await;
    harness.names.tell(OTHER, &[PRIVATE]);
    is_not_followed(&harness, "https://files.example-saas.com/f", Code::AddressForbidden).await;
}

#[tokio::test]
async fn r1_by_default_nothing_is_followed_and_the_guest_sees_where_it_would_lead() {
    let harness = following(Nowhere).await;
    for location in ["https://169.254.169.254/", "https://api.example-saas.com/v1/other", "/v1/other"] {
        harness.upstream.script("/v1/things", to(302, location));
        let seen = harness.passes(get(URL)).await;
        assert_eq!((seen.status, values(&seen, "location")), (302, vec![location.as_bytes()]));
    }
    assert_eq!(harness.upstream.received().len(), 3);
}

#[tokio::test]
async fn r2_another_allowed_host_gets_neither_credential_nor_guest_headers() {
    let harness = following(AllowedHosts).await;
    harness.upstream.script("/v1/things", to(302, "https://files.example-saas.com/f?x=1"));
    assert_eq!(harness.passes(guest()).await.status, 201);
    assert_hop(&harness, "GET /f?x=1", OTHER, false);
    assert_eq!(harness.last().header("accept"), ["application/json"]);
    assert_eq!(harness.opens(), 1, "opened for the first hop alone");
    let attempt = harness.log.records().pop().unwrap().1;
    assert_eq!((attempt.origin.as_str(), attempt.credential_slot), ("https://files.example-saas.com", None));
    // In contrast: a redirect to the same host has both, and the credential is opened again.
    harness.upstream.script("/v1/things", to(302, "/v1/other"));
    harness.passes(guest()).await;
    assert_hop(&harness, "GET /v1/other", "api.example-saas.com", true);
    assert_eq!(harness.opens(), 3);
    let harness = following(SameHost).await;
    is_not_followed(&harness, "https://files.example-saas.com/f", Code::RedirectForbidden).await;
}

#[tokio::test]
async fn r3_another_port_is_another_origin() {
    let harness = following(SameHost).await;
    is_not_followed(&harness, "https://api.example-saas.com:8443/p", Code::RedirectForbidden).await;
    is_not_followed(&harness, "https://api.example-saas.com:22/p", Code::PortNotAllowed).await;
    let harness = following(AllowedHosts).await;
    is_not_followed(&harness, "https://api.example-saas.com:22/p", Code::PortNotAllowed).await;
    harness.upstream.script("/v1/things", to(302, "https://api.example-saas.com:8443/p"));
    harness.passes(guest()).await;
    assert_hop(&harness, "GET /p", "api.example-saas.com:8443", false);
}

#[tokio::test]
async fn r4_a_body_does_not_go_to_another_origin() {
    let harness = following(AllowedHosts).await;
    for status in [307, 308] {
        for location in ["https://files.example-saas.com/f", "https://api.example-saas.com:8443/p"] {
            harness.upstream.script("/v1/things", to(status, location));
            let before = harness.upstream.received().len();
            harness.ends_with(post(URL, b"private"), Code::RedirectForbidden).await;
            assert_eq!(harness.upstream.received().len(), before + 1, "{status} {location}");
        }
        harness.upstream.script("/v1/things", to(status, "/v1/other"));
        harness.passes(post(URL, b"private")).await;
        assert_eq!((harness.last().line(), harness.last().text()), ("POST /v1/other", "private"));
    }
    for status in [301, 302, 303] {
        harness.upstream.script("/v1/things", to(status, "https://files.example-saas.com/f"));
        harness.passes(post(URL, b"private")).await;
        assert_eq!((harness.last().line(), harness.last().text()), ("GET /f", ""));
        assert!(harness.last().header("content-type").is_empty());
    }
}

#[tokio::test]
async fn r5_a_loop_ends_after_the_hops_that_are_granted() {
    for hops in [1, 3] {
        let redirects = follow(SameHost, hops);
        let harness = Setup { redirects, ..Setup::default() }.start().await;
        harness.upstream.script("/v1/things", to(302, "/v1/things"));
        harness.ends_with(get(URL), Code::RedirectForbidden).await;
        assert_eq!(harness.upstream.received().len(), usize::from(hops) + 1);
        assert_eq!(harness.dialer.dialed().len(), 1);
    }
    let harness = following(SameHost).await;
    let path = |n: usize| if n == 0 { "/v1/things".to_owned() } else { format!("/hop/{n}") };
    for hop in 0..11 {
        harness.upstream.script(&path(hop), to(302, &path(hop + 1)));
    }
    harness.ends_with(get(URL), Code::RedirectForbidden).await;
    assert_eq!(harness.last().line(), "GET /hop/3");
    harness.upstream.script("/hop/3", answer(200, "", "{}"));
    assert_eq!(harness.passes(get(URL)).await.status, 200, "three hops are three hops");
}

#[tokio::test]
async fn r6_an_odd_location_is_read_strictly() {
    let harness = following(AllowedHosts).await;
    let long = format!("/{}", "a".repeat(8192));
    for (location, code) in [
        ("//files.example-saas.com@evil.com/", Code::UserinfoPresent),
        ("https://u:p@api.example-saas.com/", Code::UserinfoPresent),
        ("//evil.com/", Code::HostNotInConnector),
        ("///evil.com/", Code::UrlInvalid),
        ("https:/evil.com/", Code::UrlInvalid),
        ("https:evil.com", Code::UrlInvalid),
        ("https:v1/other", Code::UrlInvalid),
        (r"/\evil.com/", Code::RedirectForbidden),
        (r"\\evil.com", Code::RedirectForbidden),
        ("/a b", Code::RedirectForbidden),
        ("/a\tb", Code::RedirectForbidden),
        ("/caf\u{e9}", Code::RedirectForbidden),
        ("https://ａpi.example-saas.com/", Code::RedirectForbidden),
        ("https://api.example-saas.com./", Code::UrlInvalid),
        ("https://api.example-saas.com/..;/x", Code::UrlInvalid),
        (&long, Code::RedirectForbidden),
        ("", Code::RedirectForbidden),
    ] {
        is_not_followed(&harness, location, code).await;
    }
    for (location, line) in [
        ("/v1/other?x=1", "GET /v1/other?x=1"),
        ("other", "GET /v1/other"),
        ("?x=2", "GET /v1/things?x=2"),
        ("//api.example-saas.com/p", "GET /p"),
        ("/p#fragment", "GET /p"),
        ("/p%0d%0ax-injected:%201", "GET /p%0d%0ax-injected:%201"),
        ("../../up", "GET /up"),
    ] {
        harness.upstream.script("/v1/things", to(302, location));
        harness.send(get(URL)).await;
        let lines: Vec<String> = harness.upstream.received().iter().map(|r| r.line().to_owned()).collect();
        assert!(lines.iter().any(|sent| sent == line), "{location}: {lines:?}");
        assert!(harness.last().header("x-injected").is_empty());
    }
}

#[tokio::test]
async fn r6_a_location_that_breaks_its_line_leads_where_its_first_line_says() {
    let harness = following(SameHost).await;
    harness.upstream.script("/v1/things", to(302, "/v1/other\r\nlocation: https://evil.com/"));
    harness.passes(get(URL)).await;
    assert_eq!(harness.last().line(), "GET /v1/other");
    assert_eq!(harness.last().header("host"), ["api.example-saas.com"]);
    harness.upstream.script("/v1/things", to(302, "/a\rb"));
    let sent = harness.send(get(URL)).await;
    assert!(sent.answer.is_err());
    assert!(!harness.upstream.received().iter().any(|r| r.line().starts_with("GET /a")));
}

#[tokio::test]
async fn r7_refresh_and_html_are_only_data() {
    let harness = following(AllowedHosts).await;
    let html = r#"<meta http-equiv="refresh" content="0;url=https://files.example-saas.com/f">"#;
    let lines = "refresh: 0;url=https://files.example-saas.com/f\r\ncontent-type: text/html\r\n";
    for status in [200, 201, 300, 304, 404] {
        let body = if status == 304 { "" } else { html };
        harness.upstream.script("/v1/things", answer(status, lines, body));
        let before = harness.upstream.received().len();
        let seen = harness.passes(get(URL)).await;
        assert_eq!((seen.status, seen.body.as_slice()), (status, body.as_bytes()));
        assert_eq!(harness.upstream.received().len(), before + 1);
    }
    // A Location without a redirect's status, and a redirect without a Location.
    harness.upstream.script("/v1/things", to(201, "https://files.example-saas.com/f"));
    assert_eq!(harness.passes(get(URL)).await.status, 201);
    harness.upstream.script("/v1/things", answer(302, "", ""));
    assert_eq!(harness.passes(get(URL)).await.status, 302);
    assert!(!harness.upstream.received().iter().any(|r| r.header("host") == [OTHER]));
}

#[tokio::test]
async fn r8_what_was_dropped_stays_dropped_on_the_way_back() {
    let harness = following(AllowedHosts).await;
    harness.upstream.script("/v1/things", to(302, "https://files.example-saas.com/f"));
    harness.upstream.script("/f", to(302, "https://api.example-saas.com/v1/back"));
    harness.passes(guest()).await;
    assert_eq!(harness.upstream.received().len(), 3);
    assert_hop(&harness, "GET /v1/back", "api.example-saas.com", false);
    assert_eq!(harness.opens(), 1);
}

#[tokio::test]
async fn r9_an_address_in_disguise_is_no_place_to_go() {
    let harness = following(AllowedHosts).await;
    for host in ["2130706433", "0x7f000001", "017700000001", "127.1", "0", "127.0.0.1.", "[::ffff:7f00:1]"] {
        is_not_followed(&harness, &format!("http://{host}/"), Code::SchemeNotHttps).await;
        is_not_followed(&harness, &format!("https://{host}/"), Code::IpLiteral).await;
        is_not_followed(&harness, &format!("//{host}/"), Code::IpLiteral).await;
    }
    harness.dialer.behave(DialManner::Dead);
    harness.upstream.script("/v1/things", to(302, "/v1/other"));
    assert_eq!(harness.passes(get(URL)).await.status, 201, "the neighbour needs no new connection");
}
