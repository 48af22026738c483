//! D: hostile DNS answers. `netns` has the same tests with real DNS and a real kernel.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis_core::fault::Code;
use portcullis_core::host_pattern::HostPattern;
use portcullis_core::limits::Limits;
use portcullis_core::outbound::{BoxFuture, OutboundError};
use portcullis_egress::{Resolve, ResolveError};

use super::harness::{HOST, Harness, OTHER, Setup, URL, get};
use crate::support::fake_network::DialManner;
use crate::support::{PRIVATE, PUBLIC, PUBLIC_V6};

const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));

/// Gives these answers one after the other; `None` is an error. After the last one, lookups stay pending.
struct InTurn(Mutex<VecDeque<Option<Vec<IpAddr>>>>);

impl InTurn {
    fn new(answers: &[Option<&[IpAddr]>]) -> Arc<Self> {
        Arc::new(Self(Mutex::new(answers.iter().map(|a| a.map(<[IpAddr]>::to_vec)).collect())))
    }

    /// The number of answers left.
    fn left(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Resolve for InTurn {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async move {
            let next = self.0.lock().unwrap().pop_front();
            match next {
                Some(Some(addresses)) => Ok(addresses),
                Some(None) => Err(ResolveError(format!("SERVFAIL for {host}"))),
                None => std::future::pending().await,
            }
        })
    }
}

async fn in_turn(answers: &[Option<&[IpAddr]>]) -> (Harness, Arc<InTurn>) {
    let resolver = InTurn::new(answers);
    let limits = Limits { dns_ms: 100, ..Limits::default() };
    let setup = Setup { resolver: Some(Arc::clone(&resolver) as _), limits, ..Setup::default() };
    (setup.start().await, resolver)
}

