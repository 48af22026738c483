//! What an org says of its page: where it leads back to, who may frame it, and how it looks.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::{CRM, Scene};

const PATH: &str = "/org/acme/settings/connect";
const LOGO: &str = "data:image/png;base64,iVBORw0KGgo=";

#[tokio::test]
async fn settings_are_read_set_as_a_whole_and_checked() {
    let scene = Scene::start().await;
    let read = scene.acme.org.get("/org/acme/settings/connect").await.is(200);
    assert_eq!(read.json["return_urls"], json!(["https://app.example.com/done"]));
    let whole = json!({
        "return_urls": [], "frame_ancestors": ["https://App.example.com"], "title": "Acme", "logo": LOGO,
        "color": "1F5FBF",
    });
    let set = scene.world.platform.put(PATH, &whole).await.is(200);
    assert_eq!(
        (&set.json["color"], &set.json["frame_ancestors"]),
        (&json!("1f5fbf"), &json!(["https://app.example.com"]))
    );
    for (member, value, pointer, code) in [
        ("return_urls", json!(["http://app.example.com"]), "/return_urls/0", "return_url_not_allowed"),
        ("return_urls", json!(["https://a.example.com?x=1"]), "/return_urls/0", "return_url_not_allowed"),
        ("return_urls", json!(vec!["https://a.example.com"; 51]), "/return_urls", "too_many"),
        ("frame_ancestors", json!(["https://*.example.com"]), "/frame_ancestors/0", "return_url_not_allowed"),
        (
            "frame_ancestors",
            json!(["https://a.example.com/x"]),
            "/frame_ancestors/0",
            "return_url_not_allowed",
        ),
        ("title", json!("x".repeat(81)), "/title", "too_long"),
        ("logo", json!("https://a.example.com/x.png"), "/logo", "wrong_form"),
        ("logo", json!(format!("data:image/png;base64,{}", "A".repeat(32 * 1024))), "/logo", "too_long"),
        ("color", json!("red"), "/color", "wrong_form"),
    ] {
        let before = scene.world.before().await;
        let answer = scene.acme.org.put(PATH, &json!({ member: value })).await;
        let answer = answer.problem(Code::ValidationFailed);
        assert_eq!(answer.violations(), [(pointer, code)], "{member}: {}", answer.text);
        scene.world.assert_untouched(&before).await;
    }
    scene.acme.org.put(PATH, &json!({})).await.is(200);
    assert_eq!(scene.acme.org.get(PATH).await.is(200).json["title"], Value::Null);
}

#[tokio::test]
async fn a_session_leads_back_only_where_the_org_lists_it() {
    let scene = Scene::start().await;
    let path = "/workspace/acme/main/connect-session";
    for url in ["https://app.example.com/done", "https://app.example.com/done/x?y=1"] {
        scene.acme.workspace.post(path, &json!({ "return_url": url })).await.is(201);
    }
    for url in [
        "https://app.example.com/done2",
        "https://app.example.com/",
        "https://app.example.com/done/../x",
        "https://evil.example/done",
        "https://app.example.com@evil.example/done",
        "http://app.example.com/done",
        "javascript:alert(1)",
        "/done",
    ] {
        let answer = scene.acme.workspace.post(path, &json!({ "return_url": url })).await;
        assert_eq!(answer.problem(Code::ReturnUrlNotAllowed).json["pointer"], "/return_url", "{url}");
    }
    // One that the org takes off its list while the link is out is not followed.
    let wish = json!({ "connector_id": CRM, "return_url": "https://app.example.com/done" });
    let (browser, link) = scene.claimed(wish).await;
    scene.acme.org.put(PATH, &json!({})).await.is(200);
    let done = browser.fill(&link, CRM, &super::filled()).await.is(303);
    let page = browser.follow(done).await.is(200);
    assert_eq!(page.header("refresh"), None);
    assert!(!page.text.contains("app.example.com"), "{}", page.text);
}

#[tokio::test]
async fn the_page_has_the_orgs_look_below_the_names_and_hostile_texts_are_text() {
    let scene = Scene::start().await;
    let title = "</title><script>alert(1)</script>";
    let look = json!({
        "title": title, "logo": LOGO, "color": "ffdd00", "frame_ancestors": ["https://app.example.com"],
    });
    scene.acme.org.put(PATH, &look).await.is(200);
    let (browser, link) = scene.claimed(json!({ "connector_id": CRM })).await;
    let page = browser.get(&link).await.is(200);
    assert!(page.text.contains("&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;"), "{}", page.text);
    assert!(page.text.contains(&format!("<img src=\"{LOGO}\" alt=\"\">")), "{}", page.text);
    assert!(page.text.contains("background:#ffdd00"), "{}", page.text);
    let at = |part: &str| page.text.find(part).unwrap();
    assert!(
        at("portcullis.example.com") < at("&lt;/title&gt;&lt;script"),
        "names stand above: {}",
        page.text
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.ends_with("frame-ancestors https://app.example.com"), "{policy}");
}
