//! Every bad input has an answer of its own: a code, a pointer, all errors at once. Nothing is stored
//! and nothing is sent; beside each refusal stands the neighbour that is accepted.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use crate::support::{SALESFORCE, Stage, World, salesforce};

/// The definition of the Salesforce example with one change.
fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut definition = salesforce();
    change(&mut definition);
    definition
}

/// Uploads, expects `validation_failed`, and that nothing came of it; the violations.
async fn refused(world: &World, definition: &Value) -> (Vec<(String, String)>, String) {
    let before = world.before().await;
    let answer = world.platform.post("/admin/connector", definition).await.problem(Code::ValidationFailed);
    world.assert_untouched(&before).await;
    let listed = world.platform.get("/admin/connector").await.is(200);
    assert_eq!(listed.json["data"], json!([]), "nothing is listed");
    assert_eq!(answer.json["pointer"], answer.json["errors"][0]["pointer"], "{}", answer.text);
    let violations = answer.violations().iter().map(|(p, c)| ((*p).to_owned(), (*c).to_owned())).collect();
    (violations, answer.messages())
}

fn one(pointer: &str, code: &str) -> Vec<(String, String)> {
    vec![(pointer.to_owned(), code.to_owned())]
}

#[tokio::test]
async fn malformed_json_is_answered_with_line_and_column_and_never_quoted() {
    let world = World::start().await;
    let before = world.before().await;
    for (body, place) in [
        ("{\"connector_id\": \"sales-canary\",\n  oops }", "line 2, column 3"),
        ("", "the body is empty; send a JSON object"),
        ("{\"a\": 1", "line 1, column 7"),
        ("nul", "line 1"),
    ] {
        let answer = world.platform.write("POST", "/admin/connector", body).await.problem(Code::BadJson);
        let detail = answer.json["detail"].as_str().unwrap();
        assert!(detail.contains(place), "{body:?}: {detail}");
        assert!(!answer.text.contains("canary"), "{}", answer.text);
    }
    world.assert_untouched(&before).await;
    world.platform.write("POST", "/admin/connector", SALESFORCE).await.is(201);
}

#[tokio::test]
async fn unknown_fields_are_refused_and_a_typo_is_told_what_was_meant() {
    let world = World::start().await;
    let (violations, messages) = refused(
        &world,
        &changed(|d| {
            d["allowed_domain"] = json!(["*.evil.example.net"]);
            d["actions"][0]["url_templat"] = json!("https://a.salesforce.com/");
            d["webhooks"] = json!([]);
        }),
    )
    .await;
    let codes: Vec<&str> = violations.iter().map(|(_, c)| c.as_str()).collect();
    assert_eq!(codes, ["unknown_field"; 3], "all at once");
    for pointer in ["/allowed_domain", "/actions/0/url_templat", "/webhooks"] {
        assert!(violations.iter().any(|(p, _)| p == pointer), "{pointer} in {violations:?}");
    }
    assert!(messages.contains("did you mean \"allowed_domains\"?"), "{messages}");
    assert!(messages.contains("did you mean \"url_template\"?"), "{messages}");
    let annotated = changed(|d| d["x_owner"] = json!("crm team"));
    world.platform.post("/admin/connector", &annotated).await.is(201);
}

#[tokio::test]
async fn wrong_types_are_all_told_at_once() {
    let world = World::start().await;
    let (violations, _) = refused(
        &world,
        &changed(|d| {
            d["display_name"] = json!(5);
            d["enabled"] = json!("yes");
            d["actions"][0]["http_method"] = json!("post");
            d["actions"][0]["body_schema"] = json!({});
        }),
    )
    .await;
    for expected in [
        ("/display_name", "wrong_type"),
        ("/enabled", "wrong_type"),
        ("/actions/0/http_method", "not_in_list"),
        ("/actions/0/body_schema", "wrong_type"),
    ] {
        assert!(violations.contains(&one(expected.0, expected.1)[0]), "{expected:?} in {violations:?}");
    }
    let (violations, _) = refused(&world, &json!(["not", "an", "object"])).await;
    assert_eq!(violations, one("", "wrong_type"));
    world.platform.post("/admin/connector", &changed(|d| d["enabled"] = json!(true))).await.is(201);
}

