//! Who tries to finish a consent that is not theirs, not now, or not any more.

use portcullis_core::fault::Code;
use portcullis_store::{PendingConsent, Writes};
use serde_json::json;

use super::consent::{back, consenting, start, unconsented};
use super::{ID, LOGIN, LONG_AGO, Rig, client};

/// Refused, nothing was sent to the token endpoint, and nobody is connected.
async fn assert_refused(rig: &Rig, path: &str, cookie: Option<&str>) {
    let before = rig.world.before().await;
    let answer = back(rig, path, cookie).await.problem(Code::ConsentInvalid);
    assert!(!answer.text.contains("code-4Rt6"), "{}", answer.text);
    rig.world.assert_nothing_looked_up(&before).await;
    assert!(rig.server.asked().is_empty());
    assert_eq!(rig.setting().await["state"], "needs_attention");
}

#[tokio::test]
async fn a_wrong_state_or_none_is_refused_and_spends_nothing() {
    let rig = unconsented().await;
    let begun = start(&rig.acme).await;
    let cookie = Some(begun.cookie.as_str());
    let state = begun.state();
    let longer = format!("{state}x");
    for wrong in ["", "x", &state[1..], longer.as_str(), &state.to_lowercase(), "%00", "..%2F"] {
        assert_refused(&rig, &format!("/oauth/callback?state={wrong}&code=code-4Rt6"), cookie).await;
    }
    assert_refused(&rig, "/oauth/callback?code=code-4Rt6", cookie).await;
    assert_refused(&rig, "/oauth/callback", cookie).await;
    back(&rig, &begun.back(), cookie).await.is(200);
}

#[tokio::test]
async fn a_state_works_once_whatever_came_of_it() {
    let rig = unconsented().await;
    let begun = start(&rig.acme).await;
    back(&rig, &begun.back(), Some(&begun.cookie)).await.is(200);
    let asked = rig.server.asked().len();
    back(&rig, &begun.back(), Some(&begun.cookie)).await.problem(Code::ConsentInvalid);
    assert_eq!(rig.server.asked().len(), asked);
    assert_eq!(rig.setting().await["state"], "connected", "and who is connected stays it");
}

#[tokio::test]
async fn a_state_that_comes_ten_times_at_once_is_taken_once() {
    let rig = unconsented().await;
    let begun = start(&rig.acme).await;
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let (client, path) = (rig.world.platform.anonymous(), begun.back());
            let cookie = begun.cookie.clone();
            tokio::spawn(async move { client.send("GET", &path, &[("cookie", &cookie)], Vec::new()).await })
        })
        .collect();
    let mut good = 0;
    for call in calls {
        good += usize::from(call.await.unwrap().status == 200);
    }
    assert_eq!((good, rig.server.asked().len()), (1, 1));
}

#[tokio::test]
async fn a_state_that_is_too_old_is_refused_and_forgotten() {
    let rig = unconsented().await;
    let begun = start(&rig.acme).await;
    let records = &rig.world.app.records;
    let pending = records.list::<PendingConsent>(&[], None, 10).await.unwrap();
    assert_eq!(pending.len(), 1);
    let (key, mut consent, _) = pending.into_iter().next().unwrap();
    let life = consent.expires_at.parse::<jiff::Timestamp>().unwrap().duration_since(jiff::Timestamp::now());
    assert!((590..=600).contains(&life.as_secs()), "ten minutes: {life}");
    consent.expires_at = LONG_AGO.to_owned();
    records.commit(Writes::new().put(&[key.as_str()], &consent)).await.unwrap();
    assert_refused(&rig, &begun.back(), Some(&begun.cookie)).await;
    start(&rig.acme).await;
    let (_, mut unfinished, _) = records.list::<PendingConsent>(&[], None, 10).await.unwrap().remove(0);
    unfinished.expires_at = LONG_AGO.to_owned();
    records.commit(Writes::new().put(&["aa"], &unfinished)).await.unwrap();
    start(&rig.acme).await;
    let left = records.list::<PendingConsent>(&[], None, 10).await.unwrap();
    assert!(left.iter().all(|(key, _, _)| key != "aa"), "what nobody finished does not pile up");
}

