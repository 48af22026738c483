//! What each connection has for itself: health, breaker, and what is sealed; and who sees which.

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use portcullis_store::{ConnectorSetting, CredentialState, Writes};
use serde_json::{Value, json};

use super::{ACT, ID, Scene, at, call, names, save};
use crate::support::{PUBLIC, until};

#[tokio::test]
async fn one_whose_credential_is_refused_needs_attention_alone() {
    let scene = Scene::new().await;
    let acme = &scene.acme;
    scene.world.names.tell("hooks.example.com", &[PUBLIC]);
    let wish = json!({ "url": "https://hooks.example.com/hook", "events": ["connection.*"] });
    acme.org.put("/org/acme/webhook/one", &wish).await.is(201);
    scene.world.engine.start_webhooks();
    scene.refuses("sales", 401);
    call(acme, Some("sales")).await.problem(Code::UpstreamStatus);
    for name in [None, Some("support")] {
        call(acme, name).await.is(200);
    }
    let sales = scene.setting("sales").await;
    assert_eq!((&sales["state"], &sales["attention"]["class"]), (&json!("needs_attention"), &json!("auth")));
    assert_eq!(sales["history"][0]["change"], "needs_attention");
    let support = scene.setting("support").await;
    assert_eq!((&support["state"], &support["history"][0]["change"]), (&json!("connected"), &json!("saved")));
    let default = acme.workspace.get(&acme.setting(ID)).await.is(200).json;
    assert_eq!(default["state"], "connected");
    let read = async |query: &str| acme.org.get(&format!("/org/acme/connection{query}")).await.is(200).json;
    let broken = read("?state=needs_attention").await;
    assert_eq!((names(&broken), &broken["data"][0]["label"]), (vec!["sales"], &json!("The sales team")));
    let told = || {
        let received = scene.world.upstream.received_on("/hook").into_iter();
        let bodies = received.map(|one| serde_json::from_slice::<Value>(&one.body).unwrap());
        bodies.filter(|body| body["type"] == "connection.needs_attention").collect::<Vec<_>>()
    };
    until("it is told", async || !told().is_empty()).await;
    assert_eq!((&told()[0]["data"]["connection"], told().len()), (&json!("sales"), 1));
    // A new credential clears it, and so does no call through another one.
    save(acme, "sales").await.is(200);
    assert_eq!(scene.setting("sales").await["state"], "connected");
}

#[tokio::test]
async fn one_whose_calls_fail_is_not_asked_for_a_while_and_the_others_are() {
    const FAILURES: usize = 3;
    let limits = Limits {
        concurrent_calls: 32,
        breaker_failures: FAILURES as u64,
        breaker_open_ms: 600_000,
        breaker_open_max_ms: 600_000,
        ..Limits::default()
    };
    let scene = Scene::with(limits, &json!({})).await;
    let acme = &scene.acme;
    scene.refuses("sales", 503);
    // Why another org: an org that is alone at a host stops itself there.
    let globex = scene.world.tenant("globex", "main").await;
    save(&globex, "support").await.is(200);
    call(&globex, Some("support")).await.is(200);
    for _ in 0..FAILURES {
        call(acme, Some("sales")).await.problem(Code::UpstreamStatus);
    }
    call(acme, Some("sales")).await.problem(Code::CircuitOpen);
    for name in [None, Some("support")] {
        call(acme, name).await.is(200);
    }
    let open = scene.world.platform.get("/admin/breaker").await.is(200).json;
    let of_connections: Vec<&Value> =
        open["data"].as_array().unwrap().iter().filter(|one| one["kind"] == "connection").collect();
    assert_eq!((of_connections.len(), &of_connections[0]["connection"]), (1, &json!("sales")), "{open}");
    assert_eq!(scene.setting("sales").await["breaker"]["state"], "open");
    assert_eq!(scene.setting("support").await.get("breaker"), None);
}

