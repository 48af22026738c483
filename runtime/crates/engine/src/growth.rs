//! What nothing needs any more and nothing else takes away: old revisions of definitions, revisions of connectors that are
//! gone, and parts of documents that were replaced.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use portcullis_core::id::ConnectorId;
use portcullis_core::sync::lock;
use portcullis_store::{ConnectorRecord, ConnectorRevision, StoreError, Writes, sweep_blobs};

use crate::engine::Engine;
use crate::error::Error;
use crate::jobs::named_revisions;

/// Keys read at a time, and revisions deleted in one commit.
const PAGE: usize = 100;
/// How often parts are looked for that nothing refers to: that reads every record.
const PARTS_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// When a process looked last.
#[derive(Default)]
pub(crate) struct GrowthDesk {
    parts_at: Mutex<Option<Instant>>,
}

/// What a sweep dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Revisions of definitions.
    pub revisions: u64,
    /// Parts of large documents.
    pub parts: u64,
}

/// Drops revisions beyond `limits.definition_revisions`, and what nothing refers to.
///
/// # Errors
/// `store_unavailable`, and `internal` for a job that cannot be read; some may be dropped then.
pub async fn sweep(engine: &Engine) -> Result<Dropped, Error> {
    let mut dropped = Dropped::default();
    let old = old_revisions(engine).await?;
    if !old.is_empty() {
        // Why only now: it reads all accepted runs.
        let named = named_revisions(engine).await?;
        for (connector, revisions) in old {
            let is_free = |revision: &&u64| !named.contains(&(connector.clone(), **revision));
            let free: Vec<u64> = revisions.iter().filter(is_free).copied().collect();
            dropped.revisions += delete(engine, &connector, &free).await?;
        }
    }
    let is_due = lock(&engine.growth.parts_at).is_none_or(|at| at.elapsed() >= PARTS_EVERY);
    if is_due || dropped.revisions > 0 {
        dropped.parts = sweep_blobs(&**engine.resources.records.store()).await?;
        *lock(&engine.growth.parts_at) = Some(Instant::now());
    }
    if dropped != Dropped::default() {
        tracing::info!(
            revisions = dropped.revisions,
            parts = dropped.parts,
            "what nothing refers to was dropped"
        );
    }
    Ok(dropped)
}

/// Revisions beyond the newest `limits.definition_revisions` of their connector, and all of deleted connectors.
async fn old_revisions(engine: &Engine) -> Result<BTreeMap<ConnectorId, Vec<u64>>, Error> {
    let records = &engine.resources.records;
    let most = usize::try_from(engine.limits().definition_revisions).unwrap_or(usize::MAX);
    let mut all: BTreeMap<ConnectorId, Vec<u64>> = BTreeMap::new();
    let mut after: Option<Vec<String>> = None;
    loop {
        let page = records.keys::<ConnectorRevision>(&[], after.as_deref(), PAGE).await?;
        for parts in &page {
            if let [connector, revision] = parts.as_slice()
                && let (Ok(connector), Ok(revision)) = (ConnectorId::parse(connector), revision.parse())
            {
                all.entry(connector).or_default().push(revision);
            }
        }
        match page.last().filter(|_| page.len() == PAGE) {
            Some(last) => after = Some(last.clone()),
            None => break,
        }
    }
    let mut old = BTreeMap::new();
    for (connector, mut revisions) in all {
        if let Some((record, _)) = records.get_shared::<ConnectorRecord>(&[connector.as_str()]).await? {
            // Why these: after a connector was made anew, higher numbers are those of its earlier life.
            let (mut own, earlier): (Vec<u64>, Vec<u64>) =
                revisions.into_iter().partition(|revision| *revision <= record.revision);
            own.sort_unstable();
            // Besides the one in force.
            own.truncate(own.len().saturating_sub(most.saturating_add(1)));
            own.extend(earlier);
            revisions = own;
        }
        if !revisions.is_empty() {
            old.insert(connector, revisions);
        }
    }
    Ok(old)
}

/// Deletes revisions, unless the connector has changed meanwhile: the next sweep looks again.
async fn delete(engine: &Engine, connector: &ConnectorId, revisions: &[u64]) -> Result<u64, Error> {
    let (resources, id) = (&engine.resources, connector.as_str());
    let mut dropped = 0;
    for some in revisions.chunks(PAGE) {
        let found = resources.records.get::<ConnectorRecord>(&[id]).await?;
        let writes = match &found {
            Some((record, commit)) if some.iter().all(|revision| *revision != record.revision) => {
                Writes::new().require_revision::<ConnectorRecord>(&[id], *commit)
            }
            Some(_) => continue,
            None => Writes::new().require_absent::<ConnectorRecord>(&[id]),
        };
        let writes = some.iter().fold(writes, |writes, revision| {
            writes.delete::<ConnectorRevision>(&[id, &ConnectorRevision::part(*revision)])
        });
        match resources.commit(writes).await {
            Ok(_) => dropped += some.len() as u64,
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(dropped)
}
