//! A token endpoint that fails: what people see of it, how runs answer, and how it recovers.

use portcullis_core::fault::Code;
use serde_json::json;

use super::{Harness, ID, LONG_AGO, client, client_credentials};
use crate::support::token_server::answer_with;
use crate::support::{Script, until};

/// None of this may be shown to anyone.
const WORDS: &str = r#"{"error":"invalid_grant","error_description":"canary for ada: secret s3cr3t"}"#;

async fn assert_attention(harness: &Harness, reason: &str) {
    let setting = harness.setting().await;
    assert_eq!(setting["state"], "needs_attention", "{setting}");
    let text = setting["reason"].as_str().unwrap();
    assert!(text.starts_with(reason), "{text}");
    assert!(setting["token"]["failure"]["retry_at"].is_string(), "{setting}");
    let all = setting.to_string();
    assert!(!all.contains("canary") && !all.contains("s3cr3t"), "{all}");
    let answer = harness.list().await.problem(Code::CredentialNeedsAttention);
    assert!(answer.json["detail"].as_str().unwrap().contains(reason), "{}", answer.text);
    assert!(!answer.text.contains("canary"), "{}", answer.text);
}

/// A token endpoint that cannot be reached says nothing of the connection; calls fail for what they miss.
async fn assert_failing(harness: &Harness, reason: &str) {
    let setting = harness.setting().await;
    assert_eq!((&setting["state"], &setting["attention"]), (&json!("connected"), &json!(null)), "{setting}");
    let failure = setting["token"]["failure"]["reason"].as_str().unwrap();
    assert!(failure.starts_with(reason), "{failure}");
    let answer = harness.list().await.problem(Code::CredentialNeedsAttention);
    assert!(answer.json["detail"].as_str().unwrap().contains(reason), "{}", answer.text);
    assert!(!answer.text.contains("canary") && !setting.to_string().contains("canary"), "{}", answer.text);
}

/// What the connection's history says, newest first.
async fn history(harness: &Harness) -> Vec<String> {
    let setting = harness.setting().await;
    let changes = setting["history"].as_array().unwrap().iter();
    changes.map(|one| format!("{}{}", one["change"], one["cause"]).replace(['"'], "")).collect()
}

#[tokio::test]
async fn a_renewal_that_is_refused_is_a_change_of_the_connection_and_one_that_works_is_the_next() {
    let harness = Harness::connected().await;
    harness.reads().await;
    harness.expire().await;
    harness.server.change(|ways| ways.instead = Some(Script::Json(503, WORDS)));
    harness.list().await.problem(Code::CredentialNeedsAttention);
    assert_eq!(history(&harness).await, ["savednull"], "the vendor is down");
    harness.server.change(|ways| ways.instead = Some(Script::Json(400, WORDS)));
    harness.end_pause().await;
    for _ in 0..2 {
        harness.list().await.problem(Code::CredentialNeedsAttention);
        harness.end_pause().await;
    }
    let attention = harness.setting().await["attention"].clone();
    assert_eq!(attention["class"], "auth", "{attention}");
    assert_eq!(history(&harness).await, ["needs_attentiontoken", "savednull"]);
    harness.server.change(|ways| ways.instead = None);
    harness.end_pause().await;
    harness.reads().await;
    assert_eq!(history(&harness).await, ["recoverednull", "needs_attentiontoken", "savednull"]);
}

#[tokio::test]
async fn a_refusing_endpoint_needs_attention_and_recovers_by_itself_after_the_pause() {
    let harness = Harness::connected().await;
    harness.reads().await;
    harness.expire().await;
    harness.server.change(|ways| ways.instead = Some(Script::Json(500, WORDS)));
    harness.list().await.problem(Code::CredentialNeedsAttention);
    assert_failing(&harness, "the token endpoint answered 500").await;
    let asked = harness.server.asked().len();
    harness.prolong_pause().await;
    for _ in 0..5 {
        harness.list().await.problem(Code::CredentialNeedsAttention);
    }
    assert_eq!(harness.server.asked().len(), asked, "not asked again during the pause");
    harness.server.change(|ways| ways.instead = Some(Script::Json(400, WORDS)));
    harness.end_pause().await;
    harness.list().await.problem(Code::CredentialNeedsAttention);
    assert_attention(&harness, "the token endpoint answered 400 invalid_grant").await;
    let failure = harness.token().await.0.failure.unwrap();
    assert_eq!(failure.times, 2);
    harness.server.change(|ways| ways.instead = None);
    harness.list().await.problem(Code::CredentialNeedsAttention);
    harness.end_pause().await;
    harness.reads().await;
    let setting = harness.setting().await;
    assert_eq!((&setting["state"], &setting["token"]["failure"]), (&json!("connected"), &json!(null)));
}

