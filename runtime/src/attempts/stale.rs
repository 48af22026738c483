//! Answers that say that a token is no good any more, whatever their status: `refresh_on`.

use portcullis_action::plan::ErrorAction;
use portcullis_action::predicate::Predicate;
use portcullis_action::response::ErrorClass;
use portcullis_action::retry::Failure;
use portcullis_core::connector::Connector;
use portcullis_core::fault::Code;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Cause, Try};
use crate::run::{RunEnd, Success};

impl Cause {
    /// The cause in the retry rules' terms. An answer that says the token is no good asks for a new one.
    pub(super) fn as_failure(&self, connector: &Connector) -> Failure<'_> {
        match self {
            Self::Network { sent } => Failure::Network { sent: *sent },
            Self::Upstream { status, action, ruled, headers, body } => {
                let by_status =
                    connector.auth.token.as_ref().is_some_and(|plan| plan.refresh_on.status.contains(status));
                let stale = by_status || stale_predicate(connector).is_some_and(|p| p.holds(body));
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
        let RunEnd::Succeeded(Success { upstream: Some(answer), .. }) = &self.end else { return self };
        let Some(predicate) = stale_predicate(connector) else { return self };
        let parsed = |text: &Option<Box<RawValue>>| -> Value {
            text.as_ref().and_then(|text| serde_json::from_str(text.get()).ok()).unwrap_or_default()
        };
        let body = parsed(&answer.body);
        if !predicate.holds(&body) {
            return self;
        }
        let headers = parsed(&answer.headers);
        let upstream = json!({ "status": answer.status, "headers": headers, "body": body });
        let failure = Cause::Upstream {
            status: answer.status,
            action: ErrorAction::Fail,
            ruled: true,
            headers: headers.as_object().cloned().unwrap_or_default(),
            body,
        };
        let end = RunEnd::Failed {
            code: Code::UpstreamStatus,
            message: "the upstream says that the token is no good".to_owned(),
            class: Some(ErrorClass::Auth.as_str().to_owned()),
            upstream: Some(upstream),
            retryable: false,
            error: None,
            retry_at: None,
        };
        Self { end, failure: Some(failure) }
    }
}

/// What a body says whose token is no good: `refresh_on.predicate`.
fn stale_predicate(connector: &Connector) -> Option<Predicate> {
    let predicate = connector.auth.token.as_ref()?.refresh_on.predicate.as_ref()?;
    Predicate::parse(predicate).ok()
}
