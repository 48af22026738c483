//! Runs: what was asked of an action and what came of it. Called by the runtime.

mod file;

pub use file::{FileRuns, RunRecord};
