//! SDK for Portcullis modules: connectors whose actions are code.
//!
//! A module is a WebAssembly component with one way in, the actions that [`actions!`] lists, and one way out,
//! [`Request::send`]. There is no clock, file, environment, socket, randomness or sleep: the host gives the time of
//! the call, keeps the credentials, waits and retries. What a module may request is listed in its definition.
//!
//! The smallest one:
//!
//! ```
//! # #[cfg(feature = "json")] mod module {
//! use portcullis_guest::{Invocation, Request, Result, actions};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! struct Input {
//!     id: String,
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! struct Contact {
//!     email: String,
//! }
//!
//! fn get_contact(_call: &Invocation, input: Input) -> Result<Contact> {
//!     Request::get("https://api.example.com/v1/contacts/{id}")
//!         .path("id", &input.id)
//!         .credential("default")
//!         .send()?
//!         .ok()?
//!         .json()
//! }
//!
//! actions!(Module { "get-contact" => get_contact });
//! # }
//! # fn main() {}
//! ```
//!
//! Built with `cargo build --target wasm32-unknown-unknown --release` (`crate-type = ["cdylib"]`) and made a component
//! with `portcullis module pack`. Built for any other target, requests go to the gate of [`testing`], so `cargo test`
//! needs no network and no WebAssembly.
//!
//! | for | there is |
//! |---|---|
//! | the way in | [`actions!`], [`Invocation`]; below it [`Handler`] and [`export_handler!`] |
//! | the way out | [`Request`], [`Response`], [`pages`], [`find_or_create`] |
//! | a bad end | [`Error`], [`Result`] |
//! | lines for people | [`log`](mod@log), [`debug!`], [`info!`], [`warn!`], [`error!`] |
//! | tests | [`testing`] |
//!
//! The feature `json` (default) brings `serde` and `serde_json`, and [`actions!`] with them.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking"))]

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, reason = "generated from wit/connector.wit")]
#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        world: "module",
        path: "../wit",
        pub_export_macro: true,
        default_bindings_module: "portcullis_guest::bindings",
        additional_derives: [PartialEq],
    });
}

#[cfg(feature = "json")]
#[doc(hidden)]
pub mod action;
mod encode;
mod error;
mod failure;
mod find_or_create;
mod gate;
mod handler;
pub mod log;
mod pages;
mod request;
mod response;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use bindings::exports::portcullis::connector::handler::{Failure, Guest as Handler, Invocation};
pub use bindings::portcullis::connector::types::{
    DenyReason, Error as GateError, LimitInfo, LimitKind, Method, Request, RequestOptions, Response,
    TimeoutPhase,
};
pub use error::{Error, Result};
pub use find_or_create::{Found, find_or_create};
pub use gate::send;
pub use pages::{Pages, pages};
