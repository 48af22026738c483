//! I: spellings of addresses, as the host of a URL, as an entry of a list, and as a DNS answer.
//!
//! The class of each address, at both ends of every block and just outside, is tested beside the table. Here
//! addresses of every block go through the steps up to a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portcullis_core::fault::Code;
use portcullis_core::host_pattern::HostPattern;
use portcullis_core::ip_class::{IPV4_BLOCKS, IPV6_BLOCKS, classify};
use portcullis_core::limits::Limits;
use portcullis_core::outbound::Method;
use portcullis_egress::pin;

use super::harness::{HOST, Harness, URL, get};
use crate::support::{FakeDns, PUBLIC};

/// Asserts for one spelling: a URL with it is refused before any lookup, a list cannot have it, and the
/// address that some parser reads in it is refused as a DNS answer.
async fn is_no_way_in(spelling: &str, code: Code, address: Option<&str>) {
    let harness = Harness::usual().await;
    for path in ["/", "/v1/things", ":443/", ""] {
        harness.refuses(get(&format!("https://{spelling}{path}")), code).await;
    }
    assert!(harness.names.asked().is_empty());
    assert!(HostPattern::parse(spelling).is_err(), "{spelling} is no entry");
    harness.passes(get(URL)).await;
    let Some(address) = address else { return };
    let harness = Harness::usual().await;
    let address: IpAddr = address.parse().unwrap();
    harness.names.tell(HOST, &[address]);
    harness.fails(get(URL), Code::AddressForbidden).await;
    harness.names.tell(HOST, &[PUBLIC, address]);
    harness.fails(get(URL), Code::AddressForbidden).await;
    assert_eq!(harness.names.asked(), [HOST, HOST]);
    harness.names.tell(HOST, &[PUBLIC]);
    harness.passes(get(URL)).await;
}

macro_rules! spellings {
    ($(fn $name:ident($spelling:literal, $code:ident $(, $address:literal)?);)*) => {
        $(#[tokio::test]
        async fn $name() {
            is_no_way_in($spelling, Code::$code, [$($address)?].first().copied()).await;
        })*
    };
}

spellings! {
    fn i1_two_parts("127.1", IpLiteral, "127.0.0.1");
    fn i2_three_parts("127.0.1", IpLiteral, "127.0.0.1");
    fn i3_zero("0", IpLiteral, "0.0.0.0");
    fn i4_hex_and_a_part("0x7f.1", IpLiteral, "127.0.0.1");
    fn i5_one_hex_number("0x7f000001", IpLiteral, "127.0.0.1");
    fn i6_one_number("2130706433", IpLiteral, "127.0.0.1");
    fn i7_one_octal_number("017700000001", IpLiteral, "127.0.0.1");
    fn i8_an_octal_part("0177.0.0.1", IpLiteral, "127.0.0.1");
    fn i9_octal_with_zeroes("00000177.1", IpLiteral, "127.0.0.1");
    fn i10_a_trailing_dot("127.0.0.1.", IpLiteral, "127.0.0.1");
    fn i11_circled_digits("①②⑦.⓪.⓪.①", UrlInvalid, "127.0.0.1");
    fn i12_ideographic_dots("127。0。0。1", UrlInvalid, "127.0.0.1");
    fn i13_octal_with_a_letter("0o177.0.0.1", UrlInvalid, "127.0.0.1");
    fn i14_parts_over_a_byte("425.510.425.510", IpLiteral, "169.254.169.254");
    fn i15_a_number_over_four_bytes("7147006462", IpLiteral, "169.254.169.254");
    fn i16_metadata_in_hex("0xA9FEA9FE", IpLiteral, "169.254.169.254");
    fn i17_hex_over_four_bytes("0x41414141A9FEA9FE", IpLiteral, "169.254.169.254");
    fn i18_metadata_in_padded_octal("0251.00376.000251.0000376", IpLiteral, "169.254.169.254");
    fn i19_loopback("[::1]", IpLiteral, "::1");
    fn i20_loopback_in_full("[0:0:0:0:0:0:0:1]", IpLiteral, "0:0:0:0:0:0:0:1");
    fn i21_unspecified("[::]", IpLiteral, "::");
    fn i22_mapped_dotted("[::ffff:127.0.0.1]", IpLiteral, "::ffff:127.0.0.1");
    fn i23_mapped_hex("[::ffff:a9fe:a9fe]", IpLiteral, "::ffff:a9fe:a9fe");
    fn i24_compatible("[::127.0.0.1]", IpLiteral, "::127.0.0.1");
    fn i25_translated("[::ffff:0:7f00:1]", IpLiteral, "::ffff:0:7f00:1");
    fn i26_nat64("[64:ff9b::7f00:1]", IpLiteral, "64:ff9b::7f00:1");
    fn i27_local_nat64("[64:ff9b:1::a9fe:a9fe]", IpLiteral, "64:ff9b:1::a9fe:a9fe");
    fn i28_six_to_four("[2002:7f00:1::1]", IpLiteral, "2002:7f00:1::1");
    fn i29_teredo("[2001:0:5ef5:79fb:0:59d:a0c1:6b92]", IpLiteral, "2001:0:5ef5:79fb:0:59d:a0c1:6b92");
    fn i30_link_local_with_a_zone("[fe80::1%25eth0]", IpLiteral, "fe80::1");
    fn i31_metadata_over_ipv6("[fd00:ec2::254]", IpLiteral, "fd00:ec2::254");
}

