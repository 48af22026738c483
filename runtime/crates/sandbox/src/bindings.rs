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
    imports: {
        // Why: a guest that goes on after too many failures is ended, whatever it does with errors.
        "portcullis:connector/outbound-http.send": async | trappable,
        default: async,
    },
    exports: { default: async },
});
