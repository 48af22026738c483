//! An org's rules: which connectors it uses, and what their actions may do. Each refusal stands beside what passes.

use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use crate::support::token_server::TokenServer;
use crate::support::upstream::Received;
use crate::support::world::contact_automation;
use crate::support::{Answer, PUBLIC, Script, Stage, Tenant, World};

const PATH: &str = "/org/acme/settings/integrations";
const LOGIN: &str = "login.salesforce.com";

/// A connector with an action of each effect, with everything that a connection can ask a vendor for: a token, a value
/// that is discovered, a test, a consent, a token that is given back.
fn definition(id: &str, auth_type: &str) -> Value {
    let url = "https://api.salesforce.com/v1/things";
    json!({
        "connector_id": id, "display_name": "Things", "auth_type": auth_type,
        "auth": {
            "token_url": format!("https://{LOGIN}/oauth/token"),
            "revoke_url": format!("https://{LOGIN}/oauth/revoke"),
            "authorize_url": format!("https://{LOGIN}/authorize"),
        },
        "auth_schema": { "fields": [
            { "name": "client_id", "type": "password", "required": true },
            { "name": "client_secret", "type": "password", "required": true },
        ] },
        "allowed_domains": ["*.salesforce.com"], "enabled": true, "retry": { "base_ms": 1 },
        "actions": [
            { "action_id": "list", "http_method": "GET", "url_template": url },
            { "action_id": "search", "http_method": "POST", "url_template": url, "effect": "read" },
            { "action_id": "make", "http_method": "POST", "url_template": url },
            { "action_id": "remove", "http_method": "DELETE", "url_template": url },
        ],
        "test": { "request": { "action_id": "check", "http_method": "GET", "url_template": url } },
    })
}

/// The connector `things` without `authorize_url`, which client credentials have no use for.
fn things() -> Value {
    let mut things = definition("things", "oauth2_client_credentials");
    things["auth"].as_object_mut().unwrap().remove("authorize_url");
    things
}

struct Scene {
    world: World,
    acme: Tenant,
    server: TokenServer,
}

impl Scene {
    async fn start() -> Self {
        Self::on(Stage::default()).await
    }

    async fn on(stage: Stage) -> Self {
        let world = stage.start().await;
        world.names.tell(LOGIN, &[PUBLIC]);
        world.platform.post("/admin/connector", &things()).await.is(201);
        let acme = world.tenant("acme", "main").await;
        let server = TokenServer::on(&world.upstream);
        acme.connect("things", json!({ "client_id": "c", "client_secret": "s3cr3t-0123456789" })).await;
        Self { world, acme, server }
    }

    async fn rule(&self, settings: Value) {
        let mut whole = json!({ "domain_allowlist": null });
        whole.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        self.acme.org.put(PATH, &whole).await.is(200);
    }

    async fn call(&self, action: &str) -> Answer {
        self.acme.call("things", action, json!({})).await
    }

    async fn test(&self) -> Answer {
        self.acme.workspace.post(&format!("{}/test", self.acme.setting("things")), &json!({})).await
    }
}

/// The last check of a run that was refused.
fn last_check(answer: &Answer) -> (String, String) {
    let last =
        answer.json["run"]["decisions"].as_array().and_then(|all| all.last()).cloned().unwrap_or_default();
    let text = |name: &str| last[name].as_str().unwrap_or_default().to_owned();
    (text("check"), text("verdict"))
}

