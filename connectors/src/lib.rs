//! What is part of the product: the generic HTTP handler as component bytes, and the catalog of definitions.
//!
//! No logic and no dependency on any host crate; the runtime loads the bytes into the sandbox like any
//! other guest, and checks a definition of the catalog like any other upload.

/// The generic HTTP handler, a component of the world in `wit/connector.wit`.
pub const HTTP_HANDLER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/http_handler.wasm"));

/// The catalog: connector id and definition (JSON text), ordered by id.
pub const CATALOG: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/catalog.rs"));
