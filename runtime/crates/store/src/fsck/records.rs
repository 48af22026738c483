//! What records promise each other: parts of large documents, inputs of accepted runs.

use super::{FsckProgress, FsckReport};
use crate::backend::{Store, Versioned};
use crate::error::StoreError;
use crate::jobs::{Job, JobName};
use crate::records::check_blob;
use crate::settings::ConnectorSetting;
use crate::vault::{is_sealed_content, is_sealed_text};

/// Records read at a time.
const PAGE: usize = 500;

/// How often a record is looked at that is another one each time: nobody writes one as often as this while its parts are
/// read, and a check ends.
pub(super) const LOOKS_MAX: usize = 8;

/// Checks every record that speaks of others, or holds something sealed. `file` is where they are.
pub(super) async fn check(
    store: &dyn Store,
    file: &str,
    report: &mut FsckReport,
    progress: FsckProgress<'_>,
) -> Result<(), StoreError> {
    let (mut after, mut looked): (Option<String>, u64) = (None, 0);
    loop {
        let page = store.list("", after.as_deref(), PAGE).await?;
        for (key, found) in &page {
            if let Some(reason) = standing_fault(store, key, found).await? {
                report.add(file, format!("record {key}"), reason);
            }
        }
        looked = looked.saturating_add(page.len() as u64);
        progress("records", looked);
        let Some((last, _)) = page.last().filter(|_| page.len() == PAGE) else { return Ok(()) };
        after = Some(last.clone());
    }
}

/// What is wrong with a record for as long as it stands as it is. What it speaks of is read after it, and others may have
/// replaced or deleted it meanwhile together with that.
async fn standing_fault(
    store: &dyn Store,
    key: &str,
    found: &Versioned,
) -> Result<Option<String>, StoreError> {
    let Some(mut reason) = fault(store, key, &found.value).await? else { return Ok(None) };
    let mut revision = found.revision;
    for _ in 1..LOOKS_MAX {
        match store.get(key).await? {
            None => return Ok(None),
            Some(now) if now.revision == revision => break,
            Some(now) => {
                revision = now.revision;
                match fault(store, key, &now.value).await? {
                    None => return Ok(None),
                    Some(other) => reason = other,
                }
            }
        }
    }
    Ok(Some(reason))
}

/// What is wrong with a record, by what it speaks of now.
async fn fault(store: &dyn Store, key: &str, value: &[u8]) -> Result<Option<String>, StoreError> {
    let fault = match key.split('/').next().unwrap_or_default() {
        "job" => job(store, value).await?,
        "setting" => setting(value),
        _ => None,
    };
    match fault {
        None => check_blob(store, key, value).await,
        fault => Ok(fault),
    }
}

/// The input of an accepted run: all its parts, in the form of what is sealed.
async fn job(store: &dyn Store, value: &[u8]) -> Result<Option<String>, StoreError> {
    let Ok(job) = serde_json::from_slice::<Job>(value) else {
        return Ok(Some("it is not an accepted run".to_owned()));
    };
    let name = JobName { org: job.org.clone(), workspace: job.workspace.clone(), run_id: job.run_id.clone() };
    let (mut bytes, mut start) = (0_u64, Vec::new());
    for part in 0..job.input_parts {
        let Some(found) = store.get(&name.input_key(part)).await? else {
            return Ok(Some(format!("part {part} of its input is missing")));
        };
        bytes = bytes.saturating_add(found.value.len() as u64);
        if part == 0 {
            start = found.value;
        }
    }
    if !job.keeps_input() {
        return Ok(None);
    }
    Ok(if bytes != job.input_bytes {
        Some(format!("its input has {bytes} bytes, and {} were written", job.input_bytes))
    } else if !is_sealed_content(&start) {
        Some("its input does not have the form of what is sealed".to_owned())
    } else {
        None
    })
}

fn setting(value: &[u8]) -> Option<String> {
    // Why not for one that cannot be read: it may be in parts, which are checked as such.
    let setting = serde_json::from_slice::<ConnectorSetting>(value).ok()?;
    let sealed = setting.value.encrypted_config.as_deref().unwrap_or_default();
    let is_well = sealed.is_empty() || is_sealed_text(sealed);
    (!is_well).then(|| "its credential does not have the form of what is sealed".to_owned())
}
