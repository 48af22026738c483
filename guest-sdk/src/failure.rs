//! Failures: how a guest ends without an output, as the host reads it.

use crate::{Failure, GateError};

impl Failure {
    /// A failure that a retry will not change.
    ///
    /// ```
    /// let failure = portcullis_guest::Failure::permanent("no_such_list", "there is no list of that name");
    /// assert!(!failure.retryable);
    /// ```
    #[must_use]
    pub fn permanent(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            class: None,
            retryable: false,
            cause: None,
            response: None,
        }
    }
}

impl From<GateError> for Failure {
    fn from(error: GateError) -> Self {
        let retryable = matches!(
            error,
            GateError::DnsFailed | GateError::ConnectFailed | GateError::Timeout(_) | GateError::Protocol
        );
        Self {
            code: "outbound".to_owned(),
            message: "the gate answered no response".to_owned(),
            class: None,
            retryable,
            cause: Some(error),
            response: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DenyReason;

    #[test]
    fn a_refusal_is_not_retryable_and_a_lost_connection_is() {
        assert!(!Failure::from(GateError::Denied(DenyReason::HostNotInOrg)).retryable);
        assert!(Failure::from(GateError::ConnectFailed).retryable);
    }
}
