//! The health of a connection: whether the third party goes on accepting its credential, as calls, tests and renewals show.
//!
//! ```text
//! call ends with class auth     the third in a row, or the first by a rule that is final: needs attention
//! call ends otherwise           a success clears; another answer ends the row; no answer says nothing
//! test                          fails with an answer: needs attention; passes: clears
//! renewal                       refused for good: needs attention; works: clears that
//! credential saved, consent     begins anew
//! ```
//!
//! Nothing here ends or refuses a call: calls of a refused connection go on being made, so that a success clears it. A
//! success of a healthy connection costs a look into memory; it is written once a minute, behind the call.

use std::sync::Arc;

use portcullis_core::id::{ConnectionName, CredentialId};
use portcullis_store::{
    ConnectionHealth, ConnectorSetting, CredentialState, HealthChange, HealthChangeKind, StoreError, Writes,
};

use super::key::ConnectionKey;
use super::loaded::LoadedConnection;
use crate::call::run::Run;
use crate::clock;
use crate::engine::Engine;
use crate::resources::Resources;
use crate::webhooks::{Event, EventData, EventType, tell};

mod notes;
mod row;
mod standing;

pub(crate) use notes::HealthNotes;
use notes::Known;
use row::Change;
pub(crate) use row::Seen;
pub(crate) use standing::standing;
pub use standing::{Attention, ConnectionChange};

/// Attempts to write beside others of the same connection.
const ATTEMPTS_MAX: u32 = 20;

/// A saved connection and the credential with which something was seen.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    key: ConnectionKey,
    credential: Option<CredentialId>,
    revision: u64,
}

impl Watched {
    /// The connection as a call uses it; `None` for one that nobody saved.
    pub(crate) fn of(connection: &LoadedConnection) -> Option<Self> {
        connection.stored.setting.as_ref()?;
        let credential = connection.stored.credential.as_ref();
        Some(Self {
            key: connection.key.clone(),
            credential: credential.map(|saved| saved.credential_id.clone()),
            revision: credential.map_or(0, |saved| saved.revision),
        })
    }

    fn is_of(&self, health: &ConnectionHealth) -> bool {
        (health.credential_id.as_ref(), health.credential_revision)
            == (self.credential.as_ref(), self.revision)
    }
}

/// Takes up how a call ended.
pub(crate) async fn after_call(engine: &Engine, watched: &Watched, run: &Run) {
    let Some(seen) = Seen::of(&run.end) else { return };
    let notes = &engine.resources.health;
    match (&seen, notes.known(&watched.key, watched.revision)) {
        (Seen::Success, Known::Fresh) | (Seen::Answered, Known::Fresh | Known::Clean) => {}
        (Seen::Success, Known::Clean) => {
            // Why before: of those that come meanwhile none writes it, too.
            notes.wrote(&watched.key, watched.revision);
            let (resources, watched) = (Arc::clone(&engine.resources), watched.clone());
            // Why behind the call: nothing but the time of a success changes.
            drop(engine.resources.open_ledgers.spawn(async move {
                note(&resources, &watched, &Seen::Success).await;
            }));
        }
        _ => note(&engine.resources, watched, &seen).await,
    }
}

/// Takes up what was seen. A failure is logged: what was seen says something of the third party and not of the call.
pub(crate) async fn note(resources: &Resources, watched: &Watched, seen: &Seen) {
    if let Err(error) = noted(resources, watched, seen).await {
        let connector = &watched.key.connector;
        tracing::warn!(%error, %connector, "what was seen of a connection could not be written");
        resources.health.forget(&watched.key);
    }
}

