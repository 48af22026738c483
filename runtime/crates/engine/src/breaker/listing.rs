//! Breakers as people see them: the list for the platform, and the state of one connection.

use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_core::hex;
use portcullis_core::id::{ConnectionName, ConnectorId, OrgId, WorkspaceId};
use schemars::JsonSchema;
use serde::Serialize;

use super::state::Glance;
use super::{Breakers, HostKey};
use crate::caller::Caller;
use crate::clock;
use crate::connection::ConnectionKey;
use crate::engine::Engine;
use crate::error::Error;
use crate::page::{Page, PageRequest};

/// Bytes of a digest that are an id.
const ID_BYTES: usize = 16;

/// What a breaker is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerKind {
    /// A workspace's connection to a connector.
    Connection,
    /// A host of a connector.
    Host,
}

impl BreakerKind {
    /// The word in documents and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Host => "host",
        }
    }
}

/// The state of a breaker that is not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Nothing is sent.
    Open,
    /// One request may go, or is under way; its end decides.
    HalfOpen,
}

impl BreakerState {
    /// The word in documents and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Whom a breaker refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Affected {
    /// Every org.
    All,
    /// The orgs whose failures opened it.
    FailingOrgs,
}

/// A breaker that is not closed.
#[derive(Debug, Clone)]
pub struct BreakerView {
    /// Names it in this list: the same as long as this process runs, and in others.
    pub id: String,
    pub kind: BreakerKind,
    pub connector_id: ConnectorId,
    /// `https://host[:port]`, for one of a host.
    pub origin: Option<String>,
    /// The connection's, for one of a connection.
    pub org: Option<OrgId>,
    pub workspace: Option<WorkspaceId>,
    /// The connection's name, for one of a named connection.
    pub connection: Option<ConnectionName>,
    pub state: BreakerState,
    /// When it opened, RFC 3339.
    pub since: String,
    /// When a request may go that shows whether the vendor works again, RFC 3339.
    pub next_probe_at: String,
    /// Orgs whose failures opened it.
    pub failing_orgs: u64,
    pub affects: Affected,
}

/// The breaker of a connection, if it is not closed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ConnectionBreaker {
    /// Whether all requests are refused, or one may go.
    pub state: BreakerState,
    /// Until when requests are refused, RFC 3339.
    pub until: String,
}

impl Glance {
    const fn state(&self) -> BreakerState {
        if self.is_half_open { BreakerState::HalfOpen } else { BreakerState::Open }
    }
}

/// An instant of this process as a time of day.
fn time_of(at: Instant, now: Instant) -> String {
    match now.checked_duration_since(at) {
        Some(ago) => clock::before(ago),
        None => clock::after(at.saturating_duration_since(now)),
    }
}

fn id(parts: &[&str]) -> String {
    let hash = digest(&SHA256, parts.join("\n").as_bytes());
    let bytes = hash.as_ref().get(..ID_BYTES).unwrap_or_default();
    format!("brk_{}", hex::encode(bytes))
}

impl Breakers {
    /// The breaker of a connection; `None` while it is closed.
    pub(crate) fn of_connection(&self, key: &ConnectionKey) -> Option<ConnectionBreaker> {
        let now = Instant::now();
        let seen = self.connections.glance(key, now)?;
        Some(ConnectionBreaker { state: seen.state(), until: time_of(seen.until, now) })
    }

    pub(super) fn not_closed(&self) -> Vec<BreakerView> {
        let now = Instant::now();
        let of = |seen: Glance, kind, id, connector_id: ConnectorId| BreakerView {
            id,
            kind,
            connector_id,
            origin: None,
            org: None,
            workspace: None,
            connection: None,
            state: seen.state(),
            since: time_of(seen.since, now),
            next_probe_at: time_of(seen.until, now),
            failing_orgs: u64::try_from(seen.failing_orgs).unwrap_or(u64::MAX),
            affects: if seen.for_all { Affected::All } else { Affected::FailingOrgs },
        };
        let connections = self.connections.not_closed(now, &self.rules).into_iter().map(|(key, seen)| {
            let parts = key.parts();
            let id = id(&["connection"].into_iter().chain(parts.iter().copied()).collect::<Vec<_>>());
            let ConnectionKey { org, workspace, connector, name } = key;
            let view = of(seen, BreakerKind::Connection, id, connector);
            BreakerView { org: Some(org), workspace: Some(workspace), connection: name, ..view }
        });
        let hosts = self.hosts.not_closed(now, &self.rules).into_iter().map(|(key, seen)| {
            let id = id(&["host", key.connector.as_str(), &key.origin]);
            let HostKey { connector, origin } = key;
            BreakerView { origin: Some(origin), ..of(seen, BreakerKind::Host, id, connector) }
        });
        connections.chain(hosts).collect()
    }
}

/// The breakers of this process that are not closed, in the order of their ids.
///
/// # Errors
/// `role_not_allowed`.
pub fn list(engine: &Engine, caller: &Caller, wanted: &PageRequest) -> Result<Page<BreakerView>, Error> {
    caller.platform()?;
    let mut found = engine.resources.breakers.not_closed();
    found.retain(|breaker| wanted.after().is_none_or(|after| breaker.id.as_str() > after));
    found.sort_by(|a, b| a.id.cmp(&b.id));
    found.truncate(wanted.wanted());
    Ok(wanted.page(found))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_before_and_after_now_are_told() {
        let now = Instant::now();
        let (past, future) =
            (time_of(now, now + Duration::from_secs(60)), time_of(now + Duration::from_secs(60), now));
        assert!(clock::has_passed(&past) && !clock::has_passed(&future), "{past} {future}");
    }

    #[test]
    fn an_id_fits_where_a_list_goes_on() {
        let long = "a".repeat(63);
        let id = id(&["connection", &long, &long, &long]);
        assert_eq!((id.len(), id.starts_with("brk_")), (36, true));
    }
}
