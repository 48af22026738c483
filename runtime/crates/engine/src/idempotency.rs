//! Idempotency keys of callers: a request that is repeated with its key is made once, and answered as it was.
//!
//! The key is on disk before the call. A request that is under way is waited for; one that was cut off is answered with
//! what is known of its run, and never made again by itself.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use portcullis_core::fault::Code;
use portcullis_core::hex;
use portcullis_core::id::{OrgId, RunId, WorkspaceId};
use portcullis_store::{ContentBinding, IdempotencyPart, IdempotencyRecord, StoreError, Writes};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep, sleep_until};

use crate::call::Commitment;
use crate::caller::{Caller, RUN};
use crate::clock::{self, now_ms};
use crate::engine::Engine;
use crate::error::Error;
use crate::resources::Resources;
use crate::tenants::Tenant;

mod claiming;
mod sweep;

use claiming::{first, give_back, give_up, take_up};
pub(crate) use sweep::{clear_workspace, sweep};

/// Longest key, bytes.
const KEY_BYTES_MAX: usize = 255;
/// Bytes of a part of a sealed answer: as base64 it is one record.
const PART_BYTES: usize = 40 * 1024;
/// How often a repeat looks whether another process has answered.
const LOOK: Duration = Duration::from_secs(1);
/// Answers that are remembered for repeats that wait.
const ANSWERS_REMEMBERED: usize = 256;
/// Attempts to claim a key beside twins.
const CLAIMS_MAX: u32 = 8;

/// What keys need besides the records. One of it per process.
pub(crate) struct Idempotency {
    /// This process.
    holder: String,
    /// Keys whose requests were answered.
    answered: broadcast::Sender<String>,
}

impl Idempotency {
    pub(crate) fn new(holder: String) -> Self {
        Self { holder, answered: broadcast::Sender::new(ANSWERS_REMEMBERED) }
    }
}

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAnswer {
    pub status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// JSON.
    pub body: String,
}

/// What a request with a key is.
pub enum Claim {
    /// The first one: it is served, and its answer is kept.
    First(Box<Claimed>),
    /// A repeat of one that was answered.
    Repeat(KeptAnswer),
    /// A repeat of one that was cut off after its run had begun: the run answers for it.
    CutOff(RunId),
}

/// The exclusive right to serve a request with its key.
pub struct Claimed {
    resources: Arc<Resources>,
    answered: broadcast::Sender<String>,
    org: OrgId,
    workspace: WorkspaceId,
    /// SHA-256 of the key, hexadecimal.
    name: String,
    record: IdempotencyRecord,
    revision: u64,
    /// Of the call that the request makes.
    commitment: Commitment,
    is_settled: bool,
}

fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Context::new(&SHA256);
    for part in parts {
        hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finish().as_ref())
}

/// The id of an event that came with a key and without an id: the same for each delivery with the key.
#[must_use]
pub fn event_id(key: &str) -> String {
    format!("key_{}", digest(&[key.as_bytes()]))
}

/// What a key is bound to: another request with the same key is refused.
#[must_use]
pub fn fingerprint(method: &str, path: &str, body: &[u8]) -> String {
    digest(&[method.as_bytes(), path.as_bytes(), body])
}

/// A request with a key.
#[derive(Debug, Clone, Copy)]
pub struct KeyedRequest<'a> {
    pub key: &'a str,
    /// What the key is bound to.
    pub fingerprint: &'a str,
    /// That of the call which the request makes.
    pub commitment: &'a Commitment,
    /// Whether it may be served again when it was cut off: it finds out by itself what it did before.
    pub is_resumable: bool,
}

