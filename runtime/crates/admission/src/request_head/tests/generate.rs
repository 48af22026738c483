//! Requests for the comparison with hyper: mostly valid, with the faults on which parsers disagree.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// The bytes of a request, and of what follows it.
pub(crate) fn request() -> impl Strategy<Value = Vec<u8>> {
    let fields = prop_oneof![
        30 => vec(field(), 0..6),
        1 => vec(field(), 40..110),
    ];
    let parts = (line(), host(), fields, tail(), vec(edit(), 0..3), 0..10_u8);
    parts.prop_map(|(line, host, fields, tail, edits, edited)| {
        let mut bytes = [line, host].concat();
        fields.iter().for_each(|field| bytes.extend_from_slice(field));
        bytes.extend_from_slice(&tail);
        // Why not always: one edit is enough to make most requests invalid.
        if edited < 2 {
            edits.iter().for_each(|edit| edit.apply(&mut bytes));
        }
        bytes
    })
}

/// The field that every request has once.
fn host() -> impl Strategy<Value = Vec<u8>> {
    let others =
        &["", "host: x\r\nHost: y\r\n", "HOST: [::1]:80\r\n", "host: u@x\r\n", "host:\r\n", "host: x\n"];
    mostly("host: x\r\n", others)
}

/// Usually the common choice, otherwise one of the others.
fn mostly(common: &'static str, others: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![60 => Just(common), 1 => select(others)].prop_map(|text| text.as_bytes().to_vec())
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let before = mostly("", &["\r\n", "\n", "\r\n\r\n", "\r", " ", "\0"]);
    let space = || mostly(" ", &["  ", "\t", "", " \t", "\u{b}"]);
    let version = mostly(
        "HTTP/1.1",
        &[
            "HTTP/1.0",
            "HTTP/2.0",
            "HTTP/1.2",
            "HTTP/1.10",
            "http/1.1",
            "HTTP/1.1 ",
            "",
            "HTTP/0.9",
            "HTTPS/1.1",
        ],
    );
    let parts = (before, method(), space(), target(), space(), version, line_end());
    parts.prop_map(|(a, b, c, d, e, f, g)| [a, b, c, d, e, f, g].concat())
}

fn line_end() -> impl Strategy<Value = Vec<u8>> {
    mostly("\r\n", &["\n", "\n", "\n", "\r", "\r\r\n", "\n\r", "\r\n\r\n", "\u{b}\n", "\0\r\n", "\r\n "])
}

fn method() -> impl Strategy<Value = Vec<u8>> {
    let known = select(vec!["POST", "GET", "HEAD", "PUT", "OPTIONS", "DELETE", "PATCH", "TRACE"]);
    let odd = select(vec![
        "post",
        "Post",
        "POst",
        "CONNECT",
        "PRI",
        "M-SEARCH",
        "A",
        "X!#$%&'*+-.^_`|~9",
        "",
        "P(T",
    ]);
    prop_oneof![
        20 => known.prop_map(|text| text.as_bytes().to_vec()),
        2 => odd.prop_map(|text| text.as_bytes().to_vec()),
        1 => "[A-Z][!-~]{0,12}".prop_map(String::into_bytes),
    ]
}

fn target() -> impl Strategy<Value = Vec<u8>> {
    let odd = select(vec![
        "*",
        "/",
        "//",
        "//evil.example/x",
        "",
        "/#",
        "/a#b",
        "/a?b#c",
        "http://a.example",
        "http://a.example/b?c",
        "HTTP://A.example/",
        "http://u:p@a.example:80/b",
        "http:///x",
        "a.example:443",
        "a",
        "?a",
        "/?",
        "/a??b?",
        "/\u{e9}",
        "/a?\u{e9}",
        "/{}",
        "/\"",
        "/<a>",
        "/a?<>",
        "/`",
        "/\\",
        "/^",
        "/|",
        "/a?{}|\\^`",
        "/%",
        "/%zz",
        "/[::1]",
        "/a;b,c='d'",
        "/\u{7f}",
        "/.",
        "/a/../b",
        "/run/o/w/automation/a",
        "/:80",
        "/@",
        "/\u{1f600}",
    ]);
    prop_oneof![
        20 => "/[a-zA-Z0-9._~/%-]{0,24}(\\?[a-z0-9=&+%]{0,12})?".prop_map(String::into_bytes),
        5 => odd.prop_map(|text| text.as_bytes().to_vec()),
        2 => "/[!-~]{0,12}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..8).prop_map(|bytes| [b"/".as_slice(), &bytes].concat()),
        1 => (1_000..70_000_usize).prop_map(|length| [b"/".as_slice(), &vec![b'a'; length]].concat()),
    ]
}

