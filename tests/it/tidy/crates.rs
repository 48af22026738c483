//! The dependency table: what each crate may name, directly and through others.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::root;

/// Package, which of ours it may depend on, and what must not be anywhere below it.
const TABLE: &[(&str, &[&str], &[&str])] = &[
    ("portcullis-action", &[], &["tokio", "wasmtime", "hyper", "axum", "sled", "rustls", "url"]),
    ("portcullis-auth", &["portcullis-core"], &["wasmtime", "hyper", "axum", "sled", "rustls"]),
    (
        "portcullis-core",
        &["portcullis-action"],
        &["tokio", "wasmtime", "hyper", "axum", "sled", "rustls", "mio"],
    ),
    (
        "portcullis-egress",
        &["portcullis-action", "portcullis-auth", "portcullis-core"],
        &["wasmtime", "sled", "axum", "portcullis-sandbox", "portcullis-store"],
    ),
    (
        "portcullis-import",
        &["portcullis-action", "portcullis-core"],
        &["tokio", "wasmtime", "hyper", "axum", "sled", "rustls", "mio"],
    ),
    (
        "portcullis-operator-peer",
        &[],
        &["wasmtime", "hyper", "axum", "sled", "rustls", "portcullis-core", "portcullis-egress"],
    ),
    (
        "portcullis-sandbox",
        &["portcullis-core"],
        &["hyper", "rustls", "sled", "axum", "portcullis-egress", "portcullis-store"],
    ),
    (
        "portcullis-store",
        &["portcullis-core"],
        &["wasmtime", "hyper", "axum", "rustls", "portcullis-egress", "portcullis-sandbox"],
    ),
    (
        "portcullis-store-conformance",
        &["portcullis-core", "portcullis-store"],
        &["wasmtime", "hyper", "axum", "rustls", "tokio-postgres", "portcullis-egress", "portcullis-sandbox"],
    ),
    (
        "portcullis-store-postgres",
        &["portcullis-core", "portcullis-operator-peer", "portcullis-store"],
        &[
            "wasmtime",
            "hyper",
            "axum",
            "portcullis-egress",
            "portcullis-sandbox",
            "portcullis-store-conformance",
        ],
    ),
    (
        "portcullis-admission",
        &["portcullis-core"],
        &["tokio", "wasmtime", "hyper", "axum", "sled", "rustls", "mio"],
    ),
    (
        "portcullis-engine",
        &[
            "portcullis-action",
            "portcullis-admission",
            "portcullis-connectors",
            "portcullis-core",
            "portcullis-egress",
            "portcullis-import",
            "portcullis-sandbox",
            "portcullis-store",
        ],
        &["axum", "clap", "portcullis-api", "portcullis-stand-in"],
    ),
    (
        "portcullis-api",
        &["portcullis-admission", "portcullis-core", "portcullis-engine"],
        &["clap", "portcullis-stand-in"],
    ),
    (
        "portcullis-stand-in",
        &["portcullis-core", "portcullis-egress"],
        &["wasmtime", "sled", "axum", "portcullis-engine", "portcullis-store"],
    ),
    (
        "portcullis",
        &[
            "portcullis-action",
            "portcullis-api",
            "portcullis-connectors",
            "portcullis-core",
            "portcullis-egress",
            "portcullis-engine",
            "portcullis-import",
            "portcullis-sandbox",
            "portcullis-stand-in",
            "portcullis-store",
            "portcullis-store-postgres",
        ],
        &["portcullis-http-handler", "portcullis-guest"],
    ),
    ("portcullis-connectors", &[], &["tokio", "wasmtime", "portcullis-core"]),
    (
        "portcullis-http-handler",
        &["portcullis-action", "portcullis-guest"],
        &["tokio", "wasmtime", "hyper", "portcullis-core", "portcullis-egress", "portcullis-store"],
    ),
    ("portcullis-guest", &[], &["tokio", "wasmtime", "hyper", "portcullis-core", "portcullis-action"]),
    ("portcullis-example-hubspot-contact-note", &["portcullis-guest"], &["tokio", "wasmtime", "hyper"]),
    ("portcullis-hostile-guest", &["portcullis-guest"], &["tokio", "wasmtime", "hyper"]),
    (
        "portcullis-bench",
        &[
            "portcullis-action",
            "portcullis-api",
            "portcullis-connectors",
            "portcullis-core",
            "portcullis-egress",
            "portcullis-engine",
            "portcullis-sandbox",
            "portcullis-stand-in",
            "portcullis-store",
            "portcullis-store-conformance",
            "portcullis-store-postgres",
        ],
        &[],
    ),
    (
        "portcullis-tests",
        &[
            "portcullis-api",
            "portcullis-connectors",
            "portcullis-core",
            "portcullis-egress",
            "portcullis-engine",
            "portcullis-stand-in",
            "portcullis-store",
        ],
        &[],
    ),
];

