//! The part of `portcullis ledger verify` that checks the audit log, which is in the store: only where no server has it.

use portcullis_store::{AuditReport, AuditScope, Records, audit_scopes, open_store_anchored, verify_audit};

use crate::cli::block_on;
use crate::config::Config;
use crate::data_dir::{DataDir, is_initialised};

/// What a check came to.
pub(super) enum Checked {
    /// There is no store, or it is in use: why, if that is worth telling.
    Not(Option<String>),
    Reports(Vec<AuditReport>),
}

/// Checks the chains of a data directory, or that of one org.
///
/// # Errors
/// The store cannot be opened or read.
pub(super) fn check(config: &Config, org: Option<&str>) -> Result<Checked, String> {
    if !is_initialised(&config.data_dir) {
        return Ok(Checked::Not(None));
    }
    // Why no error: the ledger is checked beside a server, whose store cannot be opened a second time.
    let _data_dir = match DataDir::open(config, "ledger verify") {
        Ok(data_dir) => data_dir,
        Err(refusal) => return Ok(Checked::Not(Some(refusal.reason))),
    };
    let store = open_store_anchored(&config.store_dir(), config.anchor_file.as_deref());
    let records = Records::new(store.map_err(|error| error.to_string())?);
    block_on(reports(&records, org))?.map(Checked::Reports)
}

/// The report of every chain, or of those of one org.
///
/// # Errors
/// The records cannot be read.
pub(super) async fn reports(records: &Records, org: Option<&str>) -> Result<Vec<AuditReport>, String> {
    let mut reports = Vec::new();
    for scope in audit_scopes(records).await.map_err(|error| error.to_string())? {
        if org.is_none_or(|wanted| scope.org().is_some_and(|own| own.as_str() == wanted)) {
            let report = verify_audit(records, &scope).await;
            reports.push(report.map_err(|error| format!("{}: {error}", name(&scope)))?);
        }
    }
    Ok(reports)
}

fn name(scope: &AuditScope) -> String {
    match scope {
        AuditScope::Org(org) => org.as_str().to_owned(),
        AuditScope::Platform => "the platform".to_owned(),
        AuditScope::Logins => "failed logins".to_owned(),
    }
}

/// What a report is of, for people.
pub(super) fn subject(report: &AuditReport) -> String {
    match (&report.org, report.chain) {
        (Some(org), _) => format!("audit of {org}"),
        (None, "logins") => "audit of failed logins".to_owned(),
        (None, _) => "audit of the platform".to_owned(),
    }
}
