//! The pool of idle upstream connections. Called by the gate and the guard; opens no connection itself.
//!
//! The key holds workspace, connector, connection, credential version, policy generation, host and port. When any of them
//! changes, the key changes, so a connection is never used under another policy than it was opened under.
//!
//! The number of connections is bounded per key, per workspace and for the process. A workspace that keeps
//! calling new hosts closes its own connections, not those of others, and leaves file descriptors for calls.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis_core::id::ConnectionName;
use portcullis_core::limits::Limits;

use crate::sender::Sender;
use portcullis_core::sync::lock;

/// What separates pooled connections: they are shared within one scope only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolScope {
    /// `org/workspace`.
    pub workspace: String,
    pub connector: String,
    /// The name of the connection; none for the default one.
    pub connection: Option<ConnectionName>,
    pub credential_version: u64,
    /// Grows with every change of connector, credential or org policy.
    pub policy_generation: u64,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
}

/// Requests of the same key may use the same connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    pub(crate) scope: Arc<PoolScope>,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A connection, with what the ledger records about it.
pub(crate) struct Connection {
    pub(crate) sender: Sender,
    /// The peer's address.
    pub(crate) address: String,
    pub(crate) tls_version: &'static str,
    /// [`Pool::trust`] when it was made.
    pub(crate) trust: u64,
}

/// The most idle connections of each kind, and how long one may be idle.
struct Bounds {
    idle: Duration,
    key: usize,
    workspace: usize,
    process: usize,
}

pub(crate) struct Pool {
    idle: Mutex<IdleConnections>,
    bounds: Bounds,
    /// Counts how often the TLS roots were replaced.
    trust: AtomicU64,
}

impl Pool {
    pub(crate) fn new(limits: &Limits) -> Self {
        let number = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        let bounds = Bounds {
            idle: Duration::from_millis(limits.pool_idle_ms),
            key: number(limits.pool_connections_per_key),
            workspace: number(limits.pool_connections_per_workspace),
            process: number(limits.pool_connections),
        };
        Self { idle: Mutex::default(), bounds, trust: AtomicU64::new(0) }
    }

    /// The most recently used connection of that key that is still open.
    pub(crate) fn take(&self, key: &PoolKey) -> Option<Connection> {
        let mut all = lock(&self.idle);
        let IdleConnections { workspaces, count } = &mut *all;
        let workspace = workspaces.get_mut(&key.scope.workspace)?;
        let list = workspace.by_key.get_mut(key)?;
        while let Some(idle) = list.pop() {
            (workspace.count, *count) = (workspace.count - 1, *count - 1);
            if idle.is_good(&self.bounds) {
                return Some(idle.connection);
            }
        }
        // Why the empty list stays until the sweep: the connection usually comes back.
        None
    }

    /// Keeps a connection for the next request of the same key. At a bound an older connection is closed for
    /// it: one of the same workspace or, when the process is full, one of a workspace with more than its
    /// share.
    pub(crate) fn put(&self, key: PoolKey, connection: Connection) {
        if connection.sender.is_closed() || connection.trust != self.trust() {
            return;
        }
        let idle = Idle { connection, since: Instant::now() };
        let closed = lock(&self.idle).put(key, idle, &self.bounds);
        // Why after the lock: closing wakes the task that drives the connection.
        drop(closed);
    }

    /// Closes connections that were idle for too long; returns how many are left. Called by the runtime's
    /// housekeeping.
    pub(crate) fn sweep(&self) -> usize {
        self.retain(|_| true)
    }

    /// Number of kept connections.
    pub(crate) fn count(&self) -> usize {
        lock(&self.idle).count
    }

    /// Which TLS roots new connections are verified by.
    pub(crate) fn trust(&self) -> u64 {
        self.trust.load(Ordering::SeqCst)
    }

    /// Keeps no connection that was verified by the TLS roots so far, nor those that are in use now.
    pub(crate) fn distrust(&self) {
        self.trust.fetch_add(1, Ordering::SeqCst);
        self.retain(|_| false);
    }

    /// Closes every idle connection of a scope that the predicate selects.
    pub(crate) fn drop_where(&self, doomed: impl Fn(&PoolScope) -> bool) {
        self.retain(|scope| !doomed(scope));
    }

