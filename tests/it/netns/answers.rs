//! Answers of a name server, and how the guard treats them.

use std::time::Duration;

use serde_json::{Value, json};

use super::namespaces::{Namespaces, OUTSIDE, OUTSIDE_V6};
use super::stage::{DOMAIN, KEY, Plan, Stage, addresses, answers, both, public};

/// A private address. On these stages it answers.
const PRIVATE: &str = "10.0.0.5";
const PRIVATE_V6: &str = "fd00:ec2::254";
/// The limit of one lookup, plus what a busy machine may add to it.
const DNS_MAX: Duration = Duration::from_millis(3 * 3000 + 1500 + 2000);

/// Calls each host and expects a refusal before any TCP segment reached the outside and before
/// the credential was used; then shows that the address was reachable and only the guard prevented the call.
fn all_are_refused(hosts: Vec<(&'static str, Value)>, elsewhere: Vec<(&'static str, Value)>) {
    let Some(net) = Namespaces::make() else { return };
    let names: Vec<&str> = hosts.iter().map(|(host, _)| *host).collect();
    let mut stage = Stage::set(net, &Plan { elsewhere, ..Plan::new(hosts) });
    for host in names {
        stage.call(host).refused("address_forbidden");
        let entry = stage.last_entry();
        assert_eq!(entry["origin"], format!("https://{host}.{DOMAIN}"));
        assert_eq!((&entry["verdict"], &entry["code"]), (&json!("refuse"), &json!("address_forbidden")));
        assert!(entry["credential_slot"].is_null() && entry["credential_version"].is_null(), "{entry}");
        assert!(stage.questions(&format!("{host}.{DOMAIN}")) > 0, "{host} was not even looked up");
    }
    assert_eq!(stage.segments(), 0, "no connection was tried");
    for address in [format!("{PRIVATE}:443"), format!("[{PRIVATE_V6}]:443")] {
        assert_eq!(stage.plain_connect(&address), json!({ "connected": address }));
    }
    assert!(stage.segments() > 0, "the counter counts");
    assert_eq!(stage.await_seen("connected", 2).len(), 2);
}

#[test]
fn a_name_that_resolves_to_a_private_address_is_refused_before_the_first_segment() {
    let v4 = |ip: &str| answers(&[addresses(&[ip])], &[]);
    let v6 = |ip: &str| answers(&[], &[addresses(&[ip])]);
    let hosts = vec![
        ("intranet", v4(PRIVATE)),
        ("metadata", v4("169.254.169.254")),
        ("carrier", v4("100.64.0.1")),
        ("loopback", v4("127.0.0.1")),
        ("nothing", v4("0.0.0.0")),
        ("unique-local", v6(PRIVATE_V6)),
        ("loopback6", v6("::1")),
        ("mapped", v6("::ffff:10.0.0.5")),
        ("nat64", v6("64:ff9b::a00:5")),
    ];
    all_are_refused(hosts, vec![]);
}

#[test]
fn an_answer_with_one_private_address_among_public_ones_is_refused_whole() {
    let hosts = vec![
        ("last", answers(&[addresses(&[OUTSIDE, PRIVATE])], &[])),
        ("first", answers(&[addresses(&[PRIVATE, OUTSIDE])], &[])),
        ("last6", answers(&[], &[addresses(&[OUTSIDE_V6, PRIVATE_V6])])),
    ];
    all_are_refused(hosts, vec![]);
}

#[test]
fn a_private_address_of_either_family_beside_a_public_one_of_the_other_is_refused() {
    let hosts = vec![
        ("six", answers(&[addresses(&[OUTSIDE])], &[addresses(&[PRIVATE_V6])])),
        ("four", answers(&[addresses(&[PRIVATE])], &[addresses(&[OUTSIDE_V6])])),
    ];
    all_are_refused(hosts, vec![]);
}

#[test]
fn an_alias_that_leads_to_a_private_name_is_refused() {
    let alias = |target: &str| json!({ "cname": [target], "ttl": 0 });
    let chain = json!({
        "cname": ["cdn.example-other.com", "inside.example-other.com"], "addresses": [PRIVATE], "ttl": 0,
    });
    let later = alias("metadata.google.internal");
    let hosts = vec![
        ("at-once", answers(&[chain], &[])),
        ("later", both(&later)),
        ("local", both(&alias("localhost"))),
    ];
    let elsewhere = vec![("metadata.google.internal", answers(&[addresses(&["169.254.169.254"])], &[]))];
    all_are_refused(hosts, elsewhere);
}

#[test]
fn an_alias_that_leads_to_a_public_name_is_followed_under_the_first_name() {
    let Some(net) = Namespaces::make() else { return };
    let alias = json!({ "cname": ["edge.example-other.com"], "ttl": 0 });
    let mut plan = Plan::new(vec![("api", both(&alias))]);
    plan.elsewhere.push(("edge.example-other.com", public()));
    let mut stage = Stage::set(net, &plan);
    stage.call("api").succeeded();
    assert_eq!(stage.seen("handshake")[0]["sni"], format!("api.{DOMAIN}"));
    assert_eq!(stage.seen("request")[0]["headers"]["host"], json!([format!("api.{DOMAIN}")]));
}

