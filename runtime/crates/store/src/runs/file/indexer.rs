//! The indexer: a thread that makes the index of each file as soon as that is closed, so that lists find it made.
//!
//! At the start it looks at what earlier processes left. What it cannot read it leaves to the next list, which says
//! why. Started by the backend.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

use portcullis_core::id::{OrgId, WorkspaceId};

use super::chain::Place;
use super::latest::Latest;
use super::listing::Spent;
use super::log::Log;
use super::reading::Look;
use crate::head::HEADS;

/// What the thread needs.
pub(super) struct Indexer {
    pub(super) dir: PathBuf,
    pub(super) segment_bytes: u64,
    pub(super) latest: Arc<Latest>,
    pub(super) stopping: Arc<AtomicBool>,
    /// Logs of which a file was closed.
    pub(super) rolled: Receiver<Arc<Log>>,
}

impl Indexer {
    /// The thread's main loop; it ends with its sender.
    pub(super) fn run(self) {
        for org in orgs(&self.dir) {
            for workspace in workspaces(&self.dir, &org) {
                let place = Place { org: org.clone(), workspace };
                self.index(&Log::new(&self.dir, place, self.segment_bytes));
            }
        }
        while let Ok(log) = self.rolled.recv() {
            self.index(&log);
        }
    }

    fn index(&self, log: &Log) {
        while !self.stopping.load(Ordering::Relaxed) {
            let mut spent = Spent::default();
            let looked =
                Look::knowing(log, &self.latest).and_then(|look| self.latest.before_each(&look, &mut spent));
            if let Err(fault) = looked {
                let error = fault.into_error();
                tracing::debug!(%error, "a file of runs could not be indexed");
                return;
            }
            if !spent.is_enough() {
                return;
            }
        }
    }
}

/// Orgs with runs below `dir`: those with a directory, and those whose directory is missing.
pub(super) fn orgs(dir: &Path) -> BTreeSet<OrgId> {
    names(&[dir.to_owned(), dir.join(HEADS)]).filter_map(|name| OrgId::parse(&name).ok()).collect()
}

/// Workspaces of an org with runs, in the same way.
pub(super) fn workspaces(dir: &Path, org: &OrgId) -> BTreeSet<WorkspaceId> {
    let dirs = [dir.join(org.as_str()), dir.join(HEADS).join(org.as_str())];
    names(&dirs).filter_map(|name| WorkspaceId::parse(&name).ok()).collect()
}

fn names(dirs: &[PathBuf]) -> impl Iterator<Item = String> {
    let entries = dirs.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}
