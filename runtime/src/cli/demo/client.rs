//! A caller of the demo's API over its real socket on loopback.

use std::net::SocketAddr;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// A caller: an address and a token.
#[derive(Clone)]
pub(super) struct Client {
    address: SocketAddr,
    token: String,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) text: String,
    pub(super) json: Value,
}

impl Client {
    pub(super) fn new(address: SocketAddr, token: String) -> Self {
        Self { address, token }
    }

    /// The same server with another token.
    pub(super) fn with_token(&self, token: &str) -> Self {
        Self { address: self.address, token: token.to_owned() }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, String> {
        self.send(Method::GET, path, String::new()).await
    }

    pub(super) async fn post(&self, path: &str, body: &str) -> Result<Answer, String> {
        self.send(Method::POST, path, body.to_owned()).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<Answer, String> {
        self.send(Method::PUT, path, body.to_string()).await
    }

    pub(super) async fn patch(&self, path: &str, body: &Value) -> Result<Answer, String> {
        self.send(Method::PATCH, path, body.to_string()).await
    }

    #[allow(clippy::disallowed_methods, reason = "the demo calls its own API on loopback")]
    async fn send(&self, method: Method, path: &str, body: String) -> Result<Answer, String> {
        let failed = |e: &dyn std::fmt::Display| format!("{method} {path}: {e}");
        let stream = TcpStream::connect(self.address).await.map_err(|e| failed(&e))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(&method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| failed(&e))?;
        let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|e| failed(&e))?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status, json: serde_json::from_str(&text).unwrap_or_default(), text })
    }
}
