//! Entries of `allowed_domains` and of an org's allowlist.
//!
//! `api.example.com` is that host and no other. `*.example.com` is any depth below it and never
//! `example.com` itself. Nothing else is an entry: no scheme, port, path, address, inner wildcard
//! or non-ASCII text. Whether a host may be *reached* is not decided here.

use std::fmt;

use crate::problem::Problem;
use portcullis_action::url_template::UrlTemplate;

/// One entry, checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host exactly.
    Exact(String),
    /// Any depth below this name; the text is the name without `*.`.
    Below(String),
}

/// Why a text is not an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HostPatternError {
    /// Stable code.
    pub code: &'static str,
    /// What is wrong, what it would mean, and the accepted form.
    pub message: String,
}

/// Names that never lead to a public host (RFC 6761, RFC 6762, RFC 7686, RFC 8375).
const SPECIAL_SUFFIXES: &[&str] = &[
    "localhost",
    "local",
    "internal",
    "home.arpa",
    "onion",
    "arpa",
    "test",
    "invalid",
    "example",
    "localdomain",
    "lan",
    "intranet",
    "corp",
    "home",
    "private",
    "alt",
];

/// Suffixes under which anybody can rent a name, so that a wildcard over them is a way out for data.
const SHARED_HOSTING: &[&str] = &[
    "amazonaws.com",
    "api.gateway.dev",
    "appspot.com",
    "azure-api.net",
    "azurewebsites.net",
    "blob.core.windows.net",
    "cloudapp.azure.com",
    "cloudfront.net",
    "core.windows.net",
    "firebaseio.com",
    "fly.dev",
    "github.io",
    "googleapis.com",
    "googleusercontent.com",
    "herokuapp.com",
    "netlify.app",
    "ngrok.io",
    "on.aws",
    "onrender.com",
    "pages.dev",
    "run.app",
    "vercel.app",
    "web.app",
    "windows.net",
    "workers.dev",
];

impl HostPattern {
    /// Checks one entry.
    ///
    /// # Errors
    /// [`HostPatternError`] with a code and a sentence that teaches the accepted form.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        let refuse = |code, why: &str| {
            Err(HostPatternError {
                code,
                message: format!(
                    "{:?} {why}; write a host such as api.example.com, or *.example.com for every host below it",
                    text.chars().take(120).collect::<String>()
                ),
            })
        };
        if text == "*" || text == "*." {
            return refuse("allowed_domain_any", "would allow every host");
        }
        if text.contains("://") {
            return refuse("allowed_domain_scheme", "has a scheme; https is always meant");
        }
        if text.contains(['/', '?', '#', '@', '\\']) {
            return refuse("allowed_domain_not_host", "is more than a host");
        }
        if is_address(text) {
            return refuse("allowed_domain_ip", "is an IP address; addresses are never allowed");
        }
        if text.contains(':') {
            return refuse("allowed_domain_port", "has a port; ports go to egress.ports");
        }
        if !text.is_ascii() {
            return refuse("allowed_domain_not_ascii", "is not ASCII; write the punycode form (xn--…)");
        }
        let folded = text.to_ascii_lowercase();
        let (name, below) = match folded.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (folded.as_str(), false),
        };
        if name.contains('*') {
            return refuse("allowed_domain_wildcard", "has a wildcard inside; only a leading *. is read");
        }
        if !is_host_name(name) {
            return refuse("allowed_domain_syntax", "is not a host name");
        }
        if SPECIAL_SUFFIXES.iter().any(|s| is_at_or_below(name, s)) {
            return refuse("allowed_domain_special", "is a name that never leads to a public host");
        }
        if !below && !name.contains('.') {
            return refuse("allowed_domain_single_label", "is a single label");
        }
        if is_public_suffix(name) {
            return refuse(
                "allowed_domain_public_suffix",
                "is a public suffix, under which anybody can register a name",
            );
        }
        Ok(if below { Self::Below(name.to_owned()) } else { Self::Exact(name.to_owned()) })
    }

    /// Whether `host` (lower case, as [`crate::target::Target`] holds it) is meant by this entry.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => host == name,
            Self::Below(name) => is_below(host, name),
        }
    }

    /// Whether every host that the template can name is meant by this entry. A variable in a host
    /// is one label, or part of one, so the number of labels is fixed.
    #[must_use]
    pub fn covers(&self, template: &UrlTemplate) -> bool {
        let labels: Vec<Option<&str>> = template.host.iter().map(|l| l.literal()).collect();
        let (name, extra) = match self {
            Self::Exact(name) => (name, false),
            Self::Below(name) => (name, true),
        };
        let wanted: Vec<&str> = name.split('.').collect();
        let enough = if extra { labels.len() > wanted.len() } else { labels.len() == wanted.len() };
        enough
            && labels
                .iter()
                .rev()
                .zip(wanted.iter().rev())
                .all(|(have, want)| have.is_some_and(|label| label == *want))
    }

    /// The risk of a wildcard over a suffix where anybody can rent a name.
    #[must_use]
    pub fn shared_hosting(&self) -> Option<&str> {
        let Self::Below(name) = self else { return None };
        let known = SHARED_HOSTING.iter().copied().find(|s| is_at_or_below(name, s));
        known.or_else(|| is_rented_suffix(name).then_some(name))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

/// Parses a whole list, reporting every bad entry at its pointer.
#[must_use]
pub fn parse_list<'t>(
    pointer: &str,
    entries: impl Iterator<Item = &'t str>,
    problems: &mut Vec<Problem>,
) -> Vec<HostPattern> {
    let mut patterns = Vec::new();
    for (index, entry) in entries.enumerate() {
        match HostPattern::parse(entry) {
            Ok(pattern) => patterns.push(pattern),
            Err(e) => problems.push(Problem::new(format!("{pointer}/{index}"), e.code, e.message)),
        }
    }
    patterns
}

