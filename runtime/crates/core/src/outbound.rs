//! The interface between sandbox and gate: one request out, one answer back.
//!
//! The sandbox holds an [`Outbound`] without knowing what is behind it; the gate implements it. Shapes
//! mirror `wit/connector.wit`. A credential value cannot be expressed here.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use portcullis_action::Method;

/// A boxed future, for traits that are used behind `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One request of a guest, untrusted.
#[derive(Debug, Clone)]
pub struct OutboundRequest {
    pub method: Method,
    /// URL as the guest wrote it, unchecked.
    pub url: String,
    /// Headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Option<Vec<u8>>,
    /// Name of a credential slot.
    pub credential: Option<String>,
    /// Limits that the guest lowers for itself.
    pub options: OutboundOptions,
}

/// Limits that can only lower the host's.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutboundOptions {
    /// TCP connect.
    pub connect_timeout: Option<Duration>,
    /// Response headers.
    pub first_byte_timeout: Option<Duration>,
    /// Whole request.
    pub total_timeout: Option<Duration>,
    /// Response body, bytes.
    pub response_bytes_max: Option<u64>,
}

/// One answer, capped, decoded and scrubbed.
#[derive(Debug, Clone)]
pub struct OutboundResponse {
    pub status: u16,
    /// Headers that a guest may see, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// Whether the upstream echoed the credential and it was removed.
    pub redacted: bool,
}

/// Why the gate refused, as far as a guest may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenyReason {
    /// The scheme is not https.
    SchemeNotHttps,
    /// The gate cannot read it as a URL.
    UrlInvalid,
    /// The URL has `user@`.
    UserinfoPresent,
    /// The host is an IP address.
    IpLiteral,
    /// The port is not in the definition's list.
    PortNotAllowed,
    /// The host is not in the connector's list.
    HostNotInConnector,
    /// The host is not in the org's list.
    HostNotInOrg,
    /// The redirect may not be followed.
    RedirectForbidden,
    /// The guest may not set this header.
    HeaderForbidden,
    /// The action was not granted this method.
    MethodForbidden,
    /// The action was not granted this path.
    PathNotGranted,
    /// The credential is bound to another origin.
    CredentialNotBound,
    /// There is no such slot.
    CredentialMissing,
}

/// Which wait timed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutPhase {
    /// Waiting to be scheduled.
    Queue,
    /// Name lookup.
    Dns,
    /// TCP connect.
    Connect,
    /// TLS handshake.
    Tls,
    /// Response headers.
    FirstByte,
    /// Between two pieces of a body.
    BetweenBytes,
    Total,
}

/// Which limit was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    UrlBytes,
    HeaderBytes,
    HeaderCount,
    RequestBytes,
    ResponseBytes,
    DecodedBytes,
    /// Requests of one call.
    Calls,
    /// Concurrent calls.
    Concurrency,
    /// Requests per time.
    Rate,
}

/// Why there is no answer, as far as a guest may know. A forbidden address is [`Self::DnsFailed`] here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboundError {
    /// A check refused.
    Denied(DenyReason),
    /// No usable address.
    DnsFailed,
    /// No connection.
    ConnectFailed,
    /// No TLS session.
    TlsFailed,
    /// A wait timed out.
    Timeout(TimeoutPhase),
    /// A limit was exceeded.
    Limit { kind: LimitKind, limit: u64 },
    /// The upstream did not speak HTTP correctly.
    Protocol,
    /// The call was ended from outside.
    Cancelled,
    /// Something failed inside; the text is a correlation id only.
    Internal(String),
}

/// The only way out of the sandbox. Dropping the future cancels the request.
pub trait Outbound: Send + Sync {
    /// Sends one request through every check and waits for its answer.
    fn send(&self, request: OutboundRequest) -> BoxFuture<'_, Result<OutboundResponse, OutboundError>>;
}
