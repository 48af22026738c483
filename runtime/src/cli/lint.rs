//! `portcullis lint`: the same checks as an upload, without a server.

use std::path::PathBuf;

use clap::Args;
use portcullis_core::connector::Connector;
use portcullis_core::limits::Limits;
use portcullis_core::violation::Violation;
use serde_json::json;

use super::{DONE, FAILED};
use crate::output;

/// Arguments of `lint`.
#[derive(Debug, Args)]
pub(super) struct LintArgs {
    /// Definition files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// One JSON object per file
    #[arg(long)]
    json: bool,
}

/// Checks every file; fails if one has an error.
pub(super) fn run(args: &LintArgs) -> u8 {
    let mut sound = true;
    for file in &args.files {
        let (errors, warnings) = check(file);
        sound &= errors.is_empty();
        let name = file.display().to_string();
        if args.json {
            let valid = errors.is_empty();
            output::line(
                &json!({ "file": name, "valid": valid, "errors": errors, "warnings": warnings }).to_string(),
            );
            continue;
        }
        for (kind, problems) in [("error", &errors), ("warning", &warnings)] {
            for problem in problems {
                let at = if problem.pointer.is_empty() { "/" } else { &problem.pointer };
                output::line(&format!("{name}: {kind}: {at}: {} [{}]", problem.message, problem.code));
            }
        }
        if errors.is_empty() {
            output::line(&format!("{name}: ok"));
        }
    }
    if sound { DONE } else { FAILED }
}

fn check(file: &std::path::Path) -> (Vec<Violation>, Vec<Violation>) {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(e) => {
            return (vec![Violation::new("", "unreadable", e.to_string())], Vec::new());
        }
    };
    let checked = Connector::parse_bytes(&text, &Limits::default());
    (checked.errors, checked.warnings)
}
