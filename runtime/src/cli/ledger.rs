//! `portcullis ledger verify`: checks the chain offline.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use portcullis_store::{known_orgs, verify_directory};
use serde_json::json;

use super::{DONE, FAILED, refused};
use crate::data_dir::{is_initialised, never_initialised};
use crate::output;

/// Arguments of `ledger`.
#[derive(Debug, Args)]
pub(super) struct LedgerArgs {
    #[command(subcommand)]
    command: LedgerCommand,
}

#[derive(Debug, Subcommand)]
enum LedgerCommand {
    /// Check the hash chain of every org, or of one
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// Data directory
    #[arg(long, env = "PORTCULLIS_DATA_DIR", default_value = "./portcullis-data", value_name = "DIR")]
    data_dir: PathBuf,
    /// Only this org
    #[arg(long)]
    org: Option<String>,
    /// One JSON object per org
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub(super) fn run(args: &LedgerArgs) -> u8 {
    let LedgerCommand::Verify(args) = &args.command;
    let root = args.data_dir.join("ledger");
    // Not only a whole data directory: a copy of `ledger/` alone is verified as well.
    if !root.exists() && !is_initialised(&args.data_dir) {
        return refused(&never_initialised(&args.data_dir));
    }
    if let Err(e) = std::fs::read_dir(&root) {
        output::error(&format!("{}: {e}", root.display()));
        return FAILED;
    }
    // Also those whose directory is missing.
    let mut orgs: Vec<PathBuf> = known_orgs(&root).iter().map(|org| root.join(org.as_str())).collect();
    if let Some(org) = &args.org {
        orgs.retain(|path| path.file_name().is_some_and(|name| name.to_str() == Some(org)));
        if orgs.is_empty() {
            output::error(&format!("there is no ledger of org {org:?} in {}", root.display()));
            return FAILED;
        }
    }
    let mut intact = true;
    for path in orgs {
        intact &= verify(&path, args.json);
    }
    if intact { DONE } else { FAILED }
}

fn verify(path: &std::path::Path, as_json: bool) -> bool {
    let org = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    match verify_directory(path) {
        Ok(report) => {
            let intact = report.is_intact();
            if as_json {
                output::line(&json!({ "intact": intact, "report": report }).to_string());
            } else if let Some(bad) = &report.bad {
                output::line(&format!("{org}: BROKEN: {bad}"));
            } else {
                output::line(&format!(
                    "{org}: intact, {} records in {} segments",
                    report.records, report.segments
                ));
            }
            intact
        }
        Err(e) => {
            output::error(&format!("{org}: {e}"));
            false
        }
    }
}
