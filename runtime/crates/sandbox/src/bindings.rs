//! Host bindings generated from `wit/connector.wit`.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "generated from wit/connector.wit"
)]

wasmtime::component::bindgen!({
    world: "module",
    path: "../../../wit",
    imports: { default: async },
    exports: { default: async },
});
