//! Entries of `allowed_domains` and of an org's allowlist.
//!
//! `api.example.com` is that host and no other. `*.example.com` is any depth below it and never
//! `example.com` itself. Nothing else is an entry: no scheme, port, path, address, inner wildcard
//! or non-ASCII text. Whether a host may be *reached* is not decided here.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::violation::{self, Violation, Violations};
use portcullis_action::url_template::UrlTemplate;

/// One entry, checked. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPattern(
    // Invariant: passed `check`, in lower case.
    Arc<str>,
);

/// Why a text is not an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HostPatternError {
    /// Stable code.
    pub code: &'static str,
    /// What is wrong, what it would mean, and the accepted form.
    pub message: String,
}

/// Last labels of names that never lead to a public host (RFC 6761, RFC 6762, RFC 7686; `home.arpa` of
/// RFC 8375 is one below `arpa`).
const SPECIAL_SUFFIXES: &[&str] = &[
    "localhost",
    "local",
    "internal",
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

/// Suffixes under which anyone can rent a name, so that a wildcard over them allows data to be exfiltrated.
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

/// The beginning of an entry for every host below a name.
const BELOW: &str = "*.";

impl HostPattern {
    /// Checks one entry.
    ///
    /// # Errors
    /// [`HostPatternError`] with a code and a sentence that teaches the accepted form.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        check(text).map(|entry| Self(Arc::from(&*entry))).map_err(|refusal| refusal.error(text))
    }

    /// Whether a text is an entry that matches this host: [`Self::parse`] and [`Self::matches`] in one.
    #[must_use]
    pub fn text_matches(text: &str, host: &str) -> bool {
        check(text).is_ok_and(|entry| entry_matches(&entry, host))
    }

    /// The entry's text, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name below which every matching host is; `None` for an entry that matches one host.
    #[must_use]
    pub fn below(&self) -> Option<&str> {
        self.0.strip_prefix(BELOW)
    }

    /// Whether `host` (lower case, as [`crate::target::Target`] holds it) matches this entry.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        entry_matches(&self.0, host)
    }

    /// Whether every host that the template can produce matches this entry. A variable in a host
    /// is one label, or part of one, so the number of labels is fixed.
    #[must_use]
    pub fn covers(&self, template: &UrlTemplate) -> bool {
        let labels: Vec<Option<&str>> = template.host.iter().map(|l| l.literal()).collect();
        let wanted: Vec<&str> = self.below().unwrap_or(&self.0).split('.').collect();
        let enough =
            if self.below().is_some() { labels.len() > wanted.len() } else { labels.len() == wanted.len() };
        enough
            && labels
                .iter()
                .rev()
                .zip(wanted.iter().rev())
                .all(|(have, want)| have.is_some_and(|label| label == *want))
    }

    /// The risk of a wildcard over a suffix where anyone can rent a name.
    #[must_use]
    pub fn shared_hosting(&self) -> Option<&str> {
        let name = self.below()?;
        let known = SHARED_HOSTING.iter().copied().find(|s| is_at_or_below(name, s));
        known.or_else(|| is_rented_suffix(name).then_some(name))
    }
}

/// Most entries that a message names.
const NEAREST_MAX: usize = 3;

/// The entries that come nearest to a host that none of them matches: those with which it shares the last two labels or
/// more, or that are a typing error away. Nearest first.
#[must_use]
pub fn nearest<'p>(entries: &'p [HostPattern], host: &str) -> Vec<&'p HostPattern> {
    let shared = |entry: &HostPattern| {
        let name = entry.below().unwrap_or(&entry.0);
        name.rsplit('.').zip(host.rsplit('.')).take_while(|(one, other)| one == other).count()
    };
    let mut near: Vec<(usize, &HostPattern)> =
        entries.iter().map(|entry| (shared(entry), entry)).filter(|(labels, _)| *labels >= 2).collect();
    // Why a stable sort: among equals the order of the list stays.
    near.sort_by_key(|(labels, _)| std::cmp::Reverse(*labels));
    near.truncate(NEAREST_MAX);
    if near.is_empty() {
        let mistyped = violation::nearest(host, entries.iter().map(HostPattern::as_str));
        return entries.iter().filter(|entry| Some(entry.as_str()) == mistyped).take(1).collect();
    }
    near.into_iter().map(|(_, entry)| entry).collect()
}

