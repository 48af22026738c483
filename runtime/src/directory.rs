//! Connectors and org policies as checked values, parsed once and kept until they change.
//!
//! Every write of a connector or a policy goes through the API of this process and calls
//! [`Directory::forget`]; a value read before the write is never kept after it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use portcullis_core::connector::Connector;
use portcullis_core::definition::StatusDef;
use portcullis_core::fault::Code;
use portcullis_core::host_pattern::HostPattern;
use portcullis_core::limits::Limits;
use portcullis_core::verdict::{AllowlistMode, OrgPolicy};
use portcullis_store::{ConnectorRecord, IntegrationSettings, Records};

use crate::problem::Problem;

/// A connector with its revision.
#[derive(Debug)]
pub struct LoadedConnector {
    /// The checked connector.
    pub connector: Connector,
    /// Revision that users see.
    pub revision: u64,
    /// Sequence of the commit that wrote it.
    pub commit: u64,
}

impl LoadedConnector {
    /// Whether anybody but the platform sees it.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        self.connector.status != StatusDef::Draft
    }
}

/// An org's policy with the sequence of the commit that wrote it; 0 when it has none.
#[derive(Debug)]
pub struct LoadedPolicy {
    /// The policy.
    pub policy: OrgPolicy,
    /// Sequence of the commit that wrote it.
    pub commit: u64,
}

#[derive(Default)]
struct Cache {
    connectors: HashMap<String, Arc<LoadedConnector>>,
    policies: HashMap<String, Arc<LoadedPolicy>>,
}

/// The cache and where it reads from.
pub struct Directory {
    records: Records,
    limits: Arc<Limits>,
    cache: RwLock<Cache>,
    // Invariant: counted up after every commit of a connector or policy, before the cache is cleared.
    generation: AtomicU64,
}

impl Directory {
    /// An empty cache over these records.
    #[must_use]
    pub fn new(records: Records, limits: Arc<Limits>) -> Self {
        Self { records, limits, cache: RwLock::new(Cache::default()), generation: AtomicU64::new(0) }
    }

    /// Forgets everything: something was written.
    pub fn forget(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        *self.cache.write().unwrap_or_else(PoisonError::into_inner) = Cache::default();
    }

    fn keep(&self, generation: u64, insert: impl FnOnce(&mut Cache)) {
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        // Why: what was read before a write must not be kept after it.
        if self.generation.load(Ordering::SeqCst) == generation {
            insert(&mut cache);
        }
    }

    /// The connector of that id, `None` when there is none.
    ///
    /// # Errors
    /// `store_unavailable`, or `internal` when a stored definition breaks today's rules.
    pub async fn connector(&self, id: &str) -> Result<Option<Arc<LoadedConnector>>, Problem> {
        let cached = self.cache.read().unwrap_or_else(PoisonError::into_inner).connectors.get(id).cloned();
        if let Some(found) = cached {
            return Ok(Some(found));
        }
        let generation = self.generation.load(Ordering::SeqCst);
        let Some((record, commit)) = self.records.get::<ConnectorRecord>(&[id]).await? else {
            return Ok(None);
        };
        let checked = Connector::parse(&record.definition, &self.limits);
        let Some(connector) = checked.connector else {
            tracing::error!(connector_id = id, errors = ?checked.errors, "a stored definition is not valid any more");
            return Err(Problem::new(
                Code::Internal,
                "the stored definition is not valid any more; upload it again",
            ));
        };
        let loaded = Arc::new(LoadedConnector { connector, revision: record.revision, commit });
        self.keep(generation, |cache| {
            cache.connectors.insert(id.to_owned(), Arc::clone(&loaded));
        });
        Ok(Some(loaded))
    }

    /// The org's policy.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub async fn policy(&self, org: &str) -> Result<Arc<LoadedPolicy>, Problem> {
        let cached = self.cache.read().unwrap_or_else(PoisonError::into_inner).policies.get(org).cloned();
        if let Some(found) = cached {
            return Ok(found);
        }
        let generation = self.generation.load(Ordering::SeqCst);
        let settings = self.records.get::<IntegrationSettings>(&[org]).await?;
        let loaded = Arc::new(match settings {
            None => LoadedPolicy { policy: OrgPolicy::Unrestricted, commit: 0 },
            Some((settings, commit)) => LoadedPolicy { policy: policy(&settings), commit },
        });
        self.keep(generation, |cache| {
            cache.policies.insert(org.to_owned(), Arc::clone(&loaded));
        });
        Ok(loaded)
    }
}

/// The stored settings as a policy. An entry that today's rules refuse matches nothing.
#[must_use]
pub fn policy(settings: &IntegrationSettings) -> OrgPolicy {
    let Some(list) = &settings.domain_allowlist else {
        return OrgPolicy::Unrestricted;
    };
    let mode = match settings.mode {
        portcullis_store::AllowlistMode::Report => AllowlistMode::Report,
        portcullis_store::AllowlistMode::Enforce => AllowlistMode::Enforce,
    };
    OrgPolicy::List {
        patterns: list.iter().filter_map(|entry| HostPattern::parse(entry).ok()).collect(),
        mode,
    }
}
