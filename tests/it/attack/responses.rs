//! S1 to S8: responses that try to exhaust or confuse the gate.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_action::Method;
use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use portcullis_core::outbound::{LimitKind, OutboundError, OutboundRequest, TimeoutPhase};
use tokio::net::TcpListener;

use super::harness::{Harness, Setup, URL, get, post, values};
use super::scrubbing::gzip;
use crate::support::{Script, until};
use portcullis_stand_in::certificates;

const MIB: usize = 1024 * 1024;
/// 64 MiB of zeroes as one brotli stream, made by the reference encoder.
const BROTLI_BOMB: &str = "cfffff7ff82700e2b14020f7fe9ffffffff04f00c4610180eefd3fffffffe19f0088c32200ddfbfffcffffc73f0110870500baf7ff";
/// The same for 1 KiB.
const BROTLI_PLAIN: &str = "1bff03f82700a2b1402037";

fn text(text: &str) -> Script {
    Script::Raw(text.as_bytes().to_vec())
}

fn coded(coding: &str, body: &[u8]) -> Script {
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n\r\n", body.len());
    Script::Raw([head.as_bytes(), body].concat())
}

/// 1 GiB of zeroes in about 1 MiB: a gzip file of 64 members.
fn gzip_bomb() -> Vec<u8> {
    gzip(&vec![0; 16 * MIB]).repeat(64)
}

/// A zstd frame (RFC 8878 section 3.1.1) of blocks that repeat one byte 128 KiB long.
fn zstd_of_zeroes(blocks: u32) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
    for block in 1..=blocks {
        let header = u32::from(block == blocks) | (1 << 1) | ((128 * 1024) << 3);
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

async fn with_limits(set: impl FnOnce(&mut Limits)) -> Harness {
    let mut setup = Setup::default();
    set(&mut setup.limits);
    setup.start().await
}

/// Asserts that the response exceeds a limit of this kind.
async fn is_too_large(harness: &Harness, script: Script, kind: LimitKind) {
    harness.upstream.script("/v1/things", script);
    let error = harness.ends_with(get(URL), Code::ResponseTooLarge).await;
    assert!(matches!(error, OutboundError::Limit { kind: k, .. } if k == kind), "{error:?}");
}

#[tokio::test]
async fn s1_a_bomb_of_any_coding_ends_at_a_limit() {
    let harness = Harness::usual().await;
    for (coding, bomb) in [
        ("br", hex::decode(BROTLI_BOMB).unwrap()),
        ("zstd", zstd_of_zeroes(8192)),
        ("gzip, gzip", gzip(&gzip_bomb())),
    ] {
        is_too_large(&harness, coded(coding, &bomb), LimitKind::DecodedBytes).await;
    }
    for (coding, body, length) in [
        ("gzip", gzip(&vec![0; MIB]), MIB),
        ("br", hex::decode(BROTLI_PLAIN).unwrap(), 1024),
        ("zstd", zstd_of_zeroes(8), MIB),
    ] {
        harness.upstream.script("/v1/things", coded(coding, &body));
        assert_eq!(harness.passes(get(URL)).await.body.len(), length, "{coding}");
    }
}

#[test]
fn s1_a_bomb_takes_bounded_memory() {
    // Why a separate process: the tests that run in parallel use memory too.
    let name = "attack::responses::a_bomb_stays_within_its_memory_in_a_separate_process";
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--test-threads=1"])
        .env(MEASURE, "1")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.contains("1 passed"), "{out}{err}");
}

/// Set in the separate process, whose peak of memory is then that of the bomb.
const MEASURE: &str = "PORTCULLIS_TEST_MEASURE_PEAK";

#[tokio::test]
async fn a_bomb_stays_within_its_memory_in_a_separate_process() {
    let harness = Harness::usual().await;
    let bomb = coded("gzip", &gzip_bomb());
    harness.upstream.script("/v1/things", text("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"));
    harness.passes(get(URL)).await;
    let before = peak_kib();
    for _ in 0..4 {
        is_too_large(&harness, bomb.clone(), LimitKind::DecodedBytes).await;
    }
    if std::env::var_os(MEASURE).is_some() {
        let grown = peak_kib() - before;
        assert!(grown < 64 * 1024, "the peak grew by {grown} KiB");
    }
}

