//! The table of routes and the audit log: each route is classified, and a refused one leaves no record.

use std::collections::BTreeSet;

use portcullis_api::ROUTES;
use portcullis_engine::audit_log::acts::{CONNECT_CONSENTS, CONSENT, NOT_RECORDED, RECORDED};
use portcullis_store::Role;

use super::{ids, newest};
use crate::support::World;

#[test]
fn every_route_that_is_no_read_is_recorded_or_says_why_not() {
    let recorded: BTreeSet<&str> = RECORDED.iter().map(|act| act.operation).collect();
    let passed_over: BTreeSet<&str> = NOT_RECORDED.iter().map(|(operation, _)| *operation).collect();
    let known: BTreeSet<&str> = ROUTES.iter().map(|route| route.operation).collect();
    for route in ROUTES {
        let is_listed = recorded.contains(route.operation) || passed_over.contains(route.operation);
        let must_be = route.method != "GET"
            || route.operation == CONSENT
            || CONNECT_CONSENTS.contains(&route.operation);
        assert_eq!(
            is_listed, must_be,
            "{}: say in engine/audit_log/acts.rs whether it is recorded, and show it in acts.rs of this test",
            route.operation
        );
    }
    assert!(recorded.is_subset(&known) && passed_over.is_subset(&known), "operations that are no routes");
    assert!(recorded.is_disjoint(&passed_over));
    assert_eq!(recorded.len() + passed_over.len(), RECORDED.len() + NOT_RECORDED.len(), "each once");
}

#[tokio::test]
async fn what_is_refused_leaves_no_record() {
    let (world, acme) = World::salesforce().await;
    acme.connect("salesforce", serde_json::json!({ "api_key": super::KEY })).await;
    let before = newest(&world.platform, "/admin/audit?limit=100").await;
    let changed = world.before().await;
    let mut refused = 0;
    for route in ROUTES.iter().filter(|route| route.method != "GET") {
        let segment = |segment: &str| match segment {
            "{org}" => "acme".to_owned(),
            "{ws}" => "main".to_owned(),
            "{id}" => "nowhere".to_owned(),
            "{action}" => "create-contact".to_owned(),
            other if other.starts_with('{') => "none".to_owned(),
            other => other.to_owned(),
        };
        let path: Vec<String> = route.path.split('/').map(segment).collect();
        let path = path.join("/");
        let anyone = world.platform.anonymous();
        for (role, caller) in [
            (None, &anyone),
            (Some(Role::Platform), &world.platform),
            (Some(Role::Org), &acme.org),
            (Some(Role::Workspace), &acme.workspace),
            (Some(Role::Run), &acme.run),
        ] {
            // Who may is refused for a parameter that no route has.
            let may = role.is_some_and(|role| route.roles.contains(&role));
            let path = if may { format!("{path}?nonsense=1") } else { path.clone() };
            let answer = caller.write(route.method, &path, "{}").await;
            assert!((400..500).contains(&answer.status), "{role:?} {} {path}: {}", route.method, answer.text);
            refused += 1;
        }
    }
    assert!(refused > 200, "{refused}");
    let after = newest(&world.platform, "/admin/audit?limit=100").await;
    assert_eq!(ids(&after), ids(&before));
    world.assert_untouched(&changed).await;
}
