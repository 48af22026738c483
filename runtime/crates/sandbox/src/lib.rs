//! The sandbox: one wasmtime engine, a fresh instance for every call, one import.
//!
//! Guests are hostile. A guest gets its arguments and an [`Outbound`](portcullis_core::outbound::Outbound);
//! it has no clock, file, environment, socket or randomness, because none is linked; a module of the profile `std` has
//! what the module `wasi` links. This crate does not
//! depend on the vault, the store or the gate.

#![allow(missing_docs, reason = "an internal crate: comments stand where the name does not say it")]
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

mod address_space;
mod admission;
mod bindings;
mod bounds;
mod call;
mod call_state;
mod compiled;
mod compiler;
mod engine;
mod fault;
mod guest_limits;
mod guest_log;
mod module;
mod wasi;
mod wire;

pub use admission::{DIGEST_PREFIX, ModuleProblem, ModuleReport, digest_of, inspect, is_digest};
pub use call::{CallEnd, GuestFailure, Invocation, Usage};
pub use compiled::{CompiledCache, Origin};
pub use compiler::{COMPILE_COMMAND, CompileError, Compiled, CompilerBounds, ModuleCompiler, compile_stdin};
pub use engine::Sandbox;
pub use fault::{LoadError, SandboxFault};
pub use guest_limits::{GuestLimits, OwnLimits};
pub use guest_log::{GuestLog, LogLevel, LogLine};
pub use module::Module;
