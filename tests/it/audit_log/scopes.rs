//! Whose records an org sees, and what stays of one that is deleted.

use portcullis_core::fault::Code;
use serde_json::json;

use super::{actions, ids, newest, set_policy};
use crate::support::World;

#[tokio::test]
async fn an_org_sees_its_own_and_the_platform_sees_all() {
    let (world, acme) = World::salesforce().await;
    let globex = world.tenant("globex", "main").await;
    set_policy(&acme.org, json!(["*.salesforce.com"])).await;
    let body = json!({ "domain_allowlist": ["*.hubapi.com"] });
    globex.org.put("/org/globex/settings/integrations", &body).await.is(200);
    let own = newest(&acme.org, "/org/acme/audit?limit=100").await;
    let others = newest(&globex.org, "/org/globex/audit?limit=100").await;
    let all = newest(&world.platform, "/admin/audit?limit=100").await;
    assert!(own.iter().all(|record| record["org"] == "acme"), "{own:?}");
    assert!(others.iter().all(|record| record["org"] == "globex"), "{others:?}");
    let of_platform = all.iter().filter(|record| record["org"].is_null()).count();
    assert_eq!(all.len(), own.len() + others.len() + of_platform);
    assert!(of_platform >= 1, "the connector is the platform's: {all:?}");
    let named = newest(&world.platform, "/admin/audit?org=acme&limit=100").await;
    assert_eq!(ids(&named), ids(&own));
    // What the platform did to the org is there, without the place from where.
    let made = own.iter().find(|record| record["action"] == "createWorkspace").unwrap();
    assert_eq!(
        (&made["actor"]["role"], &made["target"]),
        (&json!("platform"), &json!("workspace/acme/main"))
    );
    assert!(made.get("address").is_none(), "{made}");
    let seen = named.iter().find(|record| record["id"] == made["id"]).unwrap();
    assert_eq!(seen["address"], "127.0.0.1");
    let changed = own.iter().find(|record| record["action"] == "setIntegrations").unwrap();
    assert_eq!((&changed["actor"]["role"], &changed["address"]), (&json!("org"), &json!("127.0.0.1")));
    acme.org.get("/org/globex/audit").await.problem(Code::OrgNotFound);
    acme.org.get("/org/globex/audit/verify").await.problem(Code::OrgNotFound);
    acme.org.get("/admin/audit").await.problem(Code::RoleNotAllowed);
    acme.workspace.get("/org/acme/audit").await.problem(Code::RoleNotAllowed);
    let foreign = others[0]["id"].as_str().unwrap();
    let path = format!("/org/acme/audit?starting_after={foreign}");
    acme.org.get(&path).await.problem(Code::BadRequest);
}

#[tokio::test]
async fn an_org_is_told_of_a_deleted_connector_that_takes_its_connections() {
    let (world, acme) = World::salesforce().await;
    let globex = world.tenant("globex", "main").await;
    acme.connect("salesforce", json!({ "api_key": super::KEY })).await;
    world.platform.delete("/admin/connector/salesforce").await.problem(Code::InUse);
    world.platform.delete("/admin/connector/salesforce?force=true").await.is(204);
    let deletions = async |client: &crate::support::Client, path: &str| {
        newest(client, &format!("{path}?action=deleteConnector")).await
    };
    let own = deletions(&acme.org, "/org/acme/audit").await;
    assert_eq!(own.len(), 1, "{own:?}");
    assert_eq!(
        (&own[0]["target"], &own[0]["actor"]["role"]),
        (&json!("connector/salesforce"), &json!("platform"))
    );
    assert!(deletions(&globex.org, "/org/globex/audit").await.is_empty(), "it lost nothing");
    let all = deletions(&world.platform, "/admin/audit").await;
    assert_eq!(all.len(), 2, "the org's, and the platform's own: {all:?}");
}

#[tokio::test]
async fn an_org_that_is_made_again_sees_nothing_of_the_one_before_and_the_platform_both() {
    let (world, acme) = World::salesforce().await;
    set_policy(&acme.org, json!(["*.salesforce.com"])).await;
    world.platform.delete("/admin/org/acme/workspace/main").await.is(204);
    world.platform.delete("/admin/org/acme").await.is(204);
    let ended = newest(&world.platform, "/admin/audit?org=acme&limit=100").await;
    assert_eq!(actions(&ended)[..3], ["deleteOrg", "deleteWorkspace", "setIntegrations"]);
    assert_eq!(ended[0]["after"], json!(null));
    let checked = world.platform.get("/admin/audit/verify?org=acme").await.is(200).json;
    assert_eq!(checked["intact"], true, "its chain outlives it: {checked}");
    let again = world.tenant("acme", "main").await;
    let own = newest(&again.org, "/org/acme/audit?limit=100").await;
    assert_eq!(actions(&own).last(), Some(&"createOrg"));
    assert!(own.iter().all(|record| !ended.contains(record)), "{own:?}");
    let all = newest(&world.platform, "/admin/audit?org=acme&limit=100").await;
    assert_eq!(all.len(), ended.len() + own.len());
    assert_eq!(world.platform.get("/admin/audit/verify?org=acme").await.is(200).json["intact"], true);
}
