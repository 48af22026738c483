//! Circuit breakers in the life of a call: each attempt asks before anything of it is done.

use std::time::Duration;

use portcullis_action::plan::{Asked, ErrorClass};
use portcullis_core::connector::Action;
use portcullis_core::fault::Code;
use portcullis_core::verdict::{CheckVerdict, Decision};
use tokio::time::Instant;

use super::RetryLoop;
use super::attempt::scopes;
use crate::breaker::{Asking, CircuitOpen, HostKey, Permit};
use crate::call::prepare::{Pick, Ready};
use crate::call::run::{Progress, RunEnd};
use crate::clock;
use crate::connection::LoadedConnection;

/// The check's name in a run's decisions.
const CHECK: &str = "breaker";

impl RetryLoop<'_> {
    /// Whether an attempt may be made; for a dry run, which sends nothing, there is no permit.
    ///
    /// # Errors
    /// [`CircuitOpen`] if a breaker refuses it.
    pub(super) fn admit(
        &self,
        action: &Action,
        ready: &Ready,
        asked: Option<&Asked>,
    ) -> Result<Option<Permit>, CircuitOpen> {
        if self.call.dry_run {
            return Ok(None);
        }
        let asking = self.asking(asked);
        let host = host(action, &ready.connection);
        self.engine.resources.breakers.admit(&ready.connection.key, host, asking).map(Some)
    }

    /// What an attempt and the token requests for it ask.
    pub(super) const fn asking(&self, asked: Option<&Asked>) -> Asking {
        match self.named.pick {
            // Why the first: a person asks how it is now. The second belongs to an attempt that was let through.
            Pick::Test | Pick::Discover(_) => Asking::Nothing,
            // Why: the work was begun, and its result would be lost.
            Pick::Action(_) if asked.is_some() => Asking::Nothing,
            Pick::Action(_) => Asking::Permission,
        }
    }

    /// Adds to the checks of a dry run that the call itself would be refused.
    pub(super) fn note_in_dry_run(&self, action: &Action, ready: &Ready, progress: &mut Progress) {
        let host = host(action, &ready.connection);
        let breakers = &self.engine.resources.breakers;
        if self.call.dry_run && breakers.would_refuse(&ready.connection.key, host.as_ref()) {
            let verdict = CheckVerdict::WouldRefuse;
            progress.decisions.push(Decision { verdict, ..Decision::refuse(CHECK, Code::CircuitOpen) });
        }
    }

    /// The end of a call because a breaker is open. Why that of the attempt before, if there was one: it says more of the
    /// vendor. Otherwise nothing was sent.
    pub(super) fn refused(before: Option<RunEnd>, wait: Duration, progress: &mut Progress) -> RunEnd {
        // Why: nothing was sent, or what was sent may be repeated.
        progress.may_repeat = true;
        if let Some(end) = before {
            return end.retried_after(Some(wait));
        }
        progress.decisions.push(Decision::refuse(CHECK, Code::CircuitOpen));
        RunEnd::Failed {
            code: Code::CircuitOpen,
            message: Code::CircuitOpen.title().to_owned(),
            class: Some(ErrorClass::Transient.as_str().to_owned()),
            upstream: None,
            retryable: true,
            error: None,
            retry_at: Some(clock::after(wait)),
        }
    }

    /// Whether an attempt that begins now has most of the call's time.
    pub(super) fn has_time(&self) -> bool {
        let left = self.deadline.saturating_duration_since(Instant::now());
        left >= Duration::from_millis(self.engine.resources.limits.call_ms) / 2
    }
}

/// The host that an attempt asks, if it is one and no input chooses it: who fills an input must not make hosts.
fn host(action: &Action, connection: &LoadedConnection) -> Option<HostKey> {
    let origin = match connection.connector().module_of(action) {
        None => connection.scope(action.method, &action.url).ok()?.fixed_origin()?,
        Some(_) => {
            let mut origins = scopes(action, None, connection).ok()?.into_iter().map(|s| s.fixed_origin());
            let first = origins.next()??;
            origins.all(|other| other.as_ref() == Some(&first)).then_some(first)?
        }
    };
    Some(HostKey { connector: connection.key.connector.clone(), origin })
}
