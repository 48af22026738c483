//! A list of hosts that changes while calls run: those end whose host fell out, and no others.

use std::sync::Arc;

use portcullis_core::fault::Code;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::{ID, PATH, connected, definition};
use crate::support::{Answer, PUBLIC, Script, Tenant, World, until};

/// A call; its input chooses the host.
fn begin(acme: &Tenant, host: &str) -> JoinHandle<Answer> {
    let (run, input) = (acme.run.clone(), json!({ "input": { "host": host } }));
    tokio::spawn(async move { run.post(&format!("/run/acme/main/connector/{ID}/act"), &input).await })
}

/// Calls whose host their input chooses.
async fn chosen_hosts(more: Value, top: Value) -> (World, Tenant) {
    let mut action = json!({
        "url_template": format!("https://{{{{input.host}}}}.salesforce.com{PATH}"),
        "body_schema": [{ "name": "host", "label": "Host", "required": true }],
    });
    super::lay(&mut action, &more);
    let (world, acme) = connected(&definition(&action, &top)).await;
    for name in ["eu.salesforce.com", "us.salesforce.com"] {
        world.names.tell(name, &[PUBLIC]);
    }
    (world, acme)
}

/// An upstream that answers on a path when it is let go, with this.
fn hold(world: &World, path: &str, answer: Script) -> Arc<Semaphore> {
    let upstream = Arc::new(Semaphore::new(0));
    world.upstream.script(path, Script::Held(Arc::clone(&upstream), Box::new(answer)));
    upstream
}

/// Lists that still have `eu` and do not have `us`.
fn narrower() -> Value {
    json!(["api.salesforce.com", "eu.salesforce.com"])
}

