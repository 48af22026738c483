//! What is known of the request around a use case, for log lines: its id, its trace, how long it waited, and what it
//! changed. It goes with the task and not through every signature, because nothing is decided by it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use portcullis_core::sync::lock;
use portcullis_store::{
    AutomationRecord, Change, ConnectSession, ConnectSettings, ConnectorRecord, ConnectorSetting,
    Document as _, IntegrationSettings, Key, ModuleRecord, OrgLimitsRecord, OrgRecord, RetentionRecord,
    TokenIndex, Webhooks, WorkspaceRecord, WorkspaceValuesRecord,
};

use crate::audit_log::acts::kinds_of;
use crate::audit_log::{Acting, AuditActor, NOBODY, actor_of};
use crate::caller::Caller;

/// Kinds of records that people change. Why listed: keys of others may hold hashes of what only their bearers know.
const CHANGED_BY_PEOPLE: &[&str] = &[
    AutomationRecord::KIND,
    ConnectSession::KIND,
    ConnectSettings::KIND,
    ConnectorRecord::KIND,
    ConnectorSetting::KIND,
    IntegrationSettings::KIND,
    ModuleRecord::KIND,
    OrgLimitsRecord::KIND,
    OrgRecord::KIND,
    RetentionRecord::KIND,
    TokenIndex::KIND,
    Webhooks::KIND,
    WorkspaceRecord::KIND,
    WorkspaceValuesRecord::KIND,
];

/// Records that a line names; of further ones it has the number.
const NAMED_MAX: usize = 20;

tokio::task_local! {
    static CURRENT: Arc<RequestMark>;
}

/// See the module's documentation.
#[derive(Debug)]
pub struct RequestMark {
    request_id: Option<Arc<str>>,
    /// The trace of the caller, 32 hexadecimal digits.
    trace_id: Option<Arc<str>>,
    made: Instant,
    /// Who does what, where the audit log is told of it.
    acting: OnceLock<Acting>,
    /// Who it is, where that was not known when the request came.
    actor: OnceLock<AuditActor>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    queue_us: u64,
    changes: Changes,
    /// Kinds of records whose change the audit log was told of.
    recorded: Vec<&'static str>,
}

/// What a request changed.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Keys of records that were written, `kind/part/part`.
    pub written: Vec<String>,
    /// Keys of records that were deleted.
    pub deleted: Vec<String>,
    /// How many further ones are not named.
    pub further: u64,
}

impl Changes {
    /// Whether nothing was changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.written.is_empty() && self.deleted.is_empty()
    }

    fn add(&mut self, change: &Change) {
        if !Key::parse(&change.key).is_some_and(|(kind, _)| CHANGED_BY_PEOPLE.contains(&kind)) {
            return;
        }
        if self.written.len() + self.deleted.len() >= NAMED_MAX {
            self.further += 1;
            return;
        }
        let list = if change.deleted { &mut self.deleted } else { &mut self.written };
        list.push(change.key.clone());
    }
}

impl RequestMark {
    /// The mark of a request that waits for its turn from now on.
    #[must_use]
    pub fn new(request_id: Option<Arc<str>>, trace_id: Option<Arc<str>>) -> Arc<Self> {
        let (made, inner) = (Instant::now(), Mutex::default());
        let (acting, actor) = (OnceLock::new(), OnceLock::new());
        Arc::new(Self { request_id, trace_id, made, acting, actor, inner })
    }

    /// Says what the request does, for the audit log: the operation, who asks for it, and where it came from. For an
    /// operation that is not recorded this does nothing.
    pub fn acts(
        &self,
        operation: &'static str,
        is_read: bool,
        caller: Option<&Caller>,
        address: impl FnOnce() -> Option<IpAddr>,
    ) {
        let Some(kinds) = kinds_of(operation, is_read) else { return };
        let address = address();
        let nobody = || AuditActor { role: NOBODY.to_owned(), ..AuditActor::default() };
        let actor = caller.map_or_else(nobody, actor_of);
        let request_id = self.request_id.clone();
        // Why ignored: a request has one operation.
        let _ = self.acting.set(Acting { operation, kinds, actor, address, request_id });
    }

