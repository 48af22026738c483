//! What this process knows of connections' health, so that a success of a healthy one reads and writes nothing.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use portcullis_core::sync::lock;
use portcullis_store::{Change, ConnectionHealth, Document as _, Key};

use super::row::WRITTEN_EVERY;
use crate::connection::ConnectionKey;

/// Connections that are remembered; a few hundred bytes each. Beyond that all are forgotten, and read again.
const KNOWN_MAX: usize = 65_536;

/// What is known of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It is healthy, and a success was written less than a minute ago.
    Fresh,
    /// It is healthy.
    Clean,
    /// It must be read.
    Nothing,
}

struct Entry {
    revision: u64,
    /// When a success was last written.
    written: Option<Instant>,
}

/// Healthy connections.
#[derive(Default)]
pub(crate) struct HealthNotes(Mutex<HashMap<ConnectionKey, Entry>>);

impl HealthNotes {
    pub(super) fn known(&self, key: &ConnectionKey, revision: u64) -> Known {
        let every = Duration::try_from(WRITTEN_EVERY).unwrap_or_default();
        match lock(&self.0).get(key).filter(|entry| entry.revision == revision) {
            Some(Entry { written: Some(at), .. }) if at.elapsed() < every => Known::Fresh,
            Some(_) => Known::Clean,
            None => Known::Nothing,
        }
    }

    /// Notes that a success is written.
    pub(super) fn wrote(&self, key: &ConnectionKey, revision: u64) {
        self.keep(key, Entry { revision, written: Some(Instant::now()) });
    }

    /// Notes what was read or written.
    pub(super) fn read(&self, key: &ConnectionKey, revision: u64, health: &ConnectionHealth) {
        if health.refusals > 0 || health.attention.is_some() {
            return self.forget(key);
        }
        let mut known = lock(&self.0);
        if let Some(entry) = known.get_mut(key).filter(|entry| entry.revision == revision) {
            entry.written.get_or_insert_with(Instant::now);
            return;
        }
        drop(known);
        self.wrote(key, revision);
    }

    fn keep(&self, key: &ConnectionKey, entry: Entry) {
        let mut known = lock(&self.0);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(key.clone(), entry);
    }

    pub(super) fn forget(&self, key: &ConnectionKey) {
        lock(&self.0).remove(key);
    }

    /// Forgets connections of which another process may have written something.
    pub(crate) fn changed(&self, changes: &[Change]) {
        for change in changes {
            let Some((ConnectionHealth::KIND, parts)) = Key::parse(&change.key) else { continue };
            if let Some(key) = ConnectionKey::of_parts(&parts) {
                self.forget(&key);
            }
        }
    }

    /// Forgets all.
    pub(crate) fn forget_all(&self) {
        lock(&self.0).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(workspace: &str) -> ConnectionKey {
        ConnectionKey::of_parts(&["acme", workspace, "crm"]).unwrap()
    }

    #[test]
    fn a_healthy_connection_is_known_until_it_changes() {
        let notes = HealthNotes::default();
        assert_eq!(notes.known(&key("main"), 1), Known::Nothing);
        notes.read(&key("main"), 1, &ConnectionHealth::default());
        assert_eq!(notes.known(&key("main"), 1), Known::Fresh);
        assert_eq!(notes.known(&key("main"), 2), Known::Nothing, "another credential");
        assert_eq!(notes.known(&key("side"), 1), Known::Nothing);
        notes.read(&key("main"), 1, &ConnectionHealth { refusals: 1, ..ConnectionHealth::default() });
        assert_eq!(notes.known(&key("main"), 1), Known::Nothing);
        notes.wrote(&key("main"), 1);
        let change = |key: &str| Change { seq: 1, key: key.to_owned(), deleted: false };
        let others = ["connection_health/acme/side/crm", "connection_health/acme/main/crm/sales"];
        notes.changed(&[change(others[0]), change(others[1]), change("setting/acme/main/crm")]);
        assert_eq!(notes.known(&key("main"), 1), Known::Fresh);
        notes.changed(&[change("connection_health/acme/main/crm")]);
        assert_eq!(notes.known(&key("main"), 1), Known::Nothing);
    }
}
