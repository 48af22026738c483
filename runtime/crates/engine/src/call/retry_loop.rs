//! The retry loop of one call: token, rate limit, attempt, and the decision whether there is another.
//!
//! All waiting happens here, without a guest instance, and within the single deadline of the call.

use std::time::Duration;

use jiff::Timestamp;
use portcullis_action::Values;
use portcullis_action::plan::{Asked, ErrorAction};
use portcullis_action::retry::{Decision, Tried, decide};
use portcullis_action::template::scalar_text;
use portcullis_core::connector::{Action, Connector};
use portcullis_core::fault::Code;
use portcullis_core::id::RunId;
use portcullis_store::StoreError;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::active_calls::CancelHandle;
use super::pipeline::Trying;
use super::prepare::{Named, Ready, granted};
use super::request::CallRequest;
use super::run::{Progress, RunEnd};
use crate::breaker::CircuitOpen;
use crate::clock::{self, jitter};
use crate::connection::LoadedConnection;
use crate::engine::Engine;
use crate::error::Error;
use crate::oauth::renewal::Need;
use crate::rate_limit::{NoTurn, Slots};
use std::sync::Arc;

mod asking;
mod attempt;
mod breaking;
mod stale;

use asking::After;

/// What all attempts of a call share.
#[derive(Clone, Copy)]
pub(crate) struct RetryLoop<'a> {
    engine: &'a Engine,
    call: &'a CallRequest,
    run: &'a RunId,
    named: &'a Named,
    handle: &'a Arc<CancelHandle>,
    started: Instant,
    deadline: Instant,
    /// Only one attempt of the action's request.
    once: bool,
    /// How long before `started` the first attempt of the run was.
    age: Duration,
}

/// One attempt: its end, and what is known of the cause.
struct Attempt {
    end: RunEnd,
    failure: Option<Cause>,
}

/// What went before a failed attempt.
struct Tries {
    /// Which attempt of its request it was.
    attempt: u8,
    /// Whether it had a new token.
    renewed: bool,
    /// Whether its request may be repeated without changing its effect.
    repeatable: bool,
    /// Whether its request asks for work that was begun before.
    is_asking: bool,
}

/// Why an attempt failed, for the retry rules.
enum Cause {
    Network { sent: bool },
    Upstream { status: u16, action: ErrorAction, ruled: bool, headers: Map<String, Value>, body: Value },
}

impl Cause {
    /// Whether the third party may have done what it was asked for: bytes arrived and no answer says that it refused.
    const fn may_have_been_carried_out(&self) -> bool {
        match self {
            Self::Network { sent } => *sent,
            Self::Upstream { status, .. } => *status >= 500 || *status == 408,
        }
    }
}

/// What follows a failed attempt. With the end of the call comes the time after which a caller may try again,
/// if known.
enum Next {
    End { retry_after: Option<Duration> },
    Cancelled(Code),
    Again,
    Renew,
}

impl<'a> RetryLoop<'a> {
    /// The attempts of one call, which together may take `limits.call_ms`.
    pub(crate) fn new(
        engine: &'a Engine,
        call: &'a CallRequest,
        run: &'a RunId,
        named: &'a Named,
        handle: &'a Arc<CancelHandle>,
    ) -> Self {
        let started = Instant::now();
        let deadline = started + Duration::from_millis(engine.resources.limits.call_ms);
        Self { engine, call, run, named, handle, started, deadline, once: false, age: Duration::ZERO }
    }

    /// The same, tried in this way.
    pub(crate) const fn trying(self, trying: &Trying) -> Self {
        Self { once: trying.once, age: trying.age, ..self }
    }

