//! How sources look: headers, names, lengths, and the places where a secret becomes text.

use super::{EVERYTHING, PRODUCT, sources};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 90;

/// Names that say nothing about the domain.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "types", "manager", "misc"];

/// Where `.expose()` is called: file, how often, and why there.
const EXPOSED: &[(&str, usize, &str)] = &[
    (
        "runtime/crates/core/src/form.rs",
        2,
        "a value that stays is checked by the form's rules; a config value is computed from it by a filter that does not \
         give it away",
    ),
    ("runtime/crates/core/src/injection.rs", 2, "the value goes into the request, and into the scrubber"),
    ("runtime/crates/egress/src/known_secrets.rs", 1, "the value goes into the scrubber"),
    ("runtime/crates/egress/src/signing.rs", 2, "the key signs a JWT or a request"),
    ("runtime/crates/engine/src/oauth/consent.rs", 1, "the code verifier goes to the token endpoint"),
    ("runtime/crates/store/src/vault/seal.rs", 1, "the value is sealed"),
];

#[test]
fn every_source_opens_with_what_it_is() {
    for source in sources(EVERYTHING) {
        let first = source.text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 12, "{}: {first:?}", source.path);
    }
}

#[test]
fn modules_are_named_after_the_domain_and_never_mod() {
    for source in sources(EVERYTHING) {
        let name = source.path.rsplit('/').next().unwrap().trim_end_matches(".rs");
        assert!(name != "mod", "{}: write the module beside its folder", source.path);
        assert!(!EMPTY_NAMES.contains(&name), "{}: name what it is about", source.path);
        for empty in EMPTY_NAMES {
            let inline = format!("mod {empty} {{");
            assert!(!source.text.contains(&inline), "{}: {inline}", source.path);
        }
    }
}

#[test]
fn files_stay_within_five_hundred_lines() {
    let long: Vec<String> = sources(EVERYTHING)
        .iter()
        .map(|source| (source.product().lines().count().max(source.tests().lines().count()), source))
        .filter(|(lines, _)| *lines > FILE_LINES_MAX)
        .map(|(lines, source)| format!("{}: {lines} lines", source.path))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn functions_stay_within_ninety_lines() {
    let mut seen = 0;
    for source in sources(PRODUCT) {
        for (name, lines) in functions(source.product()) {
            seen += 1;
            assert!(lines <= FUNCTION_LINES_MAX, "{}: {name} has {lines} lines", source.path);
        }
    }
    assert!(seen > 500, "functions were found: {seen}");
}

#[test]
fn the_count_of_a_functions_lines_is_right() {
    let text = "fn a() {\n    1;\n}\n\nimpl X {\n    pub(crate) async fn b(\n        c: u8,\n    ) -> u8 {\n        c\n    }\n}\nfn c();\n";
    assert_eq!(functions(text), [("a".to_owned(), 3), ("b".to_owned(), 5)]);
}

/// Name and lines of each function with a body, by the indentation that the formatter gives.
pub(super) fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let Some(name) = function_name(code) else { continue };
        let close = format!("{indent}}}");
        let declared = |l: &&str| l.ends_with(';') && !l.contains('{');
        if lines[at..].iter().take_while(|l| !l.ends_with('{')).any(declared) || code.ends_with('}') {
            continue;
        }
        if let Some(length) = lines[at..].iter().position(|l| *l == close) {
            found.push((name.to_owned(), length + 1));
        }
    }
    found
}

/// The name in a line that begins a function.
fn function_name(code: &str) -> Option<&str> {
    let (before, after) = code.split_once("fn ")?;
    let qualifiers = ["pub", "pub(crate)", "pub(super)", "async", "const", "extern", "\"C\""];
    let plain = before.split_whitespace().all(|w| qualifiers.contains(&w) || w.starts_with("pub("));
    let name = after.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    (plain && !name.is_empty() && (before.is_empty() || before.ends_with(' '))).then_some(name)
}

#[test]
fn a_secret_becomes_text_in_listed_places_only() {
    let found: Vec<(String, usize)> = sources(PRODUCT)
        .iter()
        .map(|source| (source.path.clone(), source.product().matches(".expose()").count()))
        .filter(|(_, count)| *count > 0)
        .collect();
    let listed: Vec<(String, usize)> =
        EXPOSED.iter().map(|(path, count, _)| ((*path).to_owned(), *count)).collect();
    assert_eq!(found, listed);
}
