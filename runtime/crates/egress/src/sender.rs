//! The sending half of an upstream connection: HTTP/1.1, or HTTP/2 where a definition asks for it.
//!
//! An HTTP/2 connection carries one request at a time and is pooled under the same key as any other:
//! nothing is coalesced across hosts, tenants or credentials.

use http::header::HOST;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};

pub(crate) enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Why a message got no response.
pub(crate) enum SendFailure {
    /// Nothing of it was written; the message comes back.
    NotSent(Box<Request<Full<Bytes>>>),
    /// It may have been written.
    Lost,
    /// The head of its answer is larger than the connection reads.
    HeadTooLarge,
}

impl Sender {
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }

    /// Whether it can take a request now.
    pub(crate) async fn is_good(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    pub(crate) async fn send(
        &mut self,
        message: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, SendFailure> {
        if !self.is_good().await {
            return Err(SendFailure::NotSent(Box::new(message)));
        }
        let answer = match self {
            Self::Http1(sender) => sender.try_send_request(message).await,
            Self::Http2(sender) => sender.try_send_request(absolute(message)).await,
        };
        answer.map_err(|mut error| match error.take_message() {
            // Why in origin form: the next connection may speak HTTP/1.1.
            Some(message) => SendFailure::NotSent(Box::new(origin_form(message))),
            None if error.error().is_parse_too_large() => SendFailure::HeadTooLarge,
            None => SendFailure::Lost,
        })
    }
}

/// HTTP/2 carries scheme and authority beside the path (RFC 9113 section 8.3.1), and no Host.
fn absolute(mut message: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let host = message.headers_mut().remove(HOST);
    let authority = host.as_ref().and_then(|h| h.to_str().ok()).and_then(|h| h.parse().ok());
    let mut parts = message.uri().clone().into_parts();
    if parts.path_and_query.is_none() {
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
    }
    parts.scheme = Some(Scheme::HTTPS);
    parts.authority = authority;
    if let Ok(uri) = Uri::from_parts(parts) {
        *message.uri_mut() = uri;
    }
    message
}

/// HTTP/1.1 carries the path alone, and the authority in Host (RFC 9112 section 3.2.1). A message already in
/// this form does not change.
fn origin_form(mut message: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let parts = message.uri().clone().into_parts();
    if let Some(host) = parts.authority.as_ref().and_then(|a| HeaderValue::from_str(a.as_str()).ok()) {
        message.headers_mut().insert(HOST, host);
    }
    if let Some(path) = parts.path_and_query {
        *message.uri_mut() = Uri::from(path);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http2_gets_authority_and_no_host() {
        let mut message = Request::new(Full::new(Bytes::new()));
        *message.uri_mut() = "/p?q=1".parse().unwrap();
        message.headers_mut().insert(HOST, "api.example.com:8443".parse().unwrap());
        let message = absolute(message);
        assert_eq!(message.uri(), "https://api.example.com:8443/p?q=1");
        assert!(message.headers().get(HOST).is_none());
        let back = origin_form(message);
        assert_eq!(back.uri(), "/p?q=1");
        assert_eq!(back.headers()[HOST], "api.example.com:8443");
        let same = origin_form(back);
        assert_eq!((same.uri().to_string(), same.headers().len()), ("/p?q=1".to_owned(), 1));
    }
}
