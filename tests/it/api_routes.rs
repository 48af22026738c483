//! The rest of the routes: tenants, tokens, connectors over their life, lists, and what is open to
//! all. Together with the other files every route of the table is asked here.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use crate::support::world::contact_automation;
use crate::support::{World, salesforce};

const KEY: &str = "sk-live-0123456789abcdef";

fn ids<'a>(list: &'a Value, name: &str) -> Vec<&'a str> {
    list["data"].as_array().unwrap().iter().map(|entry| entry[name].as_str().unwrap()).collect()
}

#[tokio::test]
async fn health_readiness_and_the_api_document_are_open_to_all() {
    let world = World::start().await;
    let anyone = world.platform.anonymous();
    assert_eq!(anyone.get("/healthz").await.is(200).json["status"], "ok");
    assert_eq!(anyone.get("/readyz").await.is(200).json["ready"], true);
    let document = anyone.get("/openapi.json").await.is(200);
    assert_eq!(document.json["openapi"], "3.1.0");
    assert_eq!(document.header("x-content-type-options"), Some("nosniff"));
    world.api.drain();
    assert_eq!(anyone.get("/readyz").await.is(503).json["draining"], true);
    anyone.get("/healthz").await.is(200);
}

#[tokio::test]
async fn orgs_and_workspaces_are_made_read_listed_and_deleted_in_order() {
    let world = World::start().await;
    let admin = &world.platform;
    let made = admin.post("/admin/org", &json!({ "org": "acme", "display_name": "Acme" })).await.is(201);
    assert_eq!(made.header("location"), Some("/admin/org/acme"));
    admin.post("/admin/org", &json!({ "org": "acme" })).await.problem(Code::AlreadyExists);
    let bad = admin.post("/admin/org", &json!({})).await.problem(Code::ValidationFailed);
    assert_eq!(bad.violations(), [("/org", "missing_field")]);
    for workspace in ["main", "side"] {
        admin.post("/admin/org/acme/workspace", &json!({ "workspace": workspace })).await.is(201);
    }
    let again = admin.post("/admin/org/acme/workspace", &json!({ "workspace": "main" })).await;
    again.problem(Code::AlreadyExists);
    admin
        .post("/admin/org/nowhere/workspace", &json!({ "workspace": "main" }))
        .await
        .problem(Code::OrgNotFound);
    assert_eq!(ids(&admin.get("/admin/org").await.is(200).json, "org"), ["acme"]);
    assert_eq!(admin.get("/admin/org/acme").await.is(200).json["display_name"], "Acme");
    let listed = admin.get("/admin/org/acme/workspace").await.is(200);
    assert_eq!(ids(&listed.json, "workspace"), ["main", "side"]);
    admin.get("/admin/org/acme/workspace/main").await.is(200);
    admin.delete("/admin/org/acme").await.problem(Code::InUse);
    for workspace in ["main", "side"] {
        admin.delete(&format!("/admin/org/acme/workspace/{workspace}")).await.is(204);
    }
    admin.delete("/admin/org/acme").await.is(204);
    admin.get("/admin/org/acme").await.problem(Code::OrgNotFound);
}

#[tokio::test]
async fn a_deleted_workspace_takes_its_credentials_and_tokens_with_it() {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    world.platform.delete("/admin/org/acme/workspace/main").await.is(204);
    acme.run.get("/run/acme/main").await.problem(Code::Unauthorized);
    acme.workspace.get(&acme.setting("salesforce")).await.problem(Code::Unauthorized);
    let again = world.tenant("acme", "main").await;
    let before = world.before().await;
    assert_eq!(again.create_contact().await.is(200).json["reason"], "unconfigured");
    world.assert_nothing_looked_up(&before).await;
    again.connect("salesforce", json!({ "api_key": KEY })).await;
    assert_eq!(again.create_contact().await.is(200).json["status"], "succeeded");
}

