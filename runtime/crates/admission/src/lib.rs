//! Admission: which calls a process accepts, and which of them computes next.
//!
//! It knows workspaces by name and calls as futures, and nothing of what a call does; it has no async runtime, no
//! I/O and no clock except the system's monotonic one. The API admits a call here before it reads its body.

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

mod framing;
mod request_head;
mod scheduler;

pub use framing::{Framing, FramingFault, is_host};
pub use request_head::RequestHead;
pub use scheduler::{Permit, Refused, Scheduled, Scheduler};
