//! What is a valid entry and what is not, and which hosts an entry matches.

use super::*;

fn code(text: &str) -> &'static str {
    HostPattern::parse(text).err().map_or("ok", |e| e.code)
}

#[test]
fn only_hosts_and_leading_wildcards_are_entries() {
    for (text, expected) in [
        ("api.example.com", "ok"),
        ("API.Example.COM", "ok"),
        ("*.example.com", "ok"),
        ("*.my.salesforce.com", "ok"),
        ("*.myshopify.com", "ok"),
        ("xn--bcher-kva.ch", "ok"),
        ("s3.amazonaws.com", "ok"),
        ("*", "allowed_domain_any"),
        ("*.", "allowed_domain_any"),
        ("https://api.example.com", "allowed_domain_scheme"),
        ("api.example.com/v1", "allowed_domain_not_host"),
        ("u@api.example.com", "allowed_domain_not_host"),
        ("api.example.com:8443", "allowed_domain_port"),
        ("10.0.0.1", "allowed_domain_ip"),
        ("127.1", "allowed_domain_ip"),
        ("0x7f.1", "allowed_domain_ip"),
        ("2130706433", "allowed_domain_ip"),
        ("[::1]", "allowed_domain_ip"),
        ("::1", "allowed_domain_ip"),
        ("*.com", "allowed_domain_public_suffix"),
        ("*.co.uk", "allowed_domain_public_suffix"),
        ("co.uk", "allowed_domain_public_suffix"),
        ("*.github.io", "ok"),
        ("*.azurewebsites.net", "ok"),
        ("localhost", "allowed_domain_special"),
        ("intranet-host", "allowed_domain_single_label"),
        ("*.localhost", "allowed_domain_special"),
        ("a.localhost", "allowed_domain_special"),
        ("metadata.google.internal", "allowed_domain_special"),
        ("printer.local", "allowed_domain_special"),
        ("1.0.0.127.in-addr.arpa", "allowed_domain_special"),
        ("a.*.example.com", "allowed_domain_wildcard"),
        ("**.example.com", "allowed_domain_wildcard"),
        ("*example.com", "allowed_domain_wildcard"),
        ("api.example.com.", "allowed_domain_syntax"),
        ("api..example.com", "allowed_domain_syntax"),
        ("-a.example.com", "allowed_domain_syntax"),
        ("a_b.example.com", "allowed_domain_syntax"),
        ("", "allowed_domain_syntax"),
        (" api.example.com", "allowed_domain_syntax"),
        ("bücher.ch", "allowed_domain_not_ascii"),
    ] {
        assert_eq!(code(text), expected, "{text:?}");
    }
}

#[test]
fn a_wildcard_over_a_rented_out_suffix_is_warned_of_and_one_below_it_is_not() {
    let shared = |text: &str| HostPattern::parse(text).unwrap().shared_hosting().map(str::to_owned);
    assert_eq!(shared("*.myshopify.com").as_deref(), Some("myshopify.com"));
    assert_eq!(shared("*.eu-west-1.amazonaws.com").as_deref(), Some("amazonaws.com"));
    assert_eq!(shared("*.acme.myshopify.com"), None);
    assert_eq!(shared("acme.myshopify.com"), None);
    assert_eq!(shared("*.salesforce.com"), None);
}

#[test]
fn a_wildcard_is_any_depth_below_and_never_the_apex() {
    let wildcard = HostPattern::parse("*.example-saas.com").unwrap();
    for host in ["api.example-saas.com", "a.b.example-saas.com"] {
        assert!(wildcard.matches(host), "{host}");
    }
    for host in
        ["example-saas.com", "evilexample-saas.com", "example-saas.com.evil.com", "", ".example-saas.com"]
    {
        assert!(!wildcard.matches(host), "{host}");
    }
    assert_eq!((wildcard.as_str(), wildcard.below()), ("*.example-saas.com", Some("example-saas.com")));
    let exact = HostPattern::parse("API.example-saas.com").unwrap();
    assert_eq!((exact.as_str(), exact.below()), ("api.example-saas.com", None));
    assert!(exact.matches("api.example-saas.com"));
    assert!(!exact.matches("x.api.example-saas.com"));
}

#[test]
fn a_text_matches_when_it_is_an_entry_that_does() {
    assert!(HostPattern::text_matches("*.Example-SaaS.com", "api.example-saas.com"));
    assert!(HostPattern::text_matches("api.example-saas.com", "api.example-saas.com"));
    assert!(!HostPattern::text_matches("api.example-saas.com", "www.example-saas.com"));
    for (text, host) in [("*.com", "example.com"), ("localhost", "localhost"), ("*.co.uk", "a.co.uk")] {
        assert!(!HostPattern::text_matches(text, host), "{text} is no entry");
    }
}

#[test]
fn a_template_is_covered_only_when_every_expansion_is() {
    let covers = |pattern: &str, url: &str| {
        HostPattern::parse(pattern).unwrap().covers(&UrlTemplate::parse(url).unwrap())
    };
    assert!(covers("*.salesforce.com", "https://api.salesforce.com/v1"));
    assert!(covers("api.salesforce.com", "https://api.salesforce.com/v1"));
    assert!(covers("*.example.com", "https://{{config.x}}.example.com/"));
    assert!(covers("*.example.com", "https://a-{{config.x}}.eu.example.com/"));
    assert!(!covers("*.example.com", "https://example.com/"));
    assert!(!covers("*.example.com", "https://{{config.x}}.com/"));
    assert!(!covers("a.example.com", "https://{{config.x}}.example.com/"));
    assert!(!covers("*.eu.example.com", "https://{{config.x}}.example.com/"));
    assert!(!covers("*.eu.example.com", "https://a.{{config.x}}.example.com/"));
}

#[test]
fn shared_hosting_is_named() {
    let of = |text: &str| HostPattern::parse(text).unwrap().shared_hosting().map(str::to_owned);
    assert_eq!(of("*.amazonaws.com").as_deref(), Some("amazonaws.com"));
    assert_eq!(of("*.eu.windows.net").as_deref(), Some("windows.net"));
    assert_eq!(of("sheets.googleapis.com"), None);
    assert_eq!(of("*.salesforce.com"), None);
}
