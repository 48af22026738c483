//! Documents of tiers 2 and 3: an org's allowlist, a workspace's connector setting, and what is known
//! about its credential without opening it.
//!
//! Nothing here is secret: `encrypted_config` is sealed by the vault before it gets here.

use std::collections::BTreeMap;

use portcullis_core::id::{ConnectorId, CredentialId};
use serde::{Deserialize, Serialize};

use crate::records::Document;

/// What happens to a call outside the org's allowlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowlistMode {
    /// It goes through and is reported.
    Report,
    /// It is refused.
    Enforce,
}

/// An org's integration settings. Parts: `[org]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntegrationSettings {
    /// Hosts the org allows; absent: the connectors' own lists decide alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_allowlist: Option<Vec<String>>,
    /// What happens outside it.
    pub mode: AllowlistMode,
    /// When it was last changed, RFC 3339.
    pub updated_at: String,
}

impl Document for IntegrationSettings {
    const KIND: &'static str = "integration_settings";
}

/// The group of a setting. There is one so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingGroup {
    /// Settings of one connector in one workspace.
    Connector,
}

/// A workspace's setting of one connector. Parts: `[org, workspace, connector_id]`.
///
/// Opting out is `enabled: false`, with or without a credential that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectorSetting {
    /// Always [`SettingGroup::Connector`].
    pub group: SettingGroup,
    /// The connector.
    pub name: ConnectorId,
    /// The setting.
    pub value: ConnectorSettingValue,
}

impl ConnectorSetting {
    /// A setting of the connector group.
    #[must_use]
    pub fn new(name: ConnectorId, enabled: bool, encrypted_config: Option<String>) -> Self {
        let value = ConnectorSettingValue { enabled, encrypted_config, auth_method: None };
        Self { group: SettingGroup::Connector, name, value }
    }

    /// The same under another way to authenticate than the connector's default.
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
    /// The chosen way to authenticate; the connector's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_method: Option<String>,
}

/// What is known about a credential without opening it. Parts: `[org, workspace, connector_id]`.
///
/// It holds the revision that the sealed bytes are bound to, so that older sealed bytes put back
/// into the setting do not open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialState {
    /// The credential.
    pub credential_id: CredentialId,
    /// Counts up on every write; bound into the sealed bytes.
    pub revision: u64,
    /// The workspace key it is sealed under; see [`crate::Sealed::key_id`].
    pub key_id: String,
    /// The secret fields by name.
    pub fields: BTreeMap<String, CredentialFieldState>,
    /// The fields that are not secret, with their values.
    pub config: BTreeMap<String, serde_json::Value>,
    /// Host entries it was sealed for, so that a call elsewhere is refused before anything is opened;
    /// the sealed copy is what counts.
    #[serde(default)]
    pub allowed_hosts: Vec<String>,
    /// When it was last changed, RFC 3339.
    pub updated_at: String,
}

impl Document for CredentialState {
    const KIND: &'static str = "credential";
}

/// What is known about one secret field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialFieldState {
    /// When its value was last given, RFC 3339.
    pub updated_at: String,
}
