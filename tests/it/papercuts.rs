//! Mistakes that a new user makes, and what each is answered with: what is wrong, where, and how to mend it.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use crate::support::world::contact_automation;
use crate::support::{Answer, PRIVATE, PUBLIC, Script, World, lay, salesforce};

mod command_line;
mod definitions;

const KEY: &str = "sk-live-0123456789abcdef";

/// The sentence of a problem.
fn detail(answer: &Answer) -> &str {
    answer.json["detail"].as_str().unwrap()
}

#[tokio::test]
async fn a_refusal_names_host_and_list_and_the_nearest_entries_to_whoever_may_see_them() {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    let automation = acme.automation().await;
    acme.allow(json!(["*.hubapi.com", "login.salesforce.com"]), "enforce").await;
    let short = "api.salesforce.com is not in the org's domain_allowlist (settings/integrations)";
    let long = format!("{short}; the nearest entries are login.salesforce.com");
    let refused = acme.create_contact().await.problem(Code::HostNotInOrg);
    assert_eq!((detail(&refused), &refused.json["run"]["message"]), (short, &json!(short)));
    assert!(!refused.text.contains("hubapi"), "a run token is no reader of the org's list");
    let run = format!("/run/acme/main/{}", refused.json["run"]["run_id"].as_str().unwrap());
    assert_eq!(acme.org.get(&run).await.is(200).json["message"], long);
    assert_eq!(acme.run.get(&run).await.is(200).json["message"], short);
    assert_eq!(acme.workspace.get(&run).await.is(200).json["message"], short);
    let preview = format!("/org/acme/automation/{automation}/preview");
    let wish = json!({ "source": { "email": "ada@example.org" }, "workspace": "main" });
    let shown = acme.org.post(&preview, &wish).await.is(200);
    assert_eq!(shown.json["problem"]["message"], long, "{}", shown.text);
    acme.allow(Value::Null, "enforce").await;
    assert_eq!(acme.org.post(&preview, &wish).await.is(200).json.get("problem"), None);
    // Before any call: one that has succeeded leaves a connection that needs no address.
    world.names.tell("api.salesforce.com", &[PRIVATE]);
    let refused = acme.create_contact().await.problem(Code::AddressForbidden);
    assert!(detail(&refused).starts_with("api.salesforce.com: "), "{}", refused.text);
    world.names.tell("api.salesforce.com", &[PUBLIC]);
    acme.create_contact().await.is(200);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_named() {
    let (world, acme) = World::salesforce().await;
    let mut far = salesforce();
    lay(&mut far, &json!({ "connector_id": "far", "retry": { "max_attempts": 1 } }));
    far["actions"][0]["url_template"] = json!("https://nowhere.salesforce.com/v1/contacts");
    world.platform.post("/admin/connector", &far).await.is(201);
    acme.connect("far", json!({ "api_key": KEY })).await;
    let failed = acme.call("far", "create-contact", json!({ "Email": "a@example.org" })).await;
    let failed = failed.problem(Code::DnsFailed);
    assert!(detail(&failed).starts_with("nowhere.salesforce.com: "), "{}", failed.text);
}

#[tokio::test]
async fn a_skipped_call_says_so_in_a_header() {
    let (_world, acme) = World::salesforce().await;
    let skipped = acme.create_contact().await.is(200);
    assert_eq!(skipped.header("portcullis-skipped"), Some("unconfigured"));
    acme.workspace.put(&acme.setting("salesforce"), &json!({ "enabled": false })).await.is(200);
    let keyed = [("content-type", "application/json"), ("idempotency-key", "once")];
    for replayed in [None, Some("true")] {
        let path = "/run/acme/main/connector/salesforce/create-contact";
        let body = br#"{"input":{"Email":"ada@example.org"}}"#.to_vec();
        let answer = acme.run.send("POST", path, &keyed, body).await.is(200);
        assert_eq!(answer.header("portcullis-skipped"), Some("opted_out"));
        assert_eq!(answer.header("idempotency-replayed"), replayed);
    }
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    let sent = acme.create_contact().await.is(200);
    assert_eq!((&sent.json["status"], sent.header("portcullis-skipped")), (&json!("succeeded"), None));
}

#[tokio::test]
async fn a_connector_that_was_read_is_told_how_it_is_put_back() {
    let (world, _) = World::salesforce().await;
    let path = "/admin/connector/salesforce";
    let read = world.platform.get(path).await.is(200);
    let before = world.before().await;
    let refused = world.platform.put(path, &read.json).await.problem(Code::ValidationFailed);
    assert_eq!(refused.violations(), [("/definition", "send_definition")]);
    assert!(refused.messages().contains("send the value of its \"definition\""), "{}", refused.text);
    world.platform.post("/admin/connector", &read.json).await.problem(Code::ValidationFailed);
    world.assert_untouched(&before).await;
    world.platform.put(path, &read.json["definition"]).await.is(200);
}

#[tokio::test]
async fn a_run_without_a_body_is_told_what_to_send() {
    let (_, acme) = World::salesforce().await;
    for (path, body) in [
        ("/run/acme/main/connector/salesforce/create-contact", r#"{"input": {}}"#),
        ("/run/acme/main/automation/auto_1", r#"{"source": {}}"#),
    ] {
        let answer = acme.run.write("POST", path, "").await;
        if answer.json["code"] != "automation_not_found" {
            assert_eq!(detail(&answer), format!("the body is empty; send {body}"));
            answer.problem(Code::BadJson);
        }
    }
    let answer = acme.org.write("POST", "/org/acme/automation", "").await.problem(Code::BadJson);
    assert_eq!(detail(&answer), "the body is empty; send a JSON object");
}

#[tokio::test]
async fn an_unknown_id_or_route_is_told_the_nearest() {
    let (world, acme) = World::salesforce().await;
    let input = json!({ "Email": "ada@example.org" });
    let missing =
        acme.call("salesforc", "create-contact", input.clone()).await.problem(Code::ConnectorNotFound);
    assert_eq!(detail(&missing), "there is no connector \"salesforc\"; did you mean \"salesforce\"?");
    let missing = acme.call("salesforce", "create-contct", input.clone()).await.problem(Code::ActionNotFound);
    assert_eq!(
        detail(&missing),
        "the connector has no action \"create-contct\"; did you mean \"create-contact\"?"
    );
    let missing = acme.workspace.get(&acme.setting("salesforze")).await.problem(Code::ConnectorNotFound);
    assert!(detail(&missing).ends_with("did you mean \"salesforce\"?"), "{}", missing.text);
    let far = acme.call("github", "create-contact", input.clone()).await.problem(Code::ConnectorNotFound);
    assert_eq!(detail(&far), "there is no connector \"github\"");
    let mut automation = contact_automation();
    automation["destination_config"]["action_id"] = json!("createContact");
    let refused = acme.org.post("/org/acme/automation", &automation).await.problem(Code::ValidationFailed);
    assert!(refused.messages().contains("did you mean \"create-contact\"?"), "{}", refused.text);
    // A draft is nobody's but the platform's.
    let mut draft = salesforce();
    lay(&mut draft, &json!({ "connector_id": "hubspot", "status": "draft" }));
    world.platform.post("/admin/connector", &draft).await.is(201);
    let missing = acme.call("hubspt", "create-contact", input).await.problem(Code::ConnectorNotFound);
    assert_eq!(detail(&missing), "there is no connector \"hubspt\"");
    let missing = world.platform.get("/admin/connector/hubspt").await.problem(Code::ConnectorNotFound);
    assert!(detail(&missing).ends_with("did you mean \"hubspot\"?"), "{}", missing.text);
    for (path, near) in [
        ("/admin/connectors", Some("/admin/connector")),
        ("/admin/connector/", Some("/admin/connector")),
        ("/workspace/acme/main/setting/connector/x", Some("/workspace/{org}/{ws}/settings/connector/{id}")),
        ("/something/else", None),
    ] {
        let missing = world.platform.get(path).await.problem(Code::NotFound);
        let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        assert!(detail(&missing).starts_with(&format!("there is no such route{hint}")), "{}", missing.text);
    }
    let wrong = world.platform.delete("/admin/connector").await.problem(Code::MethodNotAllowed);
    assert_eq!(detail(&wrong), "this path takes POST, GET");
}

#[tokio::test]
async fn a_time_that_is_none_and_a_tag_without_quotes_are_refused() {
    let (world, acme) = World::salesforce().await;
    for path in ["/run/acme/main", "/org/acme/run", "/org/acme/outbound"] {
        let refused = acme.org.get(&format!("{path}?since=yesterday")).await.problem(Code::BadRequest);
        assert!(detail(&refused).contains("since"), "{path}: {}", refused.text);
        acme.org.get(&format!("{path}?since=2026-01-01T00:00:00Z")).await.is(200);
    }
    let before = world.before().await;
    let off = || br#"{"enabled":false}"#.to_vec();
    let plain = [("if-match", "1"), ("content-type", "application/json")];
    let refused = world.platform.send("PATCH", "/admin/connector/salesforce", &plain, off()).await;
    let refused = refused.problem(Code::BadRequest);
    assert!(detail(&refused).contains("in quotes, such as \"3\""), "{}", refused.text);
    world.assert_untouched(&before).await;
    let quoted = [("if-match", "\"1\""), ("content-type", "application/json")];
    world.platform.send("PATCH", "/admin/connector/salesforce", &quoted, off()).await.is(200);
}

#[tokio::test]
async fn a_value_that_breaks_its_pattern_is_told_what_is_wrong_and_how_long_it_is() {
    let (world, acme) = World::salesforce().await;
    let mut definition = salesforce();
    definition["connector_id"] = json!("keyed");
    let field = &mut definition["auth_schema"]["fields"][0];
    lay(field, &json!({ "pattern": "sk-[a-z0-9]{20}", "pattern_message": "begins with sk-" }));
    world.platform.post("/admin/connector", &definition).await.is(201);
    let wish = json!({ "config": { "api_key": "sk-canary" } });
    let refused = acme.workspace.put(&acme.setting("keyed"), &wish).await.problem(Code::ValidationFailed);
    let told = "api_key: begins with sk- (it has 9 characters and must match sk-[a-z0-9]{20})";
    assert_eq!(refused.messages(), told);
    assert!(!refused.text.contains("canary"), "{}", refused.text);
}

/// A connector with a test, a read and a write, whose error rule says where the vendor's words are.
fn worded() -> Value {
    let url = |path: &str| format!("https://api.salesforce.com{path}");
    json!({
        "connector_id": "worded", "display_name": "Worded", "auth_type": "api_key",
        "auth_schema": { "fields": [{ "name": "api_key", "type": "password", "required": true }] },
        "allowed_domains": ["*.salesforce.com"], "enabled": true, "retry": { "max_attempts": 1 },
        "errors": [{ "when": { "status": [401] }, "class": "auth", "message_path": "/message" }],
        "actions": [
            { "action_id": "list", "http_method": "GET", "url_template": url("/v1/list") },
            { "action_id": "make", "http_method": "POST", "url_template": url("/v1/make") },
        ],
        "test": { "request": { "action_id": "check", "http_method": "GET", "url_template": url("/v1/check") } },
    })
}

#[tokio::test]
async fn a_failed_test_has_the_vendors_words_without_the_key() {
    let (world, acme) = World::salesforce().await;
    world.platform.post("/admin/connector", &worded()).await.is(201);
    acme.connect("worded", json!({ "api_key": KEY })).await;
    let body = json!({ "message": format!("the key {KEY} was revoked on Monday") });
    world.upstream.script("/v1/check", Script::json(401, &body));
    let path = format!("{}/test", acme.setting("worded"));
    let tried = acme.workspace.write("POST", &path, "").await.is(200);
    assert_eq!((&tried.json["ok"], &tried.json["status"]), (&json!(false), &json!(401)));
    let message = tried.json["message"].as_str().unwrap();
    assert!(message.contains("was revoked on Monday") && !tried.text.contains(KEY), "{}", tried.text);
}

#[tokio::test]
async fn a_request_that_may_have_been_carried_out_is_called_so() {
    let (world, acme) = World::salesforce().await;
    world.platform.post("/admin/connector", &worded()).await.is(201);
    acme.connect("worded", json!({ "api_key": KEY })).await;
    for path in ["/v1/list", "/v1/make"] {
        world.upstream.script(path, Script::Json(500, "{}"));
    }
    let unsure = "it may have been carried out";
    let made = acme.call("worded", "make", json!({})).await.problem(Code::UpstreamStatus);
    assert!(detail(&made).contains(unsure), "{}", made.text);
    let listed = acme.call("worded", "list", json!({})).await.problem(Code::UpstreamStatus);
    assert!(!listed.text.contains(unsure), "a read does no harm: {}", listed.text);
    world.upstream.script("/v1/make", Script::Json(400, "{}"));
    let refused = acme.call("worded", "make", json!({})).await.problem(Code::UpstreamStatus);
    assert!(!refused.text.contains(unsure), "it was refused: {}", refused.text);
}

#[tokio::test]
async fn a_consent_of_another_method_is_told_which_to_choose() {
    let (world, acme) = World::salesforce().await;
    let mut definition = worded();
    definition["auth_methods"] = json!([{
        "id": "oauth", "auth_type": "oauth2_authorization_code",
        "auth": { "authorize_url": "https://login.salesforce.com/authorize",
                  "token_url": "https://login.salesforce.com/token" },
        "fields": [{ "name": "client_id", "required": true }, { "name": "client_secret", "required": true }],
    }]);
    world.platform.post("/admin/connector", &definition).await.is(201);
    acme.connect("worded", json!({ "api_key": KEY })).await;
    let start = format!("{}/oauth/start", acme.setting("worded"));
    let refused = acme.workspace.write("POST", &start, "").await.problem(Code::BadRequest);
    let told = "the chosen auth_method \"default\" asks nobody for consent; choose one that does, by saving its form: oauth";
    assert_eq!(detail(&refused), told);
    let wish =
        json!({ "auth_method": "oauth", "config": { "client_id": "c", "client_secret": "s-0123456789" } });
    acme.workspace.put(&acme.setting("worded"), &wish).await.is(200);
    acme.workspace.write("POST", &start, "").await.is(200);
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    let start = format!("{}/oauth/start", acme.setting("salesforce"));
    let refused = acme.workspace.write("POST", &start, "").await.problem(Code::BadRequest);
    assert_eq!(detail(&refused), "this connector's auth_type needs no consent");
}