/// A warning for every wildcard over a suffix where anybody can rent a name.
#[must_use]
pub fn shared_hosting_warnings<'t>(pointer: &str, entries: impl Iterator<Item = &'t String>) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for (index, text) in entries.enumerate() {
        let pattern = HostPattern::parse(text).ok();
        if let Some(suffix) = pattern.as_ref().and_then(HostPattern::shared_hosting) {
            let message = format!(
                "anybody can rent a name under {suffix}: this wildcard is a way out for data unless every \
                 url_template pins the name by config.*"
            );
            warnings.push(Problem::new(
                format!("{pointer}/{index}"),
                "allowed_domain_shared_hosting",
                message,
            ));
        }
    }
    warnings
}

/// Host name syntax of RFC 1123 section 2.1: LDH labels, no trailing dot, at most 253 bytes, and a
/// last label that is not a number (which would make it an address to some parsers).
#[must_use]
pub fn is_host_name(name: &str) -> bool {
    let numeric_tail = name.rsplit('.').next().is_none_or(|last| {
        last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X")
    });
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(portcullis_action::escape::is_host_label)
        && !numeric_tail
}

fn is_address(text: &str) -> bool {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let last = bare.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let numeric = !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit());
    let hex = last.len() > 2 && (last.starts_with("0x") || last.starts_with("0X"));
    bare.parse::<std::net::IpAddr>().is_ok() || text.starts_with('[') || numeric || hex
}

fn is_below(host: &str, name: &str) -> bool {
    host.strip_suffix(name).and_then(|rest| rest.strip_suffix('.')).is_some_and(|rest| !rest.is_empty())
}

fn is_at_or_below(host: &str, name: &str) -> bool {
    host == name || is_below(host, name)
}

/// Whether a name is a registry's suffix, under which anybody can register a name.
fn is_public_suffix(name: &str) -> bool {
    psl::suffix(name.as_bytes())
        .is_some_and(|s| s.as_bytes() == name.as_bytes() && s.typ() != Some(psl::Type::Private))
}

/// Whether a name is a company's suffix (the list's private part), under which its customers have names:
/// `myshopify.com`. A template that pins the customer is sound; one that does not is a way out for data.
fn is_rented_suffix(name: &str) -> bool {
    psl::suffix(name.as_bytes())
        .is_some_and(|s| s.as_bytes() == name.as_bytes() && s.typ() == Some(psl::Type::Private))
}

#[cfg(test)]
mod tests {
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
        let exact = HostPattern::parse("api.example-saas.com").unwrap();
        assert!(exact.matches("api.example-saas.com"));
        assert!(!exact.matches("x.api.example-saas.com"));
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
}
