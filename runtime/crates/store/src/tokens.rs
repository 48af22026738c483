//! Documents of API tokens: found by the hash of the secret, listed and revoked by id.
//!
//! The secret itself is never stored, only its SHA-256 (the secret is random, so no salt is needed).

use portcullis_core::id::{AutomationId, ConnectorId, OrgId, TokenId, WorkspaceId};
use portcullis_core::org_rules::is_named;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::records::Document;

/// What a token may access. Each role is bound to the ids in its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The operator of the installation.
    Platform,
    /// One org.
    Org,
    /// One workspace.
    Workspace,
    /// Running actions in one workspace, nothing else.
    Run,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Platform, Self::Org, Self::Workspace, Self::Run];

    /// The word in a token's text and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Org => "org",
            Self::Workspace => "workspace",
            Self::Run => "run",
        }
    }

    /// The role with that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// What a token of the role `run` is limited to. Several lists intersect; one that is absent limits nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenGrants {
    /// Connectors that it may call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connectors: Option<Vec<ConnectorId>>,
    /// Actions that it may call: `connector/action`, in which `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<Vec<String>>,
    /// Automations that it may fire; then it calls no action by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automations: Option<Vec<AutomationId>>,
}

impl TokenGrants {
    /// Whether it limits nothing.
    #[must_use]
    pub const fn are_all(&self) -> bool {
        self.connectors.is_none() && self.actions.is_none() && self.automations.is_none()
    }

    /// Whether a call is within every list: of this action, by this automation or by none.
    #[must_use]
    pub fn cover(&self, connector: &str, action: &str, automation: Option<&str>) -> bool {
        let has_connector = |list: &Vec<ConnectorId>| list.iter().any(|id| id.as_str() == connector);
        let has_action = |list: &Vec<String>| list.iter().any(|pattern| is_named(pattern, connector, action));
        let has_automation =
            |list: &Vec<AutomationId>| automation.is_some_and(|own| list.iter().any(|id| id.as_str() == own));
        self.connectors.as_ref().is_none_or(has_connector)
            && self.actions.as_ref().is_none_or(has_action)
            && self.automations.as_ref().is_none_or(has_automation)
    }
}

/// One token. Parts: `[hash]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// The token's public name.
    pub token_id: TokenId,
    /// What it may access.
    pub role: Role,
    /// The org it is bound to; absent for the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<OrgId>,
    /// The workspace it is bound to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceId>,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When it was created, RFC 3339.
    pub created_at: String,
    /// When it expires, RFC 3339; absent if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// What it is limited to; for the role `run`.
    #[serde(default, skip_serializing_if = "TokenGrants::are_all")]
    pub grants: TokenGrants,
    /// SHA-256 of the token's text, 64 lower-case hex digits.
    pub hash: String,
}

impl Document for TokenRecord {
    const KIND: &'static str = "token";
}

/// Points from a token's id to its record. Parts: `[token_id]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenIndex {
    /// The key part of its [`TokenRecord`].
    pub hash: String,
}

impl Document for TokenIndex {
    const KIND: &'static str = "token_id";
}

/// When a token was last used. Apart from its record, so that a use makes nothing of it outdated. Parts: `[token_id]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenUse {
    /// RFC 3339, to the minute.
    pub last_used_at: String,
}

impl Document for TokenUse {
    const KIND: &'static str = "token_use";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(connectors: &[&str], actions: &[&str], automations: &[&str]) -> TokenGrants {
        TokenGrants {
            connectors: (!connectors.is_empty())
                .then(|| connectors.iter().map(|id| ConnectorId::parse(id).unwrap()).collect()),
            actions: (!actions.is_empty()).then(|| actions.iter().map(|text| (*text).to_owned()).collect()),
            automations: (!automations.is_empty())
                .then(|| automations.iter().map(|id| AutomationId::parse(id).unwrap()).collect()),
        }
    }

    #[test]
    fn several_lists_intersect_and_an_absent_one_limits_nothing() {
        let all = TokenGrants::default();
        assert!(all.are_all() && all.cover("crm", "list", None));
        let crm = grants(&["crm"], &[], &[]);
        assert!(crm.cover("crm", "list", None) && crm.cover("crm", "delete", Some("auto_1")));
        assert!(!crm.cover("crm2", "list", None));
        let lists = grants(&[], &["crm/*", "*/list"], &[]);
        assert!(lists.cover("crm", "delete", None) && lists.cover("mail", "list", None));
        assert!(!lists.cover("mail", "send", None));
        let both = grants(&["mail"], &["crm/*", "*/list"], &[]);
        assert!(both.cover("mail", "list", None) && !both.cover("crm", "list", None));
        let fired = grants(&[], &[], &["auto_1"]);
        assert!(fired.cover("crm", "list", Some("auto_1")));
        assert!(!fired.cover("crm", "list", Some("auto_2")) && !fired.cover("crm", "list", None));
        let nothing = TokenGrants { actions: Some(Vec::new()), ..TokenGrants::default() };
        assert!(!nothing.are_all() && !nothing.cover("crm", "list", None));
    }
}
