//! Running calls, and how a change ends them.
//!
//! A call is registered before anything about it is read, so that a kill switch, an opt-out or a stricter list that is
//! committed while the call prepares ends it, too. Ending drops the call's future and with it sandbox, sockets and
//! credential handle. [`crate::invalidation`] decides which change ends which call.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use portcullis_action::{Method, UrlTemplate};
use portcullis_core::connector::{Action, Connector};
use portcullis_core::fault::Code;
use portcullis_core::grant::ActionScope;
use portcullis_core::id::{ActionId, ConnectionName, OrgId, TokenId, WorkspaceId};
use portcullis_core::sync::lock;
use portcullis_core::verdict::LiveRules;
use portcullis_store::StoreError;
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::commitment::Commitment;
use super::prepare::Pick;
use super::request::CallRequest;

/// Identifies the call's tenant, connector and caller.
#[derive(Debug, Clone)]
pub(crate) struct CallScope {
    pub(crate) org: OrgId,
    pub(crate) workspace: WorkspaceId,
    /// The commit that made the workspace.
    pub(crate) workspace_commit: u64,
    pub(crate) connector: String,
    /// The name of the connection; none for the default one.
    pub(crate) connection: Option<ConnectionName>,
    /// The API token of the caller that waits for it.
    pub(crate) token: Option<TokenId>,
}

impl CallScope {
    pub(crate) fn of(call: &CallRequest) -> Self {
        Self {
            org: call.org.clone(),
            workspace: call.workspace.clone(),
            workspace_commit: call.workspace_commit,
            connector: call.connector_id.clone(),
            connection: call.connection.clone(),
            token: call.token_id.clone(),
        }
    }
}

/// What a call was granted when it was prepared: a later state is compared with it.
#[derive(Debug, Clone)]
pub(crate) struct Granted {
    pub(crate) pick: Pick,
    /// The id of an action, which another definition may have at another place.
    pub(crate) action: ActionId,
    pub(crate) method: Method,
    pub(crate) url: UrlTemplate,
    /// What the connector's module may do, for an action that it serves.
    pub(crate) module: Option<BTreeSet<String>>,
    /// The credential it uses; a connection that was forgotten and saved again has another one.
    pub(crate) credential: Option<String>,
    /// The lists, of the time of each of its requests.
    pub(crate) rules: LiveRules,
    /// `None` while config values in its URL are not known yet.
    pub(crate) scope: Option<ActionScope>,
    pub(crate) config: Arc<Map<String, Value>>,
    /// The host it goes to, if no input and no redirect chooses it.
    pub(crate) host: Option<String>,
    /// Whether it may make further requests: pages, redirects.
    pub(crate) goes_on: bool,
}

impl Granted {
    /// The same request in another definition of the connector.
    pub(crate) fn request<'c>(&self, connector: &'c Connector) -> Option<&'c Action> {
        match self.pick {
            Pick::Action(_) => connector.action(self.action.as_str()),
            Pick::Test | Pick::Discover(_) => self.pick.of(connector),
        }
    }
}

/// The request that a call last began.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) method: Method,
    /// `https://host[:port]/path`.
    pub(crate) url: String,
}

/// A running call and its grant.
#[derive(Debug, Clone)]
pub(crate) struct ActiveCall {
    pub(crate) scope: CallScope,
    /// Absent until it is prepared.
    pub(crate) granted: Option<Arc<Granted>>,
    /// Absent until its first request.
    pub(crate) target: Option<Target>,
}

struct Entry {
    call: ActiveCall,
    end: watch::Sender<Option<Code>>,
}

#[derive(Default)]
struct Calls {
    next: u64,
    entries: HashMap<u64, Entry>,
    /// The reason for which all calls are ended from now on, also later ones.
    all_ended: Option<Code>,
}

/// Every running call of the process.
#[derive(Default)]
pub(crate) struct ActiveCalls(Arc<std::sync::Mutex<Calls>>);

/// A call's entry; removed when dropped.
pub(crate) struct CancelHandle {
    calls: Arc<std::sync::Mutex<Calls>>,
    number: u64,
    ended: watch::Receiver<Option<Code>>,
    commitment: Commitment,
}

impl ActiveCalls {
    /// Registers a call.
    #[must_use]
    pub(crate) fn register(&self, scope: CallScope, commitment: Commitment) -> Arc<CancelHandle> {
        let mut calls = lock(&self.0);
        let (end, ended) = watch::channel(calls.all_ended);
        let number = calls.next;
        calls.next += 1;
        calls.entries.insert(number, Entry { call: ActiveCall { scope, granted: None, target: None }, end });
        Arc::new(CancelHandle { calls: Arc::clone(&self.0), number, ended, commitment })
    }

