//! Every auth type that the host places or signs itself, through the whole product: each test uploads a
//! definition, saves a credential, runs an action and checks the request that the third party received.
//!
//! The tests check where the credential is, and that it is nowhere else. Another implementation checks the
//! signatures: see [`second`]. Auth types that exchange a token are tested in `oauth`.

mod harness;
mod methods;
mod placed;
mod recount;
mod refusals;
mod second;
mod shown;
mod signed;
mod trial;
