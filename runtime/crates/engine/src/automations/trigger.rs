//! What fires an automation: an event, a schedule, or both; and the schedule's record beside the automation's.

use portcullis_core::id::{AutomationId, OrgId};
use portcullis_core::violation::{Violation, Violations};
use portcullis_store::{Document as _, Key, ScheduleRecord, StoreError};

use super::AutomationDefinition;
use crate::error::Error;
use crate::resources::Resources;
use crate::schedules::{self, ScheduleChange};

/// What fires it: an event, which needs both names, a schedule, or both.
pub(super) fn check_trigger(automation: &AutomationDefinition, violations: &mut Violations) {
    let names = [("entity_name", &automation.entity_name), ("event_name", &automation.event_name)];
    let has_event = names.iter().any(|(_, name)| name.is_some());
    for (member, _) in names.iter().filter(|(_, name)| name.is_none()) {
        let message = match (has_event, &automation.schedule) {
            (true, _) => {
                "is required: entity_name and event_name together say which event fires it".to_owned()
            }
            (false, None) => "is required, unless the automation has a schedule".to_owned(),
            (false, Some(_)) => continue,
        };
        violations.push(Violation::new(format!("/{member}"), "missing_field", message));
    }
}

/// What saving an automation does to its schedule.
pub(super) async fn schedule_change(
    resources: &Resources,
    org: &OrgId,
    id: &AutomationId,
    automation: &AutomationDefinition,
) -> Result<ScheduleChange, Error> {
    let schedule = automation.schedule.as_ref();
    if schedule.is_some() {
        schedules::admit(resources, org, id).await?;
    }
    let (enabled, now_ms) = (automation.enabled, resources.clock.now_ms());
    Ok(ScheduleChange::of(&resources.records, org, id, schedule, enabled, now_ms).await?)
}

/// Whether a commit lost against a step of the automation's schedule, which says nothing of the automation.
pub(super) fn is_of_schedule(error: &StoreError) -> bool {
    let StoreError::Conflict { key } = error else { return false };
    Key::parse(key).is_some_and(|(kind, _)| kind == ScheduleRecord::KIND)
}
