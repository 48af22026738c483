//! What makes a shared store one that was initialised: a record that only one `init` can make.

use serde::{Deserialize, Serialize};

use crate::records::Document;

/// The installation. Parts: [`InstallationRecord::PART`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallationRecord {
    /// The version of the product whose `init` made it, for people.
    pub version: String,
    /// When, RFC 3339.
    pub created_at: String,
}

impl InstallationRecord {
    /// Its only key: two `init` at the same time are one, and one conflict.
    pub const PART: &'static str = "one";
}

impl Document for InstallationRecord {
    const KIND: &'static str = "installation";
}
