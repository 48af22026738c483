//! U: hostile texts of URLs. Every refusal here happens before a name is looked up.

use portcullis_core::fault::Code;

use super::harness::{Harness, Setup, URL, get};

/// Asserts that each URL is refused with this code before anything else, and that the permitted URL passes.
async fn all_refused(code: Code, urls: &[&str]) {
    let harness = Harness::usual().await;
    for url in urls {
        harness.refuses(get(url), code).await;
    }
    assert!(harness.names.asked().is_empty());
    assert_eq!(harness.passes(get(URL)).await.status, 201);
    assert_eq!((harness.dialer.dialed().len(), harness.opens()), (1, 1), "the neighbour did go out");
}

#[tokio::test]
async fn u1_anything_but_https_is_refused() {
    all_refused(Code::SchemeNotHttps, &["http://api.example-saas.com/", "HTTP://api.example-saas.com/"])
        .await;
}

#[tokio::test]
async fn u2_a_host_in_brackets_is_refused() {
    all_refused(
        Code::UrlInvalid,
        &[
            "https://[api.example-saas.com]/",
            "https://[[api.example-saas.com]]/",
            "https://[api.example-saas.com/",
            "https://api.example-saas.com]/",
        ],
    )
    .await;
    // Some parsers read the address and ignore the rest.
    all_refused(Code::IpLiteral, &["https://[::1]api.example-saas.com/"]).await;
}

#[tokio::test]
async fn u3_upper_case_folds_and_dotted_ends_are_refused() {
    let harness = Harness::usual().await;
    harness.refuses(get("https://evil.com./"), Code::UrlInvalid).await;
    harness.refuses(get("https://localhost./"), Code::UrlInvalid).await;
    harness.refuses(get("https://169.254.169.254./"), Code::IpLiteral).await;
    harness.passes(get("https://API.Example-SaaS.com/v1/things")).await;
    assert_eq!(harness.names.asked(), ["api.example-saas.com"]);
    assert_eq!(harness.last().header("host"), ["api.example-saas.com"]);
}

#[tokio::test]
async fn u4_a_trailing_dot_is_refused_also_on_an_allowed_host() {
    all_refused(
        Code::UrlInvalid,
        &["https://api.example-saas.com./v1/things", "https://API.Example-SaaS.com./"],
    )
    .await;
}

#[tokio::test]
async fn u5_userinfo_is_refused_on_either_side() {
    all_refused(
        Code::UserinfoPresent,
        &[
            "https://api.example-saas.com@evil.com/",
            "https://evil.com@api.example-saas.com/",
            "https://@api.example-saas.com/",
            "https://a@b@evil.com/",
            "https://user:pass@api.example-saas.com/v1/things",
            "https://:@api.example-saas.com/",
        ],
    )
    .await;
    // An @ after the authority is part of the path.
    let harness = Harness::usual().await;
    harness.passes(get("https://api.example-saas.com/v1/items/@me")).await;
}

#[tokio::test]
async fn u6_a_suffix_without_a_label_border_is_another_host() {
    all_refused(
        Code::HostNotInConnector,
        &[
            "https://api.example-saas.com.evil.com/",
            "https://evilexample-saas.com/",
            "https://xapi.example-saas.com.evil/",
            "https://api-example-saas.com/",
            "https://api.example-saas.co/",
        ],
    )
    .await;
}

#[tokio::test]
async fn u7_a_wildcard_does_not_mean_its_apex() {
    all_refused(Code::HostNotInConnector, &["https://example-saas.com/"]).await;
    let setup = Setup {
        connector: vec!["*.example-saas.com", "example-saas.com"],
        templates: vec!["https://example-saas.com/".to_owned()],
        ..Setup::default()
    };
    let harness = setup.start().await;
    harness.names.tell("example-saas.com", &[]);
    harness.fails(get("https://example-saas.com/"), Code::DnsFailed).await;
    assert_eq!(harness.names.asked(), ["example-saas.com"], "with its own entry it is looked up");
}

#[tokio::test]
async fn u8_a_backslash_is_refused() {
    all_refused(
        Code::UrlInvalid,
        &[
            r"https://evil.com\@api.example-saas.com/",
            r"https://api.example-saas.com\.evil.com/",
            r"https:\\evil.com",
            r"https:\\api.example-saas.com/v1/things",
            r"https:/\api.example-saas.com/",
            r"https://api.example-saas.com\v1/things",
        ],
    )
    .await;
}

