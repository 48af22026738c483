//! `explain` tells what the guard does: the verdict of `explain` and of the dry run is compared with the
//! guard's, for some URLs of every class.

use portcullis_core::host_pattern::HostPattern;
use portcullis_core::limits::Limits;
use portcullis_core::verdict::{AllowlistMode, OrgPolicy, judge};

use super::harness::{Setup, get};

/// Some URLs of every class.
const CLASSES: &[&str] = &[
    "https://api.example-saas.com/v1/things",
    "https://API.Example-SaaS.com/v1/things",
    "https://api.example-saas.com:443/v1/things",
    "https://api.example-saas.com/v1/things?q=1#f",
    "https://files.example-saas.com/v1/things",
    "http://api.example-saas.com/v1/things",
    "https://[api.example-saas.com]/",
    "https://[::1]/",
    "https://[fe80::1%25eth0]/",
    "https://127.0.0.1/",
    "https://0x7f.1/",
    "https://2130706433/",
    "https://169.254.169.254./",
    "https://api.example-saas.com./v1/things",
    "https://u@api.example-saas.com/v1/things",
    "https://api.example-saas.com@evil.com/",
    "https://api.example-saas.com.evil.com/",
    "https://evilexample-saas.com/",
    "https://example-saas.com/",
    r"https://evil.com\@api.example-saas.com/",
    "https://evil.com#.example-saas.com/",
    "https://evil.com%2f.example-saas.com/",
    "https://api.example-saas.com:8443/v1/things",
    "https://api.example-saas.com:22/",
    "https://api.example-saas.com:99999/",
    "https://api.example-saas.com:/",
    "https://api.example-saas.com /v1/things",
    " https://api.example-saas.com/v1/things",
    "https://api.example-saas.com/v1/\tthings",
    "https:/api.example-saas.com/v1/things",
    "https:///api.example-saas.com/v1/things",
    "//api.example-saas.com/v1/things",
    "https://ａpi.example-saas.com/",
    "https://api.example-saas。com/",
    "https://xn--api-.example-saas.com/",
    "ftp://api.example-saas.com/v1/things",
    "data:text/plain,x",
    "https://a_b.example-saas.com/",
    "https://-x.example-saas.com/",
    "https://*.example-saas.com/",
    "https://api.example-saas.com/%2e%2e/x",
    "https://other.example-saas.com/",
    "https://ci.example-saas.com/v1/things",
    "",
];

#[tokio::test]
async fn what_explain_says_is_what_the_guard_does() {
    let patterns = ["api.example-saas.com", "files.example-saas.com"];
    let listed = |mode| OrgPolicy::List {
        patterns: patterns.iter().map(|entry| HostPattern::parse(entry).unwrap()).collect(),
        mode,
    };
    let policies = [
        OrgPolicy::Unrestricted,
        listed(AllowlistMode::Enforce),
        listed(AllowlistMode::Report),
        OrgPolicy::List { patterns: Vec::new(), mode: AllowlistMode::Enforce },
    ];
    let mut seen = [0, 0];
    for org in policies {
        let mut setup = Setup { org, ports: vec![8443], ..Setup::default() };
        for host in ["ci.example-saas.com", "other.example-saas.com", "api.example-saas.com:8443"] {
            setup.templates.extend(["/", "/v1/things"].map(|path| format!("https://{host}{path}")));
        }
        let harness = setup.start().await;
        for host in ["ci.example-saas.com", "other.example-saas.com"] {
            harness.names.tell(host, &[crate::support::PUBLIC]);
        }
        for url in CLASSES {
            let said = judge(url.as_bytes(), &harness.setup.rules(), Limits::default().url_bytes);
            let done = harness.send(get(url)).await;
            assert_eq!(done.report.failure, said.refusal, "{url}");
            assert_eq!(done.answer.is_ok(), said.refusal.is_none(), "{url}");
            let shared = done.report.decisions.get(..said.decisions.len());
            assert_eq!(shared, Some(said.decisions.as_slice()), "{url}");
            seen[usize::from(done.answer.is_ok())] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count > 10), "both ends were seen: {seen:?}");
}