/// Claims a key for a request.
///
/// # Errors
/// Those of [`Caller::authorise`], `bad_request` for a key that is empty or too long, `idempotency_key_reused`,
/// `idempotency_in_flight`, `store_unavailable`.
pub async fn claim(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    request: KeyedRequest<'_>,
) -> Result<Claim, Error> {
    let KeyedRequest { key, fingerprint: request, commitment, is_resumable } = request;
    caller.authorise(RUN, Some(tenant.org.as_str()), Some(tenant.workspace.as_str()))?;
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        let detail = format!("Idempotency-Key must have 1 to {KEY_BYTES_MAX} bytes");
        return Err(Error::new(Code::BadRequest, detail));
    }
    let name = digest(&[key.as_bytes()]);
    let mut answered = engine.idempotency.answered.subscribe();
    let until = Instant::now() + Duration::from_millis(engine.limits().idempotency_wait_ms);
    let parts = [tenant.org.as_str(), tenant.workspace.as_str(), name.as_str()];
    let mut beaten = 0;
    loop {
        let found = engine.resources.records.get::<IdempotencyRecord>(&parts).await?;
        let (record, revision) = match found {
            Some((record, revision)) if !is_forgotten(&record) => (record, revision),
            other => {
                let old = other.map(|(_, revision)| revision);
                match first(engine, tenant, &name, request, old, commitment).await {
                    // A twin was faster; or the workspace is not there any more, and that stays so.
                    Err(StoreError::Conflict { .. }) if beaten < CLAIMS_MAX => {
                        beaten += 1;
                        continue;
                    }
                    Err(StoreError::Conflict { .. }) => return Err(Error::plain(Code::WorkspaceNotFound)),
                    claimed => return Ok(Claim::First(Box::new(claimed?))),
                }
            }
        };
        if record.request != request {
            return Err(Error::plain(Code::IdempotencyKeyReused));
        }
        if record.parts > 0 {
            return replay(engine, tenant, &name, &record).await;
        }
        if is_cut_off(engine, &record) {
            if !is_resumable {
                return cut_off(engine, tenant, record).await;
            }
            match take_up(engine, tenant, &name, (record, revision), commitment).await {
                // A twin was faster.
                Err(StoreError::Conflict { .. }) if beaten < CLAIMS_MAX => {
                    beaten += 1;
                    continue;
                }
                Err(StoreError::Conflict { .. }) => return Err(Error::plain(Code::WorkspaceNotFound)),
                claimed => return Ok(Claim::First(Box::new(claimed?))),
            }
        }
        tokio::select! {
            () = async { while answered.recv().await.is_ok_and(|other| other != name) {} } => {}
            () = sleep(LOOK) => {}
            () = sleep_until(until) => {
                let detail = "the first request with this key is still served; come again for its answer";
                return Err(Error { retry_after_s: Some(1), ..Error::new(Code::IdempotencyInFlight, detail) });
            }
        }
    }
}

fn is_forgotten(record: &IdempotencyRecord) -> bool {
    record.order.parse::<u64>().map_or(true, |at_ms| at_ms <= now_ms())
}

/// Whether nobody serves the request any more.
fn is_cut_off(engine: &Engine, record: &IdempotencyRecord) -> bool {
    let own = record.holder.as_deref() == Some(engine.idempotency.holder.as_str());
    // Why: of a store that one process has alone, the others are gone.
    let is_other_life = !own && !engine.resources.records.store().is_shared();
    is_other_life || clock::has_passed(&record.until)
}

/// What is known of a request that was cut off.
async fn cut_off(engine: &Engine, tenant: &Tenant, record: IdempotencyRecord) -> Result<Claim, Error> {
    let (org, workspace, run_id) = (tenant.org.clone(), tenant.workspace.clone(), record.run_id);
    if engine.runs.get(&org, &workspace, &run_id).await?.is_some() {
        return Ok(Claim::CutOff(run_id));
    }
    let job = portcullis_store::JobName { org, workspace, run_id: run_id.clone() };
    if engine.jobs.store.get(&job).await?.is_some() {
        return Ok(Claim::CutOff(run_id));
    }
    // Why not made again: it may have been carried out, and only a person can find out.
    let detail = format!(
        "the first request with this key was cut off, and whether its run {run_id} was carried out is not known: look for \
         it in the ledger and at the third party, and use another key to make it again"
    );
    Err(Error::new(Code::IdempotencyInFlight, detail))
}

fn binding<'a>(org: &'a OrgId, workspace: &'a WorkspaceId, name: &'a str) -> ContentBinding<'a> {
    ContentBinding { org, workspace, purpose: "idempotent answer", name }
}

/// Reads a kept answer.
async fn replay(
    engine: &Engine,
    tenant: &Tenant,
    name: &str,
    record: &IdempotencyRecord,
) -> Result<Claim, Error> {
    let lost = || Error::new(Code::Internal, "the kept answer cannot be read");
    let mut sealed = Vec::new();
    for number in 0..record.parts {
        let number = format!("{number:05}");
        let parts = [tenant.org.as_str(), tenant.workspace.as_str(), name, number.as_str()];
        let (part, _) = engine.resources.records.get::<IdempotencyPart>(&parts).await?.ok_or_else(lost)?;
        sealed.extend(BASE64.decode(&part.data).map_err(|_| lost())?);
    }
    let binding = binding(&tenant.org, &tenant.workspace, name);
    let text = engine.resources.vault.open_content(&binding, &sealed).await?;
    serde_json::from_slice(&text).map(Claim::Repeat).map_err(|_| lost())
}

