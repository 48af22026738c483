//! Lists that come in pages, through the whole product.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::{ID, PATH, connected, definition};
use crate::support::token_server::answer_with;
use crate::support::{Answer, Script, Tenant, World};

async fn listing(pagination: Value) -> (World, Tenant) {
    connected(&definition("GET", &json!({ "pagination": pagination }), &json!({}))).await
}

async fn list(acme: &Tenant) -> Answer {
    acme.call(ID, "act", json!({})).await
}

/// Three pages by the number in the query; `next` makes the next page's URL in a page's answer.
fn pages(world: &World, next: impl Fn(u32) -> (Vec<(String, String)>, Value) + Send + Sync + 'static) {
    let make = move |request: &crate::support::upstream::Received| {
        let page = request.line().rsplit_once("p=").map_or(1, |(_, page)| page.parse().unwrap());
        let (headers, next) = if page < 3 { next(page + 1) } else { (Vec::new(), Value::Null) };
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let body = json!({ "items": [format!("{page}a"), format!("{page}b")], "next": next });
        answer_with(200, &headers, &body.to_string())
    };
    world.upstream.script(PATH, Script::made(make));
}

fn all() -> Value {
    json!(["1a", "1b", "2a", "2b", "3a", "3b"])
}

fn targets(world: &World) -> Vec<String> {
    world.upstream.received().iter().map(|r| r.line().to_owned()).collect()
}

#[tokio::test]
async fn three_pages_by_cursor_link_header_and_next_url_are_one_list() {
    let absolute = |page: u32| format!("https://api.salesforce.com{PATH}?p={page}");
    let cursor = json!({ "type": "cursor", "items": "/items", "cursor_path": "/next", "param": "p" });
    let (world, acme) = listing(cursor).await;
    pages(&world, |page| (vec![], json!(page)));
    let (linked, acme_linked) = listing(json!({ "type": "link_header", "items": "/items" })).await;
    let link = move |page| {
        let value = format!(
            "<https://api.salesforce.com/v1/act?p=1>; rel=\"first\", <{}>; rel=\"next\"",
            absolute(page)
        );
        (vec![("link".to_owned(), value)], Value::Null)
    };
    pages(&linked, link);
    let next_url = || json!({ "type": "next_url", "items": "/items", "cursor_path": "/next" });
    let (named, acme_named) = listing(next_url()).await;
    pages(&named, |page| (vec![], json!(format!("https://api.salesforce.com{PATH}?p={page}"))));
    let (relative, acme_relative) = listing(next_url()).await;
    pages(&relative, |page| (vec![], json!(format!("{PATH}?p={page}"))));
    for (world, acme) in
        [(&world, &acme), (&linked, &acme_linked), (&named, &acme_named), (&relative, &acme_relative)]
    {
        let answer = list(acme).await.is(200);
        assert_eq!(answer.json["output"], all());
        let upstream = &answer.json["upstream"];
        assert_eq!((&upstream["pages"], &upstream["truncated"]), (&json!(3), &json!(false)));
        assert_eq!(answer.json["usage"]["requests"], 3);
        let expected = ["GET /v1/act", "GET /v1/act?p=2", "GET /v1/act?p=3"];
        assert_eq!(targets(world), expected);
        for request in world.upstream.received() {
            assert_eq!(request.header("authorization"), ["Bearer sk-live-0123456789abcdef"]);
        }
        assert_eq!(acme.ledger().await.len(), 3, "each page is in the ledger");
        assert_eq!(world.engine.vault().opens(), 3, "and opens the credential for itself");
    }
}

