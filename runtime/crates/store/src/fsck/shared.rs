//! The check of a storage that is no directory: everything is read by the same methods as everywhere, and each of them
//! refuses what is not what was written.

use crate::backends::Backends;
use crate::error::StoreError;
use crate::modules::{ModuleBytes, ModuleRecord};
use crate::records::{Key, Records};

use super::records::LOOKS_MAX;
use super::{FsckProgress, FsckReport, name_of, records};
use crate::audit::{audit_scopes, verify_audit};

/// Modules whose names are read at a time.
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
    check_runs(backends, &mut report, progress).await?;
    check_modules(&all, modules, &mut report, progress).await?;
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

async fn check_runs(
    backends: &Backends,
    report: &mut FsckReport,
    progress: FsckProgress<'_>,
) -> Result<(), StoreError> {
    let seen = backends.runs.verify(&mut |records| progress("runs", records)).await?;
    report.run_records = seen.records;
    seen.bad.into_iter().for_each(|fault| report.add("runs", fault.place, fault.reason));
    Ok(())
}

/// Checks that the bytes of every module are there which the records know.
async fn check_modules(
    records: &Records,
    modules: &dyn ModuleBytes,
    report: &mut FsckReport,
    progress: FsckProgress<'_>,
) -> Result<(), StoreError> {
    let mut after: Option<Vec<String>> = None;
    loop {
        let page = records.keys::<ModuleRecord>(&[], after.as_deref(), PAGE).await?;
        for parts in &page {
            let digest = parts.join("/");
            match module(records, modules, &digest).await? {
                Looked::Whole => report.modules = report.modules.saturating_add(1),
                Looked::Gone => {}
                Looked::Bad(reason) => report.add("modules", digest, reason),
            }
            progress("modules", report.modules);
        }
        let Some(last) = page.last().filter(|_| page.len() == PAGE) else { return Ok(()) };
        after = Some(last.clone());
    }
}

/// What a look at a module shows.
enum Looked {
    Whole,
    /// It was deleted since its record was met.
    Gone,
    Bad(String),
}

/// Looks at the bytes of a module. A record goes before its bytes, so that they are missing only if the record is the same
/// before and after a look at them.
async fn module(records: &Records, modules: &dyn ModuleBytes, digest: &str) -> Result<Looked, StoreError> {
    let key = format!("{}{digest}", Key::prefix::<ModuleRecord>(&[])?);
    let mut before = None;
    for _ in 0..LOOKS_MAX {
        match modules.read(digest).await {
            Ok(Some(_)) => return Ok(Looked::Whole),
            Ok(None) => {}
            Err(error) => return Ok(Looked::Bad(error.to_string())),
        }
        let Some(now) = records.store().get(&key).await? else { return Ok(Looked::Gone) };
        if before == Some(now.revision) {
            break;
        }
        before = Some(now.revision);
    }
    Ok(Looked::Bad("it is missing".to_owned()))
}

#[cfg(test)]
mod tests;
