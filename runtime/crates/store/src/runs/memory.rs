//! Runs in memory: the model that other backends are compared with, and the runs of tests.
//!
//! Nothing survives a restart. Used as `dyn Runs`.

use std::collections::HashMap;
use std::sync::Mutex;

use portcullis_core::id::{OrgId, RunId, WorkspaceId};

use super::{RunRecord, Runs};
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

    fn list<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
        after: Option<&'a RunId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<Vec<RunRecord>>, StoreError>> {
        Box::pin(async move {
            Ok(self.of(org, workspace, |runs| {
                let from = match after {
                    None => 0,
                    Some(after) => runs.iter().position(|record| record.run_id == *after)? + 1,
                };
                Some(runs.iter().skip(from).take(limit).cloned().collect())
            }))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::runs::tests::conformance;

    #[tokio::test]
    async fn memory_runs_conform() {
        conformance::check_all(|| Arc::new(MemoryRuns::new())).await;
    }
}
