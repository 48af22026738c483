//! Request signatures: what an upstream asks for beyond a plain secret in a header.
//!
//! JWT ([RFC 7519] over [RFC 7515]), HMAC over chosen parts of a request ([RFC 2104]), AWS Signature
//! Version 4 and OAuth 1.0 ([RFC 5849]). All of it is pure: no I/O, no clock and no state; time and nonce
//! come in as parameters, secrets as `&str`. The one randomness is that which ECDSA and PSS need inside
//! AWS-LC. The gate calls it after the last byte of the request is known, because each of these signs
//! what is sent.
//!
//! Choices of libraries: JWT is `jsonwebtoken` on the AWS-LC that TLS already brings, SigV4 is AWS's own
//! `aws-sigv4`. OAuth 1.0 is written here: the Rust crate in wide use (`oauth1-request`) serializes and
//! signs typed parameters, where this crate signs a request that is already bytes, and it brings
//! HMAC-SHA1 alone.
//!
//! [RFC 2104]: https://www.rfc-editor.org/rfc/rfc2104
//! [RFC 5849]: https://www.rfc-editor.org/rfc/rfc5849
//! [RFC 7515]: https://www.rfc-editor.org/rfc/rfc7515
//! [RFC 7519]: https://www.rfc-editor.org/rfc/rfc7519

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
