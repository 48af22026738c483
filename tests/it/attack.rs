//! Known attacks on the gate. Each test also sends a similar request that must pass.
//!
//! The name of a test starts with its row in the lists of attacks: `u` is URL and host text, `i` a spelling
//! of an address, `d` DNS, `r` redirects, `h` requests and their headers, `s` responses. Most tests run
//! against the gate alone, in a [`harness::Harness`]; others need the whole product. [`coverage`] fails when
//! a row has no test.

mod connections;
mod coverage;
mod dns;
mod explain;
mod framing;
mod harness;
mod redirects;
mod responses;
mod scrubbing;
mod spellings;
mod switch;
mod urls;