    /// Makes attempts until the call has ended.
    ///
    /// # Errors
    /// An [`Error`] if no attempt could be made.
    pub(crate) async fn run(&self, mut ready: Ready, progress: &mut Progress) -> Result<RunEnd, Error> {
        let mut need = Need::Usable;
        let mut attempt: u8 = 1;
        let mut asked: Option<Asked> = None;
        let mut last: Option<RunEnd> = None;
        let mut failed: Option<RunEnd> = None;
        loop {
            let renewed = need != Need::Usable;
            let action = self.named.action_of(ready.connection.connector())?;
            let permit = match self.admit(action, &ready, asked.as_ref()) {
                Ok(permit) => permit,
                Err(CircuitOpen { wait }) => return Ok(Self::refused(failed.or(last), wait, progress)),
            };
            if !self.call.dry_run {
                let ends = (last.take().filter(|_| renewed), &mut failed);
                if let Some(end) =
                    self.token(&mut ready.connection, need, asked.as_ref(), ends, progress).await?
                {
                    return Ok(end);
                }
            }
            if !self.call.dry_run && !self.named.is_discovery() {
                self.discover(&mut ready.connection, progress).await?;
                if let Some(code) = self.handle.end_reason() {
                    return Ok(RunEnd::plain(code));
                }
            }
            let connector = ready.connection.connector();
            let action = self.named.action_of(connector)?;
            let slots = match self.rate_limit(action, &ready).await {
                Ok(slots) => slots,
                Err(end) => {
                    progress.may_repeat = asked.is_none() && end.is_rate_limited();
                    return Ok(end);
                }
            };
            let tried =
                self.once(action, &ready, asked.as_ref(), permit, progress).await?.unless_stale(connector);
            drop(slots);
            let Some(cause) = tried.failure else {
                match self.after_success(action, tried.end).await {
                    After::End(end) => return Ok(end),
                    After::Ask(next) => asked = Some(next),
                }
                // Why: each request has the attempts of a call of its own, and a new token if it needs one.
                (attempt, need, last, failed) = (1, Need::Usable, None, None);
                continue;
            };
            let repeatable = action.idempotent || asked.is_some();
            let is_asking = asked.is_some();
            match self
                .next(action, connector, &cause, Tries { attempt, renewed, repeatable, is_asking })
                .await
            {
                Next::End { retry_after } => {
                    // Why not while asking: the work was begun, and the whole call would begin it again.
                    progress.may_repeat = !is_asking && retry_after.is_some();
                    let end = tried.end.retried_after(retry_after);
                    let unsure = !repeatable && cause.may_have_been_carried_out();
                    return Ok(if unsure { end.perhaps_carried_out() } else { end });
                }
                Next::Cancelled(code) => return Ok(RunEnd::plain(code)),
                Next::Again => {
                    attempt += 1;
                    failed = Some(tried.end);
                }
                Next::Renew => {
                    let revision = ready.connection.stored.current_token().map_or(0, |t| t.revision);
                    need = Need::NewerThan(revision);
                    last = Some(tried.end);
                }
            }
            progress.usage.retries += 1;
        }
    }

    /// Gets the token that an attempt needs. `last` is the end of an attempt whose token was refused, `failed` that of
    /// another failed attempt. Returns the end of the call if there is no token.
    async fn token(
        &self,
        connection: &mut LoadedConnection,
        need: Need,
        asked: Option<&Asked>,
        (last, failed): (Option<RunEnd>, &mut Option<RunEnd>),
        progress: &mut Progress,
    ) -> Result<Option<RunEnd>, Error> {
        let wanted = (need, self.asking(asked));
        let fresh = self.engine.renewal.fresh(connection, self.run, wanted, self.handle);
        match (self.unless_ended(fresh).await, last) {
            (Ok(Ok(())), _) => Ok(None),
            // Why first: what ended the call may be why there is no token.
            (Ok(Err(_)), _) if self.handle.end_reason().is_some() => {
                Ok(Some(RunEnd::plain(self.handle.end_reason().unwrap_or(Code::CallEnded))))
            }
            // Why the earlier end is returned: the upstream's refusal is what the caller asked about.
            (Ok(Err(_)), Some(end)) => {
                // Why: a request whose token was refused was not carried out.
                progress.may_repeat = asked.is_none();
                Ok(Some(end))
            }
            (Ok(Err(Error { code: Code::CircuitOpen, retry_after_s, .. })), _) => {
                let wait = Duration::from_secs(retry_after_s.unwrap_or_default());
                Ok(Some(Self::refused(failed.take(), wait, progress)))
            }
            (Ok(Err(error)), _) => Err(error),
            (Err(code), _) => {
                // Why: without a token nothing was asked of the third party, or it refused to do it.
                progress.may_repeat = asked.is_none() && code == Code::UpstreamTimeout;
                Ok(Some(RunEnd::plain(code)))
            }
        }
    }

