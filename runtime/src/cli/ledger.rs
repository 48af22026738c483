//! `portcullis ledger verify`: checks the chains of ledger and audit log offline.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use portcullis_store::{AuditReport, known_orgs, verify_directory};
use serde_json::json;

use super::{DONE, FAILED, refused};
use crate::data_dir::{is_initialised, never_initialised};
use crate::output;

mod audit;

/// What a server notes in a data directory that it has opened.
const FORMAT_FILE: &str = "format.json";

/// Arguments of `ledger`.
#[derive(Debug, Args)]
pub(super) struct LedgerArgs {
    #[command(subcommand)]
    command: LedgerCommand,
}

#[derive(Debug, Subcommand)]
enum LedgerCommand {
    /// Check the hash chains of every org, or of one: of its ledger, and of the audit log
    ///
    /// The ledger is checked beside a running server as well. The audit log is in the store, which a running server has:
    /// then the command says that it was not checked, and GET /admin/audit/verify checks it.
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
    // Why only then: the first start makes the ledger, and a restore into a new directory has none.
    let was_served = root.exists() || args.data_dir.join(FORMAT_FILE).exists();
    if let Err(e) = std::fs::read_dir(&root)
        && was_served
    {
        output::error(&format!("{}: {e}", root.display()));
        return FAILED;
    }
    // Also those whose directory is missing.
    let mut orgs: Vec<PathBuf> = known_orgs(&root).iter().map(|org| root.join(org.as_str())).collect();
    if let Some(org) = &args.org {
        orgs.retain(|path| path.file_name().is_some_and(|name| name.to_str() == Some(org)));
    }
    let audited = audit::check(&args.data_dir, args.org.as_deref());
    if let Some(org) = args.org.as_deref().filter(|_| orgs.is_empty() && !has_reports(&audited)) {
        output::error(&format!("there is no ledger of org {org:?} in {}", root.display()));
        return FAILED;
    }
    let mut intact = true;
    for path in orgs {
        intact &= verify(&path, args.json);
    }
    intact &= tell_audited(audited, args.json);
    if intact { DONE } else { FAILED }
}

fn has_reports(audited: &Result<audit::Checked, String>) -> bool {
    matches!(audited, Ok(audit::Checked::Reports(reports)) if !reports.is_empty())
}

/// Tells what the check of the audit log came to; false if it is broken, or could not be read.
fn tell_audited(audited: Result<audit::Checked, String>, as_json: bool) -> bool {
    match audited {
        Ok(audit::Checked::Not(why)) => {
            if let Some(why) = why {
                let then = "GET /admin/audit/verify checks it while a server runs";
                output::note(&format!("the audit log was not checked: {why}; {then}"));
            }
            true
        }
        Ok(audit::Checked::Reports(reports)) => {
            reports.iter().for_each(|report| tell_chain(report, as_json));
            reports.iter().all(AuditReport::is_intact)
        }
        Err(error) => {
            output::error(&format!("audit log: {error}"));
            false
        }
    }
}

fn tell_chain(report: &AuditReport, as_json: bool) {
    let subject = audit::subject(report);
    if as_json {
        output::line(&json!({ "intact": report.is_intact(), "audit": report }).to_string());
    } else if let Some(bad) = &report.bad {
        output::line(&format!("{subject}: BROKEN: seq {}: {}", bad.seq, bad.reason));
    } else {
        output::line(&format!("{subject}: intact, {} records", report.records));
    }
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
