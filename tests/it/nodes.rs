//! Three nodes over one store: what one of them changes holds on all, what only one should do is done once, and a node
//! that cannot know what the others changed sends nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::limits::Limits;
use portcullis_engine::Engine;
use serde_json::{Value, json};

use portcullis_store::MemoryStore;
use portcullis_store_postgres::{PostgresOptions, PostgresStore};

use crate::support::shared_store::SharedStore;
use crate::support::{Client, Stage, Tenant, World, salesforce};

mod blind;
pub(crate) mod budgets;
pub(crate) mod changes;
mod once;

pub(crate) const KEY: &str = "sk-live-0123456789abcdef";
/// Where the Salesforce example's action goes.
pub(crate) const PATH: &str = "/v1/contacts";

/// One of the nodes.
pub(crate) struct Node {
    pub(crate) engine: Arc<Engine>,
    address: SocketAddr,
    /// The store as this node sees it.
    store: Arc<SharedStore>,
}

/// Where the records of all nodes are.
pub(crate) enum Below {
    Memory(Arc<MemoryStore>),
    /// A database that was migrated. Its nodes get no hints: they look for changes.
    Postgres(String),
}

impl Below {
    /// The records, for one more node.
    async fn open(&self) -> Arc<SharedStore> {
        SharedStore::over(match self {
            Self::Memory(records) => Arc::clone(records) as _,
            Self::Postgres(url) => {
                let options = PostgresOptions { notify: false, ..PostgresOptions::new(url.clone()) };
                Arc::new(PostgresStore::open(&options, Some(&[7; 32])).await.unwrap())
            }
        })
    }
}

/// Three nodes, and a workspace that is connected to the Salesforce example.
pub(crate) struct Nodes {
    pub(crate) world: World,
    pub(crate) acme: Tenant,
    pub(crate) all: Vec<Node>,
}

impl Nodes {
    async fn start(limits: Limits) -> Self {
        Self::of(limits, &salesforce()).await
    }

    /// The same with another connector, whose only credential is an API key.
    async fn of(limits: Limits, definition: &Value) -> Self {
        Self::on(Stage { limits, ..Stage::default() }, definition).await
    }

    /// The same on this stage.
    async fn on(stage: Stage, definition: &Value) -> Self {
        Self::over(&Below::Memory(Arc::default()), stage, definition).await
    }

    /// The same over these records.
    pub(crate) async fn over(below: &Below, stage: Stage, definition: &Value) -> Self {
        let store = below.open().await;
        let world = Stage { store: Some(Arc::clone(&store) as _), ..stage }.start().await;
        world.platform.post("/admin/connector", definition).await.is(201);
        let acme = world.tenant("acme", "main").await;
        acme.connect(definition["connector_id"].as_str().unwrap(), json!({ "api_key": KEY })).await;
        let first = Node { engine: Arc::clone(&world.engine), address: world.platform.address(), store };
        let mut all = vec![first];
        for _ in 0..2 {
            let store = below.open().await;
            let (engine, address) = world.another_life(Arc::clone(&store) as _).await;
            all.push(Node { engine, address, store });
        }
        Self { world, acme, all }
    }

    /// The platform at a node.
    pub(crate) fn platform(&self, node: usize) -> Client {
        self.world.platform.at(self.all[node].address)
    }

    /// The tenant at a node.
    pub(crate) fn acme(&self, node: usize) -> Tenant {
        self.acme.at(self.all[node].address)
    }

    /// Waits until every node has applied what is committed now.
    async fn followed(&self) {
        for node in &self.all {
            node.store.followed().await;
        }
    }

    /// Sends one request to every node again and again; returns how long it took, from this time on, until each of them
    /// answered as it must.
    async fn effective(&self, since: Instant, what: &str, ask: impl AsyncFn(usize) -> bool) -> Duration {
        for node in 0..self.all.len() {
            while !ask(node).await {
                assert!(since.elapsed() < Duration::from_secs(20), "node {node}: {what}");
            }
        }
        since.elapsed()
    }
}
