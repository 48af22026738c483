//! The record of a schedule beside its automation: both are written by one commit.

use portcullis_core::cron::Times;
use portcullis_core::id::{AutomationId, OrgId};
use portcullis_store::{Records, ScheduleOrder, ScheduleRecord, StoreError, Writes};

use super::plan::next_ms;
use super::{Schedule, times_of};

/// What saving or deleting an automation does to its schedule.
pub(crate) struct ScheduleChange {
    before: Option<(ScheduleRecord, u64)>,
    after: Option<ScheduleRecord>,
}

impl ScheduleChange {
    /// What becomes of the schedule of an automation that is saved with this one, or with none.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn of(
        records: &Records,
        org: &OrgId,
        id: &AutomationId,
        schedule: Option<&Schedule>,
        enabled: bool,
        now_ms: u64,
    ) -> Result<Self, StoreError> {
        let before = records.get::<ScheduleRecord>(&[org.as_str(), id.as_str()]).await?;
        let known = before.as_ref().map(|(record, _)| record);
        // Why none of one that cannot be read: it was checked before.
        let read = schedule.and_then(|schedule| Some((schedule, times_of(schedule).ok()?)));
        let after =
            read.map(|(schedule, times)| renewed(known, (org, id), schedule, enabled, &times, now_ms));
        Ok(Self { before, after })
    }

    /// That the schedule goes.
    pub(super) const fn end(before: ScheduleRecord, commit: u64) -> Self {
        Self { before: Some((before, commit)), after: None }
    }

    /// That the schedule takes a step.
    pub(super) const fn to(before: ScheduleRecord, commit: u64, after: ScheduleRecord) -> Self {
        Self { before: Some((before, commit)), after: Some(after) }
    }

    /// Adds the writes, on the condition that the record is still the one that was read.
    pub(crate) fn add_to(&self, writes: Writes) -> Writes {
        let Some(one) = self.after.as_ref().or(self.before.as_ref().map(|(record, _)| record)) else {
            return writes;
        };
        let parts = [one.org.as_str(), one.automation_id.as_str()];
        let writes = match (&self.before, &self.after) {
            (Some((before, _)), Some(after)) if before == after => return writes,
            (Some((_, commit)), Some(after)) => writes.replace(&parts, after, *commit),
            (None, Some(after)) => writes.create(&parts, after),
            (Some((_, commit)), None) => {
                writes.require_revision::<ScheduleRecord>(&parts, *commit).delete::<ScheduleRecord>(&parts)
            }
            (None, None) => return writes,
        };
        let due_before = self.before.as_ref().and_then(|(record, _)| record.due_ms);
        let due = self.after.as_ref().and_then(|record| record.due_ms);
        if due_before == due {
            return writes;
        }
        let [org, id] = parts;
        let writes = match due_before {
            Some(ms) => writes.delete::<ScheduleOrder>(&[&ScheduleOrder::part(ms), org, id]),
            None => writes,
        };
        match due {
            Some(ms) => writes.put(&[&ScheduleOrder::part(ms), org, id], &ScheduleOrder {}),
            None => writes,
        }
    }
}

/// The record of a schedule that is saved: as it is, if its times are the same; else the times count from now on. What
/// has begun goes on, unless it is switched off.
pub(super) fn renewed(
    before: Option<&ScheduleRecord>,
    (org, id): (&OrgId, &AutomationId),
    schedule: &Schedule,
    enabled: bool,
    times: &Times,
    now_ms: u64,
) -> ScheduleRecord {
    let is_same = |record: &&ScheduleRecord| {
        record.cron == schedule.cron
            && record.timezone == schedule.timezone
            && record.next_at_ms.is_some() == enabled
    };
    if let Some(same) = before.filter(is_same) {
        return same.clone();
    }
    let next_at_ms = next_ms(times, now_ms).filter(|_| enabled);
    let firing = before.and_then(|record| record.firing.clone()).filter(|_| enabled);
    let due_ms = match &firing {
        Some(_) => before.and_then(|record| record.due_ms),
        None => next_at_ms,
    };
    ScheduleRecord {
        org: org.clone(),
        automation_id: id.clone(),
        cron: schedule.cron.clone(),
        timezone: schedule.timezone.clone(),
        due_ms,
        next_at_ms,
        previous_at_ms: before.and_then(|record| record.previous_at_ms),
        since_ms: now_ms,
        missed: None,
        firing,
        last: before.and_then(|record| record.last),
    }
}

#[cfg(test)]
mod tests;