#[tokio::test]
async fn another_browser_cannot_finish_it_and_the_first_still_can() {
    let rig = unconsented().await;
    let (begun, other) = (start(&rig.acme).await, start(&rig.acme).await);
    let name = begun.cookie.split('=').next().unwrap();
    assert_refused(&rig, &begun.back(), None).await;
    assert_refused(&rig, &begun.back(), Some(&other.cookie)).await;
    for cookie in [format!("{name}="), format!("x{}", begun.cookie), format!("{}x", begun.cookie)] {
        assert_refused(&rig, &begun.back(), Some(&cookie)).await;
    }
    // The victim's browser is led to the callback with the attacker's state: login forgery.
    assert_refused(&rig, &other.back(), Some(&begun.cookie)).await;
    back(&rig, &begun.back(), Some(&begun.cookie)).await.is(200);
}

#[tokio::test]
async fn a_person_who_says_no_spends_the_state() {
    let rig = unconsented().await;
    let begun = start(&rig.acme).await;
    let no = format!("/oauth/callback?error=access_denied&error_description=no&state={}", begun.state());
    assert_refused(&rig, &no, Some(&begun.cookie)).await;
    assert_refused(&rig, &begun.back(), Some(&begun.cookie)).await;
}

#[tokio::test]
async fn a_client_that_was_saved_anew_or_forgotten_in_between_ends_it() {
    let rig = unconsented().await;
    let begun = start(&rig.acme).await;
    rig.acme.connect(ID, client()).await;
    assert_refused(&rig, &begun.back(), Some(&begun.cookie)).await;
    let begun = start(&rig.acme).await;
    rig.acme.workspace.delete(&rig.acme.setting(ID)).await.is(204);
    rig.acme.connect(ID, client()).await;
    assert_refused(&rig, &begun.back(), Some(&begun.cookie)).await;
    let begun = start(&rig.acme).await;
    rig.acme.workspace.put(&rig.acme.setting(ID), &json!({ "enabled": false })).await.is(200);
    let before = rig.world.before().await;
    back(&rig, &begun.back(), Some(&begun.cookie)).await.problem(Code::ConsentInvalid);
    rig.world.assert_nothing_looked_up(&before).await;
}

#[tokio::test]
async fn the_kill_switch_in_between_ends_it() {
    let rig = unconsented().await;
    let begun = start(&rig.acme).await;
    rig.world.platform.patch("/admin/connector/saas", &json!({ "enabled": false })).await.is(200);
    let before = rig.world.before().await;
    back(&rig, &begun.back(), Some(&begun.cookie)).await.problem(Code::ConnectorDisabled);
    rig.world.assert_nothing_looked_up(&before).await;
    let begun_later = start_when_on(&rig).await;
    back(&rig, &begun_later.back(), Some(&begun_later.cookie)).await.is(200);
}

async fn start_when_on(rig: &Rig) -> super::consent::Begun {
    rig.world.platform.patch("/admin/connector/saas", &json!({ "enabled": true })).await.is(200);
    start(&rig.acme).await
}

#[tokio::test]
async fn a_consent_connects_the_workspace_it_was_started_in_and_no_other() {
    let rig = Rig::of(&consenting(&json!({}))).await;
    let globex = rig.world.tenant("globex", "main").await;
    for tenant in [&rig.acme, &globex] {
        tenant.connect(ID, client()).await;
    }
    let begun = start(&globex).await;
    back(&rig, &begun.back(), Some(&begun.cookie)).await.is(200);
    assert_eq!(rig.setting().await["state"], "needs_attention");
    let theirs = globex.workspace.get(&globex.setting(ID)).await.is(200);
    assert_eq!(theirs.json["state"], "connected");
    rig.list().await.problem(Code::CredentialNeedsAttention);
    globex.call(ID, "list", json!({})).await.is(200);
}

#[tokio::test]
async fn a_state_is_stored_as_its_hash_and_the_verifier_sealed() {
    let rig = unconsented().await;
    let begun = start(&rig.acme).await;
    let pending = rig.world.app.records.list::<PendingConsent>(&[], None, 10).await.unwrap();
    let text = serde_json::to_string(&pending.iter().map(|(k, c, _)| (k, c)).collect::<Vec<_>>()).unwrap();
    let cookie = begun.cookie.split_once('=').unwrap().1;
    back(&rig, &begun.back(), Some(&begun.cookie)).await.is(200);
    let verifier = rig.server.asked()[0].get("code_verifier").to_owned();
    assert_eq!(verifier.len(), 43);
    for secret in [begun.state(), cookie, verifier.as_str()] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(text.contains("acme") && !text.contains(LOGIN), "{text}");
}
