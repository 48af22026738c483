//! Schedules: automations that fire by the clock, one durable run in each workspace.
//!
//! ```text
//! worker    reads what is due, in the order of time
//!   → plan    what is to be done: rest, drop what was missed, fire. Pure
//!   → commit  the firing, with the next time and a lease
//!   → firing  some workspaces: each run is accepted as any durable run
//!   → commit  how far it came; when the last workspace has its run, the end
//! ```
//!
//! **Once.** Every step replaces the record by which it was decided, so of two processes one takes it, and a time is
//! fired by one firing. The ids of the firing's runs are made from the workspace, the automation, the time and when the
//! firing began, and a store takes each id once. So wherever a process dies, nothing is lost and nothing doubled:
//!
//! | it dies | then |
//! |---|---|
//! | before the firing is committed | the time is still due; another process, or the next life, fires it |
//! | after that, before the first run | the lease ends, and the firing is taken over from its beginning |
//! | among the runs | the same from the last commit; a workspace whose run is there already, as a job or as a record, is passed over |
//! | after the last run, before the end is committed | the same; every run is there, and the end is committed |
//! | after that | the next time is in the record |
//!
//! **The clock.** A time that is late by more than `schedule_grace_ms` was missed, because no process ran or the clock
//! went ahead: it is dropped, or the newest fires once, as the schedule says. A clock that goes back finds the next time
//! ahead and waits for it, so nothing fires twice; times that had been dropped are dealt with after all.
//!
//! **A backup** that is restored knows nothing of what fired after it. Of the time in between a schedule with `skip`
//! fires nothing, one with `once` fires the newest time, which may have fired before: with the same key for the vendor.

use std::borrow::Cow;

use portcullis_core::cron::{Cron, Times, time_zone};
use portcullis_core::id::{AutomationId, OrgId, WorkspaceId};
use portcullis_core::limits::Limits;
use portcullis_core::violation::{Violation, Violations};
use portcullis_store::{ScheduleRecord, StoreError, WorkspaceRecord, Writes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::timestamp;
use crate::error::Error;
use crate::resources::Resources;

mod firing;
mod keep;
mod plan;
mod worker;

pub(crate) use keep::ScheduleChange;

/// Times that a preview shows.
const SHOWN: usize = 5;
/// Schedules read at a time.
const READ_AT_ONCE: usize = 100;
/// Characters of a name in a message.
const NAME_CHARS_MAX: usize = 80;

/// When an automation fires by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Minute, hour, day of month, month and weekday, such as `0 9 * * MON`. Day of month and weekday both given means
    /// either. A local time that exists twice fires once; one that does not exist fires at the next that does.
    #[schemars(length(min = 1, max = 512))]
    pub cron: String,
    /// The time zone, by its name in the IANA database, such as `Europe/Berlin`.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64))]
    pub timezone: String,
    /// Where it fires.
    #[serde(default)]
    pub workspaces: ScheduleWorkspaces,
    /// What becomes of times that passed while no process ran.
    #[serde(default)]
    pub missed: Missed,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// Where a schedule fires.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ScheduleWorkspaces {
    /// In every workspace that the org has then.
    #[default]
    #[serde(with = "all")]
    All,
    /// In those of these that exist then.
    Listed(Vec<String>),
}

/// The word that stands for every workspace.
mod all {
    use serde::de::{Deserialize as _, Deserializer, Error as _, Unexpected};
    use serde::ser::Serializer;

    const WORD: &str = "all";

    pub(super) fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(WORD)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<(), D::Error> {
        let word = String::deserialize(deserializer)?;
        if word == WORD { Ok(()) } else { Err(D::Error::invalid_value(Unexpected::Str(&word), &WORD)) }
    }
}

impl JsonSchema for ScheduleWorkspaces {
    fn schema_name() -> Cow<'static, str> {
        "ScheduleWorkspaces".into()
    }

    // Why by hand: a mistake inside one of two alternatives has no pointer.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "`all`, or a list of workspaces.",
            "type": ["string", "array"],
            "pattern": "^all$",
            "minItems": 1,
            "items": { "type": "string", "minLength": 1, "maxLength": 63 },
        })
    }
}

/// What becomes of times that were missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// They are dropped.
    #[default]
    Skip,
    /// The newest of them fires, once.
    Once,
}

/// Where a schedule is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ScheduleState {
    /// When it fires next, RFC 3339; absent while the automation is switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<String>,
    /// The time for which it fired last, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_at: Option<String>,
    /// What the last firing came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<LastFiring>,
}

/// What the last firing came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LastFiring {
    /// The time for which it fired, RFC 3339.
    pub at: String,
    /// The event id of its runs.
    pub event_id: String,
    /// How many runs there are, those that were skipped included.
    pub runs: u64,
}

/// A time as schedules show it: RFC 3339 in UTC, to the second.
fn shown(ms: u64) -> String {
    format!("{:.0}", timestamp(ms))
}

/// The event id of the runs that a schedule makes for a time.
fn event_id(automation: &AutomationId, at_ms: u64) -> String {
    format!("schedule:{automation}:{}", shown(at_ms))
}

