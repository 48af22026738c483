//! An initialised database, and nodes that serve from it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use portcullis_store_conformance::cluster::Cluster;
use serde_json::Value;
use tempfile::TempDir;

use crate::field_cases::damage::product::{Product, Reply};
use crate::support::binary::{Ran, run};

/// How long something may take that has no limit of its own, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A database of one test, with what its nodes need.
pub(super) struct Installation {
    pub(super) dir: TempDir,
    pub(super) url: String,
    /// The first platform token.
    pub(super) platform: String,
}

impl Installation {
    /// Migrated and initialised.
    pub(super) fn new(cluster: &Cluster) -> Self {
        Self::of(cluster.database())
    }

    pub(super) fn of(url: String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), &["migrate", "--store", &url]).exits(0);
        let platform = init(dir.path(), &url);
        Self { dir, url, platform }
    }

    pub(super) fn key(&self) -> PathBuf {
        self.dir.path().join("master.key")
    }

    /// A command with the store and the key.
    pub(super) fn run(&self, arguments: &[&str]) -> Ran {
        let key = self.key();
        run(
            self.dir.path(),
            &[arguments, &["--store", &self.url, "--master-key-file", key.to_str().unwrap()]].concat(),
        )
    }

    /// A node with a data directory of its own, for caches.
    pub(super) fn node(&self, name: &str) -> Product {
        self.try_node(name, &[]).unwrap_or_else(|log| panic!("{name} does not serve: {log}"))
    }

    /// A node that reaches the database by another address.
    pub(super) fn node_at(&self, url: &str, name: &str) -> Product {
        self.try_node_at(url, name, &[]).unwrap_or_else(|log| panic!("{name} does not serve: {log}"))
    }

    pub(super) fn try_node(&self, name: &str, more: &[&str]) -> Result<Product, String> {
        self.try_node_at(&self.url, name, more)
    }

    fn try_node_at(&self, url: &str, name: &str, more: &[&str]) -> Result<Product, String> {
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let key = self.key();
        let own = [
            "--store",
            url,
            "--master-key-file",
            key.to_str().unwrap(),
            "--node-id",
            name,
            "--limit",
            "dns_ms=300",
        ];
        Product::try_start(&dir, &[&own, more].concat())
    }
}

/// `portcullis init` for a database; returns the first platform token.
pub(super) fn init(dir: &Path, url: &str) -> String {
    let ran = run(dir, &["init", "--store", url, "--master-key-file", "master.key"]).exits(0);
    let mut tokens = ran.out.lines().filter(|line| line.starts_with("pc_platform_"));
    let token = tokens.next().expect("no line with a token").to_owned();
    assert_eq!(tokens.next(), None);
    token
}

/// The name of the database in an address.
pub(super) fn database(url: &str) -> &str {
    url.split('?').next().unwrap().rsplit('/').next().unwrap()
}

/// Asks again until the answer is as wanted; returns how long that took.
pub(super) async fn until(
    node: &Product,
    token: &str,
    (method, path, body): (&str, &str, &Value),
    wanted: impl Fn(&Reply) -> bool,
) -> Duration {
    let begun = Instant::now();
    loop {
        let last = node.try_ask(token, method, path, body).await;
        if last.as_ref().is_ok_and(&wanted) {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < PATIENCE, "{method} {path}: {last:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
