//! Runs as a log that answers: lists of a workspace, an org and the platform, by every filter, in both orders, page by
//! page; and the attempts of one run.

use std::collections::HashSet;

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use crate::support::{Client, Script, Tenant, World, salesforce};

const KEY: &str = "sk-live-0123456789abcdef";

/// All pages of a list, by its own cursors.
async fn pages(client: &Client, path: &str, limit: usize) -> Vec<Value> {
    let (mut found, mut after) = (Vec::new(), String::new());
    for _ in 0..500 {
        let mark = if path.contains('?') { '&' } else { '?' };
        let page = client.get(&format!("{path}{mark}limit={limit}{after}")).await.is(200).json;
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= limit);
        found.extend(data.iter().cloned());
        assert_eq!(page["has_more"].as_bool().unwrap(), page["next"].is_string(), "{page}");
        match page["next"].as_str() {
            Some(next) => after = format!("&starting_after={next}"),
            None => return found,
        }
    }
    panic!("a list without an end: {path}");
}

fn ids(runs: &[Value]) -> Vec<String> {
    runs.iter().map(|run| run["run_id"].as_str().unwrap().to_owned()).collect()
}

/// Two orgs; acme has two workspaces. A run of each status, by an action and by an automation.
struct Mixed {
    world: World,
    main: Tenant,
    side: Tenant,
    other: Tenant,
    automation: String,
}

impl Mixed {
    async fn start() -> Self {
        let (world, main) = World::salesforce().await;
        let side = world.tenant("acme", "side").await;
        let other = world.tenant("other", "main").await;
        let automation = main.automation().await;
        for tenant in [&main, &other] {
            tenant.connect("salesforce", json!({ "api_key": KEY })).await;
            tenant.create_contact().await.is(200);
        }
        // Skipped: it has no credential.
        side.create_contact().await.is(200);
        main.fire(&automation, json!({ "email": "ada@example.com" })).await.is(200);
        world.upstream.script("/v1/contacts", Script::json(401, &json!({ "message": "no" })));
        main.create_contact().await;
        main.allow(json!([]), "enforce").await;
        main.create_contact().await.problem(Code::HostNotInOrg);
        Self { world, main, side, other, automation }
    }
}

#[tokio::test]
async fn lists_are_newest_first_and_order_asc_turns_them() {
    let Mixed { world, main, side, other, .. } = Mixed::start().await;
    let lists = [
        (&main.run, "/run/acme/main", 4),
        (&side.workspace, "/run/acme/side", 1),
        (&other.run, "/run/other/main", 1),
        (&main.org, "/org/acme/run", 5),
        (&main.org, "/org/acme/run?workspace=side", 1),
        (&world.platform, "/admin/run", 6),
        (&world.platform, "/admin/run?org=other", 1),
    ];
    for (client, path, count) in lists {
        let newest = pages(client, path, 100).await;
        assert_eq!(newest.len(), count, "{path}");
        let ends: Vec<_> = newest.iter().map(|run| run["created_at"].as_str().unwrap()).collect();
        assert!(ends.is_sorted_by(|a, b| a >= b), "{path}: {ends:?}");
        let mark = if path.contains('?') { '&' } else { '?' };
        let mut turned = pages(client, &format!("{path}{mark}order=asc"), 100).await;
        turned.reverse();
        assert_eq!(ids(&turned), ids(&newest), "{path}");
        for limit in [1, 2] {
            assert_eq!(ids(&pages(client, path, limit).await), ids(&newest), "{path} by {limit}");
        }
    }
    let all = pages(&world.platform, "/admin/run", 100).await;
    let places: HashSet<_> =
        all.iter().map(|run| (run["org"].as_str().unwrap(), run["workspace"].as_str().unwrap())).collect();
    assert_eq!(places, HashSet::from([("acme", "main"), ("acme", "side"), ("other", "main")]));
}

