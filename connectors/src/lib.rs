//! What ships in the box: the generic HTTP handler as component bytes.
//!
//! No logic and no dependency on any host crate; the runtime loads these bytes into the sandbox
//! like any other guest.

/// The generic HTTP handler, a component of the world in `wit/connector.wit`.
pub const HTTP_HANDLER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/http_handler.wasm"));
