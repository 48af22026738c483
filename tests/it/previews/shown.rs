//! What a preview shows, and that it sends and keeps nothing.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::{DRAFT, KEY, automation, connected, mapping, preview, saved};
use crate::support::{World, lay, salesforce};

#[tokio::test]
async fn a_preview_shows_conditions_input_and_the_request_that_the_call_would_send() {
    let (world, acme) = connected().await;
    let conditions = json!([
        { "path": "/stage", "eq": "won" },
        { "any": [{ "path": "/amount", "gt": 5 }, { "not": { "path": "/tags/*", "eq": "vip" } }] },
    ]);
    let written = automation(&json!({ "entry_conditions": conditions }));
    let id = saved(&acme, &written).await;
    let source = json!({ "email": "ada@example.org", "stage": "won", "amount": 7, "tags": ["vip"] });
    let before = world.before().await;
    let body = json!({ "source": source, "workspace": "main" });
    let shown = preview(&acme, &id, &body).await.is(200).json;
    let body = json!({ "automation": written, "source": source, "workspace": "main" });
    let draft = acme.org.post(DRAFT, &body).await.is(200).json;
    world.assert_untouched(&before).await;
    assert_eq!(
        shown["conditions"],
        json!([
            { "path": "/stage", "verdict": "holds", "test": "eq", "pointer": "/0" },
            { "path": "/amount", "verdict": "holds", "test": "gt", "pointer": "/1/any/0" },
            { "path": "/tags/*", "verdict": "holds", "test": "eq", "pointer": "/1/any/1/not" },
        ])
    );
    assert_eq!((&shown["fires"], &shown["input"]), (&json!(true), &json!({ "Email": "ada@example.org" })));
    assert_eq!(shown["request"]["url"], "https://api.salesforce.com/v1/contacts");
    assert_eq!(shown["request"]["headers"]["authorization"], "Bearer <credential api_key>");
    assert_eq!(shown["decisions"].as_array().unwrap().last().unwrap()["verdict"], "pass");
    for member in ["conditions", "fires", "input", "request", "request_hash", "decisions"] {
        assert_eq!(draft[member], shown[member], "{member}");
    }
    let path = format!("/run/acme/main/automation/{id}?dry_run=true");
    let dry = acme.run.post(&path, &json!({ "source": source })).await.is(200);
    assert_eq!(
        (&dry.json["request"], &dry.json["request_hash"]),
        (&shown["request"], &shown["request_hash"])
    );
    assert_eq!(acme.run.get("/run/acme/main").await.is(200).json["data"], json!([]), "no run");
    assert_eq!(acme.ledger().await.len(), 0, "no record");
    let real = acme.fire(&id, source).await.is(200);
    assert_eq!(real.json["request_hash"], shown["request_hash"]);
}

#[tokio::test]
async fn an_automation_that_would_not_fire_is_shown_with_its_request_all_the_same() {
    let (_world, acme) = connected().await;
    let body = json!({ "source": { "email": "ada@example.org", "stage": "open" } });
    let written = automation(&json!({ "entry_conditions": [{ "path": "/stage", "eq": "won" }] }));
    let shown = preview(&acme, &saved(&acme, &written).await, &body).await.is(200).json;
    assert_eq!((&shown["fires"], &shown["conditions"][0]["verdict"]), (&json!(false), &json!("fails")));
    assert_eq!(shown["request"]["method"], "POST");
    let off = saved(&acme, &automation(&json!({ "enabled": false }))).await;
    let shown = preview(&acme, &off, &body).await.is(200).json;
    assert_eq!((&shown["fires"], &shown["conditions"]), (&json!(false), &json!([])));
}

