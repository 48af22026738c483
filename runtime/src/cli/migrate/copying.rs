//! What is copied, in which order, and how it is compared.

use portcullis_store::{ModuleRecord, Records};

use super::progress::Progress;
use super::side::Opened;
use super::{ledgers, records, runs};

/// Modules of one page.
const PAGE: usize = 100;

/// Copies everything that is not in the target yet, and compares both sides. Returns what there is to tell.
///
/// # Errors
/// A sentence of what cannot be read or written, or differs.
pub(super) async fn copy(catalog: &Records, from: &Opened, to: &Opened) -> Result<String, String> {
    let modules = modules(catalog, from, to).await?;
    let ledgers = ledgers::copy(from, to).await?;
    let runs = runs::copy(from.backends.runs.as_ref(), to.backends.runs.as_ref()).await?;
    // Last: with the records the target is one that can be served from.
    let records = records::copy(from.backends.store.as_ref(), to.backends.store.as_ref()).await?;
    Ok(format!(
        "{} records as of commit {}, sha256 {}\n{} ledger records of {} orgs, sha256 {}\n{} runs, sha256 {}\n{modules} \
         modules",
        records.report.records,
        records.report.seq,
        records.digest,
        ledgers.records,
        ledgers.orgs,
        ledgers.digest,
        runs.records,
        runs.digest,
    ))
}

/// Copies the bytes of every module that the records know. Their names are their digests, by which each side checks them.
async fn modules(catalog: &Records, from: &Opened, to: &Opened) -> Result<u64, String> {
    let mut progress = Progress::of("modules");
    let mut after: Option<String> = None;
    loop {
        let page = catalog.list::<ModuleRecord>(&[], after.as_deref(), PAGE).await;
        let page = page.map_err(|error| error.to_string())?;
        let Some((last, ..)) = page.last() else { return Ok(progress.end()) };
        after = Some(last.clone());
        for (hex, ..) in &page {
            let failed = |error: std::io::Error| format!("module {hex}: {error}");
            if to.modules.read(hex).await.map_err(failed)?.is_none() {
                let bytes = from.modules.read(hex).await.map_err(failed)?;
                let bytes =
                    bytes.ok_or_else(|| format!("module {hex}: its bytes are gone from the source"))?;
                to.modules.write(hex, bytes.into()).await.map_err(failed)?;
            }
            progress.add(1);
        }
    }
}
