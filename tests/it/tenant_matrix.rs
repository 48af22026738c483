//! Every route, every role, the caller's own tenant and a foreign one: only the allowed pairs answer. All of it is made
//! from the table of routes, so a new route is tried without being named here.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use portcullis_api::{ROUTES, Route};
use portcullis_core::fault::Code;
use portcullis_store::Role;
use serde_json::{Value, json};

use crate::support::{Answer, Client, Tenant, World};

const KEY: &str = "sk-live-0123456789abcdef";

/// The same things of one tenant.
struct Things {
    tenant: Tenant,
    /// A run token of the whole org.
    run_of_org: Client,
    automation: String,
    run: String,
    token: String,
    /// A connect link.
    session: String,
}

impl Things {
    async fn of(world: &World, org: &str, workspace: &str) -> Self {
        let tenant = world.tenant(org, workspace).await;
        tenant.connect("salesforce", json!({ "api_key": KEY })).await;
        let automation = tenant.automation().await;
        let run = tenant.create_contact().await.is(200);
        let spec = json!({ "role": "run", "org": org });
        let token = tenant.org.post("/admin/token", &spec).await.is(201);
        let links = format!("/workspace/{org}/{workspace}/connect-session");
        let link = tenant.workspace.post(&links, &json!({})).await.is(201);
        Self {
            session: link.json["session_id"].as_str().unwrap().to_owned(),
            run_of_org: tenant.run.with_token(token.json["token"].as_str().unwrap()),
            run: run.json["run_id"].as_str().unwrap().to_owned(),
            token: token.json["token_id"].as_str().unwrap().to_owned(),
            automation,
            tenant,
        }
    }

    /// The caller of a role.
    fn caller<'a>(&'a self, world: &'a World, role: Role) -> &'a Client {
        match role {
            Role::Platform => &world.platform,
            Role::Org => &self.tenant.org,
            Role::Workspace => &self.tenant.workspace,
            Role::Run => &self.tenant.run,
        }
    }
}

