//! R: where an answer can try to lead the next request, and what it would take along.

use portcullis_core::definition::RedirectFollow::{AllowedHosts, None as Nowhere, SameHost};
use portcullis_core::fault::Code;
use portcullis_core::outbound::OutboundRequest;

use super::rig::{Bench, OTHER, Rig, URL, follow, get, post, values, with};
use crate::support::line::Manner;
use crate::support::{PRIVATE, Script};

/// An answer with this status and these header lines, on a connection that is kept.
fn answer(status: u16, lines: &str, body: &str) -> Script {
    let text = format!("HTTP/1.1 {status} X\r\n{lines}content-length: {}\r\n\r\n{body}", body.len());
    Script::Kept(text.into_bytes())
}

fn to(status: u16, location: &str) -> Script {
    answer(status, &format!("location: {location}\r\n"), "")
}

async fn following(policy: portcullis_core::definition::RedirectFollow) -> Rig {
    Bench { redirects: follow(policy, 3), ports: vec![8443], ..Bench::default() }.set().await
}

/// Led there, the request ends with this code, and nothing but the first request was sent.
async fn is_not_followed(rig: &Rig, location: &str, code: Code) {
    rig.upstream.script("/v1/things", to(302, location));
    let before = (rig.upstream.received().len(), rig.opens());
    rig.ends_with(get(URL), code).await;
    let after = (rig.upstream.received().len(), rig.opens());
    assert_eq!(after, (before.0 + 1, before.1 + 1), "{location}");
}

/// It went there, with or without the credential and the guest's header.
#[track_caller]
fn assert_hop(rig: &Rig, line: &str, host: &str, whole: bool) {
    let request = rig.last();
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
        let rig = following(policy).await;
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
            is_not_followed(&rig, location, code).await;
        }
        assert_eq!(rig.line.dialed().len(), 1, "one connection, to the first host");
        rig.upstream.script("/v1/things", to(302, "https://api.example-saas.com/v1/other"));
        assert_eq!(rig.passes(get(URL)).await.status, 201);
    }
    let rig = following(AllowedHosts).await;
    rig.names.tell(OTHER, &[PRIVATE]);
    is_not_followed(&rig, "https://files.example-saas.com/f", Code::AddressForbidden).await;
}

#[tokio::test]
async fn r1_by_default_nothing_is_followed_and_the_guest_sees_where_it_would_lead() {
    let rig = following(Nowhere).await;
    for location in ["https://169.254.169.254/", "https://api.example-saas.com/v1/other", "/v1/other"] {
        rig.upstream.script("/v1/things", to(302, location));
        let seen = rig.passes(get(URL)).await;
        assert_eq!((seen.status, values(&seen, "location")), (302, vec![location.as_bytes()]));
    }
    assert_eq!(rig.upstream.received().len(), 3);
}

#[tokio::test]
async fn r2_another_allowed_host_gets_neither_credential_nor_guest_headers() {
    let rig = following(AllowedHosts).await;
    rig.upstream.script("/v1/things", to(302, "https://files.example-saas.com/f?x=1"));
    assert_eq!(rig.passes(guest()).await.status, 201);
    assert_hop(&rig, "GET /f?x=1", OTHER, false);
    assert_eq!(rig.last().header("accept"), ["application/json"]);
    assert_eq!(rig.opens(), 1, "opened for the first hop alone");
    let attempt = rig.log.told().pop().unwrap().1;
    assert_eq!((attempt.origin.as_str(), attempt.credential_slot), ("https://files.example-saas.com", None));
    // The neighbour: the same host gets both, each time opened anew.
    rig.upstream.script("/v1/things", to(302, "/v1/other"));
    rig.passes(guest()).await;
    assert_hop(&rig, "GET /v1/other", "api.example-saas.com", true);
    assert_eq!(rig.opens(), 3);
    let rig = following(SameHost).await;
    is_not_followed(&rig, "https://files.example-saas.com/f", Code::RedirectForbidden).await;
}

#[tokio::test]
async fn r3_another_port_is_another_origin() {
    let rig = following(SameHost).await;
    is_not_followed(&rig, "https://api.example-saas.com:8443/p", Code::RedirectForbidden).await;
    is_not_followed(&rig, "https://api.example-saas.com:22/p", Code::PortNotAllowed).await;
    let rig = following(AllowedHosts).await;
    is_not_followed(&rig, "https://api.example-saas.com:22/p", Code::PortNotAllowed).await;
    rig.upstream.script("/v1/things", to(302, "https://api.example-saas.com:8443/p"));
    rig.passes(guest()).await;
    assert_hop(&rig, "GET /p", "api.example-saas.com:8443", false);
}

#[tokio::test]
async fn r4_a_body_does_not_go_to_another_origin() {
    let rig = following(AllowedHosts).await;
    for status in [307, 308] {
        for location in ["https://files.example-saas.com/f", "https://api.example-saas.com:8443/p"] {
            rig.upstream.script("/v1/things", to(status, location));
            let before = rig.upstream.received().len();
            rig.ends_with(post(URL, b"private"), Code::RedirectForbidden).await;
            assert_eq!(rig.upstream.received().len(), before + 1, "{status} {location}");
        }
        rig.upstream.script("/v1/things", to(status, "/v1/other"));
        rig.passes(post(URL, b"private")).await;
        assert_eq!((rig.last().line(), rig.last().text()), ("POST /v1/other", "private"));
    }
    for status in [301, 302, 303] {
        rig.upstream.script("/v1/things", to(status, "https://files.example-saas.com/f"));
        rig.passes(post(URL, b"private")).await;
        assert_eq!((rig.last().line(), rig.last().text()), ("GET /f", ""));
        assert!(rig.last().header("content-type").is_empty());
    }
}

