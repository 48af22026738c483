//! The count of all jobs by state, in parts: of open jobs first, then of those that can be taken up again.

use super::RecordJobs;
use crate::error::StoreError;
use crate::jobs::keys::{ALL_GIVEN_UP, ALL_OPEN};
use crate::jobs::{JobName, JobTally};

/// Jobs listed at a time.
const PAGE: usize = 200;

impl RecordJobs {
    /// One part of the count; `from` is a key of [`ALL_OPEN`] or [`ALL_GIVEN_UP`], or one of the two prefixes.
    pub(super) async fn tallied(&self, from: Option<&str>, limit: usize) -> Result<JobTally, StoreError> {
        let mut tally = JobTally::default();
        let mut from = from.unwrap_or(ALL_OPEN).to_owned();
        let mut room = limit.max(1);
        while room > 0 {
            let prefix = if from.starts_with(ALL_GIVEN_UP) { ALL_GIVEN_UP } else { ALL_OPEN };
            let after = (from != prefix).then_some(from.as_str());
            let wanted = room.min(PAGE);
            let page = self.store.list(prefix, after, wanted).await?;
            for (key, _) in &page {
                // Why read: the order says that it is there, and not in which state.
                let Some(name) = JobName::by_name(key) else { continue };
                if let Some((job, _)) = self.read(&name).await? {
                    *tally.counts.entry(job.state).or_default() += 1;
                }
            }
            room -= page.len().clamp(1, room);
            match page.last().filter(|_| page.len() == wanted) {
                Some((last, _)) => from.clone_from(last),
                None if prefix == ALL_OPEN => ALL_GIVEN_UP.clone_into(&mut from),
                None => return Ok(tally),
            }
        }
        tally.next = Some(from);
        Ok(tally)
    }
}