/// The peak memory of this process, KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn s2_a_body_that_never_ends_ends_at_the_total_and_a_stalled_one_before() {
    let harness = with_limits(|l| (l.total_ms, l.between_bytes_ms) = (400, 60_000)).await;
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let piece = b"1\r\nx\r\n".to_vec();
    harness.upstream.script("/v1/things", Script::Endless { head, piece, pause: Duration::from_millis(10) });
    let started = Instant::now();
    let error = harness.ends_with(get(URL), Code::UpstreamTimeout).await;
    assert_eq!(error, OutboundError::Timeout(TimeoutPhase::Total));
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(harness.log.records().pop().unwrap().1.bytes_in > 1, "it did trickle");
    until("the connection was given up", async || harness.upstream.open() == 0).await;
    let harness = with_limits(|l| l.between_bytes_ms = 100).await;
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe".to_vec();
    let quiet = Script::Endless { head, piece: Vec::new(), pause: Duration::from_secs(60) };
    harness.upstream.script("/v1/things", quiet);
    let error = harness.ends_with(get(URL), Code::UpstreamTimeout).await;
    assert_eq!(error, OutboundError::Timeout(TimeoutPhase::BetweenBytes));
    harness.upstream.script("/v1/things", Script::Json(200, "{}"));
    harness.passes(get(URL)).await;
}

#[tokio::test]
async fn s2_an_endless_body_ends_at_its_bytes_too() {
    let harness = with_limits(|l| l.response_bytes = 100_000).await;
    let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let endless = Script::Endless { head, piece: vec![b'x'; 4096], pause: Duration::ZERO };
    is_too_large(&harness, endless, LimitKind::ResponseBytes).await;
    until("the connection was given up", async || harness.upstream.open() == 0).await;
}

#[tokio::test]
async fn s3_interim_answers_without_end_are_no_answer() {
    for (status, pause) in [("100 Continue", 5), ("103 Early Hints", 5), ("102 Processing", 0)] {
        let harness = with_limits(|l| l.first_byte_ms = 300).await;
        let piece = format!("HTTP/1.1 {status}\r\nlink: </a>\r\n\r\n").into_bytes();
        let pause = Duration::from_millis(pause);
        harness.upstream.script("/v1/things", Script::Endless { head: piece.clone(), piece, pause });
        let started = Instant::now();
        let error = harness.ends_with(get(URL), Code::UpstreamTimeout).await;
        assert_eq!(error, OutboundError::Timeout(TimeoutPhase::FirstByte), "{status}");
        assert!(started.elapsed() < Duration::from_secs(10));
        until("the connection was given up", async || harness.upstream.open() == 0).await;
        let few =
            "HTTP/1.1 100 Continue\r\n\r\n".repeat(3) + "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        harness.upstream.script("/v1/things", text(&few));
        assert_eq!(harness.passes(get(URL)).await.body, b"{}");
    }
}

#[tokio::test]
async fn s4_header_sections_end_at_their_limits() {
    let harness = with_limits(|l| l.first_byte_ms = 2000).await;
    let many =
        |n: usize| (0..n).fold(String::new(), |all, at| all + &format!("x-{at}: {}\r\n", "1".repeat(8)));
    let whole = |lines: &str| text(&format!("HTTP/1.1 200 OK\r\n{lines}content-length: 0\r\n\r\n"));
    for lines in [format!("x: {}\r\n", "1".repeat(MIB)), many(10_000), many(101)] {
        harness.upstream.script("/v1/things", whole(&lines));
        let sent = harness.send(get(URL)).await;
        let code = sent.report.failure;
        assert!(matches!(code, Some(Code::UpstreamProtocol | Code::ResponseTooLarge)), "{code:?}");
    }
    let head = b"HTTP/1.1 200 OK\r\n".to_vec();
    for piece in [&b"x-more: 1\r\n"[..], b"no line break "] {
        let piece = piece.repeat(100);
        harness
            .upstream
            .script("/v1/things", Script::Endless { head: head.clone(), piece, pause: Duration::ZERO });
        let sent = harness.send(get(URL)).await;
        assert!(sent.answer.is_err(), "a header section without end");
    }
    until("the connections were given up", async || harness.upstream.open() == 0).await;
    harness.upstream.script("/v1/things", whole(&many(99)));
    harness.passes(get(URL)).await;
    harness.upstream.script("/v1/things", whole(&format!("x: {}\r\n", "1".repeat(60 * 1024))));
    harness.passes(get(URL)).await;
}

