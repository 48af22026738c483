//! Every reason for which nothing was called: seen in the answer, in the run, and in every list, whether the caller waited
//! or the run was accepted.

use serde_json::{Value, json};

use crate::support::{Answer, Client, Tenant, World};

const ID: &str = "salesforce";

/// The reasons as the API's document has them, so that a new one fails here until it has its case.
async fn reasons(world: &World) -> Vec<String> {
    let document = world.platform.get("/openapi.json").await.is(200).json;
    let listed = document["components"]["schemas"]["SkipReason"]["enum"].as_array().unwrap().clone();
    listed.iter().map(|reason| reason.as_str().unwrap().to_owned()).collect()
}

/// Makes the reason true, once runs were accepted without it.
async fn bring_about(reason: &str, world: &World, acme: &Tenant) {
    match reason {
        "connector_disabled" => {
            let off = json!({ "enabled": false });
            world.platform.patch(&format!("/admin/connector/{ID}"), &off).await.is(200);
        }
        "opted_out" => {
            acme.workspace.put(&acme.setting(ID), &json!({ "enabled": false })).await.is(200);
        }
        "unconfigured" => {
            acme.workspace.delete(&acme.setting(ID)).await.is(204);
        }
        // It is the source's.
        "condition_false" => {}
        other => panic!("the reason {other} has no case here"),
    }
}

async fn fire(acme: &Tenant, automation: &str, stage: &str, later: bool) -> Answer {
    let mut headers = vec![("content-type", "application/json")];
    if later {
        headers.push(("prefer", "respond-async"));
    }
    let body = json!({ "source": { "email": "ada@example.org", "stage": stage } });
    let path = format!("/run/acme/main/automation/{automation}");
    acme.run.send("POST", &path, &headers, body.to_string().into_bytes()).await
}

/// Asserts that a list has the run once, as skipped for this reason.
async fn assert_listed(client: &Client, path: &str, run: &str, reason: &str) {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let mark = if path.contains('?') { '&' } else { '?' };
        let page = client.get(&format!("{path}{mark}limit=50{after}")).await.is(200).json;
        found.extend(page["data"].as_array().unwrap().iter().filter(|one| one["run_id"] == run).cloned());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&starting_after={next}");
    }
    assert_eq!(found.len(), 1, "{path} has {run}, {reason}: {found:?}");
    assert_eq!((&found[0]["status"], &found[0]["reason"]), (&json!("skipped"), &json!(reason)), "{path}");
}

#[tokio::test]
async fn every_reason_to_skip_is_seen_in_every_list_of_runs_that_were_waited_for_or_accepted() {
    let all = reasons(&World::start().await).await;
    assert!(all.iter().any(|reason| reason == "condition_false"), "{all:?}");
    for reason in &all {
        let (world, acme) = World::salesforce().await;
        acme.connect(ID, json!({ "api_key": "sk-live-0123456789abcdef" })).await;
        let mut automation = crate::support::world::contact_automation();
        automation["entry_conditions"] = json!([{ "path": "/stage", "eq": "won" }]);
        let made = acme.org.post("/org/acme/automation", &automation).await.is(201);
        let id = made.json["automation_id"].as_str().unwrap();
        let stage = if reason == "condition_false" { "lost" } else { "won" };
        let accepted = fire(&acme, id, stage, true).await;
        assert_eq!(accepted.status, if stage == "won" { 202 } else { 200 }, "{}", accepted.text);
        bring_about(reason, &world, &acme).await;
        let answered = fire(&acme, id, stage, false).await.is(200);
        world.engine.start_jobs();
        for answer in [&accepted, &answered] {
            let run = answer.json["run_id"].as_str().unwrap();
            let read = acme.run.get(&format!("/run/acme/main/{run}?wait=30")).await.is(200).json;
            assert_eq!((&read["status"], &read["reason"]), (&json!("skipped"), &json!(reason)), "{read}");
            for (client, list) in [(&acme.run, "/run/acme/main"), (&acme.org, "/org/acme/run")] {
                assert_listed(client, &format!("{list}?status=skipped"), run, reason).await;
            }
        }
        // What can be taken up again is no record yet, and lists without a status and of the platform have records.
        for (client, list) in
            [(&acme.run, "/run/acme/main"), (&acme.org, "/org/acme/run"), (&world.platform, "/admin/run")]
        {
            let run = answered.json["run_id"].as_str().unwrap();
            assert_listed(client, list, run, reason).await;
            assert_listed(client, &format!("{list}?status=skipped"), run, reason).await;
        }
        assert_eq!((&answered.json["status"], &answered.json["reason"]), (&json!("skipped"), &json!(reason)));
        assert!(world.upstream.received().is_empty(), "{reason}: nothing was sent");
        // The neighbour: what is listed as skipped is not all that there is.
        let page = acme.run.get("/run/acme/main?status=succeeded").await.is(200).json;
        assert_eq!(page["data"], Value::Array(Vec::new()), "{reason}");
    }
}
