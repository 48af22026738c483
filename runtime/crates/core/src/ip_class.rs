//! Which addresses may be reached: `classify` puts every address into exactly one class.
//!
//! Two rules. IPv4 is public only outside the table. IPv6 is public only inside `2000::/3` and
//! outside the table, so a block that is allocated in future is refused without a change here.
//! IPv4 inside IPv6 (mapped, translated, NAT64, 6to4, Teredo) is refused whole, never unwrapped and
//! allowed. The host's own interface addresses are not known here; the dialer adds them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// What kind of address it is, for the decision whether to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpClass {
    /// A public unicast address.
    Public,
    /// Loopback and "this host".
    Loopback,
    /// Private use: RFC 1918, RFC 4193, site-local.
    Private,
    /// Shared address space of carriers, RFC 6598.
    CarrierNat,
    /// Link-local; cloud metadata services live here.
    LinkLocal,
    /// A cloud platform's service on an address that looks public.
    CloudService,
    /// Documentation and benchmarking.
    Documentation,
    /// Multicast.
    Multicast,
    /// IPv4 carried in IPv6, or a translator's prefix.
    Translation,
    /// Reserved, or assigned to a protocol.
    Reserved,
}

impl IpClass {
    /// Whether the gate may connect to it.
    #[must_use]
    pub const fn is_public(self) -> bool {
        matches!(self, Self::Public)
    }

    /// The name used in the ledger and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::CarrierNat => "carrier_nat",
            Self::LinkLocal => "link_local",
            Self::CloudService => "cloud_service",
            Self::Documentation => "documentation",
            Self::Multicast => "multicast",
            Self::Translation => "translation",
            Self::Reserved => "reserved",
        }
    }
}

impl fmt::Display for IpClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// Refused IPv4 blocks with their class and source.
pub const IPV4_BLOCKS: &[(Ipv4Net, IpClass, &str)] = &[
    (v4(0, 0, 0, 0, 8), IpClass::Loopback, "RFC 791 and 1122, this network"),
    (v4(10, 0, 0, 0, 8), IpClass::Private, "RFC 1918"),
    (v4(100, 64, 0, 0, 10), IpClass::CarrierNat, "RFC 6598; cloud metadata and overlay networks too"),
    (v4(127, 0, 0, 0, 8), IpClass::Loopback, "RFC 1122"),
    (v4(168, 63, 129, 16, 32), IpClass::CloudService, "Azure platform service on a public address"),
    (v4(169, 254, 0, 0, 16), IpClass::LinkLocal, "RFC 3927; cloud metadata"),
    (v4(172, 16, 0, 0, 12), IpClass::Private, "RFC 1918"),
    (v4(192, 0, 0, 0, 24), IpClass::Reserved, "RFC 6890, 7335, 7600, 7723, 8155, 7050"),
    (v4(192, 0, 2, 0, 24), IpClass::Documentation, "RFC 5737"),
    (v4(192, 31, 196, 0, 24), IpClass::Reserved, "RFC 7535 AS112"),
    (v4(192, 52, 193, 0, 24), IpClass::Translation, "RFC 7450 AMT"),
    (v4(192, 88, 99, 0, 24), IpClass::Translation, "RFC 7526 6to4 relay"),
    (v4(192, 168, 0, 0, 16), IpClass::Private, "RFC 1918"),
    (v4(192, 175, 48, 0, 24), IpClass::Reserved, "RFC 7534 AS112"),
    (v4(198, 18, 0, 0, 15), IpClass::Documentation, "RFC 2544 benchmarking"),
    (v4(198, 51, 100, 0, 24), IpClass::Documentation, "RFC 5737"),
    (v4(203, 0, 113, 0, 24), IpClass::Documentation, "RFC 5737"),
    (v4(224, 0, 0, 0, 4), IpClass::Multicast, "RFC 5771"),
    (v4(240, 0, 0, 0, 4), IpClass::Reserved, "RFC 1112 and 919"),
];

/// Refused IPv6 blocks with their class and source. Those outside `2000::/3` are refused anyway;
/// they are listed for their class.
pub const IPV6_BLOCKS: &[(Ipv6Net, IpClass, &str)] = &[
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), IpClass::Loopback, "RFC 4291 unspecified"),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), IpClass::Loopback, "RFC 4291 loopback"),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 96), IpClass::Translation, "RFC 4291 IPv4-compatible"),
    (v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), IpClass::Translation, "RFC 4291 IPv4-mapped"),
    (v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96), IpClass::Translation, "RFC 2765 and 7915 IPv4-translated"),
    (v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96), IpClass::Translation, "RFC 6052 NAT64"),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), IpClass::Translation, "RFC 8215 local NAT64"),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), IpClass::Reserved, "RFC 6666 discard-only"),
    (v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64), IpClass::Reserved, "RFC 9780"),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), IpClass::Translation, "RFC 4380 Teredo"),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), IpClass::Reserved, "RFC 2928 protocol assignments"),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), IpClass::Documentation, "RFC 3849"),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), IpClass::Translation, "RFC 3056 6to4"),
    (v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48), IpClass::Reserved, "RFC 7534 AS112"),
    (v6([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16), IpClass::Reserved, "RFC 3701 6bone, returned"),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), IpClass::Documentation, "RFC 9637"),
    (v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16), IpClass::Reserved, "RFC 9602 SRv6 SIDs"),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), IpClass::Private, "RFC 4193"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), IpClass::LinkLocal, "RFC 4291"),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), IpClass::Private, "RFC 3879 site-local"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), IpClass::Multicast, "RFC 4291"),
];

/// Global unicast: the only part of IPv6 where anything is public.
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// Classifies an address. Total: every address has one class.
#[must_use]
pub fn classify(address: IpAddr) -> IpClass {
    match address {
        IpAddr::V4(address) => IPV4_BLOCKS
            .iter()
            .find(|(net, _, _)| net.contains(&address))
            .map_or(IpClass::Public, |(_, class, _)| *class),
        IpAddr::V6(address) => IPV6_BLOCKS.iter().find(|(net, _, _)| net.contains(&address)).map_or_else(
            || {
                if GLOBAL_UNICAST.contains(&address) { IpClass::Public } else { IpClass::Reserved }
            },
            |(_, class, _)| *class,
        ),
    }
}

#[cfg(test)]
mod tests;
