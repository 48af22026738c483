//! Consent from a connect link: given, refused by the person, refused by the third party, two at once, and by API.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::{Browser, CRM, LOGIN, SAAS, SECRET, Scene, hidden, link_of};
use crate::support::token_server::unescaped;
use crate::support::{Answer, Script};

const DONE: &str = "https://app.example.com/done";

fn client() -> Vec<(&'static str, &'static str)> {
    vec![("field.client_id", "client-7f3a"), ("field.client_secret", SECRET)]
}

/// The value of a pair of a URL.
pub(super) fn pair(url: &str, name: &str) -> String {
    let (_, query) = url.split_once('?').unwrap();
    let found = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(own, _)| *own == name);
    unescaped(found.unwrap().1)
}

/// Saves the client and follows the link to the third party; where that is.
pub(super) async fn sent_away(browser: &Browser, link: &str) -> String {
    let saved = browser.fill(link, SAAS, &client()).await.is(303);
    let page = browser.follow(saved).await.is(200);
    assert!(!page.text.contains(SECRET), "{}", page.text);
    let answer = browser.get(&link_of(&page, "Continue to Saas")).await.is(303);
    let url = answer.header("location").unwrap().to_owned();
    assert!(url.starts_with(&format!("https://{LOGIN}/authorize?")), "{url}");
    url
}

pub(super) fn back(url: &str, more: &str) -> String {
    format!("/oauth/callback?state={}&{more}", pair(url, "state"))
}

/// Where a page goes on.
pub(super) fn leads_to(page: &Answer) -> String {
    page.header("refresh").unwrap().strip_prefix("0; url=").unwrap().to_owned()
}

#[tokio::test]
async fn a_person_consents_and_is_sent_back() {
    let scene = Scene::start().await;
    let (browser, link) = scene.claimed(json!({ "connector_id": SAAS, "return_url": DONE })).await;
    let url = sent_away(&browser, &link).await;
    let page = browser.get(&back(&url, "code=code-4Rt6")).await.is(200);
    assert_eq!(leads_to(&page), format!("{DONE}?status=connected&connector_id=saas&connection=default"));
    assert!(!page.text.contains("code-4Rt6") && !page.text.contains(&scene.server.access()), "{}", page.text);
    assert_eq!(scene.state(SAAS).await, "connected");
    assert_eq!(scene.server.asked().len(), 1);
    browser.get(&link).await.is(410);
    assert!(browser.get(&format!("{link}/end")).await.is(200).text.contains("Saas is connected"));
    browser.get(&back(&url, "code=code-4Rt6")).await.is(400);
    assert_eq!(scene.server.asked().len(), 1, "a state works once");
}

