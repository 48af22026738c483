//! Tests of what needs no engine.

use portcullis_core::violation::Violation;

use super::*;

#[test]
fn an_id_of_an_event_is_any_text_of_at_most_255_bytes() {
    for good in ["1", "order/7 created", "ä", &"a".repeat(255)] {
        assert_eq!(checked(good.to_owned()).unwrap(), good);
    }
    for (bad, rule) in [
        ("", "too_short"),
        (&*"a".repeat(256), "too_long"),
        (&*"ä".repeat(128), "too_long"),
        ("a\n", "wrong_form"),
    ] {
        let error = checked(bad.to_owned()).unwrap_err();
        assert_eq!(error.code, Code::ValidationFailed);
        assert_eq!((error.violations[0].pointer.as_str(), error.violations[0].code), ("/event_id", rule));
    }
}

#[test]
fn a_problem_is_kept_with_its_code_and_the_beginning_of_its_message() {
    let automation_id = AutomationId::parse("auto_1").unwrap();
    let mut fired = FiredAutomation {
        automation_id: automation_id.clone(),
        run_id: RunId::parse("run_1").unwrap(),
        status: None,
        interrupted: false,
        problem: None,
    };
    let error = Error::violations(
        Code::InputInvalid,
        vec![Violation::new("/source/a", "missing_source", "ä".repeat(300))],
    );
    let problem = EventProblem::of(automation_id, error);
    assert_eq!(problem.violations.len(), 1);
    EventEntry::Problem(problem).note(&mut fired);
    let kept = fired.problem.unwrap();
    assert_eq!(kept.code, "input_invalid");
    assert!(kept.message.len() <= MESSAGE_BYTES_MAX && kept.message.starts_with("/source/a"));
}

#[test]
fn a_problem_that_passes_is_not_kept_and_leaves_the_event_open() {
    let automation_id = AutomationId::parse("auto_1").unwrap();
    let planned = FiredAutomation {
        automation_id: automation_id.clone(),
        run_id: RunId::parse("run_1").unwrap(),
        status: None,
        interrupted: false,
        problem: None,
    };
    for (code, passes) in [
        (Code::WorkspaceBusy, true),
        (Code::OrgBusy, true),
        (Code::OrgRateLimited, true),
        (Code::OrgStorageFull, true),
        (Code::Overloaded, true),
        (Code::StoreUnavailable, true),
        (Code::LedgerUnavailable, true),
        (Code::Internal, true),
        (Code::InputInvalid, false),
        (Code::AutomationNotFound, false),
        (Code::CredentialNeedsAttention, false),
    ] {
        let entry = EventEntry::Problem(EventProblem::of(automation_id.clone(), Error::plain(code)));
        let mut fired = planned.clone();
        entry.note(&mut fired);
        assert_eq!((entry.is_open(), fired.problem.is_none()), (passes, passes), "{code:?}");
    }
}
