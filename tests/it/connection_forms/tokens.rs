//! What a change of a connection ends: the token and discovered values only where they depend on what changed.

use serde_json::{Value, json};

use crate::support::token_server::TokenServer;
use crate::support::{PUBLIC, Tenant, World};

const ID: &str = "saas";
const SECRET: &str = "s3cr3t-of-the-client-0123";

/// A connector whose token request reads `tenant` and not `page_size`, and whose action reads both.
fn definition() -> Value {
    json!({
        "connector_id": ID, "display_name": "Example", "auth_type": "oauth2_client_credentials",
        "auth": { "token_url": "https://login.salesforce.com/oauth/token", "client_auth": "body",
                  "extra_params": { "tenant": "{{config.tenant}}" } },
        "auth_schema": { "fields": [
            { "name": "client_id", "required": true }, { "name": "client_secret", "required": true },
        ] },
        "config_fields": [{ "name": "tenant", "required": true }, { "name": "page_size", "default": "10" }],
        "allowed_domains": ["*.salesforce.com"], "enabled": true,
        "actions": [{ "action_id": "list", "http_method": "GET",
            "url_template": "https://api.salesforce.com/v1/things",
            "query": { "tenant": "{{config.tenant}}", "size": "{{config.page_size}}" } }],
    })
}

struct Scene {
    world: World,
    acme: Tenant,
    server: TokenServer,
}

impl Scene {
    async fn start() -> Self {
        let world = World::start().await;
        world.names.tell("login.salesforce.com", &[PUBLIC]);
        world.platform.post("/admin/connector", &definition()).await.is(201);
        let acme = world.tenant("acme", "main").await;
        let server = TokenServer::on(&world.upstream);
        let config = json!({ "client_id": "c-1", "client_secret": SECRET, "tenant": "t1" });
        acme.connect(ID, config).await;
        Self { world, acme, server }
    }

    /// Query of the request that a call makes, and how many tokens were asked for so far.
    async fn sent(&self) -> (String, usize) {
        self.acme.call(ID, "list", json!({})).await.is(200);
        let sent = self.world.upstream.received_on("/v1/things");
        let mut pairs: Vec<&str> =
            sent.last().unwrap().line().split_once('?').unwrap().1.split('&').collect();
        pairs.sort_unstable();
        (pairs.join("&"), self.server.asked().len())
    }

    async fn patch(&self, config: Value) {
        let body = json!({ "config": config });
        let patched = self.acme.workspace.patch(&self.acme.setting(ID), &body).await.is(200);
        assert_eq!(patched.json["state"], "connected");
    }
}

#[tokio::test]
async fn a_token_stays_unless_something_changed_that_it_was_made_with() {
    let scene = Scene::start().await;
    assert_eq!(scene.sent().await, ("size=10&tenant=t1".to_owned(), 1));
    scene.patch(json!({ "page_size": "50" })).await;
    assert_eq!(scene.sent().await, ("size=50&tenant=t1".to_owned(), 1), "the same token");
    scene.patch(json!({ "tenant": "t2" })).await;
    assert_eq!(scene.sent().await, ("size=50&tenant=t2".to_owned(), 2), "another tenant, another token");
    let asked = scene.server.asked();
    assert_eq!((asked[1].get("tenant"), asked[1].get("client_secret")), ("t2", SECRET));
    scene.patch(json!({ "client_secret": "another-secret-of-the-client" })).await;
    assert_eq!(scene.sent().await.1, 3, "another secret");
    let asked = scene.server.asked();
    assert_eq!(asked[2].get("client_secret"), "another-secret-of-the-client");
}
