//! The contract of [`Jobs`] over a store.

use serde_json::value::RawValue;

use portcullis_core::id::{OrgId, RunId, WorkspaceId};

use super::{RecordJobs, STEPS_MAX, Step, fresh, now_ms, stored};
use crate::backend::{Batch, LIST_ENTRIES_MAX};
use crate::error::StoreError;
use crate::jobs::keys::{
    AFTER_ALL, ALL_DUE, ALL_KEPT, ALL_LATER, ALL_UNRECORDED, due_of, given_up_of, listed_of, open_of,
};
use crate::jobs::{
    Changed, Job, JobCounts, JobEnd, JobName, JobOrder, JobState, JobTally, Jobs, Lease, Leased, NewJob,
};
use crate::task::BoxFuture;

/// Jobs looked at for a lease, if others take them meanwhile.
const CANDIDATES: usize = 16;
/// Jobs read or deleted at a time.
const PAGE: usize = 100;

impl Jobs for RecordJobs {
    fn enqueue<'a>(&'a self, job: &'a NewJob, input: &'a [u8]) -> BoxFuture<'a, Result<Job, StoreError>> {
        Box::pin(async move {
            let mut stored_job = fresh(job, input);
            let name = stored_job.name();
            let _alone = match &job.line {
                Some(line) => self.lines.of(line).await,
                None => None,
            };
            for _ in 0..STEPS_MAX {
                let part = self.part_of(&name).await?;
                let mut batch = part.change(Batch::new(), input.len() as u64, 0);
                let mut line_key = None;
                if let Some(line) = &job.line {
                    let read = self.line_of(&name, line).await?;
                    batch = read.join(batch, &mut stored_job, line)?;
                    line_key = Some(read.key);
                }
                let batch = stored(batch, &stored_job, input)?;
                match self.store.commit(batch).await {
                    // Why again: another job changed what they share, which says nothing of this one.
                    Err(StoreError::Conflict { key })
                        if key == part.key || Some(&key) == line_key.as_ref() => {}
                    done => return done.map(|_| stored_job),
                }
            }
            Err(StoreError::Unavailable("too many jobs are accepted at once".to_owned()))
        })
    }

    fn due_workspaces<'a>(
        &'a self,
        now_ms: u64,
        after: Option<&'a (OrgId, WorkspaceId)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(OrgId, WorkspaceId)>, StoreError>> {
        Box::pin(async move {
            self.promote(now_ms).await?;
            let mut found: Vec<(OrgId, WorkspaceId)> = Vec::new();
            let past =
                |(org, workspace): &(OrgId, WorkspaceId)| format!("{}{AFTER_ALL}", due_of(org, workspace));
            let mut after = after.map(past);
            while found.len() < limit {
                let next = self.store.list(ALL_DUE, after.as_deref(), 1).await?;
                let Some((key, _)) = next.first() else { break };
                match JobName::by_workspace(key) {
                    Some((_, name)) => {
                        let place = (name.org, name.workspace);
                        after = Some(past(&place));
                        found.push(place);
                    }
                    None => after = Some(key.clone()),
                }
            }
            Ok(found)
        })
    }

    fn lease<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
        until_ms: u64,
    ) -> BoxFuture<'a, Result<Option<Leased>, StoreError>> {
        Box::pin(async move {
            let due = self.store.list(&due_of(org, workspace), None, CANDIDATES).await?;
            for (key, _) in due {
                let Some((at_ms, name)) = JobName::by_workspace(&key) else { continue };
                let Some((before, revision)) = self.read(&name).await? else { continue };
                // Why: it took a step since the order was read.
                if before.at_ms != at_ms || !before.state.is_open() || before.is_held() {
                    continue;
                }
                let mut job = before.clone();
                let interrupted = job.state == JobState::Running;
                job.state = JobState::Running;
                job.at_ms = until_ms;
                job.fence = job.fence.saturating_add(1);
                job.tries = job.tries.saturating_add(1);
                if let Some(job) = self.take(&name, (&before, revision), &Step::to(job)).await? {
                    let lease = Lease { job: name, fence: job.fence };
                    return Ok(Some(Leased { job, lease, interrupted }));
                }
            }
            Ok(None)
        })
    }

    fn renew<'a>(&'a self, lease: &'a Lease, until_ms: u64) -> BoxFuture<'a, Result<Job, StoreError>> {
        Box::pin(self.leased(lease, move |mut job| {
            job.at_ms = until_ms;
            Ok(Step::to(job))
        }))
    }

    fn note_sent<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let noted = self.leased(lease, |mut job| {
                job.sent = true;
                Ok(Step::to(job))
            });
            noted.await.map(|_| ())
        })
    }

    fn reschedule<'a>(
        &'a self,
        lease: &'a Lease,
        due_ms: u64,
        began: bool,
        detail: Box<RawValue>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let given = self.leased(lease, move |mut job| {
                if !began {
                    job.tries = job.tries.saturating_sub(1);
                }
                job.state = if job.tries == 0 { JobState::Queued } else { JobState::Waiting };
                // Why at once: somebody waits for its end.
                job.at_ms = if job.cancel { due_ms.min(now_ms()) } else { due_ms };
                job.sent = false;
                job.detail.clone_from(&detail);
                Ok(Step::to(job))
            });
            given.await.map(|_| ())
        })
    }

    fn finish<'a>(&'a self, lease: &'a Lease, end: &'a JobEnd) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { self.leased(lease, |job| Step::end(job, end)).await.map(|_| ()) })
    }

    fn cancel<'a>(&'a self, job: &'a JobName, end: &'a JobEnd) -> BoxFuture<'a, Result<Changed, StoreError>> {
        Box::pin(self.unleased(job, move |job| match job.state {
            JobState::Queued | JobState::Waiting => Step::end(job.clone(), end).map(Some),
            JobState::Running => Ok(Some(Step::to(Job { cancel: true, ..job.clone() }))),
            _ => Ok(None),
        }))
    }

    fn revive<'a>(
        &'a self,
        job: &'a JobName,
        due_ms: u64,
        detail: Box<RawValue>,
    ) -> BoxFuture<'a, Result<Changed, StoreError>> {
        Box::pin(self.unleased(job, move |job| {
            let revived = || Job {
                state: JobState::Queued,
                at_ms: due_ms,
                tries: 0,
                sent: false,
                cancel: false,
                detail: detail.clone(),
                ..job.clone()
            };
            Ok(job.can_be_revived().then(|| Step::to(revived())))
        }))
    }

    fn get<'a>(&'a self, job: &'a JobName) -> BoxFuture<'a, Result<Option<Job>, StoreError>> {
        Box::pin(async move { Ok(self.read(job).await?.map(|(job, _)| job)) })
    }

    fn input<'a>(&'a self, job: &'a JobName) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(async move {
            let Some((found, _)) = self.read(job).await? else { return Ok(None) };
            if !found.keeps_input() {
                return Ok(None);
            }
            let mut whole = Vec::new();
            for part in 0..found.input_parts {
                // Why none: it was erased since the job was read.
                let Some(found) = self.store.get(&job.input_key(part)).await? else { return Ok(None) };
                whole.extend_from_slice(&found.value);
            }
            Ok(Some(whole))
        })
    }

    fn document<'a>(&'a self, job: &'a JobName) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        Box::pin(async move {
            let key = job.end_key();
            let Some(found) = self.store.get(&key).await? else { return Ok(None) };
            let text = String::from_utf8(found.value);
            text.map(Some).map_err(|_| StoreError::Unreadable {
                key,
                kind: "job",
                reason: "its document is not text".to_owned(),
            })
        })
    }

    fn list<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: Option<&'a WorkspaceId>,
        after: Option<&'a (WorkspaceId, RunId)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Job>, StoreError>> {
        Box::pin(self.page(org, workspace, after, limit.min(LIST_ENTRIES_MAX)))
    }

    fn count<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
    ) -> BoxFuture<'a, Result<JobCounts, StoreError>> {
        Box::pin(async move {
            let mut counts = JobCounts::new();
            let mut after = None;
            loop {
                let page = self.page(org, Some(workspace), after.as_ref(), PAGE).await?;
                for job in &page {
                    *counts.entry(job.state).or_default() += 1;
                }
                let Some(last) = page.last().filter(|_| page.len() == PAGE) else { return Ok(counts) };
                after = Some((last.workspace.clone(), last.run_id.clone()));
            }
        })
    }

    fn tally<'a>(
        &'a self,
        from: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<JobTally, StoreError>> {
        Box::pin(self.tallied(from, limit))
    }

    fn open<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
        at_most: usize,
    ) -> BoxFuture<'a, Result<usize, StoreError>> {
        Box::pin(async move {
            let prefix = open_of(org, workspace);
            let (mut count, mut after) = (0, None);
            while count < at_most {
                let wanted = (at_most - count).min(LIST_ENTRIES_MAX);
                let found = self.store.list(&prefix, after.as_deref(), wanted).await?;
                count += found.len();
                match found.last() {
                    Some((key, _)) if found.len() == wanted => after = Some(key.clone()),
                    _ => break,
                }
            }
            Ok(count)
        })
    }

    fn input_bytes<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(self.bytes(org, workspace))
    }

    fn input_bytes_of_org<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(self.bytes_of_org(org))
    }

    fn next_due(&self) -> BoxFuture<'_, Result<Option<u64>, StoreError>> {
        Box::pin(async move {
            let next = self.store.list(ALL_LATER, None, 1).await?;
            Ok(next.first().and_then(|(key, _)| JobName::by_time(key)).map(|(at_ms, _)| at_ms))
        })
    }

    fn outdated<'a>(
        &'a self,
        now_ms: u64,
        after: Option<&'a (u64, JobName)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(u64, JobName)>, StoreError>> {
        Box::pin(async move {
            let after = after.map(|(at_ms, name)| name.kept_key(*at_ms));
            let kept = self.store.list(ALL_KEPT, after.as_deref(), limit).await?;
            let by_time = kept.iter().filter_map(|(key, _)| JobName::by_time(key));
            Ok(by_time.take_while(|(at_ms, _)| *at_ms <= now_ms).collect())
        })
    }

    fn listed<'a>(
        &'a self,
        org: Option<&'a OrgId>,
        order: JobOrder,
        after: Option<&'a (u64, JobName)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(u64, JobName)>, StoreError>> {
        Box::pin(async move {
            let after = after.map(|(stored_ms, name)| name.listed_key(order, *stored_ms));
            let found = self.store.list(&listed_of(org, order), after.as_deref(), limit).await?;
            Ok(found.iter().filter_map(|(key, _)| JobName::by_listed(order, key)).collect())
        })
    }

    fn given_up<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: Option<&'a WorkspaceId>,
        after: Option<&'a JobName>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<JobName>, StoreError>> {
        Box::pin(async move {
            let after = after.map(JobName::given_up_key);
            let found = self.store.list(&given_up_of(org, workspace), after.as_deref(), limit).await?;
            Ok(found.iter().filter_map(|(key, _)| JobName::by_name(key)).collect())
        })
    }

    fn unrecorded<'a>(
        &'a self,
        after: Option<&'a JobName>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<JobName>, StoreError>> {
        Box::pin(async move {
            let after = after.map(JobName::unrecorded_key);
            let found = self.store.list(ALL_UNRECORDED, after.as_deref(), limit).await?;
            Ok(found.iter().filter_map(|(key, _)| JobName::by_name(key)).collect())
        })
    }

    fn note_recorded<'a>(&'a self, job: &'a JobName) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { self.store.commit(Batch::new().delete(job.unrecorded_key())).await.map(drop) })
    }

    fn keep_until<'a>(&'a self, job: &'a JobName, until_ms: u64) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let kept = self.unleased(job, |job| {
                let wanted = !job.state.is_open() && job.at_ms > until_ms;
                Ok(wanted.then(|| Step::to(Job { at_ms: until_ms, ..job.clone() })))
            });
            kept.await.map(drop)
        })
    }

    fn expire<'a>(&'a self, job: &'a JobName, now_ms: u64) -> BoxFuture<'a, Result<Option<Job>, StoreError>> {
        Box::pin(async move {
            let is_over = |job: &Job| !job.state.is_open() && job.at_ms <= now_ms;
            let expired = self.unleased(job, |job| {
                // Why only these: nothing brings another one back.
                let wanted = is_over(job) && job.can_be_revived();
                Ok(wanted.then(|| Step { erase_input: true, ..Step::to(job.clone()) }))
            });
            Ok(match expired.await? {
                Changed::Done(job) => Some(job),
                Changed::Not(job) => Some(job).filter(is_over),
                Changed::Running(_) | Changed::Missing => None,
            })
        })
    }

    fn erase<'a>(&'a self, job: &'a JobName) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.erase_found(job))
    }

    fn remove<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            loop {
                let page = self.page(org, Some(workspace), None, PAGE).await?;
                for job in &page {
                    self.erase_found(&job.name()).await?;
                }
                if page.len() < PAGE {
                    return Ok(());
                }
            }
        })
    }
}
