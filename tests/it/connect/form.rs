//! The form of a connector that needs no consent: filled in, refused with words, tried, and kept.

use portcullis_core::fault::Code;
use serde_json::json;

use super::{CHECK, CRM, KEY, SAAS, Scene, filled, hidden, link_of};
use crate::support::Script;

#[tokio::test]
async fn a_person_connects_and_is_sent_back() {
    let scene = Scene::start().await;
    let url = "https://app.example.com/done/here?tab=1";
    let (browser, link) = scene.claimed(json!({ "connector_id": CRM, "return_url": url })).await;
    let answer = browser.fill(&link, CRM, &filled()).await.is(303);
    assert_eq!(answer.header("location"), Some(format!("{link}/end").as_str()), "never elsewhere by a form");
    let page = browser.follow(answer).await.is(200);
    assert!(page.text.contains("Connected as ada &lt;ada@example.org&gt;"), "{}", page.text);
    let back = format!("{url}&status=connected&connector_id=crm&connection=default");
    assert_eq!(page.header("refresh"), Some(format!("0; url={back}").as_str()));
    assert_eq!(link_of(&page, "Go back"), back);
    assert_eq!(scene.state(CRM).await, "connected");
    let sent = scene.world.upstream.received_on(CHECK);
    assert_eq!(sent.len(), 1);
    assert!(!page.text.contains(KEY));
}

#[tokio::test]
async fn a_person_chooses_what_to_connect_where_the_link_is_for_anything() {
    let scene = Scene::start().await;
    scene.world.platform.post("/admin/connector", &off("switched-off")).await.is(201);
    let (browser, link) = scene.claimed(json!({})).await;
    let page = browser.get(&link).await.is(200);
    assert!(page.text.contains("CRM &lt;b&gt;&amp; co&lt;/b&gt;"), "{}", page.text);
    assert!(page.text.contains("Saas") && !page.text.contains("switched-off"), "{}", page.text);
    let form = browser.get(&link_of(&page, "CRM &lt;b&gt;")).await.is(200);
    assert!(form.text.contains("field.api_key"), "{}", form.text);
    let page = browser.follow(browser.fill(&link, CRM, &filled()).await.is(303)).await.is(200);
    assert!(page.text.contains("is connected") && page.header("refresh").is_none(), "{}", page.text);
}

fn off(id: &str) -> serde_json::Value {
    let mut definition = super::crm();
    definition["connector_id"] = json!(id);
    definition["display_name"] = json!(id);
    definition["enabled"] = json!(false);
    definition
}

#[tokio::test]
async fn what_is_wrong_stands_beside_its_field_and_what_is_not_secret_stays() {
    let scene = Scene::start().await;
    let (browser, link) = scene.claimed(json!({ "connector_id": CRM })).await;
    let form = browser.get(&link).await.is(200);
    for part in [
        "API &lt;i&gt;key&lt;/i&gt;",
        "In your &quot;profile&quot; &lt;img src=x&gt;",
        "Contacts &lt;script&gt;alert(1)&lt;/script&gt;",
        "<legend>Place</legend>",
        "<span aria-hidden=\"true\">.salesforce.com</span>",
        "<option value=\"eu\">Europe</option>",
        "type=\"password\"",
    ] {
        assert!(form.text.contains(part), "{part}: {}", form.text);
    }
    let before = scene.world.before().await;
    let hostile = "\"><script>alert(2)</script>";
    let wrong = [("field.api_key", "no-such-key-77"), ("field.domain", hostile), ("field.region", "us")];
    let page = browser.fill(&link, CRM, &wrong).await.is(422);
    assert!(page.text.contains("value=\"&quot;&gt;&lt;script&gt;alert(2)&lt;/script&gt;\""), "{}", page.text);
    assert!(page.text.contains("<option value=\"us\" selected>"), "{}", page.text);
    assert!(page.text.contains("<p class=\"wrong\">API &lt;i&gt;key&lt;/i&gt;"), "{}", page.text);
    assert!(!page.text.contains("no-such-key-77"), "a secret is never shown: {}", page.text);
    assert_eq!(page.text.matches("aria-invalid=\"true\"").count(), 2, "{}", page.text);
    scene.world.assert_untouched(&before).await;
    let page = browser.fill(&link, CRM, &[("field.domain", "acme")]).await.is(422);
    assert!(page.text.contains("API &lt;i&gt;key&lt;/i&gt; is required"), "{}", page.text);
    browser.fill(&link, CRM, &filled()).await.is(303);
}

