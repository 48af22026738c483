//! Attempts to finish another person's consent, or one that is used or expired.

use portcullis_core::fault::Code;
use portcullis_store::{PendingConsent, Writes};
use serde_json::json;

use super::consent::{back, consenting, start, unconsented};
use super::{Harness, ID, LOGIN, LONG_AGO, client};

/// Refused, nothing was sent to the token endpoint, and there is no connection.
async fn assert_refused(harness: &Harness, path: &str, cookie: Option<&str>) {
    let before = harness.world.before().await;
    let answer = back(harness, path, cookie).await.problem(Code::ConsentInvalid);
    assert!(!answer.text.contains("code-4Rt6"), "{}", answer.text);
    harness.world.assert_nothing_looked_up(&before).await;
    assert!(harness.server.asked().is_empty());
    assert_eq!(harness.setting().await["state"], "needs_attention");
}

#[tokio::test]
async fn a_wrong_state_or_none_is_refused_and_spends_nothing() {
    let harness = unconsented().await;
    let begun = start(&harness.acme).await;
    let cookie = Some(begun.cookie.as_str());
    let state = begun.state();
    let longer = format!("{state}x");
    for wrong in ["", "x", &state[1..], longer.as_str(), &state.to_lowercase(), "%00", "..%2F"] {
        assert_refused(&harness, &format!("/oauth/callback?state={wrong}&code=code-4Rt6"), cookie).await;
    }
    assert_refused(&harness, "/oauth/callback?code=code-4Rt6", cookie).await;
    assert_refused(&harness, "/oauth/callback", cookie).await;
    back(&harness, &begun.back(), cookie).await.is(200);
}

#[tokio::test]
async fn a_state_works_once_whatever_came_of_it() {
    let harness = unconsented().await;
    let begun = start(&harness.acme).await;
    back(&harness, &begun.back(), Some(&begun.cookie)).await.is(200);
    let asked = harness.server.asked().len();
    back(&harness, &begun.back(), Some(&begun.cookie)).await.problem(Code::ConsentInvalid);
    assert_eq!(harness.server.asked().len(), asked);
    assert_eq!(harness.setting().await["state"], "connected", "and who is connected stays it");
}

#[tokio::test]
async fn a_state_that_comes_ten_times_at_once_is_taken_once() {
    let harness = unconsented().await;
    let begun = start(&harness.acme).await;
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let (client, path) = (harness.world.platform.anonymous(), begun.back());
            let cookie = begun.cookie.clone();
            tokio::spawn(async move { client.send("GET", &path, &[("cookie", &cookie)], Vec::new()).await })
        })
        .collect();
    let mut good = 0;
    for call in calls {
        good += usize::from(call.await.unwrap().status == 200);
    }
    assert_eq!((good, harness.server.asked().len()), (1, 1));
}

#[tokio::test]
async fn a_state_that_is_too_old_is_refused_and_forgotten() {
    let harness = unconsented().await;
    let begun = start(&harness.acme).await;
    let records = harness.world.engine.records();
    let pending = records.list::<PendingConsent>(&[], None, 10).await.unwrap();
    assert_eq!(pending.len(), 1);
    let (key, mut consent, _) = pending.into_iter().next().unwrap();
    let life = consent.expires_at.parse::<jiff::Timestamp>().unwrap().duration_since(jiff::Timestamp::now());
    assert!((590..=600).contains(&life.as_secs()), "ten minutes: {life}");
    consent.expires_at = LONG_AGO.to_owned();
    records.commit(Writes::new().put(&[key.as_str()], &consent)).await.unwrap();
    assert_refused(&harness, &begun.back(), Some(&begun.cookie)).await;
    start(&harness.acme).await;
    let (_, mut unfinished, _) = records.list::<PendingConsent>(&[], None, 10).await.unwrap().remove(0);
    unfinished.expires_at = LONG_AGO.to_owned();
    records.commit(Writes::new().put(&["aa"], &unfinished)).await.unwrap();
    start(&harness.acme).await;
    let left = records.list::<PendingConsent>(&[], None, 10).await.unwrap();
    assert!(left.iter().all(|(key, _, _)| key != "aa"), "unfinished consents do not accumulate");
}

