//! The health of a connection: what calls, tests and renewals showed of it, and how that changed.
//!
//! A record of its own, which no running call depends on: a success is written now and then, and that must forget and end
//! nothing. It says of which credential it was seen, so a new one begins anew.

use portcullis_core::id::CredentialId;
use serde::{Deserialize, Serialize};

use crate::records::Document;

/// Changes that are remembered: what a person who looks for a cause reads, and a small record.
pub const HEALTH_CHANGES_MAX: usize = 20;

/// What was seen of a connection. Parts: those of its [`ConnectorSetting`](crate::ConnectorSetting).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionHealth {
    /// The credential that it was seen of; none where the connector needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_id: Option<CredentialId>,
    /// Its revision.
    #[serde(default)]
    pub credential_revision: u64,
    /// Calls in a row that ended with class `auth`.
    #[serde(default)]
    pub refusals: u32,
    /// A call that succeeded, RFC 3339: the last one, or one less than a minute before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success_at: Option<String>,
    /// Why the third party or the token endpoint accepts it no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention: Option<HealthAttention>,
    /// The last changes, oldest first.
    #[serde(default)]
    pub changes: Vec<HealthChange>,
}

/// What showed that a connection needs attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttentionCause {
    /// Calls were refused.
    Refused,
    /// Its test failed.
    Test,
    /// No token could be obtained.
    Token,
}

impl AttentionCause {
    /// The word in documents and events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Test => "test",
            Self::Token => "token",
        }
    }
}

/// Why a connection needs attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthAttention {
    pub cause: AttentionCause,
    /// Class of the error.
    pub class: String,
    /// The third party's words without secrets, or ours.
    pub message: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// What a change came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthChangeKind {
    /// A credential was saved.
    Saved,
    /// A person gave consent.
    Consent,
    /// It was opted out.
    OptedOut,
    /// It was opted in again.
    OptedIn,
    /// It needs attention.
    NeedsAttention,
    /// It works again.
    Recovered,
}

impl HealthChangeKind {
    /// The word in documents and events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Saved => "saved",
            Self::Consent => "consent",
            Self::OptedOut => "opted_out",
            Self::OptedIn => "opted_in",
            Self::NeedsAttention => "needs_attention",
            Self::Recovered => "recovered",
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthChange {
    /// When, RFC 3339.
    pub at: String,
    pub kind: HealthChangeKind,
    /// What showed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<AttentionCause>,
    /// Class of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
}

impl ConnectionHealth {
    /// Adds a change, and drops the oldest where there are too many.
    pub fn add(&mut self, change: HealthChange) {
        self.changes.push(change);
        let excess = self.changes.len().saturating_sub(HEALTH_CHANGES_MAX);
        self.changes.drain(..excess);
    }
}

impl Document for ConnectionHealth {
    const KIND: &'static str = "connection_health";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_changes_are_dropped_first() {
        let mut health = ConnectionHealth::default();
        for number in 0..HEALTH_CHANGES_MAX + 3 {
            let kind = HealthChangeKind::Saved;
            health.add(HealthChange { at: number.to_string(), kind, cause: None, class: None });
        }
        assert_eq!(health.changes.len(), HEALTH_CHANGES_MAX);
        assert_eq!(health.changes[0].at, "3");
        let text = serde_json::to_string(&health).unwrap();
        assert_eq!(serde_json::from_str::<ConnectionHealth>(&text).unwrap(), health);
        assert_eq!(serde_json::from_str::<ConnectionHealth>("{}").unwrap(), ConnectionHealth::default());
    }
}
