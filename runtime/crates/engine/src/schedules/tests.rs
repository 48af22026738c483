//! Tests of the form of schedules.

use serde_json::json;

use super::*;

#[test]
fn a_schedule_is_read_and_written_in_one_form() {
    let whole = json!({
        "cron": "0 9 * * MON", "timezone": "Europe/Berlin", "workspaces": ["main", "side"], "missed": "once",
    });
    let read: Schedule = serde_json::from_value(whole.clone()).unwrap();
    assert_eq!(read.workspaces, ScheduleWorkspaces::Listed(vec!["main".to_owned(), "side".to_owned()]));
    assert_eq!(serde_json::to_value(&read).unwrap(), whole);
    let short: Schedule = serde_json::from_value(json!({ "cron": "0 9 * * *" })).unwrap();
    let full = json!({ "cron": "0 9 * * *", "timezone": "UTC", "workspaces": "all", "missed": "skip" });
    assert_eq!(serde_json::to_value(&short).unwrap(), full);
    assert_eq!(serde_json::from_value::<Schedule>(full).unwrap(), short);
    for wrong in [json!("some"), json!(null), json!({}), json!([1])] {
        let wrong = json!({ "cron": "0 9 * * *", "workspaces": wrong });
        assert!(serde_json::from_value::<Schedule>(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let schedule = |cron: &str, timezone: &str| Schedule {
        cron: cron.to_owned(),
        timezone: timezone.to_owned(),
        workspaces: ScheduleWorkspaces::All,
        missed: Missed::Skip,
    };
    assert!(times_of(&schedule("0 9 * * *", "UTC")).is_ok());
    let wrong = times_of(&schedule("0 9 * *", "Europe/Berln")).unwrap_err();
    let told: Vec<_> = wrong.iter().map(|one| (one.pointer.as_str(), one.code)).collect();
    assert_eq!(told, [("/schedule/cron", "cron_invalid"), ("/schedule/timezone", "timezone_unknown")]);
}

#[test]
fn an_event_id_says_which_automation_and_when() {
    let id = AutomationId::parse("auto_1").unwrap();
    assert_eq!(event_id(&id, 1_796_029_200_000), "schedule:auto_1:2026-11-30T09:00:00Z");
}
