//! The sandbox: one wasmtime engine, a fresh instance for every call, one import.
//!
//! Guests are hostile from their first instruction. A guest is given its arguments and an
//! [`Outbound`](portcullis_core::outbound::Outbound); it has no clock, file, environment, socket or
//! randomness, because nothing of the kind is linked. This crate cannot name a secret, a store or a
//! socket.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests fail by panicking"
    )
)]

mod bindings;
mod bounds;
mod call;
mod call_state;
mod compiled;
mod engine;
mod fault;
mod module;
mod wire;

pub use call::{CallEnd, GuestFailure, Invocation, Usage};
pub use compiled::{CompiledCache, Origin};
pub use engine::Sandbox;
pub use fault::{LoadError, SandboxFault};
pub use module::Module;