#[tokio::test]
async fn tokens_are_shown_once_listed_without_their_secret_and_scoped_by_role() {
    let (world, acme) = World::salesforce().await;
    let made = acme.org.post("/admin/token", &json!({ "role": "run", "org": "acme", "label": "ci" })).await;
    let made = made.is(201);
    let secret = made.json["token"].as_str().unwrap();
    assert!(secret.starts_with("pc_run_"), "{secret}");
    let own = acme.org.get("/admin/token").await.is(200);
    assert!(own.json["data"].as_array().unwrap().iter().all(|t| t["org"] == "acme"), "{}", own.text);
    assert!(own.text.contains("\"ci\"") && !own.text.contains(secret));
    assert!(!own.text.contains("hash"), "{}", own.text);
    let foreign = acme.org.post("/admin/token", &json!({ "role": "run", "org": "globex" })).await;
    assert_eq!(foreign.problem(Code::OrgNotFound).json["pointer"], "/org");
    for (body, violations) in [
        (json!({}), vec![("/role", "missing_field")]),
        (json!({ "role": "root" }), vec![("/role", "not_in_list")]),
        (json!({ "role": "run" }), vec![("/org", "scope")]),
        (json!({ "role": "workspace", "org": "acme" }), vec![("/workspace", "scope")]),
        (json!({ "role": "platform", "org": "acme" }), vec![("/org", "scope")]),
        (json!({ "role": "org", "org": "A" }), vec![("/org", "wrong_form")]),
        (
            json!({ "role": "platform", "expires_at": "2001-01-01T00:00:00Z" }),
            vec![("/expires_at", "wrong_form")],
        ),
        (json!({ "role": "platform", "label": 5 }), vec![("/label", "wrong_type")]),
    ] {
        let before = world.before().await;
        let answer = world.platform.post("/admin/token", &body).await.problem(Code::ValidationFailed);
        assert_eq!(answer.violations(), violations, "{body}");
        world.assert_untouched(&before).await;
    }
    let run = world.platform.with_token(secret);
    run.get("/run/acme/main").await.is(200);
    let id = made.json["token_id"].as_str().unwrap();
    let globex = world.tenant("globex", "main").await;
    globex.org.delete(&format!("/admin/token/{id}")).await.problem(Code::NotFound);
    run.get("/run/acme/main").await.is(200);
    acme.org.delete(&format!("/admin/token/{id}")).await.is(204);
    run.get("/run/acme/main").await.problem(Code::Unauthorized);
}

#[tokio::test]
async fn a_connector_is_replaced_patched_and_every_revision_is_kept() {
    let (world, acme) = World::salesforce().await;
    let admin = &world.platform;
    acme.automation().await;
    let mut renamed = salesforce();
    renamed["actions"][0]["body_schema"][0]["name"] = json!("Mail");
    let replaced = admin.put("/admin/connector/salesforce", &renamed).await.is(200);
    assert_eq!(replaced.json["revision"], 2);
    assert_eq!(replaced.json["impact"][0]["inputs_gone"], json!(["Email"]));
    let patched = admin.patch("/admin/connector/salesforce", &json!({ "display_name": "SF" })).await.is(200);
    assert_eq!(
        (&patched.json["revision"], &patched.json["definition"]["display_name"]),
        (&json!(3), &json!("SF"))
    );
    let stale = [("if-match", "\"2\""), ("content-type", "application/json")];
    let body = json!({ "enabled": false }).to_string().into_bytes();
    let before = world.before().await;
    let answer = admin.send("PATCH", "/admin/connector/salesforce", &stale, body.clone()).await;
    answer.problem(Code::RevisionMismatch);
    let other = json!({ "connector_id": "other" });
    let answer = admin.patch("/admin/connector/salesforce", &other).await.problem(Code::ValidationFailed);
    assert_eq!(answer.violations(), [("/connector_id", "connector_id_changed")]);
    admin.put("/admin/connector/nowhere", &salesforce()).await.problem(Code::ConnectorNotFound);
    world.assert_untouched(&before).await;
    let fresh = [("if-match", "\"3\""), ("content-type", "application/json")];
    admin.send("PATCH", "/admin/connector/salesforce", &fresh, body).await.is(200);
    let revisions = admin.get("/admin/connector/salesforce/revisions").await.is(200);
    let numbers: Vec<_> = revisions.json["data"].as_array().unwrap().iter().map(|r| &r["revision"]).collect();
    assert_eq!(numbers, [&json!(1), &json!(2), &json!(3), &json!(4)]);
    let first = admin.get("/admin/connector/salesforce/revisions/1").await.is(200);
    assert_eq!(first.json["definition"], salesforce());
    admin.get("/admin/connector/salesforce/revisions/9").await.problem(Code::NotFound);
}

