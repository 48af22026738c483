//! Every way an allowed call can still fail, each with its code, its ledger entry and a similar call
//! that passes: names, connections, TLS, bad HTTP, limits, waits, and parts of the product that fail.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use portcullis_core::fault::Code;
use portcullis_store::{ConnectorRecord, CredentialState, Writes};
use serde_json::{Value, json};

use crate::support::failing::Failing;
use crate::support::fake_network::DialManner;
use crate::support::{PUBLIC, Script, Stage, Tenant, World, salesforce, until};

const KEY: &str = "sk-live-0123456789abcdef";

async fn connected(stage: Stage) -> (World, Tenant) {
    let (world, acme) = World::salesforce_on(stage).await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    (world, acme)
}

/// The call fails with this code, its run is embedded, and the ledger has it under the same code.
async fn assert_fails(acme: &Tenant, code: Code) -> Value {
    let answer = acme.create_contact().await.problem(code);
    let run = answer.json["run"].clone();
    assert_eq!(run["code"], code.as_str());
    let entry = &acme.ledger().await[0];
    assert_eq!(entry["code"], code.as_str(), "{entry}");
    assert_eq!(entry["run_id"], run["run_id"]);
    run
}

#[tokio::test]
async fn a_name_that_does_not_exist_or_has_no_or_too_many_answers_is_dns_failed() {
    let (world, acme) = connected(Stage::default()).await;
    let before = world.before().await;
    let limit = usize::try_from(world.engine.limits().dns_answers).unwrap();
    for answers in [Vec::new(), vec![PUBLIC; limit + 1]] {
        world.names.tell("api.salesforce.com", &answers);
        assert_eq!(assert_fails(&acme, Code::DnsFailed).await["status"], "failed");
    }
    world.assert_nothing_left(&before).await;
    world.names.tell("api.salesforce.com", &vec![PUBLIC; limit]);
    acme.create_contact().await.is(200);
}

