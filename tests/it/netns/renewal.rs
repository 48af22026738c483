//! The shipped binary, killed while it renews a token: after the server answered, before the answer was stored.

use std::time::Duration;

use serde_json::{Value, json};

use super::namespaces::Namespaces;
use super::stage::{DOMAIN, Plan, Stage, public};

/// Longest recovery: far below the duration of a lease.
const RECOVERY_MAX: Duration = Duration::from_secs(20);

/// A connector with a pasted refresh token, whose server returns a new one with each renewal. The first
/// token expires at once, and the second answer is held.
fn plan() -> Plan {
    let auth = json!({
        "auth_type": "oauth2_refresh_token",
        "auth": { "token_url": format!("https://api.{DOMAIN}/oauth/token"), "refresh": { "rotates": true } },
        "auth_schema": { "fields": [
            { "name": "client_id", "type": "text", "required": true },
            { "name": "client_secret", "type": "password", "required": true },
            { "name": "refresh_token", "type": "password", "required": true },
        ] },
    });
    let saved =
        json!({ "client_id": "c-1", "client_secret": "s-0123456789", "refresh_token": "rt-0-pasted" });
    let given = |number: u8, life_s: u32, held: bool| {
        let (access, refresh) = (format!("at-{number}-given"), format!("rt-{number}-given"));
        let body = json!({ "access_token": access, "refresh_token": refresh, "expires_in": life_s });
        json!({ "status": 200, "body": body, "held": held })
    };
    let replies =
        json!({ "/oauth/token": [given(1, 1, false), given(2, 3600, true), given(3, 3600, false)] });
    Plan { auth: Some((auth, saved)), replies, ..Plan::new(vec![("api", public())]) }
}

/// The requests that arrived at a path.
fn arrived(stage: &mut Stage, target: &str) -> Vec<Value> {
    stage.seen("request").into_iter().filter(|request| request["target"] == target).collect()
}

fn refresh_tokens(stage: &mut Stage) -> Vec<String> {
    let sent = |request: &Value| {
        let body = request["body"].as_str().unwrap();
        let pair = body.split('&').find_map(|pair| pair.strip_prefix("refresh_token="));
        pair.unwrap().to_owned()
    };
    arrived(stage, "/oauth/token").iter().map(sent).collect()
}

#[test]
fn kill_9_between_the_answer_and_the_store_of_a_rotated_token_is_recovered_from() {
    let Some(net) = Namespaces::make() else { return };
    let plan = plan();
    let mut stage = Stage::set(net, &plan);
    stage.call("api").succeeded();
    assert_eq!(refresh_tokens(&mut stage), ["rt-0-pasted"]);
    // The token lives for a second.
    std::thread::sleep(std::time::Duration::from_secs(1));
    stage.begin("api");
    assert_eq!(stage.await_seen("held", 1).len(), 1);
    stage.freeze();
    stage.release();
    stage.kill_and_restart(&plan);
    let outcome = stage.call("api");
    outcome.succeeded();
    assert!(outcome.took < RECOVERY_MAX, "{:?}", outcome.took);
    let sent = refresh_tokens(&mut stage);
    assert_eq!(sent, ["rt-0-pasted", "rt-1-given", "rt-1-given"], "asked again with what is stored");
    let calls = arrived(&mut stage, "/v1/things");
    let keys: Vec<&Value> = calls.iter().map(|call| &call["headers"]["authorization"][0]).collect();
    assert_eq!(keys, ["Bearer at-1-given", "Bearer at-3-given"]);
    stage.call("api").succeeded();
    assert_eq!(refresh_tokens(&mut stage).len(), 3, "the new token is kept");
}
