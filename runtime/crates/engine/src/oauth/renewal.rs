//! Renewal: tokens are stored sealed and renewed before they expire, one renewal of a connection at a time.
//!
//! A renewal runs in a separate task, because an answer that invalidates the old refresh token must be stored even
//! if the call that needed it was dropped. Inside the process a lock per connection allows only one at a time; across
//! processes a lease does, written with compare-and-set before anything is sent and released with the new token. A
//! process that dies in between leaves the lease behind: the next one waits until it expires, or not at all if only
//! one process can use the store, and asks again with the stored refresh token. What an exchange gave is stored by
//! `settle.rs`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portcullis_core::fault::Code;
use portcullis_core::id::{CredentialId, RunId};
use portcullis_core::sync::lock;
use portcullis_core::token_plan::TokenPlan;
use portcullis_store::{StoreError, TokenLease, TokenState, Writes};
use tokio::sync::Mutex as AsyncMutex;

use super::breaking::{admit, still_works};
use super::client;
use super::exchange;
use super::settle::settle;
use crate::breaker::{Asking, Permit};
use crate::call::active_calls::CancelHandle;
use crate::clock;
use crate::connection::state::StoredConnection;
use crate::connection::{ConnectionKey, LoadedConnection};
use crate::error::Error;
use crate::nodes::CLOCK_SKEW_MAX;
use crate::resources::Resources;
use crate::workers::Lane;

/// Duration of a lease; longer than the longest exchange.
pub(super) const LEASE: SignedDuration = SignedDuration::from_secs(90);
/// Longest exchange of one step.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum steps that a definition can have.
const STEPS_MAX: u64 = 4;
const _: () = assert!(
    STEP_TIMEOUT.as_secs() * STEPS_MAX + CLOCK_SKEW_MAX.as_secs() < LEASE.as_secs() as u64,
    "a lease outlives its exchange, also by the clock of another node"
);
/// Pause while another process holds the lease.
const LEASE_POLL: Duration = Duration::from_millis(200);
/// Exchanges that a credential may be saved in the middle of before the last result is what counts.
const CHANGES_MAX: u32 = 3;

/// The field that renews a token.
pub(super) const REFRESH_TOKEN: &str = "refresh_token";

/// What a call needs of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// One that is valid now.
    Usable,
    /// A newer one than this revision: the upstream refused that one.
    NewerThan(u64),
    /// One even if the last attempt failed a moment ago: a person is asking.
    Now,
}

/// Renews the tokens of a process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Renewal {
    resources: Arc<Resources>,
    locks: Arc<Locks>,
}

/// A lock for each connection, and the name that this process writes into leases.
struct Locks {
    holder: String,
    held: Mutex<HashMap<ConnectionKey, Arc<AsyncMutex<()>>>>,
}

/// The state of a token.
enum Standing {
    Good,
    Get,
    /// It could not be obtained, and it is too early for another attempt.
    Failed(String),
}

pub(super) fn time(text: Option<&String>) -> Option<Timestamp> {
    text.and_then(|text| text.parse().ok())
}

fn standing(stored: &StoredConnection, plan: &TokenPlan, need: Need) -> Standing {
    let Some(token) = stored.current_token() else { return Standing::Get };
    let failure = stored.token_failure();
    let now = Timestamp::now();
    let has = token.sealed.is_some();
    let expires = time(token.expires_at.as_ref());
    let alive = |skew| has && expires.is_none_or(|at| at.saturating_sub(skew).is_ok_and(|at| at > now));
    let wanted = match need {
        Need::NewerThan(revision) => token.revision > revision,
        Need::Usable => true,
        // Why: the earlier failure is what the person asks about.
        Need::Now => failure.is_none() || !can_get(token, plan),
    };
    if wanted && alive(skew(token, plan)) {
        return Standing::Good;
    }
    match failure {
        Some(failure) if need != Need::Now && !clock::has_passed(&failure.retry_at) => {
            // Why good: it is due for renewal, but works until it expires.
            if wanted && alive(SignedDuration::ZERO) {
                Standing::Good
            } else {
                Standing::Failed(failure.reason.clone())
            }
        }
        _ => Standing::Get,
    }
}

/// Whether a token can be obtained without a person.
pub(super) fn can_get(token: &TokenState, plan: &TokenPlan) -> bool {
    !plan.obtain.is_empty() || (token.renewable && plan.renew.is_some())
}

/// How long before its expiry a token is renewed. At most half its lifetime: a token with a shorter lifetime than the
/// definition's time would otherwise be renewed by every call.
fn skew(token: &TokenState, plan: &TokenPlan) -> SignedDuration {
    let wanted = SignedDuration::from_secs(i64::from(plan.refresh_skew_s));
    match (time(token.obtained_at.as_ref()), time(token.expires_at.as_ref())) {
        (Some(from), Some(to)) => wanted.min(to.duration_since(from).max(SignedDuration::ZERO) / 2),
        _ => wanted,
    }
}

impl Locks {
    fn of(&self, key: &ConnectionKey) -> Arc<AsyncMutex<()>> {
        let mut held = lock(&self.held);
        // Why here: a connection without a running renewal needs no lock.
        held.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(held.entry(key.clone()).or_default())
    }
}

impl Renewal {
    pub(crate) fn new(resources: Arc<Resources>) -> Self {
        let locks = Locks { holder: resources.holder.clone(), held: Mutex::default() };
        Self { resources, locks: Arc::new(locks) }
    }

    pub(super) fn resources(&self) -> &Arc<Resources> {
        &self.resources
    }

    pub(super) fn lock_of(&self, key: &ConnectionKey) -> Arc<AsyncMutex<()>> {
        self.locks.of(key)
    }

