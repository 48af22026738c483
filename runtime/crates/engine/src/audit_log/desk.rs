//! Adds the record of a change to the commit that makes it: both are stored, or neither is.
//!
//! The bytes before are part of the commit's conditions, so what a record says was there is what was replaced. The head of
//! the chain is one, too, so no two commits continue the same record. Whoever meets another's commit reads again and tries
//! again; within a process, those of one chain wait for each other instead.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use portcullis_core::hex;
use portcullis_core::id::OrgId;
use portcullis_core::limits::Limits;
use portcullis_store::{
    AuditActor, AuditChain, AuditCut, AuditEvent, AuditScope, Change, Document as _, OrgRecord, Precondition,
    Records, StoreError, Vault, VaultError, Versioned, Writes, trim_audit,
};
use tokio::sync::{Mutex, MutexGuard};

use super::logins::FailedLogins;
use super::subjects::{Changed, Subject, is_change, kind_of, subject};
use super::{OFFLINE, crowded};
use crate::clock::now_ms;

/// How often a commit is tried while others write to the same chain.
const ATTEMPTS_MAX: usize = 32;
/// Locks that chains share: enough that two orgs seldom meet.
const LOCKS: usize = 64;
/// Names of one record; of further ones it has none.
const TARGETS_MAX: usize = 20;
/// Records beyond its limit that a chain has until the next sweep; with more, whoever adds one drops the oldest. Why not at
/// once: a cut looks at all keys of the chain.
const EXCESS_MAX: u64 = 1000;
/// What the key of digests is for.
const PURPOSE: &str = "audit digests";

/// Who does what by a request.
#[derive(Debug, Clone)]
pub(crate) struct Acting {
    pub(crate) operation: &'static str,
    /// Kinds of records that it is recorded by.
    pub(crate) kinds: &'static [&'static str],
    pub(crate) actor: AuditActor,
    /// Where the request came from.
    pub(crate) address: Option<IpAddr>,
    pub(crate) request_id: Option<Arc<str>>,
}

/// What writes the audit log of a process.
pub(crate) struct AuditDesk {
    records: Records,
    /// Why a key: a digest without one would let a reader check a guess of what was stored.
    digests: hmac::Key,
    /// Records that a chain may have.
    records_max: u64,
    login_records_max: u64,
    locks: Vec<Mutex<()>>,
    pub(super) logins: FailedLogins,
}

/// A record that a commit changes, as it is before and after.
struct Stored {
    key: String,
    before: Option<Versioned>,
    after: Option<Vec<u8>>,
}

impl Stored {
    fn changed(&self) -> Changed<'_> {
        let before = self.before.as_ref().map(|before| before.value.as_slice());
        Changed { key: &self.key, before, after: self.after.as_deref() }
    }
}

impl AuditDesk {
    /// The desk of these records. Its key stays the same when the master key is another one: else digests of before could
    /// not be compared with those of after.
    ///
    /// # Errors
    /// Those of [`Vault::key_for`].
    pub(crate) async fn open(records: Records, vault: &Vault, limits: &Limits) -> Result<Self, VaultError> {
        Ok(Self::new(records, &*vault.key_for(PURPOSE).await?, limits))
    }

    fn new(records: Records, digest_key: &[u8; 32], limits: &Limits) -> Self {
        Self {
            records,
            digests: hmac::Key::new(HMAC_SHA256, digest_key),
            records_max: limits.audit_records,
            login_records_max: limits.audit_login_records,
            locks: (0..LOCKS).map(|_| Mutex::default()).collect(),
            logins: FailedLogins::default(),
        }
    }

