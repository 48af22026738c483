//! What error answers mean and what is done about them. `judge` decides which one an answer is.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What kind of failure an answer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The credential was not accepted.
    Auth,
    /// The credential does not allow this.
    Permission,
    /// The request's content was not accepted.
    Validation,
    /// The requested thing does not exist.
    NotFound,
    /// The thing is in a state that does not allow this.
    Conflict,
    /// Too many requests at present.
    RateLimit,
    /// The account's quota is used up.
    Quota,
    /// May succeed later without a change.
    Transient,
    /// Will not succeed without a change.
    #[default]
    Permanent,
    /// Not treated as an error.
    Ignored,
}

impl ErrorClass {
    /// All classes.
    pub const ALL: [Self; 10] = [
        Self::Auth,
        Self::Permission,
        Self::Validation,
        Self::NotFound,
        Self::Conflict,
        Self::RateLimit,
        Self::Quota,
        Self::Transient,
        Self::Permanent,
        Self::Ignored,
    ];

    /// The class of that name on the wire.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// What is done about an error of the class unless a rule decides.
    #[must_use]
    pub const fn default_action(self) -> ErrorAction {
        match self {
            Self::RateLimit | Self::Transient => ErrorAction::Retry,
            Self::Ignored => ErrorAction::Ignore,
            _ => ErrorAction::Fail,
        }
    }

    /// The class by status alone (RFC 9110 section 15, RFC 6585 section 4).
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Auth,
            403 => Self::Permission,
            400 | 422 => Self::Validation,
            404 | 410 => Self::NotFound,
            409 | 412 => Self::Conflict,
            429 => Self::RateLimit,
            408 | 425 | 500..=599 => Self::Transient,
            _ => Self::Permanent,
        }
    }

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Permission => "permission",
            Self::Validation => "validation",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::RateLimit => "rate_limit",
            Self::Quota => "quota",
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Ignored => "ignored",
        }
    }
}

/// What is done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErrorAction {
    /// The run fails.
    Fail,
    /// It is retried as the retry rules say.
    Retry,
    /// The token is renewed, once, and the call is retried.
    RefreshRetry,
    /// It counts as a success.
    Ignore,
}

/// What one kind of error answer means. Every condition that is given must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorRule {
    /// One of these statuses; any when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<u16>,
    /// A predicate on the body, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicate: Option<Value>,
    /// A predicate on the object of headers (names in lower case, values text), as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Value>,
    pub class: ErrorClass,
    pub action: ErrorAction,
    /// Pointer to the upstream's code in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_path: Option<String>,
    /// Pointer to the upstream's message in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_path: Option<String>,
    /// Message shown to people instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// One such answer says that the credential is refused for good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub r#final: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_class_has_one_name() {
        for class in ErrorClass::ALL {
            assert_eq!(ErrorClass::parse(class.as_str()), Some(class));
            assert_eq!(json!(class), json!(class.as_str()));
        }
        assert_eq!(ErrorClass::parse("Auth"), None);
        assert_eq!(ErrorClass::RateLimit.default_action(), ErrorAction::Retry);
        assert_eq!(ErrorClass::Quota.default_action(), ErrorAction::Fail);
    }
}
