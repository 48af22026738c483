//! Tokens that are obtained with a credential: renewed before they expire, exchanged, and consented to by a person.

mod breaking;
mod client;
pub mod consent;
mod exchange;
pub(crate) mod renewal;
pub(crate) mod revocation;
mod settle;
mod token_answer;
