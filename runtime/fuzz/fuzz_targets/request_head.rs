//! Any bytes of a connection: a request head that is read is the one that hyper reads, and ends at the same byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_admission::RequestHead;

#[path = "../../crates/admission/src/request_head/tests/compare.rs"]
mod compare;

fuzz_target!(|bytes: &[u8]| {
    compare::agree(bytes);
});
