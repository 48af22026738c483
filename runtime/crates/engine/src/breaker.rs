//! Circuit breakers: a vendor that fails again and again is not asked for a while.
//!
//! There is one for each connection and one for each host of a connector; a call needs both. What a failure of the
//! vendor is says `breaker/outcome.rs`, when a breaker opens and whom it refuses says `breaker/state.rs`. They are this
//! process's own: each node learns for itself.
//!
//! A call asks before anything else of its attempt is done, and the answer is a permit, which takes the attempt's end.
//! One that is dropped without it gives a probe's place back. What nobody has failed at costs two look-ups.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::id::{ConnectionName, ConnectorId, OrgId};
use portcullis_core::limits::Limits;

use crate::clock::jitter;
use crate::connection::ConnectionKey;

mod listing;
mod outcome;
mod shards;
mod state;

pub use listing::{Affected, BreakerKind, BreakerState, BreakerView, ConnectionBreaker, list};
pub(crate) use outcome::{of_attempt, of_token_request};
pub(crate) use state::Outcome;

use shards::Shards;
use state::{Change, Pass, Refused, Rules};

/// A host of a connector. One that a workspace chose is a host of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HostKey {
    pub(crate) connector: ConnectorId,
    /// `https://host[:port]`.
    pub(crate) origin: String,
}

/// Every breaker of the process.
pub struct Breakers {
    rules: Rules,
    connections: Shards<ConnectionKey>,
    hosts: Shards<HostKey>,
}

/// How many breakers of a kind are in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerCount {
    /// The kind.
    pub kind: BreakerKind,
    /// The state; `None` for the closed ones of which something is noted.
    pub state: Option<BreakerState>,
    /// How many there are.
    pub count: usize,
}

/// A breaker is open: nothing may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CircuitOpen {
    /// After which another attempt makes sense. Those who wait for it do not come back together.
    pub(crate) wait: Duration,
}

impl From<Refused> for CircuitOpen {
    fn from(refused: Refused) -> Self {
        Self { wait: refused.left + refused.spread.mul_f64(jitter()) }
    }
}

/// What is asked for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// To be let through or refused.
    Permission,
    /// Nothing: it goes whatever the state is, and its end is taken up. A person asks, or it belongs to what was begun.
    Nothing,
}

/// A request that may be sent.
#[must_use]
pub(crate) struct Permit {
    breakers: Arc<Breakers>,
    org: OrgId,
    connection: Option<(ConnectionKey, Pass)>,
    host: Option<(HostKey, Pass)>,
}

impl Breakers {
    pub(crate) fn new(limits: &Limits) -> Self {
        let most = usize::try_from(limits.breakers).unwrap_or(usize::MAX);
        Self { rules: Rules::new(limits), connections: Shards::new(most), hosts: Shards::new(most) }
    }

    /// Lets a request of a connection through.
    ///
    /// # Errors
    /// [`CircuitOpen`] if one of the two breakers refuses it.
    pub(crate) fn admit(
        self: &Arc<Self>,
        connection: &ConnectionKey,
        host: Option<HostKey>,
        asking: Asking,
    ) -> Result<Permit, CircuitOpen> {
        let now = Instant::now();
        let org = &connection.org;
        let pass = self.connections.admit(connection, org, asking, now, &self.rules)?;
        let breakers = Arc::clone(self);
        let mut permit =
            Permit { breakers, org: org.clone(), connection: Some((connection.clone(), pass)), host: None };
        // Why after the first: if it is refused here, the permit gives a place back that it has there.
        permit.host = match host {
            Some(host) => {
                let pass = self.hosts.admit(&host, org, asking, now, &self.rules)?;
                Some((host, pass))
            }
            None => None,
        };
        Ok(permit)
    }

