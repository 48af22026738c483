//! Answers at the border of what is read: heads over a limit, and bodies that end with the connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis_core::fault::Code;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{ID, PATH, connected, connected_on, definition};
use crate::support::{Answer, Script, Stage, Tenant, World};

async fn act(tenant: &Tenant) -> Answer {
    tenant.call(ID, "act", json!({})).await
}

/// An answer with this head after the status line.
fn head(fields: &str) -> Script {
    Script::Raw(format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\n{{}}").into_bytes())
}

async fn reading() -> (World, Tenant) {
    let mut stage = Stage::default();
    stage.limits.first_byte_ms = 10_000;
    connected_on(stage, &definition(&json!({}), &json!({}))).await
}

/// Asserts that the answer passed a limit, that the limit is named, and that it was asked for once.
async fn passes_a_limit(script: Script, limit: &str) {
    let (world, acme) = reading().await;
    world.upstream.script(PATH, script);
    let answer = act(&acme).await;
    assert_eq!(answer.json["code"], Code::ResponseTooLarge.as_str(), "{limit}: {}", answer.text);
    let answer = answer.problem(Code::ResponseTooLarge);
    let detail = answer.json["detail"].as_str().unwrap();
    assert!(detail.contains(limit), "{detail:?} does not name {limit}");
    assert_eq!(answer.json["run"]["message"], answer.json["detail"]);
    assert_eq!(world.upstream.received_on(PATH).len(), 1, "it was asked for again");
    assert_eq!(acme.ledger().await[0]["code"], Code::ResponseTooLarge.as_str());
}

#[tokio::test]
async fn h16_more_header_fields_than_are_read_are_too_large_and_asked_for_once() {
    let many = |count: usize| (0..count).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    for count in [100, 101, 1_000] {
        passes_a_limit(head(&many(count)), "limits.response_header_count").await;
    }
    let cookies = "set-cookie: a=b\r\n".repeat(150);
    passes_a_limit(head(&cookies), "limits.response_header_count").await;
    // The neighbour: as many as may be, the body's length among them.
    let (world, acme) = reading().await;
    world.upstream.script(PATH, head(&many(99)));
    act(&acme).await.is(200);
}

#[tokio::test]
async fn h16_a_head_of_too_many_bytes_is_too_large_and_asked_for_once() {
    let value = "a".repeat(1_000_000);
    let megabytes = (0..10).map(|n| format!("x-{n}: {value}\r\n")).collect::<String>();
    passes_a_limit(head(&megabytes), "limits.response_header_bytes").await;
    passes_a_limit(head(&format!("x-one: {value}\r\n")), "limits.response_header_bytes").await;
    let under_the_count = (0..50).map(|n| format!("x-{n}: {}\r\n", "a".repeat(2_000))).collect::<String>();
    passes_a_limit(head(&under_the_count), "limits.response_header_bytes").await;
    let reason = format!("HTTP/1.1 200 {value}\r\ncontent-length: 0\r\n\r\n");
    passes_a_limit(Script::Raw(reason.into_bytes()), "limits.response_header_bytes").await;
    let (world, acme) = reading().await;
    let fits = (0..20).map(|n| format!("x-{n}: {}\r\n", "a".repeat(2_000))).collect::<String>();
    world.upstream.script(PATH, head(&fits));
    act(&acme).await.is(200);
}

#[tokio::test]
async fn h16_trailers_and_chunk_extensions_over_a_limit_are_too_large_and_asked_for_once() {
    let chunked = |rest: &str| {
        let text = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{rest}");
        Script::Raw(text.into_bytes())
    };
    let long = "a".repeat(100_000);
    passes_a_limit(chunked(&format!("2\r\n{{}}\r\n0\r\nx-t: {long}\r\n\r\n")), "trailers").await;
    let many = (0..300).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    passes_a_limit(chunked(&format!("2\r\n{{}}\r\n0\r\n{many}\r\n")), "trailers").await;
    passes_a_limit(chunked(&format!("2;{long}\r\n{{}}\r\n0\r\n\r\n")), "chunk extensions").await;
    let (world, acme) = reading().await;
    world.upstream.script(PATH, chunked("2;name=value\r\n{}\r\n0\r\nx-t: 1\r\n\r\n"));
    act(&acme).await.is(200);
}

#[tokio::test]
async fn h16_interim_answers_without_end_come_to_an_end() {
    let mut stage = Stage::default();
    (stage.limits.first_byte_ms, stage.limits.call_ms) = (500, 5_000);
    let (world, acme) = connected_on(stage, &definition(&json!({}), &json!({}))).await;
    let one = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let pause = std::time::Duration::from_millis(1);
    world.upstream.script(PATH, Script::Endless { head: one.to_vec(), piece: one.repeat(100), pause });
    let answer = act(&acme).await;
    assert!(matches!(answer.status, 502 | 504), "{}", answer.text);
    let two = [one.as_slice(), one, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"].concat();
    world.upstream.script(PATH, Script::Raw(two));
    act(&acme).await.is(200);
}

/// How a server ends its connection.
#[derive(Clone, Copy)]
enum Ending {
    /// With `close_notify`.
    Clean,
    /// The TCP connection alone.
    Unclean,
}

/// A TLS server that sends the same bytes after every request and then closes the connection.
struct Closing {
    address: SocketAddr,
    ca_pem: String,
    asked: Arc<AtomicUsize>,
}

async fn closing(answer: &'static str, ending: Ending) -> Closing {
    let (ca_pem, config) = portcullis_stand_in::certificates(&["*.salesforce.com"]).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let (acceptor, count) = (TlsAcceptor::from(Arc::new(config)), Arc::clone(&asked));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap_or(0) > 0 {}
            count.fetch_add(1, Ordering::SeqCst);
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            match ending {
                Ending::Clean => stream.shutdown().await.unwrap(),
                Ending::Unclean => stream.get_mut().0.shutdown().await.unwrap(),
            }
        }
    });
    Closing { address, ca_pem, asked }
}

