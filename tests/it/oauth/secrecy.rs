//! The answers of a token endpoint go into the vault and nowhere else.

use serde_json::{Value, json};

use super::{Harness, ID, LOGIN, client, definition};
use crate::secrecy::{captured, files, found};
use crate::support::token_server::answer_with;
use crate::support::{Script, Stage};

/// Part of every answer of the token endpoint.
const ACCESS: &str = "cnry-at/Q7+f3a=9c51e2b84d06.Zz~x";
const REFRESH: &str = "cnry-rt/W8+g4b=0d62f3c95e17.Yy~w";
const WORD: &str = "cnry-word/E9+h5c=1e73a4da6f28.Xx~v";

/// An answer with a canary in every position.
fn answer(status: u16) -> Script {
    let body = json!({
        "access_token": ACCESS, "refresh_token": REFRESH, "expires_in": 3600, "note": WORD,
        "error_description": WORD, "id_token": WORD,
    });
    let body = match status {
        200 => body,
        _ => json!({ "error": WORD, "error_description": WORD, "access_token": ACCESS }),
    };
    answer_with(status, &[("x-note", WORD), ("set-cookie", WORD)], &body.to_string())
}

/// A pasted refresh token, an API that echoes, and token answers that succeed, fail and are missing.
async fn lived() -> Harness {
    let auth = json!({ "refresh_on": { "status": [401] } });
    let fields = ["client_id", "client_secret", "refresh_token"];
    let stage = Stage { sled: true, ..Stage::default() };
    let harness = Harness::on(stage, &definition("oauth2_refresh_token", &auth, &fields)).await;
    let mut values = client();
    values["refresh_token"] = json!("rt-first-4Gh7kM2p");
    harness.acme.connect(ID, values).await;
    harness.world.upstream.script("/oauth/token", answer(200));
    harness.world.upstream.script("/v1/things", Script::Echo(200));
    harness.list().await.is(200);
    harness.expire().await;
    harness.list().await.is(200);
    harness.world.upstream.script("/v1/things", Script::Echo(401));
    harness.list().await.is(502);
    for status in [400, 401, 500, 200] {
        harness.world.upstream.script("/oauth/token", answer(status));
        harness.expire().await;
        harness.list().await;
        harness.trial().await;
    }
    let broken = format!("HTTP/1.1 200 OK\r\n{WORD}\r\n\r\n{ACCESS}");
    harness.world.upstream.script("/oauth/token", Script::Raw(broken.into_bytes()));
    harness.expire().await;
    harness.list().await;
    harness
}

/// Reads everything that can be read.
async fn read(harness: &Harness) {
    harness.setting().await;
    let runs = harness.acme.run.get("/run/acme/main").await.is(200);
    for run in runs.json["data"].as_array().unwrap() {
        let id = run["run_id"].as_str().unwrap();
        harness.acme.run.get(&format!("/run/acme/main/{id}")).await.is(200);
    }
    let dry = "/run/acme/main/connector/saas/list?dry_run=true";
    harness.acme.run.post(dry, &json!({ "input": {} })).await.is(200);
    let entries = harness.acme.ledger().await;
    let own: Vec<&Value> = entries.iter().filter(|entry| entry["action_id"] == "oauth-token").collect();
    assert!(own.len() >= 6, "token requests are in the ledger: {}", own.len());
    assert!(own.iter().all(|entry| entry["origin"] == format!("https://{LOGIN}")));
}

#[tokio::test]
async fn s11_a_token_answer_is_in_no_answer_no_run_no_log_line_no_ledger_line_and_no_file() {
    let log = captured();
    let harness = lived().await;
    read(&harness).await;
    let sent = harness.world.upstream.received_on("/v1/things");
    assert!(sent.iter().all(|r| r.header("authorization") == [format!("Bearer {ACCESS}")]), "it was used");
    let asked = harness.world.upstream.received_on("/oauth/token");
    assert!(asked.iter().skip(1).any(|r| r.text().contains("cnry-rt")), "it was used");
    let all = files(harness.world.data_dir());
    assert!(all.keys().any(|path| path.extension().is_some_and(|e| e == "ndjson")), "{:?}", all.keys());
    for canary in [ACCESS, REFRESH, WORD] {
        assert_eq!(found(&harness.acme.run.heard(), canary), None, "{canary} in an answer of the API");
        assert_eq!(found(&log.bytes(), canary), None, "{canary} in the log");
        for (path, bytes) in &all {
            assert_eq!(found(bytes, canary), None, "{canary} in {}", path.display());
        }
    }
}

/// What a guest receives: a dry run shows the token's position by its name, and the document
/// that the handler echoes back contains neither token nor the credential with which it was obtained.
#[tokio::test]
async fn s11_a_guest_sees_neither_the_token_nor_what_it_was_got_with() {
    let harness = Harness::with_pasted(Stage::default()).await;
    harness.reads().await;
    let echo = Script::Echo(200);
    harness.server.change(|ways| ways.api = echo);
    let answer = harness.list().await.is(200);
    assert_eq!(answer.json["output"]["error"], "the header was [redacted]");
    for secret in [harness.server.access().as_str(), "rt-0001-hV9xLm3e", "rt-pasted-5cB8nQ1z", super::SECRET]
    {
        assert_eq!(found(answer.text.as_bytes(), secret), None);
    }
    let dry = "/run/acme/main/connector/saas/list?dry_run=true";
    let shown = harness.acme.run.post(dry, &json!({ "input": {} })).await.is(200);
    let header = shown.json["request"]["headers"]["authorization"].as_str().unwrap().to_owned();
    assert!(header.contains("access_token") && !header.contains("at-0001"), "{header}");
}
