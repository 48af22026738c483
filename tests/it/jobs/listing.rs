//! Lists of runs that have not ended for good.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::sweeping::{given_up, jobs, name};
use super::{KEY, Scene, accept, definition, ended, path, quick};
use crate::support::{Client, until};

const FAR: u64 = 90_000_000_000_000;

/// The ids of all runs of a list, page by page.
async fn listed(client: &Client, list: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut after = String::new();
    loop {
        let page = client.get(&format!("{list}{after}")).await.is(200).json;
        let data = page["data"].as_array().unwrap();
        ids.extend(data.iter().map(|run| run["run_id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&starting_after={next}"),
            None => return ids,
        }
    }
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

async fn listed_sorted(client: &Client, list: &str) -> Vec<String> {
    sorted(listed(client, list).await)
}

#[tokio::test]
async fn runs_that_wait_are_listed_by_their_status_in_pages() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    let (world, acme) = (&scene.world, &scene.acme);
    let own = sorted(vec![accept(acme, "1").await, accept(acme, "2").await, accept(acme, "3").await]);
    let side = world.tenant("acme", "side").await;
    side.connect(super::ID, json!({ "api_key": KEY })).await;
    let other = accept(&side, "4").await;
    for more in ["", "&limit=1", "&limit=2&order=asc", "&action_id=act&connector_id=saas"] {
        let list = format!("/run/acme/main?status=queued{more}");
        assert_eq!(listed_sorted(&acme.run, &list).await, own, "{more}");
    }
    let all: Vec<String> = own.iter().cloned().chain([other.clone()]).collect();
    let all = sorted(all);
    let page = acme.org.get("/org/acme/run?status=queued").await.is(200).json;
    let entry = page["data"].as_array().unwrap().iter().find(|run| run["run_id"] == other.as_str()).unwrap();
    assert_eq!((&entry["workspace"], &entry["status"]), (&json!("side"), &json!("queued")));
    assert!(entry["next_try_at"].is_string() && entry["accepted_at"].is_string());
    assert_eq!(sorted(listed(&acme.org, "/org/acme/run?status=queued").await), all);
    assert_eq!(
        listed(&acme.org, "/org/acme/run?status=queued&workspace=side").await,
        std::slice::from_ref(&other)
    );
    assert_eq!(sorted(listed(&world.platform, "/admin/run?status=queued&org=acme").await), all);
    for none in [
        "/run/acme/main?status=running",
        "/run/acme/main?status=waiting",
        "/run/acme/main?status=queued&code=connect_failed",
        "/run/acme/main?limit=5",
    ] {
        assert!(listed(&acme.run, none).await.is_empty(), "{none}");
    }
    let globex = world.tenant("globex", "main").await;
    assert!(listed(&globex.org, "/org/globex/run?status=queued").await.is_empty());
    globex.run.get("/run/acme/main?status=queued").await.problem(Code::OrgNotFound);
    for limit in [1, 100] {
        let list = format!("/admin/run?status=queued&limit={limit}");
        assert_eq!(sorted(listed(&world.platform, &list).await), all);
    }
    let now = portcullis_engine::clock::now();
    for (time, expected) in [
        ("since=2026-01-01T00:00:00Z".to_owned(), own.as_slice()),
        (format!("until={now}"), own.as_slice()),
        (format!("since={now}"), &[]),
        ("until=2026-01-01T00:00:00Z".to_owned(), &[]),
    ] {
        for order in ["", "&order=asc"] {
            let list = format!("/run/acme/main?status=queued&{time}{order}");
            assert_eq!(listed_sorted(&acme.run, &list).await, expected, "{list}");
        }
    }
    for wrong in ["starting_after=q.jobs", "starting_after=q.1.main", "starting_after=q.1.acme.main.run_1"] {
        acme.run.get(&format!("/run/acme/main?status=queued&{wrong}")).await.problem(Code::BadRequest);
    }
    world.engine.start_jobs();
    for run in &own {
        ended(acme, run).await;
    }
    assert!(listed(&acme.run, "/run/acme/main?status=queued").await.is_empty());
    // Why not at once: the record is stored after the end that is told.
    let recorded = async || listed_sorted(&acme.run, "/run/acme/main?status=succeeded").await == own;
    until("every run has its record", recorded).await;
}

#[tokio::test]
async fn runs_of_all_orgs_that_wait_are_listed_with_their_tenants_org_by_org() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    let (world, acme) = (&scene.world, &scene.acme);
    let globex = world.tenant("globex", "main").await;
    globex.connect(super::ID, json!({ "api_key": KEY })).await;
    let mut all = Vec::new();
    for number in 0..3 {
        all.push(accept(acme, &number.to_string()).await);
        all.push(accept(&globex, &number.to_string()).await);
    }
    for more in ["", "&limit=1", "&limit=2&order=asc"] {
        let list = format!("/admin/run?status=queued{more}");
        assert_eq!(listed_sorted(&world.platform, &list).await, sorted(all.clone()), "{more}");
    }
    let page = world.platform.get("/admin/run?status=queued").await.is(200).json;
    let orgs: Vec<_> = page["data"].as_array().unwrap().iter().map(|run| &run["org"]).collect();
    assert_eq!(orgs, ["acme", "acme", "acme", "globex", "globex", "globex"]);
    for none in
        ["status=running", "status=waiting", "status=dead", "status=queued&until=2026-01-01T00:00:00Z"]
    {
        assert!(listed(&world.platform, &format!("/admin/run?{none}")).await.is_empty(), "{none}");
    }
    let first = world.platform.get("/admin/run?status=queued&limit=1").await.is(200).json;
    let next = first["next"].as_str().unwrap();
    acme.org
        .get(&format!("/org/acme/run?status=queued&starting_after={next}"))
        .await
        .problem(Code::BadRequest);
}