#[tokio::test]
async fn a_connector_in_use_is_deleted_only_by_force_and_takes_what_used_it() {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    let automation = acme.automation().await;
    let admin = &world.platform;
    let answer = admin.delete("/admin/connector/salesforce").await.problem(Code::InUse);
    let detail = answer.json["detail"].as_str().unwrap();
    assert!(detail.contains("1 saved connections, 1 automations and 0 OAuth clients of orgs"), "{detail}");
    admin.delete("/admin/connector/salesforce?force=true").await.is(204);
    admin.get("/admin/connector/salesforce").await.problem(Code::ConnectorNotFound);
    acme.org.get(&format!("/org/acme/automation/{automation}")).await.problem(Code::AutomationNotFound);
    acme.create_contact().await.problem(Code::ConnectorNotFound);
    admin.post("/admin/connector", &salesforce()).await.is(201);
    assert_eq!(acme.create_contact().await.is(200).json["reason"], "unconfigured", "the old key is gone");
    admin.delete("/admin/connector/salesforce").await.is(204);
}

#[tokio::test]
async fn validating_says_what_an_upload_would_say_and_saves_nothing() {
    let world = World::start().await;
    let before = world.before().await;
    let mut wide = salesforce();
    wide["allowed_domains"] = json!(["*.salesforce.com", "*.eu.amazonaws.com"]);
    let report = world.platform.post("/admin/connector/validate", &wide).await.is(200);
    assert_eq!(report.json["valid"], true, "{}", report.text);
    assert_eq!(report.json["warnings"][0]["code"], "allowed_domain_shared_hosting");
    wide["allowed_domains"] = json!(["*"]);
    let report = world.platform.post("/admin/connector/validate", &wide).await.is(200);
    assert_eq!(report.json["valid"], false);
    assert_eq!(report.json["errors"][0]["pointer"], "/allowed_domains/0");
    world.assert_untouched(&before).await;
}

#[tokio::test]
async fn an_org_picks_from_enabled_connectors_and_sees_inputs_but_no_auth() {
    let (_world, acme) = World::salesforce().await;
    let picked = acme.org.get("/org/acme/connector").await.is(200);
    let entry = &picked.json["data"][0];
    assert_eq!(entry["connector_id"], "salesforce");
    assert_eq!(entry["actions"][0]["inputs"][0]["name"], "Email");
    assert!(!picked.text.contains("api_key") && !picked.text.contains("auth"), "{}", picked.text);
    let listed = acme.workspace.get("/workspace/acme/main/settings/connector").await.is(200);
    assert_eq!(listed.json["data"][0]["state"], "unconfigured");
    assert_eq!(listed.json["data"][0]["form"][0]["name"], "api_key");
    assert_eq!(listed.json["data"][0]["form"][0]["secret"], true);
}

