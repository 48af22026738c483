//! Links for a named connection: it is what the page saves, tries and consents to, and the default one stays as it is.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::consent::{back, leads_to, sent_away};
use super::{CHECK, CRM, SAAS, Scene, filled};

const DONE: &str = "https://app.example.com/done";

/// The link for `sales`.
fn wish(connector: &str) -> Value {
    json!({ "connector_id": connector, "connection": "sales", "return_url": DONE })
}

fn path(scene: &Scene, connector: &str) -> String {
    format!("{}/connection/sales", scene.acme.setting(connector))
}

async fn state(scene: &Scene, connector: &str) -> Value {
    scene.acme.workspace.get(&path(scene, connector)).await.is(200).json["state"].clone()
}

#[tokio::test]
async fn a_person_fills_in_the_form_of_a_named_connection_which_exists_from_then_on() {
    let scene = Scene::start().await;
    let (browser, link) = scene.claimed(wish(CRM)).await;
    scene.acme.workspace.get(&path(&scene, CRM)).await.problem(Code::NotFound);
    let form = browser.get(&link).await.is(200);
    assert!(form.text.contains("under the name <strong>sales</strong>"), "{}", form.text);
    let page = browser.follow(browser.fill(&link, CRM, &filled()).await.is(303)).await.is(200);
    assert_eq!(leads_to(&page), format!("{DONE}?status=connected&connector_id=crm&connection=sales"));
    assert_eq!(scene.world.upstream.received_on(CHECK).len(), 1, "it was tried");
    assert_eq!(state(&scene, CRM).await, "connected");
    assert_eq!(scene.state(CRM).await, "unconfigured");
    // The next link for it shows what is saved, and one for the default connection does not.
    let (browser, link) = scene.claimed(wish(CRM)).await;
    assert!(browser.get(&link).await.is(200).text.contains("value=\"acme\""));
    let (browser, link) = scene.claimed(json!({ "connector_id": CRM, "connection": "default" })).await;
    let form = browser.get(&link).await.is(200);
    assert!(!form.text.contains("value=\"acme\"") && !form.text.contains("under the name"), "{}", form.text);
    browser.follow(browser.fill(&link, CRM, &filled()).await.is(303)).await.is(200);
    assert_eq!(scene.state(CRM).await, "connected");
}

#[tokio::test]
async fn a_person_consents_to_a_named_connection() {
    let scene = Scene::start().await;
    let (browser, link) = scene.claimed(wish(SAAS)).await;
    let url = sent_away(&browser, &link).await;
    assert_eq!(state(&scene, SAAS).await, "needs_attention");
    let page = browser.get(&back(&url, "code=code-4Rt6")).await.is(200);
    assert_eq!(leads_to(&page), format!("{DONE}?status=connected&connector_id=saas&connection=sales"));
    assert_eq!(state(&scene, SAAS).await, "connected");
    assert_eq!(scene.state(SAAS).await, "unconfigured");
    let (browser, link) = scene.claimed(wish(SAAS)).await;
    let url = sent_away(&browser, &link).await;
    let page = browser.get(&back(&url, "error=access_denied")).await.is(200);
    assert_eq!(leads_to(&page), format!("{DONE}?status=cancelled&connector_id=saas&connection=sales"));
}

#[tokio::test]
async fn a_list_to_choose_from_shows_the_states_of_that_name() {
    let scene = Scene::start().await;
    let (browser, link) = scene.claimed(wish(CRM)).await;
    browser.fill(&link, CRM, &filled()).await.is(303);
    let shown = async |wish: Value| {
        let (browser, link) = scene.claimed(wish).await;
        browser.get(&link).await.is(200).text
    };
    assert!(shown(json!({ "connection": "sales" })).await.contains(">connected<"));
    assert!(!shown(json!({})).await.contains(">connected<"));
}

#[tokio::test]
async fn a_link_is_made_for_a_text_that_is_a_name_only() {
    let scene = Scene::start().await;
    let made = "/workspace/acme/main/connect-session";
    for text in ["Sales", "", "-a"] {
        let refused = scene.acme.workspace.post(made, &json!({ "connection": text })).await;
        let refused = refused.problem(Code::ValidationFailed);
        assert_eq!(refused.violations(), [("/connection", "wrong_form")], "{text}");
    }
    scene.acme.workspace.post(made, &json!({ "connection": "sales-2" })).await.is(201);
}
