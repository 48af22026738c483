//! Parameters that no record can have: a clear refusal instead of an empty list.

use portcullis_core::fault::Code;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::client::answer_on;
use crate::support::{World, salesforce};

async fn raw(world: &World, method: &str, path: &str, token: Option<&str>) -> (Vec<String>, Value) {
    let authorization = token.map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
    let mut caller = TcpStream::connect(world.platform.address()).await.unwrap();
    let text = format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{authorization}\r\n");
    caller.write_all(text.as_bytes()).await.unwrap();
    answer_on(&mut caller).await
}

#[tokio::test]
async fn s11_a_path_that_is_no_text_is_answered_with_a_problem_and_after_authentication() {
    let (world, acme) = World::salesforce().await;
    let run = acme.run.token().unwrap();
    for path in ["/run/acme/main/%ff", "/run/%ff/main/x", "/run/acme/%c3%28/x"] {
        let (lines, problem) = raw(&world, "GET", path, None).await;
        assert_eq!(problem["code"], "unauthorized", "{path}: {lines:?}");
        let (lines, problem) = raw(&world, "GET", path, Some(&run)).await;
        assert_eq!(problem["code"], "bad_request", "{path}: {lines:?} {problem}");
        assert!(lines.contains(&"content-type: application/problem+json".to_owned()), "{lines:?}");
        assert!(problem["detail"].as_str().unwrap().contains("UTF-8"), "{problem}");
    }
    acme.run.get("/run/acme/main/%66").await.problem(Code::NotFound);
}

#[tokio::test]
async fn s11_a_filter_that_nothing_can_match_is_refused_by_its_name() {
    let (_world, acme) = World::salesforce().await;
    for (query, name) in [
        ("since=yesterday", "since"),
        ("since=2026-01-01", "since"),
        ("until=2026-01-01T00:00:00", "until"),
        ("until=", "until"),
        ("code=nope", "code"),
        ("code=HOST_NOT_IN_ORG", "code"),
        ("starting_after=nope", "starting_after"),
        ("starting_after=run_01", "starting_after"),
    ] {
        let answer = acme.org.get(&format!("/org/acme/outbound?{query}")).await.problem(Code::BadRequest);
        let detail = answer.json["detail"].as_str().unwrap();
        assert!(detail.starts_with(name), "{query}: {detail}");
    }
    for query in [
        "since=2026-01-01T00:00:00Z",
        "since=2026-01-01T00:00:00.5Z&until=2099-01-01T00:00:00Z",
        "code=host_not_in_org",
        "code=call_ended&limit=3",
    ] {
        acme.org.get(&format!("/org/acme/outbound?{query}")).await.is(200);
    }
}

#[tokio::test]
async fn s11_a_cursor_that_no_entry_can_have_is_refused_in_every_list() {
    let (world, acme) = World::salesforce().await;
    for (client, path) in [
        (&world.platform, "/admin/connector"),
        (&world.platform, "/admin/org"),
        (&world.platform, "/admin/org/acme/workspace"),
        (&world.platform, "/admin/token"),
        (&acme.org, "/org/acme/automation"),
        (&acme.org, "/org/acme/connector"),
        (&acme.workspace, "/workspace/acme/main/settings/connector"),
        (&acme.run, "/run/acme/main"),
    ] {
        let bad = format!("{path}?starting_after=%2Fno%20id%2F");
        let answer = client.get(&bad).await.problem(Code::BadRequest);
        let detail = answer.json["detail"].as_str().unwrap();
        assert!(detail.starts_with("starting_after"), "{path}: {detail}");
        client.get(&format!("{path}?limit=1")).await.is(200);
    }
    // One that an entry could have, and that was deleted since: the list goes on behind it.
    world.platform.get("/admin/org?starting_after=a").await.is(200);
}

#[tokio::test]
async fn s11_a_connector_whose_path_belongs_to_a_route_is_not_made() {
    let world = World::start().await;
    for id in ["validate", "import"] {
        let mut definition = salesforce();
        definition["connector_id"] = json!(id);
        let answer =
            world.platform.post("/admin/connector", &definition).await.problem(Code::ValidationFailed);
        assert_eq!(answer.violations(), [("/connector_id", "reserved")]);
        assert!(answer.messages().contains(id), "{}", answer.messages());
        let checked = world.platform.post("/admin/connector/validate", &definition).await.is(200).json;
        assert_eq!(checked["valid"], false, "{checked}");
    }
    let mut definition = salesforce();
    definition["connector_id"] = json!("validate-2");
    world.platform.post("/admin/connector", &definition).await.is(201);
}
