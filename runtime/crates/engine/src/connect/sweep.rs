//! Sessions whose time is over are forgotten, those of a workspace with it, and how many there may be.

use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_store::{ConnectLink, ConnectSession, StoreError, Writes};

use crate::clock;
use crate::engine::Engine;
use crate::error::Error;
use crate::resources::Resources;
use crate::tenants::Tenant;

/// Sessions read at a time.
const PAGE: usize = 100;
/// Sessions that are forgotten with one that is made; the sweep forgets the others.
const FORGOTTEN_MAX: usize = 20;

/// Whether a session is of no use to anybody.
pub(super) fn is_over(session: &ConnectSession) -> bool {
    match &session.claim {
        Some(claim) => clock::has_passed(&claim.until),
        None => clock::has_passed(&session.expires_at),
    }
}

pub(super) fn forget(writes: Writes, org: &str, workspace: &str, session: &ConnectSession) -> Writes {
    writes
        .delete::<ConnectSession>(&[org, workspace, session.session_id.as_str()])
        .delete::<ConnectLink>(&[session.link.as_str()])
}

/// Whether a workspace may have one session more; the writes forget some that are over. What is made at the same moment
/// may go beyond the limit together.
///
/// # Errors
/// `validation_failed` if it may not, `store_unavailable`.
pub(super) async fn make_room(engine: &Engine, tenant: &Tenant) -> Result<Writes, Error> {
    let most = usize::try_from(engine.limits().connect_sessions).unwrap_or(usize::MAX);
    let (org, workspace) = (tenant.org.as_str(), tenant.workspace.as_str());
    let records = &engine.resources.records;
    let (mut open, mut over, mut after) = (0_usize, Vec::new(), None::<String>);
    loop {
        let page = records.list::<ConnectSession>(&[org, workspace], after.as_deref(), PAGE).await?;
        let count = page.len();
        after = page.last().map(|(id, ..)| id.clone());
        for (_, session, _) in page {
            if is_over(&session) {
                over.push(session);
            } else {
                // Why also one that has ended: its page is shown for a while, and it takes the same room.
                open += 1;
            }
        }
        if count < PAGE || open >= most {
            break;
        }
    }
    if open >= most {
        let message = format!(
            "the workspace has {most} connect links whose time is not over, which is the limit \
             (limits.connect_sessions); revoke some that nobody needs, or wait until they expire"
        );
        return Err(Error::violation("", "too_many", message));
    }
    let over = over.iter().take(FORGOTTEN_MAX);
    Ok(over.fold(Writes::new(), |writes, session| forget(writes, org, workspace, session)))
}

/// Forgets the sessions whose time is over, of all workspaces.
///
/// # Errors
/// Those of the store; the next sweep goes on.
pub async fn sweep(engine: &Engine) -> Result<(), Error> {
    let resources = &engine.resources;
    let mut after: Option<String> = None;
    loop {
        let page = resources.records.list::<ConnectSession>(&[], after.as_deref(), PAGE).await?;
        for (key, session, revision) in &page {
            let parts: Vec<&str> = key.split('/').collect();
            let ([org, workspace, _], true) = (parts.as_slice(), is_over(session)) else { continue };
            let writes = Writes::new().require_revision::<ConnectSession>(&parts, *revision);
            match resources.commit(forget(writes, org, workspace, session)).await {
                // Somebody claims it at this moment: it is not over.
                Ok(_) | Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let Some((last, ..)) = page.last().filter(|_| page.len() == PAGE) else { return Ok(()) };
        after = Some(last.clone());
    }
}

/// Forgets the sessions of a workspace.
///
/// # Errors
/// `store_unavailable`; calling it again continues.
pub(crate) async fn clear_workspace(
    resources: &Resources,
    org: &OrgId,
    workspace: &WorkspaceId,
) -> Result<(), Error> {
    let (org, workspace) = (org.as_str(), workspace.as_str());
    loop {
        // Why always from the beginning: what was read is gone then.
        let page = resources.records.list::<ConnectSession>(&[org, workspace], None, PAGE).await?;
        if page.is_empty() {
            return Ok(());
        }
        for chunk in page.chunks(FORGOTTEN_MAX) {
            let writes = chunk
                .iter()
                .fold(Writes::new(), |writes, (_, session, _)| forget(writes, org, workspace, session));
            resources.commit(writes).await?;
        }
    }
}