#[tokio::test]
async fn an_orgs_list_is_checked_entry_by_entry_and_kept_as_written() {
    let (world, acme) = World::salesforce().await;
    let path = "/org/acme/settings/integrations";
    let open = json!({
        "domain_allowlist": null, "mode": "enforce", "connectors": { "mode": "all" }, "action_rules": [],
    });
    assert_eq!(acme.org.get(path).await.is(200).json, open);
    let before = world.before().await;
    let bad = json!({ "domain_allowlist": ["*", "10.0.0.1", 5, "ok.example.com"], "mode": "audit" });
    let answer = acme.org.put(path, &bad).await.problem(Code::ValidationFailed);
    assert_eq!(answer.violations(), [("/domain_allowlist/2", "wrong_type"), ("/mode", "not_in_list")]);
    let bad = json!({ "domain_allowlist": ["*", "10.0.0.1", "ok.example.com"], "mode": "report" });
    let answer = acme.org.put(path, &bad).await.problem(Code::ValidationFailed);
    assert_eq!(
        answer.violations(),
        [("/domain_allowlist/0", "allowed_domain_any"), ("/domain_allowlist/1", "allowed_domain_ip")]
    );
    for (body, at) in [(json!({}), "missing_field"), (json!({ "domain_allowlist": "*" }), "wrong_type")] {
        let answer = acme.org.put(path, &body).await.problem(Code::ValidationFailed);
        assert_eq!(answer.violations(), [("/domain_allowlist", at)]);
    }
    world.assert_untouched(&before).await;
    acme.allow(json!(["*.salesforce.com"]), "report").await;
    let kept = acme.org.get(path).await.is(200);
    assert_eq!(kept.json["domain_allowlist"], json!(["*.salesforce.com"]));
    assert_eq!(kept.json["mode"], "report");
}

#[tokio::test]
async fn an_automation_is_checked_against_its_action_and_every_violation_is_told() {
    let (world, acme) = World::salesforce().await;
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut automation = contact_automation();
        change(&mut automation);
        automation
    };
    let at = |rest: &str| format!("/destination_config/{rest}");
    let before = world.before().await;
    for (automation, pointer, code) in [
        (changed(&|a| a["event_stage"] = json!("during")), "/event_stage".to_owned(), "not_in_list"),
        (changed(&|a| a["enabled"] = json!("yes")), "/enabled".to_owned(), "wrong_type"),
        (changed(&|a| a["entity_name"] = json!("")), "/entity_name".to_owned(), "too_short"),
        (changed(&|a| a["entity_name"] = json!("n".repeat(121))), "/entity_name".to_owned(), "too_long"),
        (
            changed(&|a| a["destination_config"]["connector_id"] = json!("x")),
            at("connector_id"),
            "connector_not_found",
        ),
        (
            changed(&|a| a["destination_config"]["action_id"] = json!("x")),
            at("action_id"),
            "action_not_found",
        ),
        (
            changed(&|a| a["destination_config"]["field_mapping"]["Emial"] = json!("x")),
            at("field_mapping/Emial"),
            "unknown_input",
        ),
        (
            changed(&|a| a["destination_config"]["field_mapping"]["Email"] = json!("{{source.email")),
            at("field_mapping/Email"),
            "template_invalid",
        ),
        (changed(&|a| a["destination_config"] = json!(5)), "/destination_config".to_owned(), "wrong_type"),
    ] {
        let answer = acme.org.post("/org/acme/automation", &automation).await;
        let answer = answer.problem(Code::ValidationFailed);
        assert_eq!(answer.violations(), [(pointer.as_str(), code)], "{automation}");
    }
    let wrong = json!({ "entity_name": "", "event_name": "" });
    let answer = acme.org.post("/org/acme/automation", &wrong).await.problem(Code::ValidationFailed);
    assert_eq!(answer.violations().len(), 3, "all at once: {}", answer.text);
    world.assert_untouched(&before).await;
    assert_eq!(acme.org.get("/org/acme/automation").await.json["data"], json!([]));
    let id = acme.automation().await;
    let path = format!("/org/acme/automation/{id}");
    assert_eq!(ids(&acme.org.get("/org/acme/automation").await.json, "automation_id"), [id.as_str()]);
    assert_eq!(acme.org.get(&path).await.is(200).json["revision"], 1);
    let off = changed(&|a| a["enabled"] = json!(false));
    assert_eq!(acme.org.put(&path, &off).await.is(200).json["revision"], 2);
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    let before = world.before().await;
    let answer = acme.fire(&id, json!({ "email": "a@b.c" })).await.is(200);
    assert_eq!(answer.json["reason"], "condition_false", "switched off");
    world.assert_nothing_looked_up(&before).await;
    acme.org.put(&path, &contact_automation()).await.is(200);
    acme.fire(&id, json!({ "email": "a@b.c" })).await.is(200);
    acme.org.delete(&path).await.is(204);
    acme.org.get(&path).await.problem(Code::AutomationNotFound);
}