#[tokio::test]
async fn a_list_that_goes_round_is_an_error_and_not_an_endless_call() {
    let next_url = json!({ "type": "next_url", "items": "/items", "cursor_path": "/next" });
    for (pagination, next, requests) in [
        (json!({ "type": "cursor", "items": "/items", "cursor_path": "/next", "param": "p" }), "same", 2),
        (next_url.clone(), "/v1/act", 1),
        (next_url, "/v1/act?p=7", 2),
        (json!({ "type": "link_header", "items": "/items" }), "", 2),
    ] {
        let (world, acme) = listing(pagination).await;
        let body = json!({ "items": [1], "next": next }).to_string();
        let link = [("link", "</v1/act?p=9>; rel=next")];
        world.upstream.script(PATH, answer_with(200, &link, &body));
        let answer = list(&acme).await.problem(Code::PaginationFailed);
        assert_eq!(world.upstream.received().len(), requests, "{next}");
        assert!(answer.json["detail"].as_str().unwrap().contains("loops"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_next_url_that_leads_elsewhere_is_refused_and_nothing_is_sent_there() {
    let next_url = json!({ "type": "next_url", "items": "/items", "cursor_path": "/next" });
    let (world, acme) = listing(next_url).await;
    for next in [
        "https://login.salesforce.com/v1/act?p=2",
        "https://example-evil.com/v1/act?p=2",
        "http://example-evil.com/v1/act?p=2",
        "https://api.salesforce.com:8443/v1/act?p=2",
        "https://api.salesforce.com@example-evil.com/v1/act",
        "//example-evil.com/v1/act",
        "\\\\example-evil.com\\",
        "https://93.184.216.34/v1/act",
        "javascript:alert(1)",
    ] {
        let before = (world.upstream.received().len(), world.names.asked().len());
        let body = json!({ "items": [1], "next": next }).to_string();
        world.upstream.script(PATH, answer_with(200, &[], &body));
        list(&acme).await.problem(Code::PaginationFailed);
        assert_eq!(world.upstream.received().len(), before.0 + 1, "{next}");
        let asked = world.names.asked();
        assert!(asked.iter().all(|name| name == "api.salesforce.com"), "{asked:?}");
    }
}

#[tokio::test]
async fn the_most_pages_and_items_end_a_list_that_says_that_it_was_cut() {
    let cursor = |more: Value| {
        let mut plan = json!({ "type": "cursor", "items": "/items", "cursor_path": "/next", "param": "p" });
        super::lay(&mut plan, &more);
        plan
    };
    for (more, requests, output) in [
        (json!({ "max_pages": 2 }), 2, json!(["1a", "1b", "2a", "2b"])),
        (json!({ "max_pages": 1 }), 1, json!(["1a", "1b"])),
        (json!({ "max_items": 3 }), 2, json!(["1a", "1b", "2a"])),
    ] {
        let (world, acme) = listing(cursor(more)).await;
        pages(&world, |page| (vec![], json!(page)));
        let answer = list(&acme).await.is(200);
        assert_eq!((&answer.json["output"], &answer.json["upstream"]["truncated"]), (&output, &json!(true)));
        assert_eq!(world.upstream.received().len(), requests);
    }
}

#[tokio::test]
async fn a_page_that_fails_is_no_half_a_list_and_a_retry_begins_at_the_first_page() {
    let cursor = json!({ "type": "cursor", "items": "/items", "cursor_path": "/next", "param": "p" });
    let (world, acme) = listing(cursor).await;
    let failed = std::sync::atomic::AtomicBool::new(false);
    world.upstream.script(
        PATH,
        Script::made(move |request| match request.line() {
            "GET /v1/act" => Script::Json(200, r#"{"items":[1],"next":"2"}"#),
            _ if !failed.swap(true, std::sync::atomic::Ordering::SeqCst) => Script::Json(503, "{}"),
            _ => Script::Json(200, r#"{"items":[2]}"#),
        }),
    );
    let answer = list(&acme).await.is(200);
    assert_eq!(answer.json["output"], json!([1, 2]));
    let expected = ["GET /v1/act", "GET /v1/act?p=2", "GET /v1/act", "GET /v1/act?p=2"];
    assert_eq!(targets(&world), expected);
    world.upstream.script(PATH, Script::Json(500, "{}"));
    list(&acme).await.problem(Code::UpstreamStatus);
}
