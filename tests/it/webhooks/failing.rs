//! Receivers that do not take a delivery.

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::json;

use super::{HOST, PATH, Scene, body, quick};
use crate::support::{PRIVATE, PUBLIC, Script, until};

#[tokio::test]
async fn a_delivery_is_tried_again_under_the_same_id_until_it_is_taken() {
    let scene = Scene::working(quick()).await;
    scene.hook("one", &["policy.changed"]).await;
    let (no, yes) = (|| Script::json(503, &json!({})), Script::json(204, &json!({})));
    scene.world.upstream.script(PATH, Script::turns(vec![no(), no(), Script::HangUp, yes]));
    scene.change_policy().await;
    let delivered = scene.until_delivered(4).await;
    let ids: std::collections::BTreeSet<_> =
        delivered.iter().map(|one| one.header("webhook-id")[0].to_owned()).collect();
    assert_eq!(ids.len(), 1);
    assert!(delivered.iter().all(|one| one.body == delivered[0].body));
    until("it is delivered", async || scene.listed("one", "?state=delivered").await.len() == 1).await;
    let listed = scene.listed("one", "").await;
    assert_eq!((&listed[0]["tries"], &listed[0]["status"]), (&json!(4), &json!(204)));
    assert_eq!(listed[0]["delivery_id"], json!(ids.first().unwrap()));
    assert_eq!(scene.listed("one", "?state=pending").await, Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let scene = Scene::working(quick()).await;
    scene.hook("one", &["policy.changed"]).await;
    let away = crate::support::upstream::whole(302, &[("location", "https://hooks.example.com/other")], "");
    scene.world.upstream.script(PATH, Script::turns(vec![Script::Kept(away), Script::json(200, &json!({}))]));
    scene.change_policy().await;
    scene.until_delivered(2).await;
    assert!(scene.world.upstream.received_on("/other").is_empty());
}

#[tokio::test]
async fn a_host_that_becomes_private_is_not_sent_to() {
    let scene = Scene::working(quick()).await;
    scene.hook("one", &["policy.changed"]).await;
    // Why closed: a kept connection was made while the name was public.
    scene.world.upstream.script(PATH, Script::HangUp);
    scene.change_policy().await;
    until("it was tried", async || !scene.delivered().is_empty()).await;
    scene.world.names.tell(HOST, &[PRIVATE]);
    scene.world.upstream.script(PATH, Script::json(200, &json!({})));
    let refused = async || {
        let listed = scene.listed("one", "?state=pending").await;
        listed.first().is_some_and(|one| one["code"] == Code::AddressForbidden.as_str())
    };
    until("it is refused", refused).await;
    assert!(scene.world.dialer.dialed().iter().all(|address| address.ip() == PUBLIC));
    let ledger = scene.acme.org.get("/org/acme/outbound?code=address_forbidden").await.is(200);
    assert_eq!(ledger.json["data"][0]["connector_id"], "webhook", "{}", ledger.text);
    scene.world.names.tell(HOST, &[PUBLIC]);
    until("it is delivered", async || scene.listed("one", "?state=delivered").await.len() == 1).await;
}

#[tokio::test]
async fn what_is_too_many_is_given_up_oldest_first_and_can_be_sent_again() {
    let scene = Scene::new(Limits { webhook_pending: 2, ..quick() }).await;
    scene.hook("one", &["policy.changed"]).await;
    for _ in 0..4 {
        scene.change_policy().await;
    }
    let all = scene.listed("one", "?state=pending").await;
    assert_eq!(all.len(), 4);
    // Why unreachable: what is pending stays so.
    scene.world.names.tell(HOST, &[PRIVATE]);
    scene.world.engine.start_webhooks();
    until("some are dead", async || scene.listed("one", "?state=dead").await.len() == 2).await;
    let dead = scene.listed("one", "?state=dead").await;
    assert_eq!(
        (&dead[0]["delivery_id"], &dead[1]["delivery_id"]),
        (&all[0]["delivery_id"], &all[1]["delivery_id"])
    );
    assert_eq!(dead[0]["code"], "too_many");
    scene.world.names.tell(HOST, &[PUBLIC]);
    let id = dead[0]["delivery_id"].as_str().unwrap();
    let path = format!("/org/acme/webhook/one/delivery/{id}/resend");
    let sent = scene.acme.org.write("POST", &path, "").await.is(200);
    assert_eq!((&sent.json["state"], &sent.json["delivery_id"]), (&json!("pending"), &json!(id)));
    let delivered = scene.until_delivered(3).await;
    assert!(delivered.iter().any(|one| one.header("webhook-id") == [id]));
    assert!(delivered.iter().all(|one| body(one)["type"] == "policy.changed"));
    let missing = format!("/org/acme/webhook/one/delivery/evt_{}/resend", "0".repeat(32));
    scene.acme.org.write("POST", &missing, "").await.problem(Code::NotFound);
    scene
        .acme
        .org
        .write("POST", "/org/acme/webhook/one/delivery/none/resend", "")
        .await
        .problem(Code::NotFound);
    until("all are delivered", async || scene.listed("one", "?state=delivered").await.len() == 3).await;
    let page = scene.acme.org.get("/org/acme/webhook/one/delivery?limit=1").await.is(200);
    let next = page.json["next"].as_str().unwrap();
    let rest = scene.listed("one", &format!("?starting_after={next}")).await;
    assert_eq!(rest.len(), 3);
    scene.acme.org.get("/org/acme/webhook/one/delivery?starting_after=x").await.problem(Code::BadRequest);
}

#[tokio::test]
async fn a_slow_receiver_holds_up_nobody_else() {
    let scene = Scene::working(quick()).await;
    let globex = scene.world.tenant("globex", "main").await;
    let slow = "/slow";
    let wish = json!({ "url": format!("https://{HOST}{slow}"), "events": ["policy.changed"] });
    globex.org.put("/org/globex/webhook/slow", &wish).await.is(201);
    let held = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    scene.world.upstream.script(slow, Script::Held(held, Box::new(Script::HangUp)));
    globex.org.put("/org/globex/settings/integrations", &json!({ "domain_allowlist": null })).await.is(200);
    until("the slow one has it", async || scene.world.upstream.received_on(slow).len() >= 2).await;
    scene.hook("one", &["policy.changed"]).await;
    scene.change_policy().await;
    scene.until_delivered(1).await;
}
