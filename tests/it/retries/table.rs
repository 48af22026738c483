//! The retry table: method and options × where it failed.

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use super::{ID, PATH, connect, connected, connected_on, definition};
use crate::support::fake_network::DialManner;
use crate::support::token_server::answer_with;
use crate::support::{Script, Stage, Tenant, World};

/// Number of attempts, of three at most. `+` is an answer with `Retry-After`.
///
/// refused: no connection. unread: closed before any byte was read, which the sender cannot distinguish from
/// after. read: closed after the request was read. slow: no first byte in time.
const TABLE: &str = "
    method options                    refused unread read slow 401 409 429 429+ 500 503 503+
    GET    -                                3      3    3    3   1   1   3    3   1   3    3
    HEAD   -                                3      3    3    3   1   1   3    3   1   3    3
    PUT    -                                3      3    3    3   1   1   3    3   1   3    3
    DELETE -                                3      3    3    3   1   1   3    3   1   3    3
    POST   -                                3      1    1    1   1   1   1    1   1   1    1
    PATCH  -                                3      1    1    1   1   1   1    1   1   1    1
    GET    not-idempotent                   3      1    1    1   1   1   1    1   1   1    1
    POST   idempotent                       3      3    3    3   1   1   3    3   1   3    3
    PATCH  idempotent                       3      3    3    3   1   1   3    3   1   3    3
    POST   keyed                            3      3    3    3   1   1   3    3   1   3    3
    POST   allow-non-idempotent             3      3    3    3   1   1   3    3   1   3    3
    POST   rate-limited-not-executed        3      1    1    1   1   1   3    3   1   1    3
    GET    on-status-409-500                3      3    3    3   1   3   1    1   3   1    1
    POST   on-status-409-500                3      1    1    1   1   1   1    1   1   1    1
    GET    not-on-network                   1      1    1    1   1   1   3    3   1   3    3
    GET    one-attempt                      1      1    1    1   1   1   1    1   1   1    1
";

/// The action's members for an option.
fn options(name: &str) -> Value {
    match name {
        "-" => json!({}),
        "not-idempotent" => json!({ "idempotent": false }),
        "idempotent" => json!({ "idempotent": true }),
        "keyed" => json!({ "idempotency": { "in": "header", "name": "Idempotency-Key" } }),
        "allow-non-idempotent" => json!({ "retry": { "allow_non_idempotent": true } }),
        "rate-limited-not-executed" => json!({ "retry": { "rate_limited_not_executed": true } }),
        "on-status-409-500" => json!({ "retry": { "on_status": [409, 500] } }),
        "not-on-network" => json!({ "retry": { "on_network": false } }),
        "one-attempt" => json!({ "retry": { "max_attempts": 1 } }),
        other => panic!("{other}"),
    }
}

