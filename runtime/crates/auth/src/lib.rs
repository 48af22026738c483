//! Request signatures, for upstreams that ask for more than a secret in a header. Called by egress alone.
//!
//! JWT ([RFC 7519] over [RFC 7515]), HMAC over chosen parts of a request ([RFC 2104]), AWS Signature Version
//! 4 and OAuth 1.0 ([RFC 5849]). No I/O, no clock and no state: time and nonce are parameters, and so are the
//! secrets. The only randomness is inside AWS-LC, for ECDSA and PSS. Egress signs when the request is
//! complete, because a signature covers the bytes that are sent.
//!
//! Libraries: JWT uses `jsonwebtoken` on AWS-LC, which TLS needs anyway; SigV4 uses AWS's own `aws-sigv4`.
//! OAuth 1.0 is written here: the common Rust crate (`oauth1-request`) signs typed parameters that it
//! serializes itself, with HMAC-SHA1 only, and this crate signs a request that is bytes already.
//!
//! [RFC 2104]: https://www.rfc-editor.org/rfc/rfc2104
//! [RFC 5849]: https://www.rfc-editor.org/rfc/rfc5849
//! [RFC 7515]: https://www.rfc-editor.org/rfc/rfc7515
//! [RFC 7519]: https://www.rfc-editor.org/rfc/rfc7519

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

mod digest;
mod error;
mod hmac_sign;
mod jwt;
mod oauth1;
mod signable;
mod sigv4;

pub use error::SignError;
pub use hmac_sign::{sign_hmac, timestamp};
pub use jwt::{JwtSpec, sign_jwt};
pub use oauth1::{OAuth1Spec, sign_oauth1};
pub use signable::Signable;
pub use sigv4::{SigV4Spec, sign_sigv4};
