//! The connect sessions of a workspace as its integrator sees them: listed without what is secret, and revoked.

use portcullis_core::fault::Code;
use portcullis_store::{ConnectSession, ConnectStatus, StoreError, Writes};

use super::sweep;
use crate::caller::{Caller, WORKSPACE_ORG_PLATFORM};
use crate::engine::Engine;
use crate::error::Error;
use crate::page::{Page, PageRequest};
use crate::tenants::Tenant;

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nobody has claimed it.
    Open,
    /// A browser has it.
    Claimed,
    /// It ended in this way.
    Ended(ConnectStatus),
    /// Its time was over before it ended.
    Expired,
}

/// A session of a list.
#[derive(Debug, Clone)]
pub struct ListedSession {
    /// The record; its hashes are not to be shown.
    pub record: ConnectSession,
    pub stage: Stage,
}

fn stage_of(session: &ConnectSession) -> Stage {
    match (&session.end, &session.claim) {
        (Some(end), _) => Stage::Ended(end.status),
        (None, _) if sweep::is_over(session) => Stage::Expired,
        (None, Some(_)) => Stage::Claimed,
        (None, None) => Stage::Open,
    }
}

/// One page of the sessions of a workspace, in order of their ids. Those whose time is over stand in it until they are
/// forgotten.
///
/// # Errors
/// Those of [`Caller::authorise`], and `store_unavailable`.
pub async fn list(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    wanted: &PageRequest,
) -> Result<Page<ListedSession>, Error> {
    let (org, workspace) = (tenant.org.as_str(), tenant.workspace.as_str());
    caller.authorise(WORKSPACE_ORG_PLATFORM, Some(org), Some(workspace))?;
    let records = &engine.resources.records;
    let found = records.list::<ConnectSession>(&[org, workspace], wanted.after(), wanted.wanted()).await?;
    let sessions = found.into_iter().map(|(_, record, _)| ListedSession { stage: stage_of(&record), record });
    Ok(wanted.page(sessions.collect()))
}

/// Forgets a session, whether or not a browser has claimed it. From then on its pages answer 410, and a person who comes
/// back from a consent of it connects nothing. What was saved in it stays.
///
/// # Errors
/// Those of [`Caller::authorise`]; `not_found`, and `store_unavailable`.
pub async fn revoke(engine: &Engine, caller: &Caller, tenant: &Tenant, id: &str) -> Result<(), Error> {
    let (org, workspace) = (tenant.org.as_str(), tenant.workspace.as_str());
    caller.authorise(WORKSPACE_ORG_PLATFORM, Some(org), Some(workspace))?;
    let missing = || Error::new(Code::NotFound, "the workspace has no such connect session");
    let (session, _) = match engine.resources.records.get::<ConnectSession>(&[org, workspace, id]).await {
        // A text that can be no part of a key is the id of nothing.
        Err(StoreError::InvalidKey { .. }) => None,
        found => found?,
    }
    .ok_or_else(missing)?;
    // Why without the revision: a browser that claims it at this moment loses it all the same.
    engine.resources.commit(sweep::forget(Writes::new(), org, workspace, &session)).await?;
    Ok(())
}