/// Asserts that a request is refused for its addresses, and that the ledger has all of them.
async fn forbidden(harness: &Harness, answers: &[IpAddr]) {
    harness.names.tell(HOST, answers);
    harness.fails(get(URL), Code::AddressForbidden).await;
    let attempt = harness.log.records().pop().unwrap().1;
    assert_eq!(attempt.addresses, answers.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!((attempt.chosen_address, attempt.credential_slot), (None, None));
}

#[tokio::test]
async fn d1_a_private_answer_is_refused_and_looks_like_no_answer_to_a_guest() {
    let harness = Harness::usual().await;
    for address in [PRIVATE, METADATA, "127.0.0.1".parse().unwrap(), "fd00:ec2::254".parse().unwrap()] {
        forbidden(&harness, &[address]).await;
        assert_eq!(harness.send(get(URL)).await.answer.unwrap_err(), OutboundError::DnsFailed);
    }
    harness.names.tell(HOST, &[PUBLIC]);
    harness.passes(get(URL)).await;
}

#[tokio::test]
async fn d2_a_name_that_rebinds_is_connected_to_by_its_first_answer_alone() {
    let (harness, resolver) = in_turn(&[Some(&[PUBLIC]), Some(&[PRIVATE]), Some(&[PUBLIC_V6])]).await;
    harness.passes(get(URL)).await;
    assert_eq!(resolver.left(), 2, "one lookup for one connection");
    assert_eq!(harness.dialer.dialed(), [SocketAddr::new(PUBLIC, 443)]);
    harness.gate.drop_connections(|_| true);
    harness.fails(get(URL), Code::AddressForbidden).await;
    assert_eq!(harness.dialer.dialed().len(), 1);
    harness.passes(get(URL)).await;
    assert_eq!(harness.dialer.dialed()[1], SocketAddr::new(PUBLIC_V6, 443));
}

#[tokio::test]
async fn d3_one_private_address_among_public_ones_refuses_all() {
    let harness = Harness::usual().await;
    for answers in [[PUBLIC, PRIVATE], [PRIVATE, PUBLIC], [PUBLIC, METADATA]] {
        forbidden(&harness, &answers).await;
    }
    harness.names.tell(HOST, &[PUBLIC, PUBLIC]);
    harness.passes(get(URL)).await;
}

#[tokio::test]
async fn d4_a_private_address_of_the_other_family_refuses_all() {
    let harness = Harness::usual().await;
    let local: IpAddr = "fd00:ec2::254".parse().unwrap();
    for answers in [[PUBLIC, local], [local, PUBLIC], [PUBLIC_V6, PRIVATE]] {
        forbidden(&harness, &answers).await;
    }
    harness.names.tell(HOST, &[PUBLIC, PUBLIC_V6]);
    harness.passes(get(URL)).await;
}

#[tokio::test]
async fn d5_a_failed_lookup_is_not_tried_again_further_down() {
    let (harness, resolver) = in_turn(&[None, Some(&[PUBLIC]), None, Some(&[PRIVATE])]).await;
    harness.fails(get(URL), Code::DnsFailed).await;
    assert_eq!(resolver.left(), 3, "one lookup, and it failed");
    harness.passes(get(URL)).await;
    harness.gate.drop_connections(|_| true);
    harness.fails(get(URL), Code::DnsFailed).await;
    harness.fails(get(URL), Code::AddressForbidden).await;
    assert_eq!(resolver.left(), 0);
}

#[tokio::test]
async fn d6_no_name_no_answer_too_many_answers_and_no_end_are_failures() {
    let (harness, resolver) = in_turn(&[None, Some(&[]), Some(&[PUBLIC; 17]), Some(&[PUBLIC; 16])]).await;
    for _ in 0..3 {
        harness.fails(get(URL), Code::DnsFailed).await;
    }
    harness.passes(get(URL)).await;
    assert_eq!(resolver.left(), 0);
    harness.gate.drop_connections(|_| true);
    let started = Instant::now();
    harness.fails(get(URL), Code::DnsFailed).await;
    assert!(started.elapsed() < Duration::from_secs(5), "a lookup that never ends ends at its limit");
}

#[tokio::test]
async fn d7_the_name_of_the_url_is_asked_for_and_no_other() {
    // Aliases and search lists of a real server are in `netns`; their addresses are judged as well.
    let harness = Harness::usual().await;
    for name in ["metadata.google.internal", "api.example-saas.com.internal", "api"] {
        harness.names.tell(name, &[PUBLIC]);
        harness.refuses(get(&format!("https://{name}/v1/things")), Code::HostNotInConnector).await;
    }
    forbidden(&harness, &[METADATA]).await;
    harness.names.tell(HOST, &[PUBLIC]);
    harness.passes(get(URL)).await;
    assert_eq!(harness.names.asked(), [HOST, HOST]);
}

#[tokio::test]
async fn d8_no_entry_of_a_list_makes_an_address_reachable() {
    for entry in ["10.0.0.5", "10.0.0.5/32", "[fd00::1]", "fd00::1", "10.0.0.*", "127.0.0.1:443"] {
        assert!(HostPattern::parse(entry).is_err(), "{entry}");
    }
    // A permitted host does not permit the next one, and an exact entry does not permit a private address.
    let setup = Setup { connector: vec![HOST, OTHER], ..Setup::default() };
    let harness = setup.start().await;
    harness.names.tell(OTHER, &[PRIVATE]);
    harness.passes(get(URL)).await;
    harness.fails(get("https://files.example-saas.com/v1/things"), Code::AddressForbidden).await;
    harness.names.tell(OTHER, &[PUBLIC]);
    harness.passes(get("https://files.example-saas.com/v1/things")).await;
}

#[tokio::test]
async fn d9_names_of_the_machine_and_its_cluster_lead_nowhere() {
    let harness = Harness::usual().await;
    for name in ["localhost", "ip6-localhost", "ip6-loopback", "kubernetes.default.svc", "a.localhost"] {
        harness.names.tell(name, &["127.0.0.1".parse().unwrap()]);
        harness.refuses(get(&format!("https://{name}/")), Code::HostNotInConnector).await;
    }
    for name in ["localhost", "ip6-localhost", "a.localhost", "metadata.google.internal", "printer.local"] {
        assert!(HostPattern::parse(name).is_err(), "{name}");
    }
    // A listed name of a cluster is still judged by its address.
    let setup = Setup {
        connector: vec!["kubernetes.default.svc", HOST],
        templates: vec!["https://kubernetes.default.svc/".to_owned(), URL.to_owned()],
        ..Setup::default()
    };
    let harness = setup.start().await;
    harness.names.tell("kubernetes.default.svc", &["10.96.0.1".parse().unwrap()]);
    harness.fails(get("https://kubernetes.default.svc/"), Code::AddressForbidden).await;
    harness.passes(get(URL)).await;
}

#[tokio::test]
async fn d10_a_peer_that_was_not_asked_for_is_dropped_before_tls() {
    let harness = Harness::usual().await;
    for peer in [
        SocketAddr::new(PRIVATE, 443),
        SocketAddr::new(PUBLIC_V6, 443),
        SocketAddr::new(PUBLIC, 8443),
        "127.0.0.1:443".parse().unwrap(),
    ] {
        harness.dialer.behave(DialManner::Lying(peer));
        let sent = harness.send(get(URL)).await;
        assert_eq!(sent.report.failure, Some(Code::AddressForbidden), "{peer}");
    }
    assert_eq!((harness.opens(), harness.upstream.sessions()), (0, 0), "no credential, not even a handshake");
    harness.dialer.behave(DialManner::Honest);
    harness.passes(get(URL)).await;
    assert_eq!((harness.opens(), harness.upstream.sessions()), (1, 1));
}

#[tokio::test]
async fn d12_a_host_that_is_not_allowed_is_not_looked_up() {
    let harness = Harness::usual().await;
    let stolen = "c2stbGl2ZS03ZjNhOWM1MQ";
    for url in [
        format!("https://{stolen}.evil.com/"),
        format!("https://{stolen}.example-saas.com.evil.com/"),
        format!("http://{stolen}.example-saas.com/"),
        format!("https://{stolen}@api.example-saas.com/"),
    ] {
        assert!(harness.send(get(&url)).await.answer.is_err());
    }
    // Under the connector's wildcard, but not the host of the action.
    harness.refuses(get(&format!("https://{stolen}.example-saas.com/v1/things")), Code::PathNotGranted).await;
    assert!(harness.names.asked().is_empty());
    harness.passes(get(URL)).await;
    assert_eq!(harness.names.asked(), [HOST]);
}