#[tokio::test]
async fn a_mapping_error_is_shown_with_the_path_in_the_source_beside_the_conditions() {
    let (world, acme) = connected().await;
    let email = json!({ "each": "source.lines", "as": "line", "value": "{{line.sku}}!" });
    let mut written = mapping(json!({ "Email": email }));
    written["entry_conditions"] = json!({ "path": "/lines/*", "exists": true });
    let before = world.before().await;
    let source = json!({ "lines": [{ "sku": "a" }, { "sku": "b" }, {}] });
    let body = json!({ "automation": written, "source": source });
    let shown = acme.org.post(DRAFT, &body).await.is(200).json;
    assert_eq!(shown["problem"]["code"], "input_invalid");
    let error = &shown["problem"]["errors"][0];
    assert_eq!(
        (&error["pointer"], &error["code"]),
        (&json!("/source/lines/2/sku"), &json!("missing_source"))
    );
    assert!(error["message"].as_str().unwrap().contains("source.lines.2.sku"), "{error}");
    assert_eq!(shown["conditions"][0]["verdict"], "holds");
    assert_eq!((shown.get("input"), shown.get("request")), (None, None));
    world.assert_untouched(&before).await;
    let written = mapping(json!({ "Email": "{{source.email}}" }));
    let wrong = json!({ "automation": written, "source": { "email": { "a": 1 } }, "workspace": "main" });
    let shown = acme.org.post(DRAFT, &wrong).await.is(200).json;
    assert_eq!(shown["problem"]["errors"][0]["pointer"], "/input/Email", "{shown}");
    assert_eq!(shown["input"], json!({ "Email": { "a": 1 } }));
}

/// The Salesforce example where a workspace says where it is.
fn placed() -> Value {
    let mut definition = salesforce();
    definition["config_fields"] = json!([
        { "name": "region", "label": "Region", "required": true },
        { "name": "book", "label": "Book", "required": true },
    ]);
    let action = &mut definition["actions"][0];
    action["url_template"] = json!("https://{{config.region}}.salesforce.com/v1/{{config.book}}/contacts");
    action["body_schema"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "Pin", "label": "Pin", "sensitive": true }));
    definition
}

#[tokio::test]
async fn without_a_workspace_what_it_would_give_is_shown_by_its_name() {
    let world = World::start().await;
    world.platform.post("/admin/connector", &placed()).await.is(201);
    let acme = world.tenant("acme", "main").await;
    let written = mapping(json!({ "Email": "{{source.email}}", "Pin": "{{source.pin}}" }));
    let id = saved(&acme, &written).await;
    let source = json!({ "email": "ada@example.org", "pin": "4711-0815" });
    let before = world.before().await;
    let shown = preview(&acme, &id, &json!({ "source": source })).await.is(200);
    world.assert_untouched(&before).await;
    let request = &shown.json["request"];
    assert_eq!(request["url"], "https://<config region>.salesforce.com/v1/<config book>/contacts");
    assert_eq!(request["headers"]["authorization"], "Bearer <credential api_key>");
    assert_eq!(request["body"], json!({ "Email": "ada@example.org", "Pin": "<input Pin>" }));
    assert_eq!(shown.json["input"]["Pin"], "<input Pin>");
    assert!(!shown.text.contains("4711-0815") && !shown.text.contains("pcconfig"), "{}", shown.text);
    let here = json!({ "source": source, "workspace": "main" });
    assert_eq!(preview(&acme, &id, &here).await.is(200).json["reason"], "unconfigured");
    acme.connect("salesforce", json!({ "api_key": KEY, "region": "api", "book": "b 1" })).await;
    let shown = preview(&acme, &id, &here).await.is(200).json;
    assert_eq!(shown["request"]["url"], "https://api.salesforce.com/v1/b%201/contacts");
}

#[tokio::test]
async fn a_host_that_a_workspace_chooses_whole_is_shown_by_its_name() {
    let world = World::start().await;
    let mut definition = salesforce();
    let hosts = json!([{ "value": "eu.salesforce.com" }, { "value": "api.salesforce.com" }]);
    definition["config_fields"] =
        json!([{ "name": "host", "type": "select", "required": true, "enum": hosts }]);
    definition["base_url"] = json!("https://{{config.host}}/v1");
    definition["allowed_domains"] = json!(["eu.salesforce.com", "api.salesforce.com"]);
    definition["actions"][0]["url_template"] = json!("/contacts");
    world.platform.post("/admin/connector", &definition).await.is(201);
    let acme = world.tenant("acme", "main").await;
    let id = saved(&acme, &automation(&json!({}))).await;
    let body = json!({ "source": { "email": "a@b.c" } });
    let shown = preview(&acme, &id, &body).await.is(200).json;
    assert_eq!(shown["request"]["url"], "https://<config host>/v1/contacts", "{shown}");
    acme.allow(json!(["api.hubapi.com"]), "enforce").await;
    assert_eq!(preview(&acme, &id, &body).await.is(200).json["problem"]["code"], "host_not_in_org");
}

