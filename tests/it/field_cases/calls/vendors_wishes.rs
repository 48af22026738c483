//! What vendors ask of those who call: to say who they are, to choose one of several hosts, and to look into
//! answers of GraphQL.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::{ID, KEY, connected, definition, lay};
use crate::support::{PUBLIC, Tenant, World};

/// The code for a host that may be outside.
const OUTSIDE: &str = "template_host_outside_allowed_domains";

#[tokio::test]
async fn a_definition_can_add_to_the_user_agent() {
    let top = json!({ "user_agent_suffix": "acme/1.0 (+https://acme.example)" });
    let (world, acme) = connected(&definition(&json!({}), &top)).await;
    acme.call(ID, "act", json!({})).await.is(200);
    let agent = concat!("Portcullis/", env!("CARGO_PKG_VERSION"), " acme/1.0 (+https://acme.example)");
    assert_eq!(world.upstream.received()[0].header("user-agent"), [agent]);
    // The neighbour: the product's name alone.
    let (world, acme) = connected(&definition(&json!({}), &json!({}))).await;
    acme.call(ID, "act", json!({})).await.is(200);
    let agent = concat!("Portcullis/", env!("CARGO_PKG_VERSION"));
    assert_eq!(world.upstream.received()[0].header("user-agent"), [agent]);
}

#[tokio::test]
async fn what_cannot_be_sent_as_a_user_agent_is_refused_at_upload() {
    let world = World::start().await;
    for suffix in ["acme\r\nx-own: 1", "acme\u{7}", "acme\t1", " acme", "acme ", "acm\u{e9}"] {
        let top = json!({ "user_agent_suffix": suffix });
        let refused = world.platform.post("/admin/connector", &definition(&json!({}), &top)).await.is(422);
        let expected = [("/user_agent_suffix", "user_agent_invalid")];
        assert_eq!(refused.violations(), expected, "{suffix:?}: {refused:?}");
    }
}

/// The hosts that these tests choose from.
fn regions() -> Value {
    json!(["api.salesforce.com", "eu.salesforce.com"])
}

/// A connector whose host is a config value; `field` is merged into that field.
fn chosen(field: &Value) -> Value {
    let regions = regions();
    let values: Vec<Value> =
        regions.as_array().unwrap().iter().map(|host| json!({ "value": host })).collect();
    let mut host = json!({ "name": "host", "type": "select", "required": true, "enum": values });
    lay(&mut host, field);
    let top = json!({
        "base_url": "https://{{config.host}}/v1", "config_fields": [host], "allowed_domains": regions,
        "test": { "request": { "action_id": "check", "http_method": "GET", "url_template": "/act" } },
    });
    definition(&json!({ "url_template": "/act" }), &top)
}

/// A call, and the host that it went to.
async fn called(world: &World, acme: &Tenant) -> String {
    acme.call(ID, "act", json!({})).await.is(200);
    let seen = world.upstream.received();
    let last = seen.last().unwrap();
    assert_eq!(last.line(), "GET /v1/act");
    assert_eq!(last.header("authorization"), [format!("Bearer {KEY}")]);
    last.header("host").join(",")
}

