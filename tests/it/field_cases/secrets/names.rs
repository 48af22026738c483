//! S12: names that are reserved are reserved in every spelling that some server reads.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::{ID, Scene, definition};

/// Spellings of `state`.
const STATE: &[&str] = &[
    "state",
    "State",
    "STATE",
    "st%61te",
    "%73tate",
    "st%2561te",
    "state[]",
    "state[0]",
    " state",
    "state\u{0}",
];

struct Upload {
    scene: Scene,
}

impl Upload {
    async fn start() -> Self {
        Self { scene: Scene::of(&definition(&json!({}), &json!({}))).await }
    }

    /// The codes with which a definition is refused; none if it is accepted.
    async fn codes(&self, document: &Value) -> Vec<(String, String)> {
        let answer = self.scene.world.platform.put(&format!("/admin/connector/{ID}"), document).await;
        if answer.status == 200 {
            return Vec::new();
        }
        let answer = answer.problem(Code::ValidationFailed);
        answer.violations().into_iter().map(|(at, code)| (at.to_owned(), code.to_owned())).collect()
    }

    /// Asserts that a change of `auth` is refused with this code at its end.
    async fn refuses(&self, document: &Value, code: &str) {
        let codes = self.codes(document).await;
        assert!(codes.iter().any(|(_, own)| own == code), "{codes:?}, not {code}: {}", document["auth"]);
    }

    async fn accepts(&self, document: &Value) {
        assert_eq!(self.codes(document).await, [], "{}", document["auth"]);
    }
}

fn consenting(auth: &Value) -> Value {
    let mut definition = definition(auth, &json!({ "auth_type": "oauth2_authorization_code" }));
    if definition["auth"]["authorize_url"].is_null() {
        definition["auth"]["authorize_url"] = json!("https://login.salesforce.com/authorize");
    }
    definition
}

#[tokio::test]
async fn s12_a_reserved_pair_of_the_authorization_url_is_refused_in_every_spelling() {
    let upload = Upload::start().await;
    let other = [
        "Redirect_URI",
        "redirect%5Furi",
        "redirect.uri",
        "CLIENT_ID",
        "Scope",
        "response_Type",
        "Code_Challenge",
        "code%5fchallenge%5fmethod",
        "request_uri",
        "Request",
    ];
    for name in STATE.iter().chain(&other) {
        upload.refuses(&consenting(&json!({ "authorize_params": { *name: "x" } })), "param_reserved").await;
    }
    for name in ["state", "State", "st%61te", "STATE", "state%5B%5D", "Redirect_URI"] {
        let url = format!("https://login.salesforce.com/authorize?{name}=x");
        upload.refuses(&consenting(&json!({ "authorize_url": url })), "param_reserved").await;
    }
    let mut templated = consenting(&json!({
        "authorize_url": "https://login.salesforce.com/authorize?{{config.site}}=x",
    }));
    templated["config_fields"] = json!([{ "name": "site" }]);
    assert!(!upload.codes(&templated).await.is_empty(), "a workspace's value could be the name");
    for name in ["prompt", "Prompt", "estate", "state_id", "access_type", "login_hint"] {
        upload.accepts(&consenting(&json!({ "authorize_params": { name: "x" } }))).await;
    }
    let twice = consenting(&json!({ "authorize_params": { "prompt": "x", "Prompt": "y" } }));
    upload.refuses(&twice, "param_reserved").await;
    let in_url = json!({ "authorize_url": "https://login.salesforce.com/authorize?prompt=x",
                         "authorize_params": { "PROMPT": "y" } });
    upload.refuses(&consenting(&in_url), "param_reserved").await;
}

