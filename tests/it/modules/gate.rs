//! Requests of a module: the gate gives it what its definition lists, and nothing else, whatever it sends.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::harness::{KEY, PATH, URL, act, assert_others_are_served, hostile, installed, quick};
use crate::support::{Script, Stage, lay};

/// Requests that never leave, and what the module is told.
fn refused() -> Vec<(&'static str, Value, &'static str)> {
    let to = |url: &str| json!({ "url": url });
    let with = |name: &str, value: &str| json!({ "url": URL, "headers": [[name, value]] });
    vec![
        ("another host", to("https://api.example-saas.com/v1/things/1"), "HostNotInConnector"),
        ("a host that ends like it", to("https://evil-api.salesforce.com.example.org/v1/things/1"), "Denied"),
        ("another path", to("https://api.salesforce.com/v1/secrets/1"), "PathNotGranted"),
        ("a segment more", to("https://api.salesforce.com/v1/things/1/more"), "PathNotGranted"),
        ("no segment", to("https://api.salesforce.com/v1/things/"), "Denied"),
        ("a step up", to("https://api.salesforce.com/v1/things/../secrets"), "Denied"),
        ("a coded step up", to("https://api.salesforce.com/v1/things/%2e%2e"), "Denied"),
        (
            "a step up behind a coded slash",
            to("https://api.salesforce.com/v1/things/7%2f..%5cadmin"),
            "Denied",
        ),
        ("a backslash", to("https://api.salesforce.com/v1/things\\1"), "Denied"),
        ("a second host", to("https://api.salesforce.com//evil.example.org/v1/things/1"), "Denied"),
        ("no https", to("http://api.salesforce.com/v1/things/1"), "SchemeNotHttps"),
        ("an address", to("https://93.184.216.34/v1/things/1"), "IpLiteral"),
        ("user information", to("https://a:b@api.salesforce.com/v1/things/1"), "UserinfoPresent"),
        ("another port", to("https://api.salesforce.com:8443/v1/things/1"), "PortNotAllowed"),
        ("nothing of the kind", to("file:///etc/passwd"), "Denied"),
        ("an empty URL", to(""), "Denied"),
        ("another method", json!({ "url": URL, "method": "DELETE" }), "MethodForbidden"),
        (
            "the method of another pattern",
            json!({ "url": "https://api.salesforce.com/v1/files/a/b", "method": "POST" }),
            "MethodForbidden",
        ),
        ("a host of its own", with("host", "evil.example.org"), "HeaderForbidden"),
        ("a length of its own", with("content-length", "0"), "HeaderForbidden"),
        ("where the credential goes", with("authorization", "Bearer x"), "HeaderForbidden"),
        ("a line break", with("x-a", "1\r\nx-b: 2"), "HeaderForbidden"),
        ("a name with a space", with("x a", "1"), "HeaderForbidden"),
        ("a slot that does not exist", json!({ "url": URL, "credential": "other" }), "Credential"),
        ("a slot with the name of a field", json!({ "url": URL, "credential": "api_key" }), "Credential"),
    ]
}

