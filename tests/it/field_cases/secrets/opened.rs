//! S6 and S9: every secret of the connection is removed from an answer, whatever was opened for the request and
//! whichever host answers.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::{CLIENT, ID, SECRET, Scene, client, definition};
use crate::secrecy::{captured, found};
use crate::support::{PRIVATE, PUBLIC, Script, Stage, Tenant, World};

/// A connector with a pasted refresh token and one more field.
fn pasted() -> Value {
    let mut definition = definition(&json!({}), &json!({ "auth_type": "oauth2_refresh_token" }));
    let fields = definition["auth_schema"]["fields"].as_array_mut().unwrap();
    for name in ["refresh_token", "pin"] {
        fields.push(json!({ "name": name, "type": "password", "required": true }));
    }
    definition
}

const PASTED: &str = "rt-pasted-5cB8nQ1z";
const PIN: &str = "pin-90/81+72";

async fn pasted_scene(stage: Stage) -> Scene {
    let scene = Scene::on(stage, &pasted()).await;
    scene.server.know_refresh(PASTED);
    let mut values = client();
    super::lay(&mut values, &json!({ "refresh_token": PASTED, "pin": PIN }));
    scene.acme.connect(ID, values).await;
    scene
}

fn echoing(texts: &[&str]) -> Value {
    let members = texts.iter().enumerate().map(|(at, text)| (format!("m{at}"), json!(text)));
    let coded = texts.iter().enumerate().map(|(at, text)| (format!("h{at}"), json!(hex::encode(text))));
    Value::Object(members.chain(coded).collect())
}

#[tokio::test]
async fn s6_what_was_not_opened_for_the_request_is_removed_from_its_answer() {
    captured();
    let scene = pasted_scene(Stage { sled: true, ..Stage::default() }).await;
    let secrets = [CLIENT, SECRET, PASTED, PIN, "rt-0001-hV9xLm3e", "at-0001-QzR7wK2n"];
    // Keeps a refresh token of its own beside the pasted one.
    scene.server.change(|ways| ways.more = json!({ "refresh_token": "rt-0001-hV9xLm3e" }));
    for status in [200, 400] {
        let script = Script::json(status, &echoing(&secrets));
        scene.server.change(|ways| ways.api = script);
        let answer = scene.list().await;
        assert_eq!(answer.status, if status == 200 { 200 } else { 502 }, "{}", answer.text);
        for secret in secrets {
            assert_eq!(found(answer.text.as_bytes(), secret), None, "{secret} in {}", answer.text);
        }
        assert!(answer.text.contains("[redacted]"), "{}", answer.text);
    }
    assert_eq!(scene.acme.ledger().await[0]["redacted"], true);
    for (place, bytes) in scene.seen().await {
        for secret in secrets {
            assert_eq!(found(&bytes, secret), None, "{secret} in {place}");
        }
    }
}

