//! The third party: a TLS server with a test CA that records every request as it was on the wire and responds
//! by script. Its HTTP/1.1 is written by hand, so that it can also send invalid messages.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use portcullis_stand_in::certificates;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The response on a path.
#[derive(Debug, Clone)]
pub(crate) enum Script {
    /// A complete JSON response.
    Json(u16, &'static str),
    /// These bytes, then the connection is closed.
    Raw(Vec<u8>),
    /// These bytes; the connection is kept.
    Kept(Vec<u8>),
    /// These pieces, each flushed separately with a short pause; then the connection is closed.
    Pieces(Vec<Vec<u8>>),
    /// The head, then the piece repeatedly until the peer closes the connection.
    Endless { head: Vec<u8>, piece: Vec<u8>, pause: Duration },
    /// This status, and the request's Authorization in the body and in headers, also encoded.
    Echo(u16),
    /// The connection is closed without a response.
    HangUp,
    /// No response; the connection stays open.
    Silence,
    /// A script that the test makes from the request.
    Made(Maker),
    /// The inner script after this time.
    After(Duration, Box<Script>),
    /// The inner script once the test adds a permit.
    Held(Arc<Semaphore>, Box<Script>),
}

/// Makes a script from a request.
#[derive(Clone)]
pub(crate) struct Maker(Arc<dyn Fn(&Received) -> Script + Send + Sync>);

impl std::fmt::Debug for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Maker")
    }
}

impl Script {
    /// A script made from each request.
    pub(crate) fn made(make: impl Fn(&Received) -> Self + Send + Sync + 'static) -> Self {
        Self::Made(Maker(Arc::new(make)))
    }

    /// A complete JSON response; the connection is kept.
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::Kept(whole(status, &[], &body.to_string()))
    }

    /// These scripts one after the other; the last one repeats.
    pub(crate) fn turns(turns: Vec<Self>) -> Self {
        let count = AtomicUsize::new(0);
        Self::made(move |_| {
            let turn = count.fetch_add(1, Ordering::SeqCst);
            turns[turn.min(turns.len() - 1)].clone()
        })
    }
}

/// A request that arrived, as it was on the wire.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// Method and target.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1")
    }

    /// Every value of a header, in order.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The target without its query.
    pub(crate) fn path(&self) -> &str {
        let target = self.line().split(' ').nth(1).unwrap_or_default();
        target.split('?').next().unwrap_or_default()
    }
}

#[derive(Default)]
struct Shared {
    received: Mutex<Vec<Received>>,
    scripts: Mutex<HashMap<String, Script>>,
    /// Completed TLS handshakes.
    sessions: Mutex<usize>,
    /// Those of them whose connection has ended.
    ended: Mutex<usize>,
    /// The number of next sessions that are closed before anything is read.
    unread: AtomicUsize,
}

pub(crate) struct Upstream {
    pub(crate) ca_pem: String,
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Upstream {
    /// Starts it with a certificate for these names.
    pub(crate) async fn start(names: &[&str]) -> Self {
        let (ca_pem, config) = certificates(names).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), Arc::clone(&shared)));
        Self { ca_pem, address, shared }
    }

    /// Sets the script of a path; a path without one gets 201 and a small JSON object.
    pub(crate) fn script(&self, path: &str, script: Script) {
        self.shared.scripts.lock().unwrap().insert(path.to_owned(), script);
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// The requests on a path.
    pub(crate) fn received_on(&self, path: &str) -> Vec<Received> {
        self.received().into_iter().filter(|request| request.path() == path).collect()
    }

    /// The next `count` sessions are closed before anything is read.
    pub(crate) fn close_unread(&self, count: usize) {
        self.shared.unread.store(count, Ordering::SeqCst);
    }

    /// TLS sessions that were established.
    pub(crate) fn sessions(&self) -> usize {
        *self.shared.sessions.lock().unwrap()
    }

    /// TLS sessions whose connection has not ended.
    pub(crate) fn open(&self) -> usize {
        let ended = *self.shared.ended.lock().unwrap();
        self.sessions() - ended
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let Ok(mut stream) = tls.accept(stream).await else {
                return;
            };
            *shared.sessions.lock().unwrap() += 1;
            let take = |left: usize| left.checked_sub(1);
            if shared.unread.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
                return;
            }
            while let Some(request) = read_request(&mut stream).await {
                shared.received.lock().unwrap().push(request.clone());
                if !answer(&mut stream, &shared, &request).await {
                    break;
                }
            }
            *shared.ended.lock().unwrap() += 1;
        });
    }
}

