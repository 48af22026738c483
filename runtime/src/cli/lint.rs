//! `portcullis lint`: the same checks as an upload, without a server.

use std::path::PathBuf;

use clap::Args;
use portcullis_core::connector::{Connector, MODULE_NOT_CHECKED};
use portcullis_core::limits::Limits;
use portcullis_core::violation::Violation;
use portcullis_engine::modules::local;
use serde_json::json;

use super::{DONE, FAILED, block_on};
use crate::output;

/// Arguments of `lint`.
#[derive(Debug, Args)]
pub(super) struct LintArgs {
    /// Definition files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The module of a connector that has one: its examples are run
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// One JSON object per file
    #[arg(long)]
    json: bool,
}

/// Checks every file; fails if one has an error.
pub(super) fn run(args: &LintArgs) -> u8 {
    let mut sound = true;
    for file in &args.files {
        let (errors, warnings) = check(file, args.module.as_deref());
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

fn check(file: &std::path::Path, module: Option<&std::path::Path>) -> (Vec<Violation>, Vec<Violation>) {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(e) => {
            return (vec![Violation::new("", "unreadable", e.to_string())], Vec::new());
        }
    };
    let checked = Connector::parse_bytes(&text, &Limits::default());
    let (mut errors, mut warnings) = (checked.errors, checked.warnings);
    if let (Some(module), true) = (module, errors.is_empty()) {
        match examples(&text, module) {
            Ok(found) => {
                warnings.retain(|warning| warning.code != MODULE_NOT_CHECKED);
                errors.extend(found);
            }
            Err(why) => {
                let why = format!("{}: {why}", module.display());
                errors.push(Violation::new("/runtime/module", "module_unreadable", why));
            }
        }
    }
    (errors, warnings)
}

/// Runs the examples of the actions that a module serves.
fn examples(definition: &[u8], module: &std::path::Path) -> Result<Vec<Violation>, String> {
    let bytes = std::fs::read(module).map_err(|error| error.to_string())?;
    let document = serde_json::from_slice(definition).map_err(|error| error.to_string())?;
    block_on(local::examples(&bytes, &document, Limits::default()))?
}
