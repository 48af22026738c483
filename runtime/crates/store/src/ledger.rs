//! The outbound ledger: what left, and what was refused, as a chain of records for each org.
//!
//! It stores what it is given and decides nothing; secrets, queries and bodies must not get here. Called
//! by the runtime.

mod error;
mod file;
mod line;

pub use error::{BadRecord, LedgerError};
pub use file::{
    FileLedger, LEDGER_PAGE_ENTRIES_MAX, LedgerPage, LedgerQuery, LedgerSync, PruneReport, VerifyReport,
    verify_directory,
};
pub use line::LedgerLine;
