//! Work that a vendor does later: where the result is asked for, how often, and what ends it.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::{ID, PATH, connected, definition, lay};
use crate::support::token_server::answer_with;
use crate::support::{Answer, PUBLIC, Script, Tenant, World};

/// Where the work can be asked for.
const JOB: &str = "/v1/jobs/7";

/// An action that starts work; `poll` is merged into how it is asked for, `more` into the action.
fn starting(poll: &Value, more: &Value) -> Value {
    // Why one second: the shortest that a definition may say.
    let mut rules = json!({ "url": { "header": "Location" }, "interval_s": 1 });
    lay(&mut rules, poll);
    let mut action = json!({ "http_method": "POST", "poll": rules, "body_schema": [{ "name": "rows" }] });
    lay(&mut action, more);
    definition(&action, &json!({}))
}

/// An action whose answers say in their bodies how the work stands.
fn stated(more: &Value) -> Value {
    let mut poll = json!({
        "url": { "path": "/links/self" },
        "done": { "path": "/state", "eq": "ready" },
        "failed": { "path": "/state", "eq": "error" },
    });
    lay(&mut poll, &more["poll"]);
    starting(&poll, &more["action"])
}

/// 202, with the place.
fn accepted(place: &str) -> Script {
    answer_with(202, &[("location", place)], "")
}

async fn start(tenant: &Tenant) -> Answer {
    tenant.call(ID, "act", json!({ "rows": "all" })).await
}

/// Method and target of every request.
fn lines(world: &World) -> Vec<String> {
    world.upstream.received().iter().map(|request| request.line().to_owned()).collect()
}

/// A connector, and what a call gives when the first request and the later ones are answered so.
async fn called(definition: &Value, first: Script, later: Vec<Script>) -> (World, Answer) {
    let (world, acme) = connected(definition).await;
    world.upstream.script(PATH, first);
    if !later.is_empty() {
        world.upstream.script(JOB, Script::turns(later));
    }
    let answer = start(&acme).await;
    (world, answer)
}

