//! The engine of a process, assembled once.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis_admission::Scheduler;
use portcullis_core::fault::Code;
use portcullis_core::id::NodeId;
use portcullis_core::limits::Limits;
use portcullis_egress::Gate;
use portcullis_sandbox::{CompiledCache, Module, Sandbox};
use portcullis_store::{Backends, MasterKeyRing, Records, Runs, Vault};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::api_token::TokenUses;
use crate::audit::Walks;
use crate::audit_log::AuditDesk;
use crate::automations::CompiledAutomations;
use crate::backup::{BackupDesk, BackupPlace};
use crate::breaker::Breakers;
use crate::cache::Cache;
use crate::call::active_calls::ActiveCalls;
use crate::clock::WallClock;
use crate::connection::HealthNotes;
use crate::events::Events;
use crate::growth::GrowthDesk;
use crate::idempotency::Idempotency;
use crate::invalidation::{self, follow};
use crate::jobs::JobDesk;
use crate::master_keys::{self, KeyDesk};
use crate::metrics::{ADMISSION, Metrics};
use crate::modules::{ModuleParts, Modules};
use crate::nodes::{self, Freshness};
use crate::oauth::renewal::Renewal;
use crate::org_limits::OrgUse;
use crate::rate_limit::RateLimits;
use crate::resources::Resources;
use crate::webhooks::WebhookDesk;
use crate::workers::Workers;

/// Which parts of the storage can be used, as far as the last attempts showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageHealth {
    /// Records can be read and written.
    pub store: bool,
    /// The changes of other nodes are known here; always where one process has the store alone.
    pub changes: bool,
    /// What was acknowledged is known outside the store, where that is configured.
    pub anchor: bool,
    /// The outbound ledgers can be written.
    pub ledger: bool,
    /// The records of runs can be written.
    pub runs: bool,
    /// No org's ledger was found to be damaged. One that is concerns that org alone.
    pub ledger_intact: bool,
    /// This process has the master key that wraps what is new.
    pub master_key: bool,
}

/// Everything that the use cases need. Cheap to share behind an `Arc`.
pub struct Engine {
    pub(crate) resources: Arc<Resources>,
    pub(crate) runs: Arc<dyn Runs>,
    /// Accepted runs.
    pub(crate) jobs: Arc<JobDesk>,
    /// What orgs use of their limits.
    pub(crate) org_use: OrgUse,
    /// Who goes through whole ledgers.
    pub(crate) walks: Walks,
    /// Callers' keys.
    pub(crate) idempotency: Idempotency,
    pub(crate) sandbox: Sandbox,
    /// The generic HTTP handler, compiled.
    pub(crate) http_handler: Module,
    /// Custom modules.
    pub(crate) modules: Modules,
    pub(crate) renewal: Renewal,
    pub(crate) rate_limits: RateLimits,
    pub(crate) backups: BackupDesk,
    pub(crate) growth: GrowthDesk,
    /// Master keys, and the nodes that have them.
    pub(crate) keys: Arc<KeyDesk>,
    scheduler: Scheduler,
    calls: TaskTracker,
}

/// What differs between the product, the demo and a test: data, or a last system call.
pub struct EngineParts {
    pub limits: Arc<Limits>,
    /// Storage of records, ledger and runs.
    pub backends: Backends,
    /// The component that serves every HTTP connector.
    pub http_handler: Cow<'static, [u8]>,
    /// The master keys that this process has.
    pub master_key: MasterKeyRing,
    /// The only way out.
    pub gate: Arc<Gate>,
    /// Directory in which compiled components are kept between starts.
    pub compiled_dir: PathBuf,
    /// Custom modules.
    pub modules: ModuleParts,
    /// Where backups are made, and for whom; none where the storage is not in a directory.
    pub backup: Option<BackupPlace>,
    /// The clock of schedules.
    pub clock: WallClock,
    /// Public URL of this product, such as `https://portcullis.example.com`.
    pub public_url: String,
    /// The name of this node.
    pub node: NodeId,
}

