//! How many bytes are stored for an org: its runs and its ledger by the lengths of their files, the inputs of accepted
//! runs by the number that the store keeps of them, kept answers by their records. It is measured once in a while, by
//! one request, and what is accepted meanwhile is added.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis_core::id::OrgId;
use portcullis_core::sync::lock;
use portcullis_store::IdempotencyRecord;

use crate::engine::Engine;
use crate::error::Error;

/// How long a measurement is used.
pub(super) const MEASURED_FOR: Duration = Duration::from_secs(60);
/// Orgs whose measurement is remembered.
const ORGS_KEPT: usize = 4096;
/// Keys of callers read at a time, and for one measurement: beyond them their answers are not counted.
const PAGE: usize = 200;
const KEYS_MAX: usize = 20_000;

/// The last measurement of an org.
#[derive(Default)]
struct Measured {
    last: tokio::sync::Mutex<Option<(u64, Instant)>>,
    /// What was accepted since.
    added: AtomicU64,
}

/// The last measurements.
#[derive(Default)]
pub(super) struct Stored(Mutex<HashMap<OrgId, Arc<Measured>>>);

impl Stored {
    fn of(&self, org: &OrgId) -> Arc<Measured> {
        let mut orgs = lock(&self.0);
        if orgs.len() >= ORGS_KEPT && !orgs.contains_key(org) {
            orgs.clear();
        }
        Arc::clone(orgs.entry(org.clone()).or_default())
    }

    /// Something was accepted for an org.
    pub(super) fn add(&self, org: &OrgId, bytes: u64) {
        self.of(org).added.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Bytes stored for an org, as they were measured a minute ago at most.
///
/// # Errors
/// Those of the stores.
pub(super) async fn bytes(engine: &Engine, org: &OrgId) -> Result<u64, Error> {
    let measured = engine.org_use.stored.of(org);
    // Why held while it is measured: one measures, and the others use what it found.
    let mut last = measured.last.lock().await;
    if let Some((bytes, at)) = *last
        && at.elapsed() < MEASURED_FOR
    {
        return Ok(bytes.saturating_add(measured.added.load(Ordering::Relaxed)));
    }
    // Why before: what is added while it is measured may be counted twice, and not less than once.
    measured.added.store(0, Ordering::Relaxed);
    let bytes = measure(engine, org).await?;
    *last = Some((bytes, Instant::now()));
    Ok(bytes.saturating_add(measured.added.load(Ordering::Relaxed)))
}

async fn measure(engine: &Engine, org: &OrgId) -> Result<u64, Error> {
    let resources = &engine.resources;
    let runs = engine.runs.bytes(org).await?;
    let ledger = resources.ledger.bytes(org).await?;
    let inputs = engine.jobs.store.input_bytes_of_org(org).await?;
    let answers = answers(engine, org).await?;
    Ok(runs.saturating_add(ledger).saturating_add(inputs).saturating_add(answers))
}

/// Bytes of the answers that are kept for repeats.
async fn answers(engine: &Engine, org: &OrgId) -> Result<u64, Error> {
    let records = &engine.resources.records;
    let (mut bytes, mut read, mut after) = (0_u64, 0_usize, None::<String>);
    while read < KEYS_MAX {
        let mut page = records.list::<IdempotencyRecord>(&[org.as_str()], after.as_deref(), PAGE).await?;
        bytes = page.iter().fold(bytes, |sum, (_, record, _)| sum.saturating_add(record.bytes));
        read += page.len();
        let is_full = page.len() == PAGE;
        let Some((last, ..)) = page.pop().filter(|_| is_full) else { break };
        after = Some(last);
    }
    Ok(bytes)
}
