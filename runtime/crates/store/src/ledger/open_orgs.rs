//! Which orgs' logs are open: a bounded map of slots.
//!
//! A slot somebody holds, or that has something to sync, is never closed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use portcullis_core::id::OrgId;

use super::slot::Slot;
use crate::lock::lock;

/// Open files of the ledger. Under the usual limit of 1,024 descriptors with room for sockets.
const OPEN_ORGS_MAX: usize = 256;

pub(super) struct OpenOrgs {
    dir: PathBuf,
    segment_bytes_max: u64,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    tick: u64,
    by_org: HashMap<OrgId, Arc<Slot>>,
}

impl OpenOrgs {
    pub(super) fn new(dir: PathBuf, segment_bytes_max: u64) -> Self {
        Self { dir, segment_bytes_max, slots: Mutex::default() }
    }

    /// The org's slot, making room for it when there is none.
    pub(super) fn slot(&self, org: &OrgId) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        slots.tick = slots.tick.wrapping_add(1);
        let tick = slots.tick;
        if let Some(slot) = slots.by_org.get(org) {
            slot.touch(tick);
            return Arc::clone(slot);
        }
        while slots.by_org.len() >= OPEN_ORGS_MAX {
            // Held by this map alone: nobody appends to it, and the sync thread is done with it.
            let idle = slots
                .by_org
                .iter()
                .filter(|(_, slot)| Arc::strong_count(slot) == 1)
                .min_by_key(|(_, slot)| slot.asked.load(Ordering::Relaxed))
                .map(|(org, _)| org.clone());
            let Some(idle) = idle else {
                break;
            };
            slots.by_org.remove(&idle);
        }
        let dir = self.dir.join(org.as_str());
        let slot = Arc::new(Slot::new(org.clone(), dir, self.segment_bytes_max));
        slot.touch(tick);
        slots.by_org.insert(org.clone(), Arc::clone(&slot));
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_slots_are_closed_oldest_first_and_held_ones_never() {
        let orgs = OpenOrgs::new(PathBuf::from("/nowhere"), 1);
        let org = |i: usize| OrgId::parse(&format!("org{i}")).unwrap();
        let held: Vec<Arc<Slot>> = (0..300).map(|i| orgs.slot(&org(i))).collect();
        assert_eq!(orgs.slots.lock().unwrap().by_org.len(), 300);
        assert!(Arc::ptr_eq(&held[7], &orgs.slot(&org(7))));
        drop(held);
        drop(orgs.slot(&org(0)));
        drop(orgs.slot(&org(1000)));
        let slots = orgs.slots.lock().unwrap();
        assert_eq!(slots.by_org.len(), OPEN_ORGS_MAX);
        assert!(slots.by_org.contains_key(&org(0)), "asked for a moment ago");
        assert!(!slots.by_org.contains_key(&org(1)));
    }
}