#[tokio::test]
async fn a_preview_says_why_a_call_would_be_skipped_or_refused_and_records_nothing() {
    let (world, acme) = connected().await;
    let id = saved(&acme, &automation(&json!({}))).await;
    let bodies = [
        json!({ "source": { "email": "a@b.c" }, "workspace": "main" }),
        json!({ "source": { "email": "a@b.c" } }),
    ];
    acme.allow(json!([]), "enforce").await;
    for body in &bodies {
        let shown = preview(&acme, &id, body).await.is(200).json;
        assert_eq!(shown["problem"]["code"], "host_not_in_org", "{shown}");
        let decisions = shown["decisions"].as_array().unwrap();
        assert_eq!(decisions.last().unwrap()["verdict"], "refuse", "{shown}");
        assert_eq!(shown.get("request"), None);
    }
    assert_eq!(acme.ledger().await.len(), 0);
    acme.allow(json!(null), "enforce").await;
    world.platform.patch("/admin/connector/salesforce", &json!({ "enabled": false })).await.is(200);
    for body in &bodies {
        assert_eq!(preview(&acme, &id, body).await.is(200).json["reason"], "connector_disabled");
    }
    world.platform.patch("/admin/connector/salesforce", &json!({ "enabled": true })).await.is(200);
    acme.workspace.put(&acme.setting("salesforce"), &json!({ "enabled": false })).await.is(200);
    assert_eq!(preview(&acme, &id, &bodies[0]).await.is(200).json["reason"], "opted_out");
    assert!(preview(&acme, &id, &bodies[1]).await.is(200).json["request"].is_object());
}

#[tokio::test]
async fn a_preview_is_an_org_token_s_and_reaches_no_other_org() {
    let (world, acme) = connected().await;
    let globex = world.tenant("globex", "other").await;
    let id = saved(&acme, &automation(&json!({}))).await;
    let body = json!({ "source": { "email": "a@b.c" } });
    let path = format!("/org/acme/automation/{id}/preview");
    globex.org.post(&path, &body).await.problem(Code::OrgNotFound);
    for other in [&acme.run, &acme.workspace, &world.platform] {
        other.post(&path, &body).await.problem(Code::RoleNotAllowed);
    }
    let elsewhere = json!({ "source": {}, "workspace": "other" });
    acme.org.post(&path, &elsewhere).await.problem(Code::WorkspaceNotFound);
    let own = format!("/org/globex/automation/{id}/preview");
    globex.org.post(&own, &body).await.problem(Code::AutomationNotFound);
    preview(&acme, "auto_none", &body).await.problem(Code::AutomationNotFound);
    acme.org.post(&path, &body).await.is(200);
}

#[tokio::test]
async fn a_draft_that_could_not_be_saved_is_refused_with_where_it_is_wrong() {
    let (_world, acme) = connected().await;
    let refused = async |members: Value| {
        let mut body = json!({ "automation": automation(&json!({})), "source": {} });
        lay(&mut body, &members);
        let answer = acme.org.post(DRAFT, &body).await.problem(Code::ValidationFailed);
        answer.violations()[0].0.to_owned()
    };
    let mapped = json!({ "destination_config": { "field_mapping": { "Nope": 1 } } });
    let pointer = "/automation/destination_config/field_mapping/Nope";
    assert_eq!(refused(json!({ "automation": mapped })).await, pointer);
    let unknown = json!({ "automation": { "event_satge": "after" } });
    assert_eq!(refused(unknown).await, "/automation/event_satge");
    assert_eq!(refused(json!({ "surce": {} })).await, "/surce");
    assert_eq!(refused(json!({ "source": [] })).await, "/source");
    acme.org.post(DRAFT, &json!({ "automation": automation(&json!({})), "source": {} })).await.is(200);
}
