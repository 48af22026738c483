//! A URL template with any values: what renders is a URL that the gate reads, with as many host labels
//! and path segments as the template has, and inside every entry that covers the template.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_action::{UrlTemplate, Values};
use portcullis_core::host_pattern::HostPattern;
use portcullis_core::target::Target;
use serde_json::{Map, Value};

const TEMPLATES: &[&str] = &[
    "https://{{config.a}}.example-saas.com/v1/{{input.b}}/x?q={{input.c}}",
    "https://pre-{{config.a}}.example-saas.com/{{input.b}}.json?{{input.c}}={{input.b}}&fixed",
    "https://api.example-saas.com/{{input.b}}-{{input.c}}/{{run.id}}",
];

fn check(text: &str, a: &str, b: &str, c: &str) {
    let Ok(template) = UrlTemplate::parse(text) else { return };
    let map = |pairs: &[(&str, &str)]| -> Map<String, Value> {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), Value::String((*v).to_owned()))).collect()
    };
    let (input, config) = (map(&[("b", b), ("c", c)]), map(&[("a", a)]));
    let values =
        Values { input: (&input).into(), action_id: "act", run_id: "run_1", ..Values::config_only(&config) };
    let Ok(url) = template.render(&values) else { return };
    let target = match Target::parse(url.as_bytes(), 1 << 20) {
        Ok(target) => target,
        // A fixed part may make a host that the gate refuses; a value may not, unless it hides a dot
        // segment behind an encoded slash, which the gate refuses anyway.
        Err(_) if !TEMPLATES.contains(&text) => return,
        Err(_) if b.contains("..") || b.contains('.') || c.contains('.') => return,
        Err(code) => panic!("{code} for {url}"),
    };
    assert_eq!(target.host().split('.').count(), template.host.len(), "{url}");
    let segments = target.path().trim_start_matches('/').split('/').count();
    if TEMPLATES.contains(&text) {
        assert_eq!(segments, template.segments.len(), "{url}");
    }
    for entry in ["*.example-saas.com", "api.example-saas.com", "*.com.evil.net"] {
        let Ok(pattern) = HostPattern::parse(entry) else { continue };
        assert!(!pattern.covers(&template) || pattern.matches(target.host()), "{entry} {url}");
    }
}

fuzz_target!(|input: (&str, &str, &str, &str)| {
    let (text, a, b, c) = input;
    for template in TEMPLATES {
        check(template, a, b, c);
    }
    check(text, a, b, c);
    check(&format!("https://{text}"), a, b, c);
});
