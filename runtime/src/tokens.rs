//! Tokens that are got with a credential: kept sealed, renewed ahead of their end, one at a time.
//!
//! A renewal runs in a task of its own, because an answer that spends the old refresh token must be
//! stored even if whoever asked has gone. Inside the process a lock per connection makes it one at a
//! time; across processes a lease does, written with compare-and-set before anything is sent and given
//! up with the token that replaces it. A process that dies in between leaves the lease behind: the next
//! one waits for its end, or not at all where the store can only have one process, and asks again with
//! the refresh token that is stored.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portcullis_core::fault::Code;
use portcullis_core::id::{CredentialId, RunId};
use portcullis_core::secret::{SecretFields, SecretValue};
use portcullis_core::token_plan::TokenPlan;
use portcullis_store::{SecretPayload, StoreError, TokenFailure, TokenLease, TokenState, Writes};
use serde_json::Value;
use tokio::sync::Mutex as AsyncMutex;

use crate::app::App;
use crate::clock;
use crate::connected::Connected;
use crate::credential::{Place, SealedRecords};
use crate::problem::Problem;

pub mod consent;
mod exchange;

use exchange::{Failed, Got};

/// How long a lease holds; longer than the longest exchange.
const LEASE: SignedDuration = SignedDuration::from_secs(90);
/// Longest exchange of one step.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);
/// Most steps that a definition can have.
const STEPS_MAX: u64 = 4;
const _: () =
    assert!(STEP_TIMEOUT.as_secs() * STEPS_MAX < LEASE.as_secs() as u64, "a lease outlives its exchange");
/// Pause while another process holds the lease.
const LEASE_POLL: Duration = Duration::from_millis(200);
/// First pause after a failure that may pass by itself, and after one that needs somebody.
const PAUSE_TRANSIENT: SignedDuration = SignedDuration::from_secs(1);
const PAUSE_PERMANENT: SignedDuration = SignedDuration::from_secs(30);
/// Longest pause.
const PAUSE_MAX: SignedDuration = SignedDuration::from_mins(15);
/// Tries to store a token that was got: it may be the only one that works.
const STORE_TRIES: u32 = 10;

/// The field that renews a token.
const REFRESH_TOKEN: &str = "refresh_token";

/// What a call needs of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// One that is good for now.
    Usable,
    /// A newer one than this revision: the upstream said no to it.
    NewerThan(u64),
    /// One, also if the last attempt failed a moment ago: a person asks.
    Now,
}

/// Keeps tokens fresh.
pub struct TokenKeeper {
    holder: String,
    locks: Mutex<HashMap<Place, Arc<AsyncMutex<()>>>>,
}

/// How a token stands.
enum Standing {
    Good,
    Get,
    /// It could not be got, and it is too early to try again.
    Failed(String),
}

fn time(text: Option<&String>) -> Option<Timestamp> {
    text.and_then(|text| text.parse().ok())
}

fn standing(token: Option<&TokenState>, plan: &TokenPlan, need: Need) -> Standing {
    let Some(token) = token else { return Standing::Get };
    let now = Timestamp::now();
    let has = token.sealed.is_some();
    let expires = time(token.expires_at.as_ref());
    let alive = |skew| has && expires.is_none_or(|at| at.saturating_sub(skew).is_ok_and(|at| at > now));
    let wanted = match need {
        Need::NewerThan(revision) => token.revision > revision,
        Need::Usable => true,
        // Why: what failed before is what the person asks about.
        Need::Now => token.failure.is_none() || !can_get(token, plan),
    };
    if wanted && alive(skew(token, plan)) {
        return Standing::Good;
    }
    match &token.failure {
        Some(failure) if need != Need::Now && !clock::has_passed(&failure.retry_at) => {
            // Why good: it is to be renewed, and until its end it works.
            if wanted && alive(SignedDuration::ZERO) {
                Standing::Good
            } else {
                Standing::Failed(failure.reason.clone())
            }
        }
        _ => Standing::Get,
    }
}

/// Whether a token can be got without a person.
fn can_get(token: &TokenState, plan: &TokenPlan) -> bool {
    !plan.obtain.is_empty() || (token.renewable && plan.renew.is_some())
}

/// How long before its end a token is renewed. Half its life at most: one that lives for less than the
/// definition's time would otherwise be renewed by every call.
fn skew(token: &TokenState, plan: &TokenPlan) -> SignedDuration {
    let wanted = SignedDuration::from_secs(i64::from(plan.refresh_skew_s));
    match (time(token.obtained_at.as_ref()), time(token.expires_at.as_ref())) {
        (Some(from), Some(to)) => wanted.min(to.duration_since(from).max(SignedDuration::ZERO) / 2),
        _ => wanted,
    }
}

impl Default for TokenKeeper {
    fn default() -> Self {
        Self { holder: clock::fresh_text("node"), locks: Mutex::default() }
    }
}

