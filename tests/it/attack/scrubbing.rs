//! S9, S10, S12: a response that has the credential, in every part and in every listed form.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use portcullis_action::template::Template;
use portcullis_core::fault::Code;
use portcullis_core::injection::{HeaderFill, Injection};
use portcullis_core::outbound::{OutboundRequest, OutboundResponse};

use super::harness::{Harness, SECRET, Setup, URL, get, values, with};
use crate::support::Script;

/// The listed forms of a text, each with its name.
fn forms(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let escaped = |escape: &dyn Fn(u32) -> String| -> Vec<u8> {
        secret.chars().map(|c| escape(c as u32)).collect::<String>().into_bytes()
    };
    let percent = |lower: bool| -> Vec<u8> {
        let one = |b: u8| match b {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => char::from(b).to_string(),
            b if lower => format!("%{b:02x}"),
            b => format!("%{b:02X}"),
        };
        secret.bytes().map(one).collect::<String>().into_bytes()
    };
    let json = serde_json::to_string(secret).unwrap();
    let mut forms = vec![
        ("raw", secret.as_bytes().to_vec()),
        ("lower case", secret.to_lowercase().into_bytes()),
        ("upper case", secret.to_uppercase().into_bytes()),
        ("hex", hex::encode(secret).into_bytes()),
        ("upper hex", hex::encode_upper(secret).into_bytes()),
        ("percent", percent(false)),
        ("lower percent", percent(true)),
        ("json", json.as_bytes()[1..json.len() - 1].to_vec()),
        ("json with its slashes escaped", json[1..json.len() - 1].replace('/', "\\/").into_bytes()),
        ("json escapes", escaped(&|c| format!("\\u{c:04x}"))),
        ("upper json escapes", escaped(&|c| format!("\\u{c:04X}"))),
        ("html", secret.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").into_bytes()),
        ("html decimal", escaped(&|c| format!("&#{c};"))),
        ("html hex", escaped(&|c| format!("&#x{c:x};"))),
        ("utf-16le", secret.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("utf-16be", secret.encode_utf16().flat_map(u16::to_be_bytes).collect()),
    ];
    for before in ["", "u", "us", "user:"] {
        forms.push(("base64", STANDARD.encode(format!("{before}{secret}")).into_bytes()));
        forms.push(("base64 of more", STANDARD.encode(format!("{before}{secret}zz")).into_bytes()));
        forms.push(("base64url", URL_SAFE.encode(format!("{before}{secret}")).into_bytes()));
        forms.push(("base64url, bare", URL_SAFE_NO_PAD.encode(format!("{before}{secret}z")).into_bytes()));
    }
    forms
}

fn plain(body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Asserts that no part of the response has a listed form.
#[track_caller]
fn assert_clean(answer: &OutboundResponse, secret: &str, what: &str) {
    let mut seen = answer.body.clone();
    for (name, value) in &answer.headers {
        seen.extend_from_slice(name.as_bytes());
        seen.push(b'\n');
        seen.extend_from_slice(value);
        seen.push(b'\n');
    }
    for (name, form) in forms(secret).into_iter().filter(|(name, _)| !name.starts_with("base64")) {
        assert!(!seen.windows(form.len()).any(|w| w == form), "{what}: {name} is there");
    }
    // The part of a base64 text that depends on the secret alone, at each of the three alignments.
    for shift in 0..3 {
        let encoded = STANDARD.encode(format!("{}{secret}", "\0".repeat(shift)));
        let middle = &encoded.as_bytes()[(shift * 8_usize).div_ceil(6)..(shift + secret.len()) * 8 / 6];
        assert!(!seen.windows(middle.len()).any(|w| w == middle), "{what}: base64 at {shift} is there");
    }
}

async fn echoed(harness: &Harness, bytes: Vec<u8>, what: &str) -> OutboundResponse {
    harness.upstream.script("/v1/things", Script::Raw(bytes));
    let answer = harness.passes(get(URL)).await;
    assert!(answer.redacted, "{what}: it is said that something was removed");
    assert!(harness.log.records().pop().unwrap().1.redacted, "{what}: recorded in the ledger");
    assert_clean(&answer, SECRET, what);
    answer
}

#[tokio::test]
async fn s9_a_secret_in_the_body_is_removed_in_every_listed_form() {
    let harness = Harness::usual().await;
    for (name, form) in forms(SECRET) {
        let body = [b"{\"seen\":\"", form.as_slice(), b"\",\"end\":1}"].concat();
        let answer = echoed(&harness, plain(&body), name).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(text.starts_with("{\"seen\":\"") && text.ends_with("\",\"end\":1}"), "{name}: {text}");
        assert!(text.contains("[redacted]"), "{name}: {text}");
    }
    harness.upstream.script("/v1/things", Script::Raw(plain(b"{\"seen\":\"sk-Live\"}")));
    let innocent = harness.passes(get(URL)).await;
    assert_eq!((innocent.body.as_slice(), innocent.redacted), (&b"{\"seen\":\"sk-Live\"}"[..], false));
}

#[tokio::test]
async fn s9_a_secret_in_headers_is_removed_wherever_it_stands() {
    let harness = Harness::usual().await;
    let texts = forms(SECRET).into_iter().filter(|(name, _)| !name.starts_with("utf-16"));
    for (name, form) in texts {
        let form = String::from_utf8(form).unwrap();
        for line in [
            format!("x-echo: before {form} after"),
            format!("location: https://files.example-saas.com/?k={form}"),
            format!("set-cookie: k={form}"),
            format!("www-authenticate: Bearer error=\"{form}\""),
        ] {
            let head = format!("HTTP/1.1 302 Found\r\n{line}\r\nx-end: 1\r\ncontent-length: 0\r\n\r\n");
            harness.upstream.script("/v1/things", Script::Raw(head.into_bytes()));
            let answer = harness.passes(get(URL)).await;
            assert_clean(&answer, SECRET, &line);
            assert_eq!(values(&answer, "x-end"), [b"1"], "{name}");
            let hidden = line.starts_with("set-cookie") || line.starts_with("www-");
            assert_ne!(answer.redacted, hidden, "{line}: hidden whole, or cleaned");
        }
    }
}

#[tokio::test]
async fn s9_a_secret_in_a_headers_name_in_the_status_text_and_in_a_trailer_does_not_arrive() {
    // A header name allows fewer characters than a value, so this key is an RFC 9110 token.
    let key = "sk-Live-7f3a9C51e2b84d06";
    let harness = Setup { fields: vec![("api_key", key)], ..Setup::default() }.start().await;
    for name in [key.to_owned(), format!("x-{key}"), hex::encode(key), STANDARD.encode(key).replace('=', "")]
    {
        let head = format!("HTTP/1.1 200 OK\r\n{name}: 1\r\nx-end: 1\r\ncontent-length: 0\r\n\r\n");
        harness.upstream.script("/v1/things", Script::Raw(head.into_bytes()));
        let answer = harness.passes(get(URL)).await;
        let names: Vec<&str> = answer.headers.iter().map(|(n, _)| n.as_str()).collect();
        assert!(names.contains(&"x-end"), "{names:?}");
        if !name.contains("c2st") {
            assert!(names.iter().all(|n| !n.contains(&name.to_lowercase())), "{names:?}");
        }
        assert_clean(&answer, key, &name);
    }
    let status = format!("HTTP/1.1 400 bad key {key}\r\ncontent-length: 0\r\n\r\n");
    let trailer = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-key\r\n\r\n2\r\n{{}}\r\n0\r\nx-key: {key}\r\n\r\n"
    );
    for text in [status, trailer] {
        harness.upstream.script("/v1/things", Script::Raw(text.into_bytes()));
        assert_clean(&harness.passes(get(URL)).await, key, "status text or trailer");
    }
}

#[tokio::test]
async fn s9_a_secret_in_an_error_body_in_gzip_and_across_pieces_is_removed() {
    let harness = Harness::usual().await;
    let body = format!("{{\"error\":\"no such key {}\"}}", SECRET.replace('"', "\\\""));
    for status in [400, 401, 403, 500] {
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let answer = echoed(&harness, head.into_bytes(), "error body").await;
        assert_eq!(answer.status, status);
    }
    let zipped = gzip(body.as_bytes());
    for (coding, coded) in [("gzip", zipped.clone()), ("gzip, gzip", gzip(&zipped))] {
        let mut bytes = format!(
            "HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n\r\n",
            coded.len()
        )
        .into_bytes();
        bytes.extend_from_slice(&coded);
        let answer = echoed(&harness, bytes, coding).await;
        assert_eq!(answer.body, b"{\"error\":\"no such key [redacted]\"}");
    }
    // Each byte of the body is one chunk, and each chunk one TCP segment.
    let mut pieces = vec![b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()];
    pieces.extend(body.bytes().map(|b| format!("1\r\n{}\r\n", char::from(b)).into_bytes()));
    pieces.push(b"0\r\n\r\n".to_vec());
    harness.upstream.script("/v1/things", Script::Pieces(pieces));
    let answer = harness.passes(get(URL)).await;
    assert_eq!(answer.body, b"{\"error\":\"no such key [redacted]\"}");
}

#[tokio::test]
async fn s9_a_form_that_is_not_listed_is_not_removed() {
    // This is why scrubbing is no boundary: where a credential may go is decided before it is sent.
    let harness = Harness::usual().await;
    let backwards: String = SECRET.chars().rev().collect();
    let spaced: String = SECRET.chars().flat_map(|c| [c, ' ']).collect();
    let halves = format!("{} {}", &SECRET[..16], &SECRET[16..]);
    let shifted: String = SECRET.chars().map(|c| char::from(c as u8 ^ 1)).collect();
    for text in [backwards, spaced, halves, shifted] {
        harness.upstream.script("/v1/things", Script::Raw(plain(text.as_bytes())));
        let answer = harness.passes(get(URL)).await;
        assert_eq!((answer.body.as_slice(), answer.redacted), (text.as_bytes(), false));
    }
}

#[tokio::test]
async fn s10_no_origin_is_sent_so_none_is_reflected() {
    let harness = Harness::usual().await;
    for name in ["Origin", "ORIGIN", "origin", "Referer", "Sec-Fetch-Site"] {
        harness.refuses(with(&[(name, b"https://app.example.org")]), Code::HeaderForbidden).await;
    }
    harness.passes(get(URL)).await;
    assert!(harness.last().header("origin").is_empty() && harness.last().header("referer").is_empty());
    // CORS headers of an upstream are ordinary headers for a guest.
    let head = b"HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\ncontent-length: 0\r\n\r\n";
    harness.upstream.script("/v1/things", Script::Raw(head.to_vec()));
    assert_eq!(values(&harness.passes(get(URL)).await, "access-control-allow-origin"), [b"*"]);
}

#[tokio::test]
async fn s12_basic_is_removed_as_the_pair_and_as_the_password() {
    let injection = Injection {
        headers: vec![(
            http::header::AUTHORIZATION,
            HeaderFill::Basic {
                username: Template::parse("{{cred.user}}").unwrap(),
                password: Template::parse("{{cred.password}}").unwrap(),
                encoded: false,
            },
        )],
        ..Injection::default()
    };
    let (user, password) = ("ada.lovelace", "correct/horse+battery");
    let fields = vec![("user", user), ("password", password)];
    let harness = Setup { injection, fields, ..Setup::default() }.start().await;
    let pair = STANDARD.encode(format!("{user}:{password}"));
    for (what, text) in [
        ("the header", format!("Basic {pair}")),
        ("the pair", pair.clone()),
        ("the pair in clear", format!("{user}:{password}")),
        ("the password", password.to_owned()),
        ("the password in base64", STANDARD.encode(password)),
        ("the password in hex", hex::encode(password)),
        ("the pair in hex", hex::encode(&pair)),
        ("the pair in base64", STANDARD.encode(&pair)),
    ] {
        let body = format!("you sent {text} to us");
        harness.upstream.script("/v1/things", Script::Raw(plain(body.as_bytes())));
        let answer = harness.passes(get(URL)).await;
        let seen = String::from_utf8(answer.body.clone()).unwrap();
        assert!(answer.redacted, "{what}: {seen}");
        assert!(seen.starts_with("you sent ") && seen.ends_with(" to us"), "{what}: {seen}");
        for secret in [password, &pair] {
            assert_clean(&answer, secret, what);
        }
    }
    assert_eq!(harness.last().header("authorization"), [format!("Basic {pair}")]);
    let bare = OutboundRequest { credential: None, ..get(URL) };
    harness.passes(bare).await;
    assert!(harness.last().header("authorization").is_empty(), "nothing is injected unasked");
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
