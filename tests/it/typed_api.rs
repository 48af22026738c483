//! Requests as the API's document describes them: bodies that are checked as a whole, parameters that are never passed
//! over, members that never stand twice, and examples that work.

use std::fs;

use portcullis_api::{ROUTES, Route, openapi};
use portcullis_core::fault::Code;
use portcullis_store::Role;
use serde_json::{Value, json};

use crate::support::world::contact_automation;
use crate::support::{Client, PUBLIC, SALESFORCE, Tenant, World, binary};

mod examples;
mod mistakes;

const KEY: &str = "sk-live-0123456789abcdef";

/// An entry of the catalog that asks a person for consent.
const CONSENT: &str = "notion";

/// The Salesforce example, connected, with its automation, and a connector that asks for consent.
struct Scene {
    world: World,
    acme: Tenant,
    automation: String,
}

impl Scene {
    async fn start() -> Self {
        let (world, acme) = World::salesforce().await;
        world.names.tell("hooks.example.com", &[PUBLIC]);
        acme.connect("salesforce", json!({ "api_key": KEY })).await;
        let automation = acme.automation().await;
        world.platform.post("/admin/catalog/notion", &json!({})).await.is(201);
        Self { world, acme, automation }
    }

    /// A caller who may use a route.
    fn caller(&self, route: &Route) -> &Client {
        match route.roles.first() {
            Some(Role::Org) => &self.acme.org,
            Some(Role::Workspace) => &self.acme.workspace,
            Some(Role::Run) => &self.acme.run,
            Some(Role::Platform) | None => &self.world.platform,
        }
    }

    /// A path of a route, with what this scene has.
    fn path(&self, route: &Route) -> String {
        let segment = |segment: &'static str| match segment {
            "{org}" => "acme".to_owned(),
            "{ws}" => "main".to_owned(),
            "{id}" if route.path.contains("/automation/") => self.automation.clone(),
            "{id}" if route.path.contains("/oauth-client/") => CONSENT.to_owned(),
            "{id}" => "salesforce".to_owned(),
            "{action}" => "create-contact".to_owned(),
            other if other.starts_with('{') => "1".to_owned(),
            other => other.to_owned(),
        };
        route.path.split('/').map(segment).collect::<Vec<_>>().join("/")
    }
}

/// What the document says of a route.
fn operation(route: &Route) -> &'static Value {
    &openapi::document()["paths"][route.path][route.method.to_lowercase()]
}

/// The body of a route as the document shows it; none for a route without.
fn body(route: &Route) -> Option<&'static Value> {
    operation(route).pointer("/requestBody/content/application~1json")
}

#[tokio::test]
async fn an_unknown_query_parameter_is_refused_by_every_route() {
    let scene = Scene::start().await;
    let before = scene.world.before().await;
    for route in ROUTES {
        let path = format!("{}?no-such=1", scene.path(route));
        let answer = scene.caller(route).write(route.method, &path, "{}").await;
        if route.path == "/oauth/callback" {
            // Third parties send what they like.
            answer.problem(Code::ConsentInvalid);
            continue;
        }
        if route.path.starts_with("/connect/") {
            // Programs that mail goes through add some to links. JSON is no form.
            assert!(matches!(answer.status, 410 | 415), "{path}: {} {}", answer.status, answer.text);
            continue;
        }
        let answer = answer.problem(Code::UnknownParameter);
        let detail = answer.json["detail"].as_str().unwrap();
        assert!(detail.starts_with("unknown parameter \"no-such\"; this route takes "), "{path}: {detail}");
    }
    scene.world.assert_untouched(&before).await;
}