#[test]
fn a_lookup_without_an_answer_fails_closed_within_its_limit() {
    let Some(net) = Namespaces::make() else { return };
    let hosts = vec![
        ("missing", both(&json!({ "rcode": 3 }))),
        ("broken", both(&json!({ "rcode": 2 }))),
        ("silent", both(&json!({ "silent": true }))),
        ("empty", both(&json!({}))),
    ];
    let mut stage = Stage::set(net, &Plan::new(hosts));
    for host in ["missing", "broken", "silent", "empty"] {
        let outcome = stage.call(host);
        outcome.failed("dns_failed");
        assert!(outcome.took < DNS_MAX, "{host} took {:?}", outcome.took);
        let entry = stage.last_entry();
        assert_eq!((&entry["verdict"], &entry["code"]), (&json!("error"), &json!("dns_failed")), "{entry}");
        assert!(entry["credential_slot"].is_null(), "{entry}");
        assert!(stage.questions(&format!("{host}.{DOMAIN}")) > 0, "{host} was not even looked up");
    }
    assert!(stage.seen("connected").is_empty());
}

#[test]
fn an_error_before_or_beside_a_private_answer_does_not_let_it_through() {
    let broken = json!({ "rcode": 2 });
    let missing = json!({ "rcode": 3 });
    let first_broken = |ip: &str| [broken.clone(), addresses(&[ip])];
    let hosts = vec![
        ("recovering", answers(&first_broken(PRIVATE), &first_broken(PRIVATE_V6))),
        ("half-broken", answers(&[addresses(&[PRIVATE])], std::slice::from_ref(&broken))),
        ("half-missing", answers(std::slice::from_ref(&missing), &[addresses(&[PRIVATE_V6])])),
    ];
    all_are_refused(hosts, vec![]);
}

#[test]
fn sixteen_addresses_are_taken_and_seventeen_are_refused() {
    let Some(net) = Namespaces::make() else { return };
    let block: Vec<String> = (34..=50).map(|last| format!("93.184.216.{last}")).collect();
    let first = |count: usize| {
        let list: Vec<&str> = block.iter().take(count).map(String::as_str).collect();
        answers(&[addresses(&list)], &[])
    };
    let six: Vec<String> = (0x34..=0x3c).map(|last| format!("2606:4700:10::{last:x}")).collect();
    let six: Vec<&str> = six.iter().map(String::as_str).collect();
    let eight: Vec<&str> = block.iter().take(8).map(String::as_str).collect();
    let hosts = vec![
        ("sixteen", first(16)),
        ("seventeen", first(17)),
        ("together", answers(&[addresses(&eight)], &[addresses(&six)])),
    ];
    let mut stage = Stage::set(net, &Plan::new(hosts));
    for host in ["seventeen", "together"] {
        stage.call(host).failed("dns_failed");
        assert_eq!(stage.last_entry()["addresses"].as_array().map(Vec::len), Some(17));
    }
    assert!(stage.seen("connected").is_empty());
    stage.call("sixteen").succeeded();
}

#[test]
fn a_name_that_rebinds_keeps_its_connection_and_gets_no_new_one() {
    let Some(net) = Namespaces::make() else { return };
    let moving = answers(&[addresses(&[OUTSIDE]), addresses(&[PRIVATE])], &[]);
    let name = format!("api.{DOMAIN}");
    let mut stage = Stage::set(net, &Plan::new(vec![("api", moving)]));
    stage.call("api").succeeded();
    let asked = stage.questions(&name);
    stage.call("api").succeeded();
    assert_eq!(stage.questions(&name), asked, "the open connection needs no lookup");
    stage.save_key();
    stage.call("api").refused("address_forbidden");
    assert!(stage.questions(&name) > asked, "a new connection is a new lookup");
    let connected = stage.seen("connected");
    assert_eq!(connected.len(), 1);
    assert_eq!(connected[0]["to"], OUTSIDE);
    assert_eq!(stage.seen("request").len(), 2);
}

#[test]
fn a_name_that_rebinds_after_the_upstream_hung_up_is_refused() {
    let Some(net) = Namespaces::make() else { return };
    let moving = answers(&[addresses(&[OUTSIDE]), addresses(&[PRIVATE])], &[]);
    let mut stage = Stage::set(net, &Plan { keep_alive: false, ..Plan::new(vec![("api", moving)]) });
    stage.call("api").succeeded();
    stage.await_seen("closed", 1);
    stage.call("api").refused("address_forbidden");
    assert_eq!(stage.seen("connected").len(), 1);
    assert_eq!(stage.seen("request").len(), 1);
}

#[test]
fn a_lifetime_in_an_answer_does_not_save_the_next_connection_its_lookup() {
    let Some(net) = Namespaces::make() else { return };
    let kept = json!({ "addresses": [OUTSIDE], "ttl": 3600 });
    let moving = answers(&[kept, addresses(&[PRIVATE])], &[]);
    let mut stage = Stage::set(net, &Plan { keep_alive: false, ..Plan::new(vec![("api", moving)]) });
    stage.call("api").succeeded();
    stage.await_seen("closed", 1);
    stage.call("api").refused("address_forbidden");
}

#[test]
fn an_answer_too_long_for_a_datagram_is_fetched_over_tcp_and_judged_the_same() {
    let Some(net) = Namespaces::make() else { return };
    let cut = |ip: &str| answers(&[json!({ "addresses": [ip], "tcp_only": true })], &[]);
    let mut stage = Stage::set(net, &Plan::new(vec![("api", cut(OUTSIDE)), ("intranet", cut(PRIVATE))]));
    stage.call("intranet").refused("address_forbidden");
    assert!(stage.seen("query").iter().any(|q| q["transport"] == "tcp"));
    assert!(stage.seen("connected").is_empty());
    stage.call("api").succeeded();
    assert_eq!(stage.seen("request")[0]["headers"]["authorization"], json!([format!("Bearer {KEY}")]));
}