fn field() -> impl Strategy<Value = Vec<u8>> {
    let start = mostly("", &[" ", "\t", "\r", "\0"]);
    let colon =
        prop_oneof![40 => Just(": "), 1 => select(vec![":", " : ", ":\t", ":  \t ", ":\0", " :", ""])];
    (start, name_and_value(), colon, line_end()).prop_map(|(start, (name, value), colon, end)| {
        [start.as_slice(), name.as_bytes(), colon.as_bytes(), &value, &end].concat()
    })
}

fn name_and_value() -> impl Strategy<Value = (String, Vec<u8>)> {
    prop_oneof![
        12 => ("[a-zA-Z][a-zA-Z0-9_-]{0,16}", value()),
        1 => ("[!-~]{0,10}", value()),
        6 => (case("authorization"), authorization()),
        4 => (case("content-length"), content_length()),
        2 => (case("connection"), one_of(&[
            "keep-alive", "Keep-Alive", "keep-alive ", "KEEP-ALIVE", "keep-alive", "close", "upgrade", "keep-alive, close", "", "TE", "content-length",
        ])),
        1 => (case("transfer-encoding"), one_of(&["chunked", "identity", "gzip, chunked", "", "Chunked", "x"])),
        1 => (case("expect"), one_of(&["100-continue", "", "x"])),
        1 => (case("upgrade"), one_of(&["h2c", "websocket", ""])),
        1 => (one_of(&["Content_Length", "content-length\u{b}", "content-lengthx", "xtransfer-encoding", "http2-settings"])
            .prop_map(|name| String::from_utf8_lossy(&name).into_owned()), one_of(&["1", "5", "chunked"])),
    ]
}

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    select(texts).prop_map(|text| text.as_bytes().to_vec())
}

/// A name with some letters in upper case.
fn case(name: &'static str) -> impl Strategy<Value = String> {
    any::<u32>().prop_map(move |bits| {
        let letters = name.chars().enumerate();
        letters.map(|(at, c)| if bits >> at & 1 == 1 { c.to_ascii_uppercase() } else { c }).collect()
    })
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        20 => "[ -~]{0,20}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..10),
        1 => one_of(&["a\r\n b", "a\r\n\tb", "\u{e9}", "a\tb", "\u{7f}", "a\rb", "a\0b", "\u{1}"]),
    ]
}

fn authorization() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => "Bearer [a-zA-Z0-9._~+/=-]{0,24}".prop_map(String::into_bytes),
        1 => one_of(&["", "Bearer", "Basic a:b", "Bearer a, Bearer b", "Bearer \u{e9}", " \t Bearer a \t", "a\tb"]),
        1 => value(),
    ]
}

fn content_length() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        16 => (0..300_u64).prop_map(|count| count.to_string().into_bytes()),
        1 => any::<u64>().prop_map(|count| count.to_string().into_bytes()),
        2 => one_of(&[
            "", "+1", "-1", "1, 1", "1,2", "0x10", "00", "007", "1 1", "1\t", "\t1 ", "1.0", "1e1", "\u{661}", "65536",
            "18446744073709551613", "18446744073709551614", "18446744073709551615", "18446744073709551616", "1;a",
        ]),
    ]
}

/// The empty line, the body and what follows.
fn tail() -> impl Strategy<Value = Vec<u8>> {
    let after = prop_oneof![
        Just(Vec::new()),
        vec(any::<u8>(), 0..40),
        one_of(&["\r\n", "\r\nGET / HTTP/1.1\r\n\r\n", "0\r\n\r\n", "{}", "GET /second HTTP/1.1\r\n\r\n"]),
    ];
    (mostly("\r\n", &["\n", "", "\r", " \r\n", "\r\r\n", "\n\r\n"]), after)
        .prop_map(|(end, after)| [end, after].concat())
}

/// A fault at some position.
#[derive(Debug, Clone)]
enum Edit {
    Insert(Index, u8),
    Replace(Index, u8),
    Remove(Index),
    Repeat(Index, Index),
    Cut(Index),
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        // An edit needs a byte to work on.
        if bytes.is_empty() {
            return;
        }
        let place = |index: &Index| index.index(bytes.len());
        match self {
            Self::Insert(at, byte) => bytes.insert(place(at), *byte),
            Self::Replace(at, byte) => {
                let at = place(at);
                bytes[at] = *byte;
            }
            Self::Remove(at) => {
                bytes.remove(place(at));
            }
            Self::Repeat(from, to) => {
                let (from, to) = (place(from), place(to));
                bytes.extend_from_within(from.min(to)..from.max(to));
            }
            Self::Cut(at) => bytes.truncate(place(at)),
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let byte = || prop_oneof![any::<u8>(), select(b" \t\r\n\0:#,;\"\x7f\x80\xff\x0b".to_vec())];
    prop_oneof![
        3 => (any::<Index>(), byte()).prop_map(|(at, byte)| Edit::Insert(at, byte)),
        3 => (any::<Index>(), byte()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        2 => any::<Index>().prop_map(Edit::Remove),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Edit::Repeat(from, to)),
        1 => any::<Index>().prop_map(Edit::Cut),
    ]
}
