//! Documents of schedules: when an automation fires next, and how far the firing of now has come.
//!
//! A schedule is found by its automation, and what is due by the order of time. Both records are written together, and
//! every step from one state to the next replaces the record that it was decided by: so of several processes one takes
//! each step. The expression of the schedule is in the automation; here it is what `next_at_ms` was computed by.

use portcullis_core::id::{AutomationId, OrgId, WorkspaceId};
use serde::{Deserialize, Serialize};

use crate::records::Document;

/// The state of an automation's schedule. Parts: `[org, automation]`. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleRecord {
    pub org: OrgId,
    pub automation_id: AutomationId,
    /// The expression and the time zone by which the times here were found.
    pub cron: String,
    pub timezone: String,
    /// When it is looked at next, which is in the key of its [`ScheduleOrder`]; none while it is switched off.
    pub due_ms: Option<u64>,
    /// The next of its times that was not dealt with; none while it is switched off.
    pub next_at_ms: Option<u64>,
    /// The time for which it fired last.
    pub previous_at_ms: Option<u64>,
    /// From when on it counts: when it was made, or changed, or switched on.
    pub since_ms: u64,
    /// Times that were dropped last, because nobody was there to fire them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<MissedTimes>,
    /// The firing that has begun and not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firing: Option<ScheduleFiring>,
    /// What the last firing came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<ScheduleOutcome>,
}

/// Times that were dropped, from the first to the last of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MissedTimes {
    pub from_ms: u64,
    pub to_ms: u64,
    /// The time that comes after them, where they are dealt with after all because the clock was set back: what lies
    /// between was fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_ms: Option<u64>,
}

/// A firing on its way through the workspaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleFiring {
    /// The time for which it fires.
    pub at_ms: u64,
    /// The time for which it fired before.
    pub previous_at_ms: Option<u64>,
    /// When it began: from this the ids of its runs are made.
    pub begun_ms: u64,
    /// The last workspace that has its run.
    pub after: Option<WorkspaceId>,
    /// Runs made so far.
    pub runs: u64,
    /// Whether a process is at work, until the schedule is due. If it is not heard of by then, it may have made runs
    /// that are not counted here.
    pub held: bool,
}

/// What a firing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleOutcome {
    /// The time for which it fired.
    pub at_ms: u64,
    /// Runs that it made.
    pub runs: u64,
}

impl Document for ScheduleRecord {
    const KIND: &'static str = "schedule";
}

/// The time at which a schedule is looked at, in its key. Parts: `[<milliseconds since 1970>, org, automation]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleOrder {}

/// Digits of the milliseconds, so that keys sort by time until the year 5138.
const DIGITS: usize = 14;
/// The latest time of the order.
const LATEST_MS: u64 = 99_999_999_999_999;

impl ScheduleOrder {
    /// The first part of the key of a schedule that is due at this time.
    #[must_use]
    pub fn part(due_ms: u64) -> String {
        format!("{:0width$}", due_ms.min(LATEST_MS), width = DIGITS)
    }

    /// The time in such a part; `None` for any other text.
    #[must_use]
    pub fn parse(part: &str) -> Option<u64> {
        part.parse().ok().filter(|_| part.len() == DIGITS)
    }
}

impl Document for ScheduleOrder {
    const KIND: &'static str = "schedule_due";
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::MemoryStore;
    use crate::records::{Key, Records, Writes};

    #[tokio::test]
    async fn what_is_due_first_is_listed_first() {
        let records = Records::new(Arc::new(MemoryStore::new()));
        for (ms, org) in [(2000, "b"), (999, "c"), (1_795_343_400_250, "a"), (10_000, "d"), (u64::MAX, "e")] {
            let writes = Writes::new().put(&[&ScheduleOrder::part(ms), org, "auto_1"], &ScheduleOrder {});
            records.commit(writes).await.unwrap();
        }
        let found = records.keys::<ScheduleOrder>(&[], None, 10).await.unwrap();
        let orgs: Vec<&str> = found.iter().map(|parts| parts[1].as_str()).collect();
        assert_eq!(orgs, ["c", "b", "d", "a", "e"]);
        assert_eq!(ScheduleOrder::parse(&found[0][0]), Some(999));
        for other in ["", "999", "a", "0000000000000a"] {
            assert_eq!(ScheduleOrder::parse(other), None, "{other:?}");
        }
        let longest = "a".repeat(63);
        assert!(Key::of::<ScheduleOrder>(&[&ScheduleOrder::part(1), &longest, &longest]).is_ok());
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = ScheduleRecord {
            org: OrgId::parse("acme").unwrap(),
            automation_id: AutomationId::parse("auto_1").unwrap(),
            cron: "0 9 * * MON".to_owned(),
            timezone: "Europe/Berlin".to_owned(),
            due_ms: Some(5),
            next_at_ms: Some(7),
            previous_at_ms: None,
            since_ms: 1,
            missed: Some(MissedTimes { from_ms: 2, to_ms: 3, resume_ms: Some(7) }),
            firing: Some(ScheduleFiring {
                at_ms: 4,
                previous_at_ms: None,
                begun_ms: 4,
                after: Some(WorkspaceId::parse("main").unwrap()),
                runs: 1,
                held: true,
            }),
            last: Some(ScheduleOutcome { at_ms: 1, runs: 2 }),
        };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<ScheduleRecord>(&text).unwrap(), record);
    }
}
