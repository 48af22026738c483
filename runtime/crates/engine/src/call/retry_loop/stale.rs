//! Answers which mean that a token is no longer valid, whatever their status: `refresh_on`.

use portcullis_action::budget::{Budget, MATCHING_STEPS};
use portcullis_action::plan::ErrorAction;
use portcullis_action::predicate::Predicate;
use portcullis_action::response::ErrorClass;
use portcullis_action::retry::Failure;
use portcullis_core::connector::Connector;
use portcullis_core::fault::Code;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Attempt, Cause};
use crate::call::run::{RunEnd, Success};

impl Cause {
    /// The cause in the retry rules' terms. An answer which means that the token is invalid requests a new one.
    pub(super) fn as_failure(&self, connector: &Connector) -> Failure<'_> {
        match self {
            Self::Network { sent } => Failure::Network { sent: *sent },
            Self::Upstream { status, action, ruled, headers, body } => {
                let by_status =
                    connector.auth.token.as_ref().is_some_and(|plan| plan.refresh_on.status.contains(status));
                let stale = by_status || stale_predicate(connector).is_some_and(|p| holds(p, body));
                let (action, ruled) =
                    if stale { (ErrorAction::RefreshRetry, true) } else { (*action, *ruled) };
                Failure::Upstream { status: *status, action, ruled, headers, body }
            }
        }
    }
}

impl Attempt {
    /// A success whose body means that the token is no longer valid is a failure.
    pub(super) fn unless_stale(self, connector: &Connector) -> Self {
        let RunEnd::Succeeded(Success { upstream: Some(answer), .. }) = &self.end else { return self };
        // Why a body: a condition may hold for an absent body, and the pages of a list are not passed on.
        let (Some(predicate), Some(body)) = (stale_predicate(connector), &answer.body) else { return self };
        let parsed = |text: &RawValue| -> Value { serde_json::from_str(text.get()).unwrap_or_default() };
        let body = parsed(body);
        if !holds(predicate, &body) {
            return self;
        }
        let headers = answer.headers.as_deref().map(parsed).unwrap_or_default();
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
            message: "the upstream reports that the token is no longer valid".to_owned(),
            class: Some(ErrorClass::Auth.as_str().to_owned()),
            upstream: Some(upstream),
            retryable: false,
            error: None,
            retry_at: None,
        };
        Self { end, failure: Some(failure) }
    }
}

/// Whether a condition holds for an answer. One that would cost too much to find out does not: the answer then means
/// what its status says.
fn holds(predicate: &Predicate, body: &Value) -> bool {
    predicate.holds(body, &Budget::matching(MATCHING_STEPS)).unwrap_or_else(|why| {
        tracing::warn!(%why, "refresh_on.predicate is not evaluated");
        false
    })
}

/// The condition on a body which means that the token is invalid: `refresh_on.predicate`.
fn stale_predicate(connector: &Connector) -> Option<&Predicate> {
    connector.auth.token.as_ref()?.refresh_on.predicate.as_ref()
}

#[cfg(test)]
mod tests {
    use portcullis_core::limits::Limits;

    use super::*;

    fn connector(predicate: &Value) -> Connector {
        let field = |name: &str| json!({ "name": name, "type": "password", "required": true });
        let definition = json!({
            "connector_id": "saas", "display_name": "S", "auth_type": "oauth2_client_credentials",
            "auth": { "token_url": "https://login.saas.com/token", "refresh_on": { "predicate": predicate } },
            "auth_schema": { "fields": [field("client_id"), field("client_secret")] },
            "allowed_domains": ["*.saas.com"], "enabled": true,
            "actions": [{ "action_id": "list", "http_method": "GET", "url_template": "https://api.saas.com/" }],
        });
        let checked = Connector::parse(&definition, &Limits::default());
        checked.connector.unwrap_or_else(|| panic!("{:?}", checked.errors))
    }

    fn success(body: Option<&str>) -> Attempt {
        let upstream = match body {
            Some(body) => format!(r#"{{"status":200,"body":{body}}}"#),
            None => r#"{"status":200}"#.to_owned(),
        };
        let text = format!(r#"{{"output":[],"upstream":{upstream}}}"#);
        Attempt { end: RunEnd::Succeeded(serde_json::from_str(&text).unwrap()), failure: None }
    }

    #[test]
    fn only_a_body_that_is_there_can_say_that_a_token_is_no_good() {
        // Also holds for an absent body.
        let connector = connector(&json!({ "not": { "path": "/ok", "eq": true } }));
        let is_stale = |body| success(body).unless_stale(&connector).failure.is_some();
        assert!(is_stale(Some(r#"{"ok":false}"#)));
        assert!(!is_stale(Some(r#"{"ok":true}"#)));
        assert!(!is_stale(None), "a list's pages are not told");
        assert!(!is_stale(Some("null")), "an empty answer says nothing");
    }
}
