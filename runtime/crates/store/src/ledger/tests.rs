//! The events that tests of the backends append; those of the conformance suite.

pub(crate) use portcullis_store_conformance::ledger::{event, org, refused};
