//! Tokens that are obtained with a credential: renewed before they expire, exchanged, and consented to by a person.

mod breaking;
pub mod consent;
mod exchange;
pub(crate) mod renewal;
mod token_answer;
