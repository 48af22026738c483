//! `portcullis fsck`: everything in a data directory, or in a database, is read, and what is damaged is named.

use clap::Args;
use portcullis_store::{FsckFinding, FsckReport, StoreError, fsck, fsck_shared};
use serde_json::json;

use super::progress::Progress;
use super::{DONE, FAILED, block_on, load, refused};
use crate::config::{Config, ConfigArgs, DataDirArgs, KeyArgs};
use crate::data_dir::{DataDir, Refusal};
use crate::{output, storage};

/// Arguments of `fsck`.
#[derive(Debug, Args)]
pub(super) struct FsckArgs {
    #[command(flatten)]
    data: DataDirArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// The result as one JSON object
    #[arg(long)]
    json: bool,
}

/// Checks a directory; fails if anything is damaged.
pub(super) fn run(args: &FsckArgs) -> u8 {
    let mut all = ConfigArgs::from(&args.data);
    all.key = args.key.clone();
    let checked = load(&all).and_then(|config| {
        if config.store.is_shared() {
            return block_on(check_database(&config)).map_err(Refusal::failed)?;
        }
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
    let mut tell = Progress::of_check();
    fsck(&config.data_dir, config.anchor_file.as_deref(), &mut tell).await.map_err(|error| error.to_string())
}

/// Checks a database, beside the nodes that serve from it or without them.
async fn check_database(config: &Config) -> Result<FsckReport, Refusal> {
    let keys = config.open_keys().await.map_err(Refusal::failed)?;
    let opened = storage::open(config, &keys).await?;
    let failed = |error: StoreError| Refusal::failed(error.to_string());
    let mut tell = Progress::of_check();
    let mut report = fsck_shared(&opened.backends, &*opened.modules, &mut tell).await.map_err(failed)?;
    if let Some(database) = opened.database {
        let seen = database.verify().await.map_err(failed)?;
        report.records = seen.records;
        let finding = |reason| FsckFinding { file: "records".to_owned(), place: String::new(), reason };
        report.findings.extend(seen.findings.into_iter().map(finding));
    }
    Ok(report)
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
