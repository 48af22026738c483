//! What a stored key stands for, which calls it concerns, and when a grant no longer holds.

use std::sync::Arc;

use portcullis_action::{Method, UrlTemplate};
use portcullis_core::host_pattern::HostPattern;
use portcullis_core::id::{ActionId, ConnectionName, OrgId, TokenId, WorkspaceId};
use portcullis_core::org_rules::RulesVerdict;
use portcullis_core::verdict::{AllowlistMode, HostRules, OrgPolicy};
use portcullis_store::AutomationRecord;
use serde_json::Map;

use super::*;
use crate::call::active_calls::Target;
use crate::call::prepare::Pick;

fn call(token: Option<&str>) -> CallScope {
    CallScope {
        org: OrgId::parse("acme").unwrap(),
        workspace: WorkspaceId::parse("main").unwrap(),
        workspace_commit: 1,
        connector: "crm".to_owned(),
        connection: None,
        token: token.map(|id| TokenId::parse(id).unwrap()),
    }
}

fn concerned(key: String, token: Option<&str>) -> bool {
    Subject::of(&key).is_some_and(|subject| subject.concerns(&call(token)))
}

#[test]
fn a_change_concerns_its_own_calls_and_no_neighbours() {
    for (own, neighbour) in [
        (Key::of::<ConnectorRecord>(&["crm"]), Key::of::<ConnectorRecord>(&["crm2"])),
        (Key::of::<IntegrationSettings>(&["acme"]), Key::of::<IntegrationSettings>(&["acme2"])),
        (
            Key::of::<ConnectorSetting>(&["acme", "main", "crm"]),
            Key::of::<ConnectorSetting>(&["acme", "other", "crm"]),
        ),
        (
            Key::of::<ConnectorSetting>(&["acme", "main", "crm"]),
            Key::of::<ConnectorSetting>(&["acme", "main", "crm", "sales"]),
        ),
        (Key::of::<WorkspaceRecord>(&["acme", "main"]), Key::of::<WorkspaceRecord>(&["acme", "main2"])),
        (Key::of::<OrgRecord>(&["acme"]), Key::of::<OrgRecord>(&["other"])),
        (Key::of::<TokenIndex>(&["tok_1"]), Key::of::<TokenIndex>(&["tok_2"])),
        // Records that no call depends on.
        (Key::of::<OrgRecord>(&["acme"]), Key::of::<AutomationRecord>(&["acme", "auto_1"])),
        (Key::of::<OrgRecord>(&["acme"]), Key::of::<CredentialState>(&["acme", "main", "crm"])),
    ] {
        let (own, neighbour) = (own.unwrap(), neighbour.unwrap());
        assert!(concerned(own.clone(), Some("tok_1")), "{own}");
        assert!(!concerned(neighbour.clone(), Some("tok_1")), "{neighbour}");
    }
    assert!(!concerned(Key::of::<TokenIndex>(&["tok_1"]).unwrap(), None), "a call without a waiting caller");
}

#[test]
fn idle_connections_of_another_workspace_stay() {
    let scope = |workspace: &str, connector: &str| PoolScope {
        workspace: workspace.to_owned(),
        connector: connector.to_owned(),
        connection: None,
        credential_version: 1,
        policy_generation: 1,
        http2: false,
    };
    let saved = Subject::of(&Key::of::<CredentialState>(&["acme", "main", "crm"]).unwrap()).unwrap();
    assert!(saved.outdates(&scope("acme/main", "crm")));
    for other in [scope("acme/main2", "crm"), scope("acme/main", "crm2"), scope("acme2/main", "crm")] {
        assert!(!saved.outdates(&other), "{other:?}");
    }
    let sales = PoolScope { connection: ConnectionName::parse("sales").ok(), ..scope("acme/main", "crm") };
    assert!(!saved.outdates(&sales), "another connection of the same connector");
    let named = Subject::of(&Key::of::<CredentialState>(&["acme", "main", "crm", "sales"]).unwrap()).unwrap();
    assert!(named.outdates(&sales) && !named.outdates(&scope("acme/main", "crm")));
    let listed = Subject::Policy("acme".to_owned());
    assert!(listed.outdates(&scope("acme/other", "any")) && !listed.outdates(&scope("acme2/main", "crm")));
}

fn rules(connector: &str, org: OrgPolicy) -> HostRules {
    let connector = vec![HostPattern::parse(connector).unwrap()];
    HostRules { connector, ports: Vec::new(), org, org_rules: RulesVerdict::ALLOWED }
}

fn list(entries: &[&str]) -> OrgPolicy {
    let patterns = entries.iter().map(|entry| HostPattern::parse(entry).unwrap()).collect();
    OrgPolicy::List { patterns, mode: AllowlistMode::Enforce }
}