    /// Keeps usable connections of the selected scopes; returns how many are left.
    fn retain(&self, keep: impl Fn(&PoolScope) -> bool) -> usize {
        let mut all = lock(&self.idle);
        all.workspaces.retain(|_, workspace| {
            workspace.by_key.retain(|key, list| {
                list.retain(|idle| idle.is_good(&self.bounds));
                !list.is_empty() && keep(&key.scope)
            });
            workspace.count = workspace.by_key.values().map(Vec::len).sum();
            workspace.count > 0
        });
        all.count = all.workspaces.values().map(|workspace| workspace.count).sum();
        all.count
    }
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Idle {
    fn is_good(&self, bounds: &Bounds) -> bool {
        self.since.elapsed() < bounds.idle && !self.connection.sender.is_closed()
    }
}

/// Idle connections by workspace (`org/workspace`).
#[derive(Default)]
struct IdleConnections {
    workspaces: HashMap<String, Workspace>,
    count: usize,
}

#[derive(Default)]
struct Workspace {
    /// Each list is ordered by age, the oldest first; the last is used first.
    by_key: HashMap<PoolKey, Vec<Idle>>,
    count: usize,
}

impl IdleConnections {
    /// Keeps a connection; returns the one to close for it, which may be the new one.
    fn put(&mut self, key: PoolKey, idle: Idle, bounds: &Bounds) -> Option<Idle> {
        let own = self.workspaces.get(&key.scope.workspace);
        let own_key = own.and_then(|workspace| workspace.by_key.get(&key)).map_or(0, Vec::len);
        if own_key >= bounds.key {
            return Some(idle);
        }
        let own = own.map_or(0, |workspace| workspace.count);
        let mut closed = None;
        if own >= bounds.workspace {
            closed = self.close_oldest(&key.scope.workspace.clone());
        } else if self.count >= bounds.process {
            let Some(loser) = self.loser(&key.scope.workspace, own, bounds) else { return Some(idle) };
            closed = self.close_oldest(&loser);
        }
        let workspace = match self.workspaces.get_mut(&key.scope.workspace) {
            Some(workspace) => workspace,
            None => self.workspaces.entry(key.scope.workspace.clone()).or_default(),
        };
        workspace.by_key.entry(key).or_default().push(idle);
        workspace.count += 1;
        self.count += 1;
        closed
    }

    /// Which workspace loses a connection when the process is full and `workspace`, which has `own` of them,
    /// adds one: itself if it has its share, otherwise any workspace with more than its share. Why any and
    /// not the one with the most: a hostile workspace could force a search through all workspaces on every
    /// call.
    fn loser(&self, workspace: &str, own: usize, bounds: &Bounds) -> Option<String> {
        let sharing = self.workspaces.len() + usize::from(!self.workspaces.contains_key(workspace));
        let share = (bounds.process / sharing).max(1);
        if own >= share {
            return Some(workspace.to_owned());
        }
        self.workspaces.iter().find(|(_, other)| other.count > share).map(|(name, _)| name.clone())
    }

    /// Removes the connection of a workspace that has been idle for longest.
    fn close_oldest(&mut self, workspace: &str) -> Option<Idle> {
        let found = self.workspaces.get_mut(workspace)?;
        let since = |list: &Vec<Idle>| list.first().map(|idle| idle.since);
        let lists = found.by_key.iter().filter_map(|(key, list)| Some((since(list)?, key)));
        let key = lists.min_by_key(|(since, _)| *since).map(|(_, key)| key.clone())?;
        let list = found.by_key.get_mut(&key)?;
        let oldest = list.remove(0);
        if list.is_empty() {
            found.by_key.remove(&key);
        }
        (found.count, self.count) = (found.count - 1, self.count - 1);
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use hyper::body::Bytes;
    use hyper_util::rt::TokioIo;
    use tokio::io::DuplexStream;

    use super::*;

    /// A pool with these bounds for a key, a workspace and the process.
    fn pool(key: u64, workspace: u64, process: u64) -> Pool {
        Pool::new(&Limits {
            pool_connections_per_key: key,
            pool_connections_per_workspace: workspace,
            pool_connections: process,
            ..Limits::default()
        })
    }

    fn key(workspace: &str, host: &str) -> PoolKey {
        let scope = PoolScope {
            workspace: workspace.to_owned(),
            connector: "c".to_owned(),
            connection: None,
            credential_version: 1,
            policy_generation: 1,
            http2: false,
        };
        PoolKey { scope: Arc::new(scope), host: host.to_owned(), port: 443 }
    }

    /// Connections whose other ends stay open; each is identified by its address.
    #[derive(Default)]
    struct FarEnds(Vec<(DuplexStream, tokio::task::JoinHandle<()>)>);

    impl FarEnds {
        async fn open(&mut self, address: &str) -> Connection {
            let (near, far) = tokio::io::duplex(64);
            let (sender, connection) =
                hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(near)).await.unwrap();
            self.0.push((far, tokio::spawn(async move { connection.await.unwrap_or_default() })));
            let sender = Sender::Http1(sender);
            Connection { sender, address: address.to_owned(), tls_version: "TLSv1.3", trust: 0 }
        }
    }

