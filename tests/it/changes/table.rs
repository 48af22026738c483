//! The changes: those that end a running call, with the code that it ends with, and their neighbours that end none.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::scene::{By, Place, Write};

/// What is written, at the place of the call.
type Change = fn(&Place) -> Vec<Write>;

/// Every kind of change that ends a running call.
pub(super) const ENDINGS: &[(&str, Code, Change)] = &[
    ("the connector is switched off", Code::ConnectorDisabled, |at| {
        vec![at.patched(json!({ "enabled": false }))]
    }),
    ("the connector goes to another host", Code::HostNotInConnector, |at| {
        vec![at.replaced(|definition| {
            action(definition)["url_template"] = json!(format!("https://api.hubapi.com{}", at.path()));
            definition["allowed_domains"] = json!(["*.hubapi.com"]);
        })]
    }),
    ("the action has another path", Code::PathNotGranted, |at| {
        vec![at.replaced(|definition| {
            action(definition)["url_template"] = json!("https://api.salesforce.com/v2/contacts");
        })]
    }),
    ("the action has another method", Code::MethodForbidden, |at| {
        vec![at.replaced(|definition| action(definition)["http_method"] = json!("PUT"))]
    }),
    ("the action is gone, and another with the same request is in its place", Code::PathNotGranted, |at| {
        vec![at.replaced(|definition| action(definition)["action_id"] = json!("upsert-contact"))]
    }),
    ("the connector is deleted", Code::ConnectorDisabled, |at| {
        vec![Write::deletion(By::Platform, format!("{}?force=true", at.connector_path()))]
    }),
    ("the workspace opts out", Code::CallEnded, |at| vec![at.saved(json!({ "enabled": false }))]),
    ("the workspace forgets the connection", Code::CallEnded, |at| {
        vec![Write::deletion(By::Workspace, at.tenant.setting(&at.connector))]
    }),
    ("the org's list does not have the host", Code::HostNotInOrg, |at| {
        vec![at.listed(json!(["api.hubapi.com"]), "enforce")]
    }),
    ("the org's list is empty", Code::HostNotInOrg, |at| vec![at.listed(json!([]), "enforce")]),
    ("the org's list only reported, and is enforced", Code::HostNotInOrg, |at| {
        vec![at.listed(json!([]), "report"), at.listed(json!([]), "enforce")]
    }),
    ("the org does not use the connector any more", Code::ConnectorNotAllowed, |at| {
        vec![at.ruled(json!({ "connectors": { "mode": "listed", "listed": ["other"] } }))]
    }),
    ("a rule blocks the action", Code::ActionNotAllowed, |at| {
        let connector = json!([at.connector]);
        vec![at.ruled(json!({ "action_rules": [{ "connectors": connector, "effects": ["write"], "verdict": "block" }] }))]
    }),
    ("the workspace is deleted", Code::CallEnded, |at| vec![at.workspace_deleted("main")]),
    ("the org is deleted after its workspaces", Code::CallEnded, |at| {
        let org = format!("/admin/org/{}", at.tenant.org_id);
        let workspaces = ["side", "main"].map(|workspace| at.workspace_deleted(workspace));
        workspaces.into_iter().chain([Write::deletion(By::Platform, org)]).collect()
    }),
    ("the caller's token is revoked", Code::CallEnded, |at| {
        vec![Write::deletion(By::Platform, format!("/admin/token/{}", at.token_id))]
    }),
];