async fn read_request(stream: &mut TlsStream<TcpStream>) -> Option<Received> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let body = bytes.split_off(end);
    let mut request = Received { head: String::from_utf8_lossy(&bytes).into_owned(), body };
    let length: usize = request.header("content-length").first().map_or(0, |v| v.parse().unwrap());
    while request.body.len() < length {
        if stream.read_buf(&mut request.body).await.ok()? == 0 {
            return None;
        }
    }
    Some(request)
}

/// Responds to one request; returns whether the connection is kept.
async fn answer(stream: &mut TlsStream<TcpStream>, shared: &Shared, request: &Received) -> bool {
    let script = shared.scripts.lock().unwrap().get(request.path()).cloned();
    let mut script = script.unwrap_or(Script::Json(201, r#"{"id":"003","success":true}"#));
    loop {
        script = match script {
            Script::Made(Maker(make)) => make(request),
            Script::After(pause, rest) => {
                tokio::time::sleep(pause).await;
                *rest
            }
            Script::Held(permits, rest) => {
                permits.acquire().await.unwrap().forget();
                *rest
            }
            _ => break,
        };
    }
    let (bytes, keep) = match script {
        Script::Json(status, body) => (whole(status, &[], body), true),
        Script::Raw(bytes) => (bytes, false),
        Script::Echo(status) => (echo(status, request), true),
        Script::Kept(bytes) => (bytes, true),
        Script::Pieces(pieces) => return send_pieces(stream, pieces).await,
        Script::Endless { head, piece, pause } => return send_endless(stream, head, &piece, pause).await,
        Script::HangUp => (Vec::new(), false),
        Script::Silence => std::future::pending().await,
        Script::Made(_) | Script::After(..) | Script::Held(..) => unreachable!("resolved above"),
    };
    let written = stream.write_all(&bytes).await.is_ok() && stream.flush().await.is_ok();
    if !keep {
        // Why ignored: the peer may have closed the connection already.
        let _ = stream.shutdown().await;
    }
    written && keep
}

/// Returns whether the connection is kept: never.
async fn send_pieces(stream: &mut TlsStream<TcpStream>, pieces: Vec<Vec<u8>>) -> bool {
    for piece in pieces {
        if stream.write_all(&piece).await.is_err() || stream.flush().await.is_err() {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Why ignored: the peer may have closed the connection already.
    let _ = stream.shutdown().await;
    false
}

/// Writes until the peer closes the connection.
async fn send_endless(
    stream: &mut TlsStream<TcpStream>,
    head: Vec<u8>,
    piece: &[u8],
    pause: Duration,
) -> bool {
    let mut written = stream.write_all(&head).await;
    while written.is_ok() {
        written = stream.flush().await;
        if written.is_ok() {
            tokio::time::sleep(pause).await;
            written = stream.write_all(piece).await;
        }
    }
    false
}

pub(crate) fn whole(status: u16, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
}

fn echo(status: u16, request: &Received) -> Vec<u8> {
    let sent = request.header("authorization").join(",");
    let secret = sent.rsplit(' ').next().unwrap_or_default();
    let body = serde_json::json!({
        "error": format!("the header was {sent}"),
        "raw": secret,
        "base64": BASE64.encode(secret),
        "hex": hex::encode(secret),
        "percent": percent(secret),
        "reached_the_end": true,
    });
    whole(status, &[("x-echo", &sent), ("x-echo-base64", &BASE64.encode(&sent))], &body.to_string())
}

/// Percent-encodes a text as common libraries do for a query.
fn percent(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
