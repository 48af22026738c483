//! Any bytes under any coding: never more out than the limits allow, and never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_core::limits::Limits;
use portcullis_egress::decode_body;

const CODINGS: &[&str] =
    &["gzip", "deflate", "br", "zstd", "gzip, br", "zstd, gzip", "identity", "x-unknown"];

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (which, body) = input;
    let coding = CODINGS[usize::from(which) % CODINGS.len()];
    let limits = Limits { decoded_bytes: 1 << 20, ..Limits::default() };
    let received = body.len() as u64;
    if let Ok(decoded) = decode_body(coding, body, &limits) {
        assert!(decoded.len() as u64 <= limits.decoded_bytes.max(received));
        assert!(coding != "x-unknown");
    }
});
