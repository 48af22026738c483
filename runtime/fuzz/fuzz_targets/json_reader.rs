//! Any bytes for the reader of definitions and bodies: what it reads is what `serde_json` reads, and a duplicate member
//! is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_core::json_reader::{JsonError, read, read_text};
use portcullis_core::limits::Limits;

#[path = "../../crates/core/src/json_reader/tests/compare.rs"]
mod compare;

fuzz_target!(|bytes: &[u8]| {
    compare::agree(bytes);
});