fn action(method: Method, url: &str) -> ActionScope {
    ActionScope::new(method, &UrlTemplate::parse(url).unwrap(), &Map::new()).unwrap()
}

const CONTACTS: &str = "https://api.crm.com/v1/contacts";

/// What a call of `POST /v1/contacts` was granted, under these rules of now.
fn running(goes_on: bool, now: &HostRules) -> Granted {
    Granted {
        pick: Pick::Action(0),
        action: ActionId::parse("create").unwrap(),
        method: Method::Post,
        module: None,
        url: UrlTemplate::parse(CONTACTS).unwrap(),
        credential: None,
        rules: now.clone().into(),
        scope: Some(action(Method::Post, CONTACTS)),
        config: Arc::default(),
        host: Some("api.crm.com".to_owned()),
        goes_on,
    }
}

fn target(in_flight: bool) -> Option<Target> {
    in_flight.then(|| Target { method: Method::Post, url: CONTACTS.to_owned() })
}

#[test]
fn a_grant_that_still_covers_the_request_ends_nothing() {
    let same = || Some(action(Method::Post, CONTACTS));
    let wider = || Some(action(Method::Post, "https://api.crm.com/v1/{{input.kind}}"));
    let open = || OrgPolicy::Unrestricted;
    for (in_flight, goes_on, now, scope, expected) in [
        (true, false, rules("*.crm.com", open()), same(), None),
        (false, true, rules("*.crm.com", open()), same(), None),
        // Other lists that still contain the host.
        (true, false, rules("api.crm.com", open()), same(), None),
        (true, true, rules("api.crm.com", open()), same(), None),
        (false, true, rules("*.crm.com", list(&["api.crm.com"])), same(), None),
        // Lists that do not contain it.
        (true, false, rules("*.other.com", open()), same(), Some(Code::HostNotInConnector)),
        (true, true, rules("*.other.com", open()), same(), Some(Code::HostNotInConnector)),
        (false, true, rules("*.crm.com", list(&["api.other.com"])), same(), Some(Code::HostNotInOrg)),
        (true, false, rules("*.crm.com", list(&[])), same(), Some(Code::HostNotInOrg)),
        // Another action: a request in flight is checked against it; a call that may make more requests is ended.
        (true, false, rules("*.crm.com", open()), wider(), None),
        (true, true, rules("*.crm.com", open()), wider(), Some(Code::PathNotGranted)),
        (false, false, rules("*.crm.com", open()), wider(), Some(Code::PathNotGranted)),
        (
            true,
            false,
            rules("*.crm.com", open()),
            Some(action(Method::Get, CONTACTS)),
            Some(Code::MethodForbidden),
        ),
        (
            true,
            false,
            rules("*.crm.com", open()),
            Some(action(Method::Post, "https://api.crm.com/v2/contacts")),
            Some(Code::PathNotGranted),
        ),
        (true, false, rules("*.crm.com", open()), None, Some(Code::PathNotGranted)),
    ] {
        let shown = format!("{in_flight} {goes_on} {now:?} {scope:?}");
        let granted = running(goes_on, &now);
        assert_eq!(refusal(&granted, target(in_flight).as_ref(), scope, false, 8192), expected, "{shown}");
    }
}

#[test]
fn a_call_that_has_not_chosen_its_host_is_left_to_the_judgement_of_its_requests() {
    let same = || Some(action(Method::Post, CONTACTS));
    for (now, of_the_last) in [
        (rules("*.crm.com", list(&["api.crm.com"])), None),
        (rules("*.crm.com", list(&["api.other.com"])), Some(Code::HostNotInOrg)),
        (rules("other.com", OrgPolicy::Unrestricted), Some(Code::HostNotInConnector)),
    ] {
        let granted = Granted { host: None, ..running(true, &now) };
        assert_eq!(refusal(&granted, None, same(), false, 8192), None, "nothing was sent: {now:?}");
        assert_eq!(refusal(&granted, target(true).as_ref(), same(), false, 8192), of_the_last, "{now:?}");
    }
}

#[test]
fn a_call_that_its_lists_always_refused_is_left_to_the_gate() {
    let granted = running(false, &rules("*.crm.com", list(&[])));
    let same = Some(action(Method::Post, CONTACTS));
    assert_eq!(refusal(&granted, None, same, true, 8192), None, "the ledger records its refusal");
    let moved = Some(action(Method::Post, "https://api.crm.com/v2/contacts"));
    assert_eq!(refusal(&granted, None, moved, true, 8192), Some(Code::PathNotGranted));
}