#[tokio::test]
async fn a_blocked_connector_makes_no_request_of_any_kind() {
    let scene = Scene::start().await;
    for (settings, code, check) in [
        (
            json!({ "connectors": { "mode": "listed", "listed": ["other"] } }),
            Code::ConnectorNotAllowed,
            "org_connectors",
        ),
        (
            json!({ "action_rules": [{ "connectors": ["thing*"], "verdict": "block" }] }),
            Code::ActionNotAllowed,
            "org_actions",
        ),
    ] {
        scene.rule(settings).await;
        let before = scene.world.before().await;
        let refused = scene.call("list").await.problem(code);
        assert_eq!(last_check(&refused), (check.to_owned(), "refuse".to_owned()));
        scene.test().await.problem(code);
        let path = "/run/acme/main/connector/things/make";
        scene.acme.run.post(&format!("{path}?dry_run=true"), &json!({})).await.problem(code);
        let later = [("prefer", "respond-async"), ("content-type", "application/json")];
        scene.acme.run.send("POST", path, &later, b"{}".to_vec()).await.problem(code);
        scene.world.assert_nothing_looked_up(&before).await;
        assert_eq!(scene.server.asked().len(), 0, "nobody asked for a token");
        let ledger = scene.acme.ledger().await;
        let of_rule = ledger.iter().filter(|entry| entry["code"] == code.as_str());
        let refusals: Vec<&Value> = of_rule.collect();
        assert_eq!(refusals.len(), 3, "the call, the test, the accepted call; no dry run: {ledger:?}");
        assert!(refusals.iter().all(|entry| entry["verdict"] == "refuse" && entry["phase"] == "refused"));
    }
    // The neighbours: another rule of the same form, and the same calls.
    let listed = json!({ "connectors": { "mode": "listed", "listed": ["things"] } });
    scene.rule(listed).await;
    scene.call("list").await.is(200);
    assert_eq!(scene.server.asked().len(), 1);
    assert_eq!(scene.test().await.is(200).json["ok"], true);
}

#[tokio::test]
async fn a_connection_that_is_forgotten_gives_its_token_back_unless_it_is_switched_off_or_blocked() {
    let scene = Scene::start().await;
    let revoke = "/oauth/revoke";
    scene.world.upstream.script(revoke, Script::Json(200, "{}"));
    let client = json!({ "client_id": "c", "client_secret": "s3cr3t-0123456789" });
    let all = json!({ "connectors": { "mode": "all", "listed": [] } });
    let enabled = |enabled: bool| json!({ "enabled": enabled });
    let switch = "/admin/connector/things";
    let mut asked = 0;
    for way in ["well", "switched off", "blocked"] {
        scene.acme.connect("things", client.clone()).await;
        scene.call("list").await.is(200);
        match way {
            "switched off" => drop(scene.world.platform.patch(switch, &enabled(false)).await.is(200)),
            "blocked" => scene.rule(json!({ "connectors": { "mode": "listed", "listed": ["other"] } })).await,
            _ => asked += 1,
        }
        scene.acme.workspace.delete(&scene.acme.setting("things")).await.is(204);
        assert_eq!(scene.world.upstream.received_on(revoke).len(), asked, "{way}");
        scene.world.platform.patch(switch, &enabled(true)).await.is(200);
        scene.rule(all.clone()).await;
    }
}

#[tokio::test]
async fn a_consent_of_a_blocked_connector_is_not_begun_and_not_finished() {
    let scene = Scene::start().await;
    let consent = definition("consent", "oauth2_authorization_code");
    scene.world.platform.post("/admin/connector", &consent).await.is(201);
    let client = json!({ "client_id": "c", "client_secret": "s3cr3t-0123456789" });
    scene.acme.connect("consent", client).await;
    let path = format!("{}/oauth/start", scene.acme.setting("consent"));
    let started = scene.acme.workspace.post(&path, &json!({})).await.is(200);
    scene.rule(json!({ "connectors": { "mode": "listed", "listed": ["things"] } })).await;
    let before = scene.world.before().await;
    scene.acme.workspace.post(&path, &json!({})).await.problem(Code::ConnectorNotAllowed);
    let url = started.json["authorize_url"].as_str().unwrap();
    let state = url.split("state=").nth(1).unwrap().split('&').next().unwrap();
    let cookie = started.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let back = format!("/oauth/callback?state={state}&code=code-1");
    let open = scene.acme.workspace.anonymous();
    let answer = open.send("GET", &back, &[("cookie", &cookie)], Vec::new()).await;
    assert_eq!(answer.status, 403, "{}", answer.text);
    scene.world.assert_nothing_looked_up(&before).await;
}