async fn noted(resources: &Resources, watched: &Watched, seen: &Seen) -> Result<(), StoreError> {
    let (records, parts) = (&resources.records, watched.key.parts());
    for _ in 0..ATTEMPTS_MAX {
        let found = records.get::<ConnectionHealth>(&parts).await?;
        let mut health = found.as_ref().map(|(health, _)| health.clone()).unwrap_or_default();
        if !watched.is_of(&health) {
            if !is_current(resources, watched).await? {
                return Ok(());
            }
            health = begun_anew(health, watched.credential.clone(), watched.revision);
        }
        let now = clock::now();
        let change = row::take_up(&mut health, seen, &now);
        if change == Change::None {
            resources.health.read(&watched.key, watched.revision, &health);
            return Ok(());
        }
        let mut writes = Writes::new().require_present::<ConnectorSetting>(&parts);
        writes = match &found {
            Some((_, commit)) => writes.replace(&parts, &health, *commit),
            None => writes.create(&parts, &health),
        };
        if let Some(event) = event_of(&watched.key, change, &health) {
            writes = tell(resources, writes, &event).await?;
        }
        match resources.commit(writes).await {
            Ok(_) => {
                resources.health.read(&watched.key, watched.revision, &health);
                if change.is_state() {
                    let ConnectionKey { org, workspace, connector, name } = &watched.key;
                    let connection = name.as_ref().map(ConnectionName::as_str);
                    tracing::info!(%org, %workspace, %connector, connection, ?change, "a connection's state changed");
                }
                return Ok(());
            }
            Err(StoreError::Conflict { .. }) => {
                if records.get::<ConnectorSetting>(&parts).await?.is_none() {
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the credential is the saved one: what is seen with an earlier one says nothing of it.
async fn is_current(resources: &Resources, watched: &Watched) -> Result<bool, StoreError> {
    let saved = resources.records.get::<CredentialState>(&watched.key.parts()).await?;
    let saved = saved.map(|(saved, _)| (saved.credential_id, saved.revision));
    Ok(saved == watched.credential.clone().map(|credential| (credential, watched.revision)))
}

fn begun_anew(
    before: ConnectionHealth,
    credential_id: Option<CredentialId>,
    credential_revision: u64,
) -> ConnectionHealth {
    ConnectionHealth { credential_id, credential_revision, refusals: 0, attention: None, ..before }
}

/// What others are told of a change.
fn event_of(key: &ConnectionKey, change: Change, health: &ConnectionHealth) -> Option<Event> {
    let (kind, cause) = match change {
        Change::None | Change::Noted => return None,
        Change::NeedsAttention => {
            let cause = health.attention.as_ref().map(|attention| attention.cause.as_str());
            (EventType::ConnectionNeedsAttention, cause)
        }
        Change::Recovered => (EventType::ConnectionConnected, Some("recovered")),
        Change::Consent => (EventType::ConnectionConnected, Some("consent")),
    };
    // Why without the message: it quotes the third party.
    let attention = health.attention.as_ref();
    Some(event(key, kind, cause).with(|data| {
        data.class = attention.map(|attention| attention.class.clone());
        data.since = attention.map(|attention| attention.since.clone());
    }))
}

fn event(key: &ConnectionKey, kind: EventType, cause: Option<&str>) -> Event {
    let data = EventData {
        org: Some(key.org.clone()),
        workspace: Some(key.workspace.clone()),
        connector_id: Some(key.connector.as_str().to_owned()),
        connection: key.name.clone(),
        cause: cause.map(str::to_owned),
        ..EventData::default()
    };
    Event::new(kind, Some(key.org.clone()), data)
}

/// How a person changed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Saving {
    /// A credential was saved; `waits` says that it is no connection before a person consents.
    Credential {
        waits: bool,
    },
    /// Values that are not secret were changed: the credential is the same.
    Values,
    OptedOut,
    OptedIn,
}

/// Adds to a save what it means for the connection's health: a new credential begins anew.
///
/// # Errors
/// Those of the store.
pub(super) async fn saved(
    resources: &Resources,
    writes: Writes,
    key: &ConnectionKey,
    credential: Option<(CredentialId, u64)>,
    saving: Saving,
) -> Result<Writes, StoreError> {
    let parts = key.parts();
    let found = resources.records.get::<ConnectionHealth>(&parts).await?;
    let mut health = found.as_ref().map(|(health, _)| health.clone()).unwrap_or_default();
    if let Some((id, revision)) = credential {
        health = begun_anew(health, Some(id), revision);
    }
    let (kind, told) = match saving {
        Saving::Credential { waits } => {
            (HealthChangeKind::Saved, (!waits).then_some(EventType::ConnectionConnected))
        }
        Saving::Values => (HealthChangeKind::Saved, None),
        Saving::OptedOut => (HealthChangeKind::OptedOut, Some(EventType::ConnectionRemoved)),
        Saving::OptedIn => {
            let works = health.attention.is_none();
            (HealthChangeKind::OptedIn, works.then_some(EventType::ConnectionConnected))
        }
    };
    health.add(HealthChange { at: clock::now(), kind, cause: None, class: None });
    let writes = match &found {
        Some((_, commit)) => writes.replace(&parts, &health, *commit),
        None => writes.create(&parts, &health),
    };
    match told {
        Some(told) => tell(resources, writes, &event(key, told, Some(kind.as_str()))).await,
        None => Ok(writes),
    }
}

/// Adds to a deletion that others are told of it.
///
/// # Errors
/// Those of the store.
pub(super) async fn removed(
    resources: &Resources,
    writes: Writes,
    key: &ConnectionKey,
    cause: &str,
) -> Result<Writes, StoreError> {
    tell(resources, writes, &event(key, EventType::ConnectionRemoved, Some(cause))).await
}