/// The end of a sentence about a host that is in no entry of a list: those that come nearest, or how many there are.
#[must_use]
pub fn nearest_text(entries: &[HostPattern], host: &str) -> String {
    let near: Vec<&str> = nearest(entries, host).into_iter().map(HostPattern::as_str).collect();
    match (near.as_slice(), entries) {
        ([], []) => "; the list is empty".to_owned(),
        ([], [only]) => format!("; its only entry is {only}"),
        ([], several) => format!("; none of its {} entries is near", several.len()),
        (near, _) => format!("; the nearest entries are {}", near.join(", ")),
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl schemars::JsonSchema for HostPattern {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HostPattern".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A host, or `*.` and a host for everything below it.",
        })
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

fn entry_matches(entry: &str, host: &str) -> bool {
    entry.strip_prefix(BELOW).map_or(host == entry, |name| is_below(host, name))
}

/// Code and reason of a refusal.
struct Refusal(&'static str, &'static str);

impl Refusal {
    fn error(&self, text: &str) -> HostPatternError {
        let Self(code, why) = self;
        HostPatternError {
            code,
            message: format!(
                "{:?} {why}; write a host such as api.example.com, or *.example.com for every host below it",
                text.chars().take(120).collect::<String>()
            ),
        }
    }
}

/// The entry in lower case, or why it is not one.
fn check(text: &str) -> Result<Cow<'_, str>, Refusal> {
    let ordinary = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
    let is_ordinary = text.strip_prefix(BELOW).unwrap_or(text).bytes().all(ordinary);
    // Why the shortcut: such a text needs no folding, and entries are checked in every call.
    let entry = if is_ordinary && text != BELOW { Cow::Borrowed(text) } else { fold(text)? };
    let name = entry.strip_prefix(BELOW).unwrap_or(&entry);
    if is_address(text) {
        return Err(Refusal("allowed_domain_ip", "is an IP address; addresses are never allowed"));
    }
    if !is_host_name(name) {
        return Err(Refusal("allowed_domain_syntax", "is not a host name"));
    }
    if name.rsplit('.').next().is_some_and(|last| SPECIAL_SUFFIXES.contains(&last)) {
        return Err(Refusal("allowed_domain_special", "is a name that never leads to a public host"));
    }
    if name.len() == entry.len() && !name.contains('.') {
        return Err(Refusal("allowed_domain_single_label", "is a single label"));
    }
    if is_public_suffix(name) {
        return Err(Refusal(
            "allowed_domain_public_suffix",
            "is a public suffix, under which anybody can register a name",
        ));
    }
    Ok(entry)
}

/// Refuses characters that no entry may have, and folds the case.
fn fold(text: &str) -> Result<Cow<'_, str>, Refusal> {
    if text == "*" || text == BELOW {
        return Err(Refusal("allowed_domain_any", "would allow every host"));
    }
    if text.contains("://") {
        return Err(Refusal("allowed_domain_scheme", "has a scheme; https is always meant"));
    }
    if text.contains(['/', '?', '#', '@', '\\']) {
        return Err(Refusal("allowed_domain_not_host", "is more than a host"));
    }
    if is_address(text) {
        return Err(Refusal("allowed_domain_ip", "is an IP address; addresses are never allowed"));
    }
    if text.contains(':') {
        return Err(Refusal("allowed_domain_port", "has a port; ports go to egress.ports"));
    }
    if !text.is_ascii() {
        return Err(Refusal("allowed_domain_not_ascii", "is not ASCII; write the punycode form (xn--…)"));
    }
    let folded = text.to_ascii_lowercase();
    if folded.strip_prefix(BELOW).unwrap_or(&folded).contains('*') {
        return Err(Refusal("allowed_domain_wildcard", "has a wildcard inside; only a leading *. is read"));
    }
    Ok(Cow::Owned(folded))
}

