//! Which orgs' logs are open: a bounded map of handles.
//!
//! A handle that is in use, that has something to sync or that is damaged is never closed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use portcullis_core::id::OrgId;

use super::log_handle::LogHandle;
use super::recovery::Checked;
use crate::ledger::error::BadRecord;
use portcullis_core::sync::lock;

/// Open files of the ledger. With sockets, below the usual limit of 1,024 descriptors.
const OPEN_ORGS_MAX: usize = 256;

pub(super) struct OpenOrgs {
    dir: PathBuf,
    segment_bytes_max: u64,
    handles: Mutex<Handles>,
}

#[derive(Default)]
struct Handles {
    tick: u64,
    by_org: HashMap<OrgId, Arc<LogHandle>>,
    /// What was walked of the chains of orgs without a handle, so that none is read as a whole twice.
    checked: HashMap<OrgId, Checked>,
}

impl OpenOrgs {
    pub(super) fn new(dir: PathBuf, segment_bytes_max: u64) -> Self {
        Self { dir, segment_bytes_max, handles: Mutex::default() }
    }

    /// The org's handle; closes an idle one if there are too many.
    pub(super) fn handle(&self, org: &OrgId) -> Arc<LogHandle> {
        let mut handles = lock(&self.handles);
        handles.tick = handles.tick.wrapping_add(1);
        let tick = handles.tick;
        if let Some(handle) = handles.by_org.get(org) {
            handle.touch(tick);
            return Arc::clone(handle);
        }
        while handles.by_org.len() >= OPEN_ORGS_MAX {
            // Held by this map only: nothing appends to it, and the sync thread is done with it.
            let idle = handles
                .by_org
                .iter()
                .filter(|(_, handle)| Arc::strong_count(handle) == 1 && handle.damage().is_none())
                .min_by_key(|(_, handle)| handle.asked.load(Ordering::Relaxed))
                .map(|(org, _)| org.clone());
            let Some(idle) = idle else {
                break;
            };
            if let Some(checked) = handles.by_org.remove(&idle).and_then(|handle| handle.checked()) {
                handles.checked.insert(idle, checked);
            }
        }
        let dir = self.dir.join(org.as_str());
        let handle = Arc::new(LogHandle::new(org.clone(), dir, self.segment_bytes_max));
        handle.touch(tick);
        if let Some(checked) = handles.checked.remove(org) {
            handle.was_checked(checked);
        }
        handles.by_org.insert(org.clone(), Arc::clone(&handle));
        handle
    }

    /// Notes what a look at an org's whole chain has found.
    pub(super) fn looked(&self, org: &OrgId, bad: Option<&BadRecord>, checked: Option<Checked>) {
        if bad.is_some() {
            return self.handle(org).looked(bad);
        }
        let mut handles = lock(&self.handles);
        let handle = handles.by_org.get(org).map(Arc::clone);
        match (handle, checked) {
            (Some(handle), _) => handle.looked(None),
            (None, Some(checked)) => drop(handles.checked.insert(org.clone(), checked)),
            (None, None) => {}
        }
    }

    /// Whether the chain of some org is damaged, as far as this process has seen.
    pub(super) fn is_damaged(&self) -> bool {
        let handles: Vec<_> = lock(&self.handles).by_org.values().cloned().collect();
        handles.iter().any(|handle| handle.damage().is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_handles_are_closed_oldest_first_and_held_ones_never() {
        let orgs = OpenOrgs::new(PathBuf::from("/nowhere"), 1);
        let org = |i: usize| OrgId::parse(&format!("org{i}")).unwrap();
        let held: Vec<Arc<LogHandle>> = (0..300).map(|i| orgs.handle(&org(i))).collect();
        assert_eq!(orgs.handles.lock().unwrap().by_org.len(), 300);
        assert!(Arc::ptr_eq(&held[7], &orgs.handle(&org(7))));
        drop(held);
        drop(orgs.handle(&org(0)));
        drop(orgs.handle(&org(1000)));
        let handles = orgs.handles.lock().unwrap();
        assert_eq!(handles.by_org.len(), OPEN_ORGS_MAX);
        assert!(handles.by_org.contains_key(&org(0)), "asked for a moment ago");
        assert!(!handles.by_org.contains_key(&org(1)));
    }
}
