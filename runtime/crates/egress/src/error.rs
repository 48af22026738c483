//! The error of the gate in its two forms: the code for the caller, the ledger and the run, and the error
//! that the guest gets.

use portcullis_core::fault::{Code, Fault};
use portcullis_core::ledger::LedgerVerdict;
use portcullis_core::outbound::{DenyReason, LimitKind, OutboundError, TimeoutPhase};

/// Why a request got no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SendError {
    pub(crate) code: Code,
    pub(crate) guest: OutboundError,
    /// What the code alone does not say, for people. Made of the host's own words and numbers.
    pub(crate) detail: Option<String>,
}

impl SendError {
    pub(crate) const fn limit(code: Code, kind: LimitKind, limit: u64) -> Self {
        Self { code, guest: OutboundError::Limit { kind, limit }, detail: None }
    }

    pub(crate) const fn timeout(phase: TimeoutPhase) -> Self {
        Self { code: Code::UpstreamTimeout, guest: OutboundError::Timeout(phase), detail: None }
    }

    /// The same, with what the code alone does not say.
    pub(crate) fn because(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// What the code alone does not say, if there is anything.
    pub(crate) fn words(&self) -> Option<String> {
        self.detail.clone().or_else(|| self.over_limit())
    }

    /// The same for a request to this origin; where nothing else is known of a failure of the network, the host with the
    /// code's own sentence. The origin may be empty.
    pub(crate) fn words_about(&self, origin: &str) -> Option<String> {
        let host = origin.strip_prefix("https://").filter(|host| !host.is_empty());
        let of_host = matches!(
            self.code,
            Code::DnsFailed | Code::AddressForbidden | Code::ConnectFailed | Code::TlsFailed
        );
        self.words().or_else(|| host.filter(|_| of_host).map(|host| format!("{host}: {}", self.code.title())))
    }

    /// Which limit was passed, and where it is set; `None` for another reason.
    fn over_limit(&self) -> Option<String> {
        let OutboundError::Limit { kind, limit } = &self.guest else { return None };
        let answer = self.code == Code::ResponseTooLarge;
        Some(match kind {
            LimitKind::UrlBytes => {
                format!("the request's URL is longer than {limit} bytes (limits.url_bytes)")
            }
            LimitKind::HeaderBytes if answer => {
                format!("the answer's headers are larger than {limit} bytes (limits.response_header_bytes)")
            }
            LimitKind::HeaderCount if answer => {
                format!("the answer has more than {limit} headers (limits.response_header_count)")
            }
            LimitKind::HeaderBytes => {
                format!("the request's headers are larger than {limit} bytes (limits.request_header_bytes)")
            }
            LimitKind::HeaderCount => {
                format!("the request has more than {limit} headers (limits.request_header_count)")
            }
            LimitKind::RequestBytes if self.code == Code::CallsExceeded => {
                format!("the call's requests are larger than {limit} bytes (limits.outbound_bytes_per_call)")
            }
            LimitKind::RequestBytes => {
                format!("the request's body is larger than {limit} bytes (limits.request_bytes)")
            }
            LimitKind::ResponseBytes => {
                format!("the answer's body is larger than {limit} bytes (response_bytes)")
            }
            LimitKind::DecodedBytes => format!(
                "the answer's body, decoded, is larger than {limit} bytes (limits.decoded_bytes, limits.decode_ratio)"
            ),
            LimitKind::Calls => format!("the call may make {limit} requests"),
            LimitKind::Concurrency | LimitKind::Rate => return None,
        })
    }

    pub(crate) fn verdict(&self) -> LedgerVerdict {
        if self.code.fault() == Fault::Policy { LedgerVerdict::Refuse } else { LedgerVerdict::Error }
    }
}

impl From<Code> for SendError {
    /// The error that a guest gets for a code. A forbidden address looks like a name that does not exist.
    fn from(code: Code) -> Self {
        let guest = match code {
            Code::SchemeNotHttps => OutboundError::Denied(DenyReason::SchemeNotHttps),
            Code::UrlInvalid => OutboundError::Denied(DenyReason::UrlInvalid),
            Code::UserinfoPresent => OutboundError::Denied(DenyReason::UserinfoPresent),
            Code::IpLiteral => OutboundError::Denied(DenyReason::IpLiteral),
            Code::PortNotAllowed => OutboundError::Denied(DenyReason::PortNotAllowed),
            Code::HostNotInConnector => OutboundError::Denied(DenyReason::HostNotInConnector),
            Code::HostNotInOrg => OutboundError::Denied(DenyReason::HostNotInOrg),
            Code::RedirectForbidden => OutboundError::Denied(DenyReason::RedirectForbidden),
            // The guest's interface has one error for every place that belongs to the credential.
            Code::HeaderForbidden | Code::QueryForbidden | Code::BodyForbidden => {
                OutboundError::Denied(DenyReason::HeaderForbidden)
            }
            Code::MethodForbidden => OutboundError::Denied(DenyReason::MethodForbidden),
            Code::PathNotGranted => OutboundError::Denied(DenyReason::PathNotGranted),
            Code::CredentialNotBound => OutboundError::Denied(DenyReason::CredentialNotBound),
            Code::CredentialMissing => OutboundError::Denied(DenyReason::CredentialMissing),
            Code::AddressForbidden | Code::DnsFailed => OutboundError::DnsFailed,
            Code::ConnectFailed => OutboundError::ConnectFailed,
            Code::TlsFailed => OutboundError::TlsFailed,
            Code::UpstreamProtocol | Code::ResponseTruncated | Code::ResponseUnreadable => {
                OutboundError::Protocol
            }
            Code::UpstreamTimeout => OutboundError::Timeout(TimeoutPhase::Total),
            Code::CallEnded => OutboundError::Cancelled,
            other => OutboundError::Internal(other.as_str().to_owned()),
        };
        Self { code, guest, detail: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_network_names_the_host() {
        let missing = SendError::from(Code::DnsFailed);
        assert!(missing.words_about("https://api.example.com").unwrap().starts_with("api.example.com: The "));
        assert_eq!(missing.words_about(""), None);
        assert_eq!(SendError::from(Code::UrlInvalid).words_about("https://api.example.com"), None);
        let told = SendError::from(Code::ConnectFailed).because("the proxy is gone");
        assert_eq!(told.words_about("https://api.example.com").as_deref(), Some("the proxy is gone"));
    }

    #[test]
    fn a_forbidden_address_and_a_missing_name_look_alike_to_a_guest() {
        let forbidden = SendError::from(Code::AddressForbidden);
        let missing = SendError::from(Code::DnsFailed);
        assert_eq!(forbidden.guest, missing.guest);
        assert_ne!(forbidden.code, missing.code);
        assert_eq!(forbidden.verdict(), LedgerVerdict::Refuse);
        assert_eq!(missing.verdict(), LedgerVerdict::Error);
    }
}
