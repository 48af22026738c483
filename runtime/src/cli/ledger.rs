//! `portcullis ledger verify`: checks the chains of ledger and audit log offline.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use portcullis_store::{AuditReport, LedgerError, VerifyReport, known_orgs, verify_directory, verify_export};
use serde_json::json;

use super::{DONE, FAILED, load, refused};
use crate::config::{Config, ConfigArgs, DataDirArgs, KeyArgs};
use crate::data_dir::{is_initialised, never_initialised};
use crate::output;

mod audit;
mod database;

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
    /// then the command says that it was not checked, and GET /admin/audit/verify checks it. Where the store is PostgreSQL
    /// everything is checked beside running nodes, and the master key is needed.
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
struct VerifyArgs {
    #[command(flatten)]
    data: DataDirArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// Only this org
    #[arg(long)]
    org: Option<String>,
    /// Check an export instead: the NDJSON of GET /org/{org}/outbound without filters; may be given several times
    ///
    /// A record that a filter left out is missing from its chain. What was cut off at the end of an export cannot be seen
    /// in it: compare last_seq and last_hash with GET /org/{org}/outbound/verify.
    #[arg(long, value_name = "FILE", conflicts_with = "org")]
    export: Vec<PathBuf>,
    /// One JSON object per org
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub(super) fn run(args: &LedgerArgs) -> u8 {
    let LedgerCommand::Verify(args) = &args.command;
    if !args.export.is_empty() {
        let intact = args.export.iter().map(|path| check_export(path, args.json));
        // Why collected: each one is to be told of.
        let intact: Vec<bool> = intact.collect();
        return if intact.into_iter().all(|one| one) { DONE } else { FAILED };
    }
    let mut all = ConfigArgs::from(&args.data);
    all.key = args.key.clone();
    match load(&all) {
        Err(refusal) => refused(&refusal),
        Ok(config) if config.store.is_shared() => database::verify(&config, args.org.as_deref(), args.json),
        Ok(config) => in_directory(&config, args),
    }
}

fn in_directory(config: &Config, args: &VerifyArgs) -> u8 {
    let data_dir = &config.data_dir;
    let root = data_dir.join("ledger");
    // Not only a whole data directory: a copy of `ledger/` alone is verified as well.
    if !root.exists() && !is_initialised(data_dir) {
        return refused(&never_initialised(data_dir));
    }
    // Why only then: the first start makes the ledger, and a restore into a new directory has none.
    let was_served = root.exists() || data_dir.join(FORMAT_FILE).exists();
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
    let audited = audit::check(config, args.org.as_deref());
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

fn verify(path: &Path, as_json: bool) -> bool {
    let org = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    tell_ledger(&org, verify_directory(path), as_json)
}

/// Checks an export, away from any server.
fn check_export(path: &Path, as_json: bool) -> bool {
    let name = path.display().to_string();
    match std::fs::File::open(path) {
        Ok(file) => tell_ledger(&name, verify_export(BufReader::new(file), &name), as_json),
        Err(error) => {
            output::error(&format!("{name}: {error}"));
            false
        }
    }
}

/// Tells what the check of a ledger came to; false if it is broken, or could not be read.
fn tell_ledger(subject: &str, checked: Result<VerifyReport, LedgerError>, as_json: bool) -> bool {
    let report = match checked {
        Ok(report) => report,
        Err(error) => {
            output::error(&format!("{subject}: {error}"));
            return false;
        }
    };
    let intact = report.is_intact();
    if as_json {
        output::line(&json!({ "intact": intact, "report": report }).to_string());
        return intact;
    }
    let damaged = report.chains.iter().filter_map(|chain| chain.bad.as_ref());
    for bad in
        if report.chains.is_empty() { report.bad.iter().collect() } else { damaged.collect::<Vec<_>>() }
    {
        output::line(&format!("{subject}: BROKEN: {bad}"));
    }
    if intact {
        output::line(&format!("{subject}: intact, {}", extent(&report)));
    }
    intact
}

/// How much there is.
fn extent(report: &VerifyReport) -> String {
    match (report.chains.len(), report.segments) {
        (0, 0) => format!("{} records", report.records),
        (0, segments) => format!("{} records in {segments} segments", report.records),
        (chains, _) => {
            let last = &report.last_hash;
            format!("{} records in {chains} chains, the last with hash {last}", report.records)
        }
    }
}
