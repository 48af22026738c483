//! Heads of requests that two readers could read in two ways: refused with 400.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::World;

/// The statuses of all answers to these bytes, sent in pieces of this size, and the rest of the text.
async fn statuses(world: &World, bytes: &[u8], piece: usize) -> (Vec<u16>, String) {
    let mut caller = TcpStream::connect(world.platform.address()).await.unwrap();
    caller.set_nodelay(true).unwrap();
    let (mut read, mut write) = caller.split();
    let mut text = Vec::new();
    let send = async {
        for piece in bytes.chunks(piece) {
            // Why ignored: the server may have answered and closed the connection.
            if write.write_all(piece).await.is_err() {
                break;
            }
            if piece.len() < bytes.len() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    // Until the server closes the connection: each of these requests asks for that, or is refused.
    let receive = async {
        let all = read.read_to_end(&mut text);
        let _ = tokio::time::timeout(Duration::from_secs(10), all).await.expect("the connection stays open");
    };
    tokio::join!(send, receive);
    let text = String::from_utf8_lossy(&text).into_owned();
    let status = |(at, _): (usize, &str)| text.get(at + 9..at + 12)?.parse().ok();
    (text.match_indices("HTTP/1.").filter_map(status).collect(), text.clone())
}

const CLOSE: &str = "connection: close\r\n";

/// Asserts what a request is answered with, however its bytes arrive.
async fn answered(world: &World, request: &str, expected: &[u16]) {
    for piece in [usize::MAX, 7, 1] {
        let piece = piece.min(request.len().max(1));
        let (statuses, text) = statuses(world, request.as_bytes(), piece).await;
        assert_eq!(statuses, expected, "{request:?} in pieces of {piece}: {text}");
    }
}

async fn refused(world: &World, request: &str) {
    answered(world, request, &[400]).await;
}

async fn passes(world: &World, request: &str) {
    answered(world, request, &[200]).await;
}

#[tokio::test]
async fn s11_http_1_1_names_its_host_once() {
    let world = World::start().await;
    let get = |fields: &str| format!("GET /healthz HTTP/1.1\r\n{fields}{CLOSE}\r\n");
    for fields in [
        "",
        "host: a\r\nhost: a\r\n",
        "host: a\r\nHOST: b\r\n",
        "host:\r\n",
        "host: u:p@a\r\n",
        "host: u@a\r\n",
        "host: a b\r\n",
        "host: a, b\r\n",
        "host: http://a\r\n",
        "host: a/b\r\n",
        "host: a:b\r\n",
        "host: a:99999999\r\n",
        "host: a?b\r\n",
        "host: a#b\r\n",
        "host: \u{e9}\r\n",
        "host: [::1\r\n",
        "host: a\\b\r\n",
        "x-host: a\r\n",
    ] {
        refused(&world, &get(fields)).await;
    }
    for fields in [
        "host: a\r\n",
        "HOST: a\r\n",
        "Host:a\r\n",
        "hOsT: \t A.Example \t\r\n",
        "host: a.example:8080\r\n",
        "host: 127.0.0.1:80\r\n",
        "host: [::1]:80\r\n",
        "host: [::1]\r\n",
        "host: a_b\r\n",
        "host: a:\r\n",
        "host: xn--nxasmq6b\r\n",
    ] {
        passes(&world, &get(fields)).await;
    }
    passes(&world, "GET /healthz HTTP/1.0\r\n\r\n").await;
    passes(&world, "GET /healthz HTTP/1.0\r\nhost: a\r\n\r\n").await;
    refused(&world, "GET /healthz HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n").await;
}

#[tokio::test]
async fn s11_a_target_with_an_authority_has_that_host() {
    let world = World::start().await;
    let get = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n{CLOSE}\r\n");
    passes(&world, &get("http://a.example/healthz", "a.example")).await;
    passes(&world, &get("http://A.example:80/healthz", "a.example:80")).await;
    refused(&world, &get("http://a.example/healthz", "b.example")).await;
    refused(&world, &get("http://a.example:81/healthz", "a.example:82")).await;
    refused(&world, &get("http://u@a.example/healthz", "a.example")).await;
    refused(&world, "GET http://a.example/healthz HTTP/1.1\r\nconnection: close\r\n\r\n").await;
}

#[tokio::test]
async fn s11_a_line_of_a_head_ends_with_cr_lf() {
    let world = World::start().await;
    for request in [
        "GET /healthz HTTP/1.1\nhost: a\nconnection: close\n\n",
        "GET /healthz HTTP/1.1\nhost: a\r\nconnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: a\nconnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\n",
        "\nGET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET /healthz HTTP/1.0\nhost: a\n\n",
        "POST /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: 2\n\r\n{}",
    ] {
        refused(&world, request).await;
    }
    passes(&world, "\r\nGET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    // Line feeds of a body are its own business.
    let token = world.platform.token().unwrap();
    let body = "{\n\"org\":\n\n\"lines\"\n}\n";
    let post = |framing: &str, body: &str| {
        format!(
            "POST /admin/org HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\n{CLOSE}{framing}\r\n{body}"
        )
    };
    let (statuses, text) =
        statuses(&world, post(&format!("content-length: {}\r\n", body.len()), body).as_bytes(), usize::MAX)
            .await;
    assert_eq!(statuses, [201], "{text}");
}

#[tokio::test]
async fn s11_a_bad_head_is_refused_wherever_it_stands_on_its_connection() {
    let world = World::start().await;
    let good = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
    let last = "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    answered(&world, &format!("{good}{good}{last}"), &[200, 200, 200]).await;
    let token = world.platform.token().unwrap();
    let chunked = format!(
        "POST /admin/connector/validate HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n\
         3;a=b\r\n{{\n\n\r\n2\r\n\n}}\r\n0\r\nx-trailer: 1\r\n\r\n"
    );
    let sized = format!(
        "POST /admin/connector/validate HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 4\r\n\r\n{{\n\n}}"
    );
    let (ok, _) = statuses(&world, format!("{chunked}{sized}{good}{last}").as_bytes(), usize::MAX).await;
    assert_eq!(ok, [200, 200, 200, 200], "line feeds in bodies and between chunks");
    for bad in [
        "GET /healthz HTTP/1.1\nhost: a\nconnection: close\n\n",
        "GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n",
    ] {
        for before in [good, &chunked, &sized] {
            for piece in [usize::MAX, 5] {
                let request = format!("{before}{bad}");
                let piece = piece.min(request.len());
                let (all, text) = statuses(&world, request.as_bytes(), piece).await;
                assert_eq!(all.last(), Some(&400), "{request:?} in pieces of {piece}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn s11_a_body_has_one_length() {
    let world = World::start().await;
    let post =
        |fields: &str, body: &str| format!("POST /healthz HTTP/1.1\r\nhost: a\r\n{CLOSE}{fields}\r\n{body}");
    for fields in [
        "content-length: 2\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 2\r\n",
        "content-length: 2\r\ncontent-length: 2\r\n",
        "content-length: 2\r\ncontent-length: 3\r\n",
        "content-length: 2, 2\r\n",
        "content-length: +2\r\n",
        "content-length: -2\r\n",
        "content-length: 0x2\r\n",
        "content-length: 2 2\r\n",
        "content-length:\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked, chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding:\r\n",
        "content-length : 2\r\n",
        "content-length\t: 2\r\n",
        "transfer-encoding : chunked\r\n",
        "x: a\r\n folded\r\n",
        " x: a\r\n",
        "x: a\0b\r\n",
        "x\0: a\r\n",
        "x: a\rb\r\n",
        ": a\r\n",
        "no colon\r\n",
        "content-length: 2\u{b}\r\n",
    ] {
        refused(&world, &post(fields, "{}")).await;
    }
    // 405: it was read, and this route takes no POST.
    for (fields, body) in [
        ("content-length: 2\r\n", "{}"),
        ("Content-Length: \t 2 \t\r\n", "{}"),
        ("CONTENT-LENGTH: 0\r\n", ""),
        ("", ""),
        ("transfer-encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: Chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        ("x: \r\n", ""),
        ("x:a\tb\r\n", ""),
    ] {
        answered(&world, &post(fields, body), &[405]).await;
    }
    refused(&world, "POST /healthz HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn s11_chunks_end_with_cr_lf() {
    let world = World::start().await;
    let token = world.platform.token().unwrap();
    let post = |body: &str| {
        format!(
            "POST /admin/connector/validate HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n{CLOSE}\
             content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{body}"
        )
    };
    for body in [
        "2\n{}\r\n0\r\n\r\n",
        "2\r\n{}\n0\r\n\r\n",
        "2\r\n{}\r\n0\n\r\n",
        "2;a\n{}\r\n0\r\n\r\n",
        "2\r\n{}\r\n0\r\nx: 1\n\r\n",
        "+2\r\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}\r\n-0\r\n\r\n",
        "fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    ] {
        refused(&world, &post(body)).await;
    }
    passes(&world, &post("2\r\n{}\r\n0\r\n\r\n")).await;
    passes(&world, &post("1;a=\"b\"\r\n{\r\n1 \r\n}\r\n000\r\nx: 1\r\ny: 2\r\n\r\n")).await;
}

#[tokio::test]
async fn s11_a_refusal_is_a_problem_document_that_says_why() {
    let world = World::start().await;
    for (request, why) in [
        ("GET /healthz HTTP/1.1\r\n\r\n", "Host"),
        ("GET /healthz HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "Host"),
        ("GET /healthz HTTP/1.1\nhost: a\n\n", "line feed"),
        (
            "POST /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
            "Transfer-Encoding",
        ),
    ] {
        let (statuses, text) = statuses(&world, request.as_bytes(), usize::MAX).await;
        assert_eq!(statuses, [400], "{request:?}");
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        assert!(head.contains("connection: close") && head.contains("x-request-id: "), "{head}");
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["code"], "bad_request");
        assert!(problem["detail"].as_str().unwrap().contains(why), "{problem}");
    }
}