#[tokio::test]
async fn every_filter_finds_its_runs_and_what_no_run_can_have_is_refused() {
    let Mixed { world, main, automation, .. } = Mixed::start().await;
    let all = pages(&main.org, "/org/acme/run", 100).await;
    let by = |name: &'static str, value: &str| {
        let matching = all.iter().filter(|run| run[name] == value).cloned().collect::<Vec<_>>();
        ids(&matching)
    };
    for (name, value) in [
        ("status", "succeeded"),
        ("status", "skipped"),
        ("status", "refused"),
        ("status", "failed"),
        ("class", "auth"),
        ("code", "upstream_status"),
        ("code", "host_not_in_org"),
        ("connector_id", "salesforce"),
        ("action_id", "create-contact"),
        ("automation_id", automation.as_str()),
    ] {
        let expected = by(name, value);
        assert!(!expected.is_empty(), "{name}={value}");
        for path in ["/org/acme/run", "/admin/run?org=acme"] {
            let client = if path.starts_with("/org") { &main.org } else { &world.platform };
            let mark = if path.contains('?') { '&' } else { '?' };
            let found = pages(client, &format!("{path}{mark}{name}={value}"), 1).await;
            assert_eq!(ids(&found), expected, "{path} {name}={value}");
        }
    }
    // What no run has.
    for nothing in
        ["connector_id=none", "action_id=none", "automation_id=auto_none", "event_id=none", "class=quota"]
    {
        assert!(pages(&main.org, &format!("/org/acme/run?{nothing}"), 10).await.is_empty(), "{nothing}");
    }
    // A range has its first moment, and not its last.
    let ends: Vec<_> = all.iter().map(|run| run["created_at"].as_str().unwrap()).collect();
    let (newest, oldest) = (ends[0], ends[4]);
    let within = pages(&main.org, &format!("/org/acme/run?since={oldest}&until={newest}"), 2).await;
    assert_eq!(ids(&within), ids(&all[1..]));
    assert_eq!(pages(&main.org, &format!("/org/acme/run?since={newest}"), 2).await.len(), 1);
    let skipped = pages(&main.org, "/org/acme/run?status=skipped", 10).await;
    assert_eq!(skipped[0]["reason"], "unconfigured", "the reason is shown");
    for (bad, told) in [
        ("status=done", "succeeded"),
        ("class=bad", "auth"),
        ("code=nope", "host_not_in_org"),
        ("order=up", "desc"),
        ("since=yesterday", "since must be an RFC 3339 time"),
        ("until=2026-01-31", "until must be an RFC 3339 time"),
        ("connector_id=Not%20An%20Id", "connector_id"),
        ("limit=101", "limit"),
        ("starting_after=at.nowhere", "starting_after"),
    ] {
        let answer = main.org.get(&format!("/org/acme/run?{bad}")).await;
        answer.problem(Code::BadRequest);
        let answer = main.run.get(&format!("/run/acme/main?{bad}")).await;
        assert!(answer.text.contains(told), "{bad}: {}", answer.text);
    }
    main.org.get("/org/acme/run?org=acme").await.problem(Code::UnknownParameter);
}

#[tokio::test]
async fn a_foreign_tenant_s_runs_are_not_found_and_its_cursors_are_none() {
    let Mixed { world, main, side, other, .. } = Mixed::start().await;
    other.org.get("/org/acme/run").await.problem(Code::OrgNotFound);
    other.run.get("/run/acme/main").await.problem(Code::OrgNotFound);
    side.run.get("/run/acme/main").await.problem(Code::WorkspaceNotFound);
    main.org.get("/org/acme/run?workspace=nowhere").await.problem(Code::WorkspaceNotFound);
    world.platform.get("/admin/run?org=nobody").await.problem(Code::OrgNotFound);
    for client in [&main.org, &main.workspace, &main.run] {
        client.get("/admin/run").await.problem(Code::RoleNotAllowed);
    }
    for client in [&world.platform, &main.workspace, &main.run] {
        client.get("/org/acme/run").await.problem(Code::RoleNotAllowed);
    }
    let theirs = pages(&other.run, "/run/other/main", 1).await;
    let run = theirs[0]["run_id"].as_str().unwrap();
    main.run.get(&format!("/run/acme/main?starting_after={run}")).await.problem(Code::BadRequest);
    other.run.get(&format!("/run/other/main?starting_after={run}")).await.is(200);
    // A place in another list is none of this one.
    let page = main.run.get("/run/acme/main?limit=1").await.is(200).json;
    let next = page["next"].as_str().unwrap();
    side.run.get(&format!("/run/acme/side?starting_after={next}")).await.problem(Code::BadRequest);
    main.org.get(&format!("/org/acme/run?starting_after={next}")).await.problem(Code::BadRequest);
    main.run.get(&format!("/run/acme/main?starting_after={next}")).await.is(200);
}

