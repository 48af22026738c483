//! Coverage that cannot silently shrink: every route of the table and every code of the list is
//! tried by some test.

use portcullis_api::ROUTES;
use portcullis_core::fault::Code;

use super::{PRODUCT, sources};

/// Codes that no test can provoke through the product as it is, and why.
const NOT_REACHABLE_YET: &[(&str, &str)] = &[];

/// The string literals of a text that are paths.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').filter(|literal| literal.starts_with('/') && !literal.contains(char::is_whitespace))
}

/// Whether a path, perhaps of a format string, is one of this route's.
fn is_of(path: &str, route: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let (path, route): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), route.split('/').collect());
    path.len() == route.len()
        && path.iter().zip(&route).all(
            |(have, want)| {
                if want.starts_with('{') { !have.is_empty() } else { have == want }
            },
        )
}

/// Whether a text makes a request of this method.
fn uses(text: &str, method: &str) -> bool {
    text.contains(&format!(".{}(", method.to_lowercase())) || text.contains(&format!("\"{method}\""))
}

#[test]
fn every_route_is_tried_by_some_test() {
    let tests = sources(&["tests/it"]);
    let missing: Vec<String> = ROUTES
        .iter()
        .filter(|route| {
            let tried = |text: &str| uses(text, route.method) && paths(text).any(|p| is_of(p, route.path));
            !tests.iter().filter(|t| !t.path.contains("/tidy/")).any(|t| tried(&t.text))
        })
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    assert!(missing.is_empty(), "no test tries {missing:#?}");
}

#[test]
fn a_path_is_matched_segment_by_segment() {
    assert!(is_of("/admin/org/acme?limit=1", "/admin/org/{org}"));
    assert!(is_of("/run/{}/{}/connector/{connector}/{action}", "/run/{org}/{ws}/connector/{id}/{action}"));
    for other in ["/admin/org", "/admin/org/", "/admin/orgs/acme", "/admin/org/acme/workspace"] {
        assert!(!is_of(other, "/admin/org/{org}"), "{other}");
    }
}

#[test]
fn every_code_is_expected_by_some_test_or_listed_with_its_reason() {
    let mut texts: Vec<String> =
        sources(&["tests/it"]).into_iter().filter(|s| !s.path.contains("/tidy/")).map(|s| s.text).collect();
    texts.extend(sources(PRODUCT).iter().map(|source| source.tests().to_owned()));
    let expected = |code: &Code| {
        let (variant, text) = (format!("Code::{code:?}"), format!("\"{code}\""));
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric());
        texts.iter().any(|t| t.contains(&text) || t.split(&variant).skip(1).any(ends))
    };
    let missing: Vec<&str> = Code::ALL.iter().filter(|c| !expected(c)).map(|c| c.as_str()).collect();
    let listed: Vec<&str> = NOT_REACHABLE_YET.iter().map(|(code, _)| *code).collect();
    assert_eq!(missing, listed);
}