/// Parses a whole list, reporting every bad entry at its pointer.
#[must_use]
pub fn parse_list<'t>(
    pointer: &str,
    entries: impl Iterator<Item = &'t str>,
    problems: &mut Violations,
) -> Vec<HostPattern> {
    let mut patterns = Vec::new();
    for (index, entry) in entries.enumerate() {
        match HostPattern::parse(entry) {
            Ok(pattern) => patterns.push(pattern),
            Err(e) => problems.push_with(|| Violation::new(format!("{pointer}/{index}"), e.code, e.message)),
        }
    }
    patterns
}

/// A warning for every wildcard over a suffix where anyone can rent a name.
#[must_use]
pub fn shared_hosting_warnings<'t>(
    pointer: &str,
    entries: impl Iterator<Item = &'t String>,
) -> Vec<Violation> {
    let mut warnings = Violations::default();
    for (index, text) in entries.enumerate() {
        let pattern = HostPattern::parse(text).ok();
        if let Some(suffix) = pattern.as_ref().and_then(HostPattern::shared_hosting) {
            let message = format!(
                "anyone can rent a name under {suffix}: this wildcard allows data to be exfiltrated unless every \
                 url_template pins the name by config.*"
            );
            warnings.push(Violation::new(
                format!("{pointer}/{index}"),
                "allowed_domain_shared_hosting",
                message,
            ));
        }
    }
    warnings.into_vec()
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
    // Why the colon: an address without one ends in a number.
    let parsed = || bare.contains(':') && bare.parse::<std::net::IpAddr>().is_ok();
    numeric || hex || text.starts_with('[') || parsed()
}

/// Domains that one company uses together although they differ: where people log in, and where its API is.
const ONE_COMPANY: &[&[&str]] = &[
    &["google.com", "googleapis.com"],
    &["hubspot.com", "hubapi.com"],
    &["microsoft.com", "microsoftonline.com", "windows.net"],
    &["amazon.com", "amazonaws.com", "amazoncognito.com"],
    &["salesforce.com", "force.com"],
    &["atlassian.com", "atlassian.net"],
];

/// Whether two hosts belong to one company, as far as names tell: both are below the same name that can be
/// registered, or below names known to be one company's.
#[must_use]
pub fn same_owner(one: &str, other: &str) -> bool {
    let registered = |host: &str| psl::domain(host.as_bytes()).map(|domain| domain.as_bytes().to_vec());
    let known = |names: &&&[&str]| {
        let is_in = |host: &str| names.iter().any(|name| is_at_or_below(host, name));
        is_in(one) && is_in(other)
    };
    one == other
        || registered(one).is_some_and(|domain| registered(other) == Some(domain))
        || ONE_COMPANY.iter().any(|names| known(&names))
}

fn is_below(host: &str, name: &str) -> bool {
    host.strip_suffix(name).and_then(|rest| rest.strip_suffix('.')).is_some_and(|rest| !rest.is_empty())
}

fn is_at_or_below(host: &str, name: &str) -> bool {
    host == name || is_below(host, name)
}

/// Whether a name is a registry's suffix, under which anyone can register a name.
fn is_public_suffix(name: &str) -> bool {
    psl::suffix(name.as_bytes())
        .is_some_and(|s| s.as_bytes() == name.as_bytes() && s.typ() != Some(psl::Type::Private))
}

/// Whether a name is a company's suffix (the list's private part), under which its customers have names, like
/// `myshopify.com`. A template that fixes the customer is safe; one that does not allows data to be exfiltrated.
fn is_rented_suffix(name: &str) -> bool {
    psl::suffix(name.as_bytes())
        .is_some_and(|s| s.as_bytes() == name.as_bytes() && s.typ() == Some(psl::Type::Private))
}

#[cfg(test)]
mod tests;