#[tokio::test]
async fn both_cursors_lose_nothing_beside_calls_that_end_meanwhile() {
    let Mixed { world: _world, main, .. } = Mixed::start().await;
    main.allow(Value::Null, "enforce").await;
    let before = ids(&pages(&main.run, "/run/acme/main?order=asc", 100).await);
    for order in ["desc", "asc"] {
        for own_cursor in [true, false] {
            let (mut seen, mut after, mut written) = (Vec::new(), String::new(), Vec::new());
            for turn in 0.. {
                let path = format!("/run/acme/main?order={order}&limit=2{after}");
                let page = main.run.get(&path).await.is(200).json;
                let data = page["data"].as_array().unwrap().clone();
                seen.extend(ids(&data));
                if page["has_more"] == false {
                    break;
                }
                let last = if own_cursor { &page["next"] } else { &data.last().unwrap()["run_id"] };
                after = format!("&starting_after={}", last.as_str().unwrap());
                if turn < 2 {
                    let answer = main.create_contact().await;
                    let run = answer.json.get("run").unwrap_or(&answer.json);
                    written.push(run["run_id"].as_str().unwrap().to_owned());
                }
            }
            let distinct: HashSet<_> = seen.iter().collect();
            assert_eq!(distinct.len(), seen.len(), "{order}: none is shown twice");
            assert!(before.iter().all(|run| distinct.contains(run)), "{order}: what was there is shown");
            if order == "asc" {
                assert!(seen.ends_with(&written), "what ends meanwhile comes last");
            }
        }
    }
}

#[tokio::test]
async fn a_run_s_record_has_its_attempts_with_waits_hosts_and_ledger_entries() {
    let world = World::start().await;
    let mut definition = salesforce();
    definition["actions"][0]["idempotent"] = json!(true);
    definition["actions"][0]["retry"] = json!({ "max_attempts": 2, "base_ms": 20, "max_wait_ms": 1000 });
    world.platform.post("/admin/connector", &definition).await.is(201);
    let acme = world.tenant("acme", "main").await;
    acme.connect("salesforce", json!({ "api_key": KEY })).await;
    world.upstream.script("/v1/contacts", Script::json(503, &json!({ "message": "later" })));
    let answer = acme.create_contact().await.problem(Code::UpstreamStatus);
    let run = answer.json["run"]["run_id"].as_str().unwrap();
    assert!(answer.json["run"].get("attempts").is_none(), "its caller was there");
    let kept = acme.run.get(&format!("/run/acme/main/{run}")).await.is(200).json;
    let attempts = kept["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "{kept}");
    let ledger = acme.ledger().await;
    for (n, attempt) in attempts.iter().enumerate() {
        assert_eq!((&attempt["n"], &attempt["status"]), (&json!(n + 1), &json!(503)), "{attempt}");
        assert_eq!(
            (&attempt["host"], &attempt["error"]),
            (&json!("api.salesforce.com"), &json!("upstream_status"))
        );
        assert!(ledger.iter().any(|entry| entry["entry_id"] == attempt["ledger_id"]), "{attempt}");
        assert!(attempt["started_at"].is_string());
    }
    assert_eq!(attempts[0]["wait_ms"], 0);
    assert!(attempts[1]["wait_ms"].as_u64().is_some());
}
