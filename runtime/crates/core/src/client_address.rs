//! Where a request came from: the address of its connection, or what a trusted proxy says of the caller behind it.
//!
//! `Forwarded` (RFC 7239) and `X-Forwarded-For` are believed hop by hop from the nearest proxy on, as far as each hop is
//! trusted: what stands left of that a caller may have written.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// Hops that are followed; chains of proxies are shorter.
const HOPS_MAX: usize = 16;

/// The proxies whose word counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Reads networks such as `10.0.0.0/8`, or single addresses.
    ///
    /// # Errors
    /// A sentence naming the first entry that is none.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let network = |text: &String| {
            let single = || text.parse::<IpAddr>().ok().map(|address| IpNet::from(address.to_canonical()));
            let found = text.parse::<IpNet>().ok().or_else(single);
            // Why: whoever can reach the server would be believed, which nobody means.
            let found = found.filter(|network| network.prefix_len() > 0);
            found.ok_or_else(|| {
                format!(
                    "has {text:?}; write a network such as 10.0.0.0/8 or an address, none of all addresses"
                )
            })
        };
        texts.iter().map(network).collect::<Result<_, _>>().map(Self)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The address of the caller, given that of the connection and the lines of both headers.
    #[must_use]
    pub fn source(&self, peer: IpAddr, forwarded: &[&str], x_forwarded_for: &[&str]) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let named = self.behind(peer, forwarded, address_of_forwarded);
        let listed = self.behind(peer, x_forwarded_for, address_of);
        match (forwarded.is_empty(), x_forwarded_for.is_empty()) {
            (true, _) => listed,
            (_, true) => named,
            // Why the proxy's own where they differ: one of them is the caller's, which the proxy let pass.
            _ if named == listed => named,
            _ => peer,
        }
    }

    /// The first address that is not trusted, from the nearest hop on.
    fn behind(&self, peer: IpAddr, lines: &[&str], read: impl Fn(&str) -> Option<IpAddr>) -> IpAddr {
        let mut last = peer;
        // Why split before anything else: a quote that a caller left open must not swallow what a proxy wrote behind it.
        let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
        for hop in hops.take(HOPS_MAX) {
            let Some(address) = read(hop.trim()) else { return last };
            last = address;
            if !self.trusts(address) {
                return address;
            }
        }
        last
    }
}

/// The address in the `for` of one element of `Forwarded`.
fn address_of_forwarded(element: &str) -> Option<IpAddr> {
    let mut named = element.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    });
    let value = named.next()?;
    // Why none with two: which of them the proxy wrote is not known.
    if named.next().is_some() {
        return None;
    }
    let plain = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    address_of(plain.unwrap_or(value))
}

/// An address, perhaps with a port; one of IPv6 may stand in brackets.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let found = text.parse::<IpAddr>().ok().or_else(with_port).or_else(bare);
    found.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(texts: &[&str]) -> TrustedProxies {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        TrustedProxies::parse(&texts).unwrap()
    }

    fn source(trusted: &TrustedProxies, peer: &str, forwarded: &[&str], x: &[&str]) -> String {
        trusted.source(peer.parse().unwrap(), forwarded, x).to_string()
    }

    #[test]
    fn nobody_is_believed_who_is_not_trusted() {
        let none = TrustedProxies::default();
        assert_eq!(source(&none, "10.0.0.1", &["for=192.0.2.1"], &["192.0.2.1"]), "10.0.0.1");
        let some = proxies(&["10.0.0.0/8"]);
        assert_eq!(source(&some, "11.0.0.1", &[], &["192.0.2.1"]), "11.0.0.1");
        assert_eq!(source(&some, "10.0.0.1", &[], &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(source(&some, "::ffff:10.0.0.1", &[], &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(source(&some, "10.0.0.1", &[], &[]), "10.0.0.1");
    }

    #[test]
    fn the_last_hop_that_is_not_trusted_is_the_caller() {
        let some = proxies(&["10.0.0.0/8", "2001:db8::1"]);
        for (line, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("1.1.1.1, 192.0.2.1", "192.0.2.1"),
            ("1.1.1.1, 192.0.2.1, 10.9.9.9", "192.0.2.1"),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("[2001:db8::2]:4711", "2001:db8::2"),
            ("2001:db8::2, 2001:db8::1", "2001:db8::2"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
            ("unknown", "10.0.0.1"),
            ("1.1.1.1, nonsense", "10.0.0.1"),
            ("1.1.1.1, nonsense, 10.3.3.3", "10.3.3.3"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(source(&some, "10.0.0.1", &[], &[line]), expected, "{line}");
        }
        assert_eq!(source(&some, "10.0.0.1", &[], &["1.1.1.1", "192.0.2.1"]), "192.0.2.1");
        let long = vec!["10.1.1.1"; 1000].join(",");
        assert_eq!(source(&some, "10.0.0.1", &[], &[&format!("192.0.2.1,{long}")]), "10.1.1.1");
    }

    #[test]
    fn forwarded_is_read_from_the_right_whatever_a_caller_wrote() {
        let some = proxies(&["10.0.0.0/8"]);
        for (line, expected) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=\"[2001:db8::2]:4711\";proto=https", "2001:db8::2"),
            ("proto=https; by=10.0.0.1; FOR = 192.0.2.1", "192.0.2.1"),
            ("for=1.1.1.1, for=192.0.2.1, for=10.1.1.1", "192.0.2.1"),
            ("for=\"1.1.1.1, for=192.0.2.1", "192.0.2.1"),
            ("for=_hidden, for=10.1.1.1", "10.1.1.1"),
            ("for=1.1.1.1;for=192.0.2.1", "10.0.0.1"),
            ("by=1.1.1.1", "10.0.0.1"),
        ] {
            assert_eq!(source(&some, "10.0.0.1", &[line], &[]), expected, "{line}");
        }
    }

    #[test]
    fn a_header_that_the_proxy_did_not_write_does_not_count() {
        let some = proxies(&["10.0.0.0/8"]);
        assert_eq!(source(&some, "10.0.0.1", &["for=192.0.2.1"], &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(source(&some, "10.0.0.1", &["for=1.1.1.1"], &["192.0.2.1"]), "10.0.0.1");
    }

    #[test]
    fn all_addresses_are_no_proxy() {
        for broken in ["0.0.0.0/0", "::/0", "10.0.0.0/33", "proxy.example.com", ""] {
            let error = TrustedProxies::parse(&[broken.to_owned()]).unwrap_err();
            assert!(error.contains(&format!("{broken:?}")), "{error}");
        }
        for sound in ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::1"] {
            assert!(TrustedProxies::parse(&[sound.to_owned()]).is_ok(), "{sound}");
        }
    }
}
