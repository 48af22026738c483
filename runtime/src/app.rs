//! What a running process holds, put together once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use portcullis_core::limits::Limits;
use portcullis_egress::Gate;
use portcullis_sandbox::{CompiledCache, Module, Sandbox};
use portcullis_store::{Ledger, LedgerSync, MasterKey, Records, RunLog, Store, Vault};

use crate::budget::Budgets;
use crate::directory::Directory;
use crate::running::Running;
use crate::tokens::TokenKeeper;
use portcullis_admission::Scheduler;

/// Everything a request may need. One for the process.
pub struct App {
    /// Limits in force.
    pub limits: Arc<Limits>,
    /// Records.
    pub records: Records,
    /// Credentials.
    pub vault: Arc<Vault>,
    /// Outbound ledger.
    pub ledger: Arc<Ledger>,
    /// Records of runs.
    pub runs: RunLog,
    /// Checked connectors and policies.
    pub directory: Directory,
    /// The sandbox.
    pub sandbox: Sandbox,
    /// The generic HTTP handler, compiled.
    pub http_handler: Module,
    /// The one way out.
    pub gate: Arc<Gate>,
    /// Tokens that are got with credentials.
    pub tokens: TokenKeeper,
    /// Client-side budgets.
    pub budgets: Budgets,
    /// Where people reach this product, without a slash at its end.
    pub public_url: String,
    /// Calls that run right now.
    pub running: Running,
    /// Who is admitted, and who computes next.
    pub scheduler: Scheduler,
    /// Requests of the API so far.
    pub requests: AtomicU64,
    /// Set when the process is asked to stop: `/readyz` fails first.
    pub draining: AtomicBool,
}

/// What differs between the product, the demo and a test: all of it data or a last system call.
pub struct AppParts {
    /// Limits in force.
    pub limits: Arc<Limits>,
    /// Where records live.
    pub store: Arc<dyn Store>,
    /// The master key.
    pub master_key: MasterKey,
    /// The one way out.
    pub gate: Arc<Gate>,
    /// How soon ledger entries reach the disk.
    pub ledger_sync: LedgerSync,
    /// Where people reach this product, such as `https://portcullis.example.com`.
    pub public_url: String,
}

/// Why a process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store or its contents.
    #[error(transparent)]
    Store(#[from] portcullis_store::StoreError),
    /// The keys.
    #[error(transparent)]
    Vault(#[from] portcullis_store::VaultError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] portcullis_store::LedgerError),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] portcullis_sandbox::LoadError),
}

impl App {
    /// Opens everything under `data_dir`.
    ///
    /// # Errors
    /// [`StartError`] naming the part that would not open and what to do.
    pub async fn open(data_dir: &Path, parts: AppParts) -> Result<Arc<Self>, StartError> {
        let records = Records::new(parts.store);
        let cache_key = parts.master_key.derive("compiled components")?;
        let vault = Arc::new(Vault::open(records.clone(), parts.master_key).await?);
        let ledger = Arc::new(Ledger::open(&data_dir.join("ledger"), parts.ledger_sync)?);
        let runs = RunLog::open(&data_dir.join("runs"))?;
        let sandbox = Sandbox::new(Arc::clone(&parts.limits))?;
        let cache = CompiledCache::new(data_dir.join("compiled"), &cache_key);
        let (http_handler, origin) = sandbox.load_cached(portcullis_connectors::HTTP_HANDLER, &cache)?;
        tracing::debug!(?origin, "the HTTP handler is loaded");
        Ok(Arc::new(Self {
            directory: Directory::new(records.clone(), Arc::clone(&parts.limits)),
            scheduler: Scheduler::new(&parts.limits),
            limits: parts.limits,
            records,
            vault,
            ledger,
            runs,
            sandbox,
            http_handler,
            gate: parts.gate,
            tokens: TokenKeeper::default(),
            budgets: Budgets::default(),
            public_url: parts.public_url.trim_end_matches('/').to_owned(),
            running: Running::default(),
            requests: AtomicU64::new(0),
            draining: AtomicBool::new(false),
        }))
    }
}
