//! The end of a connect session: what the page says, and where it leads back to.

use std::sync::Arc;

use portcullis_core::fault::Code;
use portcullis_core::id::{ConnectionName, DEFAULT_CONNECTION, OrgId};
use portcullis_store::{ConnectEnd, ConnectSession, ConnectSettings, ConnectStatus, StoreError, Writes};

use super::{Session, doing, of_name, settings};
use crate::clock;
use crate::connection::ConnectionKey;
use crate::engine::Engine;
use crate::error::Error;

/// Attempts to write an end beside other writes of the same session.
pub(super) const ATTEMPTS_MAX: u32 = 5;

/// How a session ended, as its page shows it.
#[derive(Debug, Clone)]
pub struct Ending {
    pub org: OrgId,
    pub workspace: String,
    pub status: ConnectStatus,
    /// Name of the connector for people, if one was chosen.
    pub connector: Option<String>,
    /// Name of the account at the third party.
    pub label: Option<String>,
    /// What happened, for people.
    pub message: Option<String>,
    /// Where the browser goes now.
    pub return_to: Option<String>,
    /// Whether the session's page stands in a frame, which goes on by itself.
    pub framed: bool,
    pub settings: ConnectSettings,
}

/// The consent of a session.
pub(crate) struct ConsentOf {
    pub(crate) org: String,
    pub(crate) workspace: String,
    pub(crate) session: String,
}

/// Ends a session. One that has ended stays as it is.
///
/// # Errors
/// `revision_mismatch` if it is changed over and over meanwhile, `not_found` if it is gone, `store_unavailable`.
pub async fn end(engine: &Engine, session: &Session, end: ConnectEnd) -> Result<(), Error> {
    let [org, workspace, id] = session.parts();
    let mut at = (session.record.clone(), session.revision);
    for _ in 0..ATTEMPTS_MAX {
        let (record, revision) = &at;
        if record.end.is_some() {
            return Ok(());
        }
        let ended = ConnectSession { end: Some(end.clone()), ..record.clone() };
        let writes = Writes::new().replace(&session.parts(), &ended, *revision);
        match engine.resources.commit(writes).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let now = of_name(engine, org, workspace, id).await?;
        let now = now.ok_or_else(|| Error::new(Code::NotFound, "the session is gone"))?;
        at = (now.record, now.revision);
    }
    Err(Error::plain(Code::RevisionMismatch))
}

/// The end of a session, if it has ended.
///
/// # Errors
/// `store_unavailable`.
pub async fn ending_of(engine: &Engine, session: &Session) -> Result<Option<Ending>, Error> {
    let Some(end) = &session.record.end else { return Ok(None) };
    let settings = settings::of_org(engine, session.org()).await?;
    let connector = match &end.connector_id {
        Some(id) => engine.resources.cache.connector_name(id).await?,
        None => None,
    };
    Ok(Some(Ending {
        org: session.org().clone(),
        workspace: session.workspace().as_str().to_owned(),
        status: end.status,
        connector: connector.or_else(|| end.connector_id.clone()),
        label: end.label.clone(),
        message: end.message.clone(),
        return_to: return_to(&session.record, end, &settings, engine.limits().url_bytes),
        framed: session.is_framed(),
        settings,
    }))
}

/// The return URL with what came of the session; never a credential. `None` if the org does not list it any more.
fn return_to(
    record: &ConnectSession,
    end: &ConnectEnd,
    settings: &ConnectSettings,
    url_bytes_max: u64,
) -> Option<String> {
    let url = record.return_url.as_deref()?;
    settings::permits(settings, url, url_bytes_max).ok()?;
    let mut members = url::form_urlencoded::Serializer::new(String::new());
    members.append_pair("status", end.status.as_str());
    if let Some(connector) = &end.connector_id {
        let name = record.connection.as_ref().map_or(DEFAULT_CONNECTION, ConnectionName::as_str);
        members.append_pair("connector_id", connector);
        members.append_pair("connection", name);
    }
    let joint = if url.contains('?') { '&' } else { '?' };
    Some(format!("{url}{joint}{}", members.finish()))
}

/// Checks that the session of a consent still waits for its end.
///
/// # Errors
/// `consent_invalid` if it does not, `store_unavailable`.
pub(crate) async fn goes_on(engine: &Engine, of: &ConsentOf) -> Result<(), Error> {
    match of_name(engine, &of.org, &of.workspace, &of.session).await? {
        Some(session) if !session.is_ended() => Ok(()),
        _ => Err(Error::new(Code::ConsentInvalid, "the link was used already or is too old")),
    }
}

/// Tells a session how its consent ended. `None` if the session is gone, or cannot be told.
pub(crate) async fn consent_ended(
    engine: &Arc<Engine>,
    of: &ConsentOf,
    connector: &str,
    outcome: &Result<ConnectionKey, Error>,
    said_no: bool,
) -> Option<Ending> {
    match told(engine, of, connector, outcome, said_no).await {
        Ok(ending) => ending,
        Err(error) => {
            tracing::warn!(code = %error.code, session = of.session, "a connect session was not told its end");
            None
        }
    }
}

async fn told(
    engine: &Arc<Engine>,
    of: &ConsentOf,
    connector: &str,
    outcome: &Result<ConnectionKey, Error>,
    said_no: bool,
) -> Result<Option<Ending>, Error> {
    let Some(session) = of_name(engine, &of.org, &of.workspace, &of.session).await? else { return Ok(None) };
    let (status, message) = match outcome {
        Ok(_) => (ConnectStatus::Connected, None),
        Err(_) if said_no => (ConnectStatus::Cancelled, None),
        Err(error) => (ConnectStatus::Failed, Some(error.detail.clone())),
    };
    // Why only for a person who stays: whoever is sent back at once does not read for whom it is.
    let label = match status {
        ConnectStatus::Connected if session.record.return_url.is_none() => {
            doing::test(engine, &session, connector).await.ok().flatten().and_then(|verified| verified.label)
        }
        _ => None,
    };
    let connector_id = Some(connector.to_owned());
    let at = clock::now();
    end(engine, &session, ConnectEnd { status, connector_id, label, message, at }).await?;
    match of_name(engine, &of.org, &of.workspace, &of.session).await? {
        Some(session) => ending_of(engine, &session).await,
        None => Ok(None),
    }
}