    /// Makes sure that a connection has the token that is needed, and reloads it. Does nothing for an
    /// auth type without tokens.
    ///
    /// # Errors
    /// `credential_needs_attention` with the reason if none can be obtained; `circuit_open` if the token endpoint is not
    /// asked for a while.
    pub(crate) async fn fresh(
        &self,
        connection: &mut LoadedConnection,
        run: &RunId,
        (need, asking): (Need, Asking),
        handle: &CancelHandle,
    ) -> Result<(), Error> {
        let Some(plan) = &connection.connector().auth.token else { return Ok(()) };
        client::check_there(connection)?;
        let permit = match standing(&connection.stored, plan, need) {
            Standing::Good => return Ok(()),
            Standing::Get if asking == Asking::Permission => match admit(&self.resources, connection, plan) {
                // Why good: it is due for renewal, but works until it expires.
                Err(_) if need == Need::Usable && still_works(connection.stored.current_token()) => {
                    return Ok(());
                }
                admitted => admitted?,
            },
            // Why: it goes whatever the breaker says, or it is too early to ask.
            Standing::Get | Standing::Failed(_) => None,
        };
        // Why here: the token request is one of the call's, and may change something at the third party.
        handle.commit().await;
        let (renewal, mut own, run) = (self.clone(), connection.clone(), run.clone());
        // Why a task: see the module's documentation.
        let lane = Lane::of(Some(connection.key.org.as_str()));
        let renewing = Box::pin(async move { renewal.renew(&mut own, &run, need, permit).await });
        let task = tokio::spawn(self.resources.workers.movable(lane, renewing));
        let renewed = task.await.map_err(|_| Error::plain(Code::Internal))??;
        connection.reload(&self.resources).await?;
        let Some(plan) = &connection.connector().auth.token else { return renewed };
        // Why good nevertheless: the renewal was early, and the token works until it expires.
        match standing(&connection.stored, plan, need) {
            Standing::Good if need == Need::Usable => Ok(()),
            _ => renewed,
        }
    }
}

impl Renewal {
    /// Obtains a token unless another renewal did meanwhile.
    async fn renew(
        &self,
        connection: &mut LoadedConnection,
        run: &RunId,
        need: Need,
        mut permit: Option<Permit>,
    ) -> Result<(), Error> {
        let resources = &self.resources;
        let lock = self.locks.of(&connection.key);
        let _held = lock.lock().await;
        let mut changes = 0;
        loop {
            connection.reload(resources).await?;
            let loaded = Arc::clone(&connection.loaded);
            let Some(plan) = &connection.stored.chosen(&loaded.connector).auth.token else { return Ok(()) };
            client::check_there(connection)?;
            match standing(&connection.stored, plan, need) {
                Standing::Good => return Ok(()),
                Standing::Failed(reason) => return Err(attention(&reason)),
                Standing::Get => {}
            }
            if self.leased_by_another(connection) {
                tokio::time::sleep(LEASE_POLL).await;
                continue;
            }
            // Why not an early one either: the answer of a request that this node may not make would be lost.
            resources.freshness.check()?;
            let Some((state, commit)) = self.take_lease(connection).await? else { continue };
            let state = client::noted(state, connection);
            let used = identity(connection);
            let got = exchange::get(resources, connection, plan, &state, run, permit.take()).await;
            resources.metrics.token_asked_for(got.is_ok());
            let settled = settle(resources, connection, plan, state, commit, got).await;
            connection.reload(resources).await?;
            // Why again: the result says something about a credential that is not the saved one any more.
            if identity(connection) == used || changes >= CHANGES_MAX {
                return settled;
            }
            changes += 1;
        }
    }

    fn leased_by_another(&self, connection: &LoadedConnection) -> bool {
        // Why at once: no other process has the store open, so the holder of the lease is dead.
        if !self.resources.records.store().is_shared() {
            return false;
        }
        let lease = connection.stored.token.as_ref().and_then(|(token, _)| token.lease.as_ref());
        lease.is_some_and(|lease| lease.holder != self.locks.holder && !clock::has_passed(&lease.until))
    }

    /// Writes the lease; `None` if another process was faster.
    pub(super) async fn take_lease(
        &self,
        connection: &LoadedConnection,
    ) -> Result<Option<(TokenState, u64)>, Error> {
        let credential_revision = connection.stored.credential.as_ref().map_or(0, |c| c.revision);
        let stored = connection.stored.token.as_ref();
        let kept = stored.filter(|(token, _)| token.credential_revision == credential_revision);
        let mut state = match (kept, stored) {
            (Some((token, _)), _) => TokenState::clone(token),
            // Why the revision continues: sealed bytes of an older token must not fit the next one.
            (None, older) => TokenState {
                token_id: clock::fresh("cred", CredentialId::parse)?,
                revision: older.map_or(0, |(token, _)| token.revision),
                credential_revision,
                client: None,
                sealed: None,
                renewable: false,
                obtained_at: None,
                expires_at: None,
                lease: None,
                failure: None,
            },
        };
        state.lease = Some(TokenLease { holder: self.locks.holder.clone(), until: clock::after(LEASE) });
        let parts = connection.key.parts();
        let writes = match stored {
            Some((_, commit)) => Writes::new().replace(&parts, &state, *commit),
            None => Writes::new().create(&parts, &state),
        };
        match self.resources.commit(writes).await {
            Ok(commit) => Ok(Some((state, commit))),
            Err(StoreError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The saved credential and its revision; `None` without one.
fn identity(connection: &LoadedConnection) -> Option<(CredentialId, u64)> {
    connection.stored.credential.as_ref().map(|saved| (saved.credential_id.clone(), saved.revision))
}

pub(super) fn attention(reason: &str) -> Error {
    Error::new(Code::CredentialNeedsAttention, format!("no token could be obtained: {reason}"))
}
