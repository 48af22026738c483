//! Idle upstream connections, kept apart by everything that could make sharing them wrong.
//!
//! The key holds workspace, connector, credential version, policy generation, host and port: a
//! change of any of them is another key, so a connection never outlives what it was opened under.
//!
//! How many are kept is bounded for a key, for a workspace and for the process: a workspace that asks
//! ever new hosts closes its own connections, not its neighbours', and the calls of all find descriptors.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis_core::limits::Limits;

use crate::lock::lock;
use crate::sender::Sender;

/// What keeps pooled connections and TLS sessions apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolScope {
    /// `org/workspace`.
    pub workspace: String,
    /// Connector id.
    pub connector: String,
    /// Version of the credential.
    pub credential_version: u64,
    /// Counts up with every change of connector, credential or org policy.
    pub policy_generation: u64,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
}

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

/// How many are kept, and for how long.
struct Bounds {
    idle: Duration,
    key: usize,
    workspace: usize,
    process: usize,
}

/// All idle connections.
pub(crate) struct Pool {
    idle: Mutex<IdleConnections>,
    bounds: Bounds,
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
        Self { idle: Mutex::default(), bounds }
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
        // Why the empty list stays until it is swept: the connection mostly comes back.
        None
    }

    /// Keeps a connection for the next request of the same key. Beyond a bound an older one is closed for
    /// it: the workspace's own, or for want of room in the process that of a workspace with more than its share.
    pub(crate) fn put(&self, key: PoolKey, connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        let idle = Idle { connection, since: Instant::now() };
        let closed = lock(&self.idle).put(key, idle, &self.bounds);
        // After the lock: to close it wakes the task that drives it.
        drop(closed);
    }

    /// Closes what has been idle for too long; how many are left. Called by the runtime's housekeeping.
    pub(crate) fn sweep(&self) -> usize {
        self.retain(|_| true)
    }

    /// Closes every connection of a connector or workspace that a predicate names.
    pub(crate) fn drop_where(&self, doomed: impl Fn(&PoolScope) -> bool) {
        self.retain(|scope| !doomed(scope));
    }

    /// Keeps what is good and of these scopes; how many are left.
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
    /// Each list by age: the last is used first, so the first is its oldest.
    by_key: HashMap<PoolKey, Vec<Idle>>,
    count: usize,
}

impl IdleConnections {
    /// Keeps one; what is closed for it, perhaps itself.
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

    /// Whose connection is closed when the process keeps as many as it may and a workspace with `own` of them
    /// brings one more: its own if it has its share, otherwise that of any that has more. Why any and not the
    /// one with most: to look at all of them for each call is what a hostile workspace could make us do.
    fn loser(&self, workspace: &str, own: usize, bounds: &Bounds) -> Option<String> {
        let sharing = self.workspaces.len() + usize::from(!self.workspaces.contains_key(workspace));
        let share = (bounds.process / sharing).max(1);
        if own >= share {
            return Some(workspace.to_owned());
        }
        self.workspaces.iter().find(|(_, other)| other.count > share).map(|(name, _)| name.clone())
    }

    /// Takes the connection of a workspace out that has been idle for longest.
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
            credential_version: 1,
            policy_generation: 1,
            http2: false,
        };
        PoolKey { scope: Arc::new(scope), host: host.to_owned(), port: 443 }
    }

    /// Connections whose other ends are held open, each known by its address.
    #[derive(Default)]
    struct Line(Vec<(DuplexStream, tokio::task::JoinHandle<()>)>);

    impl Line {
        async fn open(&mut self, address: &str) -> Connection {
            let (near, far) = tokio::io::duplex(64);
            let (sender, connection) =
                hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(near)).await.unwrap();
            self.0.push((far, tokio::spawn(async move { connection.await.unwrap_or_default() })));
            Connection { sender: Sender::Http1(sender), address: address.to_owned(), tls_version: "TLSv1.3" }
        }
    }

    fn taken(pool: &Pool, key: &PoolKey) -> Option<String> {
        pool.take(key).map(|connection| connection.address)
    }

    #[tokio::test]
    async fn the_most_recent_connection_of_a_key_comes_back_and_no_other_key_gets_it() {
        let (pool, mut line) = (pool(2, 9, 9), Line::default());
        for address in ["1", "2", "3"] {
            pool.put(key("a", "h"), line.open(address).await);
        }
        for other in [key("b", "h"), key("a", "i")] {
            assert_eq!(taken(&pool, &other), None);
        }
        let back = [(); 3].map(|()| taken(&pool, &key("a", "h")));
        assert_eq!(back, [Some("2".to_owned()), Some("1".to_owned()), None], "two are kept for a key");
        assert_eq!(pool.sweep(), 0);
    }

    #[tokio::test]
    async fn a_workspace_that_asks_ever_new_hosts_closes_its_own_oldest() {
        let (pool, mut line) = (pool(9, 3, 100), Line::default());
        pool.put(key("neighbour", "h"), line.open("n").await);
        for host in ["1", "2", "3", "4", "5"] {
            pool.put(key("a", host), line.open(host).await);
        }
        assert_eq!(pool.sweep(), 4);
        let left = ["1", "2", "3", "4", "5"].map(|host| taken(&pool, &key("a", host)).is_some());
        assert_eq!(left, [false, false, true, true, true]);
        assert_eq!(taken(&pool, &key("neighbour", "h")).as_deref(), Some("n"));
        // What was taken makes room again.
        pool.put(key("a", "6"), line.open("6").await);
        assert_eq!((taken(&pool, &key("a", "6")).is_some(), pool.sweep()), (true, 0));
    }

    #[tokio::test]
    async fn when_the_process_is_full_whoever_has_more_than_its_share_gives_way() {
        let (pool, mut line) = (pool(9, 9, 4), Line::default());
        for host in ["1", "2", "3", "4", "5"] {
            pool.put(key("big", host), line.open(host).await);
        }
        assert_eq!(pool.sweep(), 4, "the bound of the process");
        for address in ["s1", "s2", "s3"] {
            pool.put(key("small", "h"), line.open(address).await);
        }
        assert_eq!(pool.sweep(), 4);
        let big = ["2", "3", "4", "5"].map(|host| taken(&pool, &key("big", host)).is_some());
        assert_eq!(big, [false, false, true, true], "down to its share of two, oldest first");
        let small = [(); 3].map(|()| taken(&pool, &key("small", "h")));
        assert_eq!(small, [Some("s3".to_owned()), Some("s2".to_owned()), None]);
    }

    #[tokio::test]
    async fn more_workspaces_than_connections_are_kept_for_the_first() {
        let (pool, mut line) = (pool(9, 9, 2), Line::default());
        for workspace in ["a", "b", "c"] {
            pool.put(key(workspace, "h"), line.open(workspace).await);
        }
        let kept = ["a", "b", "c"].map(|workspace| taken(&pool, &key(workspace, "h")).is_some());
        assert_eq!(kept, [true, true, false]);
    }

    #[tokio::test]
    async fn what_is_dropped_by_scope_or_was_closed_counts_no_more() {
        let (pool, mut line) = (pool(9, 9, 9), Line::default());
        for workspace in ["a", "b"] {
            pool.put(key(workspace, "h"), line.open(workspace).await);
        }
        pool.drop_where(|scope| scope.workspace == "a");
        assert_eq!((taken(&pool, &key("a", "h")), pool.sweep()), (None, 1));
        for (far, driver) in line.0 {
            drop(far);
            driver.await.unwrap();
        }
        assert_eq!((taken(&pool, &key("b", "h")), pool.sweep()), (None, 0));
    }
}