/// Spellings of public addresses are refused too: a list allows names only.
#[tokio::test]
async fn i0_a_public_address_is_no_host_either() {
    let harness = Harness::usual().await;
    for literal in ["93.184.216.34", "1572395042", "0x5db8d822", "[2606:2800:220:1::1]", "[::ffff:1.1.1.1]"] {
        harness.refuses(get(&format!("https://{literal}/v1/things")), Code::IpLiteral).await;
    }
    harness.passes(get(URL)).await;
}

#[tokio::test]
async fn both_ends_of_every_block_are_refused_as_answers_and_their_neighbours_pass() {
    let ends = |first: IpAddr, last: IpAddr| [first, last];
    let mut blocks: Vec<[IpAddr; 2]> =
        IPV4_BLOCKS.iter().map(|(net, ..)| ends(net.network().into(), net.broadcast().into())).collect();
    blocks.extend(IPV6_BLOCKS.iter().map(|(net, ..)| ends(net.network().into(), net.broadcast().into())));
    let (mut refused, mut passed) = (0, 0);
    for [first, last] in blocks {
        for forbidden in [first, last] {
            for answers in [vec![forbidden], vec![PUBLIC, forbidden], vec![forbidden, PUBLIC]] {
                assert_eq!(pinned(&answers).await, Err(Code::AddressForbidden), "{forbidden}");
                refused += 1;
            }
        }
        for beside in [before(first), after(last)].into_iter().flatten() {
            if classify(beside).is_public() {
                assert_eq!(pinned(&[beside]).await, Ok(vec![beside]));
                passed += 1;
            }
        }
    }
    assert_eq!(refused, (IPV4_BLOCKS.len() + IPV6_BLOCKS.len()) * 6);
    assert!(passed > 30, "{passed}");
}

/// The result of [`pin`] for these answers.
async fn pinned(answers: &[IpAddr]) -> Result<Vec<IpAddr>, Code> {
    let names = FakeDns::default();
    names.tell(HOST, answers);
    let target = granted().await;
    let mut seen = Vec::new();
    let pinned = pin(&names, target, &Limits::default(), &[], &mut seen).await;
    assert_eq!(seen.len(), answers.len(), "every address goes to the ledger");
    pinned.map(|pinned| pinned.addresses().iter().map(std::net::SocketAddr::ip).collect())
}

async fn granted() -> portcullis_core::grant::PermittedTarget {
    use portcullis_action::UrlTemplate;
    use portcullis_core::grant::{ActionScope, EgressGrant};
    let scope = ActionScope::new(Method::Get, &UrlTemplate::parse(URL).unwrap(), &Default::default());
    let rules = super::harness::Setup::default().rules();
    EgressGrant::new(rules, vec![scope.unwrap()], 8192).permit(URL.as_bytes(), Method::Get).1.unwrap()
}

fn before(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(a) => u32::from(a).checked_sub(1).map(|n| Ipv4Addr::from(n).into()),
        IpAddr::V6(a) => u128::from(a).checked_sub(1).map(|n| Ipv6Addr::from(n).into()),
    }
}

fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(a) => u32::from(a).checked_add(1).map(|n| Ipv4Addr::from(n).into()),
        IpAddr::V6(a) => u128::from(a).checked_add(1).map(|n| Ipv6Addr::from(n).into()),
    }
}

#[tokio::test]
async fn an_address_of_the_machines_own_is_refused_although_it_is_public() {
    let names = FakeDns::default();
    names.tell(HOST, &[PUBLIC]);
    let mut seen = Vec::new();
    let judged = pin(&names, granted().await, &Limits::default(), &[PUBLIC], &mut seen).await;
    assert_eq!(judged.map(|_| ()), Err(Code::AddressForbidden));
    assert!(pin(&names, granted().await, &Limits::default(), &[], &mut seen).await.is_ok());
}
