//! Every auth type that the host places or signs by itself, through the whole product: a definition is
//! uploaded, a credential saved, an action run, and the request that the third party received is judged.
//!
//! Where the credential is, and that it is nowhere else, is looked at here. Whether a signature is right
//! is said by another implementation: see [`second`]. Auth types that exchange a token are not here.

mod harness;
mod methods;
mod placed;
mod recount;
mod refusals;
mod second;
mod shown;
mod signed;
mod trial;
