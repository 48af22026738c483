//! Rotation of the master key: a key is promoted by one commit, and what others wrap is then wrapped with it, a page at a
//! time, each record by compare-and-set.
//!
//! Wrapping anew changes no key that anything is sealed under, so a call notices nothing of it. A rotation keeps no place:
//! whoever begins again passes over what is done. Called by the engine's worker and by `portcullis key rotate`.

use std::collections::BTreeMap;
use std::pin::Pin;

use portcullis_core::id::{OrgId, WorkspaceId};

use super::check::{self, KEYS_MAX, KeyCheckRecord};
use super::kek::KeyId;
use super::ring::{KeyMark, KeyRingRecord, Wrapping};
use super::scope_key::{self, ScopeKeyRecord};
use super::stored_key::{self, StoredKeyRecord};
use super::workspace_key::{self, WorkspaceKeyRecord};
use super::{Vault, VaultError, own_key, scope_secret};
use crate::error::StoreError;
use crate::records::{Document, Records, Writes};
use crate::webhooks::Webhooks;

/// Records read at a time while they are counted.
const PAGE: usize = 500;

/// A boxed result, because the kinds are walked as one.
type Rewrapped<'a, T> = Pin<Box<dyn Future<Output = Result<T, VaultError>> + Send + 'a>>;

/// A kind of record with keys in it that a master key wraps.
trait WrappedKeys: Document {
    /// Ids of the master keys, one for each key that is wrapped.
    fn masters(&self) -> Vec<&str>;

    /// The same keys, wrapped anew. `rest` is the record's key after its kind: what it is bound to, whatever it says.
    fn rewrapped<'a>(&'a self, rest: &'a str, wrapping: &'a Wrapping) -> Rewrapped<'a, Self>;
}

impl WrappedKeys for WorkspaceKeyRecord {
    fn masters(&self) -> Vec<&str> {
        vec![self.master_key_id.as_str()]
    }

    fn rewrapped<'a>(&'a self, rest: &'a str, wrapping: &'a Wrapping) -> Rewrapped<'a, Self> {
        Box::pin(async move {
            let bound = rest.split_once('/').and_then(|(org, workspace)| {
                Some((OrgId::parse(org).ok()?, WorkspaceId::parse(workspace).ok()?))
            });
            let (org, workspace) = bound.ok_or(VaultError::Refused)?;
            workspace_key::rewrap(self, &org, &workspace, wrapping).await
        })
    }
}

impl WrappedKeys for ScopeKeyRecord {
    fn masters(&self) -> Vec<&str> {
        vec![self.key.master_key_id.as_str()]
    }

    fn rewrapped<'a>(&'a self, rest: &'a str, wrapping: &'a Wrapping) -> Rewrapped<'a, Self> {
        Box::pin(async move {
            let key = scope_secret::rewrap(&self.key, &scope_key::binding(rest), wrapping).await?;
            Ok(Self { key, ..self.clone() })
        })
    }
}

impl WrappedKeys for StoredKeyRecord {
    fn masters(&self) -> Vec<&str> {
        vec![self.key.master_key_id.as_str()]
    }

    fn rewrapped<'a>(&'a self, rest: &'a str, wrapping: &'a Wrapping) -> Rewrapped<'a, Self> {
        Box::pin(async move {
            Ok(Self { key: scope_secret::rewrap(&self.key, &stored_key::binding(rest), wrapping).await? })
        })
    }
}

impl WrappedKeys for Webhooks {
    fn masters(&self) -> Vec<&str> {
        let of_endpoint =
            self.endpoints.iter().flat_map(|one| std::iter::once(&one.secret).chain(&one.old_secret));
        of_endpoint.map(|secret| secret.sealed.master_key_id.as_str()).collect()
    }

