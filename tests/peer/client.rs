//! The caller inside the product's namespace: one JSON request per input line, one JSON answer per output line.
//!
//! A request is `{"address", "method", "path", "token", "headers", "body"}` and answered with `{"status",
//! "body"}`; `{"connect": address}` only opens a TCP connection and is answered with `{"connected"}`.
//! A failure is answered with `{"error"}`.

use std::io::BufRead as _;
use std::time::Duration;

use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{Failure, event, runtime};

const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Serves until standard input ends.
pub(crate) fn run() -> Result<(), Failure> {
    let runtime = runtime()?;
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let answer = match text(&request, "connect") {
            "" => runtime.block_on(call(&request)),
            address => runtime.block_on(connect(address)),
        };
        event(&answer.unwrap_or_else(|error| json!({ "error": error.to_string() })));
    }
    Ok(())
}

fn text<'a>(request: &'a Value, name: &str) -> &'a str {
    request.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[allow(clippy::disallowed_methods, reason = "a control of the test's own network, inside its namespace")]
async fn connect(address: &str) -> Result<Value, Failure> {
    let stream = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address)).await??;
    Ok(json!({ "connected": stream.peer_addr()?.to_string() }))
}

#[allow(clippy::disallowed_methods, reason = "the product's API on loopback, inside its namespace")]
async fn call(request: &Value) -> Result<Value, Failure> {
    let address = text(request, "address");
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let body = request.get("body").filter(|body| !body.is_null()).map(Value::to_string).unwrap_or_default();
    let mut message = Request::builder()
        .method(text(request, "method"))
        .uri(text(request, "path"))
        .header(HOST, address)
        .header(AUTHORIZATION, format!("Bearer {}", text(request, "token")))
        .header(CONTENT_TYPE, "application/json");
    for (name, value) in request.get("headers").and_then(Value::as_object).into_iter().flatten() {
        message = message.header(name, value.as_str().unwrap_or_default());
    }
    let response = sender.send_request(message.body(Full::new(Bytes::from(body)))?).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    let document: Value = serde_json::from_slice(&body).unwrap_or_default();
    Ok(json!({ "status": status, "body": document }))
}
