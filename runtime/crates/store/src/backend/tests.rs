//! What every engine must do, and a property test that compares two of them.

pub(crate) mod conformance;
mod model;
