//! What cannot be kept as a number beside each change, because other processes change it, too: connections and jobs by
//! state, and what is on disk. Counted in the background, in steps of at most `limits.metrics_scan_records` records each
//! [`REST`], and only while somebody asks. What is told is the last count that came to its end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use portcullis_core::sync::lock;
use portcullis_store::{ConnectorSetting, JobState, Records, StoreError};

use crate::connection::ConnectionKey;
use crate::connection::health::standing;
use crate::connection::state::{ConnectionState, StoredConnection};
use crate::engine::Engine;
use crate::error::Error;

/// Pause after each step.
const REST: Duration = Duration::from_secs(5);
/// How long it is counted after the last time that somebody asked: longer than the interval of any scraper.
const WANTED_FOR: Duration = Duration::from_secs(180);
/// Time between two measurements of what is on disk.
const DISK_EVERY: Duration = Duration::from_secs(60);
/// Files of a directory that are measured. Why bounded: each costs a call of the system; so many take a second.
const FILES_MAX: usize = 500_000;
/// Connections listed at a time.
const PAGE: usize = 200;

type Counts = BTreeMap<&'static str, u64>;

/// A count that is under way, and the last one that came to its end.
struct Sweep<C> {
    /// Where the next step begins; `None` at the beginning.
    at: Option<C>,
    so_far: Counts,
    done: Counts,
    done_at: Option<Instant>,
}

impl<C> Default for Sweep<C> {
    fn default() -> Self {
        Self { at: None, so_far: Counts::new(), done: Counts::new(), done_at: None }
    }
}

impl<C> Sweep<C> {
    /// Takes the result of a step, which ends where the next one begins.
    fn add(&mut self, found: Counts, next: Option<C>) {
        for (word, count) in found {
            *self.so_far.entry(word).or_default() += count;
        }
        if next.is_none() {
            self.done = std::mem::take(&mut self.so_far);
            self.done_at = Some(Instant::now());
        }
        self.at = next;
    }
}

#[derive(Default)]
struct Sweeps {
    connections: Sweep<Vec<String>>,
    jobs: Sweep<String>,
    disk: Sweep<()>,
    asked_at: Option<Instant>,
    /// Whether the task is there.
    runs: bool,
}