#[tokio::test]
async fn r5_a_loop_ends_after_the_hops_that_are_granted() {
    for hops in [1, 3] {
        let redirects = follow(SameHost, hops);
        let rig = Bench { redirects, ..Bench::default() }.set().await;
        rig.upstream.script("/v1/things", to(302, "/v1/things"));
        rig.ends_with(get(URL), Code::RedirectForbidden).await;
        assert_eq!(rig.upstream.received().len(), usize::from(hops) + 1);
        assert_eq!(rig.line.dialed().len(), 1);
    }
    let rig = following(SameHost).await;
    let path = |n: usize| if n == 0 { "/v1/things".to_owned() } else { format!("/hop/{n}") };
    for hop in 0..11 {
        rig.upstream.script(&path(hop), to(302, &path(hop + 1)));
    }
    rig.ends_with(get(URL), Code::RedirectForbidden).await;
    assert_eq!(rig.last().line(), "GET /hop/3");
    rig.upstream.script("/hop/3", answer(200, "", "{}"));
    assert_eq!(rig.passes(get(URL)).await.status, 200, "three hops are three hops");
}

#[tokio::test]
async fn r6_an_odd_location_is_read_strictly() {
    let rig = following(AllowedHosts).await;
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
        is_not_followed(&rig, location, code).await;
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
        rig.upstream.script("/v1/things", to(302, location));
        rig.send(get(URL)).await;
        let lines: Vec<String> = rig.upstream.received().iter().map(|r| r.line().to_owned()).collect();
        assert!(lines.iter().any(|sent| sent == line), "{location}: {lines:?}");
        assert!(rig.last().header("x-injected").is_empty());
    }
}

#[tokio::test]
async fn r6_a_location_that_breaks_its_line_leads_where_its_first_line_says() {
    let rig = following(SameHost).await;
    rig.upstream.script("/v1/things", to(302, "/v1/other\r\nlocation: https://evil.com/"));
    rig.passes(get(URL)).await;
    assert_eq!(rig.last().line(), "GET /v1/other");
    assert_eq!(rig.last().header("host"), ["api.example-saas.com"]);
    rig.upstream.script("/v1/things", to(302, "/a\rb"));
    let sent = rig.send(get(URL)).await;
    assert!(sent.answer.is_err());
    assert!(!rig.upstream.received().iter().any(|r| r.line().starts_with("GET /a")));
}

#[tokio::test]
async fn r7_refresh_and_html_are_only_data() {
    let rig = following(AllowedHosts).await;
    let html = r#"<meta http-equiv="refresh" content="0;url=https://files.example-saas.com/f">"#;
    let lines = "refresh: 0;url=https://files.example-saas.com/f\r\ncontent-type: text/html\r\n";
    for status in [200, 201, 300, 304, 404] {
        let body = if status == 304 { "" } else { html };
        rig.upstream.script("/v1/things", answer(status, lines, body));
        let before = rig.upstream.received().len();
        let seen = rig.passes(get(URL)).await;
        assert_eq!((seen.status, seen.body.as_slice()), (status, body.as_bytes()));
        assert_eq!(rig.upstream.received().len(), before + 1);
    }
    // A Location without a redirect's status, and a redirect without a Location.
    rig.upstream.script("/v1/things", to(201, "https://files.example-saas.com/f"));
    assert_eq!(rig.passes(get(URL)).await.status, 201);
    rig.upstream.script("/v1/things", answer(302, "", ""));
    assert_eq!(rig.passes(get(URL)).await.status, 302);
    assert!(!rig.upstream.received().iter().any(|r| r.header("host") == [OTHER]));
}

#[tokio::test]
async fn r8_what_was_dropped_stays_dropped_on_the_way_back() {
    let rig = following(AllowedHosts).await;
    rig.upstream.script("/v1/things", to(302, "https://files.example-saas.com/f"));
    rig.upstream.script("/f", to(302, "https://api.example-saas.com/v1/back"));
    rig.passes(guest()).await;
    assert_eq!(rig.upstream.received().len(), 3);
    assert_hop(&rig, "GET /v1/back", "api.example-saas.com", false);
    assert_eq!(rig.opens(), 1);
}

#[tokio::test]
async fn r9_an_address_in_disguise_is_no_place_to_go() {
    let rig = following(AllowedHosts).await;
    for host in ["2130706433", "0x7f000001", "017700000001", "127.1", "0", "127.0.0.1.", "[::ffff:7f00:1]"] {
        is_not_followed(&rig, &format!("http://{host}/"), Code::SchemeNotHttps).await;
        is_not_followed(&rig, &format!("https://{host}/"), Code::IpLiteral).await;
        is_not_followed(&rig, &format!("//{host}/"), Code::IpLiteral).await;
    }
    rig.line.behave(Manner::Dead);
    rig.upstream.script("/v1/things", to(302, "/v1/other"));
    assert_eq!(rig.passes(get(URL)).await.status, 201, "the neighbour needs no new connection");
}
