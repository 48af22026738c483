//! The main job: the Salesforce example's connector, from upload to the request that arrives, and every outcome
//! that is not a call. Whatever is refused or skipped opens no credential and no socket.

use portcullis_core::fault::Code;
use portcullis_store::ConnectorSetting;
use serde_json::{Value, json};

use crate::support::fake_network::DialManner;
use crate::support::world::contact_automation;
use crate::support::{PRIVATE, PUBLIC, PUBLIC_V6, SALESFORCE, Script, Tenant, World, salesforce};

const KEY: &str = "sk-live-0123456789abcdef";
const ADA: &str = "ada@example.org";

async fn connected() -> (World, Tenant) {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    (world, acme)
}

fn names(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn the_salesforce_example_is_accepted_byte_for_byte_and_kept_as_written() {
    let world = World::start().await;
    let made = world.platform.write("POST", "/admin/connector", SALESFORCE).await.is(201);
    assert_eq!(made.header("location"), Some("/admin/connector/salesforce"));
    assert_eq!(made.header("etag"), Some("\"1\""));
    assert_eq!(made.json["warnings"], json!([]));
    let read = world.platform.get("/admin/connector/salesforce").await.is(200);
    assert_eq!(read.json["definition"], salesforce());
    assert_eq!(read.json["enabled"], true);
}

#[tokio::test]
async fn a_saved_credential_is_stored_in_the_shape_of_the_salesforce_example_and_never_in_the_clear() {
    let (world, acme) = World::salesforce().await;
    let before = world.before().await;
    let saved = acme.connect("salesforce", json!({ "api_key": KEY })).await;
    let of_connector = ["display_name", "description", "icon", "docs_url", "support_url", "auth_type"];
    let shown =
        [&["group", "name"][..], &of_connector, &["value", "state", "methods", "fields", "history"]].concat();
    assert_eq!(names(&saved.json), shown);
    assert_eq!(saved.json["value"], json!({ "enabled": true }));
    assert_eq!(saved.json["state"], "connected");
    assert_eq!(saved.json["fields"]["api_key"]["set"], true);
    let read = acme.workspace.get(&acme.setting("salesforce")).await.is(200);
    assert_eq!(read.json, saved.json);
    let parts = ["acme", "main", "salesforce"];
    let (record, _) = world.engine.records().get::<ConnectorSetting>(&parts).await.unwrap().unwrap();
    let record = json!(record);
    assert_eq!(names(&record), ["group", "name", "value"]);
    assert_eq!((&record["group"], &record["name"]), (&json!("connector"), &json!("salesforce")));
    assert_eq!(names(&record["value"]), ["enabled", "encrypted_config"]);
    assert_eq!(record["value"]["enabled"], true);
    let sealed = record["value"]["encrypted_config"].as_str().unwrap();
    assert!(sealed.len() > KEY.len() && !sealed.contains(KEY), "{sealed}");
    for answer in [&saved, &read] {
        assert!(!answer.text.contains(sealed), "not even the ciphertext is returned");
        assert!(!answer.text.contains(KEY));
    }
    let bytes = world.engine.records().store().get("setting/acme/main/salesforce").await.unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&bytes.value).unwrap(), record);
    world.assert_nothing_looked_up(&before).await;
}

