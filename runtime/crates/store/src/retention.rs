//! How long an org's runs, ledger and inputs are kept: its own terms or the platform's, with their changes.

use portcullis_core::id::TokenId;
use serde::{Deserialize, Serialize};

use crate::records::Document;

/// Terms; `None` is no limit of one's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionTerms {
    /// Days that runs are kept after their end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_days: Option<u32>,
    /// Days that records of the ledger are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger_days: Option<u32>,
    /// Days that inputs of runs are kept after their end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_days: Option<u32>,
    /// Bytes of runs and ledger together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Days that records of the ledger are kept whatever else is set; only the platform sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger_days_min: Option<u32>,
}

/// Terms that were set, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionChange {
    pub terms: RetentionTerms,
    /// When, RFC 3339.
    pub at: String,
    /// The token that set them; none for the operator at the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<TokenId>,
}

/// The terms of an org or of the platform. Parts: `["org", org]` or `["platform"]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRecord {
    /// Oldest first; the last one is what is set now.
    pub changes: Vec<RetentionChange>,
    /// Of changes that found no room, the longest of each term, and when the last of them was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<RetentionChange>,
}

impl Document for RetentionRecord {
    const KIND: &'static str = "retention";
}
