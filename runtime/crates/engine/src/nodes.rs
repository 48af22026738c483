//! Several nodes over one store: who this one is, how old is what it knows of the others' changes, and which of them does
//! the work that only one should do.
//!
//! A node is a process that serves. What nodes agree on is in records, written by compare-and-set; what each keeps in
//! memory is forgotten by the feed of changes. ARCHITECTURE.md has the table.

mod duty;
mod freshness;
mod node_id;

pub use duty::{Duty, is_on_duty};
pub(crate) use freshness::Freshness;
pub(crate) use node_id::holder;
pub use node_id::node_of_host;

use std::time::Duration;

/// By how much the clocks of two nodes may differ. Why so much: hosts that keep their time by NTP are within a second of
/// each other. Leases end by the clock of whoever reads them, so each is longer by this than what it protects.
pub(crate) const CLOCK_SKEW_MAX: Duration = Duration::from_secs(5);
