//! What several nodes have taken of a vendor's budget. One record for each budget, written by compare-and-set.
//!
//! The key is a hash of whose budget it is, so that a value that divides it, which callers choose, may be any text.

use serde::{Deserialize, Serialize};

use crate::records::Document;

/// Requests of a budget that were granted. Parts: `[SHA-256 of the budget's name in hexadecimal]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateRecord {
    /// The latest time that a node has seen, milliseconds since 1970: time does not go back with the next node.
    pub at_ms: u64,
    /// When the record says nothing any more, milliseconds since 1970.
    pub over_ms: u64,
    /// Times, milliseconds since 1970 and in order, each with the number of requests that were granted for it.
    pub turns: Vec<(u64, u32)>,
}

/// Requests of a budget that are under way at once. Parts: `[SHA-256 of the budget's name in hexadecimal]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotsRecord {
    /// When the record says nothing any more, milliseconds since 1970.
    pub over_ms: u64,
    /// Who has a slot: a name of its own for each request, and until when at most, milliseconds since 1970.
    pub held: Vec<(String, u64)>,
}

impl Document for RateRecord {
    const KIND: &'static str = "rate";
}

impl Document for SlotsRecord {
    const KIND: &'static str = "rate_slots";
}