#[tokio::test]
async fn s12_a_member_of_the_token_request_is_not_written_twice_in_another_spelling() {
    let upload = Upload::start().await;
    for format in ["form", "json"] {
        for name in [
            "grant_type",
            "Grant_Type",
            "grant%5Ftype",
            "GRANT_TYPE",
            "Client_Secret",
            "client.id",
            "client_id[]",
        ] {
            let auth = json!({ "body_format": format, "extra_params": { name: "x" } });
            upload.refuses(&definition(&auth, &json!({})), "param_reserved").await;
        }
        let auth = json!({ "body_format": format, "extra_params": { "resource": "x", "tenant": "y" } });
        upload.accepts(&definition(&auth, &json!({}))).await;
        let auth = json!({ "body_format": format, "extra_params": { "resource": "x", "Resource": "y" } });
        upload.refuses(&definition(&auth, &json!({})), "param_reserved").await;
    }
    for name in ["code", "Code", "CODE_VERIFIER", "redirect-uri"] {
        upload.refuses(&consenting(&json!({ "extra_params": { name: "x" } })), "param_reserved").await;
    }
    let renewal = json!({ "refresh": { "extra_params": { "Refresh_Token": "x" } } });
    upload.refuses(&consenting(&renewal), "param_reserved").await;
    upload
        .refuses(
            &definition(&json!({ "audience": "a", "extra_params": { "Audience": "b" } }), &json!({})),
            "param_reserved",
        )
        .await;
}

#[tokio::test]
async fn s12_where_the_credential_goes_nothing_else_goes_in_another_spelling() {
    let upload = Upload::start().await;
    let key = |auth: Value, top: Value| {
        let mut document = definition(&json!({}), &json!({ "auth_type": "api_key" }));
        document["auth"] = auth;
        super::lay(&mut document, &top);
        document
    };
    let query = || json!({ "in": "query", "name": "api_key" });
    for name in
        ["api_key", "API_KEY", "Api_Key", "api%5Fkey", "%61pi_key", "api_key[]", "api.key", " api_key"]
    {
        upload.refuses(&key(query(), json!({ "default_query": { name: "x" } })), "query_forbidden").await;
    }
    upload.accepts(&key(query(), json!({ "default_query": { "api_keys": "x", "key": "y" } }))).await;
    for name in ["authorization", "Authorization", "AUTHORIZATION"] {
        let document = key(json!({}), json!({ "default_headers": { name: "x" } }));
        upload.refuses(&document, "header_forbidden").await;
    }
    for name in ["x-api-key", "X-API-Key", "x_api_key"] {
        let document = key(json!({ "name": "X-Api-Key" }), json!({ "default_headers": { name: "x" } }));
        upload.refuses(&document, "header_forbidden").await;
    }
    for name in ["cookie", "Cookie", "COOKIE"] {
        let document =
            key(json!({ "in": "cookie", "name": "sid" }), json!({ "default_headers": { name: "x" } }));
        upload.refuses(&document, "header_forbidden").await;
    }
}

#[tokio::test]
async fn s12_what_the_signer_of_a_jwt_sets_is_reserved_whatever_the_case() {
    let upload = Upload::start().await;
    let jwt = |auth: Value| {
        let mut document = definition(&json!({}), &json!({ "auth_type": "jwt" }));
        document["auth"] = json!({ "alg": "HS256", "key_field": "client_secret", "claims": { "iss": "{{cred.client_id}}" } });
        super::lay(&mut document["auth"], &auth);
        document
    };
    for name in ["exp", "Exp", "EXP", "iat", "IAT"] {
        upload.refuses(&jwt(json!({ "claims": { name: "x" } })), "claim_reserved").await;
    }
    for name in ["alg", "Alg", "KID", "Crit", "B64"] {
        upload.refuses(&jwt(json!({ "header": { name: "x" } })), "claim_reserved").await;
    }
    upload.refuses(&jwt(json!({ "claims": { "Iss": "x" } })), "claim_reserved").await;
    upload
        .accepts(&jwt(json!({ "claims": { "expires": "x", "sub": "y" }, "header": { "typ": "at+jwt" } })))
        .await;
}
