//! The audit log through the whole product: one record for each change and none for a refusal, whose it is, what it shows
//! and what it hides, that it cannot be changed without notice, and that it is written with the change or not at all.

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_core::fault::Code;
use portcullis_engine::audit_log::{keep_logins, sweep};
use portcullis_store::{Batch, TokenRecord};
use serde_json::{Value, json};

use crate::support::{Answer, Client, Stage, World};

mod acts;
mod crashes;
mod offline;
mod routes;
mod scopes;

const KEY: &str = "sk-live-0123456789abcdef";
const POLICY: &str = "/org/acme/settings/integrations";

/// The newest records, as this client reads them.
async fn newest(client: &Client, path: &str) -> Vec<Value> {
    let page = client.get(path).await.is(200);
    page.json["data"].as_array().unwrap().clone()
}

/// The id of the token that a client has.
async fn token_id(world: &World, client: &Client) -> String {
    let hash = hex::encode(digest(&SHA256, client.token().unwrap().as_bytes()));
    let found = world.engine.records().get::<TokenRecord>(&[hash.as_str()]).await.unwrap();
    found.unwrap().0.token_id.as_str().to_owned()
}

fn ids(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["id"].as_str().unwrap()).collect()
}

fn actions(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["action"].as_str().unwrap()).collect()
}

async fn set_policy(client: &Client, list: Value) -> Answer {
    client.put(POLICY, &json!({ "domain_allowlist": list })).await.is(200)
}

/// Storage keys of a kind.
async fn keys(world: &World, prefix: &str) -> Vec<(String, Vec<u8>)> {
    let found = world.engine.records().store().list(prefix, None, 1000).await.unwrap();
    found.into_iter().map(|(key, found)| (key, found.value)).collect()
}

#[tokio::test]
async fn records_are_paged_newest_first_and_filtered() {
    let (world, acme) = World::salesforce().await;
    for host in ["one.example.com", "two.example.com", "three.example.com"] {
        set_policy(&acme.org, json!([host])).await;
    }
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    let all = newest(&world.platform, "/admin/audit?limit=100").await;
    assert!(all.windows(2).all(|pair| pair[0]["at"].as_str() >= pair[1]["at"].as_str()));
    assert_eq!(
        actions(&all)[..4],
        ["saveConnection", "setIntegrations", "setIntegrations", "setIntegrations"]
    );
    let (mut paged, mut path) = (Vec::new(), "/admin/audit?limit=3".to_owned());
    loop {
        let page = world.platform.get(&path).await.is(200);
        paged.extend(page.json["data"].as_array().unwrap().clone());
        let Some(next) = page.json["next"].as_str() else { break };
        path = format!("/admin/audit?limit=3&starting_after={next}");
    }
    assert_eq!(ids(&paged), ids(&all));
    let own = token_id(&world, &acme.org).await;
    for (query, count) in [
        ("action=setIntegrations".to_owned(), 3),
        ("action=setRetention".to_owned(), 0),
        ("target=connection/acme".to_owned(), 1),
        ("target=connection/acme/main/salesforce".to_owned(), 1),
        ("target=connection/acme/main/sales".to_owned(), 0),
        (format!("token_id={own}"), 3),
        ("since=2999-01-01T00:00:00Z".to_owned(), 0),
        ("until=2020-01-01T00:00:00Z".to_owned(), 0),
        ("since=2020-01-01T00:00:00Z&until=2999-01-01T00:00:00Z&action=saveConnection".to_owned(), 1),
    ] {
        assert_eq!(newest(&acme.org, &format!("/org/acme/audit?{query}")).await.len(), count, "{query}");
    }
    let at = all[1]["at"].as_str().unwrap();
    let earlier = newest(&acme.org, &format!("/org/acme/audit?until={at}")).await;
    assert!(earlier.iter().all(|record| record["at"].as_str() < Some(at)));
    let since = newest(&acme.org, &format!("/org/acme/audit?since={at}")).await;
    let own = newest(&acme.org, "/org/acme/audit?limit=100").await;
    assert_eq!(since.len() + earlier.len(), own.len());
    for wrong in ["since=yesterday", "until=1", "starting_after=x", "starting_after=1.globex.1"] {
        acme.org.get(&format!("/org/acme/audit?{wrong}")).await.problem(Code::BadRequest);
    }
}