#[tokio::test]
async fn a_connection_that_is_forgotten_is_not_told_to_a_blocked_vendor() {
    let scene = Scene::start().await;
    scene.call("list").await.is(200);
    scene.rule(json!({ "connectors": { "mode": "listed", "listed": [] } })).await;
    let before = scene.world.before().await;
    scene.acme.workspace.delete(&scene.acme.setting("things")).await.is(204);
    scene.world.assert_nothing_looked_up(&before).await;
}

#[tokio::test]
async fn the_first_rule_that_matches_counts_by_connector_action_and_effect() {
    let scene = Scene::start().await;
    let all = ["list", "search", "make", "remove"];
    for (rules, allowed) in [
        (json!([]), &all[..]),
        (json!([{ "effects": ["delete"], "verdict": "block" }]), &["list", "search", "make"]),
        (json!([{ "effects": ["write", "delete"], "verdict": "block" }]), &["list", "search"]),
        (json!([{ "effects": ["read"], "verdict": "block" }]), &["make", "remove"]),
        (json!([{ "actions": ["ma*"], "verdict": "block" }]), &["list", "search", "remove"]),
        (
            json!([{ "actions": ["things/list", "other/make"], "verdict": "block" }]),
            &["search", "make", "remove"],
        ),
        (json!([{ "connectors": ["other"], "verdict": "block" }]), &all[..]),
        (
            json!([
                { "actions": ["remove"], "verdict": "report" },
                { "effects": ["write", "delete"], "verdict": "block" },
            ]),
            &["list", "search", "remove"],
        ),
        (json!([{ "effects": ["read"], "verdict": "report" }, { "verdict": "block" }]), &["list", "search"]),
    ] {
        scene.rule(json!({ "action_rules": rules })).await;
        for action in all {
            let answer = scene.call(action).await;
            match allowed.contains(&action) {
                true => drop(answer.is(200)),
                false => drop(answer.problem(Code::ActionNotAllowed)),
            }
        }
    }
}

#[tokio::test]
async fn a_rule_that_reports_lets_pass_and_says_so_everywhere() {
    let scene = Scene::start().await;
    scene.rule(json!({ "action_rules": [{ "effects": ["write"], "verdict": "report" }] })).await;
    let would = json!({ "check": "org_actions", "verdict": "would_refuse", "code": "action_not_allowed" });
    let made = scene.call("make").await.is(200);
    let decisions = made.json["decisions"].as_array().unwrap();
    assert!(decisions.contains(&would), "{decisions:?}");
    let position = |check: &str| decisions.iter().position(|one| one["check"] == check).unwrap();
    let in_order = ["org_domains", "org_connectors", "org_actions", "action_grant"].map(position);
    assert!(in_order.is_sorted(), "{decisions:?}");
    let path = "/run/acme/main/connector/things/make?dry_run=true";
    let shown = scene.acme.run.post(path, &json!({})).await.is(200);
    assert!(shown.json["decisions"].as_array().unwrap().contains(&would), "{}", shown.text);
    let ledger = scene.acme.ledger().await;
    let own = |action: &str| ledger.iter().find(|entry| entry["action_id"] == action).unwrap().clone();
    assert_eq!(own("make")["would_refuse"], true);
    scene.call("list").await.is(200);
    let ledger = scene.acme.ledger().await;
    let read = ledger.iter().find(|entry| entry["action_id"] == "list").unwrap();
    assert_ne!(read["would_refuse"], true);
}

#[tokio::test]
async fn a_preview_shows_what_a_rule_would_do() {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": "sk-live-0123456789" })).await;
    let automation = acme.automation().await;
    acme.org
        .patch(PATH, &json!({ "action_rules": [{ "effects": ["write"], "verdict": "block" }] }))
        .await
        .is(200);
    let before = world.before().await;
    for workspace in [json!({}), json!({ "workspace": "main" })] {
        let mut body = json!({ "source": { "email": "ada@example.org" } });
        body.as_object_mut().unwrap().extend(workspace.as_object().unwrap().clone());
        let shown = acme.org.post(&format!("/org/acme/automation/{automation}/preview"), &body).await.is(200);
        assert_eq!(shown.json["problem"]["code"], "action_not_allowed", "{}", shown.text);
        let last = shown.json["decisions"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&last["check"], &last["verdict"]), (&json!("org_actions"), &json!("refuse")));
    }
    world.assert_nothing_looked_up(&before).await;
    acme.org.patch(PATH, &json!({ "action_rules": null })).await.is(200);
    let body = json!({ "source": { "email": "ada@example.org" }, "workspace": "main" });
    let shown = acme.org.post(&format!("/org/acme/automation/{automation}/preview"), &body).await.is(200);
    assert!(shown.json["problem"].is_null() && shown.json["request"].is_object(), "{}", shown.text);
}

