//! Answers that say that a token is no good any more, whatever their status: `refresh_on`.

use portcullis_action::plan::ErrorAction;
use portcullis_action::predicate::Predicate;
use portcullis_action::response::ErrorClass;
use portcullis_action::retry::Failure;
use portcullis_core::connector::Connector;
use portcullis_core::fault::Code;
use serde_json::Value;

use super::{Cause, Try};
use crate::run::RunEnd;

impl Cause {
    /// The cause in the retry rules' terms. An answer that says the token is no good asks for a new one.
    pub(super) fn as_failure(&self, connector: &Connector) -> Failure<'_> {
        match self {
            Self::Network { sent } => Failure::Network { sent: *sent },
            Self::Upstream { status, action, ruled, headers, body } => {
                let by_status =
                    connector.auth.token.as_ref().is_some_and(|plan| plan.refresh_on.status.contains(status));
                let stale = by_status || says_stale(connector, body);
                let (action, ruled) =
                    if stale { (ErrorAction::RefreshRetry, true) } else { (*action, *ruled) };
                Failure::Upstream { status: *status, action, ruled, headers, body }
            }
        }
    }
}

impl Try {
    /// A success whose body says that the token is no good is none.
    pub(super) fn unless_stale(self, connector: &Connector) -> Self {
        let RunEnd::Succeeded { upstream, .. } = &self.end else { return self };
        let member = |name: &str| upstream.get(name).cloned();
        let (Some(body), Some(status)) = (member("body"), member("status")) else { return self };
        if !says_stale(connector, &body) {
            return self;
        }
        let failure = Cause::Upstream {
            status: status.as_u64().and_then(|s| u16::try_from(s).ok()).unwrap_or_default(),
            action: ErrorAction::Fail,
            ruled: true,
            headers: member("headers").and_then(|h| h.as_object().cloned()).unwrap_or_default(),
            body,
        };
        let end = RunEnd::Failed {
            code: Code::UpstreamStatus,
            message: "the upstream says that the token is no good".to_owned(),
            class: Some(ErrorClass::Auth.as_str().to_owned()),
            upstream: Some(upstream.clone()),
            retryable: false,
            error: None,
            retry_at: None,
        };
        Self { end, failure: Some(failure) }
    }
}

/// Whether a body satisfies `refresh_on.predicate`.
fn says_stale(connector: &Connector, body: &Value) -> bool {
    let predicate = connector.auth.token.as_ref().and_then(|plan| plan.refresh_on.predicate.as_ref());
    predicate.and_then(|written| Predicate::parse(written).ok()).is_some_and(|p| p.holds(body))
}