    /// Commits writes with the record of what they change of these kinds. Returns the commit, its changes, and the kinds
    /// that were recorded.
    ///
    /// # Errors
    /// Those of [`Records::commit`]; nothing is written then. [`StoreError::Unavailable`] where others wrote to the chain
    /// each time.
    pub(crate) async fn commit(
        &self,
        writes: Writes,
        acting: &Acting,
        kinds: &[&'static str],
    ) -> Result<(u64, Vec<Change>, Vec<&'static str>), StoreError> {
        let concerns = |key: &str| kinds.contains(&kind_of(key));
        let keys: BTreeSet<String> =
            writes.written().map(|(key, _)| key).filter(|key| concerns(key)).map(str::to_owned).collect();
        if keys.is_empty() {
            return self.plain(writes).await;
        }
        for _ in 0..ATTEMPTS_MAX {
            let Some(copy) = writes.copy() else { return self.plain(writes).await };
            let stored = self.read(&copy, &keys).await?;
            let Some((_, scope)) = self.event(acting, &stored) else {
                // Why under conditions: what is not there now may be made before the commit, which would delete it unrecorded.
                let (copy, own) = conditioned(copy, &stored);
                match self.plain(copy).await {
                    Err(StoreError::Conflict { key }) if own.contains(&key) => continue,
                    done => return done,
                }
            };
            let _turn = self.turn(&scope).await;
            // Why again: who had the turn before may have changed it.
            let stored = self.read(&copy, &keys).await?;
            let Some((event, now)) = self.event(acting, &stored) else { continue };
            if now != scope {
                continue;
            }
            if let Some(key) = refused(&copy, &stored) {
                return Err(StoreError::Conflict { key });
            }
            let begins = stored.iter().any(is_new_org);
            let (copy, mut own) = conditioned(copy, &stored);
            let chain = AuditChain::load(&self.records, scope).await?;
            own.insert(chain.head_key()?);
            let copy = chain.append(copy, vec![event], begins)?;
            match self.records.commit_changes(copy).await {
                Err(StoreError::Conflict { key }) if own.contains(&key) || is_of_chain(&key) => {}
                Err(error) => return Err(error),
                Ok((sequence, changes)) => {
                    self.shorten(&chain).await;
                    let is_done = |kind: &&&'static str| stored.iter().any(|one| kind_of(&one.key) == **kind);
                    let recorded = kinds.iter().filter(is_done).copied().collect();
                    return Ok((sequence, changes, recorded));
                }
            }
        }
        Err(crowded())
    }

    async fn plain(&self, writes: Writes) -> Result<(u64, Vec<Change>, Vec<&'static str>), StoreError> {
        let (sequence, changes) = self.records.commit_changes(writes).await?;
        Ok((sequence, changes, Vec::new()))
    }

    /// Writes the record of what is about to be done, by itself: for what changes nothing, or does so in many steps.
    ///
    /// # Errors
    /// Those of [`Records::commit`]; it must not be done then.
    pub(crate) async fn note(
        &self,
        acting: &Acting,
        org: Option<OrgId>,
        target: String,
    ) -> Result<(), StoreError> {
        let Subject { scope, target } = Subject::new(org, target);
        self.add(scope, vec![new_event(acting, target)]).await
    }

    /// Adds records to a chain.
    pub(super) async fn add(&self, scope: AuditScope, events: Vec<AuditEvent>) -> Result<(), StoreError> {
        let _turn = self.turn(&scope).await;
        for _ in 0..ATTEMPTS_MAX {
            let chain = AuditChain::load(&self.records, scope.clone()).await?;
            let head = chain.head_key()?;
            match self.records.commit(chain.append(Writes::new(), events.clone(), false)?).await {
                Err(StoreError::Conflict { key }) if key == head || is_of_chain(&key) => {}
                Err(error) => return Err(error),
                Ok(_) => {
                    self.shorten(&chain).await;
                    return Ok(());
                }
            }
        }
        Err(crowded())
    }

    /// Drops the oldest records of a chain that has far more than it may: the next sweep may be an hour away.
    async fn shorten(&self, chain: &AuditChain) {
        let entries = match chain.scope() {
            AuditScope::Logins => self.login_records_max,
            AuditScope::Org(_) | AuditScope::Platform => self.records_max,
        };
        if chain.kept() <= entries.saturating_add(EXCESS_MAX) {
            return;
        }
        let cut = AuditCut { before_ms: 0, entries };
        // Why no error: the change is made, and the sweep tries again.
        if let Err(error) = trim_audit(&self.records, chain.scope(), cut).await {
            tracing::error!(chain = chain.scope().part(), %error, "old audit records stay");
        }
    }

    /// Waits for the others of this process that write to the same chain.
    async fn turn(&self, scope: &AuditScope) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        scope.hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % LOCKS as u64).unwrap_or_default();
        Some(self.locks.get(place)?.lock().await)
    }

    /// What the writes change of these keys.
    async fn read(&self, writes: &Writes, keys: &BTreeSet<String>) -> Result<Vec<Stored>, StoreError> {
        let mut stored = Vec::with_capacity(keys.len());
        for key in keys {
            let before = self.records.store().get(key).await?;
            let after = writes.written().filter(|(own, _)| own == key).last().and_then(|(_, value)| value);
            stored.push(Stored { key: key.clone(), before, after: after.map(<[u8]>::to_vec) });
        }
        Ok(stored)
    }

    /// The record of a change, and whose it is; `None` if nothing changes.
    fn event(&self, acting: &Acting, stored: &[Stored]) -> Option<(AuditEvent, AuditScope)> {
        let changes: Vec<&Stored> = stored.iter().filter(|one| is_change(one.changed())).collect();
        let found: Vec<Subject> = changes.iter().filter_map(|one| subject(one.changed())).collect();
        let first = changes.first()?;
        // Why not passed over: a change that cannot be named is still recorded, with its kind alone.
        let unnamed = || Subject::new(None, kind_of(&first.key).to_owned());
        let scope = found.first().map_or_else(|| unnamed().scope, |subject| subject.scope.clone());
        let mut targets: Vec<&str> = found.iter().map(|subject| subject.target.as_str()).collect();
        targets.sort_unstable();
        targets.dedup();
        targets.truncate(TARGETS_MAX);
        let target = if targets.is_empty() { unnamed().target } else { targets.join(" ") };
        let before = |one: &Stored| one.before.as_ref().map(|before| before.value.clone());
        let event = AuditEvent {
            before: self.digest(changes.iter().map(|one| (one.key.as_str(), before(one)))),
            after: self.digest(changes.iter().map(|one| (one.key.as_str(), one.after.clone()))),
            ..new_event(acting, target)
        };
        Some((event, scope))
    }

    /// The digest of records as they are stored; `None` if there are none.
    fn digest<'a>(&self, records: impl Iterator<Item = (&'a str, Option<Vec<u8>>)>) -> Option<String> {
        let mut digest = hmac::Context::with_key(&self.digests);
        let mut is_any = false;
        for (key, value) in records {
            let Some(value) = value else { continue };
            is_any = true;
            for part in [key.as_bytes(), value.as_slice()] {
                digest.update(&(part.len() as u64).to_be_bytes());
                digest.update(part);
            }
        }
        is_any.then(|| hex::encode(digest.sign().as_ref()))
    }
}

