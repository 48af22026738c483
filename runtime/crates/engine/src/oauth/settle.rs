//! Stores what a token request gave. A new token may be the only one that works, because the request may have spent the
//! refresh token that is stored; so it is sealed once, and stored as soon as that can be, also after a database was away
//! for some minutes.
//!
//! Late is safe: what is written replaces the token for which the request was made and no other one, by compare-and-set.
//! Called with the lease of the connection.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portcullis_core::fault::Code;
use portcullis_core::secret::{SecretFields, SecretValue};
use portcullis_core::token_plan::TokenPlan;
use portcullis_store::{SecretPayload, StoreError, TokenFailure, TokenLease, TokenState, VaultError, Writes};
use serde_json::Value;
use tokio::time::Instant;

use super::exchange::{Failed, Got};
use super::renewal::{LEASE, REFRESH_TOKEN, attention, can_get, time};
use crate::clock;
use crate::connection::LoadedConnection;
use crate::connection::health::{self, Seen, Watched};
use crate::error::Error;
use crate::resources::Resources;

/// First pause after a failure that may pass by itself, and after one that needs a person.
const PAUSE_TRANSIENT: SignedDuration = SignedDuration::from_secs(1);
const PAUSE_PERMANENT: SignedDuration = SignedDuration::from_secs(30);
/// Longest pause.
const PAUSE_MAX: SignedDuration = SignedDuration::from_mins(15);

/// How long it is tried to store a new token. Why so long: a database that fails over is away for a minute or two, and one
/// that a person starts again for some more. Why not for ever: no other renewal of the connection begins meanwhile.
const TOKEN_TRIED_FOR: Duration = Duration::from_mins(10);
/// The same for an attempt that gave none: nothing is lost with it.
const FAILURE_TRIED_FOR: Duration = Duration::from_secs(20);
/// First pause between two tries.
const TRY_PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest pause between two tries. Why so short: the lease has ended meanwhile, and once the store is there, another node
/// may ask with the refresh token that is spent.
const TRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Most bytes of a token's values for which those of the token before are kept, too: less than the vault seals.
const TOKEN_BYTES_MAX: usize = 32 * 1024;
/// Begins the names of fields of the token before.
const OLD: &str = "old.";

/// Stores the result of an exchange, and releases the lease.
pub(super) async fn settle(
    resources: &Resources,
    connection: &LoadedConnection,
    plan: &TokenPlan,
    before: TokenState,
    commit: u64,
    got: Result<Got, Failed>,
) -> Result<(), Error> {
    let start = Instant::now();
    let mut settling = Settling { resources, connection, plan, before, commit, start, after: None };
    let most = if got.is_ok() { TOKEN_TRIED_FOR } else { FAILURE_TRIED_FOR };
    let mut pause = TRY_PAUSE_MIN;
    let mut tries = 0_u32;
    loop {
        let Problem { why, passes } = match settling.attempt(&got).await {
            Ok(Kept::Stored) => {
                note_health(resources, connection, &got).await;
                return got.map(|_| ()).map_err(|failed| attention(&failed.reason));
            }
            Ok(Kept::Obsolete) => {
                return Err(attention("the credential changed while its token was renewed"));
            }
            Err(problem) => problem,
        };
        tries = tries.saturating_add(1);
        let connector = &connection.key.connector;
        if !passes || start.elapsed() >= most {
            tracing::error!(why, tries, %connector, "what a token request gave could not be stored, and is lost");
            return Err(Error::plain(Code::StoreUnavailable));
        }
        // Why not each time: a store that is away for minutes would fill the log.
        if tries.is_power_of_two() {
            tracing::error!(why, tries, %connector, "a token could not be stored; trying again");
        }
        settling.extend_lease().await;
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(TRY_PAUSE_MAX);
    }
}

/// Takes up what an exchange shows of the connection. An endpoint that cannot be reached shows nothing.
async fn note_health(resources: &Resources, connection: &LoadedConnection, got: &Result<Got, Failed>) {
    let seen = match got {
        Ok(_) => Seen::TokenGot,
        Err(failed) if failed.permanent => Seen::TokenFailed { reason: failed.reason.clone() },
        Err(_) => return,
    };
    if let Some(watched) = Watched::of(connection) {
        health::note(resources, &watched, &seen).await;
    }
}

