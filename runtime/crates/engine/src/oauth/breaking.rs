//! The circuit breaker of a token endpoint's host. Its failures count for that host alone.

use portcullis_core::fault::Code;
use portcullis_core::token_plan::{TokenPlan, TokenStep};
use portcullis_store::TokenState;

use crate::breaker::{Asking, HostKey, Permit};
use crate::clock;
use crate::connection::LoadedConnection;
use crate::error::Error;
use crate::resources::Resources;

/// Asks for the first token request. Why before anything is done: what is refused was not tried, so no failure is noted
/// with the token, and nothing as sent with the run.
///
/// # Errors
/// `circuit_open`.
pub(super) fn admit(
    resources: &Resources,
    connection: &LoadedConnection,
    plan: &TokenPlan,
) -> Result<Option<Permit>, Error> {
    let renewable = connection.stored.current_token().is_some_and(|token| token.renewable);
    let step = plan.renew.as_ref().filter(|_| renewable).or_else(|| plan.obtain.first());
    let Some(host) = step.and_then(|step| host(connection, step)) else { return Ok(None) };
    let admitted = resources.breakers.admit_host(&connection.key.org, host, Asking::Permission);
    admitted.map(Some).map_err(|open| {
        let seconds = open.wait.as_secs().saturating_add(1);
        Error { retry_after_s: Some(seconds), ..Error::plain(Code::CircuitOpen) }
    })
}

/// A permit for a request that goes whatever the breaker says: its end is taken up.
pub(super) fn admit_freely(
    resources: &Resources,
    connection: &LoadedConnection,
    step: &TokenStep,
) -> Option<Permit> {
    let host = host(connection, step)?;
    resources.breakers.admit_host(&connection.key.org, host, Asking::Nothing).ok()
}

/// Whether there is a token that has not expired.
pub(super) fn still_works(token: Option<&TokenState>) -> bool {
    token.is_some_and(|token| {
        token.sealed.is_some() && token.expires_at.as_ref().is_none_or(|at| !clock::has_passed(at))
    })
}

/// The host that a step asks.
fn host(connection: &LoadedConnection, step: &TokenStep) -> Option<HostKey> {
    let origin = connection.scope(step.method, &step.url).ok()?.fixed_origin()?;
    Some(HostKey { connector: connection.key.connector.clone(), origin })
}