#[tokio::test]
async fn h11_a_call_that_has_not_chosen_its_host_yet_goes_on_where_the_new_list_has_it() {
    // The second call waits for the first one's place, and has sent nothing.
    let one_at_a_time = json!({ "rate_limit": [{ "concurrency": 1 }], "retry": { "max_wait_ms": 20_000 } });
    for (host, goes_on) in [("eu", true), ("us", false)] {
        let (world, acme) = chosen_hosts(one_at_a_time.clone(), json!({})).await;
        acme.allow(json!(["*.salesforce.com"]), "enforce").await;
        let upstream = hold(&world, PATH, Script::Json(200, r#"{"ok":true}"#));
        let first = begin(&acme, "eu");
        until("the first has arrived", async || world.upstream.received().len() == 1).await;
        let second = begin(&acme, host);
        until("the second waits", async || world.engine.active_calls() == 2).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        acme.allow(narrower(), "enforce").await;
        upstream.add_permits(2);
        first.await.unwrap().is(200);
        let second = second.await.unwrap();
        if goes_on {
            assert_eq!(second.status, 200, "{}", second.text);
        } else {
            second.problem(Code::HostNotInOrg);
            assert_eq!(world.upstream.received().len(), 1, "nothing was sent");
        }
    }
}

#[tokio::test]
async fn h11_a_list_in_pages_goes_on_page_by_page_under_the_new_list() {
    let pages = json!({ "pagination": { "type": "cursor", "items": "/items", "cursor_path": "/next", "param": "p" } });
    let changes: [(&str, Value, &str, bool); 6] = [
        ("eu", narrower(), "enforce", true),
        ("eu", json!(["*.salesforce.com", "eu.salesforce.com"]), "enforce", true),
        ("eu", json!(["eu.salesforce.com"]), "report", true),
        ("us", narrower(), "enforce", false),
        ("us", narrower(), "report", true),
        ("us", json!(null), "enforce", true),
    ];
    for (host, list, mode, goes_on) in changes {
        let (world, acme) = chosen_hosts(pages.clone(), json!({})).await;
        acme.allow(json!(["*.salesforce.com"]), "enforce").await;
        let upstream = Arc::new(Semaphore::new(0));
        let wait = Arc::clone(&upstream);
        let page = move |request: &crate::support::upstream::Received| {
            let next = if request.line().contains("p=2") { Value::Null } else { json!("2") };
            let answer = Script::json(200, &json!({ "items": [1], "next": next }));
            Script::Held(Arc::clone(&wait), Box::new(answer))
        };
        world.upstream.script(PATH, Script::made(page));
        let call = begin(&acme, host);
        until("the first page is asked for", async || world.upstream.received().len() == 1).await;
        acme.allow(list.clone(), mode).await;
        if goes_on {
            upstream.add_permits(2);
            let answer = call.await.unwrap();
            assert_eq!(answer.status, 200, "{host} {list} {mode}: {}", answer.text);
            assert_eq!(answer.json["output"], json!([1, 1]));
        } else {
            call.await.unwrap().problem(Code::HostNotInOrg);
            assert_eq!(world.upstream.received().len(), 1);
        }
    }
}

#[tokio::test]
async fn h11_a_redirect_is_judged_by_the_list_of_its_time() {
    let follow = json!({ "egress": { "redirects": { "follow": "allowed_hosts" } } });
    for (list, goes_on) in [(json!(["eu.salesforce.com", "us.salesforce.com"]), true), (narrower(), false)] {
        let (world, acme) = chosen_hosts(json!({}), follow.clone()).await;
        acme.allow(json!(["*.salesforce.com"]), "enforce").await;
        let there =
            b"HTTP/1.1 302 Found\r\nlocation: https://us.salesforce.com/there\r\ncontent-length: 0\r\n\r\n";
        let upstream = hold(&world, PATH, Script::Kept(there.to_vec()));
        let call = begin(&acme, "eu");
        until("the first request has arrived", async || world.upstream.received().len() == 1).await;
        acme.allow(list.clone(), "enforce").await;
        upstream.add_permits(1);
        let answer = call.await.unwrap();
        if goes_on {
            assert_eq!(answer.status, 200, "{list}: {}", answer.text);
        } else {
            answer.problem(Code::HostNotInOrg);
            assert!(world.upstream.received_on("/there").is_empty());
        }
    }
}

#[tokio::test]
async fn h11_a_connector_that_still_allows_the_host_ends_no_call() {
    let pages = json!({ "pagination": { "type": "cursor", "items": "/items", "cursor_path": "/next", "param": "p" } });
    let patches: [(Value, Option<Code>); 5] = [
        (json!({ "description": "something else" }), None),
        (json!({ "allowed_domains": ["hooks.example.com", "*.salesforce.com"] }), None),
        (json!({ "allowed_domains": ["*.salesforce.com", "eu.salesforce.com"] }), None),
        (json!({ "rate_limit": [{ "concurrency": 50 }] }), None),
        (json!({ "allowed_domains": ["*.hubapi.com"], "test": null }), Some(Code::PathNotGranted)),
    ];
    for (mut patch, ends) in patches {
        let (world, acme) = chosen_hosts(pages.clone(), json!({})).await;
        if ends.is_some() {
            let shown = world.platform.get(&format!("/admin/connector/{ID}")).await.is(200).json;
            let mut actions = shown["actions"].clone();
            if actions.is_null() {
                actions = shown["definition"]["actions"].clone();
            }
            actions[0]["url_template"] = json!(format!("https://{{{{input.host}}}}.hubapi.com{PATH}"));
            patch["actions"] = actions;
        }
        let answer = Script::Json(200, r#"{"items":[1],"next":null}"#);
        let upstream = hold(&world, PATH, answer);
        let call = begin(&acme, "eu");
        until("it has arrived", async || world.upstream.received().len() == 1).await;
        world.platform.patch(&format!("/admin/connector/{ID}"), &patch).await.is(200);
        upstream.add_permits(1);
        let answer = call.await.unwrap();
        match ends {
            None => assert_eq!(answer.status, 200, "{patch}: {}", answer.text),
            Some(code) => {
                answer.problem(code);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn h11_no_call_ends_while_lists_change_that_all_have_its_host() {
    let (world, acme) = chosen_hosts(json!({}), json!({})).await;
    world.upstream.script(PATH, Script::Json(200, r#"{"ok":true}"#));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let run = acme.run.clone();
            tokio::spawn(async move {
                let (path, body) =
                    (format!("/run/acme/main/connector/{ID}/act"), json!({ "input": { "host": "eu" } }));
                for _ in 0..100 {
                    let answer = run.post(&path, &body).await;
                    assert_eq!(answer.status, 200, "{}", answer.text);
                }
            })
        })
        .collect();
    let lists = [narrower(), json!(["*.salesforce.com"]), json!(["eu.salesforce.com"]), json!(null)];
    let mut turn = 0;
    while !callers.iter().all(JoinHandle::is_finished) {
        acme.allow(lists[turn % lists.len()].clone(), "enforce").await;
        turn += 1;
    }
    for caller in callers {
        caller.await.unwrap();
    }
}
