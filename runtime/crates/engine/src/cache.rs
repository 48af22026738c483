//! Connectors and org policies as checked values, parsed once and cached until they change.
//!
//! [`crate::invalidation`] drops what a change made outdated; a value that was read before is never cached after it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use portcullis_core::connector::Connector;
use portcullis_core::definition::StatusDef;
use portcullis_core::fault::Code;
use portcullis_core::host_pattern::HostPattern;
use portcullis_core::id::ConnectorId;
use portcullis_core::limits::Limits;
use portcullis_core::offload;
use portcullis_core::org_rules::OrgRules;
use portcullis_core::sync::{read, write};
use portcullis_core::verdict::OrgPolicy;
use portcullis_core::violation::nearest;
use portcullis_store::{ConnectorRecord, IntegrationSettings, Records};

use crate::error::Error;

/// A connector with its revision.
#[derive(Debug)]
pub struct LoadedConnector {
    pub connector: Connector,
    /// Revision that users see.
    pub revision: u64,
    /// Sequence of the commit that wrote it.
    pub commit: u64,
}

impl LoadedConnector {
    /// Whether callers other than the platform see it.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        self.connector.status != StatusDef::Draft
    }
}

/// Connectors with which an unknown id is compared: a typing error is told, a list of thousands is not read for it.
const COMPARED_MAX: usize = 200;

/// A sentence about an id that nothing has, with the one that was probably meant. A text that cannot be an id is not
/// repeated: it may be a secret in the wrong place.
pub(crate) fn unknown(start: &str, id: &str, near: Option<&str>) -> String {
    let hint = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
    match ConnectorId::parse(id) {
        Ok(id) => format!("{start} {:?}{hint}", id.as_str()),
        Err(_) => format!("{start} of that id{hint}"),
    }
}

/// An org's policy with the sequence of the commit that wrote it; 0 if it has none.
#[derive(Debug)]
pub(crate) struct LoadedPolicy {
    pub(crate) policy: OrgPolicy,
    /// Which connectors it uses, and what their actions may do.
    pub(crate) rules: OrgRules,
    /// Sequence of the commit that wrote it.
    pub(crate) commit: u64,
}

/// Earlier forms of actions that are remembered: few people look back at a time.
const EARLIER_MAX: usize = 16;

#[derive(Default)]
struct Kept {
    connectors: HashMap<String, Arc<LoadedConnector>>,
    /// Connectors with an action of an earlier revision; id and action.
    earlier: Vec<(String, Arc<LoadedConnector>)>,
    policies: HashMap<String, Arc<LoadedPolicy>>,
}

/// The cache and the records that it reads.
pub(crate) struct Cache {
    records: Records,
    limits: Arc<Limits>,
    kept: RwLock<Kept>,
    // Invariant: incremented after every commit that may change what a call may do, before anything is dropped.
    version: AtomicU64,
}

impl Cache {
    /// An empty cache over these records.
    #[must_use]
    pub(crate) fn new(records: Records, limits: Arc<Limits>) -> Self {
        Self { records, limits, kept: RwLock::new(Kept::default()), version: AtomicU64::new(0) }
    }

    /// A number that differs after every change of a connector, a policy or a connection.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// Drops everything, also values being read now: anything may have changed.
    pub(crate) fn forget_all(&self) {
        self.advance();
        *write(&self.kept) = Kept::default();
    }

    /// Drops a connector.
    pub(crate) fn forget_connector(&self, id: &str) {
        self.advance();
        let mut cache = write(&self.kept);
        cache.connectors.remove(id);
        cache.earlier.retain(|(_, made)| made.connector.id.as_str() != id);
    }

    /// Drops an org's policy.
    pub(crate) fn forget_policy(&self, org: &str) {
        self.advance();
        write(&self.kept).policies.remove(org);
    }