/// The last counts.
pub(super) struct Counted {
    pub(super) connections: Counts,
    pub(super) jobs: Counts,
    pub(super) disk: Counts,
    pub(super) ages_s: Vec<(&'static str, u64)>,
}

/// See the module's documentation.
pub(super) struct Scan {
    sweeps: Mutex<Sweeps>,
    /// Held during a step.
    stepping: tokio::sync::Mutex<()>,
    disk: Vec<(&'static str, PathBuf)>,
}

impl Scan {
    pub(super) fn new(disk: Vec<(&'static str, PathBuf)>) -> Self {
        Self { sweeps: Mutex::default(), stepping: tokio::sync::Mutex::default(), disk }
    }

    /// The last counts; those that were never made are empty.
    pub(super) fn counted(&self) -> Counted {
        let sweeps = lock(&self.sweeps);
        let ages = [
            ("connections", sweeps.connections.done_at),
            ("jobs", sweeps.jobs.done_at),
            ("disk", sweeps.disk.done_at),
        ];
        let ages = ages.into_iter().filter_map(|(kind, at)| Some((kind, at?.elapsed().as_secs())));
        Counted {
            connections: sweeps.connections.done.clone(),
            jobs: sweeps.jobs.done.clone(),
            disk: sweeps.disk.done.clone(),
            ages_s: ages.collect(),
        }
    }
}

/// Notes that somebody asks, and counts from now on. The first who asks waits for the first step.
pub(super) async fn wanted(engine: &Arc<Engine>) {
    let scan = &engine.resources.metrics.scan;
    let (is_first, starts) = {
        let mut sweeps = lock(&scan.sweeps);
        sweeps.asked_at = Some(Instant::now());
        (sweeps.disk.done_at.is_none(), !std::mem::replace(&mut sweeps.runs, true))
    };
    if is_first {
        step(engine).await;
    }
    if starts {
        tokio::spawn(count(Arc::downgrade(engine)));
    }
}

/// Counts until nobody asks any more, or the engine is gone.
async fn count(engine: Weak<Engine>) {
    loop {
        tokio::time::sleep(REST).await;
        let Some(engine) = engine.upgrade() else { return };
        {
            let mut sweeps = lock(&engine.resources.metrics.scan.sweeps);
            if sweeps.asked_at.is_none_or(|at| at.elapsed() > WANTED_FOR) {
                sweeps.runs = false;
                return;
            }
        }
        step(&engine).await;
    }
}

/// One step of each count.
async fn step(engine: &Engine) {
    let scan = &engine.resources.metrics.scan;
    let _one_at_a_time = scan.stepping.lock().await;
    let most = usize::try_from(engine.limits().metrics_scan_records).unwrap_or(usize::MAX);
    if let Err(error) = connections(engine, scan, most).await {
        tracing::warn!(code = %error.code, detail = error.detail, "connections could not be counted");
    }
    if let Err(error) = jobs(engine, scan, most).await {
        tracing::warn!(%error, "accepted runs could not be counted");
    }
    disk(scan).await;
}

async fn jobs(engine: &Engine, scan: &Scan, most: usize) -> Result<(), StoreError> {
    let from = lock(&scan.sweeps).jobs.at.clone();
    let mut tally = engine.jobs.store.tally(from.as_deref(), most).await?;
    if from.is_none() {
        for state in
            [JobState::Queued, JobState::Waiting, JobState::Running, JobState::Dead, JobState::Skipped]
        {
            tally.counts.entry(state).or_default();
        }
    }
    let found = tally.counts.into_iter().map(|(state, count)| (job_word(state), count)).collect();
    lock(&scan.sweeps).jobs.add(found, tally.next);
    Ok(())
}

const fn job_word(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "queued",
        JobState::Waiting => "waiting",
        JobState::Running => "running",
        JobState::Dead => "dead",
        JobState::Skipped => "skipped",
        JobState::Cancelled => "cancelled",
        JobState::Ended => "ended",
    }
}

async fn connections(engine: &Engine, scan: &Scan, most: usize) -> Result<(), Error> {
    let resources = &engine.resources;
    // Why of its own: the documents of all connections would push those of calls out of the cache.
    let records = Records::new(Arc::clone(resources.records.store()));
    let mut after = lock(&scan.sweeps).connections.at.clone();
    let mut found = Counts::new();
    if after.is_none() {
        found.extend(["connected", "needs_attention", "opted_out"].map(|word| (word, 0)));
    }
    let mut room = most.max(1);
    let next = loop {
        let wanted = room.min(PAGE);
        let page = records.keys::<ConnectorSetting>(&[], after.as_deref(), wanted).await?;
        for parts in &page {
            if let Some(state) = state(engine, &records, parts).await? {
                *found.entry(connection_word(state)).or_default() += 1;
            }
        }
        if page.len() < wanted {
            break None;
        }
        room -= wanted;
        after = page.last().cloned();
        if room == 0 {
            break after;
        }
        tokio::task::yield_now().await;
    };
    lock(&scan.sweeps).connections.add(found, next);
    Ok(())
}

/// The state of a connection, as its settings page shows it; `None` where there is no such connector any more.
async fn state(
    engine: &Engine,
    records: &Records,
    parts: &[String],
) -> Result<Option<ConnectionState>, Error> {
    let Some(key) = ConnectionKey::of_parts(parts) else { return Ok(None) };
    let Some(loaded) = engine.resources.cache.connector(key.connector.as_str()).await? else {
        return Ok(None);
    };
    let stored = StoredConnection::load(records, &key, &loaded.connector).await?;
    Ok(Some(standing(records, &key, &loaded.connector, &stored).await?.state))
}

const fn connection_word(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::Connected => "connected",
        ConnectionState::OptedOut => "opted_out",
        ConnectionState::Unconfigured => "unconfigured",
        ConnectionState::NeedsAttention => "needs_attention",
    }
}

/// What is on disk, measured again if that was long ago, and how many seconds ago that was.
pub(super) async fn measured(engine: &Engine) -> (Vec<(&'static str, u64)>, u64) {
    let scan = &engine.resources.metrics.scan;
    let _one_at_a_time = scan.stepping.lock().await;
    disk(scan).await;
    let sweeps = lock(&scan.sweeps);
    let age_s = sweeps.disk.done_at.map_or(0, |at| at.elapsed().as_secs());
    (sweeps.disk.done.iter().map(|(kind, bytes)| (*kind, *bytes)).collect(), age_s)
}

async fn disk(scan: &Scan) {
    let is_due = lock(&scan.sweeps).disk.done_at.is_none_or(|at| at.elapsed() >= DISK_EVERY);
    if !is_due {
        return;
    }
    let directories = scan.disk.clone();
    let measured = tokio::task::spawn_blocking(move || {
        directories.iter().map(|(kind, dir)| (*kind, bytes_below(dir))).collect::<Counts>()
    });
    if let Ok(found) = measured.await {
        lock(&scan.sweeps).disk.add(found, None);
    }
}

/// Bytes of the files below a directory, of at most [`FILES_MAX`] of them. What goes away meanwhile is left out, and no
/// link is followed.
fn bytes_below(dir: &Path) -> u64 {
    let (mut bytes, mut files) = (0_u64, 0_usize);
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
            files += 1;
            if files > FILES_MAX {
                return bytes;
            }
            match entry.metadata() {
                Ok(found) if found.is_dir() => open.push(entry.path()),
                Ok(found) if found.is_file() => bytes = bytes.saturating_add(found.len()),
                _ => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_told_when_it_came_to_its_end() {
        let mut sweep = Sweep::<u8>::default();
        sweep.add(Counts::from([("a", 2)]), Some(1));
        assert!(sweep.done.is_empty() && sweep.done_at.is_none());
        sweep.add(Counts::from([("a", 1), ("b", 4)]), None);
        assert_eq!(sweep.done, Counts::from([("a", 3), ("b", 4)]));
        sweep.add(Counts::from([("a", 7)]), Some(1));
        assert_eq!(sweep.done, Counts::from([("a", 3), ("b", 4)]), "the one before is told meanwhile");
        sweep.add(Counts::new(), None);
        assert_eq!(sweep.done, Counts::from([("a", 7)]));
    }

    #[test]
    fn files_are_measured_at_every_depth_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::fs::write(dir.path().join("a/b/one"), [0; 10]).unwrap();
        std::fs::write(dir.path().join("two"), [0; 5]).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("a/loop")).unwrap();
        assert_eq!(bytes_below(dir.path()), 15);
        assert_eq!(bytes_below(&dir.path().join("none")), 0);
    }
}