    fn rewrapped<'a>(&'a self, rest: &'a str, wrapping: &'a Wrapping) -> Rewrapped<'a, Self> {
        Box::pin(async move {
            let mut hooks = self.clone();
            for endpoint in &mut hooks.endpoints {
                for secret in std::iter::once(&mut endpoint.secret).chain(&mut endpoint.old_secret) {
                    let binding = crate::webhooks::secret_binding(rest, &secret.name);
                    let sealed = scope_secret::rewrap(&secret.sealed, &binding, wrapping).await?;
                    secret.sealed = sealed;
                }
            }
            Ok(hooks)
        })
    }
}

/// The kinds, in the order in which they are walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    WorkspaceKeys,
    ScopeKeys,
    StoredKeys,
    Webhooks,
    OwnKey,
}

impl Kind {
    const fn next(self) -> Option<Self> {
        match self {
            Self::WorkspaceKeys => Some(Self::ScopeKeys),
            Self::ScopeKeys => Some(Self::StoredKeys),
            Self::StoredKeys => Some(Self::Webhooks),
            Self::Webhooks => Some(Self::OwnKey),
            Self::OwnKey => None,
        }
    }
}

/// How far one walk over everything that is wrapped came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewrapPlace {
    kind: Kind,
    after: Option<String>,
}

impl RewrapPlace {
    /// Before everything.
    #[must_use]
    pub const fn start() -> Self {
        Self { kind: Kind::WorkspaceKeys, after: None }
    }
}

/// What one step of a walk came to.
#[derive(Debug)]
pub struct RewrapStep {
    /// Keys that are wrapped with the current master key now, and were not before.
    pub rewrapped: u64,
    /// Records that others changed meanwhile: another walk has to look at them.
    pub changed: u64,
    /// The first record that could not be wrapped anew, and why.
    pub failed: Option<(String, VaultError)>,
    /// Where to go on; none after the last.
    pub next: Option<RewrapPlace>,
}

/// How many keys each master key wraps, by its id.
pub(super) async fn wrapped_by(records: &Records) -> Result<BTreeMap<String, u64>, VaultError> {
    let mut counts = BTreeMap::new();
    count::<WorkspaceKeyRecord>(records, &mut counts).await?;
    count::<ScopeKeyRecord>(records, &mut counts).await?;
    count::<StoredKeyRecord>(records, &mut counts).await?;
    count::<Webhooks>(records, &mut counts).await?;
    if let Some(master) = own_key::master(records).await? {
        let count = counts.entry(master).or_default();
        *count = count.saturating_add(1);
    }
    Ok(counts)
}

async fn count<T: WrappedKeys>(
    records: &Records,
    counts: &mut BTreeMap<String, u64>,
) -> Result<(), VaultError> {
    let mut after: Option<String> = None;
    loop {
        let page = records.list::<T>(&[], after.as_deref(), PAGE).await?;
        for (_, document, _) in &page {
            for master in document.masters() {
                let count = counts.entry(master.to_owned()).or_default();
                *count = count.saturating_add(1);
            }
        }
        match page.last() {
            Some((rest, _, _)) if page.len() == PAGE => after = Some(rest.clone()),
            _ => return Ok(()),
        }
    }
}

impl Vault {
    /// How many keys each master key wraps, by its id: of workspaces, of orgs and of the platform, of webhooks, and those
    /// for other purposes.
    ///
    /// # Errors
    /// Store errors.
    pub async fn wrapped_by(&self) -> Result<BTreeMap<String, u64>, VaultError> {
        wrapped_by(&self.records).await
    }