    /// Counts a change that may concern a call and nothing cached here.
    pub(crate) fn advance(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    fn keep(&self, version: u64, insert: impl FnOnce(&mut Kept)) {
        let mut cache = write(&self.kept);
        // Why: a value read before a write must not be cached after it.
        if self.version() == version {
            insert(&mut cache);
        }
    }

    fn kept(&self, id: &str) -> Option<Arc<LoadedConnector>> {
        read(&self.kept).connectors.get(id).cloned()
    }

    /// The name for people of the connector with that id.
    ///
    /// # Errors
    /// As for [`Self::connector`].
    pub(crate) async fn connector_name(&self, id: &str) -> Result<Option<String>, Error> {
        Ok(self.connector(id).await?.map(|loaded| loaded.connector.display_name.clone()))
    }

    /// The connector with that id, `None` if there is none.
    ///
    /// # Errors
    /// `store_unavailable`, or `internal` if a stored definition breaks the current rules.
    pub(crate) async fn connector(&self, id: &str) -> Result<Option<Arc<LoadedConnector>>, Error> {
        if let Some(found) = self.kept(id) {
            return Ok(Some(found));
        }
        let version = self.version();
        // Why: callers and automations may send any text, and a text that is not an id names no connector.
        if ConnectorId::parse(id).is_err() {
            return Ok(None);
        }
        let Some((record, commit)) = self.records.get::<ConnectorRecord>(&[id]).await? else {
            return Ok(None);
        };
        offload::to_worker().await;
        // Why again: of the calls that found nothing a moment ago, the first one has checked it.
        if let Some(found) = self.kept(id).filter(|found| found.commit == commit) {
            return Ok(Some(found));
        }
        let checked = Connector::parse(&record.definition, &self.limits);
        let Some(mut connector) = checked.connector else {
            tracing::error!(connector_id = id, errors = ?checked.errors, "a stored definition is not valid any more");
            return Err(Error::new(
                Code::Internal,
                "the stored definition is no longer valid; upload it again",
            ));
        };
        // A deletion that was cut off leaves it switched off, whatever the definition says.
        connector.enabled &= record.enabled;
        let loaded = Arc::new(LoadedConnector { connector, revision: record.revision, commit });
        self.keep(version, |cache| {
            cache.connectors.insert(id.to_owned(), Arc::clone(&loaded));
        });
        Ok(Some(loaded))
    }

    /// The connector with that id, unless only the platform may see it.
    ///
    /// # Errors
    /// `connector_not_found`, and those of [`Self::connector`].
    pub(crate) async fn visible_connector(&self, id: &str) -> Result<Arc<LoadedConnector>, Error> {
        let loaded = self.connector(id).await?.filter(|loaded| loaded.is_visible());
        match loaded {
            Some(loaded) => Ok(loaded),
            None => Err(self.no_connector(id, false).await?),
        }
    }

    /// The record of the connector with that id, for the platform.
    ///
    /// # Errors
    /// `connector_not_found`, `store_unavailable`.
    pub(crate) async fn record(&self, id: &str) -> Result<(ConnectorRecord, u64), Error> {
        if ConnectorId::parse(id).is_ok()
            && let Some(found) = self.records.get::<ConnectorRecord>(&[id]).await?
        {
            return Ok(found);
        }
        Err(self.no_connector(id, true).await?)
    }

    /// That there is no connector of this id, with the one that was probably meant. `drafts` says whether those are named
    /// that only the platform sees.
    ///
    /// # Errors
    /// Those of [`Self::connector`].
    pub(crate) async fn no_connector(&self, id: &str, drafts: bool) -> Result<Error, Error> {
        let ids = self.records.keys::<ConnectorRecord>(&[], None, COMPARED_MAX).await?;
        let ids = ids.iter().filter_map(|parts| parts.first()).map(String::as_str);
        let near = nearest(id, ids.filter(|known| *known != id));
        let is_shown = match near {
            Some(near) if !drafts => self.connector(near).await?.is_some_and(|loaded| loaded.is_visible()),
            _ => drafts,
        };
        let near = near.filter(|_| is_shown);
        Ok(Error::new(Code::ConnectorNotFound, unknown("there is no connector", id, near)))
    }

    /// A connector whose action is that of an earlier revision, if it was made of the connector as it is now.
    pub(crate) fn earlier(
        &self,
        now: &LoadedConnector,
        revision: u64,
        action: &str,
    ) -> Option<Arc<LoadedConnector>> {
        let cache = read(&self.kept);
        let is_it = |(of, made): &&(String, Arc<LoadedConnector>)| {
            // Why the commit: nothing else has to drop one that was made of what is not in force any more.
            of == action
                && made.connector.id == now.connector.id
                && (made.revision, made.commit) == (revision, now.commit)
        };
        cache.earlier.iter().find(is_it).map(|(_, made)| Arc::clone(made))
    }

    /// Remembers one that was made.
    pub(crate) fn keep_earlier(&self, action: &str, made: &Arc<LoadedConnector>) {
        let mut cache = write(&self.kept);
        if cache.earlier.len() >= EARLIER_MAX {
            cache.earlier.clear();
        }
        cache.earlier.push((action.to_owned(), Arc::clone(made)));
    }

    /// The org's policy.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub(crate) async fn policy(&self, org: &str) -> Result<Arc<LoadedPolicy>, Error> {
        let cached = read(&self.kept).policies.get(org).cloned();
        if let Some(found) = cached {
            return Ok(found);
        }
        let version = self.version();
        let settings = self.records.get::<IntegrationSettings>(&[org]).await?;
        let loaded = Arc::new(match settings {
            None => LoadedPolicy { policy: OrgPolicy::Unrestricted, rules: OrgRules::default(), commit: 0 },
            Some((settings, commit)) => {
                let policy = policy(&settings);
                let rules = OrgRules {
                    connectors: settings.connectors.unwrap_or_default(),
                    actions: settings.action_rules,
                };
                LoadedPolicy { policy, rules, commit }
            }
        });
        self.keep(version, |cache| {
            cache.policies.insert(org.to_owned(), Arc::clone(&loaded));
        });
        Ok(loaded)
    }
}

/// The stored settings as a policy. An entry that the current rules refuse matches nothing.
#[must_use]
pub(crate) fn policy(settings: &IntegrationSettings) -> OrgPolicy {
    let Some(list) = &settings.domain_allowlist else {
        return OrgPolicy::Unrestricted;
    };
    OrgPolicy::List {
        patterns: list.iter().filter_map(|entry| HostPattern::parse(entry).ok()).collect(),
        mode: settings.mode,
    }
}
