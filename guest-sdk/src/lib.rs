//! SDK for Portcullis guests.
//!
//! A guest is a type that implements [`Handler`] and is exported with [`export_handler!`]. Its only
//! way out is [`send`]; there is no clock, no file, no environment and no randomness.
//!
//! ```
//! use portcullis_guest::{Failure, Handler, Invocation, Method, Request, send};
//!
//! struct Ping;
//!
//! impl Handler for Ping {
//!     fn invoke(call: Invocation) -> Result<String, Failure> {
//!         let request = Request::new(Method::Get, "https://api.example.com/ping")
//!             .header("accept", "application/json")
//!             .credential("default");
//!         let response = send(&request).map_err(Failure::from)?;
//!         Ok(format!(r#"{{"output":{{"status":{}}}}}"#, response.status))
//!     }
//! }
//!
//! portcullis_guest::export_handler!(Ping);
//! # fn main() {}
//! ```

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, reason = "generated from wit/connector.wit")]
#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        world: "connector",
        path: "../wit",
        pub_export_macro: true,
        default_bindings_module: "portcullis_guest::bindings",
    });
}

mod arena;
mod failure;
mod http;

pub use arena::Arena;

pub use bindings::exports::portcullis::connector::handler::{Failure, Guest as Handler, Invocation};
pub use bindings::portcullis::connector::types::{
    DenyReason, Error, LimitInfo, LimitKind, Method, Request, RequestOptions, Response, TimeoutPhase,
};
pub use http::send;

/// Exports a [`Handler`] as the component's `handler` interface.
#[macro_export]
macro_rules! export_handler {
    ($handler:ident) => {
        #[allow(unsafe_code, reason = "generated export glue")]
        mod portcullis_guest_export {
            use super::$handler;
            $crate::bindings::export!($handler with_types_in $crate::bindings);
        }
    };
}
