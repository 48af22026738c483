//! What is saved, and what is not.

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::json;

use super::{HOST, PATH, Scene, body, is_signed, made, quick, url};
use crate::support::{PRIVATE, PUBLIC, Script};

#[tokio::test]
async fn a_webhook_is_saved_once_its_receiver_takes_a_signed_ping() {
    let scene = Scene::new(quick()).await;
    let org = &scene.acme.org;
    let wish = json!({ "url": url(), "events": ["connection.*"] });
    for refusing in [Script::json(500, &json!({})), Script::json(302, &json!({})), Script::HangUp] {
        scene.world.upstream.script(PATH, refusing);
        let answer = org.put("/org/acme/webhook/one", &wish).await.problem(Code::ValidationFailed);
        assert_eq!(answer.violations(), [("/url", "ping_failed")]);
        org.get("/org/acme/webhook/one").await.problem(Code::NotFound);
    }
    scene.world.upstream.script(PATH, Script::json(200, &json!({})));
    let secret = scene.hook("one", &["connection.*"]).await;
    let ping = scene.world.upstream.received_on(PATH).pop().unwrap();
    assert_eq!(
        (&body(&ping)["type"], &body(&ping)["data"]),
        (&json!("webhook.ping"), &json!({ "webhook": "one" }))
    );
    assert!(is_signed(&ping, &secret));
    assert_eq!(ping.header("content-type"), ["application/json"]);
    assert!(ping.header("authorization").is_empty());
    let read = org.get("/org/acme/webhook/one").await.is(200);
    assert_eq!((&read.json["url"], &read.json["enabled"]), (&json!(url()), &json!(true)));
    assert!(!read.text.contains(&secret) && read.json.get("secret").is_none());
    let again =
        org.put("/org/acme/webhook/one", &json!({ "url": url(), "events": ["run.dead"] })).await.is(200);
    assert!(again.json.get("secret").is_none(), "it is shown once: {}", again.text);
    assert_eq!(again.json["events"], json!(["run.dead"]));
    let count = scene.world.upstream.received_on(PATH).len();
    let off =
        json!({ "url": "https://hooks.example.com/elsewhere", "events": ["run.dead"], "enabled": false });
    org.put("/org/acme/webhook/two", &off).await.is(201);
    assert_eq!(scene.world.upstream.received_on(PATH).len(), count, "one that is off gets no ping");
    let listed = org.get("/org/acme/webhook").await.is(200);
    let ids: Vec<_> =
        listed.json["data"].as_array().unwrap().iter().map(|one| one["webhook"].clone()).collect();
    assert_eq!(ids, [json!("one"), json!("two")]);
    org.delete("/org/acme/webhook/two").await.is(204);
    org.delete("/org/acme/webhook/two").await.problem(Code::NotFound);
    let ledger = org.get("/org/acme/outbound").await.is(200);
    let entry = &ledger.json["data"][0];
    assert_eq!((&entry["connector_id"], &entry["action_id"]), (&json!("webhook"), &json!("webhook.ping")));
}

#[tokio::test]
async fn a_url_that_may_not_be_sent_to_is_refused_when_it_is_saved() {
    let scene = Scene::new(quick()).await;
    scene.world.names.tell("inside.example.com", &[PRIVATE]);
    let before = scene.world.before().await;
    for (url, code) in [
        ("http://hooks.example.com/in", "scheme_not_https"),
        ("https://10.0.0.5/in", "ip_literal"),
        ("https://[::1]/in", "ip_literal"),
        ("https://user:pass@hooks.example.com/in", "userinfo_present"),
        ("https://hooks.example.com:8443/in", "port_not_allowed"),
        ("https://inside.example.com/in", "address_forbidden"),
        ("https://nowhere.example.com/in", "dns_failed"),
        ("no url", "url_invalid"),
    ] {
        let wish = json!({ "url": url, "events": ["run.dead"] });
        let answer = scene.acme.org.put("/org/acme/webhook/one", &wish).await.problem(Code::ValidationFailed);
        assert_eq!(answer.violations(), [("/url", code)], "{url}");
    }
    scene.world.assert_nothing_left(&before).await;
    let wish = json!({ "url": url(), "events": ["run.daed", "connection.*", "*.x"] });
    let answer = scene.acme.org.put("/org/acme/webhook/one", &wish).await.problem(Code::ValidationFailed);
    assert_eq!(answer.violations(), [("/events/0", "unknown_event"), ("/events/2", "unknown_event")]);
    assert!(answer.messages().contains("did you mean \"run.dead\"?"), "{}", answer.messages());
    scene.hook("one", &["run.dead"]).await;
}

