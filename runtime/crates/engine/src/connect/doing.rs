//! What a person does in a connect session, each by the use case that the API has. The session's own rules are checked
//! first: its connector, the kill switch, and the org's rules, before anything is opened or sent.

use std::sync::Arc;

use portcullis_core::connector::DEFAULT_METHOD;
use portcullis_core::fault::Code;
use portcullis_core::id::{ConnectionName, ConnectorId, OrgId};
use portcullis_core::org_rules::Asked;
use portcullis_store::{ConnectSession, StoreError, Writes};
use serde_json::{Map, Value};

use super::ending::ATTEMPTS_MAX;
use super::{Session, form, of_name};
use crate::audit_log::actor_of;
use crate::cache::LoadedConnector;
use crate::call::Commitment;
use crate::connection::{self, AskedConnection, ConnectionState, SaveConnection, Verified};
use crate::engine::Engine;
use crate::error::Error;
use crate::oauth::consent::{self, Started};
use crate::page::PageRequest;
use crate::request_mark::RequestMark;
use crate::workers::Lane;

/// Connectors of the list that a person chooses from: more do not fit a page.
const OFFERS_MAX: usize = 100;

/// A connector that a person may choose.
#[derive(Debug, Clone)]
pub struct Choice {
    pub connector_id: ConnectorId,
    pub display_name: String,
    pub description: Option<String>,
    pub state: ConnectionState,
}

/// A connector that somebody of this org can connect.
///
/// # Errors
/// `connector_not_found`, `connector_disabled`, `connector_not_allowed`, `action_not_allowed`, `store_unavailable`.
pub(super) async fn usable(
    engine: &Engine,
    org: &OrgId,
    connector: &str,
) -> Result<Arc<LoadedConnector>, Error> {
    let cache = &engine.resources.cache;
    let loaded = cache.visible_connector(connector).await?;
    if !loaded.connector.enabled {
        return Err(Error::new(Code::ConnectorDisabled, "the connector is switched off"));
    }
    let policy = cache.policy(org.as_str()).await?;
    let rules = connection::rules(&loaded.connector, &policy, Asked::Connection);
    match rules.org_rules.refusal() {
        None => Ok(loaded),
        Some(code) => Err(Error::plain(code)),
    }
}

/// The same in a session, which may be for one connector only.
///
/// # Errors
/// Those of [`usable`], `not_found` for another connector than the session's.
pub(super) async fn usable_in(
    engine: &Engine,
    session: &Session,
    connector: &str,
) -> Result<Arc<LoadedConnector>, Error> {
    if session.connector_id().is_some_and(|only| only != connector) {
        return Err(Error::new(Code::NotFound, "this link is for another connector"));
    }
    usable(engine, session.org(), connector).await
}

/// The connectors that a person may choose from.
///
/// # Errors
/// `store_unavailable`.
pub async fn offers(engine: &Engine, session: &Session) -> Result<Vec<Choice>, Error> {
    let wanted = PageRequest { limit: OFFERS_MAX, after: None };
    let page =
        connection::list_for(engine, &session.caller(), &session.tenant, session.connection(), &wanted)
            .await?;
    let policy = engine.resources.cache.policy(session.org().as_str()).await?;
    let offers = page.entries.into_iter().filter_map(|offer| {
        let connector = &offer.connector.connector;
        let rules = connection::rules(connector, &policy, Asked::Connection);
        let may = connector.enabled && !connector.deprecated && rules.org_rules.refusal().is_none();
        may.then(|| Choice {
            connector_id: connector.id.clone(),
            display_name: connector.display_name.clone(),
            description: connector.description.clone(),
            state: offer.state,
        })
    });
    Ok(offers.collect())
}

/// Saves what a person filled in.
///
/// # Errors
/// Those of [`form`](super::form); `validation_failed` with every breach of the form, as for [`connection::save`].
pub async fn save(
    engine: &Engine,
    session: &Session,
    connector: &str,
    method: &str,
    config: Map<String, Value>,
) -> Result<(), Error> {
    usable_in(engine, session, connector).await?;
    require_steps(engine, session)?;
    let auth_method = (method != DEFAULT_METHOD).then(|| method.to_owned());
    let wish =
        SaveConnection { enabled: true, config: Some(config), auth_method, ..SaveConnection::default() };
    let caller = session.caller();
    if let Some(mark) = RequestMark::current() {
        mark.acts_for(actor_of(&caller));
    }
    connection::save(engine, &caller, &session.tenant, session.asked(connector), wish).await?;
    count_step(engine, session).await
}

