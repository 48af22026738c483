//! Who opens a connection to somebody else: the gate for tenants' calls, and one crate for the operator's own peers.

use super::{PRODUCT, sources};

/// Where a socket is connected: file, how often, and to whom.
const CONNECTED: &[(&str, usize, &str)] = &[
    ("runtime/crates/egress/src/dial.rs", 1, "third parties, by an address that was checked"),
    ("runtime/crates/operator-peer/src/lib.rs", 2, "peers that the configuration names"),
    ("runtime/crates/stand-in/src/lib.rs", 1, "the demo's third party, on loopback"),
    ("runtime/src/cli/demo/client.rs", 1, "the demo's own server, on loopback"),
    ("runtime/src/control.rs", 1, "the server that has the data directory, by its socket in it"),
];

/// Who names a peer of the operator, and where its address comes from.
const NAMED: &[(&str, usize, &str)] =
    &[("runtime/crates/store-postgres/src/dialing.rs", 2, "the database: store in the configuration")];

/// Files with one of these texts, and how often.
fn found(texts: &[&str]) -> Vec<(String, usize)> {
    let count = |text: &str| texts.iter().map(|wanted| text.matches(wanted).count()).sum();
    let counted = sources(PRODUCT).into_iter().map(|source| (source.path.clone(), count(source.product())));
    counted.filter(|(_, times)| *times > 0).collect()
}

fn listed(list: &[(&str, usize, &str)]) -> Vec<(String, usize)> {
    list.iter().map(|(path, times, _)| ((*path).to_owned(), *times)).collect()
}

#[test]
fn sockets_are_connected_in_listed_places_only() {
    assert_eq!(found(&["TcpStream::connect", "UnixStream::connect"]), listed(CONNECTED));
}

#[test]
fn a_peer_of_the_operator_is_named_by_listed_callers_only() {
    assert_eq!(found(&["OperatorPeer::host(", "OperatorPeer::socket("]), listed(NAMED));
}

#[test]
fn the_driver_of_the_database_dials_nobody_by_itself() {
    // Its own ways to connect: each would pass by the crate that dials.
    let own = found(&["from_config(", "tokio_postgres::connect(", ".connect(NoTls)"]);
    let of_the_driver: Vec<_> = own.iter().filter(|(path, _)| path.contains("store-postgres")).collect();
    assert!(of_the_driver.is_empty(), "{of_the_driver:?}");
}