    /// A running call as it is now.
    pub(crate) fn get(&self, number: u64) -> Option<ActiveCall> {
        lock(&self.0).entries.get(&number).map(|entry| entry.call.clone())
    }

    /// The numbers of the running calls that `meant` selects.
    pub(crate) fn select(&self, meant: impl Fn(&CallScope) -> bool) -> Vec<u64> {
        let calls = lock(&self.0);
        let meant = calls.entries.iter().filter(|(_, entry)| meant(&entry.call.scope));
        meant.map(|(number, _)| *number).collect()
    }

    /// Ends a call, if it still runs. The first reason is kept.
    pub(crate) fn end(&self, number: u64, reason: Code) {
        if let Some(entry) = lock(&self.0).entries.get(&number) {
            entry.end.send_if_modified(|end| end.is_none() && end.replace(reason).is_none());
        }
    }

    /// Ends every call, and every one that starts later.
    pub(crate) fn end_all(&self, reason: Code) {
        lock(&self.0).all_ended = Some(reason);
        for number in self.select(|_| true) {
            self.end(number, reason);
        }
    }

    /// Number of running calls.
    #[must_use]
    pub(crate) fn count(&self) -> usize {
        lock(&self.0).entries.len()
    }
}

impl CancelHandle {
    fn update(&self, change: impl FnOnce(&mut ActiveCall)) {
        if let Some(entry) = lock(&self.calls).entries.get_mut(&self.number) {
            change(&mut entry.call);
        }
    }

    /// The call with its current grant.
    pub(crate) fn call(&self) -> Option<ActiveCall> {
        lock(&self.calls).entries.get(&self.number).map(|entry| entry.call.clone())
    }

    /// Records what the call was granted.
    pub(crate) fn set_granted(&self, granted: Granted) {
        self.update(|call| call.granted = Some(Arc::new(granted)));
    }

    /// Notes that an outbound request of this call begins, so that it outlives its caller. Does not return if the
    /// caller left before that: the call is being dropped.
    pub(crate) async fn commit(&self) {
        if !self.commitment.commit() {
            std::future::pending::<()>().await;
        }
    }

    /// Notes that a request of this call is about to be sent.
    ///
    /// # Errors
    /// If it could not be noted: nothing may be sent then.
    pub(crate) async fn note_sending(&self) -> Result<(), StoreError> {
        self.commitment.note().await
    }

    /// Records the request that it starts.
    pub(crate) fn set_target(&self, target: Target) {
        self.update(|call| call.target = Some(target));
    }

    /// Ends this call.
    pub(crate) fn end(&self, reason: Code) {
        if let Some(entry) = lock(&self.calls).entries.get(&self.number) {
            entry.end.send_if_modified(|end| end.is_none() && end.replace(reason).is_none());
        }
    }

    /// The reason, once the call was ended from outside.
    pub(crate) fn end_reason(&self) -> Option<Code> {
        *self.ended.borrow()
    }

    /// Resolves with the reason when the call is ended from outside.
    pub(crate) async fn ended(&self) -> Code {
        let mut ended = self.ended.clone();
        loop {
            if let Some(code) = *ended.borrow_and_update() {
                return code;
            }
            if ended.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

impl Drop for CancelHandle {
    fn drop(&mut self) {
        lock(&self.calls).entries.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(connector: &str) -> CallScope {
        CallScope {
            org: OrgId::parse("acme").unwrap(),
            workspace: WorkspaceId::parse("main").unwrap(),
            workspace_commit: 1,
            connector: connector.into(),
            connection: None,
            token: None,
        }
    }

    #[tokio::test]
    async fn only_the_selected_calls_are_ended() {
        let calls = ActiveCalls::default();
        let (a, b) = (
            calls.register(scope("a"), Commitment::default()),
            calls.register(scope("b"), Commitment::default()),
        );
        assert_eq!(calls.count(), 2);
        for number in calls.select(|scope| scope.connector == "a") {
            calls.end(number, Code::ConnectorDisabled);
            calls.end(number, Code::CallEnded);
        }
        assert_eq!(a.ended().await, Code::ConnectorDisabled, "the first reason stands");
        let still = tokio::time::timeout(std::time::Duration::from_millis(20), b.ended()).await;
        assert!(still.is_err());
        drop((a, b));
        assert_eq!(calls.count(), 0);
    }

    #[tokio::test]
    async fn a_call_that_begins_after_the_end_of_all_is_ended_too() {
        let calls = ActiveCalls::default();
        let before = calls.register(scope("a"), Commitment::default());
        calls.end_all(Code::CallEnded);
        let after = calls.register(scope("a"), Commitment::default());
        assert_eq!((before.ended().await, after.ended().await), (Code::CallEnded, Code::CallEnded));
    }
}