/// Whether the result of an exchange was stored.
enum Kept {
    Stored,
    /// The credential was saved again or deleted meanwhile, so the token is useless.
    Obsolete,
}

/// Why a result was not stored.
struct Problem {
    why: String,
    /// Whether another try may succeed.
    passes: bool,
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let passes = !matches!(error, StoreError::TooLarge { .. } | StoreError::InvalidKey { .. });
        Self { why: error.to_string(), passes }
    }
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Store(error) => error.into(),
            error => {
                let passes = matches!(
                    error,
                    VaultError::Provider(_) | VaultError::MasterKeyMissing { .. } | VaultError::Random
                );
                Self { why: error.to_string(), passes }
            }
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self { why: error.detail, passes: true }
    }
}

/// What became of the record that holds the lease.
enum Found {
    /// It is what a try wrote whose outcome was not known.
    Stored,
    /// It holds the token for which the request was made.
    Before,
    /// It holds another one, or is gone.
    Another,
}

/// A result on its way into the store.
struct Settling<'a> {
    resources: &'a Resources,
    connection: &'a LoadedConnection,
    plan: &'a TokenPlan,
    before: TokenState,
    /// The commit that wrote the record that is to be replaced.
    commit: u64,
    /// When the result came.
    start: Instant,
    /// What is to be stored. Made once, so that it is known again when it is found in the store.
    after: Option<TokenState>,
}

