//! `make docs`: writes the documents that are made from the code.

use std::path::Path;
use std::process::ExitCode;

mod generated;

fn main() -> ExitCode {
    let Some(root) = Path::new(env!("CARGO_MANIFEST_DIR")).parent() else { return ExitCode::FAILURE };
    let documents = match generated::documents(root) {
        Ok(documents) => documents,
        Err(error) => return failed(&error),
    };
    for (path, text) in documents {
        if let Err(error) = std::fs::write(root.join(path), text) {
            return failed(&format!("{path}: {error}"));
        }
    }
    ExitCode::SUCCESS
}

#[allow(clippy::print_stderr, reason = "a tool of the repository, not the product")]
fn failed(error: &str) -> ExitCode {
    eprintln!("make docs: {error}");
    ExitCode::FAILURE
}