#[tokio::test]
async fn an_event_tells_of_each_automation_what_a_rule_says() {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": "sk-live-0123456789" })).await;
    let automation = acme.automation().await;
    let bound = contact_automation();
    let event = json!({
        "entity_name": bound["entity_name"], "event_name": bound["event_name"],
        "event_optype": bound["event_optype"], "source": { "email": "ada@example.org" },
    });
    acme.org.patch(PATH, &json!({ "connectors": { "mode": "listed" } })).await.is(200);
    let before = world.before().await;
    let fired = acme.run.post("/run/acme/main/event", &event).await.is(200);
    let run = &fired.json["data"][0];
    assert_eq!(run["automation_id"], automation.as_str());
    assert_eq!((&run["status"], &run["code"]), (&json!("refused"), &json!("connector_not_allowed")));
    world.assert_nothing_looked_up(&before).await;
    acme.org.patch(PATH, &json!({ "connectors": null })).await.is(200);
    let fired = acme.run.post("/run/acme/main/event", &event).await.is(200);
    assert_eq!(fired.json["data"][0]["status"], "succeeded", "{}", fired.text);
}

#[tokio::test]
async fn a_blocked_call_takes_nothing_of_the_orgs_budget() {
    let limits = Limits { org_calls_per_minute: 2, ..Limits::default() };
    let scene =
        Scene::on(Stage { limits: Limits { concurrent_calls: 32, ..limits }, ..Stage::default() }).await;
    scene.rule(json!({ "action_rules": [{ "effects": ["delete"], "verdict": "block" }] })).await;
    for _ in 0..5 {
        scene.call("remove").await.problem(Code::ActionNotAllowed);
    }
    scene.call("list").await.is(200);
    scene.call("list").await.is(200);
    scene.call("list").await.problem(Code::OrgRateLimited);
    scene.call("remove").await.problem(Code::ActionNotAllowed);
}

#[tokio::test]
async fn a_run_is_not_made_again_that_a_rule_forbids_by_now() {
    let scene = Scene::start().await;
    let in_an_hour = portcullis_engine::clock::after(std::time::Duration::from_secs(3600));
    let later = json!({ "input": {}, "not_before": in_an_hour });
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    let path = "/run/acme/main/connector/things/make";
    let body = later.to_string().into_bytes();
    let waiting = scene.acme.run.send("POST", path, &headers, body).await.is(202);
    let id = waiting.json["run_id"].as_str().unwrap().to_owned();
    scene.acme.run.post(&format!("/run/acme/main/{id}/cancel"), &json!({})).await.is(200);
    scene.rule(json!({ "action_rules": [{ "effects": ["write"], "verdict": "block" }] })).await;
    let again = scene.acme.run.post(&format!("/run/acme/main/{id}/rerun"), &json!({})).await;
    again.problem(Code::ActionNotAllowed);
    scene.rule(json!({})).await;
    scene.acme.run.post(&format!("/run/acme/main/{id}/rerun"), &json!({})).await.is(202);
}

#[tokio::test]
async fn an_accepted_run_is_judged_by_the_rules_of_the_time_when_it_is_made() {
    let scene = Scene::start().await;
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    let path = "/run/acme/main/connector/things/make";
    let waiting = scene.acme.run.send("POST", path, &headers, b"{}".to_vec()).await.is(202);
    let id = waiting.json["run_id"].as_str().unwrap().to_owned();
    scene.rule(json!({ "action_rules": [{ "effects": ["write"], "verdict": "block" }] })).await;
    scene.world.engine.start_jobs();
    let ended = scene.acme.run.get(&format!("/run/acme/main/{id}?wait=10")).await.is(200);
    let told = (&ended.json["status"], &ended.json["code"]);
    assert_eq!(told, (&json!("refused"), &json!("action_not_allowed")), "{}", ended.text);
    assert_eq!(scene.acme.ledger().await[0]["code"], "action_not_allowed");
    assert_eq!(scene.world.dialer.dialed().len(), 0);
    assert_eq!((scene.world.upstream.received().len(), scene.server.asked().len()), (0, 0));
}

