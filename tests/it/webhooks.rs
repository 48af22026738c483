//! Webhooks: saved only where a signed ping is taken, delivered in order with signatures that another implementation
//! verifies, tried again, given up, sent again, and never lost.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::limits::Limits;
use portcullis_store::{MemoryStore, Store};
use serde_json::{Value, json};

use crate::support::upstream::Received;
use crate::support::{Client, PUBLIC, SALESFORCE, Stage, Tenant, World, until};

mod failing;
mod restarts;
mod saving;
mod telling;

const HOST: &str = "hooks.example.com";
const PATH: &str = "/in";
const KEY: &str = "sk-live-0123456789abcdef";

/// Limits with which nothing waits for long.
fn quick() -> Limits {
    Limits { webhook_retry_base_ms: 1, webhook_timeout_ms: 1000, ..crate::jobs::quick() }
}

/// A world with the Salesforce example, a receiver, and deliveries.
struct Scene {
    world: World,
    acme: Tenant,
    store: Arc<dyn Store>,
}

impl Scene {
    async fn new(limits: Limits) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let stage = Stage { limits, store: Some(Arc::clone(&store)), ..Stage::default() };
        let world = stage.start().await;
        world.names.tell(HOST, &[PUBLIC]);
        world.platform.write("POST", "/admin/connector", SALESFORCE).await.is(201);
        let acme = world.tenant("acme", "main").await;
        Self { world, acme, store }
    }

    /// The same with a worker.
    async fn working(limits: Limits) -> Self {
        let scene = Self::new(limits).await;
        scene.world.engine.start_webhooks();
        scene
    }

    /// Makes a webhook of the org; returns its secret.
    async fn hook(&self, id: &str, events: &[&str]) -> String {
        made(&self.acme.org, &format!("/org/acme/webhook/{id}"), events).await
    }

    /// What was delivered to the receiver, but for pings.
    fn delivered(&self) -> Vec<Received> {
        let received = self.world.upstream.received_on(PATH);
        received.into_iter().filter(|one| body(one)["type"] != "webhook.ping").collect()
    }

    /// Waits for this many deliveries.
    async fn until_delivered(&self, count: usize) -> Vec<Received> {
        until(&format!("{count} deliveries"), async || self.delivered().len() >= count).await;
        let delivered = self.delivered();
        assert_eq!(delivered.len(), count, "{:?}", delivered.iter().map(Received::text).collect::<Vec<_>>());
        delivered
    }

    /// Deliveries of a webhook as the org sees them.
    async fn listed(&self, id: &str, query: &str) -> Vec<Value> {
        let path = format!("/org/acme/webhook/{id}/delivery{query}");
        let page = self.acme.org.get(&path).await.is(200);
        page.json["data"].as_array().unwrap().clone()
    }

    /// Changes the org's list, which is told as `policy.changed`.
    async fn change_policy(&self) {
        let list = json!({ "domain_allowlist": ["*.salesforce.com"] });
        self.acme.org.put("/org/acme/settings/integrations", &list).await.is(200);
    }
}

fn url() -> String {
    format!("https://{HOST}{PATH}")
}

async fn made(client: &Client, path: &str, events: &[&str]) -> String {
    let made = client.put(path, &json!({ "url": url(), "events": events })).await.is(201);
    made.json["secret"].as_str().unwrap().to_owned()
}

fn body(received: &Received) -> Value {
    serde_json::from_slice(&received.body).unwrap()
}

/// HMAC-SHA256 as RFC 2104 writes it, of a hash alone.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64);
    let pad =
        |byte: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).copied().unwrap_or_default() ^ byte).collect() };
    let inner = digest(&SHA256, &[&pad(0x36), text].concat());
    digest(&SHA256, &[pad(0x5c).as_slice(), inner.as_ref()].concat()).as_ref().to_vec()
}

/// Whether a delivery has a signature of this secret.
fn is_signed(received: &Received, secret: &str) -> bool {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let one = |name: &str| -> String {
        let values = received.header(name);
        assert_eq!(values.len(), 1, "{name}: {values:?}");
        values[0].to_owned()
    };
    let (id, at) = (one("webhook-id"), one("webhook-timestamp"));
    let content = [id.as_bytes(), b".", at.as_bytes(), b".", &received.body].concat();
    let expected = format!("v1,{}", STANDARD.encode(hmac(&key, &content)));
    one("webhook-signature").split(' ').any(|signature| signature == expected)
}

#[test]
fn the_hmac_of_these_tests_is_that_of_rfc_4231() {
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(hex::encode(hmac(b"Jefe", b"what do ya want for nothing?")), expected);
}