/// Crates that one package alone may name.
const OWNED: &[(&str, &str)] = &[
    ("wasmtime", "portcullis-sandbox"),
    ("sled", "portcullis-store"),
    ("axum", "portcullis-api"),
    ("clap", "portcullis"),
    ("tokio-rustls", "portcullis-egress"),
    ("hickory-resolver", "portcullis-egress"),
    ("aes-gcm", "portcullis-store"),
    ("age", "portcullis-store"),
    ("tar", "portcullis-store"),
    ("prometheus-client", "portcullis-engine"),
    ("tokio-postgres", "portcullis-store-postgres"),
    ("deadpool-postgres", "portcullis-store-postgres"),
    ("wit-bindgen", "portcullis-guest"),
];

/// Who else may name such a crate, and why.
const SHARED: &[(&str, &str, &str)] = &[
    ("axum", "portcullis-bench", "the benchmark's baseline: the same call without the product"),
    (
        "tokio-rustls",
        "portcullis-store-postgres",
        "TLS to the operator's own database, whose address is configuration",
    ),
    ("tokio-rustls", "portcullis-stand-in", "the demo's TLS stand-in for a third party"),
    ("tokio-rustls", "portcullis-bench", "its TLS third parties"),
    ("tokio-rustls", "portcullis-tests", "the TLS third parties of the namespace tests and of the judge"),
];

fn cargo(arguments: &[&str]) -> String {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Normal dependencies of every package of the workspace, by package.
fn direct() -> BTreeMap<String, BTreeSet<String>> {
    let text = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let metadata: Value = serde_json::from_str(&text).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let normal = package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null());
            let names = normal.map(|d| d["name"].as_str().unwrap().to_owned()).collect();
            (package["name"].as_str().unwrap().to_owned(), names)
        })
        .collect()
}

#[test]
fn each_crate_depends_on_no_more_of_ours_than_the_table_says() {
    let direct = direct();
    let listed: BTreeSet<&str> = TABLE.iter().map(|(name, ..)| *name).collect();
    let found: BTreeSet<&str> = direct.keys().map(String::as_str).collect();
    assert_eq!(listed, found, "the table names every package and no other");
    for (name, may, _) in TABLE {
        let ours = direct[*name].iter().filter(|d| listed.contains(d.as_str()));
        let extra: Vec<_> = ours.filter(|d| !may.contains(&d.as_str())).collect();
        assert!(extra.is_empty(), "{name} depends on {extra:?}");
    }
}

#[test]
fn each_heavy_crate_is_named_by_one_package() {
    let direct = direct();
    for (dependency, owner) in OWNED {
        assert!(direct[*owner].contains(*dependency), "{owner} no longer uses {dependency}; fix the table");
        for (name, dependencies) in &direct {
            let shared = SHARED.iter().any(|(d, n, _)| d == dependency && n == name);
            let named = dependencies.contains(*dependency);
            assert!(!named || name == owner || shared, "{name} names {dependency}, which is {owner}'s");
        }
    }
}

#[test]
fn what_a_crate_must_not_reach_is_nowhere_in_its_whole_graph() {
    for (name, _, never) in TABLE.iter().filter(|(.., never)| !never.is_empty()) {
        let tree = cargo(&["tree", "-p", name, "-e", "normal", "--prefix", "none", "--offline"]);
        let all: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(all.contains(name), "{name} is in its own tree");
        let reached: Vec<_> = never.iter().filter(|forbidden| all.contains(*forbidden)).collect();
        assert!(reached.is_empty(), "{name} reaches {reached:?}");
    }
    // The neighbour: the same look finds them where they belong.
    let tree = cargo(&["tree", "-p", "portcullis", "-e", "normal", "--prefix", "none", "--offline"]);
    for present in ["tokio", "wasmtime", "hyper", "axum", "sled", "rustls"] {
        assert!(tree.lines().any(|line| line.split(' ').next() == Some(present)), "{present}");
    }
}

/// A feature of a dependency that a crate must not reach, whatever else the workspace switches on. Cargo's metadata
/// unifies features over the workspace, so the crate's own tree is asked.
#[test]
fn the_engine_reaches_no_http_server() {
    let features = |package: &str| {
        let tree = cargo(&["tree", "-p", package, "-e", "normal,features", "--prefix", "none", "--offline"]);
        tree.lines().filter(|line| line.starts_with("hyper feature \"server\"")).count()
    };
    assert_eq!(features("portcullis-engine"), 0);
    assert!(features("portcullis-api") > 0, "the same look finds it where it belongs");
}