#[tokio::test]
async fn a_mistyped_parameter_is_answered_with_its_name_and_nothing_is_done() {
    let scene = Scene::start().await;
    let before = scene.world.before().await;
    let (acme, automation) = (&scene.acme, &scene.automation);
    for (caller, method, path, meant) in [
        (&acme.run, "POST", "/run/acme/main/connector/salesforce/create-contact?dryrun=true", "dry_run"),
        (&acme.run, "POST", &format!("/run/acme/main/automation/{automation}?dry-run=true"), "dry_run"),
        (&scene.world.platform, "DELETE", "/admin/connector/salesforce?forse=true", "force"),
        (&acme.org, "GET", "/org/acme/automation?limitt=1", "limit"),
        (&acme.org, "GET", "/org/acme/outbound?connectorid=salesforce", "connector_id"),
    ] {
        let body = if method == "POST" { r#"{"input":{"Email":"ada@example.org"}}"# } else { "" };
        let answer = caller.write(method, path, body).await.problem(Code::UnknownParameter);
        let detail = answer.json["detail"].as_str().unwrap();
        assert!(detail.ends_with(&format!("did you mean {meant:?}?")), "{path}: {detail}");
    }
    scene.world.assert_untouched(&before).await;
    let path = "/run/acme/main/connector/salesforce/create-contact?dry_run=true";
    let dry = acme.run.post(path, &json!({ "input": { "Email": "ada@example.org" } })).await.is(200);
    assert_eq!(dry.json["dry_run"], true);
    scene.world.assert_nothing_left(&before).await;
}

#[tokio::test]
async fn a_parameter_given_twice_is_refused_by_every_route_that_takes_it() {
    let scene = Scene::start().await;
    let before = scene.world.before().await;
    let mut tried = 0;
    for route in ROUTES {
        let parameters = operation(route)["parameters"].as_array().into_iter().flatten();
        for parameter in parameters.filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            let path = format!("{}?{name}=1&{name}=1", scene.path(route));
            let answer = scene.caller(route).write(route.method, &path, "{}").await;
            let answer = answer.problem(Code::BadRequest);
            assert_eq!(answer.json["detail"], format!("{name} is given twice"), "{path}");
            tried += 1;
        }
    }
    assert!(tried >= 25, "{tried} parameters");
    scene.world.assert_untouched(&before).await;
}

#[tokio::test]
async fn a_header_that_is_no_text_is_refused_and_several_lines_of_it_are_one_list() {
    let scene = Scene::start().await;
    let before = scene.world.before().await;
    let connector = "/admin/connector/salesforce";
    let off = || br#"{"enabled":false}"#.to_vec();
    let platform = &scene.world.platform;
    let answer = platform.send("PATCH", connector, &[("if-match", "\"é\"")], off()).await;
    answer.problem(Code::BadRequest);
    let two = [("if-match", "\"1\""), ("if-match", "\"9\"")];
    platform.send("PATCH", connector, &two, off()).await.problem(Code::RevisionMismatch);
    for other in ["\"01\"", "\"+1\"", "W/\"1\"", "\"\"", "\""] {
        let answer = platform.send("PATCH", connector, &[("if-match", other)], off()).await;
        answer.problem(Code::RevisionMismatch);
    }
    let call = "/run/acme/main/connector/salesforce/create-contact";
    let input = || br#"{"input":{"Email":"ada@example.org"}}"#.to_vec();
    let two = [("prefer", "return=minimal"), ("prefer", "respond-async")];
    for key in ["é", ""] {
        scene
            .acme
            .run
            .send("POST", call, &[("idempotency-key", key)], input())
            .await
            .problem(Code::BadRequest);
    }
    scene.world.assert_untouched(&before).await;
    scene.acme.run.send("POST", call, &two[..1], input()).await.is(200);
    scene.acme.run.send("POST", call, &two, input()).await.is(202);
    platform.send("PATCH", connector, &[("if-match", "\"1\"")], off()).await.is(200);
}

#[tokio::test]
async fn a_member_that_stands_twice_is_refused_at_any_depth_by_every_route_with_a_body() {
    let scene = Scene::start().await;
    let before = scene.world.before().await;
    let twice = r#"{ "a": { "b": [0, { "c/d": 1, "c/d": 1 }] }, "a": {} }"#;
    let routes: Vec<&Route> = ROUTES.iter().filter(|route| body(route).is_some()).collect();
    assert!(routes.len() >= 14, "{} routes with a body", routes.len());
    for route in routes {
        let answer = scene.caller(route).write(route.method, &scene.path(route), twice).await;
        let answer = answer.problem(Code::DuplicateMember);
        let expected = [("/a/b/1/c~1d", "duplicate_member"), ("/a", "duplicate_member")];
        assert_eq!(answer.violations(), expected, "{}", route.operation);
    }
    scene.world.assert_untouched(&before).await;
}