#[tokio::test]
async fn nobody_answering_is_connect_failed_and_opens_no_credential() {
    let (world, acme) = connected(Stage::default()).await;
    world.dialer.behave(DialManner::Dead);
    let run = assert_fails(&acme, Code::ConnectFailed).await;
    assert_eq!(run["retryable"], true);
    assert_eq!(world.engine.vault().opens(), 0);
    world.dialer.behave(DialManner::Honest);
    acme.create_contact().await.is(200);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_tls_failed_and_opens_no_credential() {
    let (world, acme) = World::salesforce().await;
    let other = |host: &str| {
        let mut definition = salesforce();
        definition["connector_id"] = json!(host.split('.').nth(1).unwrap());
        definition["allowed_domains"] = json!([host]);
        definition["actions"][0]["url_template"] = json!(format!("https://{host}/v1/contacts"));
        definition
    };
    for host in ["api.hubapi.com", "api.example-saas.com"] {
        world.names.tell(host, &[PUBLIC]);
        let made = world.platform.post("/admin/connector", &other(host)).await.is(201);
        acme.connect(made.json["connector_id"].as_str().unwrap(), json!({ "api_key": KEY })).await;
    }
    let input = json!({ "Email": "ada@example.org" });
    let answer = acme.call("hubapi", "create-contact", input.clone()).await.problem(Code::TlsFailed);
    assert_eq!(answer.json["run"]["status"], "failed");
    assert_eq!((world.engine.vault().opens(), world.upstream.received().len()), (0, 0));
    acme.call("example-saas", "create-contact", input).await.is(200);
    assert_eq!(world.engine.vault().opens(), 1);
}

#[tokio::test]
async fn what_is_no_http_is_upstream_protocol() {
    let (world, acme) = connected(Stage::default()).await;
    let short = b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort".to_vec();
    let switching = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_vec();
    for script in [
        Script::Raw(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
        Script::Raw(short),
        Script::Raw(switching),
        Script::HangUp,
    ] {
        world.upstream.script("/v1/contacts", script);
        assert_eq!(assert_fails(&acme, Code::UpstreamProtocol).await["status"], "failed");
    }
    let gzip = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x8b".to_vec();
    world.upstream.script("/v1/contacts", Script::Raw(gzip));
    assert_eq!(assert_fails(&acme, Code::ResponseUnreadable).await["status"], "failed");
    let plain = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_vec();
    world.upstream.script("/v1/contacts", Script::Raw(plain));
    acme.create_contact().await.is(200);
}

#[tokio::test]
async fn an_upstream_that_never_answers_is_a_timeout() {
    let mut stage = Stage::default();
    stage.limits.first_byte_ms = 200;
    let (world, acme) = connected(stage).await;
    world.upstream.script("/v1/contacts", Script::Silence);
    let run = assert_fails(&acme, Code::UpstreamTimeout).await;
    assert_eq!(run["status"], "failed");
    world.upstream.script("/v1/contacts", Script::Json(200, "{}"));
    acme.create_contact().await.is(200);
}

#[tokio::test]
async fn an_answer_over_a_limit_is_response_too_large_and_one_at_it_passes() {
    let mut stage = Stage::default();
    (stage.limits.response_bytes, stage.limits.response_header_count) = (20, 5);
    let (world, acme) = connected(stage).await;
    let answer =
        |head: &str, body: &str| Script::Raw(format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}").into_bytes());
    let chunked = "transfer-encoding: chunked\r\n";
    for script in [
        answer("content-length: 21\r\n", &"1".repeat(21)),
        answer(chunked, "f\r\n111111111111111\r\n6\r\n111111\r\n0\r\n\r\n"),
    ] {
        world.upstream.script("/v1/contacts", script);
        assert_fails(&acme, Code::ResponseTooLarge).await;
    }
    for script in [
        answer("content-length: 20\r\n", &"1".repeat(20)),
        answer(chunked, "f\r\n111111111111111\r\n5\r\n11111\r\n0\r\n\r\n"),
        answer("a: 1\r\nb: 1\r\nc: 1\r\nd: 1\r\ncontent-length: 0\r\n", ""),
    ] {
        world.upstream.script("/v1/contacts", script);
        acme.create_contact().await.is(200);
    }
}

#[tokio::test]
async fn a_request_over_the_limit_is_request_too_large_and_one_at_it_passes() {
    let mut stage = Stage::default();
    // {"Email":"…"} has twelve bytes besides the value.
    stage.limits.request_bytes = 40;
    let (world, acme) = connected(stage).await;
    let before = world.before().await;
    let send = async |value: usize| {
        acme.call("salesforce", "create-contact", json!({ "Email": "x".repeat(value) })).await
    };
    let answer = send(29).await.problem(Code::RequestTooLarge);
    assert_eq!(answer.json["run"]["status"], "refused");
    world.assert_nothing_looked_up(&before).await;
    send(28).await.is(200);
}

#[tokio::test]
async fn more_bytes_than_a_call_may_send_are_calls_exceeded() {
    let mut stage = Stage::default();
    stage.limits.outbound_bytes_per_call = 27;
    let (world, acme) = connected(stage).await;
    let before = world.before().await;
    let long = acme.call("salesforce", "create-contact", json!({ "Email": "ada@example.org.uk" })).await;
    assert_eq!(long.problem(Code::CallsExceeded).json["run"]["status"], "refused");
    world.assert_nothing_looked_up(&before).await;
    // {"Email":"ada@example.org"} has 27 bytes.
    acme.create_contact().await.is(200);
}

/// The connector moves to another host, for which its workspaces' credentials were not saved.
async fn move_host(world: &World) {
    let mut definition = salesforce();
    definition["allowed_domains"] = json!(["*.salesforce.com", "api.example-saas.com"]);
    definition["actions"][0]["url_template"] = json!("https://api.example-saas.com/v1/contacts");
    world.platform.put("/admin/connector/salesforce", &definition).await.is(200);
    world.names.tell("api.example-saas.com", &[PUBLIC]);
}

#[tokio::test]
async fn a_credential_saved_for_other_hosts_waits_until_it_is_saved_for_the_new_one() {
    let (world, acme) = connected(Stage::default()).await;
    move_host(&world).await;
    let state = acme.workspace.get(&acme.setting("salesforce")).await.is(200);
    assert_eq!(state.json["state"], "needs_attention");
    let before = world.before().await;
    let answer = acme.create_contact().await.problem(Code::CredentialNeedsAttention);
    assert!(answer.json["detail"].as_str().unwrap().contains("api.example-saas.com"), "{}", answer.text);
    world.assert_untouched(&before).await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    acme.create_contact().await.is(200);
    assert_eq!(world.upstream.received()[0].header("host"), ["api.example-saas.com"]);
}

#[tokio::test]
async fn a_stored_row_that_was_widened_does_not_widen_what_the_sealed_credential_allows() {
    let (world, acme) = connected(Stage::default()).await;
    move_host(&world).await;
    let (records, parts) = (world.engine.records(), ["acme", "main", "salesforce"]);
    let (mut state, _) = records.get::<CredentialState>(&parts).await.unwrap().unwrap();
    state.allowed_hosts.push("api.example-saas.com".to_owned());
    records.commit(Writes::new().put(&parts, &state)).await.unwrap();
    assert_eq!(assert_fails(&acme, Code::CredentialNotBound).await["status"], "refused");
    assert_eq!(world.upstream.received().len(), 0, "nothing was sent");
    assert_eq!(world.engine.vault().opens(), 0, "the sealed list was read, and no secret");
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    acme.create_contact().await.is(200);
    assert_eq!(world.engine.vault().opens(), 1);
}

#[tokio::test]
async fn a_credential_without_the_field_that_is_sent_today_needs_attention_before_anything_is_opened() {
    let (world, acme) = World::salesforce().await;
    let field = |name: &str| {
        let mut definition = salesforce();
        definition["auth_schema"]["fields"][0] = json!({ "name": name, "type": "password" });
        definition
    };
    world.platform.put("/admin/connector/salesforce", &field("api_key")).await.is(200);
    let empty = json!({ "config": {} });
    let answer = acme.workspace.put(&acme.setting("salesforce"), &empty).await;
    assert_eq!(answer.problem(Code::ValidationFailed).violations(), [("/config", "not_injectable")]);
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    acme.create_contact().await.is(200);
    world.platform.put("/admin/connector/salesforce", &field("access_token")).await.is(200);
    let before = world.before().await;
    acme.create_contact().await.problem(Code::CredentialNeedsAttention);
    world.assert_nothing_looked_up(&before).await;
    assert_eq!(world.upstream.received().len(), 1, "nothing more was sent");
    acme.connect("salesforce", json!({ "access_token": KEY })).await;
    acme.create_contact().await.is(200);
}

#[tokio::test]
async fn more_calls_at_once_than_may_run_are_told_to_come_back() {
    const LIMIT: usize = 3;
    let mut stage = Stage::default();
    stage.limits.concurrent_calls = LIMIT as u64;
    stage.limits.first_byte_ms = 2000;
    let (world, acme) = connected(stage).await;
    world.upstream.script("/v1/contacts", Script::Silence);
    let start = || {
        let run = acme.run.clone();
        tokio::spawn(async move {
            let body = json!({ "input": { "Email": "ada@example.org" } });
            run.post("/run/acme/main/connector/salesforce/create-contact", &body).await
        })
    };
    let mut running = Vec::new();
    loop {
        let call = start();
        until("the call has reached the upstream or was turned away", async || {
            call.is_finished() || world.upstream.received().len() > running.len()
        })
        .await;
        if call.is_finished() {
            let answer = call.await.unwrap().problem(Code::Overloaded);
            assert_eq!(answer.header("retry-after"), Some("1"));
            break;
        }
        running.push(call);
        assert!(running.len() <= LIMIT, "more calls run than may");
    }
    assert_eq!(running.len(), LIMIT, "as many as may run do run");
    let before = world.before().await;
    acme.create_contact().await.problem(Code::Overloaded);
    world.assert_nothing_looked_up(&before).await;
    running.iter().for_each(tokio::task::JoinHandle::abort);
    world.upstream.script("/v1/contacts", Script::Json(200, "{}"));
    // They have reached the upstream, so they go on; a place is free when they end.
    until("a call whose caller has left ends and gives up its place", async || {
        acme.create_contact().await.status == 200
    })
    .await;
}

#[tokio::test]
async fn when_the_ledger_cannot_be_written_nothing_leaves() {
    let (world, acme) = connected(Stage::default()).await;
    let globex = world.tenant("globex", "main").await;
    globex.connect("salesforce", json!({ "api_key": KEY })).await;
    // A file takes the path of the org's directory.
    std::fs::write(world.data_dir().join("ledger/acme"), b"in the way").unwrap();
    let before = world.before().await;
    let answer = acme.create_contact().await.problem(Code::LedgerUnavailable);
    assert_eq!(answer.header("retry-after"), Some("1"));
    world.assert_nothing_looked_up(&before).await;
    globex.create_contact().await.is(200);
}

#[tokio::test]
async fn when_the_store_fails_the_answer_is_503_and_nothing_leaves() {
    let (store, broken) = Failing::new();
    let (world, acme) = connected(Stage { store: Some(Arc::new(store)), ..Stage::default() }).await;
    let before = world.before().await;
    broken.store(true, Ordering::SeqCst);
    let answer = acme.create_contact().await.problem(Code::StoreUnavailable);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(!answer.text.contains("disk"), "{}", answer.text);
    assert_eq!(world.platform.get("/readyz").await.is(503).json["store"], false);
    world.platform.get("/healthz").await.is(200);
    broken.store(false, Ordering::SeqCst);
    world.assert_untouched(&before).await;
    acme.create_contact().await.is(200);
}

#[tokio::test]
async fn a_stored_definition_that_breaks_todays_rules_is_internal_and_calls_nothing() {
    let (world, acme) = connected(Stage::default()).await;
    let records = world.engine.records();
    let (mut record, _) = records.get::<ConnectorRecord>(&["salesforce"]).await.unwrap().unwrap();
    let good = record.clone();
    record.definition["allowed_domains"] = json!(["*"]);
    records.commit(Writes::new().put(&["salesforce"], &record)).await.unwrap();
    world.engine.records_changed().await;
    let before = world.before().await;
    acme.create_contact().await.problem(Code::Internal);
    world.assert_untouched(&before).await;
    records.commit(Writes::new().put(&["salesforce"], &good)).await.unwrap();
    world.engine.records_changed().await;
    acme.create_contact().await.is(200);
}

#[tokio::test]
async fn a_call_of_what_does_not_exist_is_told_which_part() {
    let (world, acme) = connected(Stage::default()).await;
    let before = world.before().await;
    acme.call("hubspot", "create-contact", json!({})).await.problem(Code::ConnectorNotFound);
    acme.call("salesforce", "delete-all", json!({})).await.problem(Code::ActionNotFound);
    acme.fire("auto_nope", json!({})).await.problem(Code::AutomationNotFound);
    acme.run.get("/run/acme/main/run_nope").await.problem(Code::NotFound);
    world.assert_untouched(&before).await;
    acme.create_contact().await.is(200);
}

#[tokio::test]
async fn a_pooled_connection_is_not_used_after_the_policy_changed() {
    let (world, acme) = connected(Stage::default()).await;
    acme.create_contact().await.is(200);
    acme.create_contact().await.is(200);
    assert_eq!(world.dialer.dialed().len(), 1, "the second call used the same connection");
    acme.allow(json!(["*.salesforce.com"]), "enforce").await;
    world.names.tell("api.salesforce.com", &["10.0.0.5".parse().unwrap()]);
    acme.create_contact().await.problem(Code::AddressForbidden);
    assert_eq!(world.dialer.dialed().len(), 1);
}

#[tokio::test]
async fn an_answer_that_should_be_json_and_is_not_is_response_unreadable() {
    let (world, acme) = World::salesforce().await;
    let mut definition = salesforce();
    definition["actions"][0]["response"] = json!({ "type": "json" });
    world.platform.put("/admin/connector/salesforce", &definition).await.is(200);
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    world.upstream.script("/v1/contacts", Script::Json(200, "{broken"));
    acme.create_contact().await.problem(Code::ResponseUnreadable);
    world.upstream.script("/v1/contacts", Script::Json(200, r#"{"id":"1"}"#));
    assert_eq!(acme.create_contact().await.is(200).json["output"], json!({ "id": "1" }));
}
