//! What is known of the request around a use case, for log lines: its id, its trace, how long it waited, and what it
//! changed. It goes with the task and not through every signature, because nothing is decided by it.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use portcullis_core::sync::lock;
use portcullis_store::{
    AutomationRecord, Change, ConnectorRecord, ConnectorSetting, Document as _, IntegrationSettings, Key,
    ModuleRecord, OrgLimitsRecord, OrgRecord, RetentionRecord, TokenIndex, Webhooks, WorkspaceRecord,
    WorkspaceValuesRecord,
};

/// Kinds of records that people change. Why listed: keys of others may hold hashes of what only their bearers know.
const CHANGED_BY_PEOPLE: &[&str] = &[
    AutomationRecord::KIND,
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
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    queue_us: u64,
    changes: Changes,
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
        Arc::new(Self { request_id, trace_id, made: Instant::now(), inner: Mutex::default() })
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
