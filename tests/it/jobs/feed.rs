//! The feed of an org: ends of accepted runs in their order, waited for, kept over restarts, and bounded.

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use super::{ID, PATH, Scene, accept, definition, ended, path, quick, send_later};
use crate::support::{Script, until};

const FEED: &str = "/org/acme/run/feed";

async fn read(scene: &Scene, query: &str) -> Value {
    scene.acme.org.get(&format!("{FEED}{query}")).await.is(200).json
}

fn runs(page: &Value) -> Vec<&str> {
    page["data"].as_array().unwrap().iter().map(|entry| entry["run_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn ends_of_accepted_runs_are_told_in_order_and_others_are_not() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    let acme = &scene.acme;
    let none = read(&scene, "").await;
    assert_eq!((&none["data"], &none["next"], &none["has_more"]), (&json!([]), &json!("0"), &json!(false)));
    acme.call(ID, "act", json!({ "note": "waited for" })).await.is(200);
    let first = accept(acme, "one").await;
    let second = accept(acme, "two").await;
    assert_eq!(read(&scene, "").await["data"], json!([]), "nothing has ended that was accepted");
    acme.run.write("POST", &format!("{}/cancel", path(acme, &second)), "").await.is(200);
    scene.world.engine.start_jobs();
    ended(acme, &first).await;
    let text = "a text of the third party";
    scene.world.upstream.script(PATH, Script::json(400, &json!({ "error": text })));
    let third = accept(acme, "three").await;
    ended(acme, &third).await;
    let page = read(&scene, "").await;
    assert_eq!(runs(&page), [&second, &first, &third]);
    let entries = page["data"].as_array().unwrap();
    let told: Vec<_> = entries.iter().map(|entry| entry["status"].as_str().unwrap()).collect();
    assert_eq!(told, ["cancelled", "succeeded", "failed"]);
    assert_eq!((&entries[0]["kind"], &entries[0]["reason"]), (&json!("run.ended"), &json!("cancelled")));
    assert_eq!((&entries[2]["code"], &entries[2]["workspace"]), (&json!("upstream_status"), &json!("main")));
    assert_eq!((&entries[1]["connector_id"], &entries[1]["action_id"]), (&json!(ID), &json!("act")));
    assert!(!page.to_string().contains(text) && !page.to_string().contains("three"), "{page}");
    let numbers: Vec<_> = entries.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted());
    assert_eq!(page["next"].as_str(), Some(numbers[2].to_string().as_str()));
    let rest = read(&scene, &format!("?starting_after={}&limit=1", numbers[0])).await;
    assert_eq!((runs(&rest), &rest["has_more"]), (vec![first.as_str()], &json!(true)));
    let last = read(&scene, &format!("?starting_after={}", page["next"].as_str().unwrap())).await;
    assert_eq!((&last["data"], &last["next"]), (&json!([]), &page["next"]));
}

#[tokio::test]
async fn a_reader_waits_for_the_next_end_of_its_own_org() {
    let scene = Scene::working(quick(), &definition(&json!({}))).await;
    let globex = scene.world.tenant("globex", "main").await;
    globex.connect(ID, json!({ "api_key": super::KEY })).await;
    let before = read(&scene, "?wait=0").await;
    let waiting = {
        let (org, next) = (scene.acme.org.clone(), before["next"].as_str().unwrap().to_owned());
        tokio::spawn(async move { org.get(&format!("{FEED}?wait=30&starting_after={next}")).await })
    };
    let foreign = send_later(&globex, &json!({ "input": { "note": "b" } })).await.is(202);
    ended(&globex, foreign.json["run_id"].as_str().unwrap()).await;
    assert!(!waiting.is_finished(), "another org's end is not told");
    let run = accept(&scene.acme, "one").await;
    let page = waiting.await.unwrap().is(200).json;
    assert_eq!(runs(&page), [&run]);
    let at_once = read(&scene, "?wait=30").await;
    assert_eq!(runs(&at_once), [&run], "what is there is not waited for");
    let org = &scene.acme.org;
    org.get(&format!("{FEED}?wait=31")).await.problem(Code::BadRequest);
    org.get(&format!("{FEED}?starting_after=none")).await.problem(Code::BadRequest);
    org.get(&format!("{FEED}?starting_after=007")).await.problem(Code::BadRequest);
    scene.acme.run.get(FEED).await.problem(Code::RoleNotAllowed);
    globex.org.get(FEED).await.problem(Code::OrgNotFound);
}

#[tokio::test]
async fn a_feed_outlives_the_process_and_the_workspace_and_not_the_org() {
    let scene = Scene::new(quick(), &definition(&json!({}))).await;
    let run = accept(&scene.acme, "one").await;
    scene.acme.run.write("POST", &format!("{}/cancel", path(&scene.acme, &run)), "").await.is(200);
    let (_engine, address) = scene.world.another_life(std::sync::Arc::clone(&scene.store)).await;
    let again = scene.acme.org.at(address).get(FEED).await.is(200).json;
    assert_eq!(runs(&again), [&run]);
    let platform = &scene.world.platform;
    platform.delete("/admin/org/acme/workspace/main").await.is(204);
    assert_eq!(runs(&read(&scene, "").await), [&run], "it is the org's");
    platform.delete("/admin/org/acme").await.is(204);
    let anew = scene.world.tenant("acme", "main").await;
    assert_eq!(anew.org.get(FEED).await.is(200).json["data"], json!([]));
}

#[tokio::test]
async fn the_oldest_are_dropped_and_a_reader_is_told() {
    let scene = Scene::new(Limits { outbox_entries: 2, ..quick() }, &definition(&json!({}))).await;
    let mut all = Vec::new();
    for note in ["one", "two", "three", "four"] {
        let run = accept(&scene.acme, note).await;
        scene.acme.run.write("POST", &format!("{}/cancel", path(&scene.acme, &run)), "").await.is(200);
        all.push(run);
    }
    let whole = read(&scene, "").await;
    assert_eq!((runs(&whole).len(), &whole["gap"], &whole["dropped"]), (4, &json!(false), &json!(0)));
    scene.world.engine.start_jobs();
    until("a sweep has come", async || read(&scene, "").await["dropped"] == 2).await;
    let left = read(&scene, "").await;
    assert_eq!(runs(&left), [&all[2], &all[3]]);
    let after = |number: usize| format!("?starting_after={}", whole["data"][number]["seq"]);
    assert_eq!(read(&scene, &after(0)).await["gap"], true, "the second one was not read");
    assert_eq!(read(&scene, &after(1)).await["gap"], false);
}
