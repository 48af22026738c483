//! Any bytes for the guest's JSON reader: what it writes is what `serde_json` writes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_action::json::{Members, Object, compact, push_string};

#[path = "../../crates/action/src/json/tests/compare.rs"]
mod compare;

fuzz_target!(|bytes: &[u8]| {
    compare::agree(bytes);
});
