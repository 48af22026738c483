//! Circuit breakers: a third party that fails again and again is not asked for a while, and nobody else pays for it.

use std::sync::Arc;

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::fake_network::DialManner;
use crate::support::{Answer, Script, Stage, Tenant, World, until};

mod later;

const ID: &str = "saas";
const PATH: &str = "/v1/act";
const CHECK: &str = "/v1/check";
/// Failures after which breakers open here.
const FAILURES: usize = 6;

/// A connector with an action, which is tried once, and a check of its credential.
fn definition(id: &str) -> Value {
    let url = |path: &str| format!("https://api.salesforce.com{path}");
    json!({
        "connector_id": id, "display_name": "Example", "auth_type": "api_key",
        "auth_schema": { "fields": [{ "name": "api_key", "type": "password", "required": true }] },
        "allowed_domains": ["*.salesforce.com"], "enabled": true,
        "test": { "request": { "action_id": "check", "http_method": "GET", "url_template": url(CHECK) } },
        "actions": [{
            "action_id": "act", "http_method": "POST", "url_template": url(PATH),
            "retry": { "max_attempts": 1 },
            "idempotency": { "in": "header", "name": "Idempotency-Key" },
        }],
    })
}

/// Open for so long that no test sees the end.
fn long() -> Limits {
    Limits {
        concurrent_calls: 32,
        breaker_failures: FAILURES as u64,
        breaker_open_ms: 600_000,
        breaker_open_max_ms: 600_000,
        ..Limits::default()
    }
}

/// Open for a moment.
fn short() -> Limits {
    Limits { breaker_open_ms: 1, breaker_open_max_ms: 1, ..long() }
}

async fn world(limits: Limits) -> World {
    let world = Stage { limits, ..Stage::default() }.start().await;
    world.platform.post("/admin/connector", &definition(ID)).await.is(201);
    world
}

/// An org whose key names it.
async fn connected(world: &World, org: &str) -> Tenant {
    let tenant = world.tenant(org, "main").await;
    tenant.connect(ID, json!({ "api_key": format!("sk-of-{org}-0123456789abcdef") })).await;
    tenant
}

async fn act(tenant: &Tenant) -> Answer {
    tenant.call(ID, "act", json!({})).await
}

/// Fails until a breaker opens.
async fn fail(tenant: &Tenant, times: usize) {
    for _ in 0..times {
        act(tenant).await.problem(Code::UpstreamStatus);
    }
}

/// The breakers that are not closed, as kind and number of failing orgs.
async fn listed(world: &World) -> Vec<Value> {
    let answer = world.platform.get("/admin/breaker").await.is(200);
    answer.json["data"].as_array().unwrap().clone()
}

async fn of_kind(world: &World, kind: &str) -> Vec<Value> {
    listed(world).await.into_iter().filter(|breaker| breaker["kind"] == kind).collect()
}

/// The third party fails for these orgs and answers the others.
fn failing_for(orgs: &'static [&'static str]) -> Script {
    Script::made(|request| {
        let key = request.header("authorization").join(",");
        let fails = orgs.iter().any(|org| key.contains(&format!("sk-of-{org}-")));
        if fails { Script::Json(503, "{}") } else { Script::Json(200, "{}") }
    })
}

#[tokio::test]
async fn a_dead_vendor_is_asked_no_more_and_its_neighbour_is() {
    let world = world(long()).await;
    world.platform.post("/admin/connector", &definition("other")).await.is(201);
    let acme = connected(&world, "acme").await;
    acme.connect("other", json!({ "api_key": "sk-of-other-0123456789abcdef" })).await;
    world.dialer.behave(DialManner::Dead);
    for _ in 0..FAILURES {
        act(&acme).await.problem(Code::ConnectFailed);
    }
    assert_eq!(world.dialer.dialed().len(), FAILURES);
    world.dialer.behave(DialManner::Honest);
    let (before, recorded) = (world.before().await, acme.ledger().await.len());
    for _ in 0..20 {
        let answer = act(&acme).await.problem(Code::CircuitOpen);
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((500..=1200).contains(&wait), "{wait}");
        let run = &answer.json["run"];
        assert_eq!((&run["status"], &run["class"]), (&json!("failed"), &json!("transient")));
        assert!(run["retry_at"].is_string() && run["retryable"] == true, "{run}");
        let refused = json!([{ "check": "breaker", "verdict": "refuse", "code": "circuit_open" }]);
        assert_eq!((&run["decisions"], &run["usage"]["requests"]), (&refused, &json!(0)));
    }
    world.assert_nothing_looked_up(&before).await;
    assert_eq!(acme.ledger().await.len(), recorded, "nothing was begun");
    let runs = acme.run.get("/run/acme/main?code=circuit_open").await.is(200);
    assert_eq!(runs.json["data"].as_array().unwrap().len(), 20, "{}", runs.text);
    acme.call("other", "act", json!({})).await.is(200);
}

