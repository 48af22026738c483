//! Reading the org's ledger: filters, exports, the live stream, and the use of the
//! org's list.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use crate::support::{Tenant, World};

const KEY: &str = "sk-live-0123456789abcdef";

#[tokio::test]
async fn the_ledger_is_filtered_and_a_filter_it_does_not_take_is_refused() {
    let (_world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    acme.create_contact().await.is(200);
    acme.allow(json!([]), "enforce").await;
    acme.create_contact().await.problem(Code::HostNotInOrg);
    let count = async |filter: &str| {
        let answer = acme.org.get(&format!("/org/acme/outbound?{filter}")).await.is(200);
        answer.json["data"].as_array().unwrap().len()
    };
    assert_eq!(count("").await, 2);
    assert_eq!(count("verdict=refuse").await, 1);
    assert_eq!(count("code=host_not_in_org").await, 1);
    assert_eq!(count("verdict=allow&workspace=main&connector_id=salesforce").await, 1);
    assert_eq!(count("workspace=side").await, 0);
    assert_eq!(count("host=api.salesforce.com").await, 2);
    for bad in ["verdict=maybe", "workspace=Not%20An%20Id", "starting_after=out_nope"] {
        acme.org.get(&format!("/org/acme/outbound?{bad}")).await.problem(Code::BadRequest);
    }
}

async fn export(acme: &Tenant, media: &str) -> String {
    let answer = acme.org.send("GET", "/org/acme/outbound", &[("accept", media)], Vec::new()).await.is(200);
    assert_eq!(answer.header("content-type"), Some(media));
    answer.text
}

#[tokio::test]
async fn an_export_is_every_record_oldest_first_and_chains() {
    let (_world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    acme.create_contact().await.is(200);
    acme.allow(json!([]), "enforce").await;
    acme.create_contact().await.problem(Code::HostNotInOrg);
    let text = export(&acme, "application/x-ndjson").await;
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let phases: Vec<_> = records.iter().map(|r| r["event"]["phase"].as_str().unwrap()).collect();
    assert_eq!(phases, ["begin", "complete", "refused"]);
    assert_eq!(records[1]["prev"], records[0]["hash"]);
    assert_eq!(records[2]["prev"], records[1]["hash"]);
    let table = export(&acme, "text/csv").await;
    let rows: Vec<&str> = table.split_terminator("\r\n").collect();
    assert!(rows[0].starts_with("seq,at,phase,"), "{}", rows[0]);
    assert_eq!(rows.len(), 4);
    assert!(rows[3].contains("host_not_in_org"), "{}", rows[3]);
}

#[tokio::test]
async fn the_stream_tells_each_record_when_it_is_written() {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    let globex = world.tenant("globex", "main").await;
    globex.connect("salesforce", json!({ "api_key": KEY })).await;
    let mut stream = acme.org.follow("/org/acme/outbound/stream").await;
    assert_eq!(stream.response.headers()["content-type"], "text/event-stream");
    stream.until(": following").await;
    globex.create_contact().await.is(200);
    acme.create_contact().await.is(200);
    let text = stream.until("\"phase\":\"complete\"").await;
    assert_eq!(text.matches("event: record").count(), 2, "{text}");
    assert!(!text.contains("globex"), "another org's records are not told: {text}");
    globex.org.get("/org/acme/outbound/stream").await.problem(Code::OrgNotFound);
}

#[tokio::test]
async fn usage_says_which_entries_were_hit_and_what_was_asked_for_outside() {
    let (_world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    acme.allow(json!(["api.salesforce.com", "api.hubapi.com"]), "enforce").await;
    acme.create_contact().await.is(200);
    acme.create_contact().await.is(200);
    let path = "/org/acme/settings/integrations/usage";
    let usage = acme.org.get(path).await.is(200).json;
    let hits = |usage: &Value, n: usize| usage["entries"][n]["hits"].as_u64().unwrap();
    assert_eq!((hits(&usage, 0), hits(&usage, 1)), (2, 0));
    assert_eq!(usage["outside"], json!([]));
    acme.allow(json!(["api.hubapi.com"]), "report").await;
    acme.create_contact().await.is(200);
    let usage = acme.org.get(path).await.is(200).json;
    assert_eq!(hits(&usage, 0), 0);
    assert_eq!(usage["outside"][0]["origin"], "https://api.salesforce.com");
    assert_eq!(usage["outside"][0]["attempts"], 3);
}

#[tokio::test]
async fn the_ledger_is_read_page_by_page_from_next_or_from_the_last_entry() {
    let (_world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    for _ in 0..3 {
        acme.create_contact().await.is(200);
    }
    let whole: Vec<Value> = acme.ledger().await;
    assert_eq!(whole.len(), 3);
    for by_next in [true, false] {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = acme.org.get(&format!("/org/acme/outbound?limit=1{after}")).await.is(200).json;
            found.extend(page["data"].as_array().unwrap().iter().cloned());
            assert_eq!(page["has_more"], page["next"].is_string(), "{page}");
            let Some(next) = page["next"].as_str() else { break };
            let last = page["data"][0]["entry_id"].as_str().unwrap();
            after = format!("&starting_after={}", if by_next { next } else { last });
        }
        assert_eq!(found, whole, "by next: {by_next}");
    }
    for bad in ["at.1", "at.x.1", "at.1.2.3.4", "in.1.2", "At", "out%20x"] {
        let path = format!("/org/acme/outbound?starting_after={bad}");
        acme.org.get(&path).await.problem(Code::BadRequest);
    }
}