#[tokio::test]
async fn sealed_bytes_that_are_moved_between_names_do_not_open() {
    let scene = Scene::new().await;
    let records = scene.world.engine.records();
    let parts: [&[&str]; 3] =
        [&["acme", "main", ID], &["acme", "main", ID, "sales"], &["acme", "main", ID, "support"]];
    let mut kept = Vec::new();
    for parts in parts {
        let (setting, _) = records.get::<ConnectorSetting>(parts).await.unwrap().unwrap();
        let (state, _) = records.get::<CredentialState>(parts).await.unwrap().unwrap();
        kept.push((setting, state));
    }
    let shape = json!(kept[1].0);
    assert_eq!((&shape["group"], &shape["name"]), (&json!("connector"), &json!(ID)));
    assert_eq!((&shape["connection"], &shape["label"]), (&json!("sales"), &json!("The sales team")));
    assert!(kept[0].0.connection.is_none() && json!(kept[0].0).get("connection").is_none());
    // The sealed text with its id and revision, as whoever writes to the store could place it.
    for (from, to, name) in [(1, 2, Some("support")), (1, 0, None), (0, 1, Some("sales"))] {
        let mut moved = kept[to].0.clone();
        moved.value.encrypted_config.clone_from(&kept[from].0.value.encrypted_config);
        let writes = Writes::new().put(parts[to], &moved).put(parts[to], &kept[from].1);
        records.commit(writes).await.unwrap();
        let sent = scene.world.upstream.received_on(ACT).len();
        call(&scene.acme, name).await.problem(Code::Internal);
        assert_eq!(scene.world.upstream.received_on(ACT).len(), sent, "{from} to {to}");
        let writes = Writes::new().put(parts[to], &kept[to].0).put(parts[to], &kept[to].1);
        records.commit(writes).await.unwrap();
        call(&scene.acme, name).await.is(200);
    }
}

#[tokio::test]
async fn a_workspace_sees_its_own_and_lists_over_an_org_and_the_platform_have_all() {
    let scene = Scene::new().await;
    let acme = &scene.acme;
    let side = scene.world.tenant("acme", "side").await;
    let globex = scene.world.tenant("globex", "main").await;
    save(&side, "sales").await.is(200);
    save(&globex, "brand").await.is(200);
    // Another tenant's name is nobody else's.
    call(&side, Some("support")).await.is(200);
    assert!(scene.came().is_empty(), "it is skipped");
    side.workspace.get(&at(acme, "sales")).await.problem(Code::WorkspaceNotFound);
    globex.workspace.get(&at(acme, "sales")).await.problem(Code::OrgNotFound);
    globex.workspace.put(&at(acme, "sales"), &json!({ "enabled": false })).await.problem(Code::OrgNotFound);
    globex.workspace.get(&at(&globex, "sales")).await.problem(Code::NotFound);
    acme.org.get(&at(acme, "sales")).await.problem(Code::RoleNotAllowed);
    let read = async |query: &str| acme.org.get(&format!("/org/acme/connection{query}")).await.is(200).json;
    assert_eq!(names(&read("").await), ["default", "sales", "support", "sales"]);
    assert_eq!(names(&read("?connection=sales").await), ["sales", "sales"]);
    assert_eq!(names(&read("?connection=default").await), ["default"]);
    assert_eq!(names(&read("?workspace=side").await), ["sales"]);
    // A page that ends between two of one connector goes on there.
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = read(&format!("?limit=1{after}")).await;
        all.extend(names(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&starting_after={next}");
    }
    assert_eq!(all, ["default", "sales", "support", "sales"]);
    let platform = scene.world.platform.get("/admin/connection?connection=brand").await.is(200).json;
    assert_eq!((names(&platform), &platform["data"][0]["org"]), (vec!["brand"], &json!("globex")));
    let path = format!("{}/connection?limit=1", acme.setting(ID));
    let first = acme.workspace.get(&path).await.is(200).json;
    assert_eq!((names(&first), &first["has_more"]), (vec!["sales"], &json!(true)));
    let rest = acme.workspace.get(&format!("{path}&starting_after=sales")).await.is(200).json;
    assert_eq!((names(&rest), &rest["has_more"]), (vec!["support"], &json!(false)));
    assert!(!rest.to_string().contains("sk-of-"));
}