#[tokio::test]
async fn an_unfinished_answer_is_asked_for_until_the_result_is_there() {
    let keyed = json!({ "idempotency": { "in": "header", "name": "Idempotency-Key" } });
    let later = vec![answer_with(202, &[], ""), Script::json(200, &json!({ "rows": 3 }))];
    let (world, answer) = called(&starting(&json!({}), &keyed), accepted(JOB), later).await;
    let run = answer.is(200).json;
    assert_eq!(run["output"], json!({ "rows": 3 }));
    assert_eq!((&run["usage"]["requests"], &run["usage"]["retries"]), (&json!(3), &json!(0)));
    assert_eq!(lines(&world), ["POST /v1/act", "GET /v1/jobs/7", "GET /v1/jobs/7"]);
    let seen = world.upstream.received();
    assert_eq!(seen[0].text(), r#"{"rows":"all"}"#);
    assert_eq!(seen[0].header("idempotency-key").len(), 1);
    for again in &seen[1..] {
        assert!(again.body.is_empty(), "{}", again.head);
        assert_eq!(again.header("idempotency-key"), Vec::<&str>::new());
        assert_eq!(again.header("content-type"), Vec::<&str>::new());
        assert_eq!(again.header("authorization"), seen[0].header("authorization"));
        assert_eq!(again.header("authorization").len(), 1, "{}", again.head);
    }
}

#[tokio::test]
async fn an_answer_that_is_the_result_already_is_not_asked_for() {
    let ready = answer_with(200, &[("location", JOB)], r#"{"rows":0}"#);
    let (world, answer) = called(&starting(&json!({}), &json!({})), ready, Vec::new()).await;
    assert_eq!(answer.is(200).json["output"], json!({ "rows": 0 }));
    assert_eq!(lines(&world), ["POST /v1/act"]);
}

#[tokio::test]
async fn bodies_say_where_how_it_stands_and_where_the_result_is() {
    let running = || Script::json(201, &json!({ "state": "running", "links": { "self": JOB } }));
    let inside = json!({
        "poll": { "result": { "path": "/result" } },
        "action": { "response": { "map": { "count": "/rows" } } },
    });
    let ready = Script::json(200, &json!({ "state": "ready", "result": { "rows": 3 } }));
    let (world, answer) = called(&stated(&inside), running(), vec![ready]).await;
    assert_eq!(answer.is(200).json["output"], json!({ "count": 3 }));
    assert_eq!(lines(&world), ["POST /v1/act", "GET /v1/jobs/7"]);

    let elsewhere = json!({ "poll": { "result": { "url_path": "/links/file" } }, "action": {} });
    let (world, acme) = connected(&stated(&elsewhere)).await;
    world.upstream.script(PATH, running());
    let ready = json!({ "state": "ready", "links": { "file": "https://api.salesforce.com/v1/files/9" } });
    world.upstream.script(JOB, Script::json(200, &ready));
    world.upstream.script("/v1/files/9", Script::json(200, &json!([1, 2])));
    assert_eq!(start(&acme).await.is(200).json["output"], json!([1, 2]));
    assert_eq!(lines(&world), ["POST /v1/act", "GET /v1/jobs/7", "GET /v1/files/9"]);
}

#[tokio::test]
async fn work_without_a_place_or_with_one_on_another_host_is_a_failure() {
    let nowhere = answer_with(202, &[], "");
    let (world, answer) = called(&starting(&json!({}), &json!({})), nowhere, Vec::new()).await;
    let answer = answer.problem(Code::PollFailed);
    let message = answer.json["run"]["message"].as_str().unwrap();
    assert!(message.contains("header \"location\""), "{message}");
    assert_eq!(answer.json["run"]["retryable"], false);
    assert_eq!(lines(&world), ["POST /v1/act"]);
    // Why the second: a host that the connector may reach is another one all the same.
    for place in ["https://evil.example.com/jobs/7", "https://login.salesforce.com/v1/jobs/7", "//evil.com/"]
    {
        let (world, acme) = connected(&starting(&json!({}), &json!({}))).await;
        world.names.tell("login.salesforce.com", &[PUBLIC]);
        world.names.tell("evil.example.com", &[PUBLIC]);
        world.upstream.script(PATH, accepted(place));
        start(&acme).await.problem(Code::PollFailed);
        assert_eq!(lines(&world), ["POST /v1/act"], "{place}");
        assert!(world.names.asked().iter().all(|name| name == "api.salesforce.com"), "{place}");
    }
}

#[tokio::test]
async fn work_that_failed_is_a_failure_in_a_rules_words_if_there_is_one() {
    let running = || Script::json(200, &json!({ "state": "running", "links": { "self": JOB } }));
    let failed = || vec![Script::json(200, &json!({ "state": "error", "why": "no_rows" }))];
    let none = json!({ "poll": {}, "action": {} });
    let (world, answer) = called(&stated(&none), running(), failed()).await;
    let answer = answer.problem(Code::PollFailed);
    assert_eq!(answer.json["run"]["message"], "the vendor says that the work has failed");
    assert_eq!(answer.json["run"]["upstream"]["body"]["why"], "no_rows");
    assert_eq!(lines(&world), ["POST /v1/act", "GET /v1/jobs/7"]);

    let rule = json!({
        "when": { "predicate": { "path": "/state", "eq": "error" } },
        "class": "validation", "code_path": "/why", "message": "the export is empty",
    });
    let ruled = json!({ "poll": {}, "action": { "errors": [rule] } });
    let (world, answer) = called(&stated(&ruled), running(), failed()).await;
    let run = answer.problem(Code::UpstreamStatus).json["run"].clone();
    assert_eq!(run["message"], "the export is empty");
    assert_eq!((&run["error"]["class"], &run["error"]["code"]), (&json!("validation"), &json!("no_rows")));
    assert_eq!(lines(&world), ["POST /v1/act", "GET /v1/jobs/7"]);
}

#[tokio::test]
async fn work_without_end_ends_the_call_and_is_not_begun_again() {
    let goes_on = vec![answer_with(202, &[], "")];
    let poll = json!({ "max_s": 2 });
    let (world, answer) = called(&starting(&poll, &json!({})), accepted(JOB), goes_on).await;
    let answer = answer.problem(Code::PollTimeout);
    assert_eq!(answer.status, 504);
    let run = &answer.json["run"];
    assert_eq!((&run["retryable"], &run["upstream"]["status"]), (&json!(false), &json!(202)), "{run}");
    let lines = lines(&world);
    assert_eq!(lines.iter().filter(|line| line.starts_with("POST ")).count(), 1, "{lines:?}");
    // No time for another request: the call ends at once, and the vendor's own wait counts for that.
    for (poll, first) in [
        (json!({ "max_s": 1 }), accepted(JOB)),
        (json!({ "max_s": 5 }), answer_with(202, &[("location", JOB), ("retry-after", "600")], "")),
    ] {
        let (world, answer) = called(&starting(&poll, &json!({})), first, Vec::new()).await;
        answer.problem(Code::PollTimeout);
        assert_eq!(world.upstream.received().len(), 1, "{poll}");
    }
}

#[tokio::test]
async fn a_failed_question_is_asked_again_and_the_work_is_not_begun_again() {
    let later = vec![Script::Json(503, "{}"), Script::json(200, &json!({ "rows": 3 }))];
    let (world, answer) = called(&starting(&json!({}), &json!({})), accepted(JOB), later).await;
    let run = answer.is(200).json;
    assert_eq!((&run["output"], &run["usage"]["retries"]), (&json!({ "rows": 3 }), &json!(1)));
    assert_eq!(lines(&world), ["POST /v1/act", "GET /v1/jobs/7", "GET /v1/jobs/7"]);
    // The neighbour: a request that began the work is not repeated.
    let refused = Script::Json(503, "{}");
    let (world, answer) = called(&starting(&json!({}), &json!({})), refused, Vec::new()).await;
    answer.problem(Code::UpstreamStatus);
    assert_eq!(lines(&world), ["POST /v1/act"]);
}

#[tokio::test]
async fn a_place_is_one_of_the_paths_if_the_definition_lists_some() {
    let done = || vec![Script::json(200, &json!({ "rows": 3 }))];
    let poll = json!({ "paths": ["/v1/exports/*"] });
    let (world, answer) = called(&starting(&poll, &json!({})), accepted(JOB), done()).await;
    answer.problem(Code::PathNotGranted);
    assert_eq!(lines(&world), ["POST /v1/act"]);
    let poll = json!({ "paths": ["/v1/exports/*", "/v1/jobs/*"] });
    let (world, answer) = called(&starting(&poll, &json!({})), accepted(JOB), done()).await;
    answer.is(200);
    assert_eq!(lines(&world), ["POST /v1/act", "GET /v1/jobs/7"]);
}

#[tokio::test]
async fn rules_that_cannot_be_followed_are_refused_at_upload() {
    let world = World::start().await;
    let pages = json!({ "effect": "read", "pagination": {
        "type": "next_url", "items": "/results", "cursor_path": "/next",
    } });
    for (poll, more, at, code) in [
        (json!({ "url": { "header": "location", "path": "/url" } }), json!({}), "/url", "poll_incomplete"),
        (json!({ "url": {} }), json!({}), "/url", "poll_incomplete"),
        (json!({ "url": { "header": "set-cookie" } }), json!({}), "/url/header", "pointer_invalid"),
        (json!({ "url": { "path": "url" } }), json!({}), "/url/path", "pointer_invalid"),
        (json!({ "result": { "path": "/a", "url_path": "/b" } }), json!({}), "/result", "poll_incomplete"),
        (json!({ "result": {} }), json!({}), "/result", "poll_incomplete"),
        (json!({ "paths": ["jobs/*"] }), json!({}), "/paths/0", "path_pattern_invalid"),
        (json!({ "paths": ["/jobs/{{input.rows}}"] }), json!({}), "/paths/0", "path_pattern_invalid"),
        (json!({ "interval_s": 0 }), json!({}), "/interval_s", "out_of_range"),
        (json!({ "max_s": 1801 }), json!({}), "/max_s", "out_of_range"),
        (json!({}), pages, "", "poll_with_pagination"),
    ] {
        let refused = world.platform.post("/admin/connector", &starting(&poll, &more)).await.is(422);
        let at = format!("/actions/0/poll{at}");
        assert!(refused.violations().contains(&(at.as_str(), code)), "{at} {code}: {refused:?}");
    }
    let predicate = starting(&json!({ "done": { "path": "/state", "is": 1 } }), &json!({}));
    let refused = world.platform.post("/admin/connector", &predicate).await.is(422);
    assert!(refused.violations().iter().any(|(_, code)| *code == "predicate_invalid"), "{refused:?}");
    // One answer is read of a test, and nothing is asked again.
    let mut tested = definition(&json!({}), &json!({}));
    tested["test"]["request"]["poll"] = json!({ "url": { "header": "location" } });
    let refused = world.platform.post("/admin/connector", &tested).await.is(422);
    assert_eq!(refused.violations(), [("/test/request/poll", "poll_unused")], "{refused:?}");
}
