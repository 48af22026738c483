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
//! | org rule or list of connectors changed | the org's calls of connectors and actions that it no longer allows |
//! | OAuth client of the org or the platform deleted, or saved with another id | calls of connections that were made with it |
//! | workspace deleted, org deleted | its calls |
//! | API token revoked | calls of callers that used it and still wait |
//!
//! A change that still allows a call does not end it, and later requests of the call are judged by the new lists. What
//! cannot be judged is ended.
//!
//! A change only says what to look at. Every call that it concerns is judged by the records of now, because the feed
//! may tell late: what a deletion took may be there again, and a call may have begun with it.

use portcullis_core::connector::Runtime;
use portcullis_core::fault::Code;
use portcullis_core::grant::{ActionScope, EgressGrant};
use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_core::org_rules::Asked;
use portcullis_core::verdict::judge;
use portcullis_egress::PoolScope;
use portcullis_store::{
    AutomationRecord, Change, ConnectorRecord, ConnectorSetting, CredentialState, Document as _,
    IntegrationSettings, Key, OAuthClientRecord, OrgRecord, PLATFORM_SCOPE, ScopeKeyRecord, TokenIndex,
    WorkspaceKeyRecord, WorkspaceRecord,
};

use crate::call::active_calls::{ActiveCall, CallScope, CancelHandle, Granted, Target};
use crate::call::org_rules::asked_of;
use crate::call::prepare::Pick;
use crate::connection::state::StoredConnection;
use crate::connection::{self, ConnectionKey};
use crate::error::Error;
use crate::resources::Resources;

pub(crate) mod follow;
#[cfg(test)]
mod tests;

/// What a change concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    Connector(String),
    /// An org's lists and rules.
    Policy(String),
    /// A workspace's connection.
    Setting(ConnectionKey),
    /// The credential of a connection. The deletion of its setting is a separate change.
    Credential(ConnectionKey),
    /// An OAuth client of an org or of the platform: scope, connector.
    OAuthClient([String; 2]),
    /// A key of an org or of the platform.
    ScopeKey(String),
    Workspace([String; 2]),
    /// A workspace's key.
    WorkspaceKey([String; 2]),
    Org(String),
    /// An API token, by its id.
    Token(String),
    /// An automation: org and id. No running call depends on it, but which events it is fired by.
    Automation([String; 2]),
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
            (ConnectorSetting::KIND, parts) => ConnectionKey::of_parts(parts).map(Self::Setting),
            (CredentialState::KIND, parts) => ConnectionKey::of_parts(parts).map(Self::Credential),
            (OAuthClientRecord::KIND, [scope, id, _]) => Some(Self::OAuthClient([owned(scope), owned(id)])),
            (ScopeKeyRecord::KIND, [scope]) => Some(Self::ScopeKey(owned(scope))),
            (WorkspaceRecord::KIND, [org, ws]) => Some(Self::Workspace([owned(org), owned(ws)])),
            (WorkspaceKeyRecord::KIND, [org, ws]) => Some(Self::WorkspaceKey([owned(org), owned(ws)])),
            (OrgRecord::KIND, [org]) => Some(Self::Org(owned(org))),
            (TokenIndex::KIND, [id]) => Some(Self::Token(owned(id))),
            (AutomationRecord::KIND, [org, id]) => Some(Self::Automation([owned(org), owned(id)])),
            _ => None,
        }
    }

    /// Whether it may concern a call.
    fn concerns(&self, call: &CallScope) -> bool {
        let in_workspace = |org: &str, ws: &str| call.org.as_str() == org && call.workspace.as_str() == ws;
        match self {
            Self::Connector(id) => call.connector == *id,
            Self::Policy(org) | Self::Org(org) => call.org.as_str() == org,
            Self::Setting(key) => {
                in_workspace(key.org.as_str(), key.workspace.as_str())
                    && call.connector == key.connector.as_str()
                    && call.connection == key.name
            }
            Self::OAuthClient([scope, id]) => {
                call.connector == *id && (scope == PLATFORM_SCOPE || call.org.as_str() == scope)
            }
            Self::Workspace([org, ws]) => in_workspace(org, ws),
            Self::Token(id) => call.token.as_ref().is_some_and(|token| token.as_str() == id),
            Self::Credential(_) | Self::WorkspaceKey(_) | Self::ScopeKey(_) | Self::Automation(_) => false,
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
            Self::Setting(key) | Self::Credential(key) => {
                of(key.org.as_str(), key.workspace.as_str())
                    && scope.connector == key.connector.as_str()
                    && scope.connection == key.name
            }
            Self::OAuthClient([owner, id]) => {
                let is_in = |org: &str| owner == PLATFORM_SCOPE || owner == org;
                scope.connector == *id && scope.workspace.split_once('/').is_some_and(|(own, _)| is_in(own))
            }
            Self::Workspace([org, ws]) => of(org, ws),
            Self::Token(_) | Self::WorkspaceKey(_) | Self::ScopeKey(_) | Self::Automation(_) => false,
            Self::All => true,
        }
    }
}

