//! Failed logins: counted by their reason, logged without the token, and not in every number.

use portcullis_core::fault::Code;
use portcullis_engine::api_token;
use portcullis_store::Role;
use serde_json::json;

use super::lines::Logged;
use super::{World, scrape};

#[tokio::test]
async fn each_failed_login_is_counted_by_its_reason_and_answered_alike() {
    let world = World::start().await;
    let expiring = json!({ "role": "platform", "expires_at": "2999-01-01T00:00:00Z" });
    let revoked = world.platform.post("/admin/token", &expiring).await.is(201);
    let id = revoked.json["token_id"].as_str().unwrap();
    world.platform.delete(&format!("/admin/token/{id}")).await.is(204);
    let revoked = revoked.json["token"].as_str().unwrap();
    let invented = api_token::generate(Role::Platform).unwrap();
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    let soon = soon.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let expired = world.token(&json!({ "role": "platform", "expires_at": rfc3339(soon) })).await;
    let anyone = world.platform.anonymous();
    crate::support::until("the token expires", async || {
        anyone.with_token(&expired).get("/admin/org").await.status == 401
    })
    .await;
    let before = scrape(&world.platform).await;
    for _ in 0..2 {
        anyone.get("/admin/org").await.problem(Code::Unauthorized);
    }
    let basic = [("authorization", "Basic YTpi")];
    anyone.send("GET", "/admin/org", &basic, Vec::new()).await.problem(Code::Unauthorized);
    for token in ["pc_platform_typo", revoked, &invented, &expired] {
        let told = anyone.with_token(token).get("/admin/org").await;
        assert_eq!(told.status, 401);
        assert_eq!(told.json["detail"], "send a valid token as Authorization: Bearer pc_…");
    }
    // The neighbour: a valid one counts nothing, whatever it may not do.
    world.platform.get("/admin/org").await.is(200);
    let after = scrape(&world.platform).await;
    for (reason, count) in [("missing", 2.0), ("malformed", 2.0), ("unknown", 2.0), ("expired", 1.0)] {
        let label = format!("reason=\"{reason}\"");
        let of = |scraped: &super::Scraped| scraped.sum("portcullis_logins_failed_total", &[&label]);
        assert_eq!(of(&after) - of(&before), count, "{reason}");
    }
}

/// A time in milliseconds since 1970 as a text, in UTC.
fn rfc3339(ms: u128) -> String {
    let (days, of_day) = (ms / 86_400_000, ms % 86_400_000);
    // The civil date of a day, by Howard Hinnant.
    let days = i64::try_from(days).unwrap() + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", of_day % 1000)
}

#[tokio::test]
async fn a_failed_login_is_logged_with_its_address_and_never_with_its_token() {
    let logged = Logged::start(&[]);
    let anyone = logged.platform.anonymous();
    let invented = api_token::generate(Role::Run).unwrap();
    let id = [("x-request-id", "login-one")];
    let with = anyone.with_token(&invented);
    with.send("GET", "/admin/org", &id, Vec::new()).await.problem(Code::Unauthorized);
    let line = logged.line(|line| line["message"] == "login_failed").await;
    assert_eq!((&line["level"], &line["target"]), (&json!("WARN"), &json!("login")));
    assert_eq!((&line["reason"], &line["peer"]), (&json!("unknown"), &json!("127.0.0.1")));
    assert_eq!((&line["route"], &line["request_id"]), (&json!("/admin/org"), &json!("login-one")));
    assert_eq!(line["omitted"], 0);
    let text = logged.end();
    assert!(!text.contains(&invented) && !text.contains(&invented[..30]), "{text}");
}

#[tokio::test]
async fn a_flood_of_failed_logins_has_a_few_lines() {
    let logged = Logged::start(&["--limit", "failed_login_lines=2", "--limit", "login_failures=1000"]);
    let anyone = logged.platform.anonymous();
    let began = std::time::Instant::now();
    for _ in 0..200 {
        anyone.get("/admin/org").await.problem(Code::Unauthorized);
    }
    let seconds = began.elapsed().as_secs() + 2;
    let scraped = scrape(&logged.platform).await;
    assert_eq!(scraped.sum("portcullis_logins_failed_total", &["reason=\"missing\""]), 200.0);
    let text = logged.end();
    let lines = text.lines().filter(|line| line.contains("\"login_failed\"")).count() as u64;
    assert!((1..=2 * seconds).contains(&lines), "{lines} lines in {seconds} s");
}
