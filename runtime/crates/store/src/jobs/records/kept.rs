//! How many bytes of inputs a workspace's jobs keep: a number that the step which stores or erases an input changes in
//! the same batch. It stands in parts, so that steps of different jobs rarely meet at the same one.

use portcullis_core::id::{OrgId, WorkspaceId};

use super::RecordJobs;
use crate::backend::{Batch, LIST_ENTRIES_MAX, Precondition};
use crate::error::StoreError;
use crate::jobs::JobName;
use crate::jobs::keys::{bytes_of, bytes_of_org};

/// Parts of a workspace's number.
const PARTS: u32 = 16;

/// One part of a workspace's number as it was read.
pub(super) struct Part {
    pub(super) key: String,
    bytes: u64,
    /// The commit that wrote it; absent if there is none.
    revision: Option<u64>,
}

impl Part {
    /// Adds to a batch that the number grows by `more` and shrinks by `less`, if nobody changed it since.
    pub(super) fn change(&self, batch: Batch, more: u64, less: u64) -> Batch {
        let precondition = self.revision.map_or(Precondition::Absent, Precondition::Revision);
        let batch = batch.require(self.key.clone(), precondition);
        match self.bytes.saturating_add(more).saturating_sub(less) {
            0 => batch.delete(self.key.clone()),
            bytes => batch.put(self.key.clone(), bytes.to_string().into_bytes()),
        }
    }
}

fn parse(key: &str, value: &[u8]) -> Result<u64, StoreError> {
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| StoreError::Unreadable {
        key: key.to_owned(),
        kind: "job_bytes",
        reason: "it is no number".to_owned(),
    })
}

impl RecordJobs {
    /// The part in which a job is counted.
    pub(super) async fn part_of(&self, name: &JobName) -> Result<Part, StoreError> {
        let part = name.run_id.as_str().bytes().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(byte)));
        let key = format!("{}{:02}", bytes_of(&name.org, &name.workspace), part % PARTS);
        let found = self.store.get(&key).await?;
        let bytes = found.as_ref().map_or(Ok(0), |found| parse(&key, &found.value))?;
        Ok(Part { key, bytes, revision: found.map(|found| found.revision) })
    }

    /// The number of a workspace.
    pub(super) async fn bytes(&self, org: &OrgId, workspace: &WorkspaceId) -> Result<u64, StoreError> {
        let parts = self.store.list(&bytes_of(org, workspace), None, PARTS as usize).await?;
        parts.iter().try_fold(0_u64, |sum, (key, part)| Ok(sum.saturating_add(parse(key, &part.value)?)))
    }

    /// The number of all workspaces of an org.
    pub(super) async fn bytes_of_org(&self, org: &OrgId) -> Result<u64, StoreError> {
        let prefix = bytes_of_org(org);
        let (mut sum, mut after) = (0_u64, None);
        loop {
            let mut parts = self.store.list(&prefix, after.as_deref(), LIST_ENTRIES_MAX).await?;
            for (key, part) in &parts {
                sum = sum.saturating_add(parse(key, &part.value)?);
            }
            let is_full = parts.len() == LIST_ENTRIES_MAX;
            let Some((last, _)) = parts.pop().filter(|_| is_full) else { return Ok(sum) };
            after = Some(last);
        }
    }
}