    /// The writes that make a key the one that wraps; `None` if it is. Checks of keys that wrap nothing and that this
    /// process does not have go with it.
    ///
    /// # Errors
    /// [`VaultError::MasterKeyMissing`] if this process does not have it, [`VaultError::Provider`], and store errors.
    pub async fn promotion(&self, id: &KeyId, now_ms: u64) -> Result<Option<Writes>, VaultError> {
        let Wrapping { provider, id: before, mark } = self.wrapping().await?;
        let held = provider.key_ids();
        if !held.contains(id) {
            return Err(VaultError::MasterKeyMissing { key_id: id.to_string() });
        }
        if before == *id {
            return Ok(None);
        }
        let ring = KeyRingRecord { current: id.to_string(), promoted_ms: Some(now_ms) };
        let check = check::make_check(&*provider, id).await?;
        let mut writes = mark.condition(Writes::new()).put(&KeyRingRecord::PARTS, &ring);
        writes = writes.put(&[id.as_str()], &check);
        let wrapped = self.wrapped_by().await?;
        for (part, _, _) in self.records.list::<KeyCheckRecord>(&[], None, KEYS_MAX).await? {
            let is_held = held.iter().any(|own| own.as_str() == part);
            if !is_held && part != before.as_str() && !wrapped.contains_key(&part) {
                writes = writes.delete::<KeyCheckRecord>(&[&part]);
            }
        }
        Ok(Some(writes))
    }

    /// Wraps with the current master key what is wrapped with others, among the next `limit` records from a place on.
    ///
    /// # Errors
    /// Store errors. What cannot be wrapped anew is in the step.
    pub async fn rewrap(&self, place: RewrapPlace, limit: usize) -> Result<RewrapStep, VaultError> {
        match place.kind {
            Kind::WorkspaceKeys => self.rewrap_of::<WorkspaceKeyRecord>(place, limit).await,
            Kind::ScopeKeys => self.rewrap_of::<ScopeKeyRecord>(place, limit).await,
            Kind::StoredKeys => self.rewrap_of::<StoredKeyRecord>(place, limit).await,
            Kind::Webhooks => self.rewrap_of::<Webhooks>(place, limit).await,
            Kind::OwnKey => {
                let rewrapped = u64::from(self.rewrap_own_key().await?);
                Ok(RewrapStep { rewrapped, changed: 0, failed: None, next: None })
            }
        }
    }

    async fn rewrap_of<T: WrappedKeys>(
        &self,
        place: RewrapPlace,
        limit: usize,
    ) -> Result<RewrapStep, VaultError> {
        let limit = limit.clamp(1, PAGE);
        let page = self.records.list::<T>(&[], place.after.as_deref(), limit).await?;
        let next = match page.last() {
            Some((rest, _, _)) if page.len() == limit => {
                Some(RewrapPlace { kind: place.kind, after: Some(rest.clone()) })
            }
            _ => place.kind.next().map(|kind| RewrapPlace { kind, after: None }),
        };
        let mut step = RewrapStep { rewrapped: 0, changed: 0, failed: None, next };
        let mut wrapping = self.wrapping().await?;
        for (rest, document, revision) in page {
            let count =
                document.masters().iter().filter(|master| **master != wrapping.id.as_str()).count() as u64;
            if count == 0 {
                continue;
            }
            match self.rewrap_one(&rest, &document, revision, &wrapping).await {
                Ok(()) => step.rewrapped = step.rewrapped.saturating_add(count),
                Err(VaultError::Store(error @ StoreError::Conflict { .. })) => {
                    step.changed = step.changed.saturating_add(1);
                    if KeyMark::is_over(&error) {
                        wrapping = self.wrapping().await?;
                    }
                }
                Err(error @ VaultError::Store(_)) => return Err(error),
                Err(error) => {
                    step.failed.get_or_insert((format!("{}/{rest}", T::KIND), error));
                }
            }
        }
        Ok(step)
    }

    async fn rewrap_one<T: WrappedKeys>(
        &self,
        rest: &str,
        document: &T,
        revision: u64,
        wrapping: &Wrapping,
    ) -> Result<(), VaultError> {
        let anew = document.rewrapped(rest, wrapping).await?;
        let parts: Vec<&str> = rest.split('/').collect();
        let writes = wrapping.mark.condition(Writes::new().replace(&parts, &anew, revision));
        self.records.commit(writes).await?;
        Ok(())
    }
}
