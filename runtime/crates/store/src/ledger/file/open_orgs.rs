//! Which orgs' logs are open: a bounded map of handles.
//!
//! A handle that is in use, or that has something to sync, is never closed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use portcullis_core::id::OrgId;

use super::log_handle::LogHandle;
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
                .filter(|(_, handle)| Arc::strong_count(handle) == 1)
                .min_by_key(|(_, handle)| handle.asked.load(Ordering::Relaxed))
                .map(|(org, _)| org.clone());
            let Some(idle) = idle else {
                break;
            };
            handles.by_org.remove(&idle);
        }
        let dir = self.dir.join(org.as_str());
        let handle = Arc::new(LogHandle::new(org.clone(), dir, self.segment_bytes_max));
        handle.touch(tick);
        handles.by_org.insert(org.clone(), Arc::clone(&handle));
        handle
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