/// A path of a route: the tenant of one, the things of another.
fn path(route: &Route, tenant: &Tenant, things: &Things) -> String {
    let segment = |segment: &str| match segment {
        "{org}" => tenant.org_id.clone(),
        "{ws}" => tenant.workspace_id.clone(),
        "{id}" if route.path.contains("/automation/") => things.automation.clone(),
        "{id}" if route.path.contains("/token/") => things.token.clone(),
        "{id}" if route.path.contains("/connect-session/") => things.session.clone(),
        "{id}" => "salesforce".to_owned(),
        "{action}" => "create-contact".to_owned(),
        "{name}" => "sales".to_owned(),
        "{run_id}" => things.run.clone(),
        "{n}" | "{delivery_id}" => "1".to_owned(),
        "{digest}" => format!("sha256:{}", "0".repeat(64)),
        // Why no guess: what a route names must be something of a tenant, or the matrix says nothing about it.
        other if other.starts_with('{') => panic!("{}: say in this test what {other} is", route.path),
        other => other.to_owned(),
    };
    route.path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// One request. Of an answer without an end only the head is read.
async fn ask(client: &Client, route: &Route, path: &str) -> Answer {
    let body = if route.method == "GET" { Vec::new() } else { b"{}".to_vec() };
    let headers = [(CONTENT_TYPE.as_str(), "application/json")];
    let asked = client.send(route.method, path, &headers, body);
    tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap_or_else(|_| panic!("{path} has no end"))
}

/// Whether an answer goes on for ever for a caller who may read it.
fn is_stream(route: &Route) -> bool {
    route.path.ends_with("/stream")
}

fn is_tenant_refusal(answer: &Answer) -> bool {
    let code = answer.json["code"].as_str().unwrap_or_default();
    matches!(code, "unauthorized" | "role_not_allowed" | "org_not_found" | "workspace_not_found")
}

#[tokio::test]
async fn no_role_reaches_a_foreign_tenant_by_any_route() {
    let (world, _) = World::salesforce().await;
    let own = Things::of(&world, "globex", "main").await;
    let side = Things::of(&world, "globex", "side").await;
    let foreign = Things::of(&world, "initech", "main").await;
    let before = world.before().await;
    let mut tried = 0;
    for route in ROUTES.iter().filter(|route| !route.roles.is_empty()) {
        let has = |name: &str| route.path_parameters().any(|parameter| parameter == name);
        for role in Role::ALL {
            let caller = own.caller(&world, role);
            let may = route.roles.contains(&role);
            // Its own tenant, a foreign workspace of its org, a foreign org.
            for (target, expected) in [
                (&own, (!may).then_some(Code::RoleNotAllowed)),
                (&side, expected_beside(role, may, has("ws"))),
                (&foreign, expected_abroad(role, may, has("org"))),
            ] {
                let Some(expected) = expected else { continue };
                let path = path(route, &target.tenant, target);
                let answer = ask(caller, route, &path).await;
                let told = format!("{role:?} {} {path}: {}", route.method, answer.text);
                assert_eq!(answer.json["code"], expected.as_str(), "{told}");
                answer.problem(expected);
                tried += 1;
            }
        }
        let answer = ask(&world.platform.anonymous(), route, &path(route, &own.tenant, &own)).await;
        answer.problem(Code::Unauthorized);
    }
    assert!(tried > ROUTES.len() * 3, "{tried} refusals of {} routes", ROUTES.len());
    world.assert_untouched(&before).await;
}

/// What a caller of `globex/main` is told in another workspace of its org.
fn expected_beside(role: Role, may: bool, has_workspace: bool) -> Option<Code> {
    match (may, role) {
        (false, _) => Some(Code::RoleNotAllowed),
        (true, Role::Workspace | Role::Run) if has_workspace => Some(Code::WorkspaceNotFound),
        (true, _) => None,
    }
}

/// What a caller of `globex` is told in another org.
fn expected_abroad(role: Role, may: bool, has_org: bool) -> Option<Code> {
    match (may, role) {
        (false, _) => Some(Code::RoleNotAllowed),
        (true, Role::Platform) => None,
        (true, _) if has_org => Some(Code::OrgNotFound),
        (true, _) => None,
    }
}

#[tokio::test]
async fn what_is_anothers_is_not_found_below_ones_own_path_by_any_route() {
    let (world, _) = World::salesforce().await;
    let own = Things::of(&world, "globex", "main").await;
    let foreign = Things::of(&world, "initech", "main").await;
    let names = |route: &Route| {
        let of = |name: &str| route.path_parameters().any(|parameter| parameter == name);
        let own = ["/automation/", "/token/", "/connect-session/"];
        of("run_id") || (of("id") && own.iter().any(|part| route.path.contains(part)))
    };
    let before = world.before().await;
    let mut tried = 0;
    for route in ROUTES.iter().filter(|route| names(route)) {
        for role in route.roles.iter().filter(|role| **role != Role::Platform) {
            let path = path(route, &own.tenant, &foreign);
            let answer = ask(own.caller(&world, *role), route, &path).await;
            let told = format!("{role:?} {} {path}: {}", route.method, answer.text);
            let code = answer.json["code"].as_str().unwrap_or_default();
            // A body that is refused before anything is looked for tells nothing either.
            let found_none = matches!(code, "not_found" | "automation_not_found" | "validation_failed");
            assert!(found_none, "{told}");
            tried += 1;
        }
    }
    assert!(tried >= 8, "{tried} pairs");
    world.assert_untouched(&before).await;
}

#[tokio::test]
async fn every_role_is_answered_by_its_routes_in_its_own_tenant() {
    let (world, _) = World::salesforce().await;
    let own = Things::of(&world, "globex", "main").await;
    // Why in this order: what takes a token or a tenant away comes when the others have answered.
    let is_end = |route: &&Route| route.method == "DELETE";
    let (mut ends, others): (Vec<&Route>, Vec<&Route>) = ROUTES.iter().partition(is_end);
    let longest_first = |route: &&Route| usize::MAX - route.path.len();
    ends.sort_by_key(longest_first);
    for route in others.into_iter().chain(ends) {
        for role in route.roles {
            let caller = own.caller(&world, *role);
            if route.method == "DELETE" && *role != route.roles[0] {
                // What it deletes is gone by now.
                continue;
            }
            let path = path(route, &own.tenant, &own);
            if is_stream(route) {
                drop(caller.follow(&path).await);
                continue;
            }
            let answer = ask(caller, route, &path).await;
            assert!(!is_tenant_refusal(&answer), "{role:?} {} {path}: {}", route.method, answer.text);
            assert!(answer.status < 500, "{role:?} {} {path}: {}", route.method, answer.text);
        }
    }
}

#[tokio::test]
async fn a_run_token_of_an_org_reaches_each_of_its_workspaces_and_no_other_org() {
    let (world, _) = World::salesforce().await;
    let own = Things::of(&world, "globex", "main").await;
    let side = Things::of(&world, "globex", "side").await;
    let foreign = Things::of(&world, "initech", "main").await;
    for route in ROUTES.iter().filter(|route| route.roles.contains(&Role::Run) && route.method == "GET") {
        for target in [&own, &side] {
            let answer = ask(&own.run_of_org, route, &path(route, &target.tenant, target)).await;
            assert_eq!(answer.status, 200, "{} {}", route.path, answer.text);
        }
        let answer = ask(&own.run_of_org, route, &path(route, &foreign.tenant, &foreign)).await;
        answer.problem(Code::OrgNotFound);
    }
}

#[tokio::test]
async fn a_list_of_tokens_or_tenants_shows_no_foreign_one() {
    let (world, _) = World::salesforce().await;
    let own = Things::of(&world, "globex", "main").await;
    let foreign = Things::of(&world, "initech", "xq-unseen").await;
    let listed = own.tenant.org.get("/admin/token").await.is(200);
    let all = listed.json["data"].as_array().unwrap();
    assert!(!all.is_empty() && all.iter().all(|token| token["org"] == "globex"), "{}", listed.text);
    for route in ROUTES.iter().filter(|route| route.method == "GET" && !is_stream(route)) {
        for role in route.roles.iter().filter(|role| **role != Role::Platform) {
            let answer = ask(own.caller(&world, *role), route, &path(route, &own.tenant, &own)).await;
            let shown: &Value = &answer.json;
            let text = shown.to_string();
            for secret in
                ["initech", "xq-unseen", &foreign.automation, &foreign.run, &foreign.token, &foreign.session]
            {
                assert!(!text.contains(secret), "{role:?} {}: {secret} in {text}", route.path);
            }
        }
    }
}
