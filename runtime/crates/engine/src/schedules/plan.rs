//! What is to be done with a schedule at a moment. No I/O, and the clock is an argument.

use portcullis_core::cron::Times;
use portcullis_core::id::WorkspaceId;
use portcullis_store::{MissedTimes, ScheduleFiring, ScheduleOutcome, ScheduleRecord};

use crate::clock::{millis, timestamp};

/// When a schedule is looked at, and by which limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now_ms: u64,
    /// How late a time may be that was not missed.
    pub(super) grace_ms: u64,
    /// How long a process may be silent that fires.
    pub(super) lease_ms: u64,
}

/// What follows from a step, once its record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing until it is due again.
    Rest,
    /// The next workspaces are fired.
    Fire,
    /// The same, after a process that was not heard of: it may have fired some of them.
    TakeOver,
}

/// What came of some workspaces of a firing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    /// The last of them.
    pub(super) after: Option<WorkspaceId>,
    pub(super) runs: u64,
    /// Whether there are no more.
    pub(super) is_over: bool,
}

/// The first of the times after this one.
pub(super) fn next_ms(times: &Times, after_ms: u64) -> Option<u64> {
    times.next_after(timestamp(after_ms)).map(millis)
}

/// Takes one step with a schedule that is due. `catches_up`: a time that was missed fires once.
pub(super) fn step(times: &Times, catches_up: bool, moment: Moment, record: &mut ScheduleRecord) -> Step {
    let Moment { now_ms, grace_ms, lease_ms } = moment;
    let until_ms = now_ms.saturating_add(lease_ms);
    if let Some(firing) = &mut record.firing {
        let was_held = std::mem::replace(&mut firing.held, true);
        record.due_ms = Some(until_ms);
        return if was_held { Step::TakeOver } else { Step::Fire };
    }
    let due = record.next_at_ms.filter(|next| *next <= now_ms);
    let Some(next) = due else {
        record.due_ms = record.next_at_ms;
        return Step::Rest;
    };
    let oldest = now_ms.saturating_sub(grace_ms);
    let at_ms = if next >= oldest {
        next
    } else {
        let newest = newest_missed(times, record, next, oldest.saturating_sub(1));
        note_missed(record, next, if catches_up { newest.saturating_sub(1) } else { newest });
        if !catches_up {
            record.next_at_ms = following(times, record, newest);
            record.due_ms = record.next_at_ms;
            return Step::Rest;
        }
        newest
    };
    record.firing = Some(ScheduleFiring {
        at_ms,
        // Why not a later one: the clock was set back since.
        previous_at_ms: record.previous_at_ms.filter(|previous| *previous < at_ms),
        begun_ms: now_ms,
        after: None,
        runs: 0,
        held: true,
    });
    record.next_at_ms = following(times, record, at_ms);
    record.due_ms = Some(until_ms);
    Step::Fire
}

/// The last time until this one, of those that are still to be dealt with.
fn newest_missed(times: &Times, record: &ScheduleRecord, next_ms: u64, until_ms: u64) -> u64 {
    let resumed = record.missed.filter(|missed| missed.resume_ms.is_some());
    let until_ms = resumed.map_or(until_ms, |missed| until_ms.min(missed.to_ms)).max(next_ms);
    millis(times.last_until(timestamp(next_ms), timestamp(until_ms)))
}

fn note_missed(record: &mut ScheduleRecord, from_ms: u64, to_ms: u64) {
    // Why not while earlier ones are dealt with: what comes after them would not be known any more.
    let is_resumed = record.missed.is_some_and(|missed| missed.resume_ms.is_some());
    if from_ms <= to_ms && !is_resumed {
        record.missed = Some(MissedTimes { from_ms, to_ms, resume_ms: None });
    }
}

/// The time to be dealt with after this one.
fn following(times: &Times, record: &mut ScheduleRecord, after_ms: u64) -> Option<u64> {
    let next = next_ms(times, after_ms);
    let resumed = record.missed.and_then(|missed| Some((missed.to_ms, missed.resume_ms?)));
    match resumed {
        Some((to_ms, resume_ms)) if next.is_none_or(|next| next > to_ms) => {
            record.missed = None;
            Some(resume_ms)
        }
        _ => next,
    }
}

/// Notes what came of some workspaces.
pub(super) fn advance(record: &mut ScheduleRecord, batch: Batch, now_ms: u64) {
    let Some(firing) = &mut record.firing else { return };
    firing.runs = firing.runs.saturating_add(batch.runs);
    if !batch.is_over {
        firing.after = batch.after;
        firing.held = false;
        // Why now and not before others: what has been due for longer comes first.
        record.due_ms = Some(now_ms);
        return;
    }
    record.previous_at_ms = Some(firing.at_ms);
    record.last = Some(ScheduleOutcome { at_ms: firing.at_ms, runs: firing.runs });
    record.firing = None;
    record.due_ms = record.next_at_ms;
}

/// Puts a schedule back after the clock was set back, if times are due again that never fired: they were dropped, or
/// lie before the time from which the schedule counted by the wrong clock. Returns whether there are any.
pub(super) fn rewind(times: &Times, record: &mut ScheduleRecord, now_ms: u64) -> bool {
    let (None, Some(resume_ms)) = (&record.firing, record.next_at_ms) else { return false };
    let Some(next) = next_ms(times, now_ms).filter(|next| *next < resume_ms) else { return false };
    let dropped = record.missed.filter(|missed| (missed.from_ms..=missed.to_ms).contains(&next));
    let to_ms = match dropped {
        Some(missed) => missed.to_ms,
        None if record.since_ms > next && record.previous_at_ms.is_none_or(|previous| previous < next) => {
            record.since_ms
        }
        None => return false,
    };
    // Why the earlier one: what comes after these times was known when they were put back first.
    let resume_ms = dropped.and_then(|missed| missed.resume_ms).unwrap_or(resume_ms);
    record.missed = Some(MissedTimes { from_ms: next, to_ms, resume_ms: Some(resume_ms) });
    record.next_at_ms = Some(next);
    record.due_ms = Some(next);
    true
}

#[cfg(test)]
mod tests;
