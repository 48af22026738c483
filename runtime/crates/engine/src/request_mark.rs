//! What is known of the request around a use case, for log lines: its id, its trace, how long it waited, and what it
//! changed. It goes with the task and not through every signature, because nothing is decided by it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use portcullis_core::sync::lock;
use portcullis_store::{
    AutomationRecord, Change, ConnectSession, ConnectSettings, ConnectorRecord, ConnectorSetting,
    Document as _, IntegrationSettings, Key, KeyRingRecord, ModuleRecord, OAuthClientRecord, OrgLimitsRecord,
    OrgRecord, RetentionRecord, TokenIndex, Webhooks, WorkspaceRecord, WorkspaceValuesRecord,
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
    KeyRingRecord::KIND,
    ModuleRecord::KIND,
    OAuthClientRecord::KIND,
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
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    queue_us: u64,
    changes: Changes,
    /// On whose behalf it acts, where that is not its caller.
    actor: Option<AuditActor>,
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
        let (made, acting, inner) = (Instant::now(), OnceLock::new(), Mutex::default());
        Arc::new(Self { request_id, trace_id, made, acting, inner })
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

    /// Says on whose behalf the request acts, where it brings no token that shows it: a person comes back from a consent,
    /// or has a link.
    pub(crate) fn acts_for(&self, actor: AuditActor) {
        lock(&self.inner).actor = Some(actor);
    }

    /// Who does what by the request, if that is recorded.
    pub(crate) fn acting(&self) -> Option<Acting> {
        let mut acting = self.acting.get()?.clone();
        if let Some(actor) = &lock(&self.inner).actor {
            acting.actor.clone_from(actor);
        }
        Some(acting)
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