#[tokio::test]
async fn the_pause_after_a_passing_failure_is_a_second_and_a_run_after_it_recovers() {
    let harness = Harness::connected().await;
    harness.server.change(|ways| ways.instead = Some(Script::HangUp));
    harness.list().await.problem(Code::CredentialNeedsAttention);
    assert_failing(&harness, "token request: ").await;
    harness.server.change(|ways| ways.instead = None);
    until("it recovers without anybody", async || harness.list().await.status == 200).await;
    assert_eq!(harness.setting().await["state"], "connected");
}

#[tokio::test]
async fn a_person_who_tests_recovers_it_at_once() {
    let harness = Harness::connected().await;
    harness.server.change(|ways| ways.instead = Some(Script::Json(400, WORDS)));
    harness.list().await.problem(Code::CredentialNeedsAttention);
    let trial = harness.trial().await;
    assert_eq!(
        (&trial.json["ok"], &trial.json["code"]),
        (&json!(false), &json!("credential_needs_attention"))
    );
    assert!(!trial.text.contains("canary"), "{}", trial.text);
    assert_eq!(harness.server.asked().len(), 2, "the test asked although the pause was not over");
    harness.server.change(|ways| ways.instead = None);
    assert_eq!(harness.trial().await.json["ok"], true);
    assert_eq!(harness.setting().await["state"], "connected");
    harness.reads().await;
}

#[tokio::test]
async fn a_test_also_renews_a_living_token_whose_last_renewal_failed() {
    let harness = Harness::connected().await;
    harness.reads().await;
    harness.server.revoke_access();
    harness.server.change(|ways| ways.instead = Some(Script::Json(400, WORDS)));
    let answer = harness.list().await.problem(Code::UpstreamStatus);
    assert_eq!(answer.json["run"]["class"], "auth", "the upstream's no stands");
    assert_eq!(harness.setting().await["state"], "needs_attention");
    harness.server.change(|ways| ways.instead = None);
    assert_eq!(harness.list().await.problem(Code::UpstreamStatus).json["run"]["class"], "auth");
    assert_eq!(harness.trial().await.json["ok"], true);
    harness.reads().await;
}

#[tokio::test]
async fn a_failing_renewal_ahead_of_the_end_fails_no_run_while_the_token_lives() {
    let harness = Harness::connected().await;
    harness.reads().await;
    // Within the sixty seconds before it expires.
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(20);
    harness
        .let_time_change(|token| {
            token.obtained_at = Some(LONG_AGO.to_owned());
            token.expires_at = Some(soon.to_string());
        })
        .await;
    harness.server.change(|ways| ways.instead = Some(Script::Json(503, WORDS)));
    harness.reads().await;
    harness.prolong_pause().await;
    for _ in 0..3 {
        harness.reads().await;
    }
    assert_eq!(harness.server.asked().len(), 2, "one attempt, and then the pause");
    harness.let_time_change(|token| token.expires_at = Some(LONG_AGO.to_owned())).await;
    harness.list().await.problem(Code::CredentialNeedsAttention);
}

