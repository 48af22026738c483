//! Idle upstream connections, kept apart by everything that could make sharing them wrong.
//!
//! The key holds workspace, connector, credential version, policy generation, host and port: a
//! change of any of them is another key, so a connection never outlives what it was opened under.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::guard::PoolScope;
use crate::sender::Sender;

/// What an idle connection may be used for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    pub(crate) scope: Arc<PoolScope>,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A connection and what the ledger says about it.
pub(crate) struct Connection {
    pub(crate) sender: Sender,
    /// The peer's, as text.
    pub(crate) address: String,
    pub(crate) tls_version: &'static str,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// All idle connections.
pub(crate) struct Pool {
    idle: Mutex<HashMap<PoolKey, Vec<Idle>>>,
    idle_max: Duration,
    per_key_max: usize,
}

impl Pool {
    pub(crate) fn new(idle_max: Duration, per_key_max: usize) -> Self {
        Self { idle: Mutex::new(HashMap::new()), idle_max, per_key_max }
    }

    /// The most recently used connection of that key that is still open.
    pub(crate) fn take(&self, key: &PoolKey) -> Option<Connection> {
        let mut map = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let list = map.get_mut(key)?;
        let now = Instant::now();
        while let Some(idle) = list.pop() {
            if now.duration_since(idle.since) < self.idle_max && !idle.connection.sender.is_closed() {
                return Some(idle.connection);
            }
        }
        // Why the empty list stays until it is swept: the connection mostly comes back.
        None
    }

    /// Keeps a connection for the next request of the same key.
    pub(crate) fn put(&self, key: PoolKey, connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        let mut map = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let list = map.entry(key).or_default();
        if list.len() < self.per_key_max {
            list.push(Idle { connection, since: Instant::now() });
        }
    }

    /// Closes what has been idle for too long. Called by the runtime's housekeeping.
    pub(crate) fn sweep(&self) -> usize {
        let mut map = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        map.retain(|_, list| {
            list.retain(|idle| {
                now.duration_since(idle.since) < self.idle_max && !idle.connection.sender.is_closed()
            });
            !list.is_empty()
        });
        map.values().map(Vec::len).sum()
    }

    /// Closes every connection of a connector or workspace that a predicate names.
    pub(crate) fn drop_where(&self, doomed: impl Fn(&PoolScope) -> bool) {
        let mut map = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        map.retain(|key, _| !doomed(&key.scope));
    }
}