#[tokio::test]
async fn an_allowed_domains_entry_that_is_too_wide_or_no_host_is_refused() {
    let world = World::start().await;
    for (entry, code) in [
        ("*", "allowed_domain_any"),
        ("10.0.0.1", "allowed_domain_ip"),
        ("[::1]", "allowed_domain_ip"),
        ("2130706433", "allowed_domain_ip"),
        ("*.com", "allowed_domain_public_suffix"),
        ("*.co.uk", "allowed_domain_public_suffix"),
        ("*.com.au", "allowed_domain_public_suffix"),
        ("https://api.salesforce.com", "allowed_domain_scheme"),
        ("api.salesforce.com/v1", "allowed_domain_not_host"),
        ("api.salesforce.com:8443", "allowed_domain_port"),
        ("localhost", "allowed_domain_special"),
    ] {
        let (violations, messages) =
            refused(&world, &changed(|d| d["allowed_domains"] = json!(["*.salesforce.com", entry]))).await;
        assert_eq!(violations, one("/allowed_domains/1", code), "{entry}");
        assert!(messages.contains("*.example.com"), "teaches the accepted form: {messages}");
    }
    for missing in [json!([]), json!("*.salesforce.com")] {
        let (violations, _) = refused(&world, &changed(|d| d["allowed_domains"] = missing)).await;
        assert!(violations.iter().any(|(p, _)| p == "/allowed_domains"), "{violations:?}");
    }
    let good = changed(|d| d["allowed_domains"] = json!(["*.salesforce.com", "api.example-saas.com"]));
    world.platform.post("/admin/connector", &good).await.is(201);
}

#[tokio::test]
async fn a_template_with_an_unknown_variable_is_refused() {
    let world = World::start().await;
    for (url, part) in [
        ("https://api.salesforce.com/v1/{{input.Emial}}", "add it to body_schema"),
        ("https://api.salesforce.com/v1/{{config.region}}", "not a field of this connector"),
        ("https://api.salesforce.com/v1/{{config.api_key}}", "secrets never stand in a URL"),
        ("https://api.salesforce.com/v1/{{cred.api_key}}", "legal in auth only"),
        ("https://api.salesforce.com/v1/{{source.email}}", "field_mapping only"),
    ] {
        let (violations, messages) =
            refused(&world, &changed(|d| d["actions"][0]["url_template"] = json!(url))).await;
        assert_eq!(violations, one("/actions/0/url_template", "template_unknown_variable"), "{url}");
        assert!(messages.contains(part), "{url}: {messages}");
    }
    let (violations, _) = refused(
        &world,
        &changed(|d| d["actions"][0]["url_template"] = json!("https://api.salesforce.com/{{input.Email")),
    )
    .await;
    assert_eq!(violations, one("/actions/0/url_template", "template_invalid"));
    let good =
        changed(|d| d["actions"][0]["url_template"] = json!("https://api.salesforce.com/v1/{{input.Email}}"));
    world.platform.post("/admin/connector", &good).await.is(201);
}