/// Why an engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store or its content.
    #[error(transparent)]
    Store(#[from] portcullis_store::StoreError),
    /// The keys.
    #[error(transparent)]
    Vault(#[from] portcullis_store::VaultError),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] portcullis_sandbox::LoadError),
    /// The operating system gives no threads.
    #[error("the worker threads cannot start (limits.worker_threads): {0}")]
    Workers(#[from] std::io::Error),
}

/// Longest read of the store by `/readyz`. A store that takes longer is not ready.
const READY_READ: Duration = Duration::from_secs(2);

impl Engine {
    /// Opens everything. If other processes share the store, it follows their changes from here on, so it must be
    /// called inside an async runtime.
    ///
    /// # Errors
    /// [`StartError`] naming the part that did not open and the remedy.
    pub async fn open(parts: EngineParts) -> Result<Arc<Self>, StartError> {
        let Backends { store, ledger, runs, jobs, outbox } = parts.backends;
        let records = Records::new(store);
        let vault = Arc::new(Vault::open(records.clone(), parts.master_key).await?);
        let cache_key = vault.key_for("compiled components").await?;
        let audit = AuditDesk::open(records.clone(), &vault, &parts.limits).await?;
        let sandbox = Sandbox::new(Arc::clone(&parts.limits))?;
        let compiled = CompiledCache::new(parts.compiled_dir.clone(), &cache_key);
        let compiled_modules = CompiledCache::new(parts.compiled_dir.join("modules"), &cache_key);
        let directory = |kind, dir: Option<&Path>| dir.map(|dir| (kind, dir.to_owned()));
        let disk = [
            directory("ledger", ledger.directory()),
            directory("runs", runs.directory()),
            directory("compiled", Some(&parts.compiled_dir)),
            directory("modules", parts.modules.bytes.directory()),
        ];
        let disk = disk.into_iter().flatten().collect();
        let directories = [ledger.directory(), runs.directory(), parts.modules.bytes.directory()];
        let backups = BackupDesk::new(parts.backup, directories);
        let modules = Modules::open(parts.modules, &parts.limits, compiled_modules)?;
        let (http_handler, origin) = sandbox.load_cached(&parts.http_handler, &compiled)?;
        tracing::debug!(?origin, "the HTTP handler is loaded");
        let scheduler = Scheduler::new(&parts.limits);
        let workers = Workers::start(&parts.limits)?;
        let metrics = Arc::new(Metrics::new(&parts.limits, disk));
        let holder = nodes::holder(&parts.node);
        let resources = Arc::new(Resources {
            freshness: Arc::new(freshness_of(&records, &parts.limits)),
            cache: Cache::new(records.clone(), Arc::clone(&parts.limits)),
            automations: CompiledAutomations::default(),
            events: Events::new(holder.clone()),
            breakers: Arc::new(Breakers::new(&parts.limits)),
            limits: parts.limits,
            records,
            vault,
            ledger,
            gate: parts.gate,
            active_calls: ActiveCalls::default(),
            open_ledgers: TaskTracker::new(),
            workers,
            clock: parts.clock,
            schedules_changed: Notify::new(),
            metrics,
            health: HealthNotes::default(),
            webhooks: Arc::new(WebhookDesk::new(holder.clone())),
            audit,
            token_uses: TokenUses::default(),
            public_url: parts.public_url.trim_end_matches('/').to_owned(),
            node: parts.node,
            holder,
        });
        if resources.records.store().is_shared() {
            follow::start(&resources).await?;
        }
        let engine = Arc::new(Self {
            renewal: Renewal::new(Arc::clone(&resources)),
            rate_limits: RateLimits::new(&resources),
            jobs: Arc::new(JobDesk::new(jobs, outbox, &resources.limits)),
            org_use: OrgUse::default(),
            walks: Walks::default(),
            idempotency: Idempotency::new(resources.holder.clone()),
            keys: Arc::new(KeyDesk::new(resources.holder.clone())),
            resources,
            runs,
            sandbox,
            http_handler,
            modules,
            backups,
            growth: GrowthDesk::default(),
            scheduler,
            calls: TaskTracker::new(),
        });
        master_keys::join(&engine).await?;
        Ok(engine)
    }

    /// The name of this node.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.resources.node
    }

    /// Limits in force.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.resources.limits
    }

    /// Admission and scheduling of calls.
    #[must_use]
    pub const fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// Counts a call that found no place.
    pub fn note_no_place(&self, code: Code) {
        self.resources.metrics.refused(ADMISSION, code);
    }

    /// The threads for what takes long.
    #[must_use]
    pub fn workers(&self) -> &Workers {
        &self.resources.workers
    }

    /// The circuit breakers of this process.
    #[must_use]
    pub fn breakers(&self) -> &Breakers {
        &self.resources.breakers
    }

    /// The stored records, for access from outside: tests and commands.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.resources.records
    }

    /// The vault, for access from outside.
    #[must_use]
    pub fn vault(&self) -> &Vault {
        &self.resources.vault
    }

    /// Applies changes that were made to the records without this engine: everything is read again, and every running
    /// call is checked again.
    pub async fn records_changed(&self) {
        invalidation::apply_all(&self.resources).await;
    }

    /// Public URL of this product, without a slash at its end.
    #[must_use]
    pub fn public_url(&self) -> &str {
        &self.resources.public_url
    }

    /// Which parts of the storage can be used now.
    pub async fn storage_health(&self) -> StorageHealth {
        let Resources { records, ledger, .. } = &*self.resources;
        let store = records.store();
        StorageHealth {
            changes: !self.resources.freshness.is_lost(),
            store: store.is_well() && timeout(READY_READ, store.stats()).await.is_ok_and(|read| read.is_ok()),
            anchor: store.is_anchored(),
            ledger: ledger.is_well(),
            runs: self.runs.is_well(),
            ledger_intact: !ledger.is_damaged(),
            master_key: self.keys.has_current(),
        }
    }

    /// Whether this node has ledgers or runs in files of its own, which no other one looks after.
    #[must_use]
    pub fn has_own_files(&self) -> bool {
        self.resources.ledger.directory().is_some() || self.runs.directory().is_some()
    }

    /// A number that is another one after every change that may forbid a call.
    #[must_use]
    pub fn state_version(&self) -> u64 {
        self.resources.cache.version()
    }

    /// Runs a call in a task of its own, which [`Self::all_calls_ended`] waits for.
    pub fn spawn_call<F>(&self, call: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.calls.spawn(call)
    }

    /// Waits until every call of [`Self::spawn_call`] has ended, also those whose callers are gone.
    pub async fn all_calls_ended(&self) {
        self.calls.close();
        self.calls.wait().await;
    }

    /// Number of running calls.
    #[must_use]
    pub fn active_calls(&self) -> usize {
        self.resources.active_calls.count()
    }

    /// Ends every call, and every one that starts later: the process stops.
    pub fn end_all_calls(&self, reason: Code) {
        self.resources.active_calls.end_all(reason);
    }

    /// Waits for the closing ledger records of dropped calls. No call may start any more.
    pub async fn all_recorded(&self) {
        self.resources.workers.settled().await;
        self.resources.open_ledgers.close();
        self.resources.open_ledgers.wait().await;
    }

    /// Closes upstream connections that were idle for too long; returns how many are left.
    #[must_use]
    pub fn sweep_connections(&self) -> usize {
        self.resources.gate.sweep()
    }
}

fn freshness_of(records: &Records, limits: &Limits) -> Freshness {
    if records.store().is_shared() {
        Freshness::followed(Duration::from_millis(limits.changes_unread_ms))
    } else {
        Freshness::alone()
    }
}
