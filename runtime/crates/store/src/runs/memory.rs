//! Runs in memory: the model that other backends are compared with, and the runs of tests.
//!
//! Nothing survives a restart. Used as `dyn Runs`.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use portcullis_core::id::{OrgId, RunId, WorkspaceId};

use super::query::{RunCursor, RunKey, RunOrder, RunPage, RunPlace, RunQuery, RunScope, Start, ended_us};
use super::{RunCut, RunRecord, Runs, RunsLeft};
use crate::error::StoreError;
use crate::task::BoxFuture;
use portcullis_core::sync::lock;

/// Runs in memory.
#[derive(Default)]
pub struct MemoryRuns {
    by_workspace: Mutex<HashMap<(OrgId, WorkspaceId), Vec<RunRecord>>>,
}

impl MemoryRuns {
    /// No runs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn of<T>(&self, org: &OrgId, workspace: &WorkspaceId, read: impl FnOnce(&[RunRecord]) -> T) -> T {
        let place = (org.clone(), workspace.clone());
        read(lock(&self.by_workspace).get(&place).map_or(&[], Vec::as_slice))
    }
}

impl MemoryRuns {
    fn page(&self, query: &RunQuery) -> Option<RunPage> {
        let timed = !matches!(query.scope, RunScope::Workspace(..));
        let mut keyed = self.keyed(&query.scope, timed);
        let key = match &query.after {
            None | Some(RunCursor::Start) => None,
            Some(RunCursor::At(place)) if place.timed == timed => {
                let key = &place.key;
                let own = match &query.scope {
                    RunScope::Workspace(org, workspace) => *org == key.org && *workspace == key.workspace,
                    RunScope::Org(_) | RunScope::All => true,
                };
                Some(own.then(|| place.clone())?)
            }
            Some(RunCursor::Run(run)) if !timed => {
                let (key, _) = keyed.iter().find(|(_, record)| record.run_id == *run)?;
                Some(RunPlace { key: key.clone(), inclusive: false, timed })
            }
            Some(_) => return None,
        };
        let start = Start { order: query.order, place: key };
        keyed.retain(|(key, record)| {
            let ended = ended_us(&record.created_at, record.run_id.as_str());
            let filter = &query.filter;
            start.allows(key) && filter.matches_time(ended) && filter.matches_body(record.body.get())
        });
        keyed.sort_by(|(a, _), (b, _)| match query.order {
            RunOrder::NewestFirst => b.cmp(a),
            RunOrder::OldestFirst => a.cmp(b),
        });
        let has_more = keyed.len() > query.limit;
        keyed.truncate(query.limit);
        let last = keyed.last().map(|(key, _)| RunPlace { key: key.clone(), inclusive: false, timed });
        let next = last.map(RunCursor::At).or_else(|| query.after.clone()).unwrap_or(RunCursor::Start);
        let records = keyed.into_iter().map(|(_, record)| record).collect();
        Some(RunPage { records, next: has_more.then_some(next) })
    }

    /// Drops old runs one by one: there are no files here.
    fn dropped(&self, org: &OrgId, cut: &RunCut) -> RunsLeft {
        let bytes = |record: &RunRecord| record.to_json().len() as u64;
        let mut keyed = self.keyed(&RunScope::Org(org.clone()), true);
        keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut left = RunsLeft { dropped: 0, bytes: keyed.iter().map(|(_, record)| bytes(record)).sum() };
        let mut doomed = HashSet::new();
        for (key, record) in &keyed {
            let is_old = cut.before_us.is_some_and(|before| key.us < before);
            if !is_old && cut.bytes.is_none_or(|most| left.bytes <= most) {
                break;
            }
            left.bytes = left.bytes.saturating_sub(bytes(record));
            left.dropped = left.dropped.saturating_add(1);
            doomed.insert(&record.run_id);
        }
        for ((of, _), runs) in lock(&self.by_workspace).iter_mut() {
            if of == org {
                runs.retain(|record| !doomed.contains(&record.run_id));
            }
        }
        left
    }

    /// The runs of a scope with their keys.
    fn keyed(&self, scope: &RunScope, timed: bool) -> Vec<(RunKey, RunRecord)> {
        let mut keyed = Vec::new();
        for ((org, workspace), runs) in lock(&self.by_workspace).iter() {
            let wanted = match scope {
                RunScope::Workspace(one, its) => one == org && its == workspace,
                RunScope::Org(one) => one == org,
                RunScope::All => true,
            };
            let mut latest = 0;
            for (record, at) in runs.iter().zip(0..).filter(|_| wanted) {
                latest = latest.max(ended_us(&record.created_at, record.run_id.as_str()));
                let (us, org, workspace) = (if timed { latest } else { 0 }, org.clone(), workspace.clone());
                keyed.push((RunKey { us, org, workspace, unit: 0, record: at }, record.clone()));
            }
        }
        keyed
    }
}

impl Runs for MemoryRuns {
    fn append<'a>(&'a self, record: &'a RunRecord) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            record.checked_json()?;
            let place = (record.org.clone(), record.workspace.clone());
            lock(&self.by_workspace).entry(place).or_default().push(record.clone());
            Ok(())
        })
    }

    fn get<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
        run: &'a RunId,
    ) -> BoxFuture<'a, Result<Option<RunRecord>, StoreError>> {
        Box::pin(async move {
            Ok(self.of(org, workspace, |runs| runs.iter().find(|record| record.run_id == *run).cloned()))
        })
    }

    fn query<'a>(&'a self, query: &'a RunQuery) -> BoxFuture<'a, Result<Option<RunPage>, StoreError>> {
        Box::pin(async move { Ok(self.page(query)) })
    }

    fn retain<'a>(&'a self, org: &'a OrgId, cut: &'a RunCut) -> BoxFuture<'a, Result<RunsLeft, StoreError>> {
        Box::pin(async move { Ok(self.dropped(org, cut)) })
    }

    fn bytes<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            let all = lock(&self.by_workspace);
            let own = all.iter().filter(|((of, _), _)| of == org).flat_map(|(_, runs)| runs);
            Ok(own.map(|record| record.to_json().len() as u64).sum())
        })
    }

    fn remove<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            lock(&self.by_workspace).remove(&(org.clone(), workspace.clone()));
            Ok(())
        })
    }
}
