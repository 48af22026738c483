//! Windows that a framed page opens for a consent. Third parties refuse to be framed, and a browser keeps the cookies of
//! a frame apart: so the frame makes a URL that works once, and the window that opens it starts the consent with a
//! cookie of its own.

use portcullis_core::fault::Code;
use portcullis_store::{ConnectSession, ConnectWindow, StoreError, Writes};

use super::{Session, doing, find};
use crate::api_token::hash;
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;
use crate::oauth::consent::Started;

/// The ticket with which the claimed page may open one window for this consent. The same one until it was used, so that
/// the page can be loaded again.
///
/// # Errors
/// `revision_mismatch` if the session changed meanwhile, `store_unavailable`.
pub async fn window_ticket(
    engine: &Engine,
    session: &Session,
    connector: &str,
    method: &str,
) -> Result<String, Error> {
    let before = session.record.window.as_ref();
    let same =
        |window: &&ConnectWindow| !window.used && window.connector_id == connector && window.method == method;
    if let Some(window) = before.filter(same) {
        return Ok(ticket(session, window.number));
    }
    let number = before.map_or(1, |window| window.number.saturating_add(1));
    let ticket = ticket(session, number);
    let window = ConnectWindow {
        number,
        ticket: hash(&ticket),
        connector_id: connector.to_owned(),
        method: method.to_owned(),
        used: false,
    };
    let record = ConnectSession { window: Some(window), ..session.record.clone() };
    let writes = Writes::new().replace(&session.parts(), &record, session.revision);
    engine.resources.commit(writes).await?;
    Ok(ticket)
}

/// Why of the cookie: nobody but the browser that claimed the session can make it, and it need not be stored.
fn ticket(session: &Session, number: u32) -> String {
    hash(&format!("window:{number}:{}", session.cookie.as_str()))
}

/// Starts the consent of a window. The ticket is the proof that the claimed page opened it.
///
/// # Errors
/// `not_found` for a ticket that is unknown, used, or of a session that is over; those of
/// [`start_consent`](super::start_consent).
pub async fn enter_window(engine: &Engine, secret: &str, ticket: &str) -> Result<Started, Error> {
    let gone = || Error::new(Code::NotFound, "this window was opened already, or is too old");
    let session = find(engine, secret).await?.ok_or_else(gone)?;
    let record = &session.record;
    let is_over = record.claim.as_ref().is_none_or(|claim| clock::has_passed(&claim.until));
    let window = record.window.as_ref().filter(|window| !window.used && window.ticket == hash(ticket));
    let Some(window) = window.filter(|_| !is_over && record.end.is_none()).cloned() else {
        return Err(gone());
    };
    let used = ConnectWindow { used: true, ..window.clone() };
    let record = ConnectSession { window: Some(used), ..record.clone() };
    let writes = Writes::new().replace(&session.parts(), &record, session.revision);
    match engine.resources.commit(writes).await {
        Ok(_) => doing::start_consent(engine, &session, &window.connector_id, &window.method).await,
        Err(StoreError::Conflict { .. }) => Err(gone()),
        Err(error) => Err(error.into()),
    }
}