#[tokio::test]
async fn put_replaces_all_and_patch_merges() {
    let (world, acme) = World::salesforce().await;
    let rules = json!([{ "effects": ["delete"], "verdict": "block" }]);
    let connectors = json!({ "mode": "listed", "listed": ["salesforce"] });
    let whole = json!({
        "domain_allowlist": ["*.salesforce.com"], "mode": "report", "connectors": connectors, "action_rules": rules,
    });
    acme.org.put(PATH, &whole).await.is(200);
    let shown = async || {
        let mut shown = acme.org.get(PATH).await.is(200).json;
        shown.as_object_mut().unwrap().remove("updated_at");
        shown
    };
    assert_eq!(shown().await, whole);
    acme.org.patch(PATH, &json!({ "mode": "enforce" })).await.is(200);
    let mut expected = whole.clone();
    expected["mode"] = json!("enforce");
    assert_eq!(shown().await, expected);
    acme.org.patch(PATH, &json!({ "connectors": { "mode": "all" } })).await.is(200);
    expected["connectors"]["mode"] = json!("all");
    assert_eq!(shown().await, expected, "members of members are merged, too");
    acme.org.patch(PATH, &json!({ "domain_allowlist": null, "action_rules": null })).await.is(200);
    (expected["domain_allowlist"], expected["action_rules"]) = (Value::Null, json!([]));
    assert_eq!(shown().await, expected);
    acme.org.put(PATH, &json!({ "domain_allowlist": null })).await.is(200);
    let empty = json!({ "domain_allowlist": null, "mode": "enforce", "connectors": { "mode": "all" }, "action_rules": [] });
    assert_eq!(shown().await, empty);
    let before = world.before().await;
    acme.org.patch(PATH, &json!([])).await.problem(Code::ValidationFailed);
    acme.org.patch(PATH, &json!({ "unknown": 1 })).await.problem(Code::ValidationFailed);
    world.assert_untouched(&before).await;
}

#[tokio::test]
async fn a_rule_is_checked_entry_by_entry_and_an_unknown_connector_is_told() {
    let limits =
        Limits { org_action_rules: 2, org_rule_entries: 2, org_connectors: 2, ..Stage::default().limits };
    let (world, acme) = World::salesforce_on(Stage { limits, ..Stage::default() }).await;
    let before = world.before().await;
    let block = |rule: Value| {
        let mut rule = rule;
        rule["verdict"] = json!("block");
        json!({ "action_rules": [rule] })
    };
    for (patch, violation) in [
        (json!({ "connectors": { "mode": "some" } }), ("/connectors/mode", "not_in_list")),
        (
            json!({ "connectors": { "mode": "listed", "listed": ["A b"] } }),
            ("/connectors/listed/0", "wrong_form"),
        ),
        (
            json!({ "connectors": { "mode": "listed", "listed": ["a", "b", "c"] } }),
            ("/connectors/listed", "too_many"),
        ),
        (json!({ "action_rules": [{ "effects": ["read"] }] }), ("/action_rules/0/verdict", "missing_field")),
        (block(json!({ "effects": ["reads"] })), ("/action_rules/0/effects/0", "not_in_list")),
        (block(json!({ "effects": [] })), ("/action_rules/0/effects", "empty")),
        (block(json!({ "connectors": [] })), ("/action_rules/0/connectors", "empty")),
        (block(json!({ "connectors": ["a/b"] })), ("/action_rules/0/connectors/0", "wrong_form")),
        (block(json!({ "actions": ["a/b/c"] })), ("/action_rules/0/actions/0", "wrong_form")),
        (block(json!({ "actions": ["**"] })), ("/action_rules/0/actions/0", "wrong_form")),
        (block(json!({ "actions": ["a", "b", "c"] })), ("/action_rules/0/actions", "too_many")),
        (
            json!({ "action_rules": [{ "verdict": "block" }, { "verdict": "block" }, { "verdict": "block" }] }),
            ("/action_rules", "too_many"),
        ),
    ] {
        let answer = acme.org.patch(PATH, &patch).await.problem(Code::ValidationFailed);
        assert_eq!(answer.violations(), [violation], "{patch}");
    }
    world.assert_untouched(&before).await;
    let sound = json!({
        "connectors": { "mode": "listed", "listed": ["salesforce", "salesfroce"] },
        "action_rules": [{ "connectors": ["sales*", "hubspot"], "actions": ["*/delete-*", "list"], "verdict": "report" }],
    });
    let saved = acme.org.patch(PATH, &sound).await.is(200);
    let warned: Vec<&str> =
        saved.json["warnings"].as_array().unwrap().iter().filter_map(|one| one["pointer"].as_str()).collect();
    assert_eq!(warned, ["/connectors/listed/1", "/action_rules/0/connectors/1"], "{}", saved.text);
}

