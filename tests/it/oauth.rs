//! Tokens that are obtained with a credential, through the whole product: every way to obtain one, renewal,
//! restarts, consent and attacks on it, and that no answer of a token endpoint is passed on.

use portcullis_store::{TokenState, Writes};
use serde_json::{Value, json};

use crate::support::token_server::TokenServer;
use crate::support::{Answer, PUBLIC, Stage, Tenant, World};

mod callback_values;
mod client_forms;
mod client_hosts;
mod client_kinds;
mod client_secrecy;
mod clients;
mod consent;
mod consent_attacks;
mod endpoint;
mod failing;
mod grants;
mod named;
mod renewal;
mod restart;
mod secrecy;
mod storing;

/// The connector of these tests.
const ID: &str = "saas";
/// Host of its token endpoint.
const LOGIN: &str = "login.salesforce.com";
/// The usual client.
const CLIENT: &str = "client-7f3a";
const SECRET: &str = "s3cr3t+/=&of client";

/// As a client's part of `Authorization: Basic` (RFC 6749 section 2.3.1).
fn form_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// A world with one connector whose tokens come from a server of the harness.
struct Harness {
    world: World,
    acme: Tenant,
    server: TokenServer,
}

/// A connector with one read, one write and a test, whose `auth` also has the token endpoint.
fn definition(auth_type: &str, auth: &Value, fields: &[&str]) -> Value {
    let mut auth = auth.clone();
    if auth_type != "token_exchange" && auth["token_url"].is_null() {
        auth["token_url"] = json!(format!("https://{LOGIN}/oauth/token"));
    }
    let url = "https://api.salesforce.com/v1/things";
    let kind = |name: &str| if name == "key" { "pem" } else { "password" };
    let field = |name: &&str| json!({ "name": name, "type": kind(name), "required": true });
    let fields: Vec<Value> = fields.iter().map(field).collect();
    json!({
        "connector_id": ID, "display_name": "Example", "auth_type": auth_type, "auth": auth,
        "auth_schema": { "fields": fields }, "allowed_domains": ["*.salesforce.com"], "enabled": true,
        "retry": { "base_ms": 1 },
        "actions": [
            { "action_id": "list", "http_method": "GET", "url_template": url },
            { "action_id": "make", "http_method": "POST", "url_template": url,
              "body_schema": [{ "name": "Name", "label": "Name" }] },
        ],
        "test": { "request": { "action_id": "check", "http_method": "GET", "url_template": url } },
    })
}

/// Client credentials, both id and secret in the body.
fn client_credentials() -> Value {
    definition("oauth2_client_credentials", &json!({}), &["client_id", "client_secret"])
}

/// A refresh token that a person pastes.
fn pasted() -> Value {
    let fields = ["client_id", "client_secret", "refresh_token"];
    definition("oauth2_refresh_token", &json!({ "refresh": { "rotates": true } }), &fields)
}

/// The values of that form.
fn pasted_values() -> Value {
    json!({ "client_id": CLIENT, "client_secret": SECRET, "refresh_token": "rt-pasted-5cB8nQ1z" })
}

fn client() -> Value {
    json!({ "client_id": CLIENT, "client_secret": SECRET })
}

impl Harness {
    async fn of(definition: &Value) -> Self {
        Self::on(Stage::default(), definition).await
    }

    async fn on(stage: Stage, definition: &Value) -> Self {
        let world = stage.start().await;
        world.names.tell(LOGIN, &[PUBLIC]);
        world.platform.post("/admin/connector", definition).await.is(201);
        let acme = world.tenant("acme", "main").await;
        let server = TokenServer::on(&world.upstream);
        Self { world, acme, server }
    }

    /// The usual client, connected.
    async fn connected() -> Self {
        let harness = Self::of(&client_credentials()).await;
        harness.acme.connect(ID, client()).await;
        harness
    }

    /// A pasted refresh token that the server knows, connected.
    async fn with_pasted(stage: Stage) -> Self {
        let harness = Self::on(stage, &pasted()).await;
        harness.server.know_refresh("rt-pasted-5cB8nQ1z");
        harness.server.change(|ways| ways.rotates = true);
        harness.acme.connect(ID, pasted_values()).await;
        harness
    }

    async fn list(&self) -> Answer {
        self.acme.call(ID, "list", json!({})).await
    }

    /// A read that must succeed with the server's newest token.
    async fn reads(&self) {
        assert_eq!(self.list().await.is(200).json["status"], "succeeded");
        let sent = self.world.upstream.received_on("/v1/things");
        let sent = sent.last().unwrap().header("authorization").join(",");
        assert_eq!(sent, format!("Bearer {}", self.server.access()));
    }

    /// `POST …/test`.
    async fn trial(&self) -> Answer {
        let path = format!("{}/test", self.acme.setting(ID));
        self.acme.workspace.post(&path, &json!({})).await.is(200)
    }

    /// The setting as a person sees it.
    async fn setting(&self) -> Value {
        self.acme.workspace.get(&self.acme.setting(ID)).await.is(200).json
    }

    async fn token(&self) -> (TokenState, u64) {
        self.world.engine.records().get::<TokenState>(&["acme", "main", ID]).await.unwrap().unwrap()
    }

    /// Changes the stored token state, as the passing of time would.
    async fn let_time_change(&self, change: impl FnOnce(&mut TokenState)) {
        let (mut token, commit) = self.token().await;
        change(&mut token);
        let writes = Writes::new().replace(&["acme", "main", ID], &token, commit);
        self.world.engine.records().commit(writes).await.unwrap();
    }

    /// The token expires now.
    async fn expire(&self) {
        self.let_time_change(|token| token.expires_at = Some(LONG_AGO.to_owned())).await;
    }

    /// The pause after a failure continues.
    async fn prolong_pause(&self) {
        let later = |token: &mut TokenState| token.failure.as_mut().unwrap().retry_at = FAR_AHEAD.to_owned();
        self.let_time_change(later).await;
    }

    /// The pause after a failure is over.
    async fn end_pause(&self) {
        let over = |token: &mut TokenState| token.failure.as_mut().unwrap().retry_at = LONG_AGO.to_owned();
        self.let_time_change(over).await;
    }
}

/// A time that no test reaches.
const FAR_AHEAD: &str = "2999-01-01T00:00:00Z";
/// A time that has passed.
const LONG_AGO: &str = "2020-01-01T00:00:00Z";