/// Tries what is saved, in a place of the workspace's calls; `None` for a connector that cannot be tried.
///
/// # Errors
/// Those of [`form`](super::form), of [`connection::verify`], and those of a call that finds no place.
pub async fn test(
    engine: &Arc<Engine>,
    session: &Session,
    connector: &str,
) -> Result<Option<Verified>, Error> {
    if usable_in(engine, session, connector).await?.connector.test.is_none() {
        return Ok(None);
    }
    let (org, workspace) = (session.org().as_str(), session.workspace().as_str());
    let permit = engine.admit(org, workspace).await;
    let permit = permit.inspect_err(|refused| engine.note_no_place(refused.code))?;
    let (own, caller, tenant) = (Arc::clone(engine), session.caller(), session.tenant.clone());
    let (connector, name) = (connector.to_owned(), session.connection().cloned());
    let work = Box::pin(async move {
        let name = name.as_ref().map(ConnectionName::as_str);
        let asked = AskedConnection { connector: &connector, name };
        connection::verify(&own, &caller, &tenant, asked, Commitment::default()).await
    });
    let movable = engine.workers().movable(Lane::of(Some(org)), work);
    // Why a task: a person who leaves meanwhile must not cut a request off that has begun.
    let task = engine.spawn_call(permit.run(movable));
    let verified = task.await.map_err(|_| Error::plain(Code::Internal))????;
    Ok(Some(verified))
}

/// Starts a consent: where the browser is to be sent, and the cookie that it must have. A method that asks a person for
/// nothing but consent is chosen by that, where nothing is saved yet that it would replace.
///
/// # Errors
/// Those of [`form`](super::form) and of [`consent::start`]; `bad_request` where something would be replaced.
pub async fn start_consent(
    engine: &Engine,
    session: &Session,
    connector: &str,
    method: &str,
) -> Result<Started, Error> {
    let shown = form::form(engine, session, connector).await?;
    let chosen = shown.methods.iter().find(|one| one.id == method && one.consent);
    let chosen = chosen.ok_or_else(|| Error::new(Code::BadRequest, "this method asks nobody for consent"))?;
    if chosen.replaces {
        return Err(Error::new(Code::BadRequest, "something else is saved, which is to be replaced first"));
    }
    if !chosen.is_saved && chosen.fields.is_empty() {
        save(engine, session, connector, method, Map::new()).await?;
    }
    require_steps(engine, session)?;
    let of = Some(session.record.session_id.clone());
    let asked = session.asked(connector);
    let started = consent::start_in(engine, &session.caller(), &session.tenant, asked, of).await?;
    count_step(engine, session).await?;
    Ok(started)
}

/// Refuses a step of a session that has made too many.
fn require_steps(engine: &Engine, session: &Session) -> Result<(), Error> {
    let most = engine.limits().connect_steps;
    if session.record.steps < most {
        return Ok(());
    }
    let detail = format!("a link is good for {most} steps (limits.connect_steps); ask for a new one");
    Err(Error::new(Code::RateLimited, detail))
}

/// Counts a step of a session. Why after it: what was refused changed nothing. Those that are made at the same moment may
/// go beyond the limit together.
///
/// # Errors
/// `revision_mismatch` if the session is changed over and over meanwhile, `store_unavailable`.
async fn count_step(engine: &Engine, session: &Session) -> Result<(), Error> {
    let [org, workspace, id] = session.parts();
    for _ in 0..ATTEMPTS_MAX {
        let Some(now) = of_name(engine, org, workspace, id).await? else { return Ok(()) };
        let steps = now.record.steps.saturating_add(1);
        let counted = ConnectSession { steps, ..now.record.clone() };
        let writes = Writes::new().replace(&session.parts(), &counted, now.revision);
        match engine.resources.commit(writes).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::plain(Code::RevisionMismatch))
}