impl TokenKeeper {
    fn lock(&self, place: &Place) -> Arc<AsyncMutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        // Why here: a connection that nobody waits for needs no lock.
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(place.clone()).or_default())
    }

    /// Makes sure that a connection has the token that is needed, and reloads it. Nothing happens for an
    /// auth type without tokens.
    ///
    /// # Errors
    /// `credential_needs_attention` with the reason when none can be got.
    pub async fn fresh(
        app: &Arc<App>,
        connected: &mut Connected,
        run: &RunId,
        need: Need,
    ) -> Result<(), Problem> {
        let Some(plan) = &connected.connector().auth.token else { return Ok(()) };
        if matches!(standing(connected.connection.current_token(), plan, need), Standing::Good) {
            return Ok(());
        }
        let (app_of_task, mut own, run) = (Arc::clone(app), connected.clone(), run.clone());
        // Why a task: see the module.
        let task = tokio::spawn(async move { renew(&app_of_task, &mut own, &run, need).await });
        let renewed = task.await.map_err(|_| Problem::plain(Code::Internal))?;
        connected.reload(app).await?;
        let Some(plan) = &connected.connector().auth.token else { return renewed };
        // Why good all the same: it was ahead of the end, and until then the token works.
        match standing(connected.connection.current_token(), plan, need) {
            Standing::Good if need == Need::Usable => Ok(()),
            _ => renewed,
        }
    }
}

/// Gets a token unless somebody else did in the meantime.
async fn renew(app: &Arc<App>, connected: &mut Connected, run: &RunId, need: Need) -> Result<(), Problem> {
    let lock = app.tokens.lock(&connected.place);
    let _held = lock.lock().await;
    loop {
        connected.reload(app).await?;
        let loaded = Arc::clone(&connected.loaded);
        let Some(plan) = &connected.connection.chosen(&loaded.connector).auth.token else { return Ok(()) };
        match standing(connected.connection.current_token(), plan, need) {
            Standing::Good => return Ok(()),
            Standing::Failed(reason) => return Err(attention(&reason)),
            Standing::Get => {}
        }
        if leased_by_another(app, connected) {
            tokio::time::sleep(LEASE_POLL).await;
            continue;
        }
        let Some((state, commit)) = take_lease(app, connected).await? else { continue };
        let got = exchange::get(app, connected, plan, &state, run).await;
        return settle(app, connected, plan, state, commit, got).await;
    }
}

fn attention(reason: &str) -> Problem {
    Problem::new(Code::CredentialNeedsAttention, format!("no token can be got: {reason}"))
}

fn leased_by_another(app: &App, connected: &Connected) -> bool {
    // Why at once: nobody else has the store open, so whoever held the lease is gone.
    if !app.records.store().is_shared() {
        return false;
    }
    let lease = connected.connection.token.as_ref().and_then(|(token, _)| token.lease.as_ref());
    lease.is_some_and(|lease| lease.holder != app.tokens.holder && !clock::has_passed(&lease.until))
}

