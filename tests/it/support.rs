//! Shared test code: a product in this process ([`World`]), the third party that it calls ([`Upstream`]), the
//! replaced last system calls ([`FakeDns`], [`FakeDialer`]) and an HTTP client.

pub(crate) mod answer_schema;
pub(crate) mod binary;
pub(crate) mod client;
pub(crate) mod crashing_store;
pub(crate) mod failing;
pub(crate) mod fake_network;
pub(crate) mod figures;
pub(crate) mod guests;
pub(crate) mod handler_code;
pub(crate) mod refusing_store;
pub(crate) mod shared_store;
pub(crate) mod token_server;
pub(crate) mod upstream;
pub(crate) mod world;

pub(crate) use client::{Answer, Client};
pub(crate) use fake_network::{FakeDialer, FakeDns, PRIVATE, PUBLIC, PUBLIC_V6};
pub(crate) use upstream::{Script, Upstream};
pub(crate) use world::{Stage, Tenant, World};

/// The definition of the Salesforce example, byte for byte.
pub(crate) const SALESFORCE: &str = include_str!("../golden/salesforce.json");

/// The same as a value that a test can change.
pub(crate) fn salesforce() -> serde_json::Value {
    serde_json::from_str(SALESFORCE).unwrap()
}

/// Merges the members of one object into another's, nested objects too.
pub(crate) fn lay(below: &mut serde_json::Value, above: &serde_json::Value) {
    use serde_json::Value;
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (name, value) in above {
                lay(below.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above.clone(),
    }
}

/// Waits until `holds`, at most ten seconds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !holds().await {
        assert!(std::time::Instant::now() < deadline, "not within ten seconds: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
