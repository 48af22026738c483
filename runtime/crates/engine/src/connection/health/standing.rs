//! Where a connection stands: what is stored of it, and what was seen of it.

use portcullis_core::connector::Connector;
use portcullis_store::{AttentionCause, ConnectionHealth, ConnectorRecord, HealthChange, Records};
use schemars::JsonSchema;
use serde::Serialize;

use crate::connection::ConnectionKey;
use crate::connection::state::{CLIENT_GONE_REASON, ConnectionState, StoredConnection};
use crate::error::Error;

/// The class of what the connection itself misses.
const MISSING: &str = "missing";
/// The class of a refused credential.
const AUTH: &str = "auth";

/// Why a connection needs attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Attention {
    /// Class of the third party's error, such as `auth`, or `missing` where something must be filled in or consented to.
    pub class: String,
    /// What a person should know, for `auth` in the third party's words without secrets.
    pub message: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// A change of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ConnectionChange {
    /// When, RFC 3339.
    pub at: String,
    /// `saved`, `consent`, `opted_out`, `opted_in`, `needs_attention` or `recovered`.
    pub change: String,
    /// What showed that it needs attention: `refused`, `test` or `token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Class of the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
}

impl From<&HealthChange> for ConnectionChange {
    fn from(change: &HealthChange) -> Self {
        Self {
            at: change.at.clone(),
            change: change.kind.as_str().to_owned(),
            cause: change.cause.map(|cause| cause.as_str().to_owned()),
            class: change.class.clone(),
        }
    }
}

/// Where a connection stands.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) state: ConnectionState,
    /// Why it needs attention, as a sentence.
    pub(crate) reason: Option<String>,
    pub(crate) attention: Option<Attention>,
    pub(crate) last_success_at: Option<String>,
    /// Changes, newest first.
    pub(crate) changes: Vec<ConnectionChange>,
}

/// Finds out where a connection stands. `connector` is the one under its default authentication method.
///
/// # Errors
/// `store_unavailable`.
pub(crate) async fn standing(
    records: &Records,
    key: &ConnectionKey,
    connector: &Connector,
    stored: &StoredConnection,
) -> Result<Standing, Error> {
    let state = stored.state(connector);
    let health = match &stored.setting {
        Some(_) => records.get_shared::<ConnectionHealth>(&key.parts()).await?.map(|(health, _)| health),
        None => None,
    };
    let health = health.unwrap_or_default();
    let refused = health.attention.as_ref().filter(|_| is_of(&health, stored));
    let mut standing = Standing {
        state,
        reason: None,
        attention: None,
        last_success_at: health.last_success_at.clone(),
        changes: health.changes.iter().rev().map(ConnectionChange::from).collect(),
    };
    match (state, refused) {
        (ConnectionState::NeedsAttention, _) => {
            let outgrown = || "a host was allowed after it was saved; save it again".to_owned();
            let reason = stored.attention(stored.chosen(connector)).unwrap_or_else(outgrown);
            let attention = missing(records, key, connector, stored, &health, reason.clone()).await?;
            let reason = if stored.client_gone { CLIENT_GONE_REASON.to_owned() } else { reason };
            (standing.reason, standing.attention) = (Some(reason), Some(attention));
        }
        // Why not of a token: it says why none could be obtained, which by now is known to be no reason any more.
        (ConnectionState::Connected, Some(refused)) if refused.cause != AttentionCause::Token => {
            let what = match refused.cause {
                AttentionCause::Test => "its test failed",
                _ => "the third party refuses the credential",
            };
            standing.state = ConnectionState::NeedsAttention;
            standing.reason = Some(format!("{what}: {}", refused.message));
            standing.attention = Some(Attention {
                class: refused.class.clone(),
                message: refused.message.clone(),
                since: refused.since.clone(),
            });
        }
        _ => {}
    }
    Ok(standing)
}

/// Whether it was seen of the saved credential.
fn is_of(health: &ConnectionHealth, stored: &StoredConnection) -> bool {
    let saved = stored.credential.as_ref();
    health.credential_id.as_ref() == saved.map(|saved| &saved.credential_id)
        && health.credential_revision == saved.map_or(0, |saved| saved.revision)
}

/// What the connection itself lacks, and since when.
async fn missing(
    records: &Records,
    key: &ConnectionKey,
    connector: &Connector,
    stored: &StoredConnection,
    health: &ConnectionHealth,
    message: String,
) -> Result<Attention, Error> {
    if stored.client_gone {
        // Why that time: a client that is gone does not say since when.
        let worked = stored.token.as_ref().and_then(|(token, _)| token.obtained_at.clone());
        return Ok(Attention { class: MISSING.to_owned(), message, since: worked.unwrap_or_default() });
    }
    let failure = stored.token_failure();
    if let Some(failure) = failure.filter(|failure| failure.permanent) {
        let noted = health.attention.as_ref().filter(|noted| noted.cause == AttentionCause::Token);
        let since = noted.map_or_else(|| failure.at.clone(), |noted| noted.since.clone());
        return Ok(Attention { class: AUTH.to_owned(), message: failure.reason.clone(), since });
    }
    // Why the later one: the form asks for it since then, or the credential is without it since then.
    let saved = stored.credential.as_ref().map(|saved| saved.updated_at.clone()).unwrap_or_default();
    let asked = records.get_shared::<ConnectorRecord>(&[key.connector.as_str()]).await?;
    let asked = asked.map(|(record, _)| record.updated_at.clone());
    let chosen = stored.chosen(connector);
    let is_consent = stored.waits_for_consent(chosen) && stored.missing_fields(chosen).next().is_none();
    let since = match asked.filter(|_| !is_consent) {
        Some(asked) if asked > saved => asked,
        _ => saved,
    };
    Ok(Attention { class: MISSING.to_owned(), message, since })
}