/// Writes the lease; `None` when somebody else was faster.
async fn take_lease(app: &App, connected: &Connected) -> Result<Option<(TokenState, u64)>, Problem> {
    let credential_revision = connected.connection.credential.as_ref().map_or(0, |c| c.revision);
    let stored = connected.connection.token.as_ref();
    let kept = stored.filter(|(token, _)| token.credential_revision == credential_revision);
    let mut state = match (kept, stored) {
        (Some((token, _)), _) => TokenState::clone(token),
        // Why counted on: sealed bytes of an older token must not fit the next one.
        (None, older) => TokenState {
            token_id: clock::fresh("cred", CredentialId::parse)?,
            revision: older.map_or(0, |(token, _)| token.revision),
            credential_revision,
            sealed: None,
            renewable: false,
            obtained_at: None,
            expires_at: None,
            lease: None,
            failure: None,
        },
    };
    state.lease = Some(TokenLease { holder: app.tokens.holder.clone(), until: clock::after(LEASE) });
    let parts = connected.place.parts();
    let writes = match stored {
        Some((_, commit)) => Writes::new().replace(&parts, &state, *commit),
        None => Writes::new().create(&parts, &state),
    };
    match app.records.commit(writes).await {
        Ok(commit) => Ok(Some((state, commit))),
        Err(StoreError::Conflict { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Stores what came of an exchange, and gives the lease up.
async fn settle(
    app: &App,
    connected: &Connected,
    plan: &TokenPlan,
    before: TokenState,
    commit: u64,
    got: Result<Got, Failed>,
) -> Result<(), Problem> {
    let mut pause = Duration::from_millis(20);
    for _ in 0..STORE_TRIES {
        match keep(app, connected, plan, &before, commit, &got).await {
            Ok(Kept::Stored) => return got.map(|_| ()).map_err(|failed| attention(&failed.reason)),
            Ok(Kept::Nobodys) => {
                return Err(attention("the credential changed while its token was renewed"));
            }
            Err(problem) => {
                let (code, connector) = (problem.code, &connected.place.connector);
                tracing::error!(%code, %connector, "a token could not be stored; trying again");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
    }
    Err(Problem::plain(Code::StoreUnavailable))
}

/// What became of an exchange's outcome.
enum Kept {
    Stored,
    /// The credential was saved anew or forgotten meanwhile: this token is nobody's.
    Nobodys,
}

/// Writes the outcome of an exchange over the lease.
async fn keep(
    app: &App,
    connected: &Connected,
    plan: &TokenPlan,
    before: &TokenState,
    commit: u64,
    got: &Result<Got, Failed>,
) -> Result<Kept, Problem> {
    let mut writes = Writes::new();
    let state = match got {
        Ok(got) => {
            if !got.config.is_empty() {
                let values =
                    got.config.iter().map(|(name, text)| (name.clone(), Value::String(text.clone())));
                match connected.learned(app, values).await? {
                    Some(learned) => writes = learned,
                    None => return Ok(Kept::Nobodys),
                }
            }
            renewed(app, connected, plan, before, got).await?
        }
        Err(failed) => failure(before, failed),
    };
    match app.records.commit(writes.replace(&connected.place.parts(), &state, commit)).await {
        Ok(_) => Ok(Kept::Stored),
        Err(StoreError::Conflict { .. }) => Ok(Kept::Nobodys),
        Err(error) => Err(error.into()),
    }
}

/// The state with a new token, sealed; a refresh token that the answer did not replace stays.
async fn renewed(
    app: &App,
    connected: &Connected,
    plan: &TokenPlan,
    before: &TokenState,
    got: &Got,
) -> Result<TokenState, Problem> {
    let hosts = connected.connection.credential.as_ref().map(|c| c.allowed_hosts.clone()).unwrap_or_default();
    let mut fields: Vec<(String, SecretValue)> = Vec::new();
    // Why not where they rotate: the old one was spent on this answer.
    let replaced = plan.rotates || got.fields.iter().any(|(name, _)| name == REFRESH_TOKEN);
    if let (Some(sealed), true, false) = (&before.sealed, before.renewable, replaced) {
        let binding = connected.place.binding(&before.token_id, before.revision);
        let old = app.vault.open_sealed(&binding, sealed, |_| true).await?;
        fields.extend(old.fields.into_fields().filter(|(name, _)| name == REFRESH_TOKEN));
    }
    for (name, text) in &got.fields {
        fields.retain(|(other, _)| other != name);
        fields.push((name.clone(), SecretValue::new(text.to_string())));
    }
    let renewable = plan.renew.is_some() && fields.iter().any(|(name, _)| name == REFRESH_TOKEN);
    let revision = before.revision + 1;
    let binding = connected.place.binding(&before.token_id, revision);
    let payload = SecretPayload { fields: SecretFields::new(fields), allowed_hosts: hosts };
    let sealed = app.vault.seal(&binding, &payload).await?;
    let default_ttl = SignedDuration::from_secs(i64::from(plan.default_ttl_s));
    let mut state = TokenState {
        revision,
        sealed: Some(sealed.text),
        renewable,
        obtained_at: Some(clock::now()),
        expires_at: None,
        lease: None,
        failure: None,
        ..before.clone()
    };
    // Why none: what only a person can get is used until the upstream says no to it.
    let ttl = got.ttl.or_else(|| can_get(&state, plan).then_some(default_ttl));
    state.expires_at = ttl.map(clock::after);
    Ok(state)
}

/// The state after an exchange that failed: the token stays, and a time for the next attempt is set.
fn failure(before: &TokenState, failed: &Failed) -> TokenState {
    let times = before.failure.as_ref().map_or(0, |failure| failure.times).saturating_add(1);
    let first = if failed.permanent { PAUSE_PERMANENT } else { PAUSE_TRANSIENT };
    let pause = first.saturating_mul(1 << times.saturating_sub(1).min(10)).min(PAUSE_MAX);
    let failure = TokenFailure {
        reason: failed.reason.clone(),
        at: clock::now(),
        times,
        retry_at: clock::after(pause),
    };
    TokenState { lease: None, failure: Some(failure), ..before.clone() }
}

/// Gives a token back (RFC 7009) where the definition says where. What comes of it changes nothing: the
/// connection is forgotten here either way.
pub async fn revoke(app: &App, connected: &Connected) {
    let loaded = Arc::clone(&connected.loaded);
    let plan = connected.connection.chosen(&loaded.connector).auth.token.as_ref();
    let Some(step) = plan.and_then(|plan| plan.revoke.as_ref()) else { return };
    if connected.connection.current_token().is_none_or(|token| token.sealed.is_none()) {
        return;
    }
    let Ok(run) = clock::fresh("run", RunId::parse) else { return };
    if let Err(failed) = exchange::follow(app, connected, &[step], openable(app, connected), &run).await {
        tracing::info!(reason = failed.reason, connector = %connected.place.connector, "a token was not given back");
    }
}

/// The records that an exchange may open: the credential, and the token that is to be renewed.
fn openable(app: &App, connected: &Connected) -> SealedRecords {
    let saved = connected.connection.sealed(&app.vault, &connected.place);
    let token = connected.connection.sealed_token(&app.vault, &connected.place);
    SealedRecords { sealed: saved.into_iter().chain(token).collect(), known: Vec::new() }
}
