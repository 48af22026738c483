//! Every refused block at first, last and both neighbours: as a DNS answer, and spelled as a host.

use std::net::{Ipv4Addr, Ipv6Addr};

use portcullis_core::ip_class::{IPV4_BLOCKS, IPV6_BLOCKS};
use portcullis_core::target::Target;

use super::*;

struct Table(IpAddr);

impl Resolve for Table {
    fn lookup<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async { Ok(vec![self.0]) })
    }
}

fn v4_samples() -> Vec<Ipv4Addr> {
    let ends = IPV4_BLOCKS.iter().flat_map(|(net, _, _)| {
        let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
        [Some(first), Some(last), first.checked_sub(1), last.checked_add(1)]
    });
    ends.flatten().map(Ipv4Addr::from).collect()
}

fn v6_samples() -> Vec<Ipv6Addr> {
    let ends = IPV6_BLOCKS.iter().flat_map(|(net, _, _)| {
        let (first, last) = (u128::from(net.network()), u128::from(net.broadcast()));
        [Some(first), Some(last), first.checked_sub(1), last.checked_add(1)]
    });
    ends.flatten().map(Ipv6Addr::from).collect()
}

/// The same rule from the tables, without `classify`.
fn is_reachable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => !IPV4_BLOCKS.iter().any(|(net, _, _)| net.contains(&a)),
        IpAddr::V6(a) => {
            a.segments()[0] & 0xe000 == 0x2000 && !IPV6_BLOCKS.iter().any(|(net, _, _)| net.contains(&a))
        }
    }
}

#[tokio::test]
async fn every_block_and_its_neighbours_are_judged_right_as_dns_answers() {
    let samples = v4_samples().into_iter().map(IpAddr::V4).chain(v6_samples().into_iter().map(IpAddr::V6));
    let (mut allowed, mut refused) = (0, 0);
    for address in samples {
        let judged =
            judge_host(&Table(address), "a.example.com", &Limits::default(), &[], &mut Vec::new()).await;
        let expected = if is_reachable(address) { Ok(vec![address]) } else { Err(Code::AddressForbidden) };
        assert_eq!(judged, expected, "{address}");
        if is_reachable(address) { allowed += 1 } else { refused += 1 }
    }
    assert!(allowed > 20 && refused > 80, "{allowed} allowed, {refused} refused");
}

/// Spellings that one parser or another reads as this address.
fn spellings(address: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = address.octets();
    let n = u32::from(address);
    let tail = n & 0x00ff_ffff;
    vec![
        address.to_string(),
        format!("{address}."),
        n.to_string(),
        format!("0x{n:x}"),
        format!("0X{n:X}"),
        format!("0{n:o}"),
        format!("{a}.{tail}"),
        format!("0x{a:x}.{tail}"),
        format!("{a}.{b}.{}", n & 0xffff),
        format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("00000{a:o}.000{b:o}.{c}.{d}"),
        format!("{}.{}.{c}.{d}", u32::from(a) + 256, u32::from(b) + 256),
        format!("[::ffff:{address}]"),
        format!("[::{address}]"),
        format!("[::ffff:0:{address}]"),
        format!("[64:ff9b::{address}]"),
        format!("[2002:{:x}:{:x}::1]", n >> 16, n & 0xffff),
        format!("{a}%2e{b}%2e{c}%2e{d}"),
        format!("{a}。{b}。{c}。{d}"),
    ]
}

#[test]
fn no_spelling_of_any_address_stands_for_a_host() {
    for address in v4_samples() {
        for host in spellings(address) {
            let parsed = Target::parse(format!("https://{host}/").as_bytes(), 8192);
            assert!(matches!(parsed, Err(Code::IpLiteral | Code::UrlInvalid)), "{host}: {parsed:?}");
        }
    }
    for address in v6_samples() {
        for host in [format!("[{address}]"), format!("[{address}%25eth0]")] {
            let parsed = Target::parse(format!("https://{host}/").as_bytes(), 8192);
            assert_eq!(parsed, Err(Code::IpLiteral), "{host}");
        }
    }
    assert!(Target::parse(b"https://127.0.0.1.example.com/", 8192).is_ok(), "a name is a name");
}
