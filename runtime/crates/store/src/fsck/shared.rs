//! The check of a storage that is no directory: everything is read by the same methods as everywhere, and each of them
//! refuses what is not what was written.

use crate::backends::Backends;
use crate::error::StoreError;
use crate::modules::{ModuleBytes, ModuleRecord};
use crate::orgs::WorkspaceRecord;
use crate::records::Records;
use crate::runs::{RunCursor, RunFilter, RunOrder, RunQuery, RunScope};

use super::{FsckProgress, FsckReport, name_of, records};
use crate::audit::{audit_scopes, verify_audit};

/// Runs read at a time.
const PAGE: usize = 500;

/// Checks records, audit logs, ledgers, runs and modules. What a storage knows of its records as a whole it checks itself.
///
/// # Errors
/// [`StoreError`] if something cannot be read. Damage is in the report.
pub async fn fsck_shared(
    backends: &Backends,
    modules: &dyn ModuleBytes,
    progress: FsckProgress<'_>,
) -> Result<FsckReport, StoreError> {
    let mut report = FsckReport::default();
    if let Err(error) = records::check(&*backends.store, "records", &mut report, progress).await {
        report.add_damage("records", error)?;
    }
    let all = Records::new(backends.store.clone());
    check_audit(&all, &mut report, progress).await?;
    check_ledgers(backends, &mut report, progress).await?;
    check_runs(backends, &all, &mut report, progress).await?;
    for (digest, _, _) in all.filter::<ModuleRecord>(&[], |_, _| true).await? {
        match modules.read(&digest).await {
            Ok(Some(_)) => report.modules = report.modules.saturating_add(1),
            Ok(None) => report.add("modules", &digest, "it is missing"),
            Err(error) => report.add("modules", &digest, error.to_string()),
        }
        progress("modules", report.modules);
    }
    Ok(report)
}

async fn check_audit(
    records: &Records,
    report: &mut FsckReport,
    progress: FsckProgress<'_>,
) -> Result<(), StoreError> {
    for scope in audit_scopes(records).await? {
        let place = format!("audit log of {}", name_of(&scope));
        match verify_audit(records, &scope).await {
            Ok(chain) => {
                report.audit_records = report.audit_records.saturating_add(chain.records);
                if let Some(bad) = chain.bad {
                    report.add("records", format!("{place}, record {}", bad.seq), bad.reason);
                }
            }
            Err(error) => report.add_damage(&place, error)?,
        }
        progress("audit log", report.audit_records);
    }
    Ok(())
}

async fn check_ledgers(
    backends: &Backends,
    report: &mut FsckReport,
    progress: FsckProgress<'_>,
) -> Result<(), StoreError> {
    let unread = |error: &dyn std::fmt::Display| StoreError::Unavailable(error.to_string());
    for org in backends.ledger.orgs().await.map_err(|error| unread(&error))? {
        match backends.ledger.verify(&org).await {
            Ok(verified) => {
                report.ledger_records = report.ledger_records.saturating_add(verified.records);
                if let Some(bad) = verified.bad {
                    let place = format!("ledger of {org}, {} record {}", bad.segment, bad.seq);
                    report.add("ledger_records", place, bad.reason);
                }
            }
            Err(error) => report.add("ledger_records", format!("ledger of {org}"), error.to_string()),
        }
        progress("ledgers", report.ledger_records);
    }
    Ok(())
}

/// Reads the runs of each workspace, whose chains are looked at from end to end.
async fn check_runs(
    backends: &Backends,
    records: &Records,
    report: &mut FsckReport,
    progress: FsckProgress<'_>,
) -> Result<(), StoreError> {
    for (rest, _, _) in records.filter::<WorkspaceRecord>(&[], |_, _| true).await? {
        let Some(scope) = rest.split_once('/').and_then(|(org, workspace)| {
            let org = portcullis_core::id::OrgId::parse(org).ok()?;
            Some(RunScope::Workspace(org, portcullis_core::id::WorkspaceId::parse(workspace).ok()?))
        }) else {
            continue;
        };
        let mut after: Option<RunCursor> = None;
        loop {
            let query = RunQuery {
                scope: scope.clone(),
                filter: RunFilter::default(),
                order: RunOrder::OldestFirst,
                after: after.take(),
                limit: PAGE,
            };
            let page = match backends.runs.query(&query).await {
                Ok(Some(page)) => page,
                Ok(None) => break,
                Err(error) => {
                    report.add_damage(&format!("runs of {rest}"), error)?;
                    break;
                }
            };
            report.run_records = report.run_records.saturating_add(page.records.len() as u64);
            progress("runs", report.run_records);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
    }
    Ok(())
}
