//! S2: text of an upstream that is held against patterns of a definition.

use serde_json::{Value, json};

use super::{definition, scene, soon};
use crate::support::upstream::{Script, whole};
use crate::support::{PUBLIC, Tenant, World};

/// A list whose URL has many variables in one segment, connected.
async fn listing(url: &str, pagination: Value) -> (World, Tenant) {
    let (world, acme) = scene().await;
    world.names.tell("api.salesforce.com", &[PUBLIC]);
    let inputs: Vec<Value> = ["a", "b", "c", "d"]
        .iter()
        .filter(|name| url.contains(&format!("input.{name}")))
        .map(|name| json!({ "name": name, "required": true }))
        .collect();
    let mut action =
        json!({ "action_id": "list", "http_method": "GET", "url_template": url, "body_schema": inputs });
    if pagination.is_object() {
        action["pagination"] = pagination;
    }
    world.platform.post("/admin/connector", &definition(vec![action])).await.is(201);
    acme.workspace.put(&acme.setting("tried"), &json!({ "enabled": true })).await;
    (world, acme)
}

fn input(url: &str) -> Value {
    let given = ["a", "b", "c", "d"].iter().filter(|name| url.contains(&format!("input.{name}")));
    given.map(|name| ((*name).to_owned(), json!("1"))).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_the_next_page_of_an_upstream_is_matched_in_linear_time() {
    const SEVERAL: &str =
        "https://api.salesforce.com/v1/{{input.a}}-{{input.b}}-{{input.c}}-{{input.d}}.json";
    let next_url = json!({ "type": "next_url", "items": "/items", "cursor_path": "/next" });
    let link = json!({ "type": "link_header", "items": "/items" });
    let hostile = [
        format!("/v1/{}", "-".repeat(7000)),
        format!("/v1/{}", "-1".repeat(3500)),
        format!("/{}", "-/".repeat(3500)),
        format!("/v1/{}.json", "%2D-".repeat(1500)),
    ];
    for (next, pagination) in hostile.iter().flat_map(|next| [(next, &next_url), (next, &link)]) {
        let (world, acme) = listing(SEVERAL, pagination.clone()).await;
        let first = whole(
            200,
            &[("link", &format!("<{next}>; rel=\"next\"")), ("content-type", "application/json")],
            &json!({ "items": [1], "next": next }).to_string(),
        );
        world.upstream.script("/v1/1-1-1-1.json", Script::Kept(first));
        let answer = soon(acme.call("tried", "list", input(SEVERAL))).await;
        assert!(answer.json["run"].is_object() || answer.json["run_id"].is_string(), "{:.300}", answer.text);
        assert!(world.upstream.received().len() <= 2);
        world.platform.anonymous().get("/healthz").await.is(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_a_page_that_the_action_grants_is_still_followed() {
    const TWO: &str = "https://api.salesforce.com/v1/{{input.a}}-{{input.b}}.json";
    let (world, acme) =
        listing(TWO, json!({ "type": "next_url", "items": "/items", "cursor_path": "/next" })).await;
    let page = |item: u32, next: Value| Script::json(200, &json!({ "items": [item], "next": next }));
    world.upstream.script("/v1/1-1.json", page(1, json!("/v1/1-1-2.json")));
    world.upstream.script("/v1/1-1-2.json", page(2, Value::Null));
    let answer = soon(acme.call("tried", "list", input(TWO))).await.is(200);
    assert_eq!(answer.json["output"], json!([1, 2]), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_a_header_full_of_commas_asks_for_no_wait() {
    let (world, acme) = listing("https://api.salesforce.com/v1/act", Value::Null).await;
    let header = ",".repeat(60_000);
    let busy = whole(503, &[("retry-after", &header), ("content-type", "application/json")], "{}");
    world.upstream.script("/v1/act", Script::turns(vec![Script::Kept(busy), Script::json(200, &json!([1]))]));
    soon(acme.call("tried", "list", json!({}))).await;
    assert_eq!(world.upstream.received().len(), 2, "a header that says nothing is passed over");
}