/// Rows of the table: method, option, and its cells by the name of their column.
/// Method, rule, and how many requests each failure point gives.
type Row = (&'static str, &'static str, Vec<(&'static str, usize)>);

fn rows() -> Vec<Row> {
    let lines = TABLE.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut lines = lines.filter(|words| !words.is_empty());
    let head = lines.next().unwrap();
    let row = |words: Vec<&'static str>| {
        let cells = head[2..].iter().zip(&words[2..]).map(|(name, count)| (*name, count.parse().unwrap()));
        (words[0], words[1], cells.collect::<Vec<_>>())
    };
    lines.map(row).collect()
}

/// Makes the next requests fail like this.
fn arrange(world: &World, point: &str) {
    world.dialer.behave(if point == "refused" { DialManner::Dead } else { DialManner::Honest });
    world.upstream.close_unread(if point == "unread" { usize::MAX } else { 0 });
    let script = match point {
        "refused" | "unread" | "read" => Script::HangUp,
        "slow" => Script::Silence,
        status => {
            let wait = status.ends_with('+').then_some(("retry-after", "0"));
            let headers: Vec<(&str, &str)> = wait.into_iter().collect();
            answer_with(status.trim_end_matches('+').parse().unwrap(), &headers, "")
        }
    };
    world.upstream.script(PATH, script);
}

async fn check(world: &World, acme: &Tenant, method: &str, option: &str, cell: (&str, usize)) {
    let (point, tries) = cell;
    let what = format!("{method} {option} {point}");
    arrange(world, point);
    // A new credential is a new pool.
    connect(acme).await;
    let (dials, received) = (world.dialer.dialed().len(), world.upstream.received().len());
    let answer = acme.call(ID, "act", json!({})).await;
    let run = &answer.json["run"];
    assert_eq!(run["status"], "failed", "{what}: {}", answer.text);
    assert_eq!(run["usage"]["retries"], tries - 1, "{what}: {}", answer.text);
    let arrived = world.upstream.received().len() - received;
    match point {
        "refused" => assert_eq!((world.dialer.dialed().len() - dials, arrived), (tries, 0), "{what}"),
        "unread" => assert_eq!(arrived, 0, "{what}"),
        _ => assert_eq!(arrived, tries, "{what}"),
    }
    let code = match point {
        "refused" => Code::ConnectFailed,
        "unread" | "read" => Code::UpstreamProtocol,
        "slow" => Code::UpstreamTimeout,
        _ => Code::UpstreamStatus,
    };
    assert_eq!(run["code"], code.as_str(), "{what}");
    assert_eq!(run["retry_at"], Value::Null, "{what}");
}

async fn check_all(world: &World, acme: &Tenant, wanted: impl Fn(&str) -> bool) -> usize {
    let mut checked = 0;
    for (method, option, cells) in rows() {
        let definition = definition(method, &options(option), &json!({}));
        world.platform.put("/admin/connector/saas", &definition).await.is(200);
        for cell in cells.into_iter().filter(|(point, _)| wanted(point)) {
            check(world, acme, method, option, cell).await;
            checked += 1;
        }
    }
    checked
}

#[tokio::test]
async fn what_was_not_carried_out_or_may_be_repeated_is_tried_again_and_nothing_else() {
    let (world, acme) = connected(&definition("GET", &json!({}), &json!({}))).await;
    assert_eq!(check_all(&world, &acme, |point| point != "slow").await, 16 * 10);
}

#[tokio::test]
async fn what_has_no_first_byte_in_time_may_have_been_carried_out() {
    let limits = Limits { first_byte_ms: 100, ..Stage::default().limits };
    let stage = Stage { limits, ..Stage::default() };
    let (world, acme) = connected_on(stage, &definition("GET", &json!({}), &json!({}))).await;
    assert_eq!(check_all(&world, &acme, |point| point == "slow").await, 16);
}

#[tokio::test]
async fn a_try_that_goes_well_ends_them() {
    let (world, acme) = connected(&definition("GET", &json!({}), &json!({}))).await;
    let bad = || answer_with(503, &[], "{}");
    world.upstream.script(PATH, Script::turns(vec![bad(), bad(), Script::Json(200, r#"{"n":3}"#)]));
    let answer = acme.call(ID, "act", json!({})).await.is(200);
    assert_eq!(answer.json["output"], json!({ "n": 3 }));
    assert_eq!((&answer.json["usage"]["retries"], &answer.json["usage"]["requests"]), (&json!(2), &json!(3)));
    assert_eq!(acme.ledger().await.len(), 3, "each try is in the ledger");
}

#[tokio::test]
async fn a_rule_of_the_definition_decides_before_the_status() {
    let slow_down = json!({ "path": "/error", "eq": "slow_down" });
    let rules = json!({ "errors": [
        { "when": { "status": [400], "predicate": slow_down }, "class": "rate_limit" },
        { "when": { "status": [503] }, "class": "quota" },
    ] });
    let (world, acme) = connected(&definition("GET", &rules, &json!({}))).await;
    for (script, tries, class) in [
        (Script::Json(400, r#"{"error":"slow_down"}"#), 3, "rate_limit"),
        (Script::Json(400, r#"{"error":"other"}"#), 1, "validation"),
        (Script::Json(503, "{}"), 1, "quota"),
        (Script::Json(504, "{}"), 3, "transient"),
    ] {
        let before = world.upstream.received().len();
        world.upstream.script(PATH, script);
        let answer = acme.call(ID, "act", json!({})).await.problem(Code::UpstreamStatus);
        assert_eq!(answer.json["run"]["class"], class);
        assert_eq!(world.upstream.received().len() - before, tries, "{class}");
    }
}

#[tokio::test]
async fn a_key_is_the_same_for_every_try_of_a_run_and_another_for_another_run() {
    for (place, name) in [("header", "Idempotency-Key"), ("query", "request_id"), ("body", "/meta/token")] {
        let more = json!({
            "idempotency": { "in": place, "name": name },
            "body_schema": [{ "name": "Name", "label": "Name" }],
        });
        let (world, acme) = connected(&definition("POST", &more, &json!({}))).await;
        world.upstream.script(PATH, Script::turns(vec![Script::Json(503, "{}"), Script::HangUp]));
        for _ in 0..2 {
            let answer = acme.call(ID, "act", json!({ "Name": "Ada" })).await;
            assert_eq!(answer.json["run"]["usage"]["retries"], 2, "{}", answer.text);
        }
        let sent = world.upstream.received();
        let keys: Vec<String> = sent.iter().map(|request| key(request, place)).collect();
        assert_eq!(keys.len(), 6, "{place}");
        assert!(keys[0].len() > 30 && keys[..3].iter().all(|key| *key == keys[0]), "{place}: {keys:?}");
        assert!(keys[3..].iter().all(|key| *key == keys[3]) && keys[3] != keys[0], "{place}: {keys:?}");
    }
}

fn key(request: &crate::support::upstream::Received, place: &str) -> String {
    match place {
        "header" => request.header("idempotency-key").join(","),
        "query" => request.line().split_once("request_id=").unwrap().1.to_owned(),
        _ => {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            body["meta"]["token"].as_str().unwrap().to_owned()
        }
    }
}
