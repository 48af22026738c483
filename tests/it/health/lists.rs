//! Connections over an org and over the platform.

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use super::{ID, KEY, Scene, definition};
use crate::support::Stage;

fn names(page: &Value) -> Vec<String> {
    let name = |one: &Value| {
        let part = |name: &str| one[name].as_str().unwrap().to_owned();
        format!("{}/{}/{}", part("org"), part("workspace"), part("connector_id"))
    };
    page["data"].as_array().unwrap().iter().map(name).collect()
}

#[tokio::test]
async fn connections_are_listed_over_workspaces_and_orgs_with_filters() {
    let scene = Scene::new(&definition(&json!({}))).await;
    let side = scene.world.tenant("acme", "side").await;
    let globex = scene.world.tenant("globex", "main").await;
    side.connect(ID, json!({ "api_key": KEY })).await;
    globex.connect(ID, json!({ "api_key": KEY })).await;
    scene.answers(super::THINGS, 401);
    scene.calls(3).await;
    side.workspace.put(&side.setting(ID), &json!({ "enabled": false })).await.is(200);
    let org = &scene.acme.org;
    let read = async |query: &str| org.get(&format!("/org/acme/connection{query}")).await.is(200).json;
    assert_eq!(names(&read("").await), ["acme/main/saas", "acme/side/saas"]);
    let broken = read("?state=needs_attention").await;
    assert_eq!(names(&broken), ["acme/main/saas"]);
    assert_eq!(broken["data"][0]["attention"]["class"], "auth");
    assert!(!broken.to_string().contains(KEY));
    assert_eq!(names(&read("?state=opted_out").await), ["acme/side/saas"]);
    assert_eq!(names(&read("?workspace=side").await), ["acme/side/saas"]);
    assert!(names(&read("?connector_id=other").await).is_empty());
    let first = read("?limit=1").await;
    assert_eq!((names(&first), &first["has_more"]), (vec!["acme/main/saas".to_owned()], &json!(true)));
    let next = first["next"].as_str().unwrap();
    assert_eq!(names(&read(&format!("?starting_after={next}")).await), ["acme/side/saas"]);
    org.get("/org/acme/connection?starting_after=globex.main.saas").await.problem(Code::BadRequest);
    org.get("/org/acme/connection?workspace=none").await.problem(Code::WorkspaceNotFound);
    globex.org.get("/org/acme/connection").await.problem(Code::OrgNotFound);
    scene.acme.workspace.get("/org/acme/connection").await.problem(Code::RoleNotAllowed);
    org.get("/admin/connection").await.problem(Code::RoleNotAllowed);
    let platform = &scene.world.platform;
    let all = platform.get("/admin/connection").await.is(200).json;
    assert_eq!(names(&all), ["acme/main/saas", "acme/side/saas", "globex/main/saas"]);
    let some = platform.get("/admin/connection?workspace=main&state=connected").await.is(200).json;
    assert_eq!(names(&some), ["globex/main/saas"]);
    let one = platform.get("/admin/connection?org=globex").await.is(200).json;
    assert_eq!(names(&one), ["globex/main/saas"]);
    platform.get("/admin/connection?org=none").await.problem(Code::OrgNotFound);
}

#[tokio::test]
async fn a_page_ends_after_a_bounded_look() {
    let limits = Limits { connection_scan: 2, concurrent_calls: 32, ..Limits::default() };
    let world = Stage { limits, ..Stage::default() }.start().await;
    world.platform.post("/admin/connector", &definition(&json!({}))).await.is(201);
    for workspace in ["a", "b", "c", "d", "e"] {
        world.tenant("acme", workspace).await.connect(ID, json!({ "api_key": KEY })).await;
    }
    let mut path = "/admin/connection?workspace=e".to_owned();
    let mut pages = 0;
    let found = loop {
        let page = world.platform.get(&path).await.is(200).json;
        pages += 1;
        assert!(pages < 10);
        match page["next"].as_str() {
            Some(next) if names(&page).is_empty() => {
                path = format!("/admin/connection?workspace=e&starting_after={next}")
            }
            _ => break names(&page),
        }
    };
    assert_eq!((found, pages), (vec!["acme/e/saas".to_owned()], 3));
}
