//! Lists of saved connections over an org or the platform. A page ends after a bounded look, and says where the next one
//! begins.

use portcullis_core::fault::Code;
use portcullis_core::id::{ConnectionName, ConnectorId, OrgId, WorkspaceId};
use portcullis_store::ConnectorSetting;

use super::health::{Attention, standing};
use super::key::{ConnectionKey, is_asked};
use super::state::{ConnectionState, StoredConnection};
use crate::caller::{Caller, ORG};
use crate::engine::Engine;
use crate::error::Error;
use crate::tenants;

/// Keys read at a time.
const READ_AT_ONCE: usize = 200;

/// Which connections are listed.
#[derive(Debug, Clone, Default)]
pub struct ConnectionsWanted {
    pub state: Option<ConnectionState>,
    pub connector_id: Option<String>,
    /// The name of a connection; `default` for those without one.
    pub connection: Option<String>,
    pub workspace: Option<String>,
    /// Maximum entries, 1 to 100.
    pub limit: usize,
    /// `next` of the page before.
    pub after: Option<String>,
}

/// A connection in a list.
#[derive(Debug, Clone)]
pub struct ListedConnection {
    pub org: OrgId,
    pub workspace: WorkspaceId,
    pub connector_id: ConnectorId,
    /// Its name and what people call it; none for a default one.
    pub name: Option<ConnectionName>,
    pub label: Option<String>,
    pub state: ConnectionState,
    pub reason: Option<String>,
    pub attention: Option<Attention>,
    pub last_success_at: Option<String>,
}

/// A page of connections.
#[derive(Debug, Default)]
pub struct ConnectionsPage {
    pub entries: Vec<ListedConnection>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// The connections of an org's workspaces.
///
/// # Errors
/// Those of [`Caller::authorise`], `workspace_not_found`, `bad_request` for a cursor that is none, `store_unavailable`.
pub async fn of_org(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    wanted: &ConnectionsWanted,
) -> Result<ConnectionsPage, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    if let Some(workspace) = &wanted.workspace {
        tenants::find_workspace(engine, org.as_str(), workspace).await?;
    }
    list(engine, Some(org), wanted).await
}

/// The connections of all orgs, or of one.
///
/// # Errors
/// Those of [`of_org`], `org_not_found`.
pub async fn of_platform(
    engine: &Engine,
    caller: &Caller,
    org: Option<&str>,
    wanted: &ConnectionsWanted,
) -> Result<ConnectionsPage, Error> {
    caller.platform()?;
    let org = match org {
        Some(org) => Some(tenants::find_org(engine, org).await?),
        None => None,
    };
    if let (Some(org), Some(workspace)) = (&org, &wanted.workspace) {
        tenants::find_workspace(engine, org.as_str(), workspace).await?;
    }
    list(engine, org.as_ref(), wanted).await
}

/// The cursor of a connection: its ids with dots, which ids have none of.
fn cursor(key: &ConnectionKey) -> String {
    key.parts().join(".")
}

fn parse(text: &str) -> Option<ConnectionKey> {
    ConnectionKey::of_parts(&text.split('.').collect::<Vec<_>>())
}

async fn list(
    engine: &Engine,
    org: Option<&OrgId>,
    wanted: &ConnectionsWanted,
) -> Result<ConnectionsPage, Error> {
    let unknown = || Error::new(Code::BadRequest, "starting_after must be next of a page of this list");
    let after = wanted.after.as_deref().map(|text| parse(text).ok_or_else(unknown)).transpose()?;
    if after.as_ref().is_some_and(|after| org.is_some_and(|org| *org != after.org)) {
        return Err(unknown());
    }
    let depth = usize::from(org.is_some());
    let mut prefix: Vec<&str> = org.iter().map(|org| org.as_str()).collect();
    // Why only then: a workspace of every org has no place of its own in the order.
    if let (Some(_), Some(workspace)) = (org, &wanted.workspace) {
        prefix.push(workspace);
    }
    let depth = depth + usize::from(prefix.len() > depth);
    let rest = |key: &ConnectionKey| key.parts().iter().skip(depth).map(|part| (*part).to_owned()).collect();
    let mut at: Option<Vec<String>> = after.as_ref().map(rest);
    let mut left = usize::try_from(engine.limits().connection_scan).unwrap_or(usize::MAX).max(1);
    let mut page = ConnectionsPage::default();
    loop {
        let records = &engine.resources.records;
        let count = left.min(READ_AT_ONCE);
        let keys = records.keys::<ConnectorSetting>(&prefix, at.as_deref(), count).await?;
        for parts in &keys {
            let whole: Vec<&str> = prefix.iter().copied().chain(parts.iter().map(String::as_str)).collect();
            let Some(key) = ConnectionKey::of_parts(&whole) else { continue };
            if page.entries.len() == wanted.limit {
                page.next = page.entries.last().map(|last| {
                    cursor(&ConnectionKey {
                        org: last.org.clone(),
                        workspace: last.workspace.clone(),
                        connector: last.connector_id.clone(),
                        name: last.name.clone(),
                    })
                });
                return Ok(page);
            }
            page.entries.extend(entry(engine, key, wanted).await?);
        }
        if keys.len() < count {
            return Ok(page);
        }
        left -= count;
        at = keys.last().cloned();
        if left == 0 {
            let last: Vec<&str> =
                prefix.iter().copied().chain(at.iter().flatten().map(String::as_str)).collect();
            page.next = Some(last.join("."));
            return Ok(page);
        }
        tokio::task::yield_now().await;
    }
}

/// A connection, if it is one of those that are wanted.
async fn entry(
    engine: &Engine,
    key: ConnectionKey,
    wanted: &ConnectionsWanted,
) -> Result<Option<ListedConnection>, Error> {
    let is = |own: &str, wanted: &Option<String>| wanted.as_deref().is_none_or(|wanted| wanted == own);
    if !is(key.connector.as_str(), &wanted.connector_id) || !is(key.workspace.as_str(), &wanted.workspace) {
        return Ok(None);
    }
    if !is_asked(key.name.as_ref(), wanted.connection.as_deref()) {
        return Ok(None);
    }
    let resources = &engine.resources;
    let Some(loaded) = resources.cache.connector(key.connector.as_str()).await? else { return Ok(None) };
    let stored = StoredConnection::load(&resources.records, &key, &loaded.connector).await?;
    if stored.setting.is_none() {
        return Ok(None);
    }
    let standing = standing(&resources.records, &key, &loaded.connector, &stored).await?;
    if wanted.state.is_some_and(|wanted| wanted != standing.state) {
        return Ok(None);
    }
    Ok(Some(ListedConnection {
        org: key.org,
        workspace: key.workspace,
        connector_id: key.connector,
        name: key.name,
        label: stored.setting.as_ref().and_then(|setting| setting.label.clone()),
        state: standing.state,
        reason: standing.reason,
        attention: standing.attention,
        last_success_at: standing.last_success_at,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_told_and_nothing_else_is() {
        for text in ["acme.main.crm", "acme.main.crm.sales"] {
            assert_eq!(parse(text).map(|key| cursor(&key)).as_deref(), Some(text));
        }
        for text in
            ["", "acme", "acme.main", "acme.main.crm.x.y", "acme..crm", "Acme.main.crm", "acme/main/crm"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
