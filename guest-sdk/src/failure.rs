//! Failures: how a guest ends without an output.

use crate::{Error, Failure};

impl Failure {
    /// A failure that a retry will not change.
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

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let retryable =
            matches!(error, Error::DnsFailed | Error::ConnectFailed | Error::Timeout(_) | Error::Protocol);
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
        assert!(!Failure::from(Error::Denied(DenyReason::HostNotInOrg)).retryable);
        assert!(Failure::from(Error::ConnectFailed).retryable);
    }
}
