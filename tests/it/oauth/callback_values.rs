//! Config values that a consent's callback brings, such as the account that a person chose at the vendor.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::consent::{back, consenting, start};
use super::{Harness, ID, client, client_credentials};
use crate::support::Answer;

/// A connector whose list is of the company that the callback names; `auth` is merged into its auth.
fn of_a_company(auth: &Value) -> Value {
    let mut own = json!({ "capture_callback": { "company": "realmId" } });
    for (name, value) in auth.as_object().unwrap() {
        own[name] = value.clone();
    }
    let mut definition = consenting(&own);
    definition["config_fields"] =
        json!([{ "name": "company", "automated": true, "pattern": "[0-9]{1,20}", "max_length": 20 }]);
    definition["actions"][0]["url_template"] =
        json!("https://api.salesforce.com/v3/company/{{config.company}}/things");
    definition
}

async fn unconsented() -> Harness {
    let harness = Harness::of(&of_a_company(&json!({}))).await;
    harness.acme.connect(ID, client()).await;
    harness
}

/// A consent that comes back with this behind the code.
async fn comes_back(harness: &Harness, pairs: &str) -> Answer {
    let begun = start(&harness.acme).await;
    back(harness, &format!("{}{pairs}", begun.back()), Some(&begun.cookie)).await
}

/// A list whose path has this company and whose token is the newest.
async fn lists_of(harness: &Harness, company: &str) {
    harness.list().await.is(200);
    let seen = harness.world.upstream.received();
    let last = seen.last().unwrap();
    assert_eq!(last.line(), format!("GET /v3/company/{company}/things"));
    assert_eq!(last.header("authorization"), [format!("Bearer {}", harness.server.access())]);
}

#[tokio::test]
async fn a_value_of_the_callback_becomes_config_and_stays_when_the_token_is_renewed() {
    let harness = unconsented().await;
    harness.list().await.problem(Code::CredentialNeedsAttention);
    comes_back(&harness, "&realmId=9130357&other=x").await.is(200);
    assert_eq!(harness.setting().await["state"], "connected");
    lists_of(&harness, "9130357").await;
    harness.expire().await;
    lists_of(&harness, "9130357").await;
    assert_eq!(harness.server.asked().len(), 2, "it was renewed");
    // Another company at the next consent.
    comes_back(&harness, "&realmId=77").await.is(200);
    lists_of(&harness, "77").await;
}

#[tokio::test]
async fn e8_the_token_requests_have_the_value_that_came() {
    let auth = json!({ "extra_params": { "realm": "{{config.company}}" },
        "headers": { "X-Company": "c-{{config.company}}" } });
    let harness = Harness::of(&of_a_company(&auth)).await;
    harness.acme.connect(ID, client()).await;
    // Each consent has a refresh token of its own.
    harness.server.change(|ways| ways.rotates = true);
    for company in ["9130357", "77"] {
        comes_back(&harness, &format!("&realmId={company}")).await.is(200);
        harness.expire().await;
        lists_of(&harness, company).await;
        let asked = harness.server.asked();
        // The exchange, and the renewal.
        for request in &asked[asked.len() - 2..] {
            assert_eq!(request.get("realm"), company);
            assert_eq!(request.request.header("x-company"), [format!("c-{company}")]);
        }
    }
    assert_eq!(harness.server.asked().len(), 4);
}

#[tokio::test]
async fn a_value_that_is_missing_twice_there_or_unfit_ends_the_consent_before_the_code_is_sent() {
    let harness = unconsented().await;
    for (pairs, why) in [
        ("", "has no"),
        ("&realmid=7", "has no"),
        ("&realmId=7&realmId=8", "has several"),
        ("&realmId=7&realmId=7", "has several"),
        ("&realmId=", "has an unusable"),
        ("&realmId=12x", "has an unusable"),
        ("&realmId=..%2F7", "has an unusable"),
        ("&realmId=123456789012345678901", "has an unusable"),
    ] {
        let begun = start(&harness.acme).await;
        let before = harness.world.before().await;
        let path = format!("{}{pairs}", begun.back());
        let answer = back(&harness, &path, Some(&begun.cookie)).await.problem(Code::ConsentInvalid);
        let detail = answer.json["detail"].as_str().unwrap();
        assert!(detail.contains(why) && detail.contains("\"realmId\""), "{pairs}: {detail}");
        assert!(!answer.text.contains("code-4Rt6"), "{}", answer.text);
        harness.world.assert_nothing_looked_up(&before).await;
        // The link was used.
        let good = format!("{}&realmId=7", begun.back());
        back(&harness, &good, Some(&begun.cookie)).await.problem(Code::ConsentInvalid);
    }
    assert!(harness.server.asked().is_empty());
    assert_eq!(harness.setting().await["state"], "needs_attention");
    comes_back(&harness, "&realmId=7").await.is(200);
    lists_of(&harness, "7").await;
}

#[tokio::test]
async fn a_pair_that_is_the_protocols_own_or_a_secret_is_refused_at_upload() {
    let harness = unconsented().await;
    let mut cases: Vec<(Value, &str)> =
        ["code", "state", "iss", "error", "access_token", "id_token", "client_secret", "api_key"]
            .map(|pair| (json!({ "capture_callback": { "company": pair } }), "capture_of_secret"))
            .to_vec();
    cases.push((json!({ "capture_callback": { "company": "" } }), "wrong_form"));
    cases.push((json!({ "capture": { "company": "/realm" } }), "duplicate_capture"));
    for (auth, code) in cases {
        let refused = harness.world.platform.put("/admin/connector/saas", &of_a_company(&auth)).await.is(422);
        let is_it = |(at, found): &(&str, &str)| at.ends_with("/capture_callback/company") && *found == code;
        assert!(refused.violations().iter().any(is_it), "{auth} {code}: {refused:?}");
    }
    // A field that is not filled in by the host, or is not there.
    let mut by_hand = of_a_company(&json!({}));
    by_hand["config_fields"][0]["automated"] = json!(false);
    let refused = harness.world.platform.put("/admin/connector/saas", &by_hand).await.is(422);
    assert!(refused.violations().iter().any(|(_, code)| *code == "unknown_reference"), "{refused:?}");
    // Nobody comes back where nobody is sent.
    let mut unasked = client_credentials();
    unasked["auth"]["capture_callback"] = json!({ "company": "realmId" });
    let refused = harness.world.platform.put("/admin/connector/saas", &unasked).await.is(422);
    assert!(refused.violations().iter().any(|(_, code)| *code == "auth_unused"), "{refused:?}");
}
