//! Rules about the sources themselves, kept by tests: who may depend on whom, how long files and
//! functions may be, where secrets are exposed, that every route and code is tried, and that the
//! generated documents are fresh.

use std::path::{Path, PathBuf};

mod api;
mod coverage;
mod crates;
mod documents;
mod peers;
mod shape;
mod starters;

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A source file: its path from the root with `/`, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The text before its inline unit tests.
    fn product(&self) -> &str {
        let file = self.path.rsplit('/').next().unwrap_or_default();
        let whole_file_is_tests = file == "tests.rs" || self.path.contains("/tests/");
        if whole_file_is_tests {
            return "";
        }
        self.text.split_once("#[cfg(test)]\nmod tests").map_or(self.text.as_str(), |(product, _)| product)
    }

    /// The text of its unit tests; all of it in a test's own file.
    fn tests(&self) -> &str {
        &self.text[self.product().len()..]
    }
}

/// Every Rust source below these folders, in order.
fn sources(folders: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        collect(&root().join(folder), &mut paths);
    }
    paths.sort();
    let read = |path: PathBuf| Source {
        path: path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(),
        text: std::fs::read_to_string(&path).unwrap(),
    };
    paths.into_iter().map(read).collect()
}

fn collect(dir: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() {
            if name != "target" && name != "fuzz" {
                collect(&path, paths);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

const PRODUCT: &[&str] = &["runtime", "connectors", "guest-sdk"];
const EVERYTHING: &[&str] = &["runtime", "connectors", "guest-sdk", "tests"];