/// What the product says of such a server.
async fn answer_of(server: &Closing, top: &Value) -> Answer {
    let third_party = Some((server.address, server.ca_pem.clone()));
    let (_world, acme) =
        connected_on(Stage { third_party, ..Stage::default() }, &definition(&json!({}), top)).await;
    act(&acme).await
}

const UNTIL_THE_END: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"ok\":true}";

#[tokio::test]
async fn h17_an_answer_that_only_the_connection_ends_and_without_close_notify_says_so() {
    let server = closing(UNTIL_THE_END, Ending::Unclean).await;
    let answer = answer_of(&server, &json!({})).await;
    assert_eq!(answer.status, 502, "{}", answer.text);
    assert_eq!(answer.json["code"], "response_truncated", "{}", answer.text);
    let detail = answer.json["detail"].as_str().unwrap();
    assert!(detail.contains("close_notify") && detail.contains("egress.tls_close"), "{detail}");
    // The neighbour: ended as TLS should.
    let server = closing(UNTIL_THE_END, Ending::Clean).await;
    assert_eq!(answer_of(&server, &json!({})).await.is(200).json["output"], json!({ "ok": true }));
}

#[tokio::test]
async fn h17_a_definition_can_say_that_its_vendor_closes_so() {
    let says_so = json!({ "egress": { "tls_close": "lenient" } });
    let server = closing(UNTIL_THE_END, Ending::Unclean).await;
    let answer = answer_of(&server, &says_so).await.is(200);
    assert_eq!(answer.json["output"], json!({ "ok": true }));
    assert_eq!(server.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn h17_a_body_that_says_its_length_needs_no_close_notify_and_is_never_cut() {
    let says_so = json!({ "egress": { "tls_close": "lenient" } });
    let whole = [
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nb\r\n{\"ok\":true}\r\n0\r\n\r\n",
    ];
    for text in whole {
        let server = closing(text, Ending::Unclean).await;
        assert_eq!(answer_of(&server, &json!({})).await.is(200).json["output"], json!({ "ok": true }));
    }
    let cut = [
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n{\"ok\":true}",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nb\r\n{\"ok\":true}\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ",
        "",
    ];
    for text in cut {
        for top in [json!({}), says_so.clone()] {
            let server = closing(text, Ending::Unclean).await;
            let answer = answer_of(&server, &top).await;
            assert_eq!(
                (answer.status, &answer.json["code"]),
                (502, &json!("upstream_protocol")),
                "{text:?} {top}"
            );
        }
    }
    let (_world, acme) = connected(&definition(&json!({}), &says_so)).await;
    act(&acme).await.is(200);
}
