//! Compares [`RequestHead::of`] with hyper's reading of the same bytes.
//!
//! It generates no input: the unit tests and the fuzz target `request_head` do, and both include this file. So it
//! uses nothing of the crate except what `super` imports.

use std::cell::RefCell;
use std::convert::Infallible;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::AUTHORIZATION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use super::RequestHead;

/// Longest request that is sent completely; of longer ones only the head is.
const SENT_MAX: usize = 64 * 1024;

/// A byte of a body. Why a letter: if hyper's body ends too early, it becomes part of the next method.
const FILL: u8 = b'F';

/// The following request. After it hyper reads nothing.
const NEXT: &[u8] = b"NEXT /marker HTTP/1.1\r\nconnection: close\r\n\r\n";

/// What hyper read of one request.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    method: String,
    target: String,
    /// Values of all `Authorization` fields; `None` if one is not text.
    authorization: Vec<Option<String>>,
    /// Length of the body as declared, bytes.
    body: Option<u64>,
    /// Bytes of the body that were received.
    came: Option<Vec<u8>>,
}

/// Whether a head was read at all.
///
/// # Panics
/// If hyper reads the same bytes differently.
pub(super) fn agree(bytes: &[u8]) -> bool {
    let Some(head) = RequestHead::of(bytes) else { return false };
    let length = usize::try_from(head.length).ok().filter(|length| *length <= SENT_MAX);
    let mut sent = bytes.to_vec();
    if let Some(length) = length {
        sent.truncate(length);
        sent.resize(length, FILL);
        sent.extend_from_slice(NEXT);
    }
    let seen = read_by_hyper(&sent, length.is_some());
    let first = seen.first().unwrap_or_else(|| panic!("hyper refuses {head:?}"));
    assert_eq!((first.method.as_str(), first.target.as_str()), (head.method, head.target));
    match first.authorization.as_slice() {
        [only] => assert_eq!((head.authorization, true), (only.as_deref(), only.is_some())),
        _ => assert_eq!(head.authorization, None, "none or more than one"),
    }
    let body = first.body.expect("a declared length");
    let end = usize::try_from(head.length - body).expect("a head in memory");
    let text = bytes.get(..end).expect("a head that came");
    assert!(text.ends_with(b"\r\n\r\n"), "{head:?} ends after an empty line");
    assert_eq!(RequestHead::of(text), Some(head), "what follows a head does not change it");
    assert_eq!(RequestHead::of(&text[..end - 1]), None, "a part of a head is not read");
    if length.is_some() {
        assert_eq!(first.came.as_deref(), sent.get(end..sent.len() - NEXT.len()), "the body");
        let next = Seen {
            method: "NEXT".to_owned(),
            target: "/marker".to_owned(),
            authorization: Vec::new(),
            body: Some(0),
            came: Some(Vec::new()),
        };
        assert_eq!(seen.get(1..), Some([next].as_slice()), "the request after {head:?}");
    }
    true
}

/// Every request that hyper reads, configured as the API's listener is; bodies are read if they were sent.
fn read_by_hyper(sent: &[u8], with_bodies: bool) -> Vec<Seen> {
    let seen = RefCell::new(Vec::new());
    let service = service_fn(async |request: Request<Incoming>| {
        let mut now = head_of(&request);
        if with_bodies {
            now.came = request.into_body().collect().await.ok().map(|body| body.to_bytes().to_vec());
        }
        seen.borrow_mut().push(now);
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(2 * SENT_MAX + sent.len());
        client.write_all(sent).await.expect("room for all of it");
        client.shutdown().await.expect("an end");
        // Why half closed: all was written at once, and hyper would drop a request whose caller is gone.
        // Why ignored: after an error a request is missing from the result.
        let _ = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service).await;
    });
    seen.into_inner()
}

fn head_of(request: &Request<Incoming>) -> Seen {
    let authorization = request.headers().get_all(AUTHORIZATION);
    Seen {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        authorization: authorization.iter().map(|value| value.to_str().ok().map(str::to_owned)).collect(),
        body: request.body().size_hint().exact(),
        came: None,
    }
}
