//! Reading a response within its limits, and removing the credential from it. A response is hostile input:
//! lengths can be wrong, bodies endless, codings bombs. Called by the guard.

use std::error::Error as _;
use std::io::ErrorKind;
use std::sync::LazyLock;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use portcullis_core::fault::Code;
use portcullis_core::header_rules::is_visible_to_guest;
use portcullis_core::limits::Limits;
use portcullis_core::offload;
use portcullis_core::outbound::{LimitKind, Method, OutboundResponse, TimeoutPhase};
use tokio::sync::Semaphore;

use crate::decode;
use crate::error::SendError;
use crate::known_secrets::KnownSecrets;

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
    /// secrets.
    pub(crate) fn for_guest(self, secrets: &KnownSecrets) -> OutboundResponse {
        let Self { status, mut headers, mut body } = self;
        headers.retain(|(name, _)| is_visible_to_guest(name));
        let mut redacted = false;
        if !secrets.is_empty() {
            let scrubber = secrets.scrubber();
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
        let error = SendError::limit(Code::ResponseTooLarge, LimitKind::HeaderCount, limit);
        let why = format!("the answer has more than {limit} header fields (limits.response_header_count)");
        return Err(error.because(why));
    }
    let bytes: usize = headers.iter().map(|(n, v)| n.as_str().len() + v.len()).sum();
    if bytes as u64 > limits.response_header_bytes {
        let limit = limits.response_header_bytes;
        let error = SendError::limit(Code::ResponseTooLarge, LimitKind::HeaderBytes, limit);
        let why = format!("the answer has more than {limit} bytes of headers (limits.response_header_bytes)");
        return Err(error.because(why));
    }
    let bytes = |value: &HeaderValue| value.as_bytes().to_vec();
    Ok(headers.iter().map(|(name, value)| (name.as_str().to_owned(), bytes(value))).collect())
}

/// The error for an answer whose head the HTTP library did not read to its end. It does not say which of the two
/// limits was passed.
pub(crate) fn head_too_large(limits: &Limits) -> SendError {
    let (count, bytes) = (limits.response_header_count, limits.response_header_bytes);
    SendError::limit(Code::ResponseTooLarge, LimitKind::HeaderBytes, bytes).because(format!(
        "the answer has more than {count} header fields (limits.response_header_count) or {bytes} bytes of headers \
         (limits.response_header_bytes)"
    ))
}

/// The error of a body that could not be read to its end.
fn body_error(error: &hyper::Error, ends_with_connection: bool) -> SendError {
    let Some(cause) = error.source().and_then(|source| source.downcast_ref::<std::io::Error>()) else {
        return SendError::from(Code::UpstreamProtocol);
    };
    if ends_with_connection && cause.kind() == ErrorKind::UnexpectedEof {
        return SendError::from(Code::ResponseTruncated).because(
            "the answer has no length and ended without close_notify, so it may be cut off; if this vendor always \
             closes like that, set egress.tls_close to \"lenient\" in the connector's definition",
        );
    }
    // Why by its words: the HTTP library has no kind of its own for these two limits.
    let text = cause.to_string();
    if text.starts_with("chunk ") && (text.ends_with("over limit") || text.ends_with("count overflow")) {
        let too_large = SendError { code: Code::ResponseTooLarge, ..SendError::from(Code::UpstreamProtocol) };
        return too_large.because(
            "the answer has more than 16 KiB of chunk extensions or trailers, or more trailers than header fields are \
             read (limits.response_header_count)",
        );
    }
    SendError::from(Code::UpstreamProtocol)
}

/// How a response is read.
pub(crate) struct Reading {
    pub(crate) method: Method,
    /// Largest body, bytes.
    pub(crate) bytes_max: u64,
    /// Whether a body without a length may end without `close_notify`.
    pub(crate) unclean_close: bool,
}

/// Reads the whole response. `received` counts body bytes as they arrive, for the ledger.
///
/// # Errors
/// `response_too_large`, `response_truncated`, `upstream_protocol` or `upstream_timeout`.
pub(crate) async fn read(
    response: Response<Incoming>,
    reading: Reading,
    limits: &Limits,
    received: &mut u64,
) -> Result<Raw, SendError> {
    let Reading { method, bytes_max, unclean_close } = reading;
    let (parts, incoming) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(SendError::from(Code::UpstreamProtocol));
    }
    let headers = check_headers(&parts.headers, limits)?;
    let codings = decode::codings(parts.headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes));
    let announced =
        parts.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    // A response to HEAD, and a 304, may name the length of a body that is not sent (RFC 9110 section 8.6).
    let bodiless = method == Method::Head || parts.status == StatusCode::NOT_MODIFIED;
    if !bodiless && announced.is_some_and(|length| length > bytes_max) {
        return Err(body_too_large(bytes_max));
    }
    // RFC 9112 section 6.3, rule 8.
    let ends_with_connection = parts.version < Version::HTTP_2
        && !parts.headers.contains_key(CONTENT_LENGTH)
        && !parts.headers.contains_key(TRANSFER_ENCODING);
    // Why no more: the length is a claim, and memory is not reserved for bytes that may never come.
    let expected = announced.unwrap_or(0).min(BODY_RESERVED_MAX);
    let mut body = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
    let pause = Duration::from_millis(limits.between_bytes_ms);
    match read_body(incoming, pause, bytes_max, ends_with_connection, &mut body, received).await {
        Err(error) if unclean_close && error.code == Code::ResponseTruncated => {}
        read => read?,
    }
    let (headers, body) = if codings.is_empty() || body.is_empty() {
        (headers, body)
    } else {
        let status = parts.status.as_u16();
        decoded(codings, headers, body, limits).await.map_err(|error| answered(error, status, method))?
    };
    // Why: it is searched for secrets, and the guest reads it.
    offload::over(body.len()).await;
    Ok(Raw { status: parts.status.as_u16(), headers, body })
}

/// Adds to an unreadable answer's error that there was an answer: repeating a write would carry it out twice.
fn answered(error: SendError, status: u16, method: Method) -> SendError {
    match &error.detail {
        Some(why) if error.code == Code::ResponseUnreadable => {
            let reads = matches!(method, Method::Get | Method::Head | Method::Options);
            let repeat = if reads { "" } else { " and must not be repeated" };
            let why = format!("{why}; the request was answered with {status}{repeat}");
            error.because(why)
        }
        _ => error,
    }
}

fn body_too_large(bytes_max: u64) -> SendError {
    // Why no setting: the definition may have lowered it.
    let why = format!(
        "the answer's body is larger than {bytes_max} bytes (limits.response_bytes, or lower for the action)"
    );
    SendError::limit(Code::ResponseTooLarge, LimitKind::ResponseBytes, bytes_max).because(why)
}

/// Reads a body into `body`, which has what came also after an error.
async fn read_body(
    mut incoming: Incoming,
    pause: Duration,
    bytes_max: u64,
    ends_with_connection: bool,
    body: &mut Vec<u8>,
    received: &mut u64,
) -> Result<(), SendError> {
    loop {
        let frame = tokio::time::timeout(pause, incoming.frame())
            .await
            .map_err(|_| SendError::timeout(TimeoutPhase::BetweenBytes))?;
        let Some(frame) = frame else { return Ok(()) };
        let frame = frame.map_err(|error| body_error(&error, ends_with_connection))?;
        // Trailers are dropped.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        *received += data.len() as u64;
        if body.len() as u64 + data.len() as u64 > bytes_max {
            return Err(body_too_large(bytes_max));
        }
        body.extend_from_slice(&data);
        // Why already: the rest of it is copied there.
        offload::over(body.len()).await;
    }
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
