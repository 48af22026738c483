//! Every block at both ends and both neighbours, and well-known dangerous addresses by name.

use proptest::prelude::*;

use super::*;

fn class(text: &str) -> IpClass {
    classify(text.parse().unwrap())
}

/// First and last of every block are refused; the addresses just outside are classified separately.
#[test]
fn every_ipv4_block_is_refused_at_both_ends_and_its_neighbours_are_not_caught() {
    for (net, expected, source) in IPV4_BLOCKS {
        for inside in [net.network(), net.broadcast()] {
            assert_eq!(classify(inside.into()), *expected, "{inside} {source}");
        }
        let outside = [u32::from(net.network()).checked_sub(1), u32::from(net.broadcast()).checked_add(1)];
        for neighbour in outside.into_iter().flatten().map(Ipv4Addr::from) {
            let in_other = IPV4_BLOCKS.iter().any(|(other, _, _)| other.contains(&neighbour));
            assert_eq!(classify(neighbour.into()).is_public(), !in_other, "{neighbour} beside {net}");
        }
    }
}

#[test]
fn every_ipv6_block_is_refused_at_both_ends_and_its_neighbours_are_not_caught() {
    for (net, _, source) in IPV6_BLOCKS {
        for inside in [net.network(), net.broadcast()] {
            assert!(!classify(inside.into()).is_public(), "{inside} {source}");
        }
        let outside = [u128::from(net.network()).checked_sub(1), u128::from(net.broadcast()).checked_add(1)];
        for neighbour in outside.into_iter().flatten().map(Ipv6Addr::from) {
            let in_other = IPV6_BLOCKS.iter().any(|(other, _, _)| other.contains(&neighbour));
            let expected = GLOBAL_UNICAST.contains(&neighbour) && !in_other;
            assert_eq!(classify(neighbour.into()).is_public(), expected, "{neighbour} beside {net}");
        }
    }
}

#[test]
fn known_neighbours_pass() {
    for public in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "168.63.129.17",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2000::",
        "2001:200::",
        "2001:db7:ffff::",
        "2001:db9::",
        "2003::",
        "2606:4700::1111",
        "2620:4f:7fff::",
        "3ffd::",
        "3fff:1000::",
    ] {
        assert_eq!(class(public), IpClass::Public, "{public}");
    }
}

#[test]
fn well_known_dangers_are_refused_with_their_class() {
    for (text, expected) in [
        ("127.0.0.1", IpClass::Loopback),
        ("0.0.0.0", IpClass::Loopback),
        ("169.254.169.254", IpClass::LinkLocal),
        ("169.254.170.2", IpClass::LinkLocal),
        ("100.100.100.200", IpClass::CarrierNat),
        ("168.63.129.16", IpClass::CloudService),
        ("192.0.0.192", IpClass::Reserved),
        ("255.255.255.255", IpClass::Reserved),
        ("::1", IpClass::Loopback),
        ("::", IpClass::Loopback),
        ("::ffff:8.8.8.8", IpClass::Translation),
        ("::ffff:127.0.0.1", IpClass::Translation),
        ("::127.0.0.1", IpClass::Translation),
        ("::ffff:0:7f00:1", IpClass::Translation),
        ("64:ff9b::7f00:1", IpClass::Translation),
        ("64:ff9b:1::a9fe:a9fe", IpClass::Translation),
        ("2002:7f00:1::1", IpClass::Translation),
        ("2001:0:4136:e378::", IpClass::Translation),
        ("fd00:ec2::254", IpClass::Private),
        ("fe80::1", IpClass::LinkLocal),
        ("fec0::1", IpClass::Private),
        ("ff02::1", IpClass::Multicast),
        ("4000::", IpClass::Reserved),
        ("5f00::1", IpClass::Reserved),
    ] {
        assert_eq!(class(text), expected, "{text}");
    }
}

proptest! {
    /// The IPv4 rules again, from the standard library where it has them.
    #[test]
    fn nothing_that_std_calls_special_is_public(bits: u32) {
        let address = Ipv4Addr::from(bits);
        let special = address.is_private() || address.is_loopback() || address.is_link_local()
            || address.is_broadcast() || address.is_documentation() || address.is_multicast()
            || address.is_unspecified();
        prop_assert!(!(special && classify(address.into()).is_public()), "{}", address);
    }

    #[test]
    fn ipv6_outside_global_unicast_is_never_public(bits: u128) {
        let address = Ipv6Addr::from(bits);
        let global = address.segments()[0] & 0xe000 == 0x2000;
        prop_assert!(global || !classify(address.into()).is_public(), "{}", address);
    }
}
