//! Which automations an event fires: an index of each org's automations by entity and event.
//!
//! It is made when an event of the org first needs it, and kept up by every commit ([`crate::invalidation`]): what was
//! written since the last look is read again before the next one, so an event never looks through all automations
//! of its org. What is found is only where to look: an automation is fired as its record says then. What other processes
//! wrote is asked of the feed before each look.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use portcullis_core::id::{AutomationId, OrgId};
use portcullis_core::sync::lock;
use portcullis_store::{AutomationRecord, Records, StoreError};
use serde::Deserialize;
use serde_json::Value;

use crate::automations::{EventOptype, EventStage};

/// Automations in all indexes together; one takes some 200 bytes. With more, those of other orgs are dropped.
const KEPT_MAX: usize = 200_000;
/// Automations read at a time.
const READ_AT_ONCE: usize = 100;

/// What happened: an automation that is bound to the same fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Occasion {
    pub(crate) entity_name: String,
    pub(crate) event_name: String,
    pub(crate) stage: EventStage,
    pub(crate) optype: EventOptype,
}

impl Occasion {
    /// What an automation is bound to; `None` for a document that is none.
    pub(crate) fn of(document: &Value) -> Option<Self> {
        let text = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            entity_name: text("entity_name")?,
            event_name: text("event_name")?,
            stage: named(document, "event_stage")?,
            optype: named(document, "event_optype")?,
        })
    }

    fn name(&self) -> Name {
        (self.entity_name.clone(), self.event_name.clone())
    }
}

/// A member of an automation that may be left out.
fn named<'d, T: Deserialize<'d> + Default>(document: &'d Value, name: &str) -> Option<T> {
    document.get(name).map_or_else(|| Some(T::default()), |value| T::deserialize(value).ok())
}

/// Entity and event.
type Name = (String, String);

/// The indexes of all orgs.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    orgs: Mutex<HashMap<String, Arc<OrgBindings>>>,
    /// The commit up to which the changes of other processes were noted.
    followed: AtomicU64,
}

#[derive(Debug, Default)]
struct OrgBindings {
    /// Automations that were written and not read again since.
    changed: Mutex<BTreeSet<String>>,
    /// Automations in the index.
    size: AtomicUsize,
    index: tokio::sync::Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    is_built: bool,
    /// Automations that are to be read again. Why besides those that changed: a look may be given up at any wait.
    stale: BTreeSet<String>,
    by_event: HashMap<Name, BTreeMap<AutomationId, (EventStage, EventOptype)>>,
    by_id: HashMap<AutomationId, Name>,
}

impl Bindings {
    /// Notes that an automation was written or deleted.
    pub(crate) fn changed(&self, org: &str, id: &str) {
        if let Some(known) = lock(&self.orgs).get(org) {
            lock(&known.changed).insert(id.to_owned());
        }
    }

    /// Notes that the feed was followed up to a commit.
    pub(crate) fn followed(&self, seq: u64) {
        self.followed.fetch_max(seq, Ordering::SeqCst);
    }

    pub(crate) fn followed_until(&self) -> u64 {
        self.followed.load(Ordering::SeqCst)
    }

    /// Drops everything: any automation may have changed.
    pub(crate) fn forget_all(&self) {
        lock(&self.orgs).clear();
    }

    /// The automations of an org that are bound to this, in the order in which they were made, at most `most` and one
    /// more.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn bound(
        &self,
        records: &Records,
        org: &OrgId,
        occasion: &Occasion,
        most: usize,
    ) -> Result<Vec<AutomationId>, StoreError> {
        // Why before anything is read: what changes from here on is noted.
        let known = Arc::clone(lock(&self.orgs).entry(org.as_str().to_owned()).or_default());
        let mut index = known.index.lock().await;
        let was_built = index.is_built;
        if !was_built {
            index.build(records, org).await?;
        }
        index.catch_up(records, org, &known.changed).await?;
        known.size.store(index.by_id.len(), Ordering::Relaxed);
        if !was_built {
            self.trim(org.as_str());
        }
        let bound = index.by_event.get(&occasion.name()).into_iter().flatten();
        let fitting = bound.filter(|(_, when)| **when == (occasion.stage, occasion.optype));
        Ok(fitting.map(|(id, _)| id.clone()).take(most.saturating_add(1)).collect())
    }

    /// Drops the indexes of other orgs if there are too many automations in all.
    fn trim(&self, kept: &str) {
        let mut orgs = lock(&self.orgs);
        let sizes = orgs.values().map(|known| known.size.load(Ordering::Relaxed).max(1));
        if sizes.fold(0, usize::saturating_add) > KEPT_MAX {
            orgs.retain(|org, _| org == kept);
        }
    }
}

impl Index {
    async fn build(&mut self, records: &Records, org: &OrgId) -> Result<(), StoreError> {
        *self = Self::default();
        let mut after: Option<String> = None;
        loop {
            let page =
                records.list::<AutomationRecord>(&[org.as_str()], after.as_deref(), READ_AT_ONCE).await?;
            let Some((last, _, _)) = page.last() else { break };
            after = Some(last.clone());
            page.iter().for_each(|(_, record, _)| self.put(record));
        }
        self.is_built = true;
        Ok(())
    }

    /// Reads again what was written since.
    async fn catch_up(
        &mut self,
        records: &Records,
        org: &OrgId,
        changed: &Mutex<BTreeSet<String>>,
    ) -> Result<(), StoreError> {
        loop {
            self.stale.append(&mut lock(changed));
            let Some(id) = self.stale.first().cloned() else { return Ok(()) };
            let found = records.get_shared::<AutomationRecord>(&[org.as_str(), &id]).await?;
            if let Ok(known) = AutomationId::parse(&id) {
                self.remove(&known);
            }
            if let Some((record, _)) = found {
                self.put(&record);
            }
            self.stale.remove(&id);
        }
    }

    fn put(&mut self, record: &AutomationRecord) {
        let Some(occasion) = Occasion::of(&record.definition) else { return };
        let when = (occasion.stage, occasion.optype);
        let name = occasion.name();
        self.by_event.entry(name.clone()).or_default().insert(record.automation_id.clone(), when);
        self.by_id.insert(record.automation_id.clone(), name);
    }

    fn remove(&mut self, id: &AutomationId) {
        let Some(name) = self.by_id.remove(id) else { return };
        if let Some(bound) = self.by_event.get_mut(&name) {
            bound.remove(id);
            if bound.is_empty() {
                self.by_event.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
