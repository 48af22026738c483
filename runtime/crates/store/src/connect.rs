//! Documents of connect sessions: a link with which a person connects a workspace in a browser, and what an org says of
//! how that page looks and where it leads back to.
//!
//! A link's secret and a browser's cookie are stored as hashes.

use portcullis_core::id::{ConnectionName, TokenId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::records::Document;

/// A connect session. Parts: `[org, workspace, session_id]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectSession {
    pub session_id: String,
    /// SHA-256 of the link's secret, hexadecimal; the part of the key of its [`ConnectLink`].
    pub link: String,
    /// The commit that made the workspace: a session is none of a later workspace of the same name.
    pub workspace_commit: u64,
    /// The connector; the person chooses if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector_id: Option<String>,
    /// The connection's name; the default connection if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionName>,
    /// Where the browser is sent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_url: Option<String>,
    /// The API token that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<TokenId>,
    /// When, RFC 3339.
    pub created_at: String,
    /// Until when a browser may claim it, RFC 3339.
    pub expires_at: String,
    /// The browser that claimed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ConnectClaim>,
    /// The window that is opened for a consent, where the page stands in a frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<ConnectWindow>,
    /// Saves and begun consents so far.
    #[serde(default, skip_serializing_if = "is_none_so_far")]
    pub steps: u64,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<ConnectEnd>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_none_so_far(steps: &u64) -> bool {
    *steps == 0
}

/// The browser that a session belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectClaim {
    /// SHA-256 of its cookie, hexadecimal.
    pub browser: String,
    /// Whether the page stands in a frame of another site.
    pub framed: bool,
    /// Until when, RFC 3339.
    pub until: String,
}

/// A window that a frame may open once for a consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectWindow {
    /// Counts up; the ticket of a window is made of it and of the browser's cookie.
    pub number: u32,
    /// SHA-256 of the ticket, hexadecimal.
    pub ticket: String,
    pub connector_id: String,
    /// The authentication method.
    pub method: String,
    /// Whether it was opened already.
    pub used: bool,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectStatus {
    /// The workspace is connected.
    Connected,
    /// The person does not want to.
    Cancelled,
    /// The third party did not take it.
    Failed,
}

impl ConnectStatus {
    /// The text in a return URL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// What came of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectEnd {
    pub status: ConnectStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector_id: Option<String>,
    /// Name of the account at the third party.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What happened, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When, RFC 3339.
    pub at: String,
}

impl Document for ConnectSession {
    const KIND: &'static str = "connect_session";
}

/// Finds a session by its link. Parts: `[SHA-256 of the secret in hexadecimal]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectLink {
    pub org: String,
    pub workspace: String,
    pub session_id: String,
}

impl Document for ConnectLink {
    const KIND: &'static str = "connect_link";
}

/// An org's settings of connect sessions. Parts: `[org]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectSettings {
    /// Where a session may lead back to: https URLs, by origin and whole segments of the path.
    pub return_urls: Vec<String>,
    /// Origins of the pages that may show the page in a frame.
    pub frame_ancestors: Vec<String>,
    /// Heading of the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub title: Option<String>,
    /// Picture beside the heading: a data URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub logo: Option<String>,
    /// Colour of buttons and links: six hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub color: Option<String>,
    /// When they were last set, RFC 3339; absent if they never were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub updated_at: Option<String>,
}

impl Document for ConnectSettings {
    const KIND: &'static str = "connect_settings";
}