#[tokio::test]
async fn a_key_that_the_vendor_refuses_is_said_at_once_and_can_be_mended() {
    let scene = Scene::start().await;
    let (browser, link) = scene.claimed(json!({ "connector_id": CRM })).await;
    scene.world.upstream.script(CHECK, Script::Json(401, r#"{"message":"no"}"#));
    let page = browser.fill(&link, CRM, &filled()).await.is(422);
    assert!(page.text.contains("does not accept it") && !page.text.contains("Keep it"), "{}", page.text);
    assert!(page.text.contains("value=\"acme\"") && !page.text.contains(KEY), "{}", page.text);
    scene.world.upstream.script(CHECK, Script::Json(500, "{}"));
    let page = browser.fill(&link, CRM, &filled()).await.is(422);
    assert!(page.text.contains("could not be tried"), "{}", page.text);
    let form =
        [("csrf", hidden(&page, "csrf")), ("connector", CRM.to_owned()), ("action", "keep".to_owned())];
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let page = browser.follow(browser.post(&format!("{link}/end"), &form).await.is(303)).await.is(200);
    assert!(page.text.contains("is connected"), "{}", page.text);
}

#[tokio::test]
async fn a_person_who_leaves_is_sent_back_and_nothing_is_kept() {
    let scene = Scene::start().await;
    let wish = json!({ "connector_id": CRM, "return_url": "https://app.example.com/done" });
    let (browser, link) = scene.claimed(wish).await;
    let csrf = hidden(&browser.get(&link).await, "csrf");
    let left = browser.post(&format!("{link}/end"), &[("csrf", &csrf), ("action", "cancel")]).await.is(303);
    let page = browser.follow(left).await.is(200);
    let back = "https://app.example.com/done?status=cancelled&connector_id=crm&connection=default";
    assert_eq!(page.header("refresh"), Some(format!("0; url={back}").as_str()));
    assert_eq!(scene.state(CRM).await, "unconfigured");
    browser.get(&link).await.is(410);
}

#[tokio::test]
async fn a_connector_that_is_off_or_that_the_org_blocks_is_not_reached_at_all() {
    let scene = Scene::start().await;
    let (browser, link) = scene.claimed(json!({})).await;
    let csrf = hidden(&browser.get(&link).await, "csrf");
    let only_saas = json!({ "connectors": { "mode": "listed", "listed": [SAAS] }, "domain_allowlist": null });
    let none = json!({ "connectors": { "mode": "listed", "listed": [] }, "domain_allowlist": null });
    let path = "/org/acme/settings/integrations";
    scene.acme.org.put(path, &only_saas).await.is(200);
    let before = scene.world.before().await;
    let mut form = filled();
    form.extend([("csrf", csrf.as_str()), ("connector", CRM), ("method", "default")]);
    browser.post(&format!("{link}/save"), &form).await.is(403);
    browser.get(&format!("{link}?connector={CRM}")).await.is(403);
    assert!(!browser.get(&link).await.is(200).text.contains("CRM"));
    let made = "/workspace/acme/main/connect-session";
    let wish = json!({ "connector_id": CRM });
    scene.acme.workspace.post(made, &wish).await.problem(Code::ConnectorNotAllowed);
    scene.world.assert_untouched(&before).await;
    scene.acme.org.put(path, &none).await.is(200);
    let before = scene.world.before().await;
    let consent = format!("{link}/consent?connector={SAAS}&method=default&csrf={csrf}");
    browser.get(&consent).await.is(403);
    scene.world.assert_untouched(&before).await;
    let all = json!({ "domain_allowlist": null });
    scene.acme.org.put(path, &all).await.is(200);
    scene.world.platform.patch("/admin/connector/crm", &json!({ "enabled": false })).await.is(200);
    let before = scene.world.before().await;
    browser.post(&format!("{link}/save"), &form).await.is(403);
    scene.acme.workspace.post(made, &wish).await.problem(Code::ConnectorDisabled);
    scene.world.assert_untouched(&before).await;
    scene.world.platform.patch("/admin/connector/crm", &json!({ "enabled": true })).await.is(200);
    browser.post(&format!("{link}/save"), &form).await.is(303);
}
