//! An HTTP client of the API that records every response, and checks it against the API's document.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use portcullis_core::fault::Code;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::answer_schema;

/// The address of the API, usually with a token.
#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    token: Option<String>,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, token: None, heard: Arc::default() }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn token(&self) -> Option<String> {
        self.token.clone()
    }

    /// The same server and record, with another token.
    pub(crate) fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    /// The same token and record, with another server.
    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// Without a token.
    pub(crate) fn anonymous(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// Heads and bodies of all responses so far.
    pub(crate) fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap().clone()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], Vec::new()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], Vec::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.write("POST", path, body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.write("PUT", path, body.to_string()).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.write("PATCH", path, body.to_string()).await
    }

    /// Sends a JSON body exactly as given.
    pub(crate) async fn write(&self, method: &str, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.send(method, path, &[(CONTENT_TYPE.as_str(), "application/json")], body.into()).await
    }

    /// One request on a new connection.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let what = format!("{method} {path}");
        let (parts, body) = self.exchange(method, path, headers, body).await.into_parts();
        let body = body.collect().await.unwrap_or_else(|e| panic!("{what}: {e}")).to_bytes();
        answer_schema::check(method, path, parts.status.as_u16(), &parts.headers, &body);
        let text = String::from_utf8_lossy(&body).into_owned();
        let mut heard = self.heard.lock().unwrap();
        heard.extend_from_slice(format!("{:?}\n", parts.headers).as_bytes());
        heard.extend_from_slice(&body);
        drop(heard);
        Answer {
            what,
            status: parts.status.as_u16(),
            headers: parts.headers,
            json: serde_json::from_str(&text).unwrap_or_default(),
            text,
        }
    }

    /// One request without a body: the status, and the answer's bytes as they are.
    pub(crate) async fn fetch(&self, method: &str, path: &str) -> (u16, Vec<u8>) {
        let (parts, body) = self.exchange(method, path, &[], Vec::new()).await.into_parts();
        let body = body.collect().await.unwrap_or_else(|e| panic!("{method} {path}: {e}")).to_bytes();
        answer_schema::check(method, path, parts.status.as_u16(), &parts.headers, &body);
        (parts.status.as_u16(), body.to_vec())
    }

    /// One request whose response is read as it arrives.
    pub(crate) async fn follow(&self, path: &str) -> Stream {
        let response = self.exchange("GET", path, &[], Vec::new()).await;
        assert_eq!(response.status(), 200, "{path}");
        answer_schema::check("GET", path, 200, response.headers(), b"");
        Stream { response, text: String::new() }
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header(HOST, self.address.to_string());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        sender.send_request(request).await.unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }
}

/// A response that is still arriving.
pub(crate) struct Stream {
    pub(crate) response: Response<Incoming>,
    text: String,
}

impl Stream {
    /// Reads until the text so far contains this; returns all of it.
    pub(crate) async fn until(&mut self, part: &str) -> &str {
        let read = async {
            while !self.text.contains(part) {
                let frame = self.response.body_mut().frame().await.expect("the stream ended").unwrap();
                self.text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), read).await.expect(part);
        &self.text
    }
}

/// A response of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    what: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Answer {
    /// Asserts the status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.what, self.text);
        self
    }

    /// Asserts a complete problem document with this code and its status.
    #[track_caller]
    pub(crate) fn problem(self, code: Code) -> Self {
        assert_eq!(self.json["code"], code.as_str(), "{}: {} {}", self.what, self.status, self.text);
        assert_eq!(self.status, code.status(), "{}: {}", self.what, self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.what);
        assert_eq!(self.json["status"], code.status(), "{}", self.text);
        assert_eq!(self.json["title"], code.title(), "{}", self.text);
        assert_eq!(self.json["type"], format!("urn:portcullis:problem:{code}"), "{}", self.text);
        assert!(!self.json["detail"].as_str().unwrap_or_default().is_empty(), "{}", self.text);
        assert_eq!(self.json["request_id"].as_str(), self.header("x-request-id"), "{}", self.text);
        self
    }

    /// The violations of a problem document, in order, as (pointer, code).
    pub(crate) fn violations(&self) -> Vec<(&str, &str)> {
        self.json["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|e| (e["pointer"].as_str().unwrap_or("?"), e["code"].as_str().unwrap_or("?")))
            .collect()
    }

    /// The messages of the violations, joined.
    pub(crate) fn messages(&self) -> String {
        let errors = self.json["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().filter_map(|e| e["message"].as_str()).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

/// The next response on a connection: the lines of its head, and its body.
pub(crate) async fn answer_on(connection: &mut TcpStream) -> (Vec<String>, Value) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.unwrap());
    }
    let lines: Vec<String> = String::from_utf8(head).unwrap().lines().map(ToOwned::to_owned).collect();
    let length = lines.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    connection.read_exact(&mut body).await.unwrap();
    (lines, serde_json::from_slice(&body).unwrap())
}