#[tokio::test]
async fn failed_logins_are_a_record_a_minute_for_each_source_however_many_there_are() {
    let world = World::start().await;
    let before = newest(&world.platform, "/admin/audit?limit=100").await.len();
    for _ in 0..50 {
        world.platform.with_token("pc_platform_none").get("/admin/org").await.is(401);
    }
    world.platform.anonymous().get("/admin/org").await.is(401);
    // The neighbour: a token that is valid, whatever it may not do.
    world.platform.get("/org/acme/audit").await.is(403);
    keep_logins(&world.engine).await.unwrap();
    keep_logins(&world.engine).await.unwrap();
    let after = newest(&world.platform, "/admin/audit?limit=100").await;
    assert_eq!(after.len(), before + 1, "{after:?}");
    let record = &after[0];
    assert_eq!((&record["action"], &record["count"]), (&json!("failedLogin"), &json!(51)));
    assert_eq!((&record["address"], &record["actor"]), (&json!("127.0.0.1"), &json!({ "role": "none" })));
    let checked = world.platform.get("/admin/audit/verify").await.is(200).json;
    assert_eq!(checked["intact"], true, "{checked}");
    assert_eq!(checked["chains"][1]["chain"], "logins");
    assert_eq!(checked["chains"][1]["records"], 1);
}

#[tokio::test]
async fn a_record_that_was_changed_or_taken_away_is_found() {
    let (world, acme) = World::salesforce().await;
    for host in ["one.example.com", "two.example.com"] {
        set_policy(&acme.org, json!([host])).await;
    }
    let is_intact = async || {
        let own = acme.org.get("/org/acme/audit/verify").await.is(200).json;
        let all = world.platform.get("/admin/audit/verify?org=acme").await.is(200).json;
        assert_eq!(own, all);
        own["intact"] == true
    };
    assert!(is_intact().await);
    let store = world.engine.records().store().clone();
    for (key, value) in keys(&world, "audit/acme/").await {
        let text = String::from_utf8(value.clone()).unwrap();
        let forged = text.replacen("127.0.0.1", "127.0.0.2", 1);
        assert_ne!(text, forged);
        store.commit(Batch::new().put(key.clone(), forged.into_bytes())).await.unwrap();
        assert!(!is_intact().await, "changed: {key}");
        store.commit(Batch::new().delete(key.clone())).await.unwrap();
        assert!(!is_intact().await, "taken away: {key}");
        store.commit(Batch::new().put(key, value)).await.unwrap();
        assert!(is_intact().await);
    }
    for (key, value) in keys(&world, "audit_head/acme").await {
        store.commit(Batch::new().delete(key.clone())).await.unwrap();
        assert!(!is_intact().await);
        store.commit(Batch::new().put(key, value)).await.unwrap();
    }
    let other = world.platform.get("/admin/audit/verify").await.is(200).json;
    assert_eq!(other["intact"], true, "the platform's own: {other}");
}