    fn taken(pool: &Pool, key: &PoolKey) -> Option<String> {
        pool.take(key).map(|connection| connection.address)
    }

    #[tokio::test]
    async fn the_most_recent_connection_of_a_key_comes_back_and_no_other_key_gets_it() {
        let (pool, mut far) = (pool(2, 9, 9), FarEnds::default());
        for address in ["1", "2", "3"] {
            pool.put(key("a", "h"), far.open(address).await);
        }
        for other in [key("b", "h"), key("a", "i")] {
            assert_eq!(taken(&pool, &other), None);
        }
        let back = [(); 3].map(|()| taken(&pool, &key("a", "h")));
        assert_eq!(back, [Some("2".to_owned()), Some("1".to_owned()), None], "two are kept for a key");
        assert_eq!(pool.sweep(), 0);
    }

    #[tokio::test]
    async fn a_workspace_that_calls_many_hosts_closes_its_own_oldest_connections() {
        let (pool, mut far) = (pool(9, 3, 100), FarEnds::default());
        pool.put(key("neighbour", "h"), far.open("n").await);
        for host in ["1", "2", "3", "4", "5"] {
            pool.put(key("a", host), far.open(host).await);
        }
        assert_eq!(pool.sweep(), 4);
        let left = ["1", "2", "3", "4", "5"].map(|host| taken(&pool, &key("a", host)).is_some());
        assert_eq!(left, [false, false, true, true, true]);
        assert_eq!(taken(&pool, &key("neighbour", "h")).as_deref(), Some("n"));
        // What was taken makes room again.
        pool.put(key("a", "6"), far.open("6").await);
        assert_eq!((taken(&pool, &key("a", "6")).is_some(), pool.sweep()), (true, 0));
    }

    #[tokio::test]
    async fn when_the_process_is_full_a_workspace_with_more_than_its_share_loses_connections() {
        let (pool, mut far) = (pool(9, 9, 4), FarEnds::default());
        for host in ["1", "2", "3", "4", "5"] {
            pool.put(key("big", host), far.open(host).await);
        }
        assert_eq!(pool.sweep(), 4, "the bound of the process");
        for address in ["s1", "s2", "s3"] {
            pool.put(key("small", "h"), far.open(address).await);
        }
        assert_eq!(pool.sweep(), 4);
        let big = ["2", "3", "4", "5"].map(|host| taken(&pool, &key("big", host)).is_some());
        assert_eq!(big, [false, false, true, true], "down to its share of two, oldest first");
        let small = [(); 3].map(|()| taken(&pool, &key("small", "h")));
        assert_eq!(small, [Some("s3".to_owned()), Some("s2".to_owned()), None]);
    }

    #[tokio::test]
    async fn more_workspaces_than_connections_are_kept_for_the_first() {
        let (pool, mut far) = (pool(9, 9, 2), FarEnds::default());
        for workspace in ["a", "b", "c"] {
            pool.put(key(workspace, "h"), far.open(workspace).await);
        }
        let kept = ["a", "b", "c"].map(|workspace| taken(&pool, &key(workspace, "h")).is_some());
        assert_eq!(kept, [true, true, false]);
    }

    #[tokio::test]
    async fn what_was_verified_by_other_roots_is_kept_no_more() {
        let (pool, mut far) = (pool(9, 9, 9), FarEnds::default());
        let in_use = far.open("in use").await;
        pool.put(key("a", "h"), far.open("idle").await);
        pool.distrust();
        pool.put(key("a", "h"), in_use);
        assert_eq!((taken(&pool, &key("a", "h")), pool.sweep()), (None, 0));
        let later = Connection { trust: pool.trust(), ..far.open("later").await };
        pool.put(key("a", "h"), later);
        assert_eq!(taken(&pool, &key("a", "h")).as_deref(), Some("later"));
    }

    #[tokio::test]
    async fn what_is_dropped_by_scope_or_was_closed_counts_no_more() {
        let (pool, mut far) = (pool(9, 9, 9), FarEnds::default());
        for workspace in ["a", "b"] {
            pool.put(key(workspace, "h"), far.open(workspace).await);
        }
        pool.drop_where(|scope| scope.workspace == "a");
        assert_eq!((taken(&pool, &key("a", "h")), pool.sweep()), (None, 1));
        for (end, driver) in far.0 {
            drop(end);
            driver.await.unwrap();
        }
        assert_eq!((taken(&pool, &key("b", "h")), pool.sweep()), (None, 0));
    }
}
