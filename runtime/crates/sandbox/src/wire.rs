//! Conversions between the generated types and those of core. No decisions.

use std::time::Duration;

use portcullis_core::outbound::{
    DenyReason, LimitKind, Method, OutboundError, OutboundOptions, OutboundRequest, OutboundResponse,
    TimeoutPhase,
};

use crate::bindings::portcullis::connector::types;

pub(crate) fn request(request: types::Request) -> OutboundRequest {
    let options = request.options.map_or_else(OutboundOptions::default, |o| OutboundOptions {
        connect_timeout: millis(o.connect_timeout_ms),
        first_byte_timeout: millis(o.first_byte_timeout_ms),
        total_timeout: millis(o.total_timeout_ms),
        response_bytes_max: o.max_response_bytes,
    });
    OutboundRequest {
        method: method(request.method),
        url: request.url,
        headers: request.headers,
        body: request.body,
        credential: request.credential,
        options,
    }
}

fn millis(value: Option<u32>) -> Option<Duration> {
    value.map(|ms| Duration::from_millis(u64::from(ms)))
}

const fn method(method: types::Method) -> Method {
    match method {
        types::Method::Get => Method::Get,
        types::Method::Head => Method::Head,
        types::Method::Post => Method::Post,
        types::Method::Put => Method::Put,
        types::Method::Patch => Method::Patch,
        types::Method::Delete => Method::Delete,
        types::Method::Options => Method::Options,
    }
}

pub(crate) fn response(response: OutboundResponse) -> types::Response {
    types::Response {
        status: response.status,
        headers: response.headers,
        body: response.body,
        redacted: response.redacted,
    }
}

pub(crate) fn error(error: &OutboundError) -> types::Error {
    match error {
        OutboundError::Denied(reason) => types::Error::Denied(deny(*reason)),
        OutboundError::DnsFailed => types::Error::DnsFailed,
        OutboundError::ConnectFailed => types::Error::ConnectFailed,
        OutboundError::TlsFailed => types::Error::TlsFailed,
        OutboundError::Timeout(phase) => types::Error::Timeout(timeout(*phase)),
        OutboundError::Limit { kind, limit } => types::Error::Limit(types::LimitInfo {
            kind: limit_kind(*kind),
            limit: *limit,
            retry_after_ms: None,
        }),
        OutboundError::Protocol => types::Error::Protocol,
        OutboundError::Cancelled => types::Error::Cancelled,
        OutboundError::Internal(id) => types::Error::Internal(id.clone()),
    }
}

const fn deny(reason: DenyReason) -> types::DenyReason {
    match reason {
        DenyReason::SchemeNotHttps => types::DenyReason::SchemeNotHttps,
        DenyReason::UrlInvalid => types::DenyReason::UrlInvalid,
        DenyReason::UserinfoPresent => types::DenyReason::UserinfoPresent,
        DenyReason::IpLiteral => types::DenyReason::IpLiteral,
        DenyReason::PortNotAllowed => types::DenyReason::PortNotAllowed,
        DenyReason::HostNotInConnector => types::DenyReason::HostNotInConnector,
        DenyReason::HostNotInOrg => types::DenyReason::HostNotInOrg,
        DenyReason::RedirectForbidden => types::DenyReason::RedirectForbidden,
        DenyReason::HeaderForbidden => types::DenyReason::HeaderForbidden,
        DenyReason::MethodForbidden => types::DenyReason::MethodForbidden,
        DenyReason::PathNotGranted => types::DenyReason::PathNotGranted,
        DenyReason::CredentialNotBound => types::DenyReason::CredentialNotBound,
        DenyReason::CredentialMissing => types::DenyReason::CredentialMissing,
    }
}

const fn timeout(phase: TimeoutPhase) -> types::TimeoutPhase {
    match phase {
        TimeoutPhase::Queue => types::TimeoutPhase::Queue,
        TimeoutPhase::Dns => types::TimeoutPhase::Dns,
        TimeoutPhase::Connect => types::TimeoutPhase::Connect,
        TimeoutPhase::Tls => types::TimeoutPhase::Tls,
        TimeoutPhase::FirstByte => types::TimeoutPhase::FirstByte,
        TimeoutPhase::BetweenBytes => types::TimeoutPhase::BetweenBytes,
        TimeoutPhase::Total => types::TimeoutPhase::Total,
    }
}

const fn limit_kind(kind: LimitKind) -> types::LimitKind {
    match kind {
        LimitKind::UrlBytes => types::LimitKind::UrlBytes,
        LimitKind::HeaderBytes => types::LimitKind::HeaderBytes,
        LimitKind::HeaderCount => types::LimitKind::HeaderCount,
        LimitKind::RequestBytes => types::LimitKind::RequestBytes,
        LimitKind::ResponseBytes => types::LimitKind::ResponseBytes,
        LimitKind::DecodedBytes => types::LimitKind::DecodedBytes,
        LimitKind::Calls => types::LimitKind::Calls,
        LimitKind::Concurrency => types::LimitKind::Concurrency,
        LimitKind::Rate => types::LimitKind::Rate,
    }
}
