//! Every address has a class, and no address that another reading calls special is public.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use portcullis_core::ip_class::classify;

fn v4_is_special(a: Ipv4Addr) -> bool {
    let [first, second, ..] = a.octets();
    a.is_private()
        || a.is_loopback()
        || a.is_link_local()
        || a.is_broadcast()
        || a.is_documentation()
        || a.is_multicast()
        || first == 0
        || first >= 240
        || (first == 100 && (64..128).contains(&second))
        || (first == 198 && (18..20).contains(&second))
}

fuzz_target!(|bits: (u128, u32)| {
    let v4 = Ipv4Addr::from(bits.1);
    if v4_is_special(v4) {
        assert!(!classify(IpAddr::V4(v4)).is_public(), "{v4}");
    }
    let v6 = Ipv6Addr::from(bits.0);
    let public = classify(IpAddr::V6(v6)).is_public();
    assert!(!public || v6.segments()[0] & 0xe000 == 0x2000, "{v6}");
    assert!(!(public && (v6.is_loopback() || v6.is_multicast() || v6.is_unspecified())), "{v6}");
    // IPv4 inside IPv6 is refused, whatever it contains.
    let [a, b, c, d] = v4.octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    for carried in [
        Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low),
        Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        Ipv6Addr::new(0x2001, 0, high, low, 0, 0, 0, 0),
    ] {
        assert!(!classify(IpAddr::V6(carried)).is_public(), "{carried}");
    }
});
