//! The answer side: sends the rendered request, judges the answer and, for a list, continues page
//! by page. A page that fails fails the whole call: an incomplete list looks like a complete one.

use portcullis_action::judge::{PLAN_INVALID, RESPONSE_UNREADABLE};
use portcullis_action::pagination::NO_ITEMS;
use portcullis_action::plan::{ErrorAction, ErrorClass, PaginationPlan};
use portcullis_action::response::MappedResponse;
use portcullis_action::{
    ActionPlan, Answer, Judge, Method as PlanMethod, Outcome, PageError, Pages, RenderedRequest,
    UpstreamError,
};
use portcullis_guest::{Failure, GateError, Method, Request, Response};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::keep;

mod direct;
mod poll;

/// The document of a success. References, because a body is large and a guest's memory is small.
#[derive(Serialize)]
struct Document<'a> {
    output: &'a Value,
    upstream: Upstream<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pages: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
    /// The answer is not the result: what the host has to ask for next.
    #[serde(skip_serializing_if = "Option::is_none")]
    ask: Option<poll::Ask>,
}

/// The upstream's answer; in a failure it contains the error.
#[derive(Serialize)]
struct Upstream<'a> {
    status: u16,
    headers: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a UpstreamError>,
}

impl<'a> Upstream<'a> {
    fn of(answer: &'a MappedResponse) -> Self {
        Self { status: answer.status, headers: &answer.headers, body: Some(&answer.body), error: None }
    }
}

/// Sends the request, and those of the following pages, and returns the result.
pub(crate) fn complete(
    plan: &ActionPlan,
    rendered: RenderedRequest,
    mut send: impl FnMut(&Request) -> Result<Response, GateError>,
) -> Result<String, Failure> {
    let judge = Judge::new(plan).map_err(|e| Failure::permanent(PLAN_INVALID, e.to_string()))?;
    if let Some(pagination) = &plan.pagination {
        let ask = |rendered: &RenderedRequest| send(&request(plan, rendered.clone())).map_err(Failure::from);
        return list(&judge, pagination, rendered, ask);
    }
    if let Some(poll) = &plan.poll
        && poll.asked.as_ref().is_none_or(|asked| !asked.result)
    {
        return poll::complete(plan, poll, &judge, rendered, send);
    }
    let request = keep(request(plan, rendered));
    let response = keep(send(&request).map_err(Failure::from)?);
    if let Some(body) = judge.as_it_is(response.status, &response.headers, &response.body) {
        return Ok(direct::document(response.status, &response.headers, &body));
    }
    let answer = judge.answer(response.status, &response.headers, &response.body);
    let output = succeeded(&answer)?;
    let upstream = Upstream::of(&answer.mapped);
    text(&Document { output, upstream, pages: None, truncated: None, ask: None })
}

/// The output of a success.
fn succeeded(answer: &Answer) -> Result<&Value, Failure> {
    match &answer.outcome {
        Outcome::Success { output } => Ok(output),
        Outcome::Error(error) => Err(upstream_failure(&answer.mapped, error)),
    }
}

fn list(
    judge: &Judge<'_>,
    pagination: &PaginationPlan,
    rendered: RenderedRequest,
    mut ask: impl FnMut(&RenderedRequest) -> Result<Response, Failure>,
) -> Result<String, Failure> {
    let mut pages = Pages::new(pagination, &rendered);
    let mut request =
        pages.first(rendered).map_err(|error| Failure::permanent(error.code(), error.to_string()))?;
    loop {
        let response = ask(&request)?;
        let answer = judge.answer(response.status, &response.headers, &response.body);
        if !pages.end_at(response.status) {
            succeeded(&answer)?;
            let next = pages.next(&request, &answer).map_err(|error| page_failure(&answer.mapped, &error))?;
            if let Some(next) = next {
                request = next;
                continue;
            }
        }
        let (count, truncated) = (pages.count(), pages.truncated());
        let output = pages.finish();
        // Why no body: its items are in the output.
        let upstream = Upstream { body: None, ..Upstream::of(&answer.mapped) };
        let (pages, truncated) = (Some(count), Some(truncated));
        return text(&Document { output: &output, upstream, pages, truncated, ask: None });
    }
}

fn text(document: &Document<'_>) -> Result<String, Failure> {
    serde_json::to_string(document).map_err(|e| Failure::permanent("output_invalid", e.to_string()))
}

fn request(plan: &ActionPlan, rendered: RenderedRequest) -> Request {
    Request {
        method: method(rendered.method),
        url: rendered.url,
        headers: rendered.headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect(),
        body: rendered.body,
        credential: plan.credential.clone(),
        options: None,
    }
}

fn upstream_failure(answer: &MappedResponse, error: &UpstreamError) -> Failure {
    let own = error.code.as_deref().filter(|_| !error.ruled);
    let code = own.filter(|code| [RESPONSE_UNREADABLE, NO_ITEMS].contains(code)).unwrap_or("upstream_status");
    let message = error.message.clone().unwrap_or_else(|| format!("upstream answered {}", answer.status));
    failure(code, message, answer, error)
}

/// The answer was a success, but its list cannot be followed.
fn page_failure(answer: &MappedResponse, error: &PageError) -> Failure {
    let message = error.to_string();
    let error = UpstreamError {
        class: ErrorClass::Permanent,
        action: ErrorAction::Fail,
        ruled: false,
        r#final: false,
        code: Some(error.code().to_owned()),
        message: Some(message.clone()),
    };
    let code = error.code.clone().unwrap_or_default();
    failure(&code, message, answer, &error)
}

