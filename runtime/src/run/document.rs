//! A run as JSON: for its caller, and as it is kept.

use portcullis_core::fault::Code;
use portcullis_core::id::{ActionId, AutomationId, ConnectorId, RunId};
use portcullis_core::verdict::Decision;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Answer, Run, RunEnd, RunUsage, Success};

/// How much of a run is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// All of it.
    Whole,
    /// Without the third party's data: of an answer, only its status.
    Kept,
}

/// The members of a run's document, in their order.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    run_id: &'a RunId,
    status: &'static str,
    connector_id: &'a ConnectorId,
    action_id: &'a ActionId,
    revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    automation_id: Option<&'a AutomationId>,
    #[serde(flatten)]
    end: End<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_hash: Option<&'a str>,
    decisions: &'a [Decision],
    usage: Usage,
}

#[derive(Serialize)]
#[serde(untagged)]
enum End<'a> {
    Succeeded {
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<&'a RawValue>,
        upstream: Option<Upstream<'a>>,
    },
    Skipped {
        reason: &'static str,
    },
    Failed {
        code: Code,
        message: &'a str,
        retryable: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        class: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_at: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        upstream: Option<Upstream<'a>>,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Upstream<'a> {
    Answer {
        #[serde(flatten)]
        answer: &'a Answer,
        #[serde(skip_serializing_if = "Option::is_none")]
        pages: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        truncated: Option<bool>,
    },
    Failure(&'a Value),
    Status {
        status: Value,
    },
}

#[derive(Serialize)]
struct Usage {
    requests: u64,
    retries: u64,
    fuel: u64,
    memory_peak_bytes: u64,
    guest_us: u64,
    upstream_us: u64,
    total_us: u64,
}

impl<'a> Document<'a> {
    pub(super) fn of(run: &'a Run, detail: Detail) -> Self {
        Self {
            run_id: &run.id,
            status: run.status(),
            connector_id: &run.connector_id,
            action_id: &run.action_id,
            revision: run.revision,
            automation_id: run.automation_id.as_ref(),
            end: End::of(&run.end, detail),
            request_hash: run.request_hash.as_deref(),
            decisions: &run.decisions,
            usage: Usage::of(&run.usage),
        }
    }
}

impl<'a> End<'a> {
    fn of(end: &'a RunEnd, detail: Detail) -> Self {
        match end {
            RunEnd::Succeeded(success) => Self::Succeeded {
                output: (detail == Detail::Whole).then_some(&*success.output),
                upstream: success.upstream.as_ref().map(|answer| Upstream::of(answer, success, detail)),
            },
            RunEnd::Skipped(reason) => Self::Skipped { reason: reason.as_str() },
            RunEnd::Failed { code, message, class, upstream, retryable, error, retry_at } => Self::Failed {
                code: *code,
                message,
                retryable: *retryable,
                class: class.as_deref(),
                error: error.as_ref(),
                retry_at: retry_at.as_deref(),
                upstream: upstream.as_ref().map(|answer| match detail {
                    Detail::Whole => Upstream::Failure(answer),
                    Detail::Kept => {
                        Upstream::Status { status: answer.get("status").cloned().unwrap_or_default() }
                    }
                }),
            },
        }
    }
}

impl<'a> Upstream<'a> {
    fn of(answer: &'a Answer, success: &Success, detail: Detail) -> Self {
        match detail {
            Detail::Whole => Self::Answer { answer, pages: success.pages, truncated: success.truncated },
            Detail::Kept => Self::Status { status: answer.status.into() },
        }
    }
}

impl Usage {
    fn of(usage: &RunUsage) -> Self {
        Self {
            requests: usage.requests,
            retries: usage.retries,
            fuel: usage.guest.fuel,
            memory_peak_bytes: usage.guest.memory_peak_bytes,
            guest_us: usage.guest.guest_us,
            upstream_us: usage.upstream_us,
            total_us: usage.total_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::id::{ActionId, ConnectorId, RunId};
    use serde_json::json;

    use super::*;

    fn run(end: RunEnd) -> Run {
        let id = RunId::parse("run_1").unwrap();
        let (connector, action) =
            (ConnectorId::parse("crm").unwrap(), ActionId::parse("create-contact").unwrap());
        Run { end, ..Run::new(id, connector, action, 3, None) }
    }

    fn kept(run: &Run) -> Value {
        serde_json::to_value(Document::of(run, Detail::Kept)).unwrap()
    }

    #[test]
    fn a_success_is_told_as_the_guest_wrote_it_and_kept_without_the_third_party_s_data() {
        let text = r#"{"output":{"id": 1.50},"upstream":{"status":201,"headers":{"a":"b"},"body":[1]},
                       "pages":2,"truncated":false}"#;
        let run = run(RunEnd::Succeeded(serde_json::from_str(text).unwrap()));
        assert!(run.text().unwrap().contains(r#""output":{"id": 1.50}"#), "not a character is changed");
        let upstream =
            json!({ "status": 201, "headers": { "a": "b" }, "body": [1], "pages": 2, "truncated": false });
        assert_eq!(
            (&run.document()["upstream"], &run.document()["status"]),
            (&upstream, &json!("succeeded"))
        );
        assert_eq!(kept(&run)["upstream"], json!({ "status": 201 }));
        assert_eq!(kept(&run).get("output"), None);
    }

    #[test]
    fn a_guest_may_tell_an_output_alone() {
        let run = run(RunEnd::Succeeded(serde_json::from_str(r#"{"output":null}"#).unwrap()));
        assert_eq!((&run.document()["output"], &run.document()["upstream"]), (&Value::Null, &Value::Null));
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
        assert_eq!(run.document()["upstream"]["body"]["secret"], "of theirs");
        assert_eq!(kept(&run)["upstream"], json!({ "status": 401 }));
        assert_eq!((&kept(&run)["class"], kept(&run).get("reason")), (&json!("auth"), None));
    }
}
