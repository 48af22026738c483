//! The product in this process: API on a real socket, store, vault, sandbox, handler, gate and ledger.
//! Replaced by constructor: the resolver, the dialer and the TLS roots.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use portcullis_api::Api;
use portcullis_connectors::HTTP_HANDLER;
use portcullis_core::limits::Limits;
use portcullis_egress::{Gate, GateParts, TlsRoots};
use portcullis_engine::api_token::{self, NewToken};
use portcullis_engine::backup::BackupPlace;
use portcullis_engine::clock::WallClock;
use portcullis_engine::modules::{ModuleParts, ModuleRules};
use portcullis_engine::nodes::node_of_host;
use portcullis_engine::{Engine, EngineParts};
use portcullis_store::{
    BACKUP_SPOOL, Backends, BackupRecipient, LedgerSync, MasterKey, MasterKeyRing, MasterKeys, MemoryStore,
    ModuleFiles, Records, Role, SledStore, Store, Vault,
};
use serde_json::{Value, json};

use super::{Answer, Client, FakeDialer, FakeDns, PUBLIC, SALESFORCE, Upstream, binary, handler_code};

/// The public URL of the product.
pub(crate) const PUBLIC_URL: &str = "https://portcullis.example.com";

/// The parts of a world that a test may replace.
pub(crate) struct Stage {
    pub(crate) limits: Limits,
    /// On disk instead of in memory.
    pub(crate) sled: bool,
    /// A store that the test made.
    pub(crate) store: Option<Arc<dyn Store>>,
    /// Another component instead of the generic handler.
    pub(crate) handler: Option<Vec<u8>>,
    /// Another third party instead of the scripted one: its address and its CA.
    pub(crate) third_party: Option<(SocketAddr, String)>,
    /// Which custom modules are taken.
    pub(crate) module_rules: ModuleRules,
    /// The clock of schedules.
    pub(crate) clock: WallClock,
    /// For whom backups are sealed.
    pub(crate) backup_recipient: Option<BackupRecipient>,
}

impl Default for Stage {
    fn default() -> Self {
        // Why few slots: each test creates its own sandbox.
        let limits = Limits { concurrent_calls: 32, ..Limits::default() };
        Self {
            limits,
            sled: false,
            store: None,
            handler: None,
            third_party: None,
            module_rules: ModuleRules::default(),
            clock: WallClock::default(),
            backup_recipient: None,
        }
    }
}

impl Stage {
    pub(crate) async fn start(mut self) -> World {
        // Why at least ten seconds: the machine may be busy with other tests.
        self.limits.queue_ms = self.limits.queue_ms.max(10_000);
        let dir = tempfile::tempdir().unwrap();
        let upstream =
            Upstream::start(&["*.salesforce.com", "api.example-saas.com", "hooks.example.com"]).await;
        let scripted = (upstream.address, upstream.ca_pem.clone());
        let (address, ca_pem) = self.third_party.unwrap_or(scripted);
        let (names, dialer) = (Arc::new(FakeDns::default()), Arc::new(FakeDialer::to(address)));
        names.tell("api.salesforce.com", &[PUBLIC]);
        let limits = Arc::new(self.limits);
        let store: Arc<dyn Store> = match self.store {
            Some(store) => store,
            None if self.sled => Arc::new(SledStore::open(&dir.path().join("store")).unwrap()),
            None => Arc::new(MemoryStore::new()),
        };
        let records = Records::new(Arc::clone(&store));
        let master_key = handler_code::master_key();
        Vault::initialise(records.clone(), master_key.clone()).await.unwrap();
        let secret = api_token::generate(Role::Platform).unwrap();
        let (_, writes) = api_token::record(&secret, NewToken::platform(None)).unwrap();
        records.commit(writes).await.unwrap();
        let http_handler = self.handler.map_or(HTTP_HANDLER.into(), Cow::Owned);
        let master_key = MasterKeyRing::from(master_key);
        let around = Around {
            limits,
            ca_pem,
            names,
            dialer,
            master_key,
            http_handler,
            module_rules: self.module_rules,
            clock: self.clock,
            backup_recipient: self.backup_recipient,
        };
        let engine = around.open(dir.path(), store).await;
        let api = Api::new(Arc::clone(&engine));
        let address = serve(&api).await;
        let platform = Client::new(address).with_token(secret);
        let (names, dialer) = (Arc::clone(&around.names), Arc::clone(&around.dialer));
        World { engine, api, upstream, names, dialer, platform, around, dir }
    }
}