#[tokio::test]
async fn what_can_be_picked_is_marked_where_a_rule_forbids_it() {
    let scene = Scene::start().await;
    let picked = async || scene.acme.org.get("/org/acme/connector").await.is(200).json["data"][0].clone();
    let marks = |entry: &Value| {
        let actions = entry["actions"].as_array().unwrap();
        actions.iter().map(|one| one["allowed"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    let open = picked().await;
    assert_eq!((&open["allowed"], open.get("code"), marks(&open)), (&json!(true), None, vec![true; 4]));
    scene.rule(json!({ "action_rules": [{ "effects": ["delete"], "verdict": "block" }] })).await;
    let some = picked().await;
    assert_eq!((&some["allowed"], marks(&some)), (&json!(true), vec![true, true, true, false]));
    assert_eq!(some["actions"][3]["code"], "action_not_allowed");
    scene.rule(json!({ "connectors": { "mode": "listed", "listed": [] } })).await;
    let none = picked().await;
    assert_eq!((&none["allowed"], &none["code"]), (&json!(false), &json!("connector_not_allowed")));
    assert_eq!(marks(&none), [false; 4]);
}

#[tokio::test]
async fn an_org_lists_its_own_workspaces_and_no_others() {
    let (world, acme) = World::salesforce().await;
    world.tenant("globex", "secret").await;
    world.platform.post("/admin/org/acme/workspace", &json!({ "workspace": "side" })).await.is(201);
    let listed = acme.org.get("/org/acme/workspace").await.is(200);
    let ids: Vec<&str> =
        listed.json["data"].as_array().unwrap().iter().filter_map(|one| one["workspace"].as_str()).collect();
    assert_eq!(ids, ["main", "side"]);
    acme.org.get("/org/globex/workspace").await.problem(Code::OrgNotFound);
    acme.run.get("/org/acme/workspace").await.problem(Code::RoleNotAllowed);
}

#[tokio::test]
async fn a_token_that_must_be_renewed_is_not_asked_for_by_a_blocked_action() {
    let scene = Scene::start().await;
    scene.server.change(|ways| ways.expires_in = json!(1));
    scene.call("list").await.is(200);
    let asked = scene.server.asked().len();
    scene.rule(json!({ "action_rules": [{ "actions": ["list"], "verdict": "block" }] })).await;
    // The token is refused once.
    let requests = AtomicUsize::new(0);
    let script = move |_: &Received| match requests.fetch_add(1, Ordering::SeqCst) {
        0 => Script::Json(401, "{}"),
        _ => Script::Json(200, "{}"),
    };
    scene.world.upstream.script("/v1/things", Script::made(script));
    scene.call("list").await.problem(Code::ActionNotAllowed);
    assert_eq!(scene.server.asked().len(), asked);
    // The neighbour: another action of the same connection, which gets a token in the place of one that works no more.
    scene.call("search").await.is(200);
    assert!(scene.server.asked().len() > asked);
}
