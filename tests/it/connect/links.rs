//! Who may use a link: nobody by opening it, the first browser that goes on, and nobody after it was used.

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use portcullis_store::{ConnectLink, ConnectSession, Writes};
use serde_json::json;

use super::{CRM, KEY, SAAS, SECRET, Scene, filled, hidden, link_of};
use crate::support::{Stage, World};

const LONG_AGO: &str = "2020-01-01T00:00:00Z";

#[tokio::test]
async fn opening_a_link_claims_nothing_and_the_first_browser_that_goes_on_has_it() {
    let scene = Scene::start().await;
    let link = scene.link(json!({ "connector_id": CRM })).await;
    let (first, second) = (scene.browser(), scene.browser());
    let before = scene.world.before().await;
    for browser in [&first, &second, &first] {
        let page = browser.get(&link).await.is(200);
        for named in ["main", "acme", "portcullis.example.com"] {
            assert!(page.text.contains(&format!("<strong>{named}</strong>")), "{named}: {}", page.text);
        }
        assert_eq!(page.header("set-cookie"), None);
        assert!(page.header("content-security-policy").unwrap().ends_with("frame-ancestors 'none'"));
    }
    scene.world.assert_untouched(&before).await;
    let answer = first.post(&format!("{link}/claim"), &[]).await.is(303);
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["; HttpOnly", "; Path=/connect;", "; SameSite=Lax", "; Secure", "; Max-Age=1800"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let page = first.get(&link).await.is(200);
    assert!(page.text.contains("name=\"field.api_key\""), "{}", page.text);
    let theirs = hidden(&page, "csrf");
    let before = scene.world.before().await;
    second.get(&link).await.is(403);
    second.post(&format!("{link}/claim"), &[]).await.is(403);
    second.post(&format!("{link}/save"), &[("csrf", &theirs), ("connector", CRM)]).await.is(403);
    second.post(&format!("{link}/end"), &[("csrf", &theirs)]).await.is(403);
    let page = second.get(&format!("{link}/end")).await.is(403);
    assert!(!page.text.contains("acme"), "{}", page.text);
    scene.world.assert_untouched(&before).await;
    first.follow(first.fill(&link, CRM, &filled()).await.is(303)).await.is(200);
}

#[tokio::test]
async fn two_browsers_that_claim_at_once_are_one() {
    let scene = Scene::start().await;
    let link = scene.link(json!({})).await;
    let claims: Vec<_> = (0..8)
        .map(|_| {
            let (browser, path) = (scene.browser(), format!("{link}/claim"));
            tokio::spawn(async move { browser.post(&path, &[]).await.status })
        })
        .collect();
    let mut statuses = Vec::new();
    for claim in claims {
        statuses.push(claim.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 403, 403, 403, 403, 403, 403, 403]);
}

#[tokio::test]
async fn a_link_that_is_unknown_used_or_stale_is_gone_on_every_route() {
    let scene = Scene::start().await;
    let (browser, used) = scene.claimed(json!({ "connector_id": CRM })).await;
    browser.follow(browser.fill(&used, CRM, &filled()).await.is(303)).await.is(200);
    let stale = scene.link(json!({ "expires_in": 60 })).await;
    let left = scene.claimed(json!({})).await;
    let records = scene.world.engine.records();
    let sessions = records.list::<ConnectSession>(&["acme", "main"], None, 10).await.unwrap();
    for (id, mut session, _) in sessions {
        match &mut session.claim {
            None => session.expires_at = LONG_AGO.to_owned(),
            Some(claim) if session.end.is_none() => claim.until = LONG_AGO.to_owned(),
            Some(_) => continue,
        }
        records.commit(Writes::new().put(&["acme", "main", id.as_str()], &session)).await.unwrap();
    }
    left.0.get(&left.1).await.is(410);
    browser.get(&used).await.is(410);
    browser.get(&format!("{used}/end")).await.is(200);
    let stranger = scene.browser();
    let unknown = format!("/connect/{}", "x".repeat(43));
    let before = scene.world.before().await;
    for link in
        [used.as_str(), stale.as_str(), left.1.as_str(), unknown.as_str(), "/connect/x", "/connect/a.b"]
    {
        stranger.get(link).await.is(410);
        for (method, path) in [
            ("POST", "/connect/x/claim"),
            ("POST", "/connect/x/save"),
            ("GET", "/connect/x/consent"),
            ("GET", "/connect/x/window/ticket"),
            ("POST", "/connect/x/end"),
            ("GET", "/connect/x/end"),
        ] {
            let path = path.replace("/connect/x", link);
            let answer = stranger.ask(method, &path, Vec::new()).await;
            assert_eq!(answer.status, 410, "{method} {path}: {}", answer.text);
            assert!(answer.text.contains("does not work any more"), "{}", answer.text);
        }
    }
    scene.world.assert_untouched(&before).await;
}

#[tokio::test]
async fn a_form_of_another_site_changes_nothing() {
    let scene = Scene::start().await;
    let (browser, link) = scene.claimed(json!({ "connector_id": CRM })).await;
    let (other, another) = scene.claimed(json!({ "connector_id": CRM })).await;
    let theirs = hidden(&other.get(&another).await, "csrf");
    let before = scene.world.before().await;
    for csrf in ["", "x", theirs.as_str()] {
        let mut form = filled();
        form.extend([("csrf", csrf), ("connector", CRM), ("method", "default")]);
        browser.post(&format!("{link}/save"), &form).await.is(403);
        browser.post(&format!("{link}/end"), &[("csrf", csrf)]).await.is(403);
        browser.get(&format!("{link}/consent?connector={CRM}&method=default&csrf={csrf}")).await.is(403);
    }
    scene.world.assert_untouched(&before).await;
    browser.fill(&link, CRM, &filled()).await.is(303);
}

#[tokio::test]
async fn a_session_reaches_its_own_workspace_and_connector_and_ends_with_the_workspace() {
    let scene = Scene::start().await;
    let globex = scene.world.tenant("globex", "main").await;
    let path = "/workspace/acme/main/connect-session";
    let wish = json!({ "connector_id": CRM });
    globex.workspace.post(path, &wish).await.problem(Code::OrgNotFound);
    globex.org.post(path, &wish).await.problem(Code::OrgNotFound);
    scene.acme.run.post(path, &wish).await.problem(Code::RoleNotAllowed);
    for caller in [&scene.acme.org, &scene.acme.workspace, &scene.world.platform] {
        let made = caller.post(path, &wish).await.is(201);
        assert!(made.json["session_id"].as_str().unwrap().starts_with("cs_"), "{}", made.text);
    }
    let (browser, link) = scene.claimed(wish).await;
    let before = scene.world.before().await;
    // Another connector than the link's own is not asked for.
    let page = browser.get(&format!("{link}?connector=saas")).await.is(200);
    assert!(page.text.contains("field.api_key"), "{}", page.text);
    scene.world.assert_untouched(&before).await;
    browser.follow(browser.fill(&link, CRM, &filled()).await.is(303)).await.is(200);
    globex.workspace.get(&globex.setting(CRM)).await.is(200);
    let theirs = globex.workspace.get(&globex.setting(CRM)).await.is(200);
    assert_eq!(theirs.json["state"], "unconfigured");
    let (browser, link) = scene.claimed(json!({ "connector_id": CRM })).await;
    scene.world.platform.delete("/admin/org/acme/workspace/main").await.is(204);
    browser.get(&link).await.is(410);
    scene.world.tenant("acme", "main").await;
    browser.get(&link).await.is(410);
    let records = scene.world.engine.records();
    assert!(records.list::<ConnectLink>(&[], None, 10).await.unwrap().is_empty(), "its links are forgotten");
}

#[tokio::test]
async fn a_session_is_bounded_in_time_and_number_and_swept() {
    let limits = Limits { connect_sessions: 2, concurrent_calls: 32, ..Limits::default() };
    let world: World = Stage { limits, ..Stage::default() }.start().await;
    let acme = world.tenant("acme", "main").await;
    let path = "/workspace/acme/main/connect-session";
    for seconds in [59, 604_801] {
        let answer = acme.workspace.post(path, &json!({ "expires_in": seconds })).await;
        assert_eq!(answer.problem(Code::ValidationFailed).violations(), [("/expires_in", "out_of_range")]);
    }
    for seconds in [60, 604_800] {
        acme.workspace.post(path, &json!({ "expires_in": seconds })).await.is(201);
    }
    let answer = acme.workspace.post(path, &json!({})).await.problem(Code::ValidationFailed);
    assert!(answer.messages().contains("limits.connect_sessions"), "{}", answer.text);
    let records = world.engine.records();
    let sessions = records.list::<ConnectSession>(&["acme", "main"], None, 10).await.unwrap();
    for (id, mut session, _) in sessions {
        session.expires_at = LONG_AGO.to_owned();
        records.commit(Writes::new().put(&["acme", "main", id.as_str()], &session)).await.unwrap();
    }
    let made = acme.workspace.post(path, &json!({})).await.is(201);
    let sessions = records.list::<ConnectSession>(&["acme", "main"], None, 10).await.unwrap();
    assert_eq!(sessions.len(), 1, "those that are over make room");
    let (id, mut session, _) = sessions.into_iter().next().unwrap();
    assert_eq!(made.json["session_id"], id.as_str());
    portcullis_engine::connect::sweep(&world.engine).await.unwrap();
    assert_eq!(records.list::<ConnectLink>(&[], None, 10).await.unwrap().len(), 1);
    session.expires_at = LONG_AGO.to_owned();
    records.commit(Writes::new().put(&["acme", "main", id.as_str()], &session)).await.unwrap();
    portcullis_engine::connect::sweep(&world.engine).await.unwrap();
    assert!(records.list::<ConnectSession>(&[], None, 10).await.unwrap().is_empty());
    assert!(records.list::<ConnectLink>(&[], None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn links_are_listed_without_their_secrets_and_a_revoked_one_ends_in_every_state() {
    let limits = Limits { connect_sessions: 3, concurrent_calls: 32, ..Limits::default() };
    let scene = Scene::with(limits).await;
    let path = "/workspace/acme/main/connect-session";
    let org = &scene.acme.org;
    let (browser, claimed) = scene.claimed(json!({ "connector_id": CRM })).await;
    let (done, connected) = scene.claimed(json!({ "connector_id": CRM })).await;
    done.follow(done.fill(&connected, CRM, &filled()).await.is(303)).await.is(200);
    let open = scene.acme.workspace.post(path, &json!({})).await.is(201);
    let open_link = open.json["connect_url"].as_str().unwrap().split_once(".com").unwrap().1.to_owned();
    let listed = org.get(path).await.is(200);
    let each = |member: &str| -> Vec<String> {
        let links = listed.json["data"].as_array().unwrap().iter();
        links.map(|link| link[member].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(each("state"), ["claimed", "connected", "open"], "{}", listed.text);
    for link in [&claimed, &connected, &open_link] {
        assert!(!listed.text.contains(link.rsplit('/').next().unwrap()), "{}", listed.text);
    }
    for member in ["\"link\"", "\"browser\"", "\"claim\""] {
        assert!(!listed.text.contains(member), "{}", listed.text);
    }
    let page = org.get(&format!("{path}?limit=2")).await.is(200);
    let last = page.json["data"][1]["session_id"].as_str().unwrap().to_owned();
    assert_eq!(page.json["has_more"], true);
    let rest = org.get(&format!("{path}?limit=2&starting_after={last}")).await.is(200);
    assert_eq!(rest.json["data"][0]["session_id"], open.json["session_id"]);
    // The workspace is full, until one is revoked.
    scene.acme.workspace.post(path, &json!({})).await.problem(Code::ValidationFailed);
    let globex = scene.world.tenant("globex", "main").await;
    for none in ["cs_unknown".to_owned(), "_".to_owned(), "x".repeat(81), "a%2Fb".to_owned()] {
        org.delete(&format!("{path}/{none}")).await.problem(Code::NotFound);
    }
    for id in each("session_id") {
        let own = format!("{path}/{id}");
        globex.org.delete(&own).await.problem(Code::OrgNotFound);
        globex
            .org
            .delete(&format!("/workspace/globex/main/connect-session/{id}"))
            .await
            .problem(Code::NotFound);
        org.delete(&own).await.is(204);
        org.delete(&own).await.problem(Code::NotFound);
    }
    for link in [&claimed, &connected, &open_link] {
        scene.browser().get(link).await.is(410);
    }
    browser.get(&claimed).await.is(410);
    browser.post(&format!("{claimed}/save"), &[("csrf", "x"), ("connector", CRM)]).await.is(410);
    assert_eq!(scene.state(CRM).await, "connected", "what was saved in a session stays");
    assert!(org.get(path).await.is(200).json["data"].as_array().unwrap().is_empty());
    scene.acme.workspace.post(path, &json!({})).await.is(201);
}

#[tokio::test]
async fn secret_and_cookie_are_stored_as_hashes_and_stand_in_no_log_line() {
    let log = crate::secrecy::captured();
    let scene = Scene::start().await;
    let (browser, link) = scene.claimed(json!({ "connector_id": CRM })).await;
    let secret = link.rsplit('/').next().unwrap().to_owned();
    let cookies: Vec<String> = browser.jar.lock().unwrap().values().map(|(value, _)| value.clone()).collect();
    assert_eq!(cookies.len(), 1);
    let records = scene.world.engine.records();
    let sessions = records.list::<ConnectSession>(&[], None, 10).await.unwrap();
    let links = records.list::<ConnectLink>(&[], None, 10).await.unwrap();
    let text = format!("{sessions:?} {links:?}");
    for hidden in [secret.as_str(), cookies[0].as_str(), KEY] {
        assert!(!text.contains(hidden), "{text}");
    }
    assert!(text.contains("acme"), "{text}");
    browser.get("/connect/").await.is(404);
    browser.get(&format!("{link}/no-such-page")).await.is(404);
    browser.follow(browser.fill(&link, CRM, &filled()).await.is(303)).await.is(200);
    let log = String::from_utf8_lossy(&log.bytes()).into_owned();
    assert!(log.contains("/connect/{secret}/claim"), "the log has the pattern of the route");
    assert!(log.contains("claimConnectLink"), "and who changed what");
    for hidden in [secret.as_str(), cookies[0].as_str(), KEY] {
        assert!(!log.contains(hidden), "{hidden} was logged");
    }
}

#[tokio::test]
async fn a_link_ends_with_the_token_that_made_it() {
    let scene = Scene::start().await;
    let spec = json!({ "role": "workspace", "org": "acme", "workspace": "main" });
    let made = scene.acme.org.post("/admin/token", &spec).await.is(201);
    let maker = scene.world.platform.with_token(made.json["token"].as_str().unwrap().to_owned());
    let path = "/workspace/acme/main/connect-session";
    let made_link = maker.post(path, &json!({ "connector_id": CRM })).await.is(201);
    let link = made_link.json["connect_url"].as_str().unwrap().split_once(".com").unwrap().1.to_owned();
    let browser = scene.browser();
    browser.claim(&link).await.is(200);
    let id = made.json["token_id"].as_str().unwrap();
    scene.acme.org.delete(&format!("/admin/token/{id}")).await.is(204);
    browser.get(&link).await.is(410);
    scene.browser().get(&link).await.is(410);
    assert_eq!(scene.state(CRM).await, "unconfigured");
    // The neighbour: a link of a token that stands.
    let (browser, link) = scene.claimed(json!({ "connector_id": CRM })).await;
    browser.follow(browser.fill(&link, CRM, &filled()).await.is(303)).await.is(200);
}

#[tokio::test]
async fn a_session_has_a_bounded_number_of_steps() {
    let limits = Limits { connect_steps: 2, concurrent_calls: 32, ..Limits::default() };
    let scene = Scene::with(limits).await;
    let (browser, link) = scene.claimed(json!({ "connector_id": SAAS })).await;
    let client = [("field.client_id", "client-7f3a"), ("field.client_secret", SECRET)];
    let page = browser.follow(browser.fill(&link, SAAS, &client).await.is(303)).await.is(200);
    let on = link_of(&page, "Continue to Saas");
    browser.get(&on).await.is(303);
    let refused = browser.get(&on).await.is(429);
    assert!(refused.text.contains("limits.connect_steps"), "{}", refused.text);
}