#[tokio::test]
async fn a_repeat_of_what_was_not_sent_is_made_and_a_dry_run_tells_it() {
    let world = world(short()).await;
    let acme = connected(&world, "acme").await;
    world.upstream.script(PATH, Script::Json(503, "{}"));
    // Why a dry run first: it touches no breaker.
    let dry = |tenant: &Tenant| {
        let run = tenant.run.clone();
        async move { run.post("/run/acme/main/connector/saas/act?dry_run=true", &json!({ "input": {} })).await }
    };
    assert!(!dry(&acme).await.is(200).text.contains("\"breaker\""));
    fail(&acme, FAILURES).await;
    until("the breaker may be half open", async || {
        listed(&world).await.iter().all(|breaker| breaker["state"] == "half_open")
    })
    .await;
    let held = Arc::new(Semaphore::new(0));
    world.upstream.script(PATH, Script::Held(Arc::clone(&held), Box::new(Script::Json(200, "{}"))));
    let sent = world.upstream.received_on(PATH).len();
    let probe = tokio::spawn({
        let run = acme.run.clone();
        async move { run.post("/run/acme/main/connector/saas/act", &json!({ "input": {} })).await }
    });
    until("the probe is under way", async || world.upstream.received_on(PATH).len() == sent + 1).await;
    let headers = [("idempotency-key", "k-1"), ("content-type", "application/json")];
    let keyed = async || {
        let body = br#"{"input":{}}"#.to_vec();
        acme.run.send("POST", "/run/acme/main/connector/saas/act", &headers, body).await
    };
    keyed().await.problem(Code::CircuitOpen);
    let shown = dry(&acme).await.is(200);
    let last = shown.json["decisions"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last, json!({ "check": "breaker", "verdict": "would_refuse", "code": "circuit_open" }));
    held.add_permits(100);
    probe.await.unwrap().is(200);
    let again = keyed().await.is(200);
    assert_eq!(again.header("idempotency-replayed"), None, "the refusal was not kept");
    assert_eq!(world.upstream.received_on(PATH).len(), sent + 2);
}

#[tokio::test]
async fn an_org_that_fails_alone_stops_itself_and_nobody_else() {
    let world = world(long()).await;
    let (acme, globex) = (connected(&world, "acme").await, connected(&world, "globex").await);
    world.upstream.script(PATH, failing_for(&["acme"]));
    act(&globex).await.is(200);
    fail(&acme, FAILURES).await;
    act(&acme).await.problem(Code::CircuitOpen);
    act(&globex).await.is(200);
    assert!(of_kind(&world, "host").await.is_empty());
    let open = of_kind(&world, "connection").await;
    assert_eq!(open.len(), 1);
    assert_eq!((&open[0]["org"], &open[0]["workspace"]), (&json!("acme"), &json!("main")));
    let setting = acme.workspace.get(&acme.setting(ID)).await.is(200).json;
    assert_eq!(setting["breaker"]["state"], "open");
    assert!(!portcullis_engine::clock::has_passed(setting["breaker"]["until"].as_str().unwrap()));
    let others = globex.workspace.get(&globex.setting(ID)).await.is(200).json;
    assert_eq!(others.get("breaker"), None);
    let offers = acme.workspace.get("/workspace/acme/main/settings/connector").await.is(200).json;
    assert_eq!(offers["data"][0]["breaker"]["state"], "open");
}

#[tokio::test]
async fn an_org_that_is_alone_at_a_host_cannot_close_it_for_one_that_comes() {
    let world = world(long()).await;
    let (acme, globex) = (connected(&world, "acme").await, connected(&world, "globex").await);
    world.upstream.script(PATH, failing_for(&["acme"]));
    fail(&acme, FAILURES).await;
    let host = of_kind(&world, "host").await;
    assert_eq!((&host[0]["affects"], &host[0]["failing_orgs"]), (&json!("failing_orgs"), &json!(1)));
    act(&acme).await.problem(Code::CircuitOpen);
    act(&globex).await.is(200);
    assert!(of_kind(&world, "host").await.is_empty(), "its success shows that the host works");
}

#[tokio::test]
async fn failures_of_three_orgs_stop_all() {
    let world = world(long()).await;
    let mut orgs = Vec::new();
    for org in ["acme", "globex", "initech", "umbrella"] {
        orgs.push(connected(&world, org).await);
    }
    act(&orgs[3]).await.is(200);
    world.upstream.script(PATH, Script::Json(500, "{}"));
    for org in &orgs[..3] {
        fail(org, 2).await;
    }
    let sent = world.upstream.received_on(PATH).len();
    for org in &orgs {
        act(org).await.problem(Code::CircuitOpen);
    }
    assert_eq!(world.upstream.received_on(PATH).len(), sent);
    let open = listed(&world).await;
    assert_eq!(open.len(), 1, "{open:?}");
    for (member, wanted) in [
        ("kind", json!("host")),
        ("connector_id", json!(ID)),
        ("origin", json!("https://api.salesforce.com")),
        ("state", json!("open")),
        ("failing_orgs", json!(3)),
        ("affects", json!("all")),
    ] {
        assert_eq!(open[0][member], wanted, "{member}");
    }
    // A person may ask how it is now, and an answer counts for all.
    let test = format!("{}/test", orgs[3].setting(ID));
    world.upstream.script(CHECK, Script::Json(200, "{}"));
    assert_eq!(orgs[3].workspace.post(&test, &json!({})).await.is(200).json["ok"], true);
    world.upstream.script(PATH, Script::Json(200, "{}"));
    act(&orgs[0]).await.is(200);
}