#[tokio::test]
async fn a_template_whose_host_can_leave_allowed_domains_is_refused() {
    let world = World::start().await;
    for url in [
        "https://collector.evil.example.net/steal",
        "https://{{input.Email}}.com/",
        "https://{{input.Email}}/",
        "https://salesforce.com/v1",
        "https://api.salesforce.com.evil.example.net/",
    ] {
        let (violations, _) =
            refused(&world, &changed(|d| d["actions"][0]["url_template"] = json!(url))).await;
        let code = &violations[0].1;
        let expected = ["template_host_outside_allowed_domains", "template_invalid"];
        assert!(expected.contains(&code.as_str()), "{url}: {violations:?}");
        assert_eq!(violations[0].0, "/actions/0/url_template", "{url}");
    }
    let inside = changed(|d| {
        d["actions"][0]["url_template"] = json!("https://{{input.Email}}.salesforce.com/v1");
    });
    world.platform.post("/admin/connector", &inside).await.is(201);
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_and_one_at_the_limit_is_read() {
    let world = World::start().await;
    let before = world.before().await;
    let huge = vec![b' '; 20 * 1024 * 1024];
    let answer = world.platform.write("POST", "/admin/connector", huge).await.problem(Code::BodyTooLarge);
    assert!(answer.json["detail"].as_str().unwrap().contains("limits.api_body_bytes"), "{}", answer.text);
    let limit = usize::try_from(world.engine.limits().api_body_bytes).unwrap();
    let padded = |bytes: usize| {
        let mut body = SALESFORCE.as_bytes().to_vec();
        body.resize(bytes, b' ');
        body
    };
    let over = world.platform.write("POST", "/admin/connector", padded(limit + 1)).await;
    over.problem(Code::BodyTooLarge);
    let definition_limit = usize::try_from(world.engine.limits().definition_bytes).unwrap();
    let wide = changed(|d| d["x_note"] = json!("x".repeat(definition_limit)));
    let answer = world.platform.post("/admin/connector", &wide).await.problem(Code::BodyTooLarge);
    assert!(answer.json["detail"].as_str().unwrap().contains("limits.definition_bytes"), "{}", answer.text);
    world.assert_untouched(&before).await;
    world.platform.write("POST", "/admin/connector", padded(limit)).await.is(201);
}

#[tokio::test]
async fn a_definition_larger_than_one_record_is_kept_whole_with_every_revision() {
    let world = Stage { sled: true, ..Stage::default() }.start().await;
    let mut large = changed(|d| d["x_note"] = json!("n".repeat(300 * 1024)));
    world.platform.post("/admin/connector", &large).await.is(201);
    large["display_name"] = json!("Again");
    world.platform.put("/admin/connector/salesforce", &large).await.is(200);
    let now = world.platform.get("/admin/connector/salesforce").await.is(200);
    assert_eq!(now.json["definition"], large);
    let first = world.platform.get("/admin/connector/salesforce/revisions/1").await.is(200);
    assert_eq!(first.json["definition"]["display_name"], "Salesforce");
    assert_eq!(first.json["definition"]["x_note"], large["x_note"]);
}

#[tokio::test]
async fn a_taken_connector_id_is_409_and_leaves_the_first_as_it_was() {
    let world = World::start().await;
    world.platform.write("POST", "/admin/connector", SALESFORCE).await.is(201);
    let before = world.before().await;
    let other = changed(|d| d["display_name"] = json!("Another"));
    let answer = world.platform.post("/admin/connector", &other).await.problem(Code::AlreadyExists);
    assert_eq!(answer.json["pointer"], "/connector_id");
    world.assert_untouched(&before).await;
    let kept = world.platform.get("/admin/connector/salesforce").await.is(200);
    assert_eq!(kept.json["definition"]["display_name"], "Salesforce");
    assert_eq!(kept.json["revision"], 1);
    let renamed = changed(|d| d["connector_id"] = json!("salesforce-2"));
    world.platform.post("/admin/connector", &renamed).await.is(201);
}

#[tokio::test]
async fn a_foreign_tenants_token_is_told_exactly_what_a_stranger_is_told() {
    let (world, acme) = World::salesforce().await;
    let globex = world.tenant("globex", "main").await;
    acme.connect("salesforce", json!({ "api_key": "key-0123456789" })).await;
    let automation = acme.automation().await;
    let before = world.before().await;
    let paths = [
        ("GET", "/org/ORG/settings/integrations".to_owned(), &globex.org),
        ("GET", "/org/ORG/outbound".to_owned(), &globex.org),
        ("GET", format!("/org/ORG/automation/{automation}"), &globex.org),
        ("POST", format!("/org/ORG/automation/{automation}/preview"), &globex.org),
        ("POST", "/org/ORG/automation/preview".to_owned(), &globex.org),
        ("GET", "/org/ORG/limits".to_owned(), &globex.org),
        ("GET", "/org/ORG/run/feed".to_owned(), &globex.org),
        ("GET", "/org/ORG/connection".to_owned(), &globex.org),
        ("GET", "/org/ORG/oauth-client/salesforce".to_owned(), &globex.org),
        ("PUT", "/org/ORG/oauth-client/salesforce".to_owned(), &globex.org),
        ("DELETE", "/org/ORG/oauth-client/salesforce".to_owned(), &globex.org),
        ("GET", "/org/ORG/webhook".to_owned(), &globex.org),
        ("GET", "/org/ORG/webhook/one".to_owned(), &globex.org),
        ("PUT", "/org/ORG/webhook/one".to_owned(), &globex.org),
        ("DELETE", "/org/ORG/webhook/one".to_owned(), &globex.org),
        ("POST", "/org/ORG/webhook/one/rotate".to_owned(), &globex.org),
        ("GET", "/org/ORG/webhook/one/delivery".to_owned(), &globex.org),
        ("GET", "/workspace/ORG/main/settings/values".to_owned(), &globex.workspace),
        ("PUT", "/workspace/ORG/main/settings/values".to_owned(), &globex.workspace),
        ("GET", "/workspace/ORG/main/settings/values".to_owned(), &globex.org),
        ("PUT", "/workspace/ORG/main/settings/values".to_owned(), &globex.org),
        ("GET", "/workspace/ORG/main/settings/connector".to_owned(), &globex.workspace),
        ("PUT", "/workspace/ORG/main/settings/connector/salesforce".to_owned(), &globex.workspace),
        ("DELETE", "/workspace/ORG/main/settings/connector/salesforce".to_owned(), &globex.workspace),
        ("POST", "/run/ORG/main/connector/salesforce/create-contact".to_owned(), &globex.run),
        ("POST", format!("/run/ORG/main/automation/{automation}"), &globex.run),
        ("POST", "/run/ORG/main/event".to_owned(), &globex.run),
    ];
    for (method, path, stranger) in &paths {
        let body = if *method == "GET" { "" } else { "{}" };
        let foreign = stranger.write(method, &path.replace("ORG", "acme"), body).await;
        let foreign = foreign.problem(Code::OrgNotFound);
        let missing = stranger.write(method, &path.replace("ORG", "no-such-org"), body).await;
        let missing = missing.problem(Code::OrgNotFound);
        assert_eq!(without_id(&foreign.json), without_id(&missing.json), "{method} {path}");
    }
    let other = world.platform.post("/admin/org/acme/workspace", &json!({ "workspace": "side" })).await;
    other.is(201);
    let side = world.before().await;
    let foreign = acme.workspace.get("/workspace/acme/side/settings/connector").await;
    let missing = acme.workspace.get("/workspace/acme/no-such/settings/connector").await;
    assert_eq!(
        without_id(&foreign.problem(Code::WorkspaceNotFound).json),
        without_id(&missing.problem(Code::WorkspaceNotFound).json)
    );
    world.assert_untouched(&side).await;
    world.assert_nothing_looked_up(&before).await;
    acme.org.get("/org/acme/settings/integrations").await.is(200);
    acme.workspace.get("/workspace/acme/main/settings/connector").await.is(200);
}

fn without_id(problem: &Value) -> Value {
    let mut problem = problem.clone();
    problem.as_object_mut().unwrap().remove("request_id");
    problem
}

#[tokio::test]
async fn a_workspace_that_does_not_exist_is_404_for_every_tier() {
    let (world, acme) = World::salesforce().await;
    let run = world.platform.with_token(world.token(&json!({ "role": "run", "org": "acme" })).await);
    let before = world.before().await;
    let body = json!({ "input": { "Email": "ada@example.org" } });
    let nowhere = run.post("/run/acme/nowhere/connector/salesforce/create-contact", &body).await;
    nowhere.problem(Code::WorkspaceNotFound);
    world.platform.get("/admin/org/acme/workspace/nowhere").await.problem(Code::WorkspaceNotFound);
    world.platform.get("/admin/org/nowhere").await.problem(Code::OrgNotFound);
    let token = json!({ "role": "run", "org": "acme", "workspace": "nowhere" });
    let answer = world.platform.post("/admin/token", &token).await.problem(Code::WorkspaceNotFound);
    assert_eq!(answer.json["pointer"], "/workspace");
    world.assert_untouched(&before).await;
    run.post("/run/acme/main/connector/salesforce/create-contact", &body).await.is(200);
    acme.run.get("/run/acme/main").await.is(200);
}

#[tokio::test]
async fn a_missing_required_credential_field_is_refused_and_nothing_is_saved() {
    let (world, acme) = World::salesforce().await;
    let before = world.before().await;
    for (config, pointer, code) in [
        (json!({}), "/config/api_key", "missing_field"),
        (json!({ "api_key": "" }), "/config/api_key", "missing_field"),
        (json!({ "api_key": "   " }), "/config/api_key", "missing_field"),
        (json!({ "api_key": null }), "/config/api_key", "missing_field"),
        (json!({ "api_key": ["canary"] }), "/config/api_key", "wrong_type"),
        (json!({ "api_key": "can\nary-1" }), "/config/api_key", "control_character"),
    ] {
        let body = json!({ "enabled": true, "config": config });
        let answer = acme.workspace.put(&acme.setting("salesforce"), &body).await;
        let answer = answer.problem(Code::ValidationFailed);
        assert_eq!(answer.violations(), [(pointer, code)], "{body}");
        assert!(!answer.text.contains("canary"), "a value is never quoted: {}", answer.text);
    }
    let both = json!({ "config": { "api_kee": "canary" } });
    let answer = acme.workspace.put(&acme.setting("salesforce"), &both).await;
    let answer = answer.problem(Code::ValidationFailed);
    let expected = [("/config/api_key", "missing_field"), ("/config/api_kee", "unknown_field")];
    assert_eq!(answer.violations(), expected, "all at once");
    let opted_in = acme.workspace.put(&acme.setting("salesforce"), &json!({ "enabled": true })).await;
    let opted_in = opted_in.problem(Code::ValidationFailed);
    assert_eq!(opted_in.violations(), [("/config/api_key", "missing_field")]);
    world.assert_untouched(&before).await;
    let state = acme.workspace.get(&acme.setting("salesforce")).await.is(200);
    assert_eq!(state.json["state"], "unconfigured");
    let saved = acme.connect("salesforce", json!({ "api_key": "key-0123456789" })).await;
    assert_eq!(saved.json["state"], "connected");
}

#[tokio::test]
async fn an_input_of_the_wrong_type_is_refused_before_anything_leaves() {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": "key-0123456789" })).await;
    let before = world.before().await;
    let answer = acme.call("salesforce", "create-contact", json!({ "Email": 5, "Emale": "x" })).await;
    let answer = answer.problem(Code::InputInvalid);
    assert_eq!(answer.violations(), [("/input/Emale", "unknown_input"), ("/input/Email", "wrong_type")]);
    assert!(answer.messages().contains("did you mean \"Email\"?"), "{}", answer.messages());
    let path = "/run/acme/main/connector/salesforce/create-contact";
    let answer = acme.run.post(path, &json!({ "input": [1] })).await.problem(Code::InputInvalid);
    assert_eq!(answer.violations(), [("/input", "wrong_type")]);
    let answer = acme.run.post(path, &json!({ "inputs": {} })).await.problem(Code::ValidationFailed);
    assert_eq!(answer.violations(), [("/inputs", "unknown_field")]);
    world.assert_untouched(&before).await;
    assert_eq!(acme.run.get("/run/acme/main").await.json["data"], json!([]), "no run was kept");
    acme.create_contact().await.is(200);
}

#[tokio::test]
async fn a_token_that_is_missing_malformed_revoked_or_expired_is_401() {
    let world = World::start().await;
    let token = world.token(&json!({ "role": "platform", "label": "short" })).await;
    let good = world.platform.with_token(token.clone());
    good.get("/admin/org").await.is(200);
    let before = world.before().await;
    let anonymous = world.platform.anonymous();
    anonymous.get("/admin/org").await.problem(Code::Unauthorized);
    let mut typo = token.clone();
    let last = typo.pop().unwrap();
    typo.push(if last == 'a' { 'b' } else { 'a' });
    for bad in ["", "x", "pc_platform_", "pc_root_0000", typo.as_str(), &"p".repeat(300)] {
        world.platform.with_token(bad).get("/admin/org").await.problem(Code::Unauthorized);
    }
    for scheme in [format!("Basic {token}"), token.clone(), format!("Bearer{token}")] {
        let answer = anonymous.send("GET", "/admin/org", &[("authorization", &scheme)], Vec::new()).await;
        answer.problem(Code::Unauthorized);
    }
    let bearer = format!("Bearer {token}");
    let twice = [("authorization", bearer.as_str()), ("authorization", bearer.as_str())];
    anonymous.send("GET", "/admin/org", &twice, Vec::new()).await.problem(Code::Unauthorized);
    world.assert_untouched(&before).await;
    let listed = world.platform.get("/admin/token").await.is(200);
    let entry = listed.json["data"].as_array().unwrap().iter().find(|t| t["label"] == "short").unwrap();
    let id = entry["token_id"].as_str().unwrap();
    world.platform.delete(&format!("/admin/token/{id}")).await.is(204);
    good.get("/admin/org").await.problem(Code::Unauthorized);
}

#[tokio::test]
async fn a_role_that_may_not_is_403_and_is_told_which_may() {
    let (world, acme) = World::salesforce().await;
    let before = world.before().await;
    for (client, method, path, may) in [
        (&acme.run, "POST", "/admin/connector", "platform"),
        (&acme.workspace, "POST", "/admin/org", "platform"),
        (&acme.org, "DELETE", "/admin/connector/salesforce", "platform"),
        (&acme.run, "GET", "/org/acme/outbound", "org"),
        (&acme.run, "PUT", "/workspace/acme/main/settings/connector/salesforce", "workspace"),
        (&acme.org, "POST", "/run/acme/main/connector/salesforce/create-contact", "run"),
        (&world.platform, "PUT", "/workspace/acme/main/settings/connector/salesforce", "workspace"),
    ] {
        let answer = client.write(method, path, SALESFORCE).await.problem(Code::RoleNotAllowed);
        let detail = answer.json["detail"].as_str().unwrap();
        assert!(detail.ends_with(&format!("role {may}")), "{method} {path}: {detail}");
    }
    let own = json!({ "role": "platform" });
    let answer = acme.org.post("/admin/token", &own).await.problem(Code::RoleNotAllowed);
    assert_eq!(answer.json["pointer"], "/role");
    world.assert_untouched(&before).await;
    acme.org.post("/admin/token", &json!({ "role": "run", "org": "acme" })).await.is(201);
}

#[tokio::test]
async fn a_media_type_that_is_not_json_is_415() {
    let world = World::start().await;
    let before = world.before().await;
    let body = || SALESFORCE.as_bytes().to_vec();
    for media in
        ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "multipart/form-data"]
    {
        let headers = [("content-type", media)];
        let answer = world.platform.send("POST", "/admin/connector", &headers, body()).await;
        answer.problem(Code::UnsupportedMediaType);
    }
    world.assert_untouched(&before).await;
    let headers = [("content-type", "application/json; charset=utf-8")];
    world.platform.send("POST", "/admin/connector", &headers, body()).await.is(201);
}

#[tokio::test]
async fn an_unknown_route_is_a_404_problem_and_a_wrong_method_a_405_problem() {
    let world = Stage::default().start().await;
    let before = world.before().await;
    for path in ["/", "/admin", "/admin/connectors", "/v1/anything", "/admin/connector/a/b/c"] {
        world.platform.get(path).await.problem(Code::NotFound);
    }
    for (method, path) in [("DELETE", "/admin/org"), ("POST", "/healthz"), ("PUT", "/admin/token")] {
        let answer = world.platform.write(method, path, "{}").await.problem(Code::MethodNotAllowed);
        assert!(answer.header("x-request-id").is_some());
    }
    world.assert_untouched(&before).await;
    world.platform.get("/admin/org").await.is(200);
}
