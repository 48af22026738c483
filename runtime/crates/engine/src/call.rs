//! A call of an action: from its request to the record of its run.

pub(crate) mod active_calls;
mod commitment;
pub mod done;
pub(crate) mod earlier;
pub(crate) mod ledger_bracket;
pub(crate) mod org_rules;
pub mod pipeline;
pub(crate) mod prepare;
mod request;
pub(crate) mod retry_loop;
pub mod run;

pub use commitment::Commitment;
pub(crate) use commitment::NoteSending;
pub use request::CallRequest;
