//! What is refused, that pieces make no difference, and that hyper sees no request that is not followed here.

use std::cell::Cell;
use std::convert::Infallible;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::request_head::tests::generate;

/// The number of complete heads, or the fault; the bytes come in pieces of this size.
fn followed(bytes: &[u8], piece: usize) -> Result<usize, FramingFault> {
    let mut framing = Framing::default();
    let mut heads = 0;
    for piece in bytes.chunks(piece) {
        let begun = framing.head.begun;
        framing.follow(piece)?;
        // Only exact for single bytes.
        heads += usize::from(begun && !framing.head.begun);
    }
    Ok(heads)
}

/// The same whatever the pieces.
fn follow(text: &str) -> Result<usize, FramingFault> {
    let one_by_one = followed(text.as_bytes(), 1);
    for piece in [2, 3, 7, 64, 100_000] {
        let other = followed(text.as_bytes(), piece);
        assert_eq!(other.err(), one_by_one.err(), "{text:?} in pieces of {piece}");
    }
    one_by_one
}

#[test]
fn messages_end_where_their_heads_say() {
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let sized = "POST / HTTP/1.1\r\nContent-Length: \t5 \r\n\r\n\n\n\n\n\n";
    let chunked = "POST / HTTP/1.1\r\nTRANSFER-ENCODING:Chunked\r\n\r\n3;x=y\r\n\n\n\n\r\n0a \r\n0123456\n8\n\r\n000\r\nx: 1\r\n\r\n";
    let long = format!("GET / HTTP/1.1\r\nx-long: {}\r\n\r\n", "a".repeat(100_000));
    let zero = "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n";
    for (text, heads) in [
        (get.to_owned(), 1),
        (format!("\r\n\r\n{get}"), 1),
        (format!("{get}{get}\r\n{get}"), 3),
        (format!("{sized}{get}"), 2),
        (format!("{chunked}{sized}{chunked}{zero}{get}"), 5),
        (format!("{long}{get}"), 2),
        ("GET / HTTP/1.1\r\nhost: a\r\n".to_owned(), 0),
    ] {
        assert_eq!(follow(&text), Ok(heads), "{text:?}");
    }
}

#[test]
fn a_line_feed_alone_is_a_fault_wherever_a_line_ends() {
    for text in [
        "GET / HTTP/1.1\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n\n",
        "\nGET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n\n",
        "P / HTTP/1.1\r\ncontent-length: 1\r\n\r\n\n\n",
        "P / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\n",
        "P / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\n\n",
        "P / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: 1\n",
    ] {
        assert_eq!(follow(text), Err(FramingFault::BareLineFeed), "{text:?}");
    }
    let long = format!("GET / HTTP/1.1\r\nx: {}\n", "a".repeat(1000));
    assert_eq!(follow(&long), Err(FramingFault::BareLineFeed));
}

#[test]
fn a_body_has_one_length() {
    let of = |fields: &str| follow(&format!("P / HTTP/1.1\r\n{fields}\r\n\r\n"));
    for field in [
        "content-length: 1\r\ncontent-length: 1",
        "content-length: +1",
        "content-length:",
        "content-length: 1,1",
        "content-length: 99999999999999999999",
        "content-length: 1 1",
        "Content-Length: \u{661}",
    ] {
        assert_eq!(of(field), Err(FramingFault::Length), "{field}");
    }
    for field in [
        "transfer-encoding: gzip, chunked",
        "transfer-encoding:",
        "transfer-encoding: identity",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked;x",
    ] {
        assert_eq!(of(field), Err(FramingFault::Coding), "{field}");
    }
    for field in [
        "content-length: 1\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 1",
        "Transfer-Encoding: chunked\r\nx: 1\r\nCONTENT-LENGTH: 0",
    ] {
        assert_eq!(of(field), Err(FramingFault::LengthAndCoding), "{field}");
    }
    assert_eq!(of("xcontent-length: +1\r\ncontent-lengthx: +1\r\nx: content-length: +1"), Ok(1));
}

#[test]
fn a_chunk_has_a_size() {
    let of = |line: &str| follow(&format!("P / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{line}\r\n"));
    for line in ["1", "1;a", "1 ; a", "1\t", "0000000000000001", "FFFFFFFFFFFFFFF0", "0"] {
        assert_eq!(of(line), Ok(1), "{line}");
    }
    for line in
        ["", "x", "+1", "-1", "0x1", ";a", " 1", "00000000000000001", "ffffffffffffffff", "1a g", "1g"]
    {
        let expected = if line == "1a g" { Ok(1) } else { Err(FramingFault::ChunkSize) };
        assert_eq!(of(line), expected, "{line}");
    }
}

#[test]
fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
    for host in
        ["a", "A.example", "a.example:80", "a:", "127.0.0.1", "[::1]", "[::1]:443", "a_b", "%41", "a:65535"]
    {
        assert!(is_host(host.as_bytes()), "{host}");
    }
    for host in [
        "",
        ":80",
        "u@a",
        "a b",
        "a,b",
        "a/b",
        "a:b",
        "a:65536",
        "a:80:80",
        "[::1",
        "::1",
        "[a]",
        "[::1]a",
        "a?b",
        "a#b",
        "a\\b",
        "http://a",
        "\u{e9}",
        "[::1%25lo]",
        "a:+1",
    ] {
        assert!(!is_host(host.as_bytes()), "{host}");
    }
}

/// The number of requests that hyper sees in these bytes, configured as the API's listener is.
fn seen_by_hyper(bytes: &[u8]) -> usize {
    let seen = Cell::new(0);
    let service = service_fn(async |request: Request<Incoming>| {
        seen.set(seen.get() + 1);
        // Why ignored: a body that cannot be read ends the connection.
        let _ = request.into_body().collect().await;
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(1024 * 1024);
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let _ = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service).await;
    });
    seen.get()
}

/// Some messages on one connection: good ones, and ones with a fault.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let chunked = [
        "3\r\nabc\r\n0\r\n\r\n",
        "1;a=b\r\n\n\r\n0\r\nx: 1\r\n\r\n",
        "1 \r\na\r\n00\r\n\r\n",
        "1\r\na\r\n",
        "x\r\n",
        "1\na\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
        "0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "0\r\nx: 1\n\r\n",
    ];
    let chunked = select(chunked.to_vec())
        .prop_map(|body| format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{body}").into_bytes());
    let one = prop_oneof![3 => generate::request(), 2 => chunked];
    proptest::collection::vec(one, 1..4).prop_map(|all| all.concat())
}

#[test]
fn hyper_sees_no_request_that_is_not_followed() {
    let faultless = Cell::new(0);
    let config = Config { failure_persistence: None, ..Config::default() };
    let cases = config.cases;
    let outcome = TestRunner::new(config).run(&messages(), |bytes| {
        let followed = followed(&bytes, 1);
        if let Ok(heads) = followed {
            faultless.set(faultless.get() + 1);
            let seen = seen_by_hyper(&bytes);
            prop_assert!(seen <= heads, "hyper sees {} requests, {} were followed", seen, heads);
        }
        Ok(())
    });
    outcome.unwrap();
    assert!(faultless.get() > cases / 8, "{} of {cases} had no fault", faultless.get());
}
