//! Renewal: one at a time, never losing a refresh token that works only once, and when an answer of the API needs it.

use std::time::Duration;

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::json;

use super::{Harness, ID, client, client_credentials};
use crate::support::{Answer, Script, Stage};

/// Limits for fifty calls at the same time.
fn wide() -> Stage {
    Stage { limits: Limits { concurrent_calls: 64, ..Limits::default() }, ..Stage::default() }
}

/// This number of reads at the same time.
async fn at_once(harness: &Harness, count: usize) -> Vec<Answer> {
    let calls: Vec<_> = (0..count)
        .map(|_| {
            let run = harness.acme.run.clone();
            tokio::spawn(async move {
                run.post("/run/acme/main/connector/saas/list", &json!({ "input": {} })).await
            })
        })
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_runs_at_the_end_of_a_token_make_one_renewal() {
    let harness = Harness::with_pasted(wide()).await;
    harness.reads().await;
    harness.expire().await;
    for answer in at_once(&harness, 50).await {
        assert_eq!(answer.is(200).json["status"], "succeeded");
    }
    assert_eq!(harness.server.asked().len(), 2, "the first token and one renewal");
    assert_eq!(harness.world.upstream.received_on("/v1/things").len(), 51);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_that_lives_for_less_than_the_skew_is_not_renewed_by_every_run() {
    let harness = Harness::with_pasted(wide()).await;
    harness.server.change(|ways| ways.expires_in = json!(30));
    for answer in at_once(&harness, 20).await {
        answer.is(200);
    }
    assert_eq!(harness.server.asked().len(), 1, "thirty seconds are enough for twenty runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_ends_in_a_row_never_lose_a_refresh_token_that_works_once() {
    let harness = Harness::with_pasted(wide()).await;
    harness.reads().await;
    for end in 1..=20 {
        harness.expire().await;
        for answer in at_once(&harness, 5).await {
            answer.is(200);
        }
        assert_eq!(harness.server.asked().len(), 1 + end, "one renewal at each end");
    }
    harness.reads().await;
    let mut sent: Vec<String> =
        harness.server.asked().iter().map(|asked| asked.get("refresh_token").to_owned()).collect();
    let count = sent.len();
    sent.sort();
    sent.dedup();
    assert_eq!((sent.len(), count), (21, 21), "no refresh token was sent twice");
}

#[tokio::test]
async fn a_renewal_whose_caller_has_gone_is_stored_all_the_same() {
    let harness = Harness::with_pasted(Stage::default()).await;
    harness.reads().await;
    harness.expire().await;
    let permits = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let body = r#"{"access_token":"at-late-3Vb7","refresh_token":"rt-late-3Vb7","expires_in":3600}"#;
    let held = Script::Held(std::sync::Arc::clone(&permits), Box::new(Script::Json(200, body)));
    harness.server.change(|ways| ways.instead = Some(held));
    let run = harness.acme.run.clone();
    let call =
        tokio::spawn(
            async move { run.post("/run/acme/main/connector/saas/list", &json!({ "input": {} })).await },
        );
    crate::support::until("the renewal is asked", async || harness.server.asked().len() == 2).await;
    // The kill switch ends the run, which waits for its token.
    harness.world.platform.patch("/admin/connector/saas", &json!({ "enabled": false })).await.is(200);
    call.await.unwrap().problem(Code::ConnectorDisabled);
    permits.add_permits(1);
    crate::support::until("the token is stored", async || harness.token().await.0.revision == 2).await;
    let (token, _) = harness.token().await;
    assert_eq!((token.lease, token.failure, token.renewable), (None, None, true));
}

#[tokio::test]
async fn a_401_on_a_living_token_is_one_renewal_and_one_repeat() {
    let harness = Harness::connected().await;
    harness.reads().await;
    harness.server.revoke_access();
    for action in ["list", "make"] {
        harness.server.revoke_access();
        let before = (harness.server.asked().len(), harness.world.upstream.received_on("/v1/things").len());
        let answer = harness.acme.call(ID, action, json!({})).await.is(200);
        let after = (harness.server.asked().len(), harness.world.upstream.received_on("/v1/things").len());
        assert_eq!(after, (before.0 + 1, before.1 + 2), "{action}: what was refused was not carried out");
        assert_eq!(answer.json["usage"]["retries"], 1);
        assert_eq!(answer.json["usage"]["requests"], 2);
    }
}

#[tokio::test]
async fn a_401_after_the_renewal_fails_the_run_with_class_auth_and_ends_there() {
    let harness = Harness::connected().await;
    harness.server.change(|ways| ways.api = Script::Json(401, r#"{"error":"not you"}"#));
    let answer = harness.list().await.problem(Code::UpstreamStatus);
    assert_eq!(answer.json["run"]["class"], "auth");
    assert_eq!(answer.json["run"]["upstream"]["status"], 401);
    assert_eq!(
        (harness.server.asked().len(), harness.world.upstream.received_on("/v1/things").len()),
        (2, 2)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_runs_that_are_told_401_at_once_renew_once() {
    let harness = Harness::on(wide(), &client_credentials()).await;
    harness.acme.connect(ID, client()).await;
    harness.reads().await;
    let slow = Script::After(Duration::from_millis(300), Box::new(Script::Json(401, "{}")));
    harness.server.change(|ways| ways.stale = slow);
    harness.server.revoke_access();
    for answer in at_once(&harness, 20).await {
        answer.is(200);
    }
    assert_eq!(harness.server.asked().len(), 2);
}

#[tokio::test]
async fn an_error_in_a_200_renews_where_the_definition_says_so() {
    let mut definition = client_credentials();
    let says = json!({ "path": "/error", "in": ["expired", "revoked"] });
    definition["auth"]["refresh_on"] = json!({ "predicate": says });
    let harness = Harness::of(&definition).await;
    harness.acme.connect(ID, client()).await;
    harness.reads().await;
    harness.server.change(|ways| ways.stale = Script::Json(200, r#"{"error":"expired"}"#));
    harness.server.revoke_access();
    let answer = harness.list().await.is(200);
    assert_eq!(answer.json["output"], json!({ "ok": true }));
    assert_eq!(
        (harness.server.asked().len(), harness.world.upstream.received_on("/v1/things").len()),
        (2, 3)
    );
    harness.server.change(|ways| ways.api = Script::Json(200, r#"{"error":"revoked"}"#));
    let answer = harness.list().await.problem(Code::UpstreamStatus);
    assert_eq!(answer.json["run"]["class"], "auth");
    assert_eq!(answer.json["run"]["upstream"]["body"]["error"], "revoked");
    assert_eq!(
        (harness.server.asked().len(), harness.world.upstream.received_on("/v1/things").len()),
        (3, 5)
    );
    harness.server.change(|ways| ways.api = Script::Json(200, r#"{"error":"another"}"#));
    harness.list().await.is(200);
    assert_eq!(harness.server.asked().len(), 3, "another error is no reason");
}

#[tokio::test]
async fn a_403_renews_where_the_definition_says_so_and_else_does_not() {
    for (on, tokens) in [(json!([401, 403]), 2), (json!([401]), 1)] {
        let mut definition = client_credentials();
        definition["auth"]["refresh_on"] = json!({ "status": on });
        let harness = Harness::of(&definition).await;
        harness.acme.connect(ID, client()).await;
        harness.server.change(|ways| ways.api = Script::Json(403, "{}"));
        let answer = harness.list().await.problem(Code::UpstreamStatus);
        assert_eq!(answer.json["run"]["class"], "permission");
        assert_eq!(harness.server.asked().len(), tokens);
    }
}
