//! Documents of tiers 2 and 3: an org's allowlist, a workspace's connector setting, and the metadata of
//! its credential, which is readable without opening the credential.
//!
//! Nothing here is secret: `encrypted_config` is sealed by the vault before it gets here.

use std::collections::BTreeMap;

use portcullis_core::id::{ConnectionName, ConnectorId, CredentialId};
pub use portcullis_core::org_rules::{ActionRule, ConnectorsMode, ConnectorsRule, RuleVerdict};
pub use portcullis_core::verdict::AllowlistMode;
use serde::{Deserialize, Serialize};

use crate::records::Document;

/// An org's integration settings. Parts: `[org]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntegrationSettings {
    /// Hosts the org allows; if absent, only the connectors' own lists apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_allowlist: Option<Vec<String>>,
    /// What happens to requests outside the list.
    pub mode: AllowlistMode,
    /// The connectors that the org uses; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connectors: Option<ConnectorsRule>,
    /// What their actions may do; the first rule that matches counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub action_rules: Vec<ActionRule>,
    /// When it was last changed, RFC 3339.
    pub updated_at: String,
}

impl Document for IntegrationSettings {
    const KIND: &'static str = "integration_settings";
}

/// The group of a setting. Currently there is only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingGroup {
    /// Settings of one connector in one workspace.
    Connector,
}

/// A workspace's setting of one connector. Parts: `[org, workspace, connector_id]`, and of a named connection its name
/// after these, as for every record of a connection.
///
/// Opting out is `enabled: false`, with or without a stored credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectorSetting {
    /// Always [`SettingGroup::Connector`].
    pub group: SettingGroup,
    pub name: ConnectorId,
    /// Which of the workspace's connections it is; the default one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionName>,
    /// What people call a named connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    pub value: ConnectorSettingValue,
}

impl ConnectorSetting {
    /// A setting of the connector group.
    #[must_use]
    pub fn new(name: ConnectorId, enabled: bool, encrypted_config: Option<String>) -> Self {
        let value = ConnectorSettingValue { enabled, encrypted_config, auth_method: None };
        Self { group: SettingGroup::Connector, name, connection: None, label: None, value }
    }

    /// The same of a named connection, if there is a name.
    #[must_use]
    pub fn named(self, connection: Option<ConnectionName>, label: Option<String>) -> Self {
        Self { connection, label, ..self }
    }

    /// The same with another authentication method than the connector's default.
    #[must_use]
    pub fn under(mut self, auth_method: Option<String>) -> Self {
        self.value.auth_method = auth_method;
        self
    }
}

impl Document for ConnectorSetting {
    const KIND: &'static str = "setting";
}

/// The value of a connector setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectorSettingValue {
    /// Whether the workspace uses the connector.
    pub enabled: bool,
    /// The sealed credential, base64; see [`crate::Sealed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted_config: Option<String>,
    /// The chosen authentication method; the connector's default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_method: Option<String>,
}

/// Metadata of a credential, readable without opening it. Parts: those of its [`ConnectorSetting`].
///
/// It contains the revision that the sealed bytes are bound to, so that older sealed bytes put back
/// into the setting do not open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialState {
    pub credential_id: CredentialId,
    /// Counts up on every write; the sealed bytes are bound to it.
    pub revision: u64,
    /// The workspace key it is sealed under; see [`crate::Sealed::key_id`].
    pub key_id: String,
    /// The secret fields by name.
    pub fields: BTreeMap<String, CredentialFieldState>,
    /// The fields that are not secret, with their values.
    pub config: BTreeMap<String, serde_json::Value>,
    /// Host entries it was sealed for, so that a call elsewhere is refused before anything is opened;
    /// the sealed copy is authoritative.
    #[serde(default)]
    pub allowed_hosts: Vec<String>,
    /// When it was last changed, RFC 3339.
    pub updated_at: String,
}

impl Document for CredentialState {
    const KIND: &'static str = "credential";
}

/// Metadata of one secret field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialFieldState {
    /// When its value was last given, RFC 3339.
    pub updated_at: String,
}
