//! Invalidation: the one function from a change to everything that it ends.
//!
//! A change drops what the caches hold, closes idle upstream connections that were made before it, and ends running
//! calls that it no longer allows. [`apply`] is called after every commit of this process (`Resources::commit`) and
//! for the commits of other processes by [`follow`], so a change has the same effect whichever process made it.
//!
//! | change | running calls that end |
//! |---|---|
//! | connector disabled, deleted, or replaced so that host, path or method is no longer granted | its calls |
//! | workspace opts out, or forgets the connection (saving another credential ends none) | calls of that connection |
//! | org list or mode changed | the org's calls to hosts that it no longer allows |
//! | workspace deleted, org deleted | its calls |
//! | API token revoked | calls of callers that used it and still wait |
//!
//! A change that still allows a call does not end it. What cannot be judged is ended.
//!
//! A change only says what to look at. Every call that it concerns is judged by the records of now, because the feed
//! may tell late: what a deletion took may be there again, and a call may have begun with it.

use portcullis_core::fault::Code;
use portcullis_core::grant::{ActionScope, EgressGrant};
use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_core::verdict::{HostRules, judge};
use portcullis_egress::PoolScope;
use portcullis_store::{
    Change, ConnectorRecord, ConnectorSetting, CredentialState, Document as _, IntegrationSettings, Key,
    OrgRecord, TokenIndex, WorkspaceKeyRecord, WorkspaceRecord,
};

use crate::call::active_calls::{ActiveCall, CallScope, CancelHandle, Granted};
use crate::connection::ConnectionKey;
use crate::connection::state::StoredConnection;
use crate::error::Error;
use crate::resources::Resources;

pub(crate) mod follow;
#[cfg(test)]
mod tests;

/// What a change concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    Connector(String),
    /// An org's list.
    Policy(String),
    /// A workspace's setting of a connector: org, workspace, connector.
    Setting([String; 3]),
    /// The credential of a setting. The deletion of a setting is a separate change.
    Credential([String; 3]),
    Workspace([String; 2]),
    /// A workspace's key.
    WorkspaceKey([String; 2]),
    Org(String),
    /// An API token, by its id.
    Token(String),
    /// Anything: it is not known what changed.
    All,
}

impl Subject {
    /// What a stored key stands for; `None` for records that no call depends on.
    fn of(key: &str) -> Option<Self> {
        let (kind, parts) = Key::parse(key)?;
        let owned = |part: &&str| (*part).to_owned();
        match (kind, parts.as_slice()) {
            (ConnectorRecord::KIND, [id]) => Some(Self::Connector(owned(id))),
            (IntegrationSettings::KIND, [org]) => Some(Self::Policy(owned(org))),
            (ConnectorSetting::KIND, [org, ws, id]) => {
                Some(Self::Setting([owned(org), owned(ws), owned(id)]))
            }
            (CredentialState::KIND, [org, ws, id]) => {
                Some(Self::Credential([owned(org), owned(ws), owned(id)]))
            }
            (WorkspaceRecord::KIND, [org, ws]) => Some(Self::Workspace([owned(org), owned(ws)])),
            (WorkspaceKeyRecord::KIND, [org, ws]) => Some(Self::WorkspaceKey([owned(org), owned(ws)])),
            (OrgRecord::KIND, [org]) => Some(Self::Org(owned(org))),
            (TokenIndex::KIND, [id]) => Some(Self::Token(owned(id))),
            _ => None,
        }
    }

    /// Whether it may concern a call.
    fn concerns(&self, call: &CallScope) -> bool {
        let in_workspace = |org: &str, ws: &str| call.org.as_str() == org && call.workspace.as_str() == ws;
        match self {
            Self::Connector(id) => call.connector == *id,
            Self::Policy(org) | Self::Org(org) => call.org.as_str() == org,
            Self::Setting([org, ws, id]) => in_workspace(org, ws) && call.connector == *id,
            Self::Workspace([org, ws]) => in_workspace(org, ws),
            Self::Token(id) => call.token.as_ref().is_some_and(|token| token.as_str() == id),
            Self::Credential(_) | Self::WorkspaceKey(_) => false,
            Self::All => true,
        }
    }

    /// Whether idle connections of this scope were made under a state that has ended.
    fn outdates(&self, scope: &PoolScope) -> bool {
        let of = |org: &str, ws: &str| {
            scope.workspace.split_once('/').is_some_and(|(own, rest)| own == org && rest == ws)
        };
        match self {
            Self::Connector(id) => scope.connector == *id,
            Self::Policy(org) | Self::Org(org) => {
                scope.workspace.split_once('/').is_some_and(|(own, _)| own == org)
            }
            Self::Setting([org, ws, id]) | Self::Credential([org, ws, id]) => {
                of(org, ws) && scope.connector == *id
            }
            Self::Workspace([org, ws]) => of(org, ws),
            Self::Token(_) | Self::WorkspaceKey(_) => false,
            Self::All => true,
        }
    }
}

/// Ends what these changes no longer allow.
pub(crate) async fn apply(resources: &Resources, changes: &[Change]) {
    for change in changes {
        if let Some(subject) = Subject::of(&change.key) {
            end(resources, &subject).await;
        }
    }
}

/// As [`apply`], if it is not known what changed: everything is dropped, and every running call checked again.
pub(crate) async fn apply_all(resources: &Resources) {
    end(resources, &Subject::All).await;
}

