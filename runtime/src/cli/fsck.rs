//! `portcullis fsck`: everything in a data directory is read, and what is damaged is named.

use clap::Args;
use portcullis_store::{FsckReport, fsck};
use serde_json::json;

use super::progress::Progress;
use super::{DONE, FAILED, block_on, load, refused};
use crate::config::{Config, ConfigArgs, DataDirArgs};
use crate::data_dir::{DataDir, Refusal};
use crate::output;

/// Arguments of `fsck`.
#[derive(Debug, Args)]
pub(super) struct FsckArgs {
    #[command(flatten)]
    data: DataDirArgs,
    /// The result as one JSON object
    #[arg(long)]
    json: bool,
}

/// Checks a directory; fails if anything is damaged.
pub(super) fn run(args: &FsckArgs) -> u8 {
    let checked = load(&ConfigArgs::from(&args.data)).and_then(|config| {
        let _data_dir = DataDir::for_fsck(&config)?;
        block_on(check(&config)).and_then(|checked| checked).map_err(Refusal::failed)
    });
    let report = match checked {
        Ok(report) => report,
        Err(refusal) => return refused(&refusal),
    };
    if args.json {
        output::line(&json!({ "whole": report.is_whole(), "report": report }).to_string());
    } else {
        tell(&report);
    }
    if report.is_whole() { DONE } else { FAILED }
}

async fn check(config: &Config) -> Result<FsckReport, String> {
    let mut progress = Progress::new();
    let mut tell =
        |part: &'static str, read: u64| progress.tell(|| format!("checking: {part}, {read} records"));
    fsck(&config.data_dir, config.anchor_file.as_deref(), &mut tell).await.map_err(|error| error.to_string())
}

fn tell(report: &FsckReport) {
    for finding in &report.findings {
        let place = if finding.place.is_empty() { String::new() } else { format!(" ({})", finding.place) };
        output::line(&format!("DAMAGED {}{place}: {}", finding.file, finding.reason));
    }
    let FsckReport { records, audit_records, ledger_records, run_records, modules, findings } = report;
    let found =
        if findings.is_empty() { "no damage".to_owned() } else { format!("{} faults", findings.len()) };
    output::line(&format!(
        "{found}: {records} records, {audit_records} of audit logs, {ledger_records} of ledgers, {run_records} of runs \
         and {modules} modules are whole"
    ));
}
