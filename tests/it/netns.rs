//! The shipped binary on a real kernel: real sockets, real DNS, real TLS, public-looking
//! addresses. Nothing in the product is swapped and nothing outside this machine is contacted.
//!
//! Each test makes two network namespaces and removes them again; that takes root and `ip`. If
//! they cannot be made, a test reports it on standard error and passes without having tested anything,
//! unless `PORTCULLIS_REQUIRE_NETNS` is `1`: then it fails.

use serde_json::json;

mod answers;
mod certificate;
mod inside;
mod killed_runs;
mod namespaces;
mod renewal;
mod stage;

use namespaces::{Namespaces, OUTSIDE, OUTSIDE_V6, OWN, OWN_V6, Side};
use stage::{DOMAIN, KEY, Plan, Shown, Stage, addresses, answers as says, both, public};

#[test]
fn the_shipped_binary_calls_an_upstream_by_name_and_it_receives_the_key() {
    let Some(net) = Namespaces::make() else { return };
    let mut stage = Stage::set(net, &Plan::new(vec![("api", public())]));
    assert!(stage.seen("query").is_empty(), "nothing is looked up before a call");
    stage.call("api").succeeded();
    let requests = stage.seen("request");
    assert_eq!(requests.len(), 1);
    assert_eq!((&requests[0]["method"], &requests[0]["target"]), (&json!("POST"), &json!("/v1/things")));
    assert_eq!(requests[0]["headers"]["authorization"], json!([format!("Bearer {KEY}")]));
    assert_eq!(requests[0]["headers"]["host"], json!([format!("api.{DOMAIN}")]));
    assert_eq!(requests[0]["body"], r#"{"Name":"Ada"}"#);
    assert_eq!(stage.seen("handshake")[0]["sni"], format!("api.{DOMAIN}"));
    assert_eq!(stage.seen("connected").len(), 1);
    let entry = stage.last_entry();
    assert_eq!((&entry["verdict"], &entry["status"]), (&json!("allow"), &json!(200)), "{entry}");
    assert_eq!(entry["addresses"], json!([OUTSIDE]));
    assert_eq!(entry["chosen_address"], OUTSIDE);
    assert!(entry["credential_slot"].is_string(), "{entry}");
}

#[test]
fn an_upstream_with_only_an_ipv6_address_is_called() {
    let Some(net) = Namespaces::make() else { return };
    let hosts = vec![("api", says(&[], &[addresses(&[OUTSIDE_V6])]))];
    let mut stage = Stage::set(net, &Plan::new(hosts));
    stage.call("api").succeeded();
    assert_eq!(stage.seen("connected")[0]["to"], OUTSIDE_V6);
    assert_eq!(stage.seen("request").len(), 1);
}

#[test]
fn proxy_variables_lead_no_request_elsewhere() {
    let Some(net) = Namespaces::make() else { return };
    let mut plan = Plan::new(vec![("api", public())]);
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"] {
        plan.environment.push((name, "http://93.184.216.40:443".to_owned()));
    }
    let mut stage = Stage::set(net, &plan);
    stage.call("api").succeeded();
    let connected = stage.seen("connected");
    assert_eq!(connected.len(), 1);
    assert_eq!(connected[0]["to"], OUTSIDE);
}

#[test]
fn a_host_outside_the_orgs_list_causes_no_lookup_and_no_packet() {
    let Some(net) = Namespaces::make() else { return };
    let mut stage = Stage::set(net, &Plan::new(vec![("api", public())]));
    stage.allow_for_org(&["api.example-other.com"]);
    let packets = stage.net.counter(Side::Outside, "Ip", "InReceives");
    stage.call("api").refused("host_not_in_org");
    assert_eq!(stage.net.counter(Side::Outside, "Ip", "InReceives"), packets);
    assert!(stage.seen("query").is_empty());
    stage.allow_for_org(&[&format!("api.{DOMAIN}")]);
    stage.call("api").succeeded();
    assert!(stage.net.counter(Side::Outside, "Ip", "InReceives") > packets, "the counter counts");
}

#[test]
fn the_products_own_address_is_refused_although_it_looks_public() {
    let Some(net) = Namespaces::make() else { return };
    let hosts = vec![
        ("own", says(&[addresses(&[OWN])], &[])),
        ("own6", says(&[], &[addresses(&[OWN_V6])])),
        ("both", says(&[addresses(&[OUTSIDE, OWN])], &[])),
        ("beside", public()),
    ];
    let mut stage = Stage::set(net, &Plan::new(hosts));
    let mut neighbour = stage.neighbour();
    for host in ["own", "own6", "both"] {
        stage.call(host).refused("address_forbidden");
        assert!(stage.last_entry()["credential_slot"].is_null());
    }
    neighbour.say("sync");
    assert_eq!(neighbour.json()["event"], "sync", "nothing came back in");
    assert_eq!(stage.segments(), 0);
    stage.plain_connect(&format!("{OWN}:443"));
    assert_eq!(neighbour.json()["event"], "connected", "only the guard stood before it");
    stage.call("beside").succeeded();
}

#[test]
fn an_upstream_with_a_certificate_for_another_name_receives_nothing() {
    receives_nothing(Shown::OfAnotherName);
}

#[test]
fn an_upstream_with_a_certificate_of_an_unknown_ca_receives_nothing() {
    receives_nothing(Shown::OfUnknownCa);
}

fn receives_nothing(shown: Shown) {
    let Some(net) = Namespaces::make() else { return };
    let mut stage = Stage::set(net, &Plan { shown, ..Plan::new(vec![("api", public())]) });
    stage.call("api").failed("tls_failed");
    assert_eq!(stage.await_seen("handshake_failed", 1).len(), 1, "one try, not several");
    assert_eq!(stage.seen("connected").len(), 1);
    assert!(stage.seen("request").is_empty());
    let entry = stage.last_entry();
    assert_eq!((&entry["verdict"], &entry["code"]), (&json!("error"), &json!("tls_failed")), "{entry}");
    assert!(entry["credential_slot"].is_null() && entry["credential_version"].is_null(), "{entry}");
}

#[test]
fn the_systems_resolver_is_asked_and_the_hosts_file_is_not() {
    let Some(net) = Namespaces::make() else { return };
    net.write_etc(
        "resolv.conf",
        &format!("nameserver {OUTSIDE}\nsearch example-evil.com\noptions ndots:5\n"),
    );
    net.write_etc("hosts", &format!("10.0.0.5 api.{DOMAIN}\n{OUTSIDE} listed.{DOMAIN}\n"));
    let seen = net.output(Side::Product, "getent", &["hosts", &format!("api.{DOMAIN}")]);
    assert!(seen.starts_with("10.0.0.5"), "the hosts file is in force for everybody else: {seen}");
    let missing = both(&json!({ "rcode": 3 }));
    let mut plan = Plan::new(vec![("api", public()), ("listed", missing)]);
    plan.system_resolver = true;
    plan.elsewhere.push(("listed.example-saas.com.example-evil.com", public()));
    let mut stage = Stage::set(net, &plan);
    stage.call("api").succeeded();
    stage.call("listed").failed("dns_failed");
    assert!(stage.questions(&format!("listed.{DOMAIN}")) > 0);
    let absolute = |name: &str| name == format!("api.{DOMAIN}") || name == format!("listed.{DOMAIN}");
    let asked = stage.seen("query");
    assert!(asked.iter().all(|q| q["name"].as_str().is_some_and(absolute)), "no search list: {asked:?}");
}
