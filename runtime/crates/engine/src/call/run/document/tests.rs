//! A run's document, whole and as it is kept.

use serde_json::json;

use super::*;
use crate::call::run::{Begun, Outgoing, Progress};

fn run(end: RunEnd) -> Run {
    Run {
        id: RunId::parse("run_1").unwrap(),
        connector_id: ConnectorId::parse("crm").unwrap(),
        connection: None,
        action_id: ActionId::parse("create-contact").unwrap(),
        revision: 3,
        automation_id: None,
        event_id: None,
        end,
        progress: Progress::default(),
    }
}

fn text(document: &RunDocument<'_>) -> String {
    serde_json::to_string(document).unwrap()
}

fn whole(run: &Run) -> Value {
    serde_json::from_str(&text(&run.document())).unwrap()
}

fn kept(run: &Run) -> Value {
    let text = text(&RunDocument::kept(run));
    let stored: StoredRun = serde_json::from_str(&text).expect("what is kept can be read");
    let mut read = serde_json::to_value(stored).unwrap();
    read.as_object_mut().unwrap().shift_remove("created_at");
    assert_eq!(read, serde_json::from_str::<Value>(&text).unwrap(), "and is all that was kept");
    read
}

#[test]
fn a_success_is_shown_as_the_guest_wrote_it_and_kept_without_the_third_party_s_data() {
    let guest = r#"{"output":{"id": 1.50},"upstream":{"status":201,"headers":{"a":"b"},"body":[1]},
                    "pages":2,"truncated":false}"#;
    let run = run(RunEnd::Succeeded(serde_json::from_str(guest).unwrap()));
    assert!(text(&run.document()).contains(r#""output":{"id": 1.50}"#), "not a character is changed");
    let upstream =
        json!({ "status": 201, "headers": { "a": "b" }, "body": [1], "pages": 2, "truncated": false });
    assert_eq!((&whole(&run)["upstream"], &whole(&run)["status"]), (&upstream, &json!("succeeded")));
    assert_eq!(kept(&run)["upstream"], json!({ "status": 201 }));
    assert_eq!(kept(&run).get("output"), None);
}

#[test]
fn the_attempts_are_in_the_record_and_not_in_the_answer() {
    let mut run = run(RunEnd::plain(Code::UpstreamStatus));
    let outgoing = Outgoing {
        requests: 1,
        origin: "https://api.saas.com".to_owned(),
        status: Some(503),
        ledger_id: Some("out_1".to_owned()),
    };
    run.progress.timeline.note(Begun::now(), outgoing, &run.end);
    let attempt = &kept(&run)["attempts"][0];
    assert_eq!((&attempt["n"], &attempt["host"]), (&json!(1), &json!("api.saas.com")));
    assert_eq!((&attempt["status"], &attempt["error"]), (&json!(503), &json!("upstream_status")));
    assert_eq!(whole(&run).get("attempts"), None);
}

#[test]
fn a_guest_may_give_an_output_alone() {
    let run = run(RunEnd::Succeeded(serde_json::from_str(r#"{"output":null}"#).unwrap()));
    assert_eq!((whole(&run).get("output"), whole(&run).get("upstream")), (Some(&Value::Null), None));
    assert!(serde_json::from_str::<Success>(r#"{"upstream":{"status":200}}"#).is_err(), "no output");
}

#[test]
fn a_failure_keeps_the_status_of_the_answer_alone() {
    let failed = RunEnd::Failed {
        code: Code::UpstreamStatus,
        message: "no".to_owned(),
        class: Some("auth".to_owned()),
        upstream: Some(json!({ "status": 401, "body": { "secret": "of theirs" } })),
        retryable: false,
        error: None,
        retry_at: None,
    };
    let run = run(failed);
    assert_eq!(whole(&run)["upstream"]["body"]["secret"], "of theirs");
    assert_eq!(kept(&run)["upstream"], json!({ "status": 401 }));
    assert_eq!((&kept(&run)["class"], kept(&run).get("reason")), (&json!("auth"), None));
}