/// Changes next to those, which end no call.
pub(super) const NEIGHBOURS: &[(&str, Change)] = &[
    ("the connector has another name", |at| {
        vec![at.replaced(|definition| definition["display_name"] = json!("Sales"))]
    }),
    ("another action comes after it", |at| {
        vec![at.replaced(|definition| actions(definition).push(another_action()))]
    }),
    ("another action comes before it", |at| {
        vec![at.replaced(|definition| actions(definition).insert(0, another_action()))]
    }),
    ("the connector may go to more hosts", |at| {
        vec![at.patched(json!({ "allowed_domains": ["*.salesforce.com", "*.force.com"] }))]
    }),
    ("the connector may go to fewer hosts, but still to this one", |at| {
        vec![at.patched(json!({ "allowed_domains": ["api.salesforce.com"] }))]
    }),
    ("another credential is saved", |at| {
        vec![at.saved(json!({ "enabled": true, "config": { "api_key": "sk-live-another-0123" } }))]
    }),
    ("the org's list has the host", |at| vec![at.listed(json!(["*.salesforce.com"]), "enforce")]),
    ("the org's list does not have the host, and only reports", |at| vec![at.listed(json!([]), "report")]),
    ("the org's list is lifted", |at| {
        vec![at.listed(json!(["api.salesforce.com"]), "enforce"), at.listed(Value::Null, "enforce")]
    }),
    ("the org lists the connector among those that it uses", |at| {
        vec![at.ruled(json!({ "connectors": { "mode": "listed", "listed": [at.connector] } }))]
    }),
    ("a rule blocks other actions", |at| {
        vec![at.ruled(json!({ "action_rules": [{ "effects": ["read", "delete"], "verdict": "block" }] }))]
    }),
    ("a rule reports the action", |at| {
        vec![at.ruled(json!({ "action_rules": [{ "verdict": "report" }, { "verdict": "block" }] }))]
    }),
    ("another connector is switched off", |at| {
        vec![Write::of(By::Platform, "PATCH", at.other_path(), json!({ "enabled": false }), 200)]
    }),
    ("another connector is deleted", |at| vec![Write::deletion(By::Platform, at.other_path())]),
    ("another workspace of the org opts out", |at| {
        let setting = at.tenant.setting(&at.connector).replace("/main/", "/side/");
        vec![Write::of(By::Side, "PUT", setting, json!({ "enabled": false }), 200)]
    }),
    ("another workspace of the org is deleted", |at| vec![at.workspace_deleted("side")]),
    ("another token is revoked", |at| {
        vec![Write::deletion(By::Platform, format!("/admin/token/{}", at.other_token_id))]
    }),
    ("an automation of the action is deleted", |at| {
        let path = format!("/org/{}/automation/{}", at.tenant.org_id, at.automation);
        vec![Write::deletion(By::Org, path)]
    }),
];

fn actions(definition: &mut Value) -> &mut Vec<Value> {
    definition["actions"].as_array_mut().unwrap()
}

fn action(definition: &mut Value) -> &mut Value {
    &mut definition["actions"][0]
}

fn another_action() -> Value {
    json!({ "action_id": "list-contacts", "http_method": "GET",
            "url_template": "https://api.salesforce.com/v1/list" })
}

impl Place {
    fn replaced(&self, change: impl FnOnce(&mut Value)) -> Write {
        let mut definition = self.definition.clone();
        change(&mut definition);
        Write::of(By::Platform, "PUT", self.connector_path(), definition, 200)
    }

    fn patched(&self, patch: Value) -> Write {
        Write::of(By::Platform, "PATCH", self.connector_path(), patch, 200)
    }

    fn saved(&self, setting: Value) -> Write {
        Write::of(By::Workspace, "PUT", self.tenant.setting(&self.connector), setting, 200)
    }

    fn listed(&self, list: Value, mode: &str) -> Write {
        let path = format!("/org/{}/settings/integrations", self.tenant.org_id);
        Write::of(By::Org, "PUT", path, json!({ "domain_allowlist": list, "mode": mode }), 200)
    }

    fn ruled(&self, rules: Value) -> Write {
        let path = format!("/org/{}/settings/integrations", self.tenant.org_id);
        Write::of(By::Org, "PATCH", path, rules, 200)
    }

    fn workspace_deleted(&self, workspace: &str) -> Write {
        Write::deletion(By::Platform, format!("/admin/org/{}/workspace/{workspace}", self.tenant.org_id))
    }
}