    /// Lets a token request through, which counts for its host alone: the connection's own requests have other hosts.
    ///
    /// # Errors
    /// [`CircuitOpen`] if the host's breaker refuses it.
    pub(crate) fn admit_host(
        self: &Arc<Self>,
        org: &OrgId,
        host: HostKey,
        asking: Asking,
    ) -> Result<Permit, CircuitOpen> {
        let pass = self.hosts.admit(&host, org, asking, Instant::now(), &self.rules)?;
        Ok(Permit {
            breakers: Arc::clone(self),
            org: org.clone(),
            connection: None,
            host: Some((host, pass)),
        })
    }

    /// Whether a request would be refused now.
    pub(crate) fn would_refuse(&self, connection: &ConnectionKey, host: Option<&HostKey>) -> bool {
        let (now, org, rules) = (Instant::now(), &connection.org, &self.rules);
        self.connections.would_refuse(connection, org, now, rules)
            || host.is_some_and(|host| self.hosts.would_refuse(host, org, now, rules))
    }

    /// How many there are, by kind and state: for metrics.
    #[must_use]
    pub fn snapshot(&self) -> Vec<BreakerCount> {
        let now = Instant::now();
        let of = |kind, counts: [usize; 3]| {
            let states = [None, Some(BreakerState::Open), Some(BreakerState::HalfOpen)];
            states.into_iter().zip(counts).map(move |(state, count)| BreakerCount { kind, state, count })
        };
        let connections = of(BreakerKind::Connection, self.connections.counts(now));
        connections.chain(of(BreakerKind::Host, self.hosts.counts(now))).collect()
    }
}

impl Permit {
    /// Takes up how the request ended. `origin` is where the last request went: the failure of another host is not one
    /// of the breaker's.
    pub(crate) fn settle(mut self, outcome: Outcome, origin: &str) {
        if let Some((key, pass)) = self.connection.take() {
            self.settle_connection(&key, pass, outcome);
        }
        if let Some((key, pass)) = self.host.take() {
            let elsewhere = outcome == Outcome::Failed && key.origin != origin;
            // Why an answer: what sent it on to another host has answered.
            self.settle_host(&key, pass, if elsewhere { Outcome::Answered } else { outcome });
        }
    }

    fn settle_connection(&self, key: &ConnectionKey, pass: Pass, outcome: Outcome) {
        let Breakers { connections, rules, .. } = &*self.breakers;
        let noted = outcome == Outcome::Failed;
        let change = connections.settle(key, &self.org, (pass, outcome, noted), Instant::now(), rules);
        let ConnectionKey { org, workspace, connector, name } = key;
        let connection = name.as_ref().map(ConnectionName::as_str);
        match change {
            Some(Change::Opened { period, .. }) => {
                let period_ms = period.as_millis();
                tracing::warn!(%connector, %org, %workspace, connection, period_ms, "a connection's circuit breaker is open");
            }
            Some(Change::Closed) => {
                tracing::info!(%connector, %org, %workspace, connection, "a connection's circuit breaker is closed");
            }
            None => {}
        }
    }

    fn settle_host(&self, key: &HostKey, pass: Pass, outcome: Outcome) {
        let Breakers { hosts, rules, .. } = &*self.breakers;
        // Why successes, too: which orgs use it decides when it opens.
        let noted = outcome != Outcome::Unknown;
        let change = hosts.settle(key, &self.org, (pass, outcome, noted), Instant::now(), rules);
        let HostKey { connector, origin } = key;
        match change {
            Some(Change::Opened { period, for_all }) => {
                let period_ms = period.as_millis();
                tracing::warn!(%connector, origin, period_ms, for_all, "a host's circuit breaker is open");
            }
            Some(Change::Closed) => {
                tracing::info!(%connector, origin, "a host's circuit breaker is closed");
            }
            None => {}
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((key, pass)) = self.connection.take().filter(|(_, pass)| pass.is_probe()) {
            self.settle_connection(&key, pass, Outcome::Unknown);
        }
        if let Some((key, pass)) = self.host.take().filter(|(_, pass)| pass.is_probe()) {
            self.settle_host(&key, pass, Outcome::Unknown);
        }
    }
}

#[cfg(test)]
mod tests;
