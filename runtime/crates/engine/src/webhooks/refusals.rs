//! Refused calls: counted in memory, and told of at most once a minute for each connector and code of an org.

use std::collections::HashMap;
use std::sync::Mutex;

use portcullis_core::fault::Code;
use portcullis_core::id::{ConnectorId, OrgId};
use portcullis_core::sync::lock;
use portcullis_store::{OrgRecord, RefusalsTold, StoreError, Writes};

use super::events::{Event, EventData, EventType, told, wants};
use crate::clock;
use crate::engine::Engine;

/// What is counted apart. Why bounded: each costs memory until it is told.
const COUNTED_MAX: usize = 10_000;
/// Time between two events about the same.
const EVERY_MS: u64 = 60_000;

type Key = (OrgId, ConnectorId, Code);

#[derive(Debug, Clone, Copy)]
struct Counted {
    count: u64,
    since_ms: u64,
    /// It is not told before.
    not_before_ms: u64,
}

/// Counts of refused calls that were not told.
#[derive(Default)]
pub(super) struct Refusals(Mutex<HashMap<Key, Counted>>);

impl Refusals {
    /// Counts one; returns whether it is the first of its kind.
    pub(super) fn note(&self, org: &OrgId, connector: &str, code: Code) -> bool {
        let Ok(connector) = ConnectorId::parse(connector) else { return false };
        let mut counted = lock(&self.0);
        let key = (org.clone(), connector, code);
        if let Some(known) = counted.get_mut(&key) {
            known.count = known.count.saturating_add(1);
            return false;
        }
        if counted.len() >= COUNTED_MAX {
            return false;
        }
        counted.insert(key, Counted { count: 1, since_ms: clock::now_ms(), not_before_ms: 0 });
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    fn due(&self, now_ms: u64) -> Vec<Key> {
        let counted = lock(&self.0);
        counted.iter().filter(|(_, own)| own.not_before_ms <= now_ms).map(|(key, _)| key.clone()).collect()
    }

    fn take(&self, key: &Key) -> Option<Counted> {
        lock(&self.0).remove(key)
    }

    /// Puts counts back that could not be told, beside those that came meanwhile.
    fn put_back(&self, key: Key, own: Counted, not_before_ms: u64) {
        let mut counted = lock(&self.0);
        let known = counted.entry(key).or_insert(Counted { count: 0, ..own });
        known.count = known.count.saturating_add(own.count);
        known.since_ms = known.since_ms.min(own.since_ms);
        known.not_before_ms = not_before_ms;
    }
}

/// Tells of what was counted and is due.
///
/// # Errors
/// Those of the store; what was not told is told later.
pub(super) async fn flush(engine: &Engine) -> Result<(), StoreError> {
    let resources = &engine.resources;
    let refusals = &resources.webhooks.refusals;
    for key in refusals.due(clock::now_ms()) {
        // Why before they are taken: an error leaves them for later.
        let is_wanted = wants(resources, &key.0, EventType::CallRefused).await?;
        let parts = [key.0.as_str(), key.1.as_str(), key.2.as_str()];
        let found = resources.records.get::<RefusalsTold>(&parts).await?;
        let Some(own) = refusals.take(&key).filter(|_| is_wanted) else { continue };
        let now_ms = clock::now_ms();
        // Why by the stored time: another process tells of its own.
        let next_ms = found.as_ref().map_or(0, |(last, _)| last.at_ms.saturating_add(EVERY_MS));
        // Why also a bound: a clock that was set back must not silence it for long.
        if next_ms > now_ms && next_ms <= now_ms.saturating_add(EVERY_MS) {
            refusals.put_back(key, own, next_ms);
            continue;
        }
        let data = EventData {
            org: Some(key.0.clone()),
            connector_id: Some(key.1.as_str().to_owned()),
            code: Some(key.2.as_str().to_owned()),
            count: Some(own.count),
            since: Some(clock::of_ms(own.since_ms)),
            ..EventData::default()
        };
        let event = Event::new(EventType::CallRefused, Some(key.0.clone()), data);
        let told_at = RefusalsTold { at_ms: now_ms };
        let writes = Writes::new().require_present::<OrgRecord>(&[key.0.as_str()]);
        let writes = match found {
            Some((_, commit)) => writes.replace(&parts, &told_at, commit),
            None => writes.create(&parts, &told_at),
        };
        let (writes, _) = told(resources, writes, &event).await?;
        match resources.commit(writes).await {
            Ok(_) => {}
            Err(StoreError::Conflict { key: at }) if at.starts_with("org/") => {}
            Err(StoreError::Conflict { .. }) => refusals.put_back(key, own, now_ms.saturating_add(EVERY_MS)),
            Err(error) => {
                refusals.put_back(key, own, now_ms);
                return Err(error);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_one_kind_are_one_entry_with_a_count() {
        let refusals = Refusals::default();
        let (acme, globex) = (OrgId::parse("acme").unwrap(), OrgId::parse("globex").unwrap());
        assert!(refusals.note(&acme, "crm", Code::HostNotInOrg));
        assert!(!refusals.note(&acme, "crm", Code::HostNotInOrg));
        assert!(refusals.note(&acme, "crm", Code::AddressForbidden));
        assert!(refusals.note(&globex, "crm", Code::HostNotInOrg));
        assert!(!refusals.note(&acme, "No Id", Code::HostNotInOrg));
        assert_eq!(refusals.due(clock::now_ms()).len(), 3);
        let key = (acme.clone(), ConnectorId::parse("crm").unwrap(), Code::HostNotInOrg);
        let own = refusals.take(&key).unwrap();
        assert_eq!(own.count, 2);
        refusals.note(&acme, "crm", Code::HostNotInOrg);
        refusals.put_back(key.clone(), own, u64::MAX);
        assert_eq!(refusals.due(clock::now_ms()).len(), 2);
        assert_eq!(refusals.take(&key).unwrap().count, 3);
    }
}