/// Calls that are judged, and changes that are applied, before other tasks have a turn.
const AT_ONCE: usize = 16;

/// Lets other tasks have a turn after every few of many.
async fn breathe(number: usize) {
    if number % AT_ONCE == AT_ONCE - 1 {
        tokio::task::yield_now().await;
    }
}

/// Ends what these changes no longer allow.
pub(crate) async fn apply(resources: &Resources, changes: &[Change]) {
    // Why apart: no call depends on these.
    resources.health.changed(changes);
    resources.webhooks.changed(changes);
    for (applied, change) in changes.iter().enumerate() {
        breathe(applied).await;
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
    if let Subject::Automation([org, id]) = subject {
        // Why nothing else: a call that fired goes on with the input that was made for it.
        return resources.events.bindings.changed(org, id);
    }
    match subject {
        Subject::Connector(id) => resources.cache.forget_connector(id),
        Subject::Policy(org) => resources.cache.forget_policy(org),
        Subject::All => {
            resources.cache.forget_all();
            resources.events.bindings.forget_all();
            resources.health.forget_all();
            resources.vault.forget_all();
        }
        Subject::ScopeKey(scope) => resources.vault.forget_scope(scope),
        Subject::Workspace([org, ws]) | Subject::WorkspaceKey([org, ws]) => {
            resources.cache.advance();
            forget_key(resources, org, ws);
        }
        _ => resources.cache.advance(),
    }
    resources.gate.drop_connections(|scope| subject.outdates(scope));
    let running = resources.active_calls.select(|scope| subject.concerns(scope));
    if let Subject::Connector(id) = subject
        && !running.is_empty()
        && is_off(resources, id).await
    {
        // Why not judged one by one: it takes as long as checking the definition, which nothing needs any more.
        for number in running {
            resources.active_calls.end(number, Code::ConnectorDisabled);
        }
        return;
    }
    for (judged, number) in running.into_iter().enumerate() {
        breathe(judged).await;
        if let Some(reason) = verdict(resources, &|| resources.active_calls.get(number)).await {
            resources.active_calls.end(number, reason);
        }
    }
}

/// Whether a connector is switched off or deleted; false if that cannot be read.
async fn is_off(resources: &Resources, id: &str) -> bool {
    match resources.records.get::<ConnectorRecord>(&[id]).await {
        Ok(found) => found.is_none_or(|(record, _)| !record.enabled),
        Err(_) => false,
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
    if let Some(reason) = verdict(resources, &|| handle.call()).await {
        handle.end(reason);
    }
}

/// Ends a call whose workspace, org or API token is gone.
pub(crate) async fn end_without_caller(resources: &Resources, handle: &CancelHandle) {
    let Some(call) = handle.call() else { return };
    match is_without_caller(resources, &call.scope).await {
        Ok(false) => {}
        Ok(true) => handle.end(Code::CallEnded),
        Err(error) => handle.end(error.code),
    }
}

async fn is_without_caller(resources: &Resources, scope: &CallScope) -> Result<bool, Error> {
    let (org, workspace) = (scope.org.as_str(), scope.workspace.as_str());
    let found = resources.records.get_shared::<WorkspaceRecord>(&[org, workspace]).await?;
    // Why the commit: one that was deleted and made again is another workspace.
    if found.is_none_or(|(_, commit)| commit != scope.workspace_commit)
        || resources.records.get_shared::<OrgRecord>(&[org]).await?.is_none()
    {
        return Ok(true);
    }
    match &scope.token {
        Some(token) => Ok(resources.records.get_shared::<TokenIndex>(&[token.as_str()]).await?.is_none()),
        None => Ok(false),
    }
}

/// A running call as it is when it is asked for; `None` once it has ended.
type Running<'a> = &'a (dyn Fn() -> Option<ActiveCall> + Sync);

/// Why a call may not continue in the current state.
async fn verdict(resources: &Resources, call: Running<'_>) -> Option<Code> {
    loop {
        match current(resources, call).await {
            Ok(Judged::Allowed) => return None,
            Ok(Judged::Ended(reason)) => return Some(reason),
            Ok(Judged::Overtaken) => {}
            // Fail closed: a call that may have been forbidden must not continue because the records cannot be read.
            Err(error) => return Some(error.code),
        }
    }
}

/// How the current state judges a call.
enum Judged {
    Allowed,
    Ended(Code),
    /// Another change was applied to it meanwhile: what was read may be older than that.
    Overtaken,
}

impl From<Option<Code>> for Judged {
    fn from(reason: Option<Code>) -> Self {
        reason.map_or(Self::Allowed, Self::Ended)
    }
}

async fn current(resources: &Resources, running: Running<'_>) -> Result<Judged, Error> {
    let Some(call) = running() else { return Ok(Judged::Allowed) };
    let scope = &call.scope;
    // Why before anything is read: the rules that are made of it must not replace newer ones.
    let seen = call.granted.as_ref().map(|granted| granted.rules.current());
    if is_without_caller(resources, scope).await? {
        return Ok(Judged::Ended(Code::CallEnded));
    }
    let loaded = match resources.cache.connector(&scope.connector).await? {
        Some(loaded) if loaded.connector.enabled => loaded,
        _ => return Ok(Judged::Ended(Code::ConnectorDisabled)),
    };
    let key = ConnectionKey {
        org: scope.org.clone(),
        workspace: scope.workspace.clone(),
        connector: loaded.connector.id.clone(),
        name: scope.connection.clone(),
    };
    let stored = StoredConnection::load(&resources.records, &key, &loaded.connector).await?;
    if stored.unwanted(&loaded.connector).is_some() {
        return Ok(Judged::Ended(Code::CallEnded));
    }
    // Why whatever its request: its token is not used any more.
    if stored.client_gone || stored.has_token_of_gone_client() {
        return Ok(Judged::Ended(Code::CallEnded));
    }
    // Without a grant nothing has left yet; the call is checked again when it has one.
    let (Some(granted), Some(seen)) = (&call.granted, seen) else { return Ok(Judged::Allowed) };
    let credential = stored.credential.as_ref().map(|credential| credential.credential_id.as_str());
    // Why: one that was deleted and saved again is another connection.
    if granted.credential.as_deref().is_some_and(|own| credential.is_some_and(|now| now != own)) {
        return Ok(Judged::Ended(Code::CallEnded));
    }
    let connector = stored.chosen(&loaded.connector);
    let policy = resources.cache.policy(scope.org.as_str()).await?;
    let action = granted.request(connector);
    let asked = match (granted.pick, action) {
        (Pick::Action(_), Some(action)) => asked_of(action),
        _ => Asked::Connection,
    };
    let rules = connection::rules(connector, &policy, asked);
    let forbidden = rules.org_rules.refusal();
    let same_rules = rules == *seen;
    // Why also equal ones: whoever read older ones then sees that they were overtaken.
    if !granted.rules.replace(&seen, rules) {
        return Ok(Judged::Overtaken);
    }
    // Why whatever its request: none of this action is allowed, nor a token for it.
    if let Some(code) = forbidden {
        return Ok(Judged::Ended(code));
    }
    let Some(action) = action else { return Ok(Judged::Ended(Code::PathNotGranted)) };
    // Why compared whole: which of its requests such a call makes next is not known.
    if connector.module_of(action).map(Runtime::capabilities) != granted.module {
        return Ok(Judged::Ended(Code::PathNotGranted));
    }
    // Why the template: as long as the URL has values that are not known, two of them have no other difference.
    if granted.scope.is_none() && (action.method, &action.url) != (granted.method, &granted.url) {
        return Ok(Judged::Ended(Code::PathNotGranted));
    }
    let scope = ActionScope::new(action.method, &action.url, &granted.config).ok();
    // Why read now: a request that began before the rules were replaced is judged here, and any later one by the gate.
    let target = running().and_then(|call| call.target);
    Ok(refusal(granted, target.as_ref(), scope, same_rules, resources.limits.url_bytes).into())
}

/// Why a call's grant is no longer covered by the current rules and `scope`. `target` is the request that it last
/// began; `same_rules` says that no list changed.
fn refusal(
    granted: &Granted,
    target: Option<&Target>,
    scope: Option<ActionScope>,
    same_rules: bool,
    url_bytes_max: u64,
) -> Option<Code> {
    if scope != granted.scope {
        // Only a single request that was started already can be checked against the new action.
        return match (target, scope) {
            (Some(target), Some(scope)) if !granted.goes_on => {
                let grant = EgressGrant::new(granted.rules.clone(), vec![scope], url_bytes_max);
                grant.permit(target.url.as_bytes(), target.method).0.refusal
            }
            _ => Some(Code::PathNotGranted),
        };
    }
    // Why: what these lists refuse the gate refuses as well, with a record in the ledger.
    if same_rules {
        return None;
    }
    // The action is the same, so a fixed host can be checked instead of a request. A call that has neither has sent
    // nothing, and its first request is judged when it begins.
    let fixed = || granted.host.as_ref().map(|host| format!("https://{host}/"));
    let url = target.map(|target| target.url.clone()).or_else(fixed)?;
    judge(url.as_bytes(), &granted.rules.current(), url_bytes_max).refusal
}