#[tokio::test]
async fn another_browser_cannot_finish_it_and_the_first_still_can() {
    let harness = unconsented().await;
    let (begun, other) = (start(&harness.acme).await, start(&harness.acme).await);
    let name = begun.cookie.split('=').next().unwrap();
    assert_refused(&harness, &begun.back(), None).await;
    assert_refused(&harness, &begun.back(), Some(&other.cookie)).await;
    for cookie in [format!("{name}="), format!("x{}", begun.cookie), format!("{}x", begun.cookie)] {
        assert_refused(&harness, &begun.back(), Some(&cookie)).await;
    }
    // The victim's browser is led to the callback with the attacker's state: login forgery.
    assert_refused(&harness, &other.back(), Some(&begun.cookie)).await;
    back(&harness, &begun.back(), Some(&begun.cookie)).await.is(200);
}

#[tokio::test]
async fn a_person_who_says_no_spends_the_state() {
    let harness = unconsented().await;
    let begun = start(&harness.acme).await;
    let no = format!("/oauth/callback?error=access_denied&error_description=no&state={}", begun.state());
    assert_refused(&harness, &no, Some(&begun.cookie)).await;
    assert_refused(&harness, &begun.back(), Some(&begun.cookie)).await;
}

#[tokio::test]
async fn a_client_that_was_saved_anew_or_forgotten_in_between_ends_it() {
    let harness = unconsented().await;
    let begun = start(&harness.acme).await;
    harness.acme.connect(ID, client()).await;
    assert_refused(&harness, &begun.back(), Some(&begun.cookie)).await;
    let begun = start(&harness.acme).await;
    harness.acme.workspace.delete(&harness.acme.setting(ID)).await.is(204);
    harness.acme.connect(ID, client()).await;
    assert_refused(&harness, &begun.back(), Some(&begun.cookie)).await;
    let begun = start(&harness.acme).await;
    harness.acme.workspace.put(&harness.acme.setting(ID), &json!({ "enabled": false })).await.is(200);
    let before = harness.world.before().await;
    back(&harness, &begun.back(), Some(&begun.cookie)).await.problem(Code::ConsentInvalid);
    harness.world.assert_nothing_looked_up(&before).await;
}

#[tokio::test]
async fn the_kill_switch_in_between_ends_it() {
    let harness = unconsented().await;
    let begun = start(&harness.acme).await;
    harness.world.platform.patch("/admin/connector/saas", &json!({ "enabled": false })).await.is(200);
    let before = harness.world.before().await;
    back(&harness, &begun.back(), Some(&begun.cookie)).await.problem(Code::ConnectorDisabled);
    harness.world.assert_nothing_looked_up(&before).await;
    let begun_later = start_when_on(&harness).await;
    back(&harness, &begun_later.back(), Some(&begun_later.cookie)).await.is(200);
}

async fn start_when_on(harness: &Harness) -> super::consent::Begun {
    harness.world.platform.patch("/admin/connector/saas", &json!({ "enabled": true })).await.is(200);
    start(&harness.acme).await
}

#[tokio::test]
async fn a_consent_connects_the_workspace_it_was_started_in_and_no_other() {
    let harness = Harness::of(&consenting(&json!({}))).await;
    let globex = harness.world.tenant("globex", "main").await;
    for tenant in [&harness.acme, &globex] {
        tenant.connect(ID, client()).await;
    }
    let begun = start(&globex).await;
    back(&harness, &begun.back(), Some(&begun.cookie)).await.is(200);
    assert_eq!(harness.setting().await["state"], "needs_attention");
    let theirs = globex.workspace.get(&globex.setting(ID)).await.is(200);
    assert_eq!(theirs.json["state"], "connected");
    harness.list().await.problem(Code::CredentialNeedsAttention);
    globex.call(ID, "list", json!({})).await.is(200);
}

#[tokio::test]
async fn a_state_is_stored_as_its_hash_and_the_verifier_sealed() {
    let harness = unconsented().await;
    let begun = start(&harness.acme).await;
    let pending = harness.world.engine.records().list::<PendingConsent>(&[], None, 10).await.unwrap();
    let text = serde_json::to_string(&pending.iter().map(|(k, c, _)| (k, c)).collect::<Vec<_>>()).unwrap();
    let cookie = begun.cookie.split_once('=').unwrap().1;
    back(&harness, &begun.back(), Some(&begun.cookie)).await.is(200);
    let verifier = harness.server.asked()[0].get("code_verifier").to_owned();
    assert_eq!(verifier.len(), 43);
    for secret in [begun.state(), cookie, verifier.as_str()] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(text.contains("acme") && !text.contains(LOGIN), "{text}");
}