#[tokio::test]
async fn u9_a_delimiter_ends_the_host_for_every_reader() {
    all_refused(
        Code::HostNotInConnector,
        &["https://evil.com#.example-saas.com/", "https://evil.com?.example-saas.com/"],
    )
    .await;
    all_refused(
        Code::UrlInvalid,
        &[
            "https://evil.com;.example-saas.com/",
            "https://evil.com%23.example-saas.com/",
            "https://evil.com%2f.example-saas.com/",
            "https://evil.com%2F.example-saas.com/",
            "https://api%2eexample-saas.com/",
            "https://evil.com%00.example-saas.com/",
            "https://evil.com%5c.example-saas.com/",
            "https://evil.com%40api.example-saas.com/",
            "https://evil.com&.example-saas.com/",
            "https://evil.com,.example-saas.com/",
        ],
    )
    .await;
}

#[tokio::test]
async fn u10_a_port_is_digits_and_one_of_the_definitions() {
    all_refused(Code::UserinfoPresent, &["https://api.example-saas.com:443@evil.com/"]).await;
    all_refused(
        Code::UrlInvalid,
        &[
            "https://api.example-saas.com:+443/",
            "https://api.example-saas.com:99999/",
            "https://api.example-saas.com:65979/",
            "https://api.example-saas.com:/",
            "https://api.example-saas.com:0/",
            "https://api.example-saas.com:443:22/",
            "https://api.example-saas.com:0x1bb/",
            "https://api.example-saas.com:4 43/",
            "https://api.example-saas.com:-1/",
        ],
    )
    .await;
    all_refused(
        Code::PortNotAllowed,
        &["https://api.example-saas.com:8443/", "https://api.example-saas.com:22/"],
    )
    .await;
    let harness = Harness::usual().await;
    harness.passes(get("https://api.example-saas.com:443/v1/things")).await;
    assert_eq!(harness.last().header("host"), ["api.example-saas.com"]);
    let setup = Setup {
        ports: vec![8443],
        templates: vec!["https://api.example-saas.com:8443/".to_owned()],
        ..Setup::default()
    };
    let harness = setup.start().await;
    harness.passes(get("https://api.example-saas.com:8443/")).await;
    assert_eq!(harness.dialer.dialed()[0].port(), 8443);
    harness.refuses(get("https://api.example-saas.com:22/"), Code::PortNotAllowed).await;
}

#[tokio::test]
async fn u11_whitespace_and_controls_are_refused_anywhere() {
    let harness = Harness::usual().await;
    for byte in ['\t', '\r', '\n', ' ', '\0', '\u{b}', '\u{1f}', '\u{7f}'] {
        for at in 0..=URL.len() {
            let mut url = URL.to_owned();
            url.insert(at, byte);
            harness.refuses(get(&url), Code::UrlInvalid).await;
        }
    }
    harness.refuses(get("https://evil.com/\r\nHost: api.example-saas.com"), Code::UrlInvalid).await;
    harness.passes(get(URL)).await;
}

#[tokio::test]
async fn u12_two_slashes_no_more_no_fewer() {
    all_refused(
        Code::UrlInvalid,
        &[
            "https:/evil.com",
            "https:evil.com",
            "https:///evil.com/",
            "//evil.com",
            "////evil.com",
            "https:///api.example-saas.com/v1/things",
            "https:api.example-saas.com/v1/things",
            "//api.example-saas.com/v1/things",
            "https://",
            "https:",
            "",
        ],
    )
    .await;
}

#[tokio::test]
async fn u13_nothing_is_folded_into_ascii() {
    all_refused(
        Code::UrlInvalid,
        &[
            "https://ａpi.example-saas.com/",
            "https://api.example-saas。com/",
            "https://api.example\u{ad}-saas.com/",
            "https://ⓔⓧample-saas.com/",
            "https://api.example-saas\u{200d}.com/",
            "https://api.example-saaſ.com/",
            "https://xn--api-.example-saas.com/",
            "https://api.example-saas.xn--com-/",
            "https://api.example-saas.com.xn--/",
        ],
    )
    .await;
}

#[tokio::test]
async fn u14_no_other_scheme_is_read() {
    let harness = Harness::usual().await;
    for scheme in [
        "file",
        "gopher",
        "dict",
        "ftp",
        "ldap",
        "jar",
        "data",
        "ws",
        "wss",
        "unix",
        "HTTPS+x",
        "javascript",
        "blob",
        "about",
        "httpss",
        "h2",
    ] {
        harness
            .refuses(get(&format!("{scheme}://api.example-saas.com/v1/things")), Code::SchemeNotHttps)
            .await;
    }
    harness.refuses(get("jar:https://api.example-saas.com/v1/things"), Code::SchemeNotHttps).await;
    harness.refuses(get("1https://api.example-saas.com/"), Code::UrlInvalid).await;
    harness.passes(get("HTTPS://api.example-saas.com/v1/things")).await;
}