/// The times of a schedule; a violation for an expression or a time zone that is none.
fn times_of(schedule: &Schedule) -> Result<Times, Vec<Violation>> {
    let cron = Cron::parse(&schedule.cron);
    let zone = time_zone(&schedule.timezone);
    match (cron, zone) {
        (Ok(cron), Ok(zone)) => Ok(Times { cron, zone }),
        (cron, zone) => {
            let wrong =
                |place: &str, code, why: String| Violation::new(format!("/schedule/{place}"), code, why);
            let cron = cron.err().map(|why| wrong("cron", "cron_invalid", why));
            let zone = zone.err().map(|why| wrong("timezone", "timezone_unknown", why));
            Err(cron.into_iter().chain(zone).collect())
        }
    }
}

/// The schedule in an automation's document; `None` for one that has none, or none that can be read.
fn of_document(document: &Value) -> Option<Schedule> {
    let written = document.get("schedule").filter(|schedule| !schedule.is_null())?;
    Schedule::deserialize(written).ok()
}

/// Checks what the schema cannot express of a schedule that is saved in this org.
///
/// # Errors
/// Those of the store.
pub(crate) async fn check(
    resources: &Resources,
    org: &OrgId,
    schedule: &Schedule,
    violations: &mut Violations,
) -> Result<(), StoreError> {
    violations.extend(times_of(schedule).err().into_iter().flatten());
    let ScheduleWorkspaces::Listed(listed) = &schedule.workspaces else { return Ok(()) };
    let most = resources.limits.schedule_workspaces;
    if listed.len() as u64 > most {
        let message = format!(
            "names {} workspaces, the limit is {most} (limits.schedule_workspaces); \"all\" is every one of the org",
            listed.len()
        );
        violations.push(Violation::new("/schedule/workspaces", "too_many", message));
        return Ok(());
    }
    for (place, name) in listed.iter().enumerate() {
        let is_there = match WorkspaceId::parse(name) {
            Ok(id) => {
                let parts = [org.as_str(), id.as_str()];
                resources.records.get_shared::<WorkspaceRecord>(&parts).await?.is_some()
            }
            Err(_) => false,
        };
        if !is_there {
            let name: String = name.chars().take(NAME_CHARS_MAX).collect();
            let message = format!("the org has no workspace {name:?}");
            let pointer = format!("/schedule/workspaces/{place}");
            violations.push(Violation::new(pointer, "workspace_not_found", message));
        }
    }
    Ok(())
}

/// Whether an org may have one schedule more.
///
/// # Errors
/// `validation_failed`, `store_unavailable`.
pub(crate) async fn admit(resources: &Resources, org: &OrgId, id: &AutomationId) -> Result<(), Error> {
    let limits: &Limits = &resources.limits;
    let records = &resources.records;
    let most = usize::try_from(limits.schedules).unwrap_or(usize::MAX);
    let (mut count, mut after) = (0_usize, None::<Vec<String>>);
    while count < most {
        let page = records.keys::<ScheduleRecord>(&[org.as_str()], after.as_deref(), READ_AT_ONCE).await?;
        // Why: one that is saved again needs no further place.
        if page.iter().any(|parts| parts.first().is_some_and(|part| part == id.as_str())) {
            return Ok(());
        }
        count = count.saturating_add(page.len());
        if page.len() < READ_AT_ONCE {
            break;
        }
        after = page.last().cloned();
    }
    if count < most {
        return Ok(());
    }
    let message =
        format!("the org has {most} automations with a schedule, which is its limit (limits.schedules)");
    Err(Error::violation("/schedule", "too_many", message))
}

/// Where an automation's schedule is; `None` if it has none.
///
/// # Errors
/// Those of the store.
pub(crate) async fn state(
    resources: &Resources,
    org: &OrgId,
    id: &AutomationId,
) -> Result<Option<ScheduleState>, StoreError> {
    let found = resources.records.get::<ScheduleRecord>(&[org.as_str(), id.as_str()]).await?;
    Ok(found.map(|(record, _)| ScheduleState {
        next_at: record.next_at_ms.map(shown),
        previous_at: record.previous_at_ms.map(shown),
        last: record.last.map(|last| LastFiring {
            at: shown(last.at_ms),
            event_id: event_id(id, last.at_ms),
            runs: last.runs,
        }),
    }))
}

/// When an automation's document would fire next, the first few times, RFC 3339; none without a schedule.
pub(crate) fn next_times(resources: &Resources, document: &Value) -> Vec<String> {
    let times = of_document(document).and_then(|schedule| times_of(&schedule).ok());
    let Some(times) = times else { return Vec::new() };
    let mut last = resources.clock.now_ms();
    let next = || {
        last = plan::next_ms(&times, last)?;
        Some(shown(last))
    };
    std::iter::from_fn(next).take(SHOWN).collect()
}

/// Forgets the schedules of an org, which is deleted.
///
/// # Errors
/// Those of the store.
pub(crate) async fn forget_org(resources: &Resources, org: &OrgId) -> Result<(), StoreError> {
    loop {
        let page = resources.records.list::<ScheduleRecord>(&[org.as_str()], None, READ_AT_ONCE).await?;
        if page.is_empty() {
            return Ok(());
        }
        for (_, record, commit) in page {
            let ended = resources.commit(ScheduleChange::end(record, commit).add_to(Writes::new())).await;
            match ended {
                // Why again: a step was taken meanwhile.
                Ok(_) | Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests;