#[tokio::test]
async fn a_no_and_a_failure_come_back_as_a_status_and_a_page() {
    let scene = Scene::start().await;
    for (more, status, words) in [
        ("error=access_denied&error_description=Call+1+555", "cancelled", "Nothing was connected"),
        ("error=user_cancelled_authorize", "cancelled", "Nothing was connected"),
        ("error=server_error", "failed", "server_error"),
        ("error=%3Cb%3E", "failed", "consent was not given"),
    ] {
        let (browser, link) = scene.claimed(json!({ "connector_id": SAAS, "return_url": DONE })).await;
        let url = sent_away(&browser, &link).await;
        let page = browser.get(&back(&url, more)).await.is(200);
        let expected = format!("{DONE}?status={status}&connector_id=saas&connection=default");
        assert_eq!(leads_to(&page), expected, "{more}");
        assert!(page.text.contains(words) && !page.text.contains("555"), "{}", page.text);
        browser.get(&link).await.is(410);
    }
    assert_eq!(scene.server.asked().len(), 0);
    scene.server.change(|ways| ways.instead = Some(Script::Json(400, r#"{"error":"invalid_grant"}"#)));
    let (browser, link) = scene.claimed(json!({ "connector_id": SAAS })).await;
    let url = sent_away(&browser, &link).await;
    let page = browser.get(&back(&url, "code=code-4Rt6")).await.is(200);
    assert!(
        page.text.contains("could not be connected") && page.text.contains("invalid_grant"),
        "{}",
        page.text
    );
    assert_eq!(page.header("refresh"), None);
    assert_ne!(scene.state(SAAS).await, "connected");
}

#[tokio::test]
async fn another_browser_or_another_state_ends_nothing() {
    let scene = Scene::start().await;
    let (browser, link) = scene.claimed(json!({ "connector_id": SAAS })).await;
    let url = sent_away(&browser, &link).await;
    let before = scene.world.before().await;
    let page = scene.browser().get(&back(&url, "code=code-4Rt6")).await.is(400);
    assert!(page.text.contains("this is not the browser"), "{}", page.text);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let page = browser.get("/oauth/callback?state=wrong&code=code-4Rt6").await.is(400);
    assert!(page.text.contains("unknown"), "{}", page.text);
    browser.get("/oauth/callback?error=access_denied").await.is(400);
    scene.world.assert_untouched(&before).await;
    browser.get(&back(&url, "code=code-4Rt6")).await.is(200);
    assert_eq!(scene.state(SAAS).await, "connected");
}

#[tokio::test]
async fn a_consent_of_a_revoked_link_changes_nothing() {
    let scene = Scene::start().await;
    let path = "/workspace/acme/main/connect-session";
    for is_revoked in [true, false] {
        let (browser, link) = scene.claimed(json!({ "connector_id": SAAS })).await;
        let url = sent_away(&browser, &link).await;
        if is_revoked {
            let listed = scene.acme.org.get(path).await.is(200);
            let id = listed.json["data"][0]["session_id"].as_str().unwrap().to_owned();
            scene.acme.org.delete(&format!("{path}/{id}")).await.is(204);
            browser.get(&back(&url, "code=code-4Rt6")).await.is(400);
            assert_ne!(scene.state(SAAS).await, "connected");
            assert_eq!(scene.server.asked().len(), 0);
        } else {
            browser.get(&back(&url, "code=code-4Rt6")).await.is(200);
            assert_eq!(scene.state(SAAS).await, "connected");
        }
    }
}

#[tokio::test]
async fn two_consents_of_one_browser_end_each_for_itself() {
    let scene = Scene::start().await;
    let globex = scene.world.tenant("globex", "main").await;
    let browser = scene.browser();
    let first = scene.link(json!({ "connector_id": SAAS })).await;
    let made = globex
        .workspace
        .post("/workspace/globex/main/connect-session", &json!({ "connector_id": SAAS }))
        .await;
    let second = made.is(201).json["connect_url"].as_str().unwrap().split_once(".com").unwrap().1.to_owned();
    browser.claim(&first).await.is(200);
    browser.claim(&second).await.is(200);
    let (one, two) = (sent_away(&browser, &first).await, sent_away(&browser, &second).await);
    let page = browser.get(&back(&two, "error=access_denied")).await.is(200);
    assert!(page.text.contains("Nothing was connected"), "{}", page.text);
    let page = browser.get(&back(&one, "code=code-4Rt6")).await.is(200);
    assert!(page.text.contains("Saas is connected"), "{}", page.text);
    assert_eq!(scene.state(SAAS).await, "connected");
    let theirs = globex.workspace.get(&globex.setting(SAAS)).await.is(200);
    assert_ne!(theirs.json["state"], "connected");
}

#[tokio::test]
async fn two_consents_that_were_started_by_api_are_ended_by_one_browser() {
    let scene = Scene::start().await;
    let client = json!({ "client_id": "client-7f3a", "client_secret": SECRET });
    scene.acme.connect(SAAS, client).await;
    let path = format!("{}/oauth/start", scene.acme.setting(SAAS));
    let browser = scene.browser();
    let mut states = Vec::new();
    for _ in 0..2 {
        let started = scene.acme.workspace.post(&path, &json!({})).await.is(200);
        browser.keep(&started);
        states.push(started.json["authorize_url"].as_str().unwrap().to_owned());
    }
    assert_eq!(browser.jar.lock().unwrap().len(), 2, "a cookie for each");
    let page = browser.get(&back(&states[0], "error=access_denied")).await.is(400);
    assert!(page.text.contains("consent was not given"), "a page for a person: {}", page.text);
    let page = browser.get(&back(&states[1], "code=code-4Rt6")).await.is(200);
    assert!(page.text.contains("Saas is connected"), "{}", page.text);
    // A program is told by a problem.
    let started = scene.acme.workspace.post(&path, &json!({})).await.is(200);
    let cookie = started.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let url = started.json["authorize_url"].as_str().unwrap().to_owned();
    let anyone = scene.world.platform.anonymous();
    let answer =
        anyone.send("GET", &back(&url, "error=access_denied"), &[("cookie", &cookie)], Vec::new()).await;
    answer.problem(Code::ConsentInvalid);
}

#[tokio::test]
async fn a_session_that_was_left_while_the_person_was_away_is_not_connected() {
    let scene = Scene::start().await;
    let (browser, link) = scene.claimed(json!({ "connector_id": SAAS })).await;
    let url = sent_away(&browser, &link).await;
    let csrf = hidden(&browser.get(&link).await.is(200), "csrf");
    browser.post(&format!("{link}/end"), &[("csrf", &csrf), ("action", "cancel")]).await.is(303);
    let page = browser.get(&back(&url, "code=code-4Rt6")).await.is(200);
    assert!(page.text.contains("Nothing was connected"), "{}", page.text);
    assert_eq!(scene.server.asked().len(), 0, "the code is not redeemed");
    assert_ne!(scene.state(SAAS).await, "connected");
}

/// A workspace whose org saved the client is asked for consent alone.
#[tokio::test]
async fn with_a_shared_client_a_person_is_asked_for_nothing_but_consent() {
    let scene = Scene::start().await;
    let shared = json!({ "client_id": "client-of-acme", "client_secret": SECRET });
    scene.acme.org.put("/org/acme/oauth-client/saas", &shared).await.is(200);
    let (browser, link) = (scene.browser(), scene.link(json!({ "connector_id": SAAS })).await);
    let page = browser.claim(&link).await.is(200);
    assert!(!page.text.contains("field.client_id") && !page.text.contains("Client secret"), "{}", page.text);
    let answer = browser.get(&link_of(&page, "Continue to Saas")).await.is(303);
    let url = answer.header("location").unwrap().to_owned();
    assert_eq!(pair(&url, "client_id"), "client-of-acme");
    browser.get(&back(&url, "code=code-4Rt6")).await.is(200);
    assert_eq!(scene.state(SAAS).await, "connected");
    assert_eq!(scene.server.asked()[0].get("client_secret"), SECRET);
    // The neighbour: another org is asked for its client, and its own is used.
    let globex = scene.world.tenant("globex", "main").await;
    let wish = json!({ "connector_id": SAAS });
    let made = globex.workspace.post("/workspace/globex/main/connect-session", &wish).await.is(201);
    let link = made.json["connect_url"].as_str().unwrap().split_once(".com").unwrap().1.to_owned();
    let browser = scene.browser();
    let page = browser.claim(&link).await.is(200);
    assert!(page.text.contains("field.client_id") && page.text.contains("Client secret"), "{}", page.text);
    assert_eq!(pair(&sent_away(&browser, &link).await, "client_id"), "client-7f3a");
}

/// The org saves its client while a person fills in a form that still asks for one.
#[tokio::test]
async fn what_a_late_form_says_of_a_client_is_neither_saved_nor_used() {
    let scene = Scene::start().await;
    let (browser, link) = scene.claimed(json!({ "connector_id": SAAS })).await;
    let csrf = hidden(&browser.get(&link).await.is(200), "csrf");
    let shared = json!({ "client_id": "client-of-all", "client_secret": "shared-secret-8Qv" });
    scene.world.platform.put("/admin/oauth-client/saas", &shared).await.is(200);
    let form = [("csrf", csrf.as_str()), ("connector", SAAS), ("method", "default")];
    let own: Vec<(&str, &str)> = form.into_iter().chain(client()).collect();
    let saved = browser.post(&format!("{link}/save"), &own).await.is(303);
    let setting = scene.acme.workspace.get(&scene.acme.setting(SAAS)).await.is(200);
    assert_eq!(setting.json["fields"], json!({}), "{}", setting.text);
    let page = browser.follow(saved).await.is(200);
    let answer = browser.get(&link_of(&page, "Continue to Saas")).await.is(303);
    let url = answer.header("location").unwrap().to_owned();
    assert_eq!(pair(&url, "client_id"), "client-of-all");
    browser.get(&back(&url, "code=code-4Rt6")).await.is(200);
    assert_eq!(scene.server.asked()[0].get("client_secret"), "shared-secret-8Qv");
    assert_eq!(scene.state(SAAS).await, "connected");
}

#[tokio::test]
async fn consent_is_asked_only_where_a_method_needs_it() {
    let scene = Scene::start().await;
    let (browser, link) = scene.claimed(json!({})).await;
    let csrf = hidden(&browser.get(&link).await.is(200), "csrf");
    for (connector, method, status) in [(CRM, "default", 400), (SAAS, "none", 400), (SAAS, "default", 409)] {
        let path = format!("{link}/consent?connector={connector}&method={method}&csrf={csrf}");
        let before = scene.world.before().await;
        browser.get(&path).await.is(status);
        scene.world.assert_untouched(&before).await;
    }
    let setting: Value = scene.state(SAAS).await;
    assert_eq!(setting, "unconfigured");
}

/// A connector with a key, and beside it a consent with a client that is the same for all.
fn both() -> Value {
    let mut definition = super::crm();
    definition["connector_id"] = json!("both");
    definition["config_fields"] = json!([]);
    definition["auth_methods"] = json!([{
        "id": "oauth", "label": "Sign in", "auth_type": "oauth2_authorization_code", "fields": [],
        "auth": {
            "authorize_url": format!("https://{LOGIN}/authorize"),
            "token_url": format!("https://{LOGIN}/oauth/token"),
            "client_id": "client-of-all",
        },
    }]);
    definition
}

#[tokio::test]
async fn a_consent_replaces_nothing_that_is_saved_before_a_person_says_so() {
    let scene = Scene::start().await;
    scene.world.platform.post("/admin/connector", &both()).await.is(201);
    scene.acme.connect("both", json!({ "api_key": super::KEY })).await;
    let (browser, link) = scene.claimed(json!({ "connector_id": "both" })).await;
    let page = browser.get(&format!("{link}?method=oauth")).await.is(200);
    assert!(
        page.text.contains("Going on replaces it") && !page.text.contains("Continue to"),
        "{}",
        page.text
    );
    let csrf = hidden(&page, "csrf");
    let started = browser.get(&format!("{link}/consent?method=oauth&csrf={csrf}")).await;
    assert_eq!(started.status, 400, "{}", started.text);
    assert_eq!(scene.state("both").await, "connected", "nothing is lost");
    let form = [("csrf", csrf.as_str()), ("connector", "both"), ("method", "oauth")];
    let page = browser.follow(browser.post(&format!("{link}/save"), &form).await.is(303)).await.is(200);
    let url = browser.get(&link_of(&page, "Continue to")).await.is(303);
    let url = url.header("location").unwrap().to_owned();
    assert_eq!(pair(&url, "client_id"), "client-of-all");
    browser.get(&back(&url, "code=code-4Rt6")).await.is(200);
    assert_eq!(scene.state("both").await, "connected");
    // The neighbour: where nothing is saved the link leads on at once.
    let globex = scene.world.tenant("globex", "main").await;
    let wish = json!({ "connector_id": "both" });
    let made = globex.workspace.post("/workspace/globex/main/connect-session", &wish).await.is(201);
    let link = made.json["connect_url"].as_str().unwrap().split_once(".com").unwrap().1.to_owned();
    let browser = scene.browser();
    browser.claim(&link).await.is(200);
    let page = browser.get(&format!("{link}?method=oauth")).await.is(200);
    browser.get(&link_of(&page, "Continue to")).await.is(303);
}
