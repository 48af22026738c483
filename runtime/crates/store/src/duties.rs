//! Which node does the work that only one of several should do.

use serde::{Deserialize, Serialize};

use crate::records::Document;

/// A duty that a node has for a while. Parts: `[name of the duty]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DutyRecord {
    /// The process that has it.
    pub holder: String,
    /// When it ends, milliseconds since 1970.
    pub until_ms: u64,
}

impl Document for DutyRecord {
    const KIND: &'static str = "duty";
}