#[tokio::test]
async fn an_automation_fires_and_the_third_party_gets_the_key_once_and_the_mapped_body() {
    let (world, acme) = connected().await;
    let automation = acme.automation().await;
    assert_eq!(world.engine.vault().opens(), 0, "saving opens nothing");
    let answer = acme.fire(&automation, json!({ "email": ADA })).await.is(200);
    let received = world.upstream.received();
    assert_eq!(received.len(), 1);
    let request = &received[0];
    assert_eq!(request.line(), "POST /v1/contacts");
    assert_eq!(request.header("authorization"), [format!("Bearer {KEY}")]);
    assert_eq!(request.header("host"), ["api.salesforce.com"]);
    assert_eq!(request.header("content-type"), ["application/json"]);
    assert_eq!(request.header("content-length").len(), 1);
    assert_eq!(request.header("accept-encoding").len(), 1);
    assert_eq!(request.header("user-agent").len(), 1);
    assert_eq!(request.text(), r#"{"Email":"ada@example.org"}"#);
    assert_eq!(request.head.matches(KEY).count(), 1, "{}", request.head);
    assert_eq!((world.engine.vault().opens(), world.dialer.dialed().len()), (1, 1));
    let run = &answer.json;
    assert_eq!(
        names(run),
        [
            "run_id",
            "status",
            "connector_id",
            "action_id",
            "revision",
            "automation_id",
            "output",
            "upstream",
            "request_hash",
            "decisions",
            "usage"
        ]
    );
    assert_eq!((&run["status"], &run["revision"]), (&json!("succeeded"), &json!(1)));
    assert_eq!((&run["connector_id"], &run["action_id"]), (&json!("salesforce"), &json!("create-contact")));
    assert_eq!(run["automation_id"], automation);
    assert_eq!(run["output"], json!({ "id": "003", "success": true }));
    assert_eq!(run["upstream"]["status"], 201);
    assert_eq!(run["upstream"]["body"], run["output"]);
    let decisions = run["decisions"].as_array().unwrap();
    assert!(decisions.contains(&json!({ "check": "https", "verdict": "pass" })), "{decisions:?}");
    let matched = json!({ "check": "connector_domains", "verdict": "pass", "matched": "*.salesforce.com" });
    assert!(decisions.contains(&matched), "{decisions:?}");
    assert!(decisions.iter().all(|d| d["verdict"] == "pass"), "{decisions:?}");
    let usage = ["requests", "retries", "fuel", "memory_peak_bytes", "guest_us", "upstream_us", "total_us"];
    assert_eq!(names(&run["usage"]), usage);
    assert_eq!(run["usage"]["requests"], 1);
    assert!(run["usage"]["fuel"].as_u64().unwrap() > 0 && run["usage"]["total_us"].as_u64().unwrap() > 0);
    let id = run["run_id"].as_str().unwrap();
    let kept = acme.run.get(&format!("/run/acme/main/{id}")).await.is(200);
    assert_eq!(kept.json["status"], "succeeded");
    assert_eq!(kept.json["upstream"], json!({ "status": 201 }), "the third party's data is not kept");
    assert_eq!(kept.json.get("output"), None);
}

#[tokio::test]
async fn a_logic_block_calls_an_action_directly_and_each_call_is_in_the_ledger() {
    let (world, acme) = connected().await;
    for _ in 0..2 {
        acme.create_contact().await.is(200);
    }
    assert_eq!(world.upstream.received().len(), 2);
    assert_eq!(world.engine.vault().opens(), 2, "opened once a request, never kept");
    let ledger = acme.ledger().await;
    assert_eq!(ledger.len(), 2);
    for entry in &ledger {
        assert_eq!(entry["origin"], "https://api.salesforce.com");
        assert_eq!((&entry["path"], &entry["method"]), (&json!("/v1/contacts"), &json!("POST")));
        assert_eq!((&entry["verdict"], &entry["status"]), (&json!("allow"), &json!(201)));
        assert_eq!(entry["matched_connector"], "*.salesforce.com");
    }
    let verified = acme.org.get("/org/acme/outbound/verify").await.is(200);
    assert_eq!((&verified.json["intact"], &verified.json["records"]), (&json!(true), &json!(4)));
}

/// Skipped silently: 200, a reason, a stored run, no ledger entry, nothing opened.
async fn assert_skipped(world: &World, acme: &Tenant, automation: &str, reason: &str) {
    let before = world.before().await;
    let ledger = acme.ledger().await.len();
    for answer in [acme.fire(automation, json!({ "email": ADA })).await, acme.create_contact().await] {
        let answer = answer.is(200);
        assert_eq!(answer.json["status"], "skipped");
        assert_eq!(answer.json["reason"], reason);
        let kept = format!("/run/acme/main/{}", answer.json["run_id"].as_str().unwrap());
        assert_eq!(acme.run.get(&kept).await.is(200).json["reason"], reason);
    }
    assert_eq!(acme.ledger().await.len(), ledger, "a skip is not an attempt to leave");
    world.assert_nothing_looked_up(&before).await;
}

#[tokio::test]
async fn a_workspace_that_never_configured_the_connector_is_silently_skipped() {
    let (world, acme) = World::salesforce().await;
    let automation = acme.automation().await;
    assert_skipped(&world, &acme, &automation, "unconfigured").await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    assert_eq!(acme.create_contact().await.is(200).json["status"], "succeeded");
    acme.workspace.delete(&acme.setting("salesforce")).await.is(204);
    assert_skipped(&world, &acme, &automation, "unconfigured").await;
}

#[tokio::test]
async fn a_workspace_that_opted_out_is_silently_skipped_and_may_come_back() {
    let (world, acme) = connected().await;
    let automation = acme.automation().await;
    let out = acme.workspace.put(&acme.setting("salesforce"), &json!({ "enabled": false })).await.is(200);
    assert_eq!(out.json["state"], "opted_out");
    assert_skipped(&world, &acme, &automation, "opted_out").await;
    acme.workspace.put(&acme.setting("salesforce"), &json!({ "enabled": true })).await.is(200);
    assert_eq!(acme.create_contact().await.is(200).json["status"], "succeeded", "what was saved is kept");
}

#[tokio::test]
async fn the_kill_switch_skips_silently_until_it_is_turned_back() {
    let (world, acme) = connected().await;
    let automation = acme.automation().await;
    world.platform.patch("/admin/connector/salesforce", &json!({ "enabled": false })).await.is(200);
    assert_skipped(&world, &acme, &automation, "connector_disabled").await;
    let picked = acme.org.get("/org/acme/connector").await.is(200);
    assert_eq!(picked.json["data"], json!([]));
    world.platform.patch("/admin/connector/salesforce", &json!({ "enabled": true })).await.is(200);
    assert_eq!(acme.create_contact().await.is(200).json["status"], "succeeded");
}

#[tokio::test]
async fn a_credential_saved_before_a_field_became_required_fails_clearly() {
    let (world, acme) = connected().await;
    let mut definition = salesforce();
    let fields = definition["auth_schema"]["fields"].as_array_mut().unwrap();
    fields.push(json!({ "name": "instance_key", "type": "password", "required": true }));
    world.platform.put("/admin/connector/salesforce", &definition).await.is(200);
    let state = acme.workspace.get(&acme.setting("salesforce")).await.is(200);
    assert_eq!(state.json["state"], "needs_attention");
    let before = world.before().await;
    let answer = acme.create_contact().await.problem(Code::CredentialNeedsAttention);
    assert!(answer.json["detail"].as_str().unwrap().contains("instance_key"), "{}", answer.text);
    world.assert_untouched(&before).await;
    acme.connect("salesforce", json!({ "api_key": KEY, "instance_key": "second-0123456" })).await;
    assert_eq!(acme.create_contact().await.is(200).json["status"], "succeeded");
}

/// Refused by policy before any socket: 403 with the run embedded, and a ledger entry with the code.
async fn assert_refused(world: &World, acme: &Tenant, code: Code, looks_up: bool) {
    let before = world.before().await;
    let answer = acme.create_contact().await.problem(code);
    assert_eq!(answer.json["run"]["status"], "refused");
    assert_eq!(answer.json["run"]["code"], code.as_str());
    let decisions = answer.json["run"]["decisions"].as_array().unwrap();
    assert_eq!(decisions.last().unwrap()["code"], code.as_str(), "{decisions:?}");
    if looks_up {
        world.assert_nothing_left(&before).await;
    } else {
        world.assert_nothing_looked_up(&before).await;
    }
    let entry = &acme.ledger().await[0];
    assert_eq!((&entry["verdict"], &entry["code"]), (&json!("refuse"), &json!(code.as_str())));
    assert_eq!(entry["run_id"], answer.json["run"]["run_id"]);
}

#[tokio::test]
async fn both_lists_must_pass_and_an_empty_org_list_lets_nothing_leave() {
    let (world, acme) = connected().await;
    for refusing in
        [json!([]), json!(["api.hubapi.com"]), json!(["salesforce.com"]), json!(["*.api.salesforce.com"])]
    {
        acme.allow(refusing, "enforce").await;
        assert_refused(&world, &acme, Code::HostNotInOrg, false).await;
    }
    for passing in [json!(null), json!(["api.salesforce.com"]), json!(["api.hubapi.com", "*.salesforce.com"])]
    {
        acme.allow(passing, "enforce").await;
        acme.create_contact().await.is(200);
    }
}

#[tokio::test]
async fn a_reporting_org_list_lets_the_call_pass_and_says_what_it_would_have_refused() {
    let (world, acme) = connected().await;
    acme.allow(json!([]), "report").await;
    let answer = acme.create_contact().await.is(200);
    let decisions = answer.json["decisions"].as_array().unwrap();
    let would = json!({ "check": "org_domains", "verdict": "would_refuse", "code": "host_not_in_org" });
    assert!(decisions.contains(&would), "{decisions:?}");
    assert_eq!(world.upstream.received().len(), 1);
    acme.allow(json!([]), "enforce").await;
    assert_refused(&world, &acme, Code::HostNotInOrg, false).await;
}

#[tokio::test]
async fn a_host_list_of_one_org_binds_no_other_org() {
    let (world, acme) = connected().await;
    let globex = world.tenant("globex", "main").await;
    globex.connect("salesforce", json!({ "api_key": "globex-0123456789" })).await;
    acme.allow(json!([]), "enforce").await;
    assert_refused(&world, &acme, Code::HostNotInOrg, false).await;
    globex.create_contact().await.is(200);
    assert_eq!(world.upstream.received()[0].header("authorization"), ["Bearer globex-0123456789"]);
}

#[tokio::test]
async fn a_name_with_any_forbidden_answer_is_refused_and_one_with_public_answers_only_is_called() {
    let (world, acme) = connected().await;
    for forbidden in [
        vec![PRIVATE],
        vec![PUBLIC, PRIVATE],
        vec![PRIVATE, PUBLIC],
        vec![PUBLIC, PUBLIC_V6, "fd00:ec2::254".parse().unwrap()],
        vec!["127.0.0.1".parse().unwrap()],
        vec!["169.254.169.254".parse().unwrap()],
        vec!["::ffff:10.0.0.5".parse().unwrap()],
        vec!["64:ff9b::a00:5".parse().unwrap()],
    ] {
        world.names.tell("api.salesforce.com", &forbidden);
        assert_refused(&world, &acme, Code::AddressForbidden, true).await;
        let entry = &acme.ledger().await[0];
        assert_eq!(entry["addresses"].as_array().unwrap().len(), forbidden.len(), "all are recorded");
    }
    world.names.tell("api.salesforce.com", &[PUBLIC, PUBLIC_V6]);
    acme.create_contact().await.is(200);
    assert_eq!((world.engine.vault().opens(), world.dialer.dialed().len()), (1, 1));
}

#[tokio::test]
async fn a_refused_address_is_not_told_to_the_caller() {
    let (world, acme) = connected().await;
    world.names.tell("api.salesforce.com", &[PRIVATE]);
    let answer = acme.create_contact().await.problem(Code::AddressForbidden);
    assert!(!answer.text.contains(&PRIVATE.to_string()), "{}", answer.text);
    assert_eq!(acme.ledger().await[0]["addresses"], json!([PRIVATE.to_string()]), "the ledger knows");
}

#[tokio::test]
async fn a_peer_that_was_not_asked_for_is_dropped_before_the_handshake() {
    let (world, acme) = connected().await;
    world.dialer.behave(DialManner::Lying("10.0.0.5:443".parse().unwrap()));
    let answer = acme.create_contact().await.problem(Code::AddressForbidden);
    assert_eq!(answer.json["run"]["status"], "refused");
    assert_eq!((world.engine.vault().opens(), world.upstream.sessions()), (0, 0));
    assert_eq!(world.upstream.received().len(), 0);
    world.dialer.behave(DialManner::Honest);
    acme.create_contact().await.is(200);
    assert_eq!((world.engine.vault().opens(), world.upstream.sessions()), (1, 1));
}

#[tokio::test]
async fn an_error_status_is_502_with_the_run_its_class_and_the_answer() {
    let (world, acme) = connected().await;
    for (status, class, retryable) in [
        (301, "permanent", false),
        (400, "validation", false),
        (401, "auth", false),
        (403, "permission", false),
        (404, "not_found", false),
        (409, "conflict", false),
        (418, "permanent", false),
        (422, "validation", false),
        (429, "rate_limit", true),
        (500, "transient", true),
        (503, "transient", true),
    ] {
        world.upstream.script("/v1/contacts", Script::Json(status, r#"{"message":"no"}"#));
        let answer = acme.create_contact().await.problem(Code::UpstreamStatus);
        let run = &answer.json["run"];
        assert_eq!((&run["status"], &run["class"]), (&json!("failed"), &json!(class)), "{status}");
        assert_eq!(run["retryable"], retryable, "{status}");
        assert_eq!(run["upstream"]["status"], status);
        assert_eq!(run["upstream"]["body"], json!({ "message": "no" }));
        let entry = &acme.ledger().await[0];
        assert_eq!((&entry["verdict"], &entry["status"]), (&json!("allow"), &json!(status)));
    }
    for status in [200, 201, 204] {
        let body = if status == 204 { "" } else { "{}" };
        world.upstream.script("/v1/contacts", Script::Json(status, body));
        assert_eq!(acme.create_contact().await.is(200).json["upstream"]["status"], status);
    }
}

#[tokio::test]
async fn a_source_without_the_mapped_value_is_refused_where_the_action_requires_it() {
    let (world, acme) = connected().await;
    let automation = acme.automation().await;
    let sent = acme.fire(&automation, json!({ "mail": ADA })).await.is(200);
    assert_eq!(sent.json["status"], "succeeded", "an optional input is left out");
    assert_eq!(world.upstream.received()[0].text(), "{}");
    let mut definition = salesforce();
    definition["actions"][0]["body_schema"][0]["required"] = json!(true);
    world.platform.put("/admin/connector/salesforce", &definition).await.is(200);
    let before = world.before().await;
    let answer = acme.fire(&automation, json!({ "mail": ADA })).await.problem(Code::InputInvalid);
    assert_eq!(answer.violations(), [("/input/Email", "missing_input")]);
    world.assert_untouched(&before).await;
    acme.fire(&automation, json!({ "email": ADA })).await.is(200);
}

#[tokio::test]
async fn a_source_value_missing_inside_a_text_is_refused_with_its_pointer() {
    let (world, acme) = connected().await;
    let mut automation = contact_automation();
    automation["destination_config"]["field_mapping"]["Email"] = json!("{{source.user.name}}@example.org");
    let made = acme.org.post("/org/acme/automation", &automation).await.is(201);
    let id = made.json["automation_id"].as_str().unwrap();
    let before = world.before().await;
    let answer = acme.fire(id, json!({ "user": {} })).await.problem(Code::InputInvalid);
    assert_eq!(answer.violations(), [("/source/user/name", "missing_source")]);
    world.assert_untouched(&before).await;
    acme.fire(id, json!({ "user": { "name": "ada" } })).await.is(200);
    assert_eq!(world.upstream.received()[0].text(), r#"{"Email":"ada@example.org"}"#);
}

#[tokio::test]
async fn a_source_value_is_data_and_never_a_template() {
    let (world, acme) = connected().await;
    let automation = acme.automation().await;
    acme.fire(&automation, json!({ "email": "{{cred.api_key}}{{source.x}}" })).await.is(200);
    assert_eq!(world.upstream.received()[0].text(), r#"{"Email":"{{cred.api_key}}{{source.x}}"}"#);
}

#[tokio::test]
async fn an_automation_whose_conditions_do_not_hold_is_silently_skipped() {
    let (world, acme) = connected().await;
    let mut automation = contact_automation();
    automation["entry_conditions"] = json!([{ "path": "/stage", "in": ["won", "lost"] }]);
    let made = acme.org.post("/org/acme/automation", &automation).await.is(201);
    let id = made.json["automation_id"].as_str().unwrap();
    let before = world.before().await;
    for source in [json!({ "email": ADA, "stage": "open" }), json!({ "email": ADA }), json!({})] {
        let answer = acme.fire(id, source).await.is(200);
        assert_eq!(
            (&answer.json["status"], &answer.json["reason"]),
            (&json!("skipped"), &json!("condition_false"))
        );
    }
    world.assert_nothing_looked_up(&before).await;
    let answer = acme.fire(id, json!({ "email": ADA, "stage": "won" })).await.is(200);
    assert_eq!(answer.json["status"], "succeeded");
    automation["entry_conditions"] = json!([{ "path": "stage", "eq": 1 }]);
    let answer = acme.org.post("/org/acme/automation", &automation).await.problem(Code::ValidationFailed);
    assert_eq!(answer.violations(), [("/entry_conditions/0", "condition_invalid")]);
}

#[tokio::test]
async fn what_would_change_whether_a_call_is_sent_is_refused_and_not_ignored() {
    let (world, acme) = connected().await;
    let path = "/run/acme/main/connector/salesforce/create-contact";
    let body = json!({ "input": { "Email": ADA } }).to_string();
    let before = world.before().await;
    let dry = acme.run.write("POST", &format!("{path}?dry_run=perhaps"), body.clone()).await;
    dry.problem(Code::BadRequest);
    world.assert_untouched(&before).await;
    acme.run.write("POST", path, body).await.is(200);
}