fn failure(code: &str, message: String, answer: &MappedResponse, error: &UpstreamError) -> Failure {
    let upstream = Upstream { error: Some(error), ..Upstream::of(answer) };
    Failure {
        code: code.to_owned(),
        message,
        class: Some(error.class.as_str().to_owned()),
        retryable: matches!(error.action, ErrorAction::Retry | ErrorAction::RefreshRetry),
        cause: None,
        response: serde_json::to_string(&upstream).ok(),
    }
}

const fn method(method: PlanMethod) -> Method {
    match method {
        PlanMethod::Get => Method::Get,
        PlanMethod::Head => Method::Head,
        PlanMethod::Post => Method::Post,
        PlanMethod::Put => Method::Put,
        PlanMethod::Patch => Method::Patch,
        PlanMethod::Delete => Method::Delete,
        PlanMethod::Options => Method::Options,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Runs a plan over answers; returns the result and the requested URLs.
    fn run(plan: &Value, answers: &[(u16, &str)]) -> (Result<Value, Failure>, Vec<String>) {
        let plan: ActionPlan = serde_json::from_value(plan.clone()).unwrap();
        let first = RenderedRequest {
            method: PlanMethod::Get,
            url: "https://api.example.com/list".to_owned(),
            headers: Vec::new(),
            body: None,
        };
        let mut urls = Vec::new();
        let outcome = complete(&plan, first, |request| {
            let (status, body) = answers[urls.len()];
            urls.push(request.url.clone());
            assert_eq!(request.credential.as_deref(), Some("default"));
            Ok(Response {
                status,
                headers: vec![("Content-Type".to_owned(), b"application/json".to_vec())],
                body: body.as_bytes().to_vec(),
                redacted: false,
            })
        });
        (outcome.map(|text| serde_json::from_str(&text).unwrap()), urls)
    }

    fn response(failure: &Failure) -> Value {
        serde_json::from_str(failure.response.as_deref().unwrap()).unwrap()
    }

    fn paged(max_pages: u32) -> Value {
        json!({ "credential": "default", "pagination": {
            "kind": { "type": "cursor", "cursor_path": "/next", "param": { "in": "query", "name": "c" } },
            "items": "/items", "max_pages": max_pages, "max_items": 100 } })
    }

    #[test]
    fn a_list_is_one_output_and_its_last_answer_has_no_body() {
        let answers = [(200, r#"{"items":[1],"next":"a"}"#), (200, r#"{"items":[2],"next":""}"#)];
        let (outcome, urls) = run(&paged(10), &answers);
        let document = outcome.unwrap();
        assert_eq!(
            document,
            json!({ "output": [1, 2], "pages": 2, "truncated": false,
                    "upstream": { "status": 200, "headers": { "content-type": "application/json" } } })
        );
        assert_eq!(urls, ["https://api.example.com/list", "https://api.example.com/list?c=a"]);
        let (outcome, urls) = run(&paged(1), &answers);
        assert_eq!((outcome.unwrap()["truncated"].clone(), urls.len()), (json!(true), 1));
    }

    #[test]
    fn a_page_that_fails_fails_the_call_with_its_class() {
        let answers = [(200, r#"{"items":[1],"next":"a"}"#), (429, r#"{"m":"slow"}"#)];
        let (outcome, urls) = run(&paged(10), &answers);
        let failure = outcome.unwrap_err();
        assert_eq!(
            (failure.code.as_str(), failure.class.as_deref()),
            ("upstream_status", Some("rate_limit"))
        );
        assert!(failure.retryable);
        assert_eq!(failure.message, "upstream answered 429");
        assert_eq!(urls.len(), 2);
    }

    #[test]
    fn a_list_that_goes_round_is_a_failure_of_its_own() {
        let round = r#"{"items":[1],"next":"a"}"#;
        let failure = run(&paged(10), &[(200, round), (200, round)]).0.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.retryable), ("pagination_loop", false));
        assert_eq!(response(&failure)["error"]["code"], "pagination_loop");
        assert_eq!(response(&failure)["body"]["next"], "a");
    }

    #[test]
    fn a_rule_says_class_action_code_and_message() {
        let plan = json!({ "credential": "default",
            "success": { "predicate": { "path": "/ok", "eq": true } },
            "errors": [{ "predicate": { "path": "/error", "eq": "token_expired" }, "class": "auth",
                         "action": "refresh_retry", "code_path": "/error", "message": "sign in again" }] });
        let failure = run(&plan, &[(200, r#"{"ok":false,"error":"token_expired"}"#)]).0.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.message.as_str()), ("upstream_status", "sign in again"));
        assert!(failure.retryable);
        assert_eq!(
            response(&failure),
            json!({ "status": 200, "headers": { "content-type": "application/json" },
                    "body": { "ok": false, "error": "token_expired" },
                    "error": { "class": "auth", "action": "refresh_retry", "ruled": true,
                               "code": "token_expired", "message": "sign in again" } })
        );
    }

    #[test]
    fn a_body_that_should_be_json_and_a_plan_that_cannot_be_read_have_their_codes() {
        let typed = json!({ "credential": "default", "response": { "type": "json" } });
        assert_eq!(run(&typed, &[(200, "<html>")]).0.unwrap_err().code, "response_unreadable");
        assert_eq!(run(&typed, &[(500, "<html>")]).0.unwrap_err().code, "upstream_status");
        let broken = json!({ "success": { "predicate": { "path": "x" } } });
        let (outcome, urls) = run(&broken, &[]);
        assert_eq!((outcome.unwrap_err().code.as_str(), urls.len()), ("plan_invalid", 0));
    }
}