fn new_event(acting: &Acting, target: String) -> AuditEvent {
    AuditEvent {
        at_ms: now_ms(),
        actor: acting.actor.clone(),
        address: acting.address.map(|address| address.to_string()),
        action: acting.operation.to_owned(),
        target,
        before: None,
        after: None,
        request_id: acting.request_id.as_deref().map(str::to_owned),
        count: None,
    }
}

fn is_new_org(one: &Stored) -> bool {
    kind_of(&one.key) == OrgRecord::KIND && one.before.is_none() && one.after.is_some()
}

/// Whether a key is one of the log itself.
fn is_of_chain(key: &str) -> bool {
    ["audit", "audit_order"].contains(&kind_of(key))
}

/// The key of a condition of the caller's that does not hold for what was read: the record must not say that it replaced
/// that.
fn refused(writes: &Writes, stored: &[Stored]) -> Option<String> {
    let holds = |one: &Stored| {
        let revision = one.before.as_ref().map(|before| before.revision);
        writes.conditions(&one.key).all(|condition| condition.holds(revision))
    };
    stored.iter().find(|one| !holds(one)).map(|one| one.key.clone())
}

/// The writes under the condition that they replace what was read, and the keys of conditions that are ours alone: where
/// one of those does not hold, it is read again.
fn conditioned(mut writes: Writes, stored: &[Stored]) -> (Writes, BTreeSet<String>) {
    let mut own = BTreeSet::new();
    for Stored { key, before, .. } in stored {
        let conditions: Vec<Precondition> = writes.conditions(key).collect();
        let is_exact = |condition: &Precondition| *condition != Precondition::Present;
        let condition = match before {
            // The caller's own condition is as exact, and fails for the caller.
            _ if conditions.iter().any(is_exact) => continue,
            // As it does where there must be one.
            None if !conditions.is_empty() => continue,
            None => Precondition::Absent,
            Some(before) => Precondition::Revision(before.revision),
        };
        writes = writes.require(key, condition);
        own.insert(key.clone());
    }
    (writes, own)
}

/// Commits the writes of a command on the data directory itself, with the record of what they change of these kinds.
///
/// # Errors
/// Those of [`Records::commit`] and of [`Vault::key_for`]; nothing is written then.
pub async fn commit_offline(
    records: &Records,
    vault: &Vault,
    operation: &'static str,
    kinds: &'static [&'static str],
    writes: Writes,
) -> Result<(), StoreError> {
    let limits = Limits::default();
    let desk = AuditDesk::open(records.clone(), vault, &limits);
    let desk = desk.await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let actor = AuditActor { role: OFFLINE.to_owned(), ..AuditActor::default() };
    let acting = Acting { operation, kinds, actor, address: None, request_id: None };
    desk.commit(writes, &acting, acting.kinds).await.map(drop)
}

#[cfg(test)]
mod tests;