#[tokio::test]
async fn a_call_goes_to_the_host_that_the_workspace_chose() {
    let world = World::start().await;
    for name in ["eu.salesforce.com", "ap.salesforce.com"] {
        world.names.tell(name, &[PUBLIC]);
    }
    world.platform.post("/admin/connector", &chosen(&json!({}))).await.is(201);
    let acme = world.tenant("acme", "main").await;
    for host in ["eu.salesforce.com", "api.salesforce.com"] {
        let saved = acme.connect(ID, json!({ "api_key": KEY, "host": host })).await;
        assert_eq!(saved.json["state"], "connected", "{}", saved.text);
        assert_eq!(called(&world, &acme).await, host);
        assert_eq!(world.names.asked().last().unwrap(), host);
    }
    let other = json!({ "enabled": true, "config": { "api_key": KEY, "host": "ap.salesforce.com" } });
    acme.workspace.put(&acme.setting(ID), &other).await.is(422);
    // A further host, which the saved credential was not sealed for: it is not the chosen one.
    let more = json!({
        "allowed_domains": ["api.salesforce.com", "eu.salesforce.com", "ap.salesforce.com"],
        "config_fields": [{ "name": "host", "type": "select", "required": true, "enum": [
            { "value": "api.salesforce.com" }, { "value": "eu.salesforce.com" }, { "value": "ap.salesforce.com" },
        ] }],
    });
    world.platform.patch("/admin/connector/saas", &more).await.is(200);
    assert_eq!(called(&world, &acme).await, "api.salesforce.com");
    acme.workspace.put(&acme.setting(ID), &other).await.is(200);
    assert_eq!(called(&world, &acme).await, "ap.salesforce.com");
    // The list is shortened again: the chosen host fell out, and nothing goes there.
    let fewer = json!({ "allowed_domains": regions(), "config_fields": chosen(&json!({}))["config_fields"] });
    world.platform.patch("/admin/connector/saas", &fewer).await.is(200);
    let before = world.before().await;
    acme.call(ID, "act", json!({})).await.problem(Code::HostNotInConnector);
    world.assert_nothing_left(&before).await;
}

#[tokio::test]
async fn a_whole_host_is_a_list_of_hosts_inside_the_allowed_domains() {
    let world = World::start().await;
    for field in [
        json!({ "enum": [{ "value": "api.salesforce.com" }, { "value": "evil.example.com" }] }),
        json!({ "enum": [{ "value": "api.salesforce.com.evil.com" }] }),
        json!({ "enum": [{ "value": "api" }] }),
        json!({ "enum": [{ "value": "api.salesforce.com/v2" }] }),
        json!({ "enum": [{ "value": "api.salesforce.com:8443" }] }),
        json!({ "enum": [{ "value": "https://api.salesforce.com" }] }),
        json!({ "type": "text" }),
        json!({ "name": "region" }),
    ] {
        let refused = world.platform.post("/admin/connector", &chosen(&field)).await.is(422);
        assert!(refused.violations().contains(&("/base_url", OUTSIDE)), "{field}: {refused:?}");
    }
    // An input chooses no host.
    let more = json!({
        "url_template": "https://{{input.host}}/v1/act",
        "body_schema": [{ "name": "host", "required": true, "enum": regions() }],
    });
    let refused = world.platform.post("/admin/connector", &definition(&more, &json!({}))).await.is(422);
    assert_eq!(refused.violations(), [("/actions/0/url_template", "template_invalid")], "{refused:?}");
}

#[tokio::test]
async fn graphql_whose_answers_always_count_as_a_success_is_unwise() {
    let world = World::start().await;
    let warnings = async |more: Value| {
        let mut action =
            json!({ "http_method": "POST", "body": { "type": "graphql", "query": "query { me { id } }" } });
        lay(&mut action, &more);
        let definition = definition(&action, &json!({}));
        let report = world.platform.post("/admin/connector/validate", &definition).await.is(200);
        assert_eq!(report.json["valid"], true, "{}", report.text);
        let found = report.json["warnings"].as_array().unwrap().iter();
        found
            .filter(|warning| warning["code"] == "graphql_without_success")
            .map(|warning| warning["pointer"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let at = ["/actions/0/success/predicate"];
    assert_eq!(warnings(json!({})).await, at);
    assert_eq!(warnings(json!({ "success": { "status": [200] } })).await, at);
    let looked_into = json!({ "success": { "predicate": { "path": "/errors", "exists": false } } });
    assert_eq!(warnings(looked_into).await, Vec::<String>::new());
    assert_eq!(warnings(json!({ "body": { "type": "json" } })).await, Vec::<String>::new());
}