async fn end(resources: &Resources, subject: &Subject) {
    match subject {
        Subject::Connector(id) => resources.cache.forget_connector(id),
        Subject::Policy(org) => resources.cache.forget_policy(org),
        Subject::All => {
            resources.cache.forget_all();
            resources.vault.forget_all();
        }
        Subject::Workspace([org, ws]) | Subject::WorkspaceKey([org, ws]) => {
            resources.cache.advance();
            forget_key(resources, org, ws);
        }
        _ => resources.cache.advance(),
    }
    resources.gate.drop_connections(|scope| subject.outdates(scope));
    for (number, call) in resources.active_calls.select(|scope| subject.concerns(scope)) {
        if let Some(reason) = verdict(resources, &call).await {
            resources.active_calls.end(number, reason);
        }
    }
}

/// Drops the workspace's unwrapped key: another process may have shredded it.
fn forget_key(resources: &Resources, org: &str, workspace: &str) {
    if let (Ok(org), Ok(workspace)) = (OrgId::parse(org), WorkspaceId::parse(workspace)) {
        resources.vault.forget_workspace(&org, &workspace);
    }
}

/// Checks one call against the current state, and ends it if that no longer allows it.
pub(crate) async fn judge_one(resources: &Resources, handle: &CancelHandle) {
    let Some(call) = handle.call() else { return };
    if let Some(reason) = verdict(resources, &call).await {
        handle.end(reason);
    }
}

/// Why a call may not continue in the current state.
async fn verdict(resources: &Resources, call: &ActiveCall) -> Option<Code> {
    match current(resources, call).await {
        Ok(reason) => reason,
        // Fail closed: a call that may have been forbidden must not continue because the records cannot be read.
        Err(error) => Some(error.code),
    }
}

async fn current(resources: &Resources, call: &ActiveCall) -> Result<Option<Code>, Error> {
    let scope = &call.scope;
    let (org, workspace) = (scope.org.as_str(), scope.workspace.as_str());
    let found = resources.records.get_shared::<WorkspaceRecord>(&[org, workspace]).await?;
    // Why the commit: one that was deleted and made again is another workspace.
    if found.is_none_or(|(_, commit)| commit != scope.workspace_commit)
        || resources.records.get_shared::<OrgRecord>(&[org]).await?.is_none()
    {
        return Ok(Some(Code::CallEnded));
    }
    if let Some(token) = &scope.token
        && resources.records.get_shared::<TokenIndex>(&[token.as_str()]).await?.is_none()
    {
        return Ok(Some(Code::CallEnded));
    }
    let loaded = match resources.cache.connector(&scope.connector).await? {
        Some(loaded) if loaded.connector.enabled => loaded,
        _ => return Ok(Some(Code::ConnectorDisabled)),
    };
    let key = ConnectionKey {
        org: scope.org.clone(),
        workspace: scope.workspace.clone(),
        connector: loaded.connector.id.clone(),
    };
    let stored = StoredConnection::load(&resources.records, &key, &loaded.connector).await?;
    if stored.unwanted(&loaded.connector).is_some() {
        return Ok(Some(Code::CallEnded));
    }
    // Without a grant nothing has left yet; the call is checked again when it has one.
    let Some(granted) = &call.granted else { return Ok(None) };
    let credential = stored.credential.as_ref().map(|credential| credential.credential_id.as_str());
    // Why: one that was deleted and saved again is another connection.
    if granted.credential.as_deref().is_some_and(|own| credential.is_some_and(|now| now != own)) {
        return Ok(Some(Code::CallEnded));
    }
    let connector = stored.chosen(&loaded.connector);
    let policy = resources.cache.policy(org).await?;
    let rules = HostRules {
        connector: connector.allowed_domains.clone(),
        ports: connector.ports.clone(),
        org: policy.policy.clone(),
    };
    let Some(action) = granted.request(connector) else { return Ok(Some(Code::PathNotGranted)) };
    // Why the template: as long as the URL has values that are not known, two of them have no other difference.
    if granted.scope.is_none() && (action.method, &action.url) != (granted.method, &granted.url) {
        return Ok(Some(Code::PathNotGranted));
    }
    let scope = ActionScope::new(action.method, &action.url, &granted.config).ok();
    Ok(refusal(granted, call, rules, scope, resources.limits.url_bytes))
}

/// Why a call's grant is no longer covered by the current `rules` and `scope`.
fn refusal(
    granted: &Granted,
    call: &ActiveCall,
    rules: HostRules,
    scope: Option<ActionScope>,
    url_bytes_max: u64,
) -> Option<Code> {
    if scope != granted.scope {
        // Only a single request that was started already can be checked against the new action.
        return match (&call.target, scope) {
            (Some(target), Some(scope)) if !granted.goes_on => {
                let grant = EgressGrant::new(rules, vec![scope], url_bytes_max);
                grant.permit(target.url.as_bytes(), target.method).0.refusal
            }
            _ => Some(Code::PathNotGranted),
        };
    }
    if rules == granted.rules {
        return None;
    }
    // The action is the same, so a fixed host can be checked instead of the request.
    let fixed = granted.host.as_ref().map(|host| format!("https://{host}/"));
    let target = call.target.as_ref().filter(|_| !granted.goes_on).map(|target| target.url.clone());
    match target.or(fixed) {
        Some(url) => judge(url.as_bytes(), &rules, url_bytes_max).refusal,
        None if rules.org == granted.rules.org => Some(Code::HostNotInConnector),
        None => Some(Code::HostNotInOrg),
    }
}
