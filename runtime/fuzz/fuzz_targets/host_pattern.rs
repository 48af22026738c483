//! Entries of lists against hosts: a match is a label boundary or equality, and never the apex of a
//! wildcard.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_core::host_pattern::HostPattern;

fuzz_target!(|input: (&str, &str)| {
    let (entry, host) = input;
    let Ok(pattern) = HostPattern::parse(entry) else { return };
    let text = pattern.to_string();
    assert_eq!(HostPattern::parse(&text).as_ref(), Ok(&pattern), "{text}");
    let name = text.strip_prefix("*.").unwrap_or(&text);
    assert!(name.parse::<std::net::IpAddr>().is_err() && name.contains('.'), "{text}");
    let matched = pattern.matches(host);
    let expected = match pattern.below() {
        None => host == pattern.as_str(),
        Some(name) => host.len() > name.len() + 1 && host.ends_with(&format!(".{name}")),
    };
    assert_eq!(matched, expected, "{text} {host}");
    if let Some(name) = pattern.below() {
        assert!(!pattern.matches(name));
        assert!(pattern.matches(&format!("a.{name}")));
        assert!(!pattern.matches(&format!("evil{name}")));
    }
});
