//! Secrets that come back in an answer, in whatever form.

use serde_json::{Value, json};

use crate::support::token_server::TokenServer;
use crate::support::{Answer, PUBLIC, Stage, Tenant, World, lay};

mod captured;
mod consent;
mod decoders;
mod encoded;
mod encoders;
mod names;
mod opened;

/// The connector of these tests.
const ID: &str = "saas";
const CLIENT: &str = "client-7f3aQx";
const SECRET: &str = "s3cr3t+/=&of~client";

/// A world with one connector whose tokens come from a server of the harness.
struct Scene {
    world: World,
    acme: Tenant,
    server: TokenServer,
}

/// A connector that gets tokens with client credentials; `auth` and `top` are merged into it.
fn definition(auth: &Value, top: &Value) -> Value {
    let mut definition = json!({
        "connector_id": ID, "display_name": "Example", "auth_type": "oauth2_client_credentials",
        "auth": { "token_url": "https://login.salesforce.com/oauth/token" },
        "auth_schema": { "fields": [
            { "name": "client_id", "type": "password", "required": true },
            { "name": "client_secret", "type": "password", "required": true },
        ] },
        "allowed_domains": ["*.salesforce.com"], "enabled": true,
        "retry": { "base_ms": 1 },
        "actions": [
            { "action_id": "list", "http_method": "GET", "url_template": "https://api.salesforce.com/v1/things" },
        ],
    });
    lay(&mut definition["auth"], auth);
    lay(&mut definition, top);
    definition
}

fn client() -> Value {
    json!({ "client_id": CLIENT, "client_secret": SECRET })
}

impl Scene {
    async fn of(definition: &Value) -> Self {
        Self::on(Stage::default(), definition).await
    }

    async fn on(stage: Stage, definition: &Value) -> Self {
        let world = stage.start().await;
        for host in ["login", "files"] {
            world.names.tell(&format!("{host}.salesforce.com"), &[PUBLIC]);
        }
        world.platform.post("/admin/connector", definition).await.is(201);
        let acme = world.tenant("acme", "main").await;
        let server = TokenServer::on(&world.upstream);
        Self { world, acme, server }
    }

    async fn list(&self) -> Answer {
        self.acme.call(ID, "list", json!({})).await
    }

    /// The setting as a person sees it.
    async fn setting(&self) -> Answer {
        self.acme.workspace.get(&self.acme.setting(ID)).await.is(200)
    }

    /// Everything that can be read: the API's answers, the log, and the files.
    async fn seen(&self) -> Vec<(String, Vec<u8>)> {
        self.setting().await;
        let runs = self.acme.run.get("/run/acme/main").await.is(200);
        for run in runs.json["data"].as_array().unwrap() {
            let id = run["run_id"].as_str().unwrap();
            self.acme.run.get(&format!("/run/acme/main/{id}")).await.is(200);
        }
        self.acme.ledger().await;
        let mut seen = vec![("an answer of the API".to_owned(), self.acme.run.heard())];
        seen.push(("the log".to_owned(), crate::secrecy::captured().bytes()));
        let files = crate::secrecy::files(self.world.data_dir());
        seen.extend(files.into_iter().map(|(path, bytes)| (path.display().to_string(), bytes)));
        seen
    }
}