#[tokio::test]
async fn what_is_too_old_or_too_many_goes_and_the_rest_verifies() {
    let mut stage = Stage::default();
    stage.limits.audit_records = 3;
    let (world, acme) = World::salesforce_on(stage).await;
    for number in 0..6 {
        set_policy(&acme.org, json!([format!("h{number}.example.com")])).await;
    }
    let before = newest(&acme.org, "/org/acme/audit").await;
    assert!(sweep(&world.engine).await.unwrap() > 0);
    let after = newest(&acme.org, "/org/acme/audit").await;
    assert_eq!(ids(&after), ids(&before)[..3]);
    assert_eq!(sweep(&world.engine).await.unwrap(), 0);
    let checked = acme.org.get("/org/acme/audit/verify").await.is(200).json;
    assert_eq!((&checked["intact"], &checked["chains"][0]["anchored"]), (&json!(true), &json!(true)));
    set_policy(&acme.org, Value::Null).await;
    assert_eq!(newest(&acme.org, "/org/acme/audit").await.len(), 4);
    assert_eq!(acme.org.get("/org/acme/audit/verify").await.is(200).json["intact"], true);
}

#[tokio::test]
async fn no_secret_and_nothing_that_a_guess_of_one_could_be_checked_with_is_in_it() {
    let (world, acme) = World::salesforce().await;
    let canary = "cnry-Q7f3a9c51e2b84d06Zzx";
    acme.connect("salesforce", json!({ "api_key": canary })).await;
    let made = acme.org.post("/admin/token", &json!({ "role": "run", "org": "acme" })).await.is(201);
    let values = json!({ "values": { "account": "4711" } });
    acme.workspace.put("/workspace/acme/main/settings/values", &values).await.is(200);
    let token = made.json["token"].as_str().unwrap();
    let mut told = world.platform.get("/admin/audit?limit=100").await.is(200).text;
    told.push_str(&acme.org.get("/org/acme/audit?limit=100").await.is(200).text);
    for kind in ["audit/", "audit_head/", "audit_order/"] {
        for (key, value) in keys(&world, kind).await {
            told.push_str(&key);
            told.push_str(&String::from_utf8_lossy(&value));
        }
    }
    let hash = |text: &str| hex::encode(digest(&SHA256, text.as_bytes()));
    // Digests of what is stored, as whoever has a copy of a record could make them without the key.
    let mut guesses =
        vec![canary.to_owned(), token.to_owned(), hash(canary), hash(token), hash(&hash(token))];
    for kind in ["workspace_values/", "setting/", "token/", "token_id/"] {
        for (_, value) in keys(&world, kind).await {
            guesses.push(hex::encode(digest(&SHA256, &value)));
        }
    }
    assert!(guesses.len() > 8 && told.contains("setWorkspaceValues") && told.contains("saveConnection"));
    for guess in guesses {
        assert!(!told.contains(&guess), "{guess}");
    }
}

#[tokio::test]
async fn a_change_whose_record_cannot_be_written_is_not_made() {
    let (world, acme) = World::salesforce().await;
    set_policy(&acme.org, json!(["one.example.com"])).await;
    let store = world.engine.records().store().clone();
    let (head, kept) = keys(&world, "audit_head/acme").await.pop().unwrap();
    let mut damaged: Value = serde_json::from_slice(&kept).unwrap();
    damaged["hash"] = json!("none");
    store.commit(Batch::new().put(head.clone(), damaged.to_string().into_bytes())).await.unwrap();
    let before = world.before().await;
    let other = json!({ "domain_allowlist": ["two.example.com"] });
    acme.org.put(POLICY, &other).await.problem(Code::StoreUnavailable);
    let saved = json!({ "enabled": true, "config": { "api_key": KEY } });
    acme.workspace.put(&acme.setting("salesforce"), &saved).await.problem(Code::StoreUnavailable);
    world.assert_untouched(&before).await;
    let shown = acme.org.get(POLICY).await.is(200).json;
    assert_eq!(shown["domain_allowlist"], json!(["one.example.com"]));
    // The neighbours: what is not recorded, and another org's and the platform's changes.
    acme.create_contact().await.is(200);
    world.tenant("globex", "main").await;
    store.commit(Batch::new().put(head, kept)).await.unwrap();
    acme.org.put(POLICY, &other).await.is(200);
    assert_eq!(acme.org.get("/org/acme/audit/verify").await.is(200).json["intact"], true);
}