/// What stays the same when another product starts on the same records.
#[derive(Clone)]
struct Around {
    limits: Arc<Limits>,
    ca_pem: String,
    names: Arc<FakeDns>,
    dialer: Arc<FakeDialer>,
    master_key: MasterKeyRing,
    http_handler: Cow<'static, [u8]>,
    module_rules: ModuleRules,
    clock: WallClock,
    backup_recipient: Option<BackupRecipient>,
}

impl Around {
    async fn open(&self, dir: &Path, store: Arc<dyn Store>) -> Arc<Engine> {
        self.engine(dir, Backends::beside(store, dir, LedgerSync::Group).unwrap()).await
    }

    async fn engine(&self, dir: &Path, backends: Backends) -> Arc<Engine> {
        let limits = Arc::clone(&self.limits);
        let gate = Gate::new(GateParts {
            resolver: Arc::clone(&self.names) as _,
            dialer: Arc::clone(&self.dialer) as _,
            tls_roots: TlsRoots::only(self.ca_pem.as_bytes()).unwrap(),
            limits: Arc::clone(&limits),
        });
        let (master_key, public_url) = (self.master_key.clone(), PUBLIC_URL.to_owned());
        let compiled_dir = dir.join("compiled");
        handler_code::lend(&compiled_dir);
        let parts = EngineParts {
            limits,
            backends,
            http_handler: self.http_handler.clone(),
            master_key,
            gate,
            compiled_dir: compiled_dir.clone(),
            modules: ModuleParts {
                bytes: Arc::new(ModuleFiles::new(dir.join("modules"))),
                compiler: binary::path(),
                rules: self.module_rules.clone(),
            },
            backup: Some(BackupPlace {
                recipient: self.backup_recipient.clone(),
                spool: dir.join(BACKUP_SPOOL),
            }),
            clock: self.clock.clone(),
            public_url,
            node: node_of_host("test").unwrap(),
        };
        let engine = Engine::open(parts).await.unwrap();
        handler_code::keep(&compiled_dir);
        engine
    }
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).unwrap();
        if path.is_dir() {
            copy_all(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

async fn serve(api: &Arc<Api>) -> SocketAddr {
    let listener = portcullis_api::serve::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(portcullis_api::serve::serve(Arc::clone(api), listener, std::future::pending()));
    address
}

/// A running product.
pub(crate) struct World {
    pub(crate) engine: Arc<Engine>,
    pub(crate) api: Arc<Api>,
    pub(crate) upstream: Upstream,
    pub(crate) names: Arc<FakeDns>,
    pub(crate) dialer: Arc<FakeDialer>,
    pub(crate) platform: Client,
    around: Around,
    dir: tempfile::TempDir,
}

/// Counts that a refused request must not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Before {
    commits: u64,
    records: u64,
    opens: u64,
    dials: usize,
    lookups: usize,
    received: usize,
}

impl World {
    /// The default world.
    pub(crate) async fn start() -> Self {
        Stage::default().start().await
    }

    /// The default world with the connector of the Salesforce example, org `acme` and workspace `main`.
    pub(crate) async fn salesforce() -> (Self, Tenant) {
        Self::salesforce_on(Stage::default()).await
    }

    /// The same on another stage.
    pub(crate) async fn salesforce_on(stage: Stage) -> (Self, Tenant) {
        let world = stage.start().await;
        world.platform.write("POST", "/admin/connector", SALESFORCE).await.is(201);
        let tenant = world.tenant("acme", "main").await;
        (world, tenant)
    }

    /// The product on a data directory that was made before, with one of its platform tokens.
    pub(crate) async fn on_directory(dir: tempfile::TempDir, data: &Path, token: &str) -> Self {
        let upstream = Upstream::start(&["*.salesforce.com"]).await;
        let names = Arc::new(FakeDns::default());
        names.tell("api.salesforce.com", &[PUBLIC]);
        let key = std::fs::read_to_string(data.join("master.key")).unwrap();
        let around = Around {
            limits: Arc::new(Limits::default()),
            ca_pem: upstream.ca_pem.clone(),
            dialer: Arc::new(FakeDialer::to(upstream.address)),
            names,
            master_key: MasterKeys::from_text(&key).unwrap().into(),
            http_handler: HTTP_HANDLER.into(),
            module_rules: ModuleRules::default(),
            clock: WallClock::default(),
            backup_recipient: None,
        };
        let backends = Backends::open_directory(data, LedgerSync::Group).unwrap();
        let engine = around.engine(data, backends).await;
        let api = Api::new(Arc::clone(&engine));
        let platform = Client::new(serve(&api).await).with_token(token.to_owned());
        let (names, dialer) = (Arc::clone(&around.names), Arc::clone(&around.dialer));
        Self { engine, api, upstream, names, dialer, platform, around, dir }
    }

    /// Adds a master key behind that of every world.
    pub(crate) async fn add_master_key(&self, key: MasterKey) {
        let keys = MasterKeys::new(handler_code::master_key()).with(key);
        self.engine.replace_master_keys(keys.into()).await.unwrap();
    }

    /// Another product on these records that has these master keys, with a new ledger.
    pub(crate) async fn life_with_keys(
        &self,
        keys: impl Into<MasterKeyRing>,
        store: Arc<dyn Store>,
    ) -> (Arc<Engine>, SocketAddr) {
        let around = Around { master_key: keys.into(), ..self.around.clone() };
        let dir = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        let engine = around.open(&dir, store).await;
        let address = serve(&Api::new(Arc::clone(&engine))).await;
        (engine, address)
    }

    /// Another product on these records, as after a restart, with a new ledger.
    pub(crate) async fn another_life(&self, store: Arc<dyn Store>) -> (Arc<Engine>, SocketAddr) {
        self.life_under(self.around.module_rules.clone(), store).await
    }

    /// The same, configured otherwise.
    pub(crate) async fn life_under(
        &self,
        module_rules: ModuleRules,
        store: Arc<dyn Store>,
    ) -> (Arc<Engine>, SocketAddr) {
        let around = Around { module_rules, ..self.around.clone() };
        let engine = around.open(&tempfile::tempdir_in(self.dir.path()).unwrap().keep(), store).await;
        let address = serve(&Api::new(Arc::clone(&engine))).await;
        (engine, address)
    }

    /// Another product on these records and on the ledger as it is now, as after a kill; runs without a record then have
    /// none in this life.
    pub(crate) async fn life_after_a_kill(&self, store: Arc<dyn Store>) -> SocketAddr {
        let dir = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        copy_all(&self.dir.path().join("ledger"), &dir.join("ledger"));
        serve(&Api::new(self.around.open(&dir, store).await)).await
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    /// A token as the API makes it.
    pub(crate) async fn token(&self, spec: &Value) -> String {
        let answer = self.platform.post("/admin/token", spec).await.is(201);
        answer.json["token"].as_str().unwrap().to_owned()
    }

    /// A workspace with a token of each role; the org is created if it does not exist.
    pub(crate) async fn tenant(&self, org: &str, workspace: &str) -> Tenant {
        let made = self.platform.post("/admin/org", &json!({ "org": org })).await;
        assert!(matches!(made.status, 201 | 409), "{}", made.text);
        let path = format!("/admin/org/{org}/workspace");
        self.platform.post(&path, &json!({ "workspace": workspace })).await.is(201);
        let org_token = self.token(&json!({ "role": "org", "org": org })).await;
        let bound = |role: &str| json!({ "role": role, "org": org, "workspace": workspace });
        let (workspace_token, run_token) =
            (self.token(&bound("workspace")).await, self.token(&bound("run")).await);
        Tenant {
            org: self.platform.with_token(org_token),
            workspace: self.platform.with_token(workspace_token),
            run: self.platform.with_token(run_token),
            org_id: org.to_owned(),
            workspace_id: workspace.to_owned(),
        }
    }

    /// The counts now.
    pub(crate) async fn before(&self) -> Before {
        let stats = self.engine.records().store().stats().await.unwrap();
        Before {
            commits: stats.seq,
            records: stats.records,
            opens: self.engine.vault().opens(),
            dials: self.dialer.dialed().len(),
            lookups: self.names.asked().len(),
            received: self.upstream.received().len(),
        }
    }

    /// Asserts that nothing was stored, looked up, dialed, opened or sent.
    pub(crate) async fn assert_untouched(&self, before: &Before) {
        assert_eq!(self.before().await, *before);
    }

    /// Asserts that no credential and no socket was opened and nothing was received. A lookup may have
    /// happened.
    pub(crate) async fn assert_nothing_left(&self, before: &Before) {
        let now = self.before().await;
        assert_eq!(
            (now.opens, now.dials, now.received),
            (before.opens, before.dials, before.received),
            "opens, dials, requests received"
        );
    }

    /// As [`Self::assert_nothing_left`], and that no name was looked up.
    pub(crate) async fn assert_nothing_looked_up(&self, before: &Before) {
        self.assert_nothing_left(before).await;
        assert_eq!(self.before().await.lookups, before.lookups, "lookups");
    }
}

/// An org, one of its workspaces, and a client of each role.
pub(crate) struct Tenant {
    pub(crate) org: Client,
    pub(crate) workspace: Client,
    pub(crate) run: Client,
    pub(crate) org_id: String,
    pub(crate) workspace_id: String,
}

impl Tenant {
    /// The same tenant at another product.
    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        Self {
            org: self.org.at(address),
            workspace: self.workspace.at(address),
            run: self.run.at(address),
            org_id: self.org_id.clone(),
            workspace_id: self.workspace_id.clone(),
        }
    }

    /// Path of the workspace's settings of a connector.
    pub(crate) fn setting(&self, connector: &str) -> String {
        format!("/workspace/{}/{}/settings/connector/{connector}", self.org_id, self.workspace_id)
    }

    /// Saves credentials.
    pub(crate) async fn connect(&self, connector: &str, config: Value) -> Answer {
        let body = json!({ "enabled": true, "config": config });
        self.workspace.put(&self.setting(connector), &body).await.is(200)
    }

    /// Calls an action.
    pub(crate) async fn call(&self, connector: &str, action: &str, input: Value) -> Answer {
        let path = format!("/run/{}/{}/connector/{connector}/{action}", self.org_id, self.workspace_id);
        self.run.post(&path, &json!({ "input": input })).await
    }

    /// Calls the action of the Salesforce example with a valid input.
    pub(crate) async fn create_contact(&self) -> Answer {
        self.call("salesforce", "create-contact", json!({ "Email": "ada@example.org" })).await
    }

    /// Creates the automation of the Salesforce example; returns its id.
    pub(crate) async fn automation(&self) -> String {
        let path = format!("/org/{}/automation", self.org_id);
        let answer = self.org.post(&path, &contact_automation()).await.is(201);
        answer.json["automation_id"].as_str().unwrap().to_owned()
    }

    /// Runs an automation with this source.
    pub(crate) async fn fire(&self, automation: &str, source: Value) -> Answer {
        let path = format!("/run/{}/{}/automation/{automation}", self.org_id, self.workspace_id);
        self.run.post(&path, &json!({ "source": source })).await
    }

    /// Sets the org's list of hosts.
    pub(crate) async fn allow(&self, list: Value, mode: &str) {
        let path = format!("/org/{}/settings/integrations", self.org_id);
        self.org.put(&path, &json!({ "domain_allowlist": list, "mode": mode })).await.is(200);
    }

    /// The org's ledger, newest first.
    pub(crate) async fn ledger(&self) -> Vec<Value> {
        let answer = self.org.get(&format!("/org/{}/outbound", self.org_id)).await.is(200);
        answer.json["data"].as_array().unwrap().clone()
    }
}

/// The automation of the Salesforce example, as the demo maps it.
pub(crate) fn contact_automation() -> Value {
    portcullis_stand_in::automation()
}
