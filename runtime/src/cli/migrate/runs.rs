//! Runs: copied in the order in which a workspace's runs ended, and compared workspace by workspace. Before that it is seen
//! to that none is missing in the source, which a list of all does not show.
//!
//! An import that was interrupted left the first runs of each workspace, in their order, so their number says where to
//! go on.

use std::collections::BTreeMap;
use std::task::Poll;

use portcullis_core::hex;
use portcullis_store::{RunCursor, RunFilter, RunOrder, RunQuery, RunRecord, RunScope, Runs};
use sha2::{Digest as _, Sha256};

use super::progress::Progress;

/// Runs of one page.
const PAGE: usize = 500;

/// What was copied.
pub(super) struct Copied {
    pub(super) records: u64,
    /// SHA-256 over the runs of every workspace, the same on both sides.
    pub(super) digest: String,
}

/// The runs of a workspace as far as they were met.
#[derive(Default)]
struct Met {
    records: u64,
    hash: Sha256,
}

type ByWorkspace = BTreeMap<String, Met>;

/// Whether there is any run.
///
/// # Errors
/// Those of the runs.
pub(super) async fn has_any(runs: &dyn Runs) -> Result<bool, String> {
    let mut walk = Walk::over(runs);
    while let Some(page) = walk.page().await? {
        // A page may be empty and go on.
        if !page.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Copies the runs that are not there yet, and compares. Runs of which some are missing are not copied.
///
/// # Errors
/// A sentence.
pub(super) async fn copy(from: &dyn Runs, to: &dyn Runs) -> Result<Copied, String> {
    let whole = intact(from, "source").await?;
    let there = counted(to).await?;
    let mut progress = Progress::of("runs");
    let mut met = ByWorkspace::new();
    let mut walk = Walk::over(from);
    while let Some(page) = walk.page().await? {
        let mut missing = Vec::new();
        for record in &page {
            let nth = note(&mut met, record)?;
            if there.get(&name(record)).is_none_or(|there| nth > there.records) {
                missing.push(record);
            }
        }
        append(to, &missing).await?;
        progress.add(page.len() as u64);
    }
    let (here, there) = (digests(met), digests(counted(to).await?));
    if let Some(workspace) = here
        .iter()
        .chain(&there)
        .find(|(name, own)| here.get(*name) != Some(*own) || there.get(*name) != Some(*own))
    {
        return Err(format!("the runs of {} differ in source and target", workspace.0));
    }
    let records = progress.end();
    if records != whole || intact(to, "target").await? != whole {
        return Err(format!("runs were added or taken out while {whole} were copied"));
    }
    let mut all = Sha256::new();
    here.iter().for_each(|(name, (_, digest))| all.update(format!("{name} {digest}\n")));
    Ok(Copied { records, digest: hex::encode(&all.finalize()) })
}

/// Refuses runs of which some are missing or are not what was written; returns how many there are.
async fn intact(runs: &dyn Runs, side: &str) -> Result<u64, String> {
    let mut progress = Progress::of(format!("runs of the {side}, looked at"));
    let mut told = 0_u64;
    let mut tell = |records: u64| {
        progress.add(records.saturating_sub(told));
        told = records;
    };
    let seen = runs.verify(&mut tell).await.map_err(|error| error.to_string())?;
    progress.end();
    match seen.bad.into_iter().next() {
        None => Ok(seen.records),
        Some(fault) => Err(format!("the runs of the {side} are damaged: {}: {}", fault.place, fault.reason)),
    }
}

/// Appends runs in their order. A database takes those of a page at once, as it takes those of many calls: it queues them
/// in the order in which they are asked for. Files take one after the other.
async fn append(to: &dyn Runs, records: &[&RunRecord]) -> Result<(), String> {
    if to.directory().is_some() {
        for record in records {
            to.append(record).await.map_err(|error| error.to_string())?;
        }
        return Ok(());
    }
    let mut appending: Vec<_> = records.iter().map(|record| to.append(record)).collect();
    let mut done: Result<(), String> = Ok(());
    std::future::poll_fn(|context| {
        appending.retain_mut(|append| match append.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(ended) => {
                if let (Ok(()), Err(error)) = (&done, ended) {
                    done = Err(error.to_string());
                }
                false
            }
        });
        if appending.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done
}

async fn counted(runs: &dyn Runs) -> Result<ByWorkspace, String> {
    let mut met = ByWorkspace::new();
    let mut walk = Walk::over(runs);
    while let Some(page) = walk.page().await? {
        for record in &page {
            note(&mut met, record)?;
        }
    }
    Ok(met)
}

fn digests(met: ByWorkspace) -> BTreeMap<String, (u64, String)> {
    met.into_iter().map(|(name, met)| (name, (met.records, hex::encode(&met.hash.finalize())))).collect()
}

fn name(record: &RunRecord) -> String {
    format!("{}/{}", record.org, record.workspace)
}

/// Adds a run to what was met of its workspace; returns the how manieth it is.
fn note(met: &mut ByWorkspace, record: &RunRecord) -> Result<u64, String> {
    let text = serde_json::to_vec(record).map_err(|error| error.to_string())?;
    let met = met.entry(name(record)).or_default();
    met.records = met.records.saturating_add(1);
    met.hash.update((text.len() as u64).to_be_bytes());
    met.hash.update(&text);
    Ok(met.records)
}

/// All runs, oldest first; those of one workspace in their exact order.
struct Walk<'a> {
    runs: &'a dyn Runs,
    after: Option<RunCursor>,
    ended: bool,
}

impl<'a> Walk<'a> {
    const fn over(runs: &'a dyn Runs) -> Self {
        Self { runs, after: None, ended: false }
    }

    /// The next page, which may be empty; `None` after the last.
    async fn page(&mut self) -> Result<Option<Vec<RunRecord>>, String> {
        if self.ended {
            return Ok(None);
        }
        let query = RunQuery {
            scope: RunScope::All,
            filter: RunFilter::default(),
            order: RunOrder::OldestFirst,
            after: self.after.take(),
            limit: PAGE,
        };
        let page = self.runs.query(&query).await.map_err(|error| error.to_string())?;
        let page = page.ok_or_else(|| "a page of runs cannot be gone on from".to_owned())?;
        self.ended = page.next.is_none();
        self.after = page.next;
        Ok(Some(page.records))
    }
}