#[tokio::test]
async fn answers_that_are_no_token_are_refused_with_a_reason_of_ours() {
    for (answer, reason) in [
        (Script::Json(200, r#"{"token":"x"}"#), "the token answer has no access_token"),
        (Script::Json(200, r#"{"access_token":""}"#), "the token answer has no access_token"),
        (Script::Json(200, r#"{"access_token":{"a":1}}"#), "the token answer has no access_token"),
        (Script::Json(200, "<html>canary</html>"), "the token answer has no access_token"),
        (Script::Json(200, WORDS), "the token endpoint answered 200 invalid_grant"),
        (Script::Json(200, r#"{"error":"canary_s3cr3t"}"#), "the token endpoint answered 200"),
        (Script::Json(302, "{}"), "the token endpoint answered 302"),
        (Script::HangUp, "token request: "),
        (Script::Raw(b"canary\r\n\r\n".to_vec()), "token request: "),
    ] {
        let harness = Harness::of(&client_credentials()).await;
        harness.acme.connect(ID, client()).await;
        harness.server.change(|ways| ways.instead = Some(answer));
        harness.list().await.problem(Code::CredentialNeedsAttention);
        match reason {
            "token request: " => assert_failing(&harness, reason).await,
            _ => assert_attention(&harness, reason).await,
        }
        assert!(harness.world.upstream.received_on("/v1/things").is_empty(), "no call without a token");
    }
}

#[tokio::test]
async fn a_credential_saved_during_a_renewal_gets_a_token_of_its_own() {
    let harness = Harness::connected().await;
    let permits = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let body = r#"{"access_token":"at-of-before-1Zz9","expires_in":3600}"#;
    let held = Script::Held(std::sync::Arc::clone(&permits), Box::new(Script::Json(200, body)));
    harness.server.change(|ways| ways.instead = Some(held));
    let run = harness.acme.run.clone();
    let call =
        tokio::spawn(
            async move { run.post("/run/acme/main/connector/saas/list", &json!({ "input": {} })).await },
        );
    until("the token is asked for", async || harness.server.asked().len() == 1).await;
    harness.acme.connect(ID, json!({ "client_id": "client-new", "client_secret": "new-secret-1" })).await;
    harness.server.change(|ways| ways.instead = None);
    permits.add_permits(1);
    call.await.unwrap();
    harness.reads().await;
    assert_eq!(harness.server.asked().last().unwrap().get("client_id"), "client-new");
    let sent = harness.world.upstream.received_on("/v1/things");
    let sent = sent.last().unwrap().header("authorization").join(",");
    assert_ne!(sent, "Bearer at-of-before-1Zz9");
}

#[tokio::test]
async fn a_call_that_had_begun_work_when_no_token_was_left_to_ask_for_it_has_a_run_and_keeps_its_key() {
    let mut definition = client_credentials();
    definition["actions"][1]["poll"] = json!({ "url": { "header": "Location" }, "interval_s": 1 });
    let harness = Harness::of(&definition).await;
    let permits = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let begun = Box::new(answer_with(202, &[("location", "/v1/jobs/7")], ""));
    harness.server.change(|ways| {
        // Why: gone by the time at which the work is asked for.
        ways.expires_in = json!(1);
        ways.api = Script::Held(std::sync::Arc::clone(&permits), begun);
    });
    harness.acme.connect(ID, client()).await;
    let make = || {
        let run = harness.acme.run.clone();
        let headers = [("idempotency-key", "k-1"), ("content-type", "application/json")];
        let body = br#"{"input":{"Name":"a"}}"#.to_vec();
        async move { run.send("POST", "/run/acme/main/connector/saas/make", &headers, body).await }
    };
    let first = tokio::spawn(make());
    let sent = || harness.world.upstream.received_on("/v1/things").len();
    until("the work is begun", async || sent() == 1).await;
    harness.server.change(|ways| ways.instead = Some(Script::Json(500, WORDS)));
    permits.add_permits(1);
    let first = first.await.unwrap().problem(Code::CredentialNeedsAttention);
    let run = first.json["run"]["run_id"].as_str().unwrap();
    let kept = harness.acme.run.get(&format!("/run/acme/main/{run}")).await.is(200).json;
    assert_eq!((&kept["status"], &kept["code"]), (&json!("failed"), &json!("credential_needs_attention")));
    let again = make().await.is(409);
    assert_eq!((&first.text, again.header("idempotency-replayed")), (&again.text, Some("true")));
    assert_eq!(sent(), 1, "the work was begun once");
}

#[tokio::test]
async fn a_call_that_had_begun_nothing_when_there_was_no_token_gives_its_key_back() {
    let harness = Harness::of(&client_credentials()).await;
    harness.acme.connect(ID, client()).await;
    harness.server.change(|ways| ways.instead = Some(Script::Json(500, WORDS)));
    let headers = [("idempotency-key", "k-1"), ("content-type", "application/json")];
    let make = async || {
        let body = br#"{"input":{"Name":"a"}}"#.to_vec();
        harness.acme.run.send("POST", "/run/acme/main/connector/saas/make", &headers, body).await
    };
    assert!(make().await.problem(Code::CredentialNeedsAttention).json.get("run").is_none());
    harness.server.change(|ways| ways.instead = None);
    harness.end_pause().await;
    let answer = make().await.is(200);
    assert_eq!(answer.header("idempotency-replayed"), None);
    assert_eq!(harness.world.upstream.received_on("/v1/things").len(), 1);
}
