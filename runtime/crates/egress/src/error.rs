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
}

impl SendError {
    pub(crate) const fn limit(code: Code, kind: LimitKind, limit: u64) -> Self {
        Self { code, guest: OutboundError::Limit { kind, limit } }
    }

    pub(crate) const fn timeout(phase: TimeoutPhase) -> Self {
        Self { code: Code::UpstreamTimeout, guest: OutboundError::Timeout(phase) }
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
            Code::UpstreamProtocol => OutboundError::Protocol,
            Code::UpstreamTimeout => OutboundError::Timeout(TimeoutPhase::Total),
            Code::CallEnded => OutboundError::Cancelled,
            other => OutboundError::Internal(other.as_str().to_owned()),
        };
        Self { code, guest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