#[tokio::test]
async fn what_the_definition_does_not_list_never_leaves_and_is_not_even_looked_up() {
    let (world, acme) = installed(quick(), hostile(), &json!({})).await;
    let before = world.before().await;
    let mut wrong = Vec::new();
    for (what, request, told) in refused() {
        let mut input = json!({ "do": "send" });
        lay(&mut input, &request);
        let answer = act(&acme, input).await;
        let error = answer.json["output"]["error"].as_str().unwrap_or_default().to_owned();
        if answer.status != 200 || !error.contains(told) || !error.contains("Denied") {
            wrong.push(format!("{what}: {}", answer.text));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    world.assert_nothing_looked_up(&before).await;
    assert_eq!(acme.ledger().await[0]["verdict"], "refuse", "and each is in the ledger");
    assert_others_are_served(&world).await;
}

#[tokio::test]
async fn what_the_definition_lists_leaves_with_the_credential_that_the_module_never_sees() {
    let (world, acme) = installed(quick(), hostile(), &json!({})).await;
    world.upstream.script(PATH, Script::Echo(200));
    let input = json!({ "do": "send", "url": URL, "method": "POST", "credential": "default",
        "headers": [["content-type", "application/json"], ["x-own", "1"]], "body": r#"{"a":1}"# });
    let answer = act(&acme, input).await.is(200);
    let received = world.upstream.received_on(PATH);
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].line(), "POST /v1/things/1");
    assert_eq!(received[0].text(), r#"{"a":1}"#);
    assert_eq!(received[0].header("x-own"), ["1"]);
    assert!(received[0].header("authorization")[0].contains(KEY), "{}", received[0].head);
    assert_eq!(answer.json["output"]["status"], 200);
    assert_eq!(answer.json["output"]["redacted"], true, "{}", answer.text);
    assert!(answer.text.contains("reached_the_end") && !answer.text.contains(KEY), "{}", answer.text);
    let entry = &acme.ledger().await[0];
    assert_eq!((&entry["path"], &entry["status"]), (&json!(PATH), &json!(200)), "{entry}");
    assert_eq!(entry["run_id"], answer.json["run_id"]);

    // Without the slot's name there is no credential; a pattern of several segments has several; a query is free.
    act(&acme, json!({ "do": "send", "url": URL })).await.is(200);
    assert!(world.upstream.received_on(PATH)[1].header("authorization").is_empty());
    let deep = "https://api.salesforce.com/v1/files/a/b/c?page=2&q=x%20y";
    act(&acme, json!({ "do": "send", "url": deep })).await.is(200);
    assert_eq!(world.upstream.received_on("/v1/files/a/b/c")[0].line(), "GET /v1/files/a/b/c?page=2&q=x%20y");
}

#[tokio::test]
async fn the_org_s_list_holds_for_modules_too() {
    let (world, acme) = installed(quick(), hostile(), &json!({})).await;
    acme.allow(json!(["api.hubapi.com"]), "enforce").await;
    let before = world.before().await;
    let answer = act(&acme, json!({ "do": "send", "url": URL })).await;
    // Why either: the host may refuse the call before the module runs.
    if answer.status == 200 {
        let error = answer.json["output"]["error"].as_str().unwrap();
        assert!(error.contains("HostNotInOrg"), "{error}");
    } else {
        answer.problem(Code::HostNotInOrg);
    }
    act(&acme, json!({ "do": "panic_after_send", "url": URL })).await.problem(Code::HostNotInOrg);
    world.assert_nothing_looked_up(&before).await;
}

#[tokio::test]
async fn a_refusal_that_a_module_does_not_handle_ends_its_call_with_the_gate_s_own_code() {
    let (world, acme) = installed(quick(), hostile(), &json!({})).await;
    let before = world.before().await;
    for (url, code) in [
        ("https://api.example-saas.com/v1/things/1", Code::HostNotInConnector),
        ("https://api.salesforce.com/v1/secrets/1", Code::PathNotGranted),
        ("http://api.salesforce.com/v1/things/1", Code::SchemeNotHttps),
    ] {
        let answer = act(&acme, json!({ "do": "panic_after_send", "url": url })).await.problem(code);
        assert_eq!(answer.status, 403);
        assert_eq!(answer.json["run"]["status"], "refused", "{}", answer.text);
    }
    world.assert_nothing_looked_up(&before).await;
}

#[tokio::test]
async fn a_request_that_left_is_in_the_ledger_although_its_module_trapped() {
    let (world, acme) = installed(quick(), hostile(), &json!({})).await;
    let answer =
        act(&acme, json!({ "do": "panic_after_send", "url": URL })).await.problem(Code::GuestTrapped);
    assert_eq!(world.upstream.received_on(PATH).len(), 1, "and it is not repeated");
    let entry = &acme.ledger().await[0];
    assert_eq!(entry["status"], 201, "{entry}");
    assert_eq!(entry["run_id"], answer.json["run"]["run_id"]);
    assert_eq!(answer.json["run"]["usage"]["requests"], 1, "{}", answer.text);
    let stored = format!("/run/acme/main/{}", answer.json["run"]["run_id"].as_str().unwrap());
    assert_eq!(acme.run.get(&stored).await.is(200).json["code"], "guest_trapped");
}

#[tokio::test]
async fn no_more_requests_are_sent_than_the_definition_and_the_platform_allow() {
    let (world, acme) = installed(quick(), hostile(), &json!({})).await;
    let many = json!({ "do": "send_many", "url": URL, "times": 10 });
    let answer = act(&acme, many.clone()).await.is(200);
    assert_eq!(answer.json["output"], json!({ "answered": 3, "limited": 7, "other": 0 }));
    assert_eq!(world.upstream.received_on(PATH).len(), 3);
    assert_eq!(acme.ledger().await[0]["code"], Code::CallsExceeded.as_str());
    assert_others_are_served(&world).await;

    let mut stage: Stage = quick();
    stage.limits.requests_per_call = 2;
    let (world, acme) = installed(stage, hostile(), &json!({})).await;
    let answer = act(&acme, many).await.is(200);
    assert_eq!(answer.json["output"]["answered"], 2, "a definition can only lower it: {}", answer.text);
    assert_eq!(world.upstream.received_on(PATH).len(), 2);
}

#[tokio::test]
async fn a_guest_that_goes_on_after_a_hundred_refusals_is_ended_and_fills_no_ledger() {
    let elsewhere = "https://api.example-saas.com/v1/things/1";
    let (_world, acme) = installed(quick(), hostile(), &json!({})).await;
    let records = async || {
        let accept = [("accept", "application/x-ndjson")];
        let export = acme.org.send("GET", "/org/acme/outbound", &accept, Vec::new()).await.is(200);
        export.text.lines().count()
    };
    let as_many = act(&acme, json!({ "do": "send_many", "url": elsewhere, "times": 100 })).await.is(200);
    assert_eq!(as_many.json["output"]["other"], 100, "{}", as_many.text);
    assert_eq!(records().await, 100);
    let more = act(&acme, json!({ "do": "send_many", "url": elsewhere, "times": 10_000 })).await;
    more.problem(Code::HostNotInConnector);
    assert_eq!(records().await, 201);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused_before_anything_is_opened() {
    let mut stage = quick();
    stage.limits.request_bytes = 64 * 1024;
    let (world, acme) = installed(stage, hostile(), &json!({})).await;
    let before = world.before().await;
    for (headers, body_bytes) in [(0, 64 * 1024 + 1), (0, 4_000_000), (65, 0), (10_000, 0)] {
        let input = json!({ "do": "send_large", "url": URL, "headers": headers, "body_bytes": body_bytes });
        let answer = act(&acme, input).await.is(200);
        let error = answer.json["output"]["error"].as_str().unwrap_or_default();
        assert!(error.contains("Limit"), "{headers} headers, {body_bytes} bytes: {}", answer.text);
    }
    world.assert_nothing_looked_up(&before).await;
    let input = json!({ "do": "send_large", "url": URL, "headers": 10, "body_bytes": 1000 });
    act(&acme, input).await.is(200);
    assert_eq!(world.upstream.received_on(PATH)[0].body.len(), 1000);
}
