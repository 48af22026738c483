//! Tokens: limited to connectors, actions and automations; when they were last used; the last one of the platform.

use portcullis_core::fault::Code;
use portcullis_engine::api_token;
use portcullis_store::{TokenRecord, TokenUse};
use serde_json::{Value, json};

use crate::support::world::contact_automation;
use crate::support::{Answer, Client, SALESFORCE, Stage, Tenant, World, lay};

const KEY: &str = "sk-live-0123456789abcdef";
const CONTACT: &str = "/run/acme/main/connector/salesforce/create-contact";

/// The Salesforce example and a second connector `crm` with the same action and a read, both connected.
async fn scene() -> (World, Tenant) {
    let (world, acme) = World::salesforce().await;
    let mut crm: Value = serde_json::from_str(SALESFORCE).unwrap();
    crm["connector_id"] = json!("crm");
    let list = json!({ "action_id": "list-contacts", "http_method": "GET",
                       "url_template": "https://api.salesforce.com/v1/list" });
    crm["actions"].as_array_mut().unwrap().push(list);
    world.platform.post("/admin/connector", &crm).await.is(201);
    for connector in ["salesforce", "crm"] {
        acme.connect(connector, json!({ "api_key": KEY })).await;
    }
    (world, acme)
}

/// A run token with these limits.
async fn limited(world: &World, limits: Value) -> Client {
    let mut spec = json!({ "role": "run", "org": "acme", "workspace": "main" });
    lay(&mut spec, &limits);
    world.platform.with_token(world.token(&spec).await)
}

async fn automation(acme: &Tenant, connector: &str) -> String {
    let mut automation = contact_automation();
    automation["destination_config"]["connector_id"] = json!(connector);
    let made = acme.org.post("/org/acme/automation", &automation).await.is(201);
    made.json["automation_id"].as_str().unwrap().to_owned()
}

async fn call(client: &Client, connector: &str, action: &str) -> Answer {
    let input = if action == "list-contacts" { json!({}) } else { json!({ "Email": "ada@example.org" }) };
    client.post(&format!("/run/acme/main/connector/{connector}/{action}"), &json!({ "input": input })).await
}

async fn fire(client: &Client, automation: &str) -> Answer {
    let body = json!({ "source": { "email": "ada@example.org" } });
    client.post(&format!("/run/acme/main/automation/{automation}"), &body).await
}

fn ids<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    answer.json["data"].as_array().unwrap().iter().filter_map(|one| one[name].as_str()).collect()
}

#[tokio::test]
async fn a_limited_token_calls_what_is_in_all_of_its_lists_and_nothing_else() {
    let (world, acme) = scene().await;
    let (to_crm, to_salesforce) = (automation(&acme, "crm").await, automation(&acme, "salesforce").await);
    let all = [("salesforce", "create-contact"), ("crm", "create-contact"), ("crm", "list-contacts")];
    for (limits, calls, fires) in [
        (json!({}), vec![0, 1, 2], vec![&to_crm, &to_salesforce]),
        (json!({ "connectors": ["crm"] }), vec![1, 2], vec![&to_crm]),
        (json!({ "actions": ["*/create-contact"] }), vec![0, 1], vec![&to_crm, &to_salesforce]),
        (json!({ "actions": ["crm/*"], "connectors": ["crm", "salesforce"] }), vec![1, 2], vec![&to_crm]),
        (json!({ "actions": ["*/list-*"], "connectors": ["crm"] }), vec![2], vec![]),
        (json!({ "automations": [to_crm] }), vec![], vec![&to_crm]),
        (json!({ "automations": [to_crm], "connectors": ["salesforce"] }), vec![], vec![]),
        (json!({ "connectors": [] }), vec![], vec![]),
    ] {
        let client = limited(&world, limits.clone()).await;
        for (number, (connector, action)) in all.iter().enumerate() {
            let before = world.before().await;
            let answer = call(&client, connector, action).await;
            if calls.contains(&number) {
                answer.is(200);
            } else {
                answer.problem(Code::NotGranted);
                world.assert_nothing_looked_up(&before).await;
            }
        }
        for id in [&to_crm, &to_salesforce] {
            let answer = fire(&client, id).await;
            match fires.contains(&id) {
                true => drop(answer.is(200)),
                false => drop(answer.problem(Code::NotGranted)),
            }
        }
        let shown = client.get("/org/acme/automation").await.is(200);
        let mut listed = ids(&shown, "automation_id");
        listed.sort_unstable();
        let mut expected: Vec<&str> = fires.iter().map(|id| id.as_str()).collect();
        expected.sort_unstable();
        assert_eq!(listed, expected, "{limits}");
        let shown = client.get("/org/acme/connector").await.is(200);
        let callable = shown.json["data"].as_array().unwrap().iter().flat_map(|connector| {
            let actions = connector["actions"].as_array().unwrap();
            actions.iter().map(|action| {
                (connector["connector_id"].as_str().unwrap(), action["action_id"].as_str().unwrap())
            })
        });
        let callable: std::collections::BTreeSet<_> = callable.collect();
        let expected = calls.iter().map(|number| all[*number]).collect();
        assert_eq!(callable, expected, "{limits}");
    }
}

