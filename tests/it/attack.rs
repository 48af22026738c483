//! The known ways to talk a gate into something, each tried and each beside a neighbour that passes.
//!
//! A test is named after the row it tries: `u` is URL and host text, `i` a spelling of an address,
//! `d` DNS, `r` redirects, `h` requests and their headers, `s` answers. Most run against the gate
//! alone on a [`harness::Harness`]; what needs the whole product runs in a world. [`coverage`] fails when a
//! row has no test.

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