    /// Fills automated config fields that have no value yet. One that cannot be found is left out: the request
    /// that needs it reports it.
    async fn discover(&self, connection: &mut LoadedConnection, progress: &Progress) -> Result<(), Error> {
        let missing: Vec<usize> = connection.undiscovered().collect();
        if missing.is_empty() {
            return Ok(());
        }
        for index in missing {
            let named = self.named.discovery(index);
            // Why all its attempts: what it does not find is missing from the request.
            let inner = RetryLoop { named: &named, once: false, ..*self };
            let mut own = progress.clone();
            let ready = Ready { connection: connection.clone(), input: Map::new() };
            let end = Box::pin(inner.run(ready, &mut own)).await?;
            if self.handle.end_reason().is_some() {
                return Ok(());
            }
            let RunEnd::Succeeded(success) = &end else { continue };
            let output = success.output();
            let capture = connection.connector().discover.get(index).into_iter().flat_map(|d| &d.capture);
            let found: Vec<(String, Value)> = capture
                .filter_map(|(name, pointer)| {
                    let text = output.pointer(pointer).and_then(scalar_text)?;
                    Some((name.clone(), Value::String(text)))
                })
                .collect();
            let resources = &self.engine.resources;
            if let Some(writes) = connection.learned(resources, found).await? {
                match resources.commit(writes).await {
                    // The credential changed meanwhile: the value belongs to another account.
                    Ok(_) | Err(StoreError::Conflict { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            connection.reload(resources).await?;
        }
        let action = self.named.action_of(connection.connector())?;
        self.handle.set_granted(granted(connection, self.named, action)?);
        Ok(())
    }

    /// Waits for something unless the call is ended from outside or its time is up.
    async fn unless_ended<T>(&self, wait: impl Future<Output = T>) -> Result<T, Code> {
        tokio::select! {
            // Why in this order: a call that was ended begins nothing more.
            biased;
            code = self.handle.ended() => Err(code),
            done = wait => Ok(done),
            () = tokio::time::sleep_until(self.deadline) => Err(Code::UpstreamTimeout),
        }
    }

    /// Waits for the connection's own rate limits; returns the end of the call if the wait is too long.
    async fn rate_limit(&self, action: &Action, ready: &Ready) -> Result<Slots, RunEnd> {
        if self.call.dry_run || action.budgets.is_empty() {
            return Ok(Slots::default());
        }
        let patience = Duration::from_millis(u64::from(action.retry.max_wait_ms));
        let patience = patience.min(self.deadline.saturating_duration_since(Instant::now()));
        let values = Values { input: (&ready.input).into(), ..Values::config_only(&ready.connection.config) };
        let taking = self.engine.rate_limits.take(action, &ready.connection.key, &values, patience);
        match self.unless_ended(taking).await {
            Ok(Ok(slots)) => Ok(slots),
            Ok(Err(NoTurn::Store(error))) => Err(RunEnd::plain(error.code)),
            Ok(Err(NoTurn::UsedUp { wait })) => Err(RunEnd::Failed {
                code: Code::RateLimited,
                message: Code::RateLimited.title().to_owned(),
                class: Some("rate_limit".to_owned()),
                upstream: None,
                retryable: true,
                error: None,
                retry_at: Some(clock::after(wait)),
            }),
            Err(code) => Err(RunEnd::plain(code)),
        }
    }

    /// Decides, and waits if there is another attempt.
    async fn next(&self, action: &Action, connector: &Connector, cause: &Cause, tries: Tries) -> Next {
        let now_ms = Timestamp::now().as_millisecond();
        let tried = Tried {
            attempt: tries.attempt,
            failure: cause.as_failure(connector),
            idempotent: tries.repeatable,
            // Why for a limited time: a key that the vendor forgot protects nothing.
            keyed: action.key.as_ref().is_some_and(|rules| {
                rules
                    .ttl_s
                    .is_none_or(|s| self.age + self.started.elapsed() < Duration::from_secs(u64::from(s)))
            }),
            refreshed: tries.renewed || connector.auth.token.is_none(),
            jitter: jitter(),
            now_ms,
        };
        let wait = match decide(&action.retry, &tried) {
            Decision::Stop => return Next::End { retry_after: None },
            Decision::RefreshThenAgain => return Next::Renew,
            Decision::TooLong { wait } => return Next::End { retry_after: Some(wait) },
            Decision::Again { after } if self.once && !tries.is_asking => {
                return Next::End { retry_after: Some(after) };
            }
            Decision::Again { after } => after,
        };
        if Instant::now() + wait >= self.deadline {
            return Next::End { retry_after: Some(wait) };
        }
        match self.unless_ended(tokio::time::sleep(wait)).await {
            Ok(()) => Next::Again,
            Err(code) => Next::Cancelled(code),
        }
    }
}