#[tokio::test]
async fn s6_it_is_removed_from_headers_and_across_pieces_too() {
    let scene = pasted_scene(Stage::default()).await;
    let body = json!({ "said": SECRET }).to_string();
    let mut pieces =
        vec![format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-said: {PIN}\r\ntransfer-encoding: chunked\r\n\r\n").into_bytes()];
    pieces.extend(body.bytes().map(|b| format!("1\r\n{}\r\n", char::from(b)).into_bytes()));
    pieces.push(b"0\r\n\r\n".to_vec());
    scene.server.change(|ways| ways.api = Script::Pieces(pieces));
    let answer = scene.list().await.is(200);
    assert_eq!(answer.json["output"], json!({ "said": "[redacted]" }), "{}", answer.text);
    assert_eq!(found(answer.text.as_bytes(), PIN), None, "{}", answer.text);
}

#[tokio::test]
async fn s6_the_others_are_opened_after_an_answer_and_never_for_a_call_that_was_refused() {
    let scene = pasted_scene(Stage::default()).await;
    scene.list().await.is(200);
    let opens = || scene.world.engine.vault().opens();
    let before = opens();
    scene.list().await.is(200);
    assert_eq!(opens() - before, 2, "the token for the request, the credential for the answer");
    // A new policy, so that no pooled connection is left.
    scene.acme.allow(json!([]), "enforce").await;
    let before = scene.world.before().await;
    scene.list().await.problem(Code::HostNotInOrg);
    scene.world.assert_nothing_looked_up(&before).await;
    scene.acme.allow(json!(["*.salesforce.com"]), "enforce").await;
    scene.world.names.tell("api.salesforce.com", &[PRIVATE]);
    let before = scene.world.before().await;
    scene.list().await.problem(Code::AddressForbidden);
    scene.world.assert_nothing_left(&before).await;
    scene.world.names.tell("api.salesforce.com", &[PUBLIC]);
    // Sent, and never answered: the token was opened, and nothing else.
    scene.server.change(|ways| ways.api = Script::HangUp);
    let mut once = pasted();
    once["retry"] = json!({ "max_attempts": 1 });
    scene.world.platform.put("/admin/connector/saas", &once).await.is(200);
    let before = opens();
    scene.list().await.problem(Code::UpstreamProtocol);
    assert_eq!(opens() - before, 1);
}

/// A connector with one key: one opening for each request, as ever.
#[tokio::test]
async fn s6_a_key_alone_is_opened_once() {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", json!({ "api_key": "sk-live-0123456789abcdef" })).await;
    for calls in 1..=3 {
        acme.create_contact().await.is(200);
        assert_eq!(world.engine.vault().opens(), calls);
    }
}

/// A token that was replaced may still work, so it is no less secret.
#[tokio::test]
async fn s6_the_token_before_a_renewal_is_removed_from_the_answers_after_it() {
    let scene = pasted_scene(Stage::default()).await;
    scene.server.change(|ways| ways.rotates = true);
    scene.list().await.is(200);
    let tokens = ["at-0001-QzR7wK2n", "at-0002-QzR7wK2n", "rt-0001-hV9xLm3e", "rt-0002-hV9xLm3e"];
    scene.server.change(|ways| ways.api = Script::json(200, &echoing(&tokens)));
    scene.server.revoke_access();
    for _ in 0..2 {
        let answer = scene.list().await.is(200);
        for token in tokens {
            assert_eq!(found(answer.text.as_bytes(), token), None, "{token} in {}", answer.text);
        }
        assert!(answer.text.contains("[redacted]"), "{}", answer.text);
    }
}

/// A connector that follows redirects among its hosts.
async fn redirecting() -> (World, Tenant) {
    let world = World::start().await;
    world.names.tell("files.salesforce.com", &[PUBLIC]);
    let definition = json!({
        "connector_id": ID, "display_name": "Example", "auth_type": "api_key",
        "auth_schema": { "fields": [{ "name": "api_key", "type": "password", "required": true }] },
        "allowed_domains": ["*.salesforce.com"], "enabled": true,
        "egress": { "redirects": { "follow": "allowed_hosts", "max": 3 } },
        "actions": [{ "action_id": "list", "http_method": "GET", "url_template": "https://api.salesforce.com/v1/things" }],
    });
    world.platform.post("/admin/connector", &definition).await.is(201);
    let acme = world.tenant("acme", "main").await;
    acme.connect(ID, json!({ "api_key": SECRET })).await;
    (world, acme)
}

fn to(location: &str) -> Script {
    Script::Kept(crate::support::upstream::whole(302, &[("location", location)], ""))
}

#[tokio::test]
async fn s9_a_host_that_a_redirect_leads_to_shows_nothing_of_the_first_ones_key() {
    captured();
    let (world, acme) = redirecting().await;
    world.upstream.script("/v1/things", to("https://files.salesforce.com/v1/file"));
    let head = format!("{}; {}", SECRET, hex::encode(SECRET));
    let body = json!({ "sent": format!("Bearer {SECRET}"), "hex": hex::encode(SECRET) }).to_string();
    for status in [200, 403] {
        world.upstream.script(
            "/v1/file",
            Script::Kept(crate::support::upstream::whole(status, &[("x-sent", &head)], &body)),
        );
        let answer = acme.call(ID, "list", json!({})).await;
        assert_eq!(found(answer.text.as_bytes(), SECRET), None, "{}", answer.text);
        assert!(answer.text.contains("[redacted]"), "{}", answer.text);
        assert_eq!(acme.ledger().await[0]["redacted"], true);
    }
    let there = world.upstream.received_on("/v1/file");
    assert!(there.len() == 2 && there.iter().all(|r| r.header("authorization").is_empty()));
}

#[tokio::test]
async fn s9_the_way_back_and_a_chain_show_nothing_either_and_a_location_carries_nothing_on() {
    let (world, acme) = redirecting().await;
    let coded = hex::encode(SECRET);
    world.upstream.script("/v1/things", to(&format!("https://files.salesforce.com/a?k={coded}")));
    world.upstream.script("/a", to("https://api.salesforce.com/v1/back"));
    let body = json!({ "sent": SECRET }).to_string();
    world.upstream.script("/v1/back", Script::Kept(crate::support::upstream::whole(200, &[], &body)));
    let answer = acme.call(ID, "list", json!({})).await.is(200);
    assert_eq!(answer.json["output"], json!({ "sent": "[redacted]" }), "{}", answer.text);
    let lines: Vec<String> = world.upstream.received().iter().map(|r| r.line().to_owned()).collect();
    assert!(lines.iter().all(|line| !line.contains(&coded)), "{lines:?}");
    for entry in acme.ledger().await {
        assert_eq!(found(entry.to_string().as_bytes(), SECRET), None, "{entry}");
    }
}