#[tokio::test]
async fn a_definition_with_two_lists_of_allowed_domains_is_refused_by_the_api_and_by_lint() {
    let world = World::start().await;
    let twice = SALESFORCE.replacen('{', r#"{ "allowed_domains": ["*.evil.example.net"],"#, 1);
    let before = world.before().await;
    for path in ["/admin/connector", "/admin/connector/validate"] {
        let answer = world.platform.write("POST", path, twice.as_str()).await.problem(Code::DuplicateMember);
        assert_eq!(answer.violations(), [("/allowed_domains", "duplicate_member")]);
    }
    world.assert_untouched(&before).await;
    world.platform.get("/admin/connector/salesforce").await.problem(Code::ConnectorNotFound);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("twice.json"), &twice).unwrap();
    fs::write(dir.path().join("once.json"), SALESFORCE).unwrap();
    let lines = binary::run(dir.path(), &["lint", "--json", "twice.json", "once.json"]).exits(1).json_lines();
    assert_eq!((&lines[0]["valid"], &lines[1]["valid"]), (&json!(false), &json!(true)));
    let error = &lines[0]["errors"][0];
    assert_eq!((&error["pointer"], &error["code"]), (&json!("/allowed_domains"), &json!("duplicate_member")));
}

#[tokio::test]
async fn an_optional_member_may_be_null_where_null_means_that_it_is_left_out() {
    let scene = Scene::start().await;
    let mut automation = contact_automation();
    automation["entry_conditions"] = Value::Null;
    let import = operation(ROUTES.iter().find(|route| route.operation == "importConnector").unwrap());
    let document = &import["requestBody"]["content"]["application/json"]["example"]["document"];
    let (platform, acme) = (&scene.world.platform, &scene.acme);
    for (caller, method, path, body) in [
        (platform, "POST", "/admin/org", json!({ "org": "globex", "display_name": null })),
        (
            platform,
            "POST",
            "/admin/org/globex/workspace",
            json!({ "workspace": "main", "display_name": null }),
        ),
        (
            platform,
            "POST",
            "/admin/token",
            json!({ "role": "platform", "org": null, "workspace": null, "label": null, "expires_at": null }),
        ),
        (
            platform,
            "POST",
            "/admin/connector/import",
            json!({ "document": document, "connector_id": null, "base_url": null, "only": null }),
        ),
        (&acme.org, "PUT", "/org/acme/settings/integrations", json!({ "domain_allowlist": null })),
        (&acme.org, "POST", "/org/acme/automation", automation),
        (
            &acme.workspace,
            "PUT",
            &acme.setting("salesforce"),
            json!({ "auth_method": null, "config": { "api_key": KEY } }),
        ),
    ] {
        let answer = caller.write(method, path, body.to_string()).await;
        assert!(matches!(answer.status, 200 | 201), "{method} {path}: {}", answer.text);
    }
}

#[tokio::test]
async fn null_is_refused_where_it_could_be_taken_for_a_choice() {
    let scene = Scene::start().await;
    let before = scene.world.before().await;
    let mut automation = contact_automation();
    automation["enabled"] = Value::Null;
    let acme = &scene.acme;
    for (caller, method, path, body, pointer, code) in [
        (&acme.org, "POST", "/org/acme/automation", automation, "/enabled", Code::ValidationFailed),
        (
            &acme.org,
            "PUT",
            "/org/acme/settings/integrations",
            json!({ "domain_allowlist": [], "mode": null }),
            "/mode",
            Code::ValidationFailed,
        ),
        (
            &acme.workspace,
            "PUT",
            &acme.setting("salesforce"),
            json!({ "enabled": true, "config": null }),
            "/config",
            Code::ValidationFailed,
        ),
        (
            &acme.run,
            "POST",
            "/run/acme/main/connector/salesforce/create-contact",
            json!({ "input": null }),
            "/input",
            Code::InputInvalid,
        ),
    ] {
        let answer = caller.write(method, path, body.to_string()).await.problem(code);
        assert_eq!(answer.json["pointer"], pointer, "{}", answer.text);
    }
    scene.world.assert_untouched(&before).await;
}