#[tokio::test]
async fn lists_are_paged_and_a_page_size_outside_its_range_is_refused() {
    let world = World::start().await;
    for n in 0..3 {
        world.platform.post("/admin/org", &json!({ "org": format!("org-{n}") })).await.is(201);
    }
    let first = world.platform.get("/admin/org?limit=2").await.is(200);
    assert_eq!((ids(&first.json, "org"), &first.json["has_more"]), (vec!["org-0", "org-1"], &json!(true)));
    let rest = world.platform.get("/admin/org?limit=2&starting_after=org-1").await.is(200);
    assert_eq!((ids(&rest.json, "org"), &rest.json["has_more"]), (vec!["org-2"], &json!(false)));
    for bad in ["0", "101", "-1", "ten"] {
        world.platform.get(&format!("/admin/org?limit={bad}")).await.problem(Code::BadRequest);
    }
    world.platform.get("/admin/org?limit=100").await.is(200);
}

#[tokio::test]
async fn every_route_refuses_a_caller_without_a_token_and_one_of_another_role() {
    use portcullis_api::ROUTES;
    use portcullis_store::Role;
    let (world, acme) = World::salesforce().await;
    let before = world.before().await;
    for route in ROUTES {
        let path: Vec<&str> = route
            .path
            .split('/')
            .map(|segment| match segment {
                "{org}" => "acme",
                "{ws}" => "main",
                "{id}" => "salesforce",
                "{action}" => "create-contact",
                other if other.starts_with('{') => "1",
                other => other,
            })
            .collect();
        let path = path.join("/");
        let nobody = world.platform.anonymous().write(route.method, &path, "{}").await;
        if route.path == "/workspace/{org}/{ws}/settings/connector/{id}/oauth/start" {
            // The Salesforce example's connector needs no consent.
            acme.workspace.post(&path, &json!({})).await.problem(Code::BadRequest);
        }
        if route.path == "/oauth/callback" {
            // Open to a person's browser, and of no use without what was started.
            nobody.problem(Code::ConsentInvalid);
            continue;
        }
        if route.path.starts_with("/connect/") {
            // Open to a person's browser, and of no use without a link. JSON is no form.
            assert!(matches!(nobody.status, 410 | 415), "{path}: {} {}", nobody.status, nobody.text);
            continue;
        }
        if route.roles.is_empty() {
            nobody.is(200);
            continue;
        }
        nobody.problem(Code::Unauthorized);
        let callers = [
            (Role::Platform, &world.platform),
            (Role::Org, &acme.org),
            (Role::Workspace, &acme.workspace),
            (Role::Run, &acme.run),
        ];
        for (role, caller) in callers.into_iter().filter(|(role, _)| !route.roles.contains(role)) {
            let answer = caller.write(route.method, &path, "{}").await;
            assert_eq!(answer.json["code"], "role_not_allowed", "{role:?} {} {path}", route.method);
            answer.problem(Code::RoleNotAllowed);
        }
    }
    world.assert_untouched(&before).await;
}
