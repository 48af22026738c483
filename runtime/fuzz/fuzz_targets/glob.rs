//! One segment of a URL template, held against a path: the grant permits what a slow and simple matcher permits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_action::{Method, UrlTemplate};
use portcullis_core::grant::{ActionScope, EgressGrant};
use portcullis_core::host_pattern::HostPattern;
use portcullis_core::org_rules::RulesVerdict;
use portcullis_core::verdict::{HostRules, OrgPolicy};

const CHARS_MAX: usize = 300;

/// The characters that mean themselves in a template and in a path.
fn plain(text: &str) -> String {
    let is_plain = |ch: &char| ch.is_ascii_alphanumeric() || matches!(ch, '-' | '_');
    text.chars().filter(is_plain).take(CHARS_MAX).collect()
}

/// Every division of the text is tried, a row of a table for each part.
fn matches(parts: &[Option<String>], text: &str) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for part in parts {
        let mut next = vec![false; text.len() + 1];
        for from in (0..=text.len()).filter(|from| reached[*from]) {
            match part {
                Some(literal) if text[from..].starts_with(literal.as_str()) => next[from + literal.len()] = true,
                Some(_) => {}
                None => next[from + 1..].fill(true),
            }
            if part.is_none() {
                break;
            }
        }
        reached = next;
    }
    reached[text.len()]
}

fuzz_target!(|input: (Vec<Option<&str>>, &str)| {
    let mut parts: Vec<Option<String>> = input.0.iter().take(20).map(|part| part.map(plain)).collect();
    // Two variables side by side are one wildcard.
    parts.dedup_by(|one, other| one.is_none() && other.is_none());
    parts.retain(|part| part.as_deref() != Some(""));
    parts.dedup_by(|one, other| one.is_none() && other.is_none());
    let text = plain(input.1);
    if parts.is_empty() || text.is_empty() {
        return;
    }
    let segment: String = parts.iter().map(|part| part.as_deref().unwrap_or("{{input.a}}")).collect();
    let Ok(template) = UrlTemplate::parse(&format!("https://api.example.com/{segment}")) else { return };
    let Ok(scope) = ActionScope::new(Method::Get, &template, &serde_json::Map::new()) else { return };
    let connector = vec![HostPattern::parse("api.example.com").expect("it is a host")];
    let org_rules = RulesVerdict::ALLOWED;
    let rules = HostRules { connector, ports: vec![], org: OrgPolicy::Unrestricted, org_rules };
    let grant = EgressGrant::new(rules, vec![scope], 8192);
    let (_, permitted) = grant.permit(format!("https://api.example.com/{text}").as_bytes(), Method::Get);
    assert_eq!(permitted.is_some(), matches(&parts, &text), "{segment} {text}");
});
