//! `portcullis doctor`: tests the gate on this machine and prints a readable report.
//!
//! Forbidden addresses and a rebinding name are sent through the real guard with a table for a
//! resolver and a dialer that only counts: the report shows this build's own verdicts, and nothing
//! leaves. Then it checks the environment: proxy variables, own addresses, resolver, keys.

use std::sync::Arc;

use clap::Args;
use portcullis_core::limits::Limits;
use portcullis_egress::{DnsResolver, own_addresses};
use portcullis_sandbox::Sandbox;
use portcullis_store::{Records, StoreStats, Vault};
use serde_json::json;

use super::{DONE, FAILED, block_on, known_variables};
use crate::config::{Config, ConfigArgs, FoundKeys, proxy_variables};
use crate::data_dir::{Refusal, is_initialised, never_initialised};
use crate::{cautions, output, storage};

mod probes;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// One JSON object per check
    #[arg(long)]
    json: bool,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Good,
    Warning,
    Bad,
}

/// One check.
struct Finding {
    health: Health,
    name: String,
    detail: String,
}

impl Finding {
    fn new(health: Health, name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { health, name: name.into(), detail: detail.into() }
    }
}

/// Runs every check; fails if one is bad.
pub(super) fn run(args: &DoctorArgs) -> u8 {
    let mut findings = Vec::new();
    match block_on(probes::run()) {
        Ok(Ok(mut found)) => findings.append(&mut found),
        Ok(Err(e)) | Err(e) => findings.push(Finding::new(Health::Bad, "gate", e)),
    }
    findings.push(sandbox());
    findings.extend(surroundings());
    findings.extend(configuration(&args.config));
    for finding in &findings {
        print(finding, args.json);
    }
    let bad = findings.iter().filter(|f| f.health == Health::Bad).count();
    let warnings = findings.iter().filter(|f| f.health == Health::Warning).count();
    if !args.json {
        output::line(&format!("{} checks, {bad} bad, {warnings} to look at", findings.len()));
    }
    if bad == 0 { DONE } else { FAILED }
}

fn print(finding: &Finding, as_json: bool) {
    let word = match finding.health {
        Health::Good => "ok",
        Health::Warning => "look",
        Health::Bad => "BAD",
    };
    if as_json {
        output::line(&json!({ "health": word, "check": finding.name, "detail": finding.detail }).to_string());
    } else {
        output::line(&format!("[{word:^4}] {}: {}", finding.name, finding.detail));
    }
}

fn sandbox() -> Finding {
    let loaded = Sandbox::new(Arc::new(Limits::default()))
        .and_then(|sandbox| sandbox.load(portcullis_connectors::HTTP_HANDLER));
    match loaded {
        Ok(_) => Finding::new(
            Health::Good,
            "sandbox",
            "the engine starts and the HTTP handler loads; its only import is outbound-http",
        ),
        Err(e) => Finding::new(Health::Bad, "sandbox", e.to_string()),
    }
}

fn surroundings() -> Vec<Finding> {
    let mut findings = Vec::new();
    let proxies = proxy_variables();
    findings.push(if proxies.is_empty() {
        Finding::new(Health::Good, "proxy variables", "none set")
    } else {
        let detail =
            format!("{} set; this program reads none of them, so calls go out directly", proxies.join(", "));
        Finding::new(Health::Warning, "proxy variables", detail)
    });
    let own: Vec<String> = own_addresses().iter().map(ToString::to_string).collect();
    findings.push(if own.is_empty() {
        Finding::new(
            Health::Warning,
            "own addresses",
            "none found; connections back to this machine cannot be recognized",
        )
    } else {
        Finding::new(
            Health::Good,
            "own addresses",
            format!("{} are refused besides the table", own.join(", ")),
        )
    });
    findings
}

fn configuration(args: &ConfigArgs) -> Vec<Finding> {
    let config = match Config::load(args) {
        Ok(config) => config,
        Err(errors) => {
            return errors.into_iter().map(|e| Finding::new(Health::Bad, "configuration", e)).collect();
        }
    };
    let mut findings = Vec::new();
    findings.push(match DnsResolver::new(&config.egress_dns_servers, &config.limits) {
        Ok(_) if config.egress_dns_servers.is_empty() => {
            Finding::new(Health::Good, "resolver", "the system's servers")
        }
        Ok(_) => Finding::new(Health::Good, "resolver", format!("{:?}", config.egress_dns_servers)),
        Err(e) => Finding::new(Health::Bad, "resolver", e),
    });
    let cautions = cautions::all(&config, &known_variables());
    findings.extend(cautions.into_iter().map(|text| Finding::new(Health::Warning, "surroundings", text)));
    match config.store.postgres() {
        Some(_) => findings.extend(database(&config)),
        None if is_initialised(&config.data_dir) => {
            findings.push(master_key(&config));
            findings.extend(private_file(&config));
        }
        None => {
            let detail = never_initialised(&config.data_dir).reason;
            findings.push(Finding::new(Health::Warning, "data directory", detail));
        }
    }
    findings
}

/// Whether the master keys can be had.
fn master_key(config: &Config) -> Finding {
    match block_on(config.open_keys()).and_then(|keys| keys) {
        Ok(keys) => {
            let ids: Vec<String> = keys.key_ids().iter().map(ToString::to_string).collect();
            Finding::new(Health::Good, "master key", format!("readable, key id {}", ids.join(", ")))
        }
        Err(e) => Finding::new(Health::Bad, "master key", e),
    }
}

/// Whether the database answers, has the schema of this version, and was initialised with these keys.
fn database(config: &Config) -> Vec<Finding> {
    let mut findings = vec![master_key(config)];
    findings.extend(private_file(config));
    let Ok(keys) = config.master_keys() else { return findings };
    let looked = block_on(look_at_database(config, keys)).map_err(Refusal::failed);
    findings.push(match looked.and_then(|looked| looked) {
        Ok(stats) => {
            let detail = format!("it answers, {} records as of commit {}", stats.records, stats.seq);
            Finding::new(Health::Good, "database", detail)
        }
        Err(refusal) => Finding::new(Health::Bad, "database", refusal.reason),
    });
    findings
}

async fn look_at_database(config: &Config, keys: FoundKeys) -> Result<StoreStats, Refusal> {
    let keys = keys.open().await.map_err(Refusal::failed)?;
    let backends = storage::open(config, &keys).await?.backends;
    let stats = backends.store.stats().await.map_err(|e| Refusal::failed(e.to_string()))?;
    Vault::open(Records::new(backends.store), keys).await.map_err(|e| Refusal::failed(e.to_string()))?;
    Ok(stats)
}

/// Whether others may read the key.
fn private_file(config: &Config) -> Option<Finding> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(&config.master_key_file).ok()?.permissions().mode() & 0o777;
    let detail = format!("{} has mode {mode:o}", config.master_key_file.display());
    let health = if mode & 0o077 == 0 { Health::Good } else { Health::Bad };
    Some(Finding::new(health, "master key file", detail))
}