#[tokio::test]
async fn a_limited_token_sees_cancels_and_reruns_only_what_it_may_call() {
    let (world, acme) = scene().await;
    let later = [("prefer", "respond-async"), ("content-type", "application/json")];
    let in_an_hour = portcullis_engine::clock::after(std::time::Duration::from_secs(3600));
    let body = json!({ "input": { "Email": "ada@example.org" }, "not_before": in_an_hour });
    let mut runs = Vec::new();
    for connector in ["salesforce", "crm"] {
        call(&acme.run, connector, "create-contact").await.is(200);
        let path = format!("/run/acme/main/connector/{connector}/create-contact");
        let waiting = acme.run.send("POST", &path, &later, body.to_string().into_bytes()).await.is(202);
        runs.push(waiting.json["run_id"].as_str().unwrap().to_owned());
    }
    let client = limited(&world, json!({ "connectors": ["crm"] })).await;
    let listed = client.get("/run/acme/main").await.is(200);
    assert_eq!(ids(&listed, "connector_id"), ["crm"]);
    let listed = client.get("/run/acme/main?status=queued").await.is(200);
    assert_eq!(ids(&listed, "run_id"), [runs[1].as_str()]);
    let own = acme.run.get("/run/acme/main?status=queued").await.is(200);
    assert_eq!(ids(&own, "run_id").len(), 2, "the neighbour sees both");
    for (run, is_covered) in [(&runs[0], false), (&runs[1], true)] {
        let path = format!("/run/acme/main/{run}");
        for answer in [client.get(&path).await, client.post(&format!("{path}/cancel"), &json!({})).await] {
            match is_covered {
                true => drop(answer.is(200)),
                false => drop(answer.problem(Code::NotGranted)),
            }
        }
    }
    acme.run.post(&format!("/run/acme/main/{}/cancel", runs[0]), &json!({})).await.is(200);
    for (run, is_covered) in [(&runs[0], false), (&runs[1], true)] {
        let answer = client.post(&format!("/run/acme/main/{run}/rerun"), &json!({})).await;
        match is_covered {
            true => drop(answer.is(202)),
            false => drop(answer.problem(Code::NotGranted)),
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_kept_is_not_given_to_a_token_that_may_not_make_the_call() {
    let (world, acme) = scene().await;
    let key = [("idempotency-key", "key-1"), ("content-type", "application/json")];
    let body = json!({ "input": { "Email": "ada@example.org" } }).to_string().into_bytes();
    let first = acme.run.send("POST", CONTACT, &key, body.clone()).await.is(200);
    let client = limited(&world, json!({ "connectors": ["crm"] })).await;
    client.send("POST", CONTACT, &key, body.clone()).await.problem(Code::NotGranted);
    let covered = limited(&world, json!({ "connectors": ["salesforce"] })).await;
    let again = covered.send("POST", CONTACT, &key, body).await.is(200);
    assert_eq!((again.header("idempotency-replayed"), &again.json), (Some("true"), &first.json));
}

#[tokio::test]
async fn an_event_fires_what_a_token_covers_and_names_the_others() {
    let (world, acme) = scene().await;
    let (to_crm, to_salesforce) = (automation(&acme, "crm").await, automation(&acme, "salesforce").await);
    let event = |id: &str| {
        json!({
            "event_id": id, "entity_name": "contact", "event_name": "contact.created", "event_optype": "create",
            "source": { "email": "ada@example.org" },
        })
    };
    let client = limited(&world, json!({ "connectors": ["crm"] })).await;
    let of = |answer: &Answer, id: &str| {
        let entries = answer.json["data"].as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["automation_id"] == id).unwrap().clone();
        (entry["status"].clone(), entry["code"].clone(), entry["run_id"].clone())
    };
    let first = client.post("/run/acme/main/event", &event("e1")).await.is(200);
    assert_eq!(of(&first, &to_crm).0, "succeeded", "{}", first.text);
    let told = of(&first, &to_salesforce);
    assert_eq!((&told.0, &told.1, &told.2), (&json!("failed"), &json!("not_granted"), &Value::Null));
    assert_eq!(world.upstream.received().len(), 1);
    // Again by the same token: nothing new. By one that covers the other: that one, once.
    let again = client.post("/run/acme/main/event", &event("e1")).await.is(200);
    assert_eq!(of(&again, &to_crm).2, of(&first, &to_crm).2);
    assert_eq!(of(&again, &to_salesforce).1, "not_granted");
    assert_eq!(world.upstream.received().len(), 1);
    let whole = acme.run.post("/run/acme/main/event", &event("e1")).await.is(200);
    assert_eq!(of(&whole, &to_salesforce).0, "succeeded", "{}", whole.text);
    assert_eq!(of(&whole, &to_crm).2, of(&first, &to_crm).2);
    assert_eq!(world.upstream.received().len(), 2);
    // What was fired by the wider token is not told to the narrower one.
    let told = of(&client.post("/run/acme/main/event", &event("e1")).await.is(200), &to_salesforce);
    assert_eq!((told.1, told.2), (json!("not_granted"), Value::Null));
    assert_eq!(world.upstream.received().len(), 2);
}

#[tokio::test]
async fn limits_are_of_run_tokens_are_checked_and_are_shown() {
    let limits = portcullis_core::limits::Limits { token_grants: 2, ..Stage::default().limits };
    let (world, acme) = World::salesforce_on(Stage { limits, ..Stage::default() }).await;
    let before = world.before().await;
    let of_run = |limits: Value| {
        let mut spec = json!({ "role": "run", "org": "acme" });
        lay(&mut spec, &limits);
        spec
    };
    for (spec, violation) in [
        (json!({ "role": "org", "org": "acme", "connectors": ["crm"] }), ("/connectors", "scope")),
        (json!({ "role": "platform", "automations": [] }), ("/automations", "scope")),
        (of_run(json!({ "actions": ["list"] })), ("/actions/0", "wrong_form")),
        (of_run(json!({ "actions": ["crm/list", "crm/**"] })), ("/actions/1", "wrong_form")),
        (of_run(json!({ "connectors": ["A b"] })), ("/connectors/0", "wrong_form")),
        (of_run(json!({ "connectors": ["a", "b", "c"] })), ("/connectors", "too_many")),
    ] {
        let answer = world.platform.post("/admin/token", &spec).await.problem(Code::ValidationFailed);
        assert_eq!(answer.violations(), [violation], "{spec}");
    }
    world.assert_untouched(&before).await;
    let sound = of_run(json!({
        "connectors": ["crm"], "actions": ["crm/*"], "automations": [], "expires_at": "2999-01-01T00:00:00Z",
    }));
    let made = acme.org.post("/admin/token", &sound).await.is(201);
    let listed = acme.org.get("/admin/token").await.is(200);
    let entries = listed.json["data"].as_array().unwrap();
    let shown = entries.iter().find(|one| one["token_id"] == made.json["token_id"]).unwrap();
    for (name, value) in [
        ("connectors", json!(["crm"])),
        ("actions", json!(["crm/*"])),
        ("automations", json!([])),
        ("expires_at", json!("2999-01-01T00:00:00Z")),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
    assert_eq!(shown.get("last_used_at"), None, "never used");
}

#[tokio::test]
async fn when_a_token_was_last_used_is_shown_to_the_minute_and_kept_without_touching_it() {
    let (world, acme) = World::salesforce().await;
    let made = acme.org.post("/admin/token", &json!({ "role": "run", "org": "acme" })).await.is(201);
    let id = made.json["token_id"].as_str().unwrap();
    let run = world.platform.with_token(made.json["token"].as_str().unwrap());
    let shown = async || {
        let listed = acme.org.get("/admin/token").await.is(200);
        let found = listed.json["data"].as_array().unwrap().iter().find(|one| one["token_id"] == id).cloned();
        found.unwrap().get("last_used_at").and_then(Value::as_str).map(str::to_owned)
    };
    assert_eq!(shown().await, None);
    run.get("/run/acme/main").await.is(200);
    let used = shown().await.unwrap();
    assert!(used.ends_with(":00.000Z"), "{used}");
    let records = world.engine.records();
    let hashes = records.list::<TokenRecord>(&[], None, 100).await.unwrap();
    let before: Vec<u64> = hashes.iter().map(|(_, _, commit)| *commit).collect();
    assert_eq!(records.get::<TokenUse>(&[id]).await.unwrap(), None, "not with each request");
    api_token::keep_uses(&world.engine).await.unwrap();
    assert_eq!(records.get::<TokenUse>(&[id]).await.unwrap().unwrap().0.last_used_at, used);
    let commits = world.before().await;
    api_token::keep_uses(&world.engine).await.unwrap();
    world.assert_untouched(&commits).await;
    let after = records.list::<TokenRecord>(&[], None, 100).await.unwrap();
    assert_eq!(before, after.iter().map(|(_, _, commit)| *commit).collect::<Vec<_>>());
    acme.org.delete(&format!("/admin/token/{id}")).await.is(204);
    api_token::keep_uses(&world.engine).await.unwrap();
    assert_eq!(records.get::<TokenUse>(&[id]).await.unwrap(), None, "a use does not outlive its token");
}

/// Ids of the tokens of the platform.
async fn of_platform(client: &Client) -> Vec<String> {
    let listed = client.get("/admin/token").await.is(200);
    let entries = listed.json["data"].as_array().unwrap().iter();
    entries
        .filter(|one| one["role"] == "platform")
        .map(|one| one["token_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn the_last_platform_token_that_is_alive_stays() {
    let world = World::start().await;
    let [own] = of_platform(&world.platform).await.try_into().unwrap();
    let path = format!("/admin/token/{own}");
    let before = world.before().await;
    world.platform.delete(&path).await.problem(Code::LastPlatformToken);
    world.assert_untouched(&before).await;
    let soon = portcullis_engine::clock::after(std::time::Duration::from_millis(1500));
    let spec = json!({ "role": "platform", "expires_at": soon });
    let expiring = world.platform.post("/admin/token", &spec).await.is(201);
    crate::support::until("the token expires", async || portcullis_engine::clock::has_passed(&soon)).await;
    world.platform.delete(&path).await.problem(Code::LastPlatformToken);
    // The neighbours: one that has expired, and one that is not the last.
    let expired = expiring.json["token_id"].as_str().unwrap();
    world.platform.delete(&format!("/admin/token/{expired}")).await.is(204);
    let other = world.token(&json!({ "role": "platform" })).await;
    world.platform.delete(&path).await.is(204);
    world.platform.get("/admin/org").await.problem(Code::Unauthorized);
    world.platform.with_token(other).get("/admin/org").await.is(200);
}

#[tokio::test]
async fn of_two_platform_tokens_that_are_revoked_at_once_one_stays() {
    let world = World::start().await;
    let mut client = world.platform.clone();
    for _ in 0..10 {
        let [own] = of_platform(&client).await.try_into().unwrap();
        let made = client.post("/admin/token", &json!({ "role": "platform" })).await.is(201);
        let other = client.with_token(made.json["token"].as_str().unwrap());
        let other_path = format!("/admin/token/{}", made.json["token_id"].as_str().unwrap());
        let path = format!("/admin/token/{own}");
        // Why each its own: so that neither loses the right to ask before it has.
        let (first, second) = tokio::join!(client.delete(&path), other.delete(&other_path));
        let (gone, stays) = if first.status == 204 { (first, second) } else { (second, first) };
        gone.is(204);
        if stays.text.contains(Code::LastPlatformToken.as_str()) {
            stays.problem(Code::LastPlatformToken);
        } else {
            stays.problem(Code::InUse);
        }
        client = if client.get("/admin/org").await.status == 200 { client } else { other };
        client.get("/admin/org").await.is(200);
    }
}

#[tokio::test]
async fn only_the_refusal_of_a_login_waits_and_never_a_valid_token() {
    let limits = portcullis_core::limits::Limits {
        login_failures: 1,
        login_delay_ms: 30_000,
        ..Stage::default().limits
    };
    let world = Stage { limits, ..Stage::default() }.start().await;
    let anyone = world.platform.anonymous();
    let failing: Vec<_> = (0..200)
        .map(|_| {
            let anyone = anyone.clone();
            tokio::spawn(async move { anyone.get("/admin/org").await.status })
        })
        .collect();
    // Why through them: all have been counted once the first has been answered, and the last waits for 20 s.
    crate::support::until("one is answered", async || {
        failing.iter().any(tokio::task::JoinHandle::is_finished)
    })
    .await;
    world.platform.get("/admin/org").await.is(200);
    assert!(failing.iter().any(|one| !one.is_finished()), "those who fail wait");
    failing.iter().for_each(tokio::task::JoinHandle::abort);
}
