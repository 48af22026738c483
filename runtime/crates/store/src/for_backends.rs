//! What a backend in another crate is made of: the forms of lines and cursors, and how pages are put together.

pub use crate::head::Link;

/// Of the records.
pub mod records {
    pub use crate::backend::archive::{ArchiveWriter, read_archive};
    pub use crate::backend::check_key;
    pub use crate::outbox::entries_of;
}

/// Of the ledger.
pub mod ledger {
    pub use crate::ledger::SEGMENT_BYTES;
    pub use crate::ledger::chains::{ChainsWalk, Ends};
    pub use crate::ledger::error::ROWS;
    pub use crate::ledger::line::{Chain, EVENT_BYTES_MAX, RawLine, Written, parse, serialise};
    pub use crate::ledger::query::{PASSED_MAX, PageBuilder};
    pub use crate::ledger::subscribers::Subscribers;
}

/// Of the runs.
pub mod runs {
    pub use crate::runs::RECORD_BYTES_MAX;
    pub use crate::runs::query::{RunKey, each_term, ended_us};
}