impl Claimed {
    fn new(
        engine: &Engine,
        tenant: &Tenant,
        name: &str,
        (record, revision): (IdempotencyRecord, u64),
        commitment: &Commitment,
    ) -> Self {
        Self {
            resources: Arc::clone(&engine.resources),
            answered: engine.idempotency.answered.clone(),
            org: tenant.org.clone(),
            workspace: tenant.workspace.clone(),
            name: name.to_owned(),
            record,
            revision,
            commitment: commitment.clone(),
            is_settled: false,
        }
    }

    /// The run that the request is to make.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        self.record.run_id.clone()
    }

    /// Keeps the answer for repeats.
    ///
    /// # Errors
    /// Those of vault and store: the request counts as cut off then, and its run answers for it.
    pub async fn keep(mut self, answer: &KeptAnswer) -> Result<(), Error> {
        self.is_settled = true;
        let text = serde_json::to_vec(answer).map_err(|_| Error::plain(Code::Internal))?;
        portcullis_core::offload::over(text.len()).await;
        let binding = binding(&self.org, &self.workspace, &self.name);
        let sealed = self.resources.vault.seal_content(&binding, &text).await?;
        let (org, workspace, name) = (self.org.as_str(), self.workspace.as_str(), self.name.as_str());
        let mut writes = Writes::new();
        let mut count = 0_u32;
        for chunk in sealed.chunks(PART_BYTES) {
            let number = format!("{count:05}");
            let part = IdempotencyPart { data: BASE64.encode(chunk) };
            writes = writes.put(&[org, workspace, name, number.as_str()], &part);
            count += 1;
        }
        let bytes = sealed.len() as u64;
        let record = IdempotencyRecord { holder: None, parts: count, bytes, ..self.record.clone() };
        writes = writes.replace(&[org, workspace, name], &record, self.revision);
        let kept = self.resources.commit(writes).await;
        // Why ignored: usually no repeat waits.
        let _ = self.answered.send(self.name.clone());
        Ok(kept.map(|_| ())?)
    }

    /// Leaves the key with its request, which is served again when it comes again.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn leave_open(mut self) -> Result<(), Error> {
        self.is_settled = true;
        let left = give_up(&self).await;
        // Why ignored: usually no repeat waits.
        let _ = self.answered.send(self.name.clone());
        left
    }

    /// Gives the key back: there was no run, so there is nothing to repeat. Where that is not known, the request counts as
    /// cut off.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn release(mut self) -> Result<(), Error> {
        self.is_settled = true;
        let name = self.name.clone();
        let answered = self.answered.clone();
        let released = if self.commitment.is_lost() { give_up(&self).await } else { give_back(&self).await };
        // Why ignored: usually no repeat waits.
        let _ = answered.send(name);
        released
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        // Why only then: a call that may have sent something is not made again.
        if self.is_settled || !self.commitment.abandon() {
            return;
        }
        let claimed = Self {
            resources: Arc::clone(&self.resources),
            answered: self.answered.clone(),
            org: self.org.clone(),
            workspace: self.workspace.clone(),
            name: self.name.clone(),
            record: self.record.clone(),
            revision: self.revision,
            commitment: self.commitment.clone(),
            is_settled: true,
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(error) = give_back(&claimed).await {
                tracing::warn!(code = %error.code, "an idempotency key could not be given back");
            }
            // Why ignored: usually no repeat waits.
            let _ = claimed.answered.send(claimed.name.clone());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_method_path_and_body_apart() {
        let one = fingerprint("POST", "/run/a/b", b"{}");
        assert_eq!(one, fingerprint("POST", "/run/a/b", b"{}"));
        for other in [
            fingerprint("PUT", "/run/a/b", b"{}"),
            fingerprint("POST", "/run/a/b{", b"}"),
            fingerprint("POST", "/run/a/b", b"{ }"),
        ] {
            assert_ne!(one, other);
        }
    }
}
