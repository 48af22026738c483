//! Reading a response within its limits, and removing the credential from it. A response is hostile input:
//! lengths can be wrong, bodies endless, codings bombs. Called by the guard.

use std::sync::LazyLock;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use portcullis_core::fault::Code;
use portcullis_core::header_rules::is_visible_to_guest;
use portcullis_core::limits::Limits;
use portcullis_core::outbound::{LimitKind, Method, OutboundResponse, TimeoutPhase};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::decode;
use crate::error::SendError;
use crate::scrub::Scrubber;

/// The most memory reserved on the word of a Content-Length, bytes.
const BODY_RESERVED_MAX: u64 = 64 * 1024;

/// Limits how many bodies are decoded at once.
static DECODERS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));

/// Header fields in order, names in lower case.
type Headers = Vec<(String, Vec<u8>)>;

/// A response before scrubbing.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Raw {
    /// The response unchanged, for the host.
    pub(crate) fn whole(self) -> OutboundResponse {
        OutboundResponse { status: self.status, headers: self.headers, body: self.body, redacted: false }
    }

    /// The response for a guest: without headers that only the host sees, and without any form of these
    /// texts.
    pub(crate) fn for_guest(self, secrets: &[Zeroizing<String>]) -> OutboundResponse {
        let Self { status, mut headers, mut body } = self;
        headers.retain(|(name, _)| is_visible_to_guest(name));
        let mut redacted = false;
        if !secrets.is_empty() {
            let scrubber = Scrubber::new(secrets.iter().map(|s| s.as_str()));
            redacted |= scrubber.scrub(&mut body);
            let before = headers.len();
            headers.retain(|(name, _)| !scrubber.is_in(name.as_bytes()));
            redacted |= headers.len() != before;
            for (_, value) in &mut headers {
                redacted |= scrubber.scrub(value);
            }
            if redacted {
                headers.retain(|(name, _)| name != "content-length");
            }
        }
        OutboundResponse { status, headers, body, redacted }
    }
}

/// Checks the header section against limits that the HTTP library does not enforce.
fn check_headers(headers: &HeaderMap, limits: &Limits) -> Result<Vec<(String, Vec<u8>)>, SendError> {
    if headers.len() as u64 > limits.response_header_count {
        let limit = limits.response_header_count;
        return Err(SendError::limit(Code::ResponseTooLarge, LimitKind::HeaderCount, limit));
    }
    let bytes: usize = headers.iter().map(|(n, v)| n.as_str().len() + v.len()).sum();
    if bytes as u64 > limits.response_header_bytes {
        let limit = limits.response_header_bytes;
        return Err(SendError::limit(Code::ResponseTooLarge, LimitKind::HeaderBytes, limit));
    }
    let bytes = |value: &HeaderValue| value.as_bytes().to_vec();
    Ok(headers.iter().map(|(name, value)| (name.as_str().to_owned(), bytes(value))).collect())
}

/// Reads the whole response. `received` counts body bytes as they arrive, for the ledger.
///
/// # Errors
/// `response_too_large`, `upstream_protocol` or `upstream_timeout`.
pub(crate) async fn read(
    response: Response<Incoming>,
    method: Method,
    limits: &Limits,
    bytes_max: u64,
    received: &mut u64,
) -> Result<Raw, SendError> {
    let (parts, mut incoming) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(SendError::from(Code::UpstreamProtocol));
    }
    let headers = check_headers(&parts.headers, limits)?;
    let codings = decode::codings(parts.headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes));
    let too_large = || SendError::limit(Code::ResponseTooLarge, LimitKind::ResponseBytes, bytes_max);
    let announced =
        parts.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    // A response to HEAD, and a 304, may name the length of a body that is not sent (RFC 9110 section 8.6).
    let bodiless = method == Method::Head || parts.status == StatusCode::NOT_MODIFIED;
    if !bodiless && announced.is_some_and(|length| length > bytes_max) {
        return Err(too_large());
    }
    // Why no more: the length is a claim, and memory is not reserved for bytes that may never come.
    let expected = announced.unwrap_or(0).min(BODY_RESERVED_MAX);
    let mut body = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
    let pause = Duration::from_millis(limits.between_bytes_ms);
    loop {
        let frame = tokio::time::timeout(pause, incoming.frame())
            .await
            .map_err(|_| SendError::timeout(TimeoutPhase::BetweenBytes))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| SendError::from(Code::UpstreamProtocol))?;
        // Trailers are dropped.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        *received += data.len() as u64;
        if body.len() as u64 + data.len() as u64 > bytes_max {
            return Err(too_large());
        }
        body.extend_from_slice(&data);
    }
    let (headers, body) = if codings.is_empty() || body.is_empty() {
        (headers, body)
    } else {
        decoded(codings, headers, body, limits).await?
    };
    Ok(Raw { status: parts.status.as_u16(), headers, body })
}

/// Decodes the body, and removes the headers that describe the coded body.
async fn decoded(
    codings: Vec<String>,
    mut headers: Headers,
    body: Vec<u8>,
    limits: &Limits,
) -> Result<(Headers, Vec<u8>), SendError> {
    headers.retain(|(name, _)| name != "content-encoding" && name != "content-length");
    let limits = limits.clone();
    // Why limited: the bodies of one tenant must not take every thread of the pool.
    let turn = DECODERS.acquire().await.map_err(|_| SendError::from(Code::Internal))?;
    // Why another thread: a large body takes milliseconds, which would block other calls on this thread.
    let work = tokio::task::spawn_blocking(move || decode::decode(&codings, body, &limits));
    let body = work.await.map_err(|_| SendError::from(Code::Internal))??;
    drop(turn);
    Ok((headers, body))
}