    /// Says who it is that does it: a person who came without a token, by a link.
    pub(crate) fn acts_as(&self, actor: AuditActor) {
        // Why ignored: a request is one person's.
        let _ = self.actor.set(actor);
    }

    /// The mark of a part of the request that goes on in a task of its own, on behalf of this actor if it is known.
    pub(crate) fn on_behalf(&self, actor: Option<AuditActor>) -> Arc<Self> {
        let own = Self::new(self.request_id.clone(), self.trace_id.clone());
        if let Some(acting) = self.acting() {
            let actor = actor.unwrap_or_else(|| acting.actor.clone());
            // Why ignored: it is a new one.
            let _ = own.acting.set(Acting { actor, ..acting });
        }
        own
    }

    /// Who does what by the request, if that is recorded.
    pub(crate) fn acting(&self) -> Option<Acting> {
        let acting = self.acting.get()?.clone();
        Some(match self.actor.get() {
            Some(actor) => Acting { actor: actor.clone(), ..acting },
            None => acting,
        })
    }

    /// Kinds of records whose next change has a record in the audit log.
    pub(crate) fn unrecorded(&self) -> Vec<&'static str> {
        let Some(acting) = self.acting.get() else { return Vec::new() };
        let recorded = &lock(&self.inner).recorded;
        acting.kinds.iter().filter(|kind| !recorded.contains(kind)).copied().collect()
    }

    /// Notes that changes of these kinds have their record.
    pub(crate) fn note_recorded(&self, kinds: Vec<&'static str>) {
        lock(&self.inner).recorded.extend(kinds);
    }

    /// Does something for this request. Its wait ends when that begins.
    pub async fn around<F: Future>(self: Arc<Self>, work: F) -> F::Output {
        let waited = u64::try_from(self.made.elapsed().as_micros()).unwrap_or(u64::MAX);
        lock(&self.inner).queue_us = waited;
        CURRENT.scope(self, work).await
    }

    /// The mark of the request that this task works for, if it works for one.
    pub(crate) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    pub(crate) const fn request_id(&self) -> Option<&Arc<str>> {
        self.request_id.as_ref()
    }

    pub(crate) const fn trace_id(&self) -> Option<&Arc<str>> {
        self.trace_id.as_ref()
    }

    /// How long it waited for its turn and for a worker, microseconds.
    pub(crate) fn queue_us(&self) -> u64 {
        lock(&self.inner).queue_us
    }

    /// Notes what a commit changed.
    pub(crate) fn note(&self, changes: &[Change]) {
        let mut inner = lock(&self.inner);
        changes.iter().for_each(|change| inner.changes.add(change));
    }

    /// What was changed so far.
    #[must_use]
    pub fn changes(&self) -> Changes {
        lock(&self.inner).changes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_people_changed_is_noted_and_nothing_else() {
        let mark = RequestMark::new(None, None);
        let change = |key: &str, deleted| Change { seq: 1, key: key.to_owned(), deleted };
        let noting = async {
            let mark = RequestMark::current().unwrap();
            mark.note(&[change("connector/crm", false), change("token/0123abcd", false)]);
            mark.note(&[change("workspace/acme/main", true), change("idempotency/acme/main/0123", false)]);
        };
        Arc::clone(&mark).around(noting).await;
        let changes = mark.changes();
        assert_eq!(changes.written, ["connector/crm"]);
        assert_eq!(changes.deleted, ["workspace/acme/main"]);
        let many: Vec<_> = (0..30).map(|n| change(&format!("org/o{n}"), true)).collect();
        mark.note(&many);
        let changes = mark.changes();
        assert_eq!((changes.deleted.len() + changes.written.len(), changes.further), (20, 12));
        assert!(RequestMark::current().is_none(), "it goes with its task");
    }
}