#[tokio::test]
async fn there_are_at_most_so_many_webhooks() {
    let scene = Scene::new(Limits { webhooks: 2, ..quick() }).await;
    scene.hook("a", &["*"]).await;
    scene.hook("b", &["*"]).await;
    let wish = json!({ "url": url(), "events": ["*"] });
    let answer = scene.acme.org.put("/org/acme/webhook/c", &wish).await.problem(Code::ValidationFailed);
    assert_eq!(answer.violations(), [("", "too_many")]);
    scene.acme.org.put("/org/acme/webhook/b", &wish).await.is(200);
    scene.acme.org.delete("/org/acme/webhook/a").await.is(204);
    scene.hook("c", &["*"]).await;
}

#[tokio::test]
async fn foreign_tenants_and_roles_see_nothing() {
    let scene = Scene::new(quick()).await;
    scene.hook("one", &["*"]).await;
    let globex = scene.world.tenant("globex", "main").await;
    globex.org.get("/org/acme/webhook/one").await.problem(Code::OrgNotFound);
    globex.org.get("/org/acme/webhook").await.problem(Code::OrgNotFound);
    globex.org.get("/org/acme/webhook/one/delivery").await.problem(Code::OrgNotFound);
    globex.org.delete("/org/acme/webhook/one").await.problem(Code::OrgNotFound);
    globex.org.write("POST", "/org/acme/webhook/one/rotate", "").await.problem(Code::OrgNotFound);
    globex.org.get("/org/globex/webhook/one").await.problem(Code::NotFound);
    scene.acme.workspace.get("/org/acme/webhook/one").await.problem(Code::RoleNotAllowed);
    scene.acme.run.get("/org/acme/webhook/one").await.problem(Code::RoleNotAllowed);
    scene.acme.org.get("/admin/webhook").await.problem(Code::RoleNotAllowed);
    scene
        .acme
        .org
        .put("/admin/webhook/one", &json!({ "url": url(), "events": ["*"] }))
        .await
        .problem(Code::RoleNotAllowed);
    scene.acme.org.get("/org/acme/webhook/one").await.is(200);
}

#[tokio::test]
async fn the_platform_has_webhooks_and_a_ledger_of_its_own() {
    let scene = Scene::working(quick()).await;
    let platform = &scene.world.platform;
    platform
        .post("/admin/org", &json!({ "org": "portcullis-platform" }))
        .await
        .problem(Code::ValidationFailed);
    let secret = made(platform, "/admin/webhook/all", &["policy.changed", "connector.changed"]).await;
    assert_eq!(platform.get("/admin/webhook/all").await.is(200).json["webhook"], "all");
    assert_eq!(platform.get("/admin/webhook").await.is(200).json["data"].as_array().unwrap().len(), 1);
    scene.change_policy().await;
    let delivered = scene.until_delivered(1).await;
    assert!(is_signed(&delivered[0], &secret));
    assert_eq!(body(&delivered[0])["data"], json!({ "org": "acme", "settings": "integrations" }));
    let own = scene.acme.org.get("/org/acme/outbound").await.is(200);
    assert_eq!(own.json["data"], json!([]), "the org's ledger has nothing of it");
    let listed = platform.get("/admin/webhook/all/delivery").await.is(200);
    let delivery = listed.json["data"][0]["delivery_id"].as_str().unwrap().to_owned();
    crate::support::until("it is delivered", async || {
        platform.get("/admin/webhook/all/delivery").await.json["data"][0]["state"] == "delivered"
    })
    .await;
    platform.write("POST", &format!("/admin/webhook/all/delivery/{delivery}/resend"), "").await.is(200);
    scene.until_delivered(2).await;
    let rotated = platform.write("POST", "/admin/webhook/all/rotate", "").await.is(200);
    assert_ne!(rotated.json["secret"], secret);
    platform.delete("/admin/webhook/all").await.is(204);
    scene.world.names.tell(HOST, &[PUBLIC]);
}