#[tokio::test]
async fn a_skipped_run_is_listed_at_once_with_its_reason_among_those_that_are_records() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    let (world, acme) = (&scene.world, &scene.acme);
    acme.workspace.put(&acme.setting(super::ID), &json!({ "enabled": false })).await.is(200);
    let record = acme.call(super::ID, "act", json!({ "note": "now" })).await.is(200).json;
    let record = record["run_id"].as_str().unwrap().to_owned();
    let kept = accept(acme, "later").await;
    world.engine.start_jobs();
    assert_eq!(ended(acme, &kept).await["status"], "skipped");
    for (client, list) in
        [(&acme.run, "/run/acme/main?"), (&acme.org, "/org/acme/run?"), (&world.platform, "/admin/run?")]
    {
        for more in ["", "&limit=1", "&order=asc", "&limit=1&order=asc"] {
            let found = listed(client, &format!("{list}status=skipped{more}")).await;
            assert_eq!(sorted(found), sorted(vec![record.clone(), kept.clone()]), "{list} {more}");
        }
        let page = client.get(&format!("{list}status=skipped")).await.is(200).json;
        assert_eq!(
            (&page["data"][0]["run_id"], &page["data"][0]["reason"]),
            (&json!(kept), &json!("opted_out"))
        );
    }
    acme.connect(super::ID, json!({ "api_key": KEY })).await;
    let answer = acme.org.post("/org/acme/run/redrive", &json!({ "status": "skipped" })).await.is(200);
    assert_eq!(answer.json["count"], 1);
    assert_eq!(ended(acme, &kept).await["status"], "succeeded");
}

#[tokio::test]
async fn runs_that_were_given_up_are_listed_once_while_they_are_kept_and_after() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    let acme = &scene.acme;
    let over = given_up(&scene, "over", 1, &json!({})).await;
    let kept = given_up(&scene, "kept", FAR, &json!({})).await;
    let both = sorted(vec![over.clone(), kept.clone()]);
    let orders = ["", "&order=asc", "&limit=1", "&limit=1&order=asc"];
    for order in orders {
        let list = format!("/run/acme/main?status=dead{order}");
        assert_eq!(listed_sorted(&acme.run, &list).await, both, "{order}");
    }
    let now = jobs(&scene);
    let erased = async || portcullis_store::Jobs::get(&now, &name(&over)).await.unwrap().is_none();
    scene.world.engine.start_jobs();
    until("the first one is a record", erased).await;
    assert_eq!(listed(&acme.run, "/run/acme/main?status=dead").await, [kept.clone(), over.clone()]);
    assert_eq!(listed(&acme.run, "/run/acme/main?status=dead&order=asc&limit=1").await, [over, kept.clone()]);
    let read: Value = acme.run.get(&path(acme, &kept)).await.is(200).json;
    let page = acme.run.get("/run/acme/main?status=dead&limit=1").await.is(200).json;
    assert_eq!(page["data"][0], read, "as it is read by its id");
}