#[tokio::test]
async fn under_many_calls_exactly_one_probe_goes() {
    let world = world(short()).await;
    let acme = connected(&world, "acme").await;
    world.upstream.script(PATH, Script::Json(502, "{}"));
    fail(&acme, FAILURES).await;
    until("the breaker may be half open", async || {
        let open = listed(&world).await;
        !open.is_empty() && open.iter().all(|breaker| breaker["state"] == "half_open")
    })
    .await;
    let held = Arc::new(Semaphore::new(0));
    world.upstream.script(PATH, Script::Held(Arc::clone(&held), Box::new(Script::Json(200, "{}"))));
    let sent = world.upstream.received_on(PATH).len();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let run = acme.run.clone();
        calls.spawn(
            async move { run.post("/run/acme/main/connector/saas/act", &json!({ "input": {} })).await },
        );
    }
    for _ in 0..9 {
        calls.join_next().await.unwrap().unwrap().problem(Code::CircuitOpen);
    }
    until("the probe is under way", async || world.upstream.received_on(PATH).len() == sent + 1).await;
    held.add_permits(100);
    calls.join_next().await.unwrap().unwrap().is(200);
    assert!(listed(&world).await.is_empty());
    act(&acme).await.is(200);
    assert_eq!(world.upstream.received_on(PATH).len(), sent + 2);
}

#[tokio::test]
async fn what_the_caller_or_the_credential_is_to_blame_for_opens_nothing() {
    let world = world(long()).await;
    let acme = connected(&world, "acme").await;
    for status in [400, 401, 403, 404, 409, 422, 429] {
        world.upstream.script(PATH, Script::Json(status, "{}"));
        fail(&acme, 2 * FAILURES).await;
    }
    acme.allow(json!([]), "enforce").await;
    for _ in 0..2 * FAILURES {
        act(&acme).await.problem(Code::HostNotInOrg);
    }
    assert!(listed(&world).await.is_empty());
    // Beside them, the vendor's own failures do.
    acme.allow(json!(null), "enforce").await;
    world.upstream.script(PATH, Script::Json(500, "{}"));
    fail(&acme, FAILURES).await;
    act(&acme).await.problem(Code::CircuitOpen);
}

#[tokio::test]
async fn a_call_that_was_sent_ends_with_what_the_vendor_said() {
    let limits = Limits { breaker_failures: 2, ..long() };
    let world = world(limits).await;
    let mut tried = definition("tried");
    tried["actions"][0]["retry"] = json!({ "max_attempts": 5, "base_ms": 1 });
    world.platform.post("/admin/connector", &tried).await.is(201);
    let acme = connected(&world, "acme").await;
    acme.connect("tried", json!({ "api_key": "sk-of-acme-0123456789abcdef" })).await;
    world.upstream.script(PATH, Script::Json(503, "{}"));
    let answer = acme.call("tried", "act", json!({})).await.problem(Code::UpstreamStatus);
    assert_eq!(world.upstream.received_on(PATH).len(), 2, "no further attempts");
    assert!(answer.json["run"]["retry_at"].is_string(), "{}", answer.text);
}

#[tokio::test]
async fn the_list_is_the_platforms_and_comes_in_pages() {
    let world = world(long()).await;
    let acme = connected(&world, "acme").await;
    for client in [&acme.org, &acme.workspace, &acme.run] {
        client.get("/admin/breaker").await.problem(Code::RoleNotAllowed);
    }
    world.platform.get("/admin/breaker?state=open").await.problem(Code::UnknownParameter);
    assert!(listed(&world).await.is_empty());
    world.upstream.script(PATH, Script::Json(503, "{}"));
    fail(&acme, FAILURES).await;
    let first = world.platform.get("/admin/breaker?limit=1").await.is(200).json;
    assert_eq!((first["data"].as_array().unwrap().len(), &first["has_more"]), (1, &json!(true)));
    let after = first["data"][0]["breaker_id"].as_str().unwrap();
    let rest = world.platform.get(&format!("/admin/breaker?starting_after={after}")).await.is(200).json;
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["has_more"]), (1, &json!(false)));
    let kinds = [&first["data"][0]["kind"], &rest["data"][0]["kind"]];
    assert!(kinds.contains(&&json!("connection")) && kinds.contains(&&json!("host")), "{kinds:?}");
    let counts = world.engine.breakers().snapshot();
    assert_eq!(
        counts.iter().filter(|count| count.state.is_some()).map(|count| count.count).sum::<usize>(),
        2
    );
}
