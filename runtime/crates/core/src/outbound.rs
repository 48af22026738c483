//! The seam between sandbox and gate: one request out, one answer back.
//!
//! The sandbox is given an [`Outbound`] and knows nothing about it; the gate implements it. Shapes
//! mirror `wit/connector.wit`. No credential value can be expressed here.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use portcullis_action::Method;

/// A boxed future, for traits that are used behind `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One request of a guest, untrusted.
#[derive(Debug, Clone)]
pub struct OutboundRequest {
    /// Method.
    pub method: Method,
    /// URL text as the guest wrote it.
    pub url: String,
    /// Headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Body.
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
    /// Status.
    pub status: u16,
    /// Headers that a guest may see, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Body.
    pub body: Vec<u8>,
    /// The upstream echoed the credential and it was removed.
    pub redacted: bool,
}

/// Why the gate said no, as far as a guest may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenyReason {
    /// Only https.
    SchemeNotHttps,
    /// Not a URL the gate reads.
    UrlInvalid,
    /// `user@`.
    UserinfoPresent,
    /// An address for a host.
    IpLiteral,
    /// Port outside the definition's list.
    PortNotAllowed,
    /// Connector's list.
    HostNotInConnector,
    /// Org's list.
    HostNotInOrg,
    /// Redirect.
    RedirectForbidden,
    /// Header.
    HeaderForbidden,
    /// Method.
    MethodForbidden,
    /// Path.
    PathNotGranted,
    /// Credential bound to another origin.
    CredentialNotBound,
    /// No such slot.
    CredentialMissing,
}

/// Which wait ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutPhase {
    /// Waiting for a turn.
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
    /// Whole request.
    Total,
}

/// Which limit was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// URL length.
    UrlBytes,
    /// Header bytes.
    HeaderBytes,
    /// Header count.
    HeaderCount,
    /// Request body.
    RequestBytes,
    /// Response body.
    ResponseBytes,
    /// Response body after decoding.
    DecodedBytes,
    /// Requests of one call.
    Calls,
    /// Calls at once.
    Concurrency,
    /// Rate.
    Rate,
}

/// Why there is no answer, as a guest may know it. A forbidden address is [`Self::DnsFailed`] here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboundError {
    /// A check said no.
    Denied(DenyReason),
    /// No usable address.
    DnsFailed,
    /// No connection.
    ConnectFailed,
    /// No TLS session.
    TlsFailed,
    /// A wait ran out.
    Timeout(TimeoutPhase),
    /// A limit was passed.
    Limit {
        /// Which.
        kind: LimitKind,
        /// Its number.
        limit: u64,
    },
    /// Not HTTP as it should be.
    Protocol,
    /// The call was ended.
    Cancelled,
    /// Correlation id only.
    Internal(String),
}

/// The one way out of the sandbox. Dropping the future cancels the request.
pub trait Outbound: Send + Sync {
    /// Sends one request through every check and waits for its answer.
    fn send(&self, request: OutboundRequest) -> BoxFuture<'_, Result<OutboundResponse, OutboundError>>;
}