#[tokio::test]
async fn s5_a_length_over_the_limit_is_refused_before_its_body() {
    let harness = Harness::usual().await;
    let limit = Limits::default().response_bytes;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", limit + 1).into_bytes();
    let silent = Script::Endless { head, piece: Vec::new(), pause: Duration::from_secs(60) };
    is_too_large(&harness, silent, LimitKind::ResponseBytes).await;
    assert_eq!(harness.log.records().pop().unwrap().1.bytes_in, 0);
    let harness = with_limits(|l| l.response_bytes = 5).await;
    harness.upstream.script("/v1/things", text("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"));
    assert_eq!(harness.passes(get(URL)).await.body, b"hello");
}

#[tokio::test]
async fn s5_a_lying_length_gives_no_answer_and_no_other_answer() {
    let harness = Harness::usual().await;
    for lie in [
        "content-length: 50\r\n\r\nhello",
        "content-length: 5\r\ncontent-length: 7\r\n\r\nhello",
        "content-length: +5\r\n\r\nhello",
        "content-length: 5, 7\r\n\r\nhello",
        "content-length: -5\r\n\r\nhello",
        "content-length: 99999999999999999999999\r\n\r\nhello",
        "transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nx",
        "transfer-encoding: chunked\r\n\r\nzz\r\nx",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello",
    ] {
        harness.upstream.script("/v1/things", text(&format!("HTTP/1.1 200 OK\r\n{lie}")));
        let sent = harness.send(get(URL)).await;
        assert_eq!(sent.report.failure, Some(Code::UpstreamProtocol), "{lie}: {:?}", sent.answer);
    }
    // Bytes after the announced length belong neither to this response nor to the next.
    let second = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let two = format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello{second}");
    harness.upstream.script("/v1/things", Script::Kept(two.into_bytes()));
    harness.upstream.script("/", Script::Json(200, "{}"));
    for _ in 0..5 {
        assert_eq!(harness.passes(get(URL)).await.body, b"hello");
        assert_eq!(harness.passes(get("https://api.example-saas.com/")).await.body, b"{}");
    }
}

#[tokio::test]
async fn s6_trailers_are_dropped() {
    let harness = Harness::usual().await;
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-late\r\n\r\n2\r\n{}\r\n0\r\n";
    harness.upstream.script("/v1/things", text(&format!("{chunked}x-late: 1\r\nset-cookie: a=b\r\n\r\n")));
    let answer = harness.passes(get(URL)).await;
    assert_eq!(answer.body, b"{}");
    assert!(values(&answer, "x-late").is_empty() && values(&answer, "set-cookie").is_empty());
    let flood = format!("{chunked}{}\r\n", "x-late: 1\r\n".repeat(100_000));
    harness.upstream.script("/v1/things", text(&flood));
    let sent = harness.send(get(URL)).await;
    assert!(sent.answer.is_err() || sent.answer.is_ok_and(|a| values(&a, "x-late").is_empty()));
}

#[tokio::test]
async fn s7_what_is_no_whole_http_answer_is_upstream_protocol() {
    let harness = with_limits(|l| l.first_byte_ms = 2000).await;
    for junk in [
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        "hello from HTTP/0.9",
        "<html>hello</html>",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "HTTP/2 200\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad name: 1\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
        "\0\0\0\0",
        "HTTP/1.1 200 OK\r\n",
        "",
    ] {
        harness.upstream.script("/v1/things", text(junk));
        let sent = harness.send(get(URL)).await;
        assert_eq!(sent.report.failure, Some(Code::UpstreamProtocol), "{junk:?}: {:?}", sent.answer);
    }
    for fine in ["HTTP/1.0 200 OK\r\n\r\n{}", "HTTP/1.1 299\r\ncontent-length: 2\r\n\r\n{}"] {
        harness.upstream.script("/v1/things", text(fine));
        assert_eq!(harness.passes(get(URL)).await.body, b"{}", "{fine}");
    }
}

