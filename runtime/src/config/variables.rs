//! Variables of the environment that this program does not read, and whose presence says something.

use std::collections::BTreeSet;

use portcullis_core::violation;

use super::MASTER_KEY;

/// Variables that are set under this program's prefix, that no command reads, each with the name that was perhaps
/// meant.
#[allow(clippy::disallowed_methods, reason = "configuration is where the environment is read")]
pub(crate) fn unknown_variables(known: &BTreeSet<String>) -> Vec<(String, Option<String>)> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let unknown = |name: &String| {
        let ours = name.starts_with("PORTCULLIS_") && !name.starts_with("PORTCULLIS_LIMITS_");
        ours && name != MASTER_KEY && !known.contains(name)
    };
    let with_hint = |name: String| {
        let near = violation::nearest(&name, known.iter().map(String::as_str)).map(str::to_owned);
        (name, near)
    };
    names.filter(unknown).map(with_hint).collect()
}

/// Names of set variables that other programs read as proxies. This program reads none.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "configuration is where the environment is read")]
pub(crate) fn proxy_variables() -> Vec<String> {
    const NAMES: &[&str] = &["http_proxy", "https_proxy", "all_proxy"];
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| NAMES.contains(&name.to_ascii_lowercase().as_str()))
        .collect()
}