impl Settling<'_> {
    /// Tries to replace the lease by the result.
    async fn attempt(&mut self, got: &Result<Got, Failed>) -> Result<Kept, Problem> {
        let mut writes = Writes::new();
        if let Ok(got) = got
            && !got.config.is_empty()
        {
            let values = got.config.iter().map(|(name, text)| (name.clone(), Value::String(text.clone())));
            match self.connection.learned(self.resources, values).await? {
                Some(learned) => writes = learned,
                None => {
                    return Ok(match self.find(true).await? {
                        Found::Stored => Kept::Stored,
                        Found::Before | Found::Another => Kept::Obsolete,
                    });
                }
            }
        }
        let after = match self.after.take() {
            Some(after) => after,
            None => match got {
                Ok(got) => self.renewed(got).await?,
                Err(failed) => failure(&self.before, failed),
            },
        };
        let after = self.after.insert(after);
        let writes = writes.replace(&self.connection.key.parts(), after, self.commit);
        match self.resources.commit(writes).await {
            Ok(_) => Ok(Kept::Stored),
            Err(StoreError::Conflict { .. }) => match self.find(got.is_ok()).await? {
                Found::Stored => Ok(Kept::Stored),
                Found::Before => {
                    Err(Problem { why: "the lease was taken or extended".to_owned(), passes: true })
                }
                Found::Another => Ok(Kept::Obsolete),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Looks what the record is, after somebody changed it, and goes on from there if nothing is lost with it.
    async fn find(&mut self, is_token: bool) -> Result<Found, Problem> {
        let parts = self.connection.key.parts();
        let Some((stored, commit)) = self.resources.records.get::<TokenState>(&parts).await? else {
            return Ok(Found::Another);
        };
        if self.after.as_ref() == Some(&stored) {
            return Ok(Found::Stored);
        }
        let before = &self.before;
        let is_same = stored.token_id == before.token_id
            && stored.revision == before.revision
            && stored.credential_revision == before.credential_revision
            && stored.sealed == before.sealed;
        let holder = |state: &TokenState| state.lease.as_ref().map(|lease| lease.holder.clone());
        // Why a token also where another node has the lease by now: what that one asks with is spent.
        if !is_same || !(is_token || holder(&stored) == holder(before)) {
            return Ok(Found::Another);
        }
        self.commit = commit;
        Ok(Found::Before)
    }

    /// Goes on having the lease while the result cannot be sealed though the store is there: another node would ask with
    /// what is spent. Where this fails, the next try finds out.
    async fn extend_lease(&mut self) {
        let Some(lease) = self.before.lease.as_ref().filter(|_| self.after.is_none()) else { return };
        let soon = Timestamp::now().saturating_add(LEASE / 2).unwrap_or(Timestamp::MAX);
        if time(Some(&lease.until)).is_some_and(|until| until > soon) {
            return;
        }
        let extended = TokenLease { holder: lease.holder.clone(), until: clock::after(LEASE) };
        let (parts, records) = (self.connection.key.parts(), &self.resources.records);
        // Why what is stored and not what the request began with: a consent gives up a part of that.
        let Ok(Some((stored, commit))) = records.get::<TokenState>(&parts).await else { return };
        if commit != self.commit {
            return;
        }
        let held = TokenState { lease: Some(extended.clone()), ..stored };
        // Why not by the engine's own way: it is no change of anybody's, also where a request has it made.
        if let Ok(commit) = records.commit(Writes::new().replace(&parts, &held, commit)).await {
            self.commit = commit;
            self.before.lease = Some(extended);
        }
    }

    /// The state with a new token, sealed; if the answer has no refresh token, the old one stays.
    async fn renewed(&self, got: &Got) -> Result<TokenState, VaultError> {
        let Self { resources, connection, plan, before, .. } = self;
        let hosts =
            connection.stored.credential.as_ref().map(|c| c.allowed_hosts.clone()).unwrap_or_default();
        let mut fields: Vec<(String, SecretValue)> = Vec::new();
        // Why not where they rotate: the old one was used up for this answer.
        let replaced = plan.rotates || got.fields.iter().any(|(name, _)| name == REFRESH_TOKEN);
        let keeps = before.renewable && !replaced;
        let mut old: Vec<(String, SecretValue)> = match &before.sealed {
            None => Vec::new(),
            Some(sealed) => {
                let binding = connection.key.binding(&before.token_id, before.revision);
                match resources.vault.open_sealed(&binding, sealed, |_| true).await {
                    Ok(opened) => opened.fields.into_fields().collect(),
                    Err(error) if keeps => return Err(error),
                    // Why no error: nothing of it is needed.
                    Err(_) => Vec::new(),
                }
            }
        };
        old.retain(|(name, _)| !name.starts_with(OLD));
        if let Some(at) = old.iter().position(|(name, _)| keeps && name == REFRESH_TOKEN) {
            fields.push(old.swap_remove(at));
        }
        for (name, text) in &got.fields {
            fields.retain(|(other, _)| other != name);
            fields.push((name.clone(), SecretValue::new(text.to_string())));
        }
        let renewable = plan.renew.is_some() && fields.iter().any(|(name, _)| name == REFRESH_TOKEN);
        fields.extend(outlived(old, &fields));
        let revision = before.revision + 1;
        let binding = connection.key.binding(&before.token_id, revision);
        let payload = SecretPayload { fields: SecretFields::new(fields), allowed_hosts: hosts };
        let sealed = resources.vault.seal(&binding, &payload).await?;
        let default_ttl = SignedDuration::from_secs(i64::from(plan.default_ttl_s));
        let age = SignedDuration::try_from(self.start.elapsed()).unwrap_or_default();
        let mut state = TokenState {
            revision,
            sealed: Some(sealed.text),
            renewable,
            // Why as of the answer: it may be stored later.
            obtained_at: Some(clock::before(age)),
            expires_at: None,
            lease: None,
            failure: None,
            ..before.clone()
        };
        // Why none: a token that only a person can renew is used until the upstream refuses it.
        let ttl = got.ttl.or_else(|| can_get(&state, plan).then_some(default_ttl));
        state.expires_at = ttl.map(|ttl| clock::after(ttl.saturating_sub(age)));
        Ok(state)
    }
}

/// The values of the token before, under names that no template can have. They are kept with the new one, because
/// the third party may still accept and echo them; together they stay small.
fn outlived(old: Vec<(String, SecretValue)>, new: &[(String, SecretValue)]) -> Vec<(String, SecretValue)> {
    let mut room = TOKEN_BYTES_MAX.saturating_sub(new.iter().map(|(_, value)| value.len()).sum());
    let mut kept = Vec::new();
    for (index, (_, value)) in old.into_iter().enumerate() {
        if let Some(left) = room.checked_sub(value.len()) {
            room = left;
            kept.push((format!("{OLD}{index}"), value));
        }
    }
    kept
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
        permanent: failed.permanent,
    };
    TokenState { lease: None, failure: Some(failure), ..before.clone() }
}
