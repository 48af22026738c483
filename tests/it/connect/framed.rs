//! The page in a frame of the integrator's application: cookies that browsers keep apart, and a consent in a window.

use portcullis_store::{ConnectSession, Writes};
use serde_json::json;

use super::consent::pair;
use super::{Browser, SAAS, SECRET, Scene, link_of};
use crate::support::Answer;

const PARENT: &str = "https://app.example.com";

/// A frame keeps its cookies apart: this jar is not the window's.
fn frame(scene: &Scene) -> Browser {
    Browser::framed(&scene.world)
}

async fn framed_link(scene: &Scene) -> String {
    let settings = json!({ "frame_ancestors": [PARENT] });
    scene.acme.org.put("/org/acme/settings/connect", &settings).await.is(200);
    scene.link(json!({ "connector_id": SAAS })).await
}

#[tokio::test]
async fn a_framed_page_consents_in_a_window_with_a_cookie_of_its_own() {
    let scene = Scene::start().await;
    let (link, frame) = (framed_link(&scene).await, frame(&scene));
    let page = frame.get(&link).await.is(200);
    assert!(page.header("content-security-policy").unwrap().ends_with(&format!("frame-ancestors {PARENT}")));
    assert!(page.text.contains("name=\"frame\" value=\"1\""), "{}", page.text);
    let claimed = frame.post(&format!("{link}/claim"), &[]).await.is(303);
    let cookie = claimed.header("set-cookie").unwrap();
    assert!(cookie.ends_with("; SameSite=None; Secure; Partitioned"), "{cookie}");
    let client = [("field.client_id", "client-7f3a"), ("field.client_secret", SECRET)];
    let page = frame.follow(frame.fill(&link, SAAS, &client).await.is(303)).await.is(200);
    let refresh = page.header("refresh").unwrap().to_owned();
    assert!(refresh.starts_with(&format!("4; url={link}?")), "the frame asks its session: {refresh}");
    let url = link_of(&page, "Continue to Saas");
    assert!(url.starts_with(&format!("{link}/window/")), "{url}");
    assert_eq!(link_of(&frame.get(&link).await, "Continue to Saas"), url, "the same until it is used");
    for site in ["none", "cross-site", "same-site"] {
        let sent_to = Browser { more: vec![("sec-fetch-site", site)], ..scene.browser() };
        sent_to.get(&url).await.is(403);
    }
    // The window has none of the frame's cookies.
    let window = Browser { more: vec![("sec-fetch-site", "same-origin")], ..scene.browser() };
    let away = window.get(&url).await.is(303);
    let cookie = away.header("set-cookie").unwrap();
    assert!(cookie.contains("; SameSite=Lax; Path=/oauth/callback;"), "{cookie}");
    let authorize = away.header("location").unwrap().to_owned();
    scene.browser().get(&url).await.is(410);
    let other = link_of(&frame.get(&link).await, "Continue to Saas");
    assert_ne!(other, url, "a used one is replaced");
    let back = format!("/oauth/callback?state={}&code=code-4Rt6", pair(&authorize, "state"));
    frame.get(&back).await.is(400);
    let page = window.get(&back).await.is(200);
    assert!(page.text.contains("You can close this window"), "{}", page.text);
    assert_eq!(scene.state(SAAS).await, "connected");
    let page = frame.follow(frame.get(&link).await.is(303)).await.is(200);
    assert!(page.text.contains("Saas is connected"), "{}", page.text);
    scene.browser().get(&other).await.is(410);
}

#[tokio::test]
async fn a_window_with_a_ticket_that_is_none_opens_nothing() {
    let scene = Scene::start().await;
    let (link, frame) = (framed_link(&scene).await, frame(&scene));
    frame.claim(&link).await;
    let before = scene.world.before().await;
    for ticket in ["x", &"0".repeat(64)] {
        scene.browser().get(&format!("{link}/window/{ticket}")).await.is(410);
    }
    scene.world.assert_untouched(&before).await;
}

#[tokio::test]
async fn a_browser_that_does_not_say_that_it_frames_is_told_by_the_link() {
    let scene = Scene::start().await;
    let (link, browser) = (framed_link(&scene).await, scene.browser());
    let page = browser.get(&format!("{link}?frame=1")).await.is(200);
    assert!(page.text.contains("name=\"frame\" value=\"1\""), "{}", page.text);
    let claimed = browser.post(&format!("{link}/claim"), &[("frame", "1")]).await.is(303);
    assert!(claimed.header("set-cookie").unwrap().contains("Partitioned"));
    let page = scene.browser().get(&framed_link(&scene).await).await.is(200);
    assert!(!page.text.contains("name=\"frame\""), "the neighbour: {}", page.text);
}

#[tokio::test]
async fn a_frame_in_which_the_time_ran_out_may_say_so() {
    let scene = Scene::start().await;
    let (link, frame) = (framed_link(&scene).await, frame(&scene));
    frame.claim(&link).await;
    let records = scene.world.engine.records();
    let (id, mut session, _) =
        records.list::<ConnectSession>(&["acme", "main"], None, 10).await.unwrap().remove(0);
    session.claim.as_mut().unwrap().until = "2020-01-01T00:00:00Z".to_owned();
    records.commit(Writes::new().put(&["acme", "main", id.as_str()], &session)).await.unwrap();
    let ancestors = |page: &Answer| {
        let policy = page.header("content-security-policy").unwrap().to_owned();
        policy.split("frame-ancestors ").nth(1).unwrap().to_owned()
    };
    let page = frame.get(&link).await.is(410);
    assert_eq!(ancestors(&page), PARENT);
    assert!(!page.text.contains("acme"), "{}", page.text);
    let unknown = frame.get(&format!("/connect/{}", "x".repeat(43))).await.is(410);
    assert_eq!(ancestors(&unknown), "'none'", "the neighbour: nobody knows whose it is");
}