#[tokio::test]
async fn u15_no_text_is_joined_to_a_base() {
    // The gate has no base URL: a guest must send an absolute URL.
    all_refused(
        Code::UrlInvalid,
        &["//evil.com/x", "/v1/things", "@evil.com", ".evil.com/x", "v1/things", "?x=1", "#x"],
    )
    .await;
    // A port without a host has an empty scheme.
    all_refused(Code::UrlInvalid, &[":443@evil.com"]).await;
    // The URLs that resolution against a base would give.
    let base = "https://api.example-saas.com";
    let harness = Harness::usual().await;
    harness.refuses(get(&format!("{base}@evil.com")), Code::UserinfoPresent).await;
    harness.refuses(get(&format!("{base}.evil.com/x")), Code::HostNotInConnector).await;
    harness.refuses(get(&format!("{base}:443@evil.com")), Code::UserinfoPresent).await;
    harness.refuses(get(&format!("{base}//evil.com/x")), Code::PathNotGranted).await;
    harness.refuses(get(&format!("{base}/https://evil.com/x")), Code::PathNotGranted).await;
    harness.passes(get(&format!("{base}/v1/items/https:%2F%2Fevil.com"))).await;
    assert_eq!(harness.names.asked(), ["api.example-saas.com"], "it stayed a path");
}

#[tokio::test]
async fn u16_a_host_is_labels_of_letters_digits_and_inner_hyphens() {
    let label = "a".repeat(63);
    let (long_label, long_name) = (format!("{label}a"), [label.as_str(); 4].join("."));
    let harness = Harness::usual().await;
    for host in [
        format!("{long_label}.example-saas.com"),
        format!("{long_name}.example-saas.com"),
        "api..example-saas.com".to_owned(),
        ".example-saas.com".to_owned(),
        "-x.example-saas.com".to_owned(),
        "x-.example-saas.com".to_owned(),
        "a_b.example-saas.com".to_owned(),
        "*.example-saas.com".to_owned(),
        "a*.example-saas.com".to_owned(),
        "{x}.example-saas.com".to_owned(),
    ] {
        harness.refuses(get(&format!("https://{host}/")), Code::UrlInvalid).await;
    }
    // 63 bytes are a valid label and 253 a valid name, so these reach the check of the action's host.
    let longest = format!("{label}.{label}.{label}.{}.example-saas.com", "a".repeat(253 - 3 * 64 - 17 - 1));
    for host in [format!("{label}.example-saas.com"), longest] {
        assert!(host.len() <= 253);
        harness.refuses(get(&format!("https://{host}/")), Code::PathNotGranted).await;
    }
}

#[tokio::test]
async fn u17_a_long_url_is_refused_and_a_fragment_is_never_sent() {
    let harness = Harness::usual().await;
    let stem = "https://api.example-saas.com/v1/items/";
    let fits = format!("{stem}{}", "a".repeat(8192 - stem.len()));
    harness.refuses(get(&format!("{fits}a")), Code::UrlInvalid).await;
    harness.refuses(get(&format!("{URL}#{}", "f".repeat(8192))), Code::UrlInvalid).await;
    harness.passes(get(&fits)).await;
    harness.passes(get(&format!("{URL}?q=1#/../../secret"))).await;
    assert_eq!(harness.last().line(), "GET /v1/things?q=1");
    assert!(!harness.last().head.contains("secret"));
}

#[tokio::test]
async fn u18_a_path_is_held_against_the_grant_as_it_will_be_read() {
    let base = "https://api.example-saas.com";
    let harness = Harness::usual().await;
    for path in [
        "/%2e%2e/x",
        "/v1/%2E%2e/things",
        "/..;/x",
        "/v1/items/..;a=b",
        "/v1/items/../things",
        "/v1/./things",
        "/v1/items/%2e",
        "/v1/items/.%2e",
        r"/v1/items\..\things",
    ] {
        harness.refuses(get(&format!("{base}{path}")), Code::UrlInvalid).await;
    }
    for path in ["//v1/things", "/v1//things", "/v1/things/", "/v1/items/", "/v1/items/7/8", "/V1/things"] {
        harness.refuses(get(&format!("{base}{path}")), Code::PathNotGranted).await;
    }
    for path in ["/v1/items/7", "/v1/items/a%2Fb", "/v1/items/...", "/v1/items/..x", "/v1/items/x;v=1"] {
        harness.passes(get(&format!("{base}{path}"))).await;
        assert_eq!(harness.last().line(), format!("GET {path}"));
    }
}

#[tokio::test]
async fn u18_an_encoded_slash_or_backslash_makes_no_dot_segment() {
    let harness = Harness::usual().await;
    for segment in [
        "..%2Fadmin",
        "..%2f..%2fadmin",
        "7%2F..%2F..%2Fadmin",
        "%2e%2e%2fadmin",
        "..%5Cadmin",
        "7%5c..%5cadmin",
        "7%2F..",
    ] {
        let url = format!("https://api.example-saas.com/v1/items/{segment}");
        harness.refuses(get(&url), Code::UrlInvalid).await;
    }
    harness.passes(get("https://api.example-saas.com/v1/items/group%2Fproject")).await;
}