#[tokio::test]
async fn s7_the_length_in_an_answer_to_head_is_no_length_of_a_body() {
    let harness = with_limits(|l| l.response_bytes = 100).await;
    harness.upstream.script("/v1/things", text("HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n"));
    let request = OutboundRequest { method: Method::Head, ..get(URL) };
    assert!(harness.passes(request).await.body.is_empty());
    is_too_large(&harness, text("HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n"), LimitKind::ResponseBytes)
        .await;
}

#[tokio::test]
async fn s7_a_coding_of_no_body_is_nothing_to_undo() {
    let harness = Harness::usual().await;
    for (method, status) in [(Method::Head, 200), (Method::Get, 204), (Method::Get, 304)] {
        for coding in ["gzip", "deflate", "br", "zstd"] {
            let head = format!("HTTP/1.1 {status} X\r\ncontent-encoding: {coding}\r\n\r\n");
            harness.upstream.script("/v1/things", text(&head));
            let answer = harness.passes(OutboundRequest { method, ..get(URL) }).await;
            assert_eq!((answer.status, answer.body.len()), (status, 0), "{coding}");
        }
    }
}

/// What an upstream saw of a request over HTTP/2: version, target and header names.
type Seen = Arc<Mutex<Vec<(http::Version, String, Vec<String>)>>>;

/// An upstream that speaks HTTP/2 when the client offers it; returns the protocols that were offered.
async fn speaks_http2() -> (String, std::net::SocketAddr, Seen, Arc<Mutex<Vec<Vec<Vec<u8>>>>>) {
    let (ca_pem, mut config) = certificates(&["*.example-saas.com"]).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, offered) = (Seen::default(), Arc::default());
    let (into, offers): (Seen, Arc<Mutex<Vec<_>>>) = (Arc::clone(&seen), Arc::clone(&offered));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let start = tokio_rustls::LazyConfigAcceptor::new(Default::default(), stream).await.unwrap();
            let alpn = start.client_hello().alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
            offers.lock().unwrap().push(alpn);
            let tls = start.into_stream(Arc::clone(&config)).await.unwrap();
            let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
            let into = Arc::clone(&into);
            let service = service_fn(move |request: http::Request<Incoming>| {
                let names = request.headers().keys().map(ToString::to_string).collect();
                into.lock().unwrap().push((request.version(), request.uri().to_string(), names));
                let key = request.headers().get("authorization").cloned();
                async move {
                    let mut answer = http::Response::new(Full::new(Bytes::from_static(b"{}")));
                    answer.headers_mut().extend(key.map(|k| (http::HeaderName::from_static("x-echo"), k)));
                    Ok::<_, std::convert::Infallible>(answer)
                }
            });
            let io = TokioIo::new(tls);
            tokio::spawn(async move {
                let _ = if http2 {
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(io, service)
                        .await
                } else {
                    hyper::server::conn::http1::Builder::new().serve_connection(io, service).await
                };
            });
        }
    });
    (ca_pem, address, seen, offered)
}

#[tokio::test]
async fn s8_http2_is_offered_exactly_when_the_definition_says_so() {
    for http2 in [false, true] {
        let (ca_pem, address, seen, offered) = speaks_http2().await;
        let setup = Setup { http2, elsewhere: Some((ca_pem, address)), ..Setup::default() };
        let harness = setup.start().await;
        for request in [get(URL), post(URL, b"{}")] {
            let answer = harness.passes(request).await;
            assert_eq!((answer.status, answer.body.as_slice()), (200, &b"{}"[..]));
            assert!(answer.redacted, "what came back was cleaned");
        }
        let expected: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        assert_eq!(*offered.lock().unwrap(), [expected], "one connection");
        for (version, target, names) in seen.lock().unwrap().iter() {
            let form = if http2 { URL } else { "/v1/things" };
            assert_eq!((*version == http::Version::HTTP_2, target.as_str()), (http2, form));
            assert_eq!(names.iter().filter(|n| *n == "host").count(), usize::from(!http2), "{names:?}");
            assert!(names.iter().any(|n| n == "authorization"));
        }
        assert_eq!(seen.lock().unwrap().len(), 2);
    }
}
